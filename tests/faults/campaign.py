"""Break every device of several gates, one fault after the other on each and many at once; write down what was.

Each gate has its own bench. On one bench several devices have faults at once, each in its own order and its own time,
so that a fault which disturbs another device leaves an entry that no case has asked for.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drivers.sim.wires import boottime_ns
from sync.entry import Entry

from .actors import Actor, actor_at, passages
from .cases import CASES, GATE, RELAY_BOARD, Case, Where
from .rig import Gate

TOLD_S, HEALED_S = 5.0, 10.0
QUIET_S = 3.5  # longer than the silence time of any device here: what has not been told by then will not be
READY_S = 10.0
WORKS = (Where.ATTENTION, Where.COUNTED, Where.NOTHING)
UNTOLD = (Where.COUNTED, Where.NOTHING, Where.UNTOLD)


@dataclass(slots=True, kw_only=True)
class Finding:
    """What came of one case."""

    case: Case
    told_s: float | None = None  # None where it did not show
    healed_s: float | None = None
    wrong: list[str] = field(default_factory=list)
    claimed: list[Entry] = field(default_factory=list)  # the fault and repair entries that belong to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One gate: what is fitted, and which of its devices have faults, as a part of how many."""

    kinds: Mapping[str, str]
    broken: Mapping[str, tuple[int, int]]  # name on the bench → part, of how many

    def cases(self, name: str) -> tuple[Case, ...]:
        """Return the cases of one device of this gate."""
        kind = {"relay": RELAY_BOARD, "barrier": GATE}.get(name) or self.kinds[name]
        part, parts = self.broken[name]
        return tuple(case for case in CASES if case.kind == kind)[part::parts]


_SENSORS = {"thermal": "gy-mcu90640", "distance": "tf-luna", "presence": "ld2410"}
_READERS = {"card": "idcard-sdt", "scanner": "gm65"}
# Cards, passes and staff all open the barrier: on one bench only one of these has faults, or nobody could say whose
# passage an entry is.
PLANS = (
    Plan(
        kinds=_READERS | _SENSORS | {"barrier": GATE},
        broken={"barrier": (0, 1), "thermal": (0, 3), "distance": (0, 2), "presence": (0, 2)},
    ),
    Plan(
        kinds=_READERS | _SENSORS | {"barrier": RELAY_BOARD},
        broken={"relay": (0, 2), "thermal": (1, 3), "distance": (1, 2), "presence": (1, 2)},
    ),
    Plan(kinds={**_SENSORS, "barrier": RELAY_BOARD}, broken={"relay": (1, 2), "thermal": (2, 3)}),
    Plan(kinds=_READERS | {"thermal": "gy-mcu90614", "barrier": GATE}, broken={"scanner": (0, 2), "thermal": (0, 2)}),
    Plan(kinds=_READERS | {"thermal": "gy-mcu90614", "barrier": GATE}, broken={"scanner": (1, 2), "thermal": (1, 2)}),
    *(
        Plan(
            kinds={"card": "idcard-sdt", "thermal": kind, "barrier": GATE},
            broken={"card": (part, 5), "thermal": (0, 1)},
        )
        for part, kind in enumerate(("gy-614v", "cjmcu-90614", "mlx90614-text", "mlx90614-i2c", "amg8833-i2c"))
    ),
)


class Column:
    """Run the cases of one device of one gate, one after the other."""

    def __init__(self, gate: Gate, actor: Actor, cases: Iterable[Case]) -> None:
        self._gate = gate
        self._actor = actor
        self._cases = tuple(cases)
        self.findings: list[Finding] = []

    def run(self) -> None:
        """Run them all; what goes wrong is in the findings."""
        for case in self._cases:
            finding = Finding(case=case)
            self.findings.append(finding)
            try:
                self._run(finding)
            except Exception as error:  # noqa: BLE001 - a thread that dies alone is silent: the finding tells
                finding.wrong.append(f"the test itself failed: {error!r}")

    def _run(self, finding: Finding) -> None:
        gate, actor, case = self._gate, self._actor, finding.case
        actor.ready(case)
        seen, began = len(gate.entries()), time.monotonic()
        if gate.broken_at_start == (actor.name, case.fault):  # and so it was told long ago
            seen = 0
        boot_s = boottime_ns() / 1e9
        junk_bytes = gate.lane.junk_bytes.get(actor.name, 0)
        gate.bench.fault(actor.name, case.fault)
        actor.meet(case)
        opened = 0
        if case.where in WORKS:
            opened += self._must_work(finding, TOLD_S, "while it has the fault")
        self._must_tell(finding, seen, began, boot_s)
        if case.where is Where.COUNTED and gate.lane.junk_bytes.get(actor.name, 0) <= junk_bytes:
            finding.wrong.append("no dropped bytes were counted")
        actor.part()
        healed = time.monotonic()
        gate.bench.heal(actor.name)
        opened += self._must_work(finding, HEALED_S, "after the fault")
        self._must_repair(finding, seen, healed)
        actor.part(HEALED_S)
        self._judge_entries(finding, gate.entries(seen), opened)

    def _must_work(self, finding: Finding, seconds: float, when: str) -> int:
        if self._actor.works(seconds):
            return 1
        finding.wrong.append(f"it does not do its work {when}")
        return 0

    def _must_tell(self, finding: Finding, seen: int, began: float, began_boot_s: float) -> None:
        case, gate = finding.case, self._gate
        if case.where in UNTOLD:
            gate.until(lambda: False, QUIET_S - (time.monotonic() - began))
            return
        left_s = TOLD_S - (time.monotonic() - began)
        gate.until(lambda: any(_tells(case, entry) for entry in gate.entries(seen)), left_s)
        told = next((entry for entry in gate.entries(seen) if _tells(case, entry)), None)
        if told is None:
            finding.wrong.append(f"not told as {case.told} within {TOLD_S} s, but {self._told(seen)}")
            return
        finding.told_s = told.stamp.boot_ns / 1e9 - began_boot_s
        if finding.told_s > TOLD_S:
            finding.wrong.append(f"told after {finding.told_s:.1f} s")

    def _told(self, seen: int) -> list[str]:
        return [f"{entry.kind} {entry.data}" for entry in self._gate.entries(seen)]

    def _must_repair(self, finding: Finding, seen: int, healed: float) -> None:
        gate, case = self._gate, finding.case

        def repaired() -> bool:
            mine = _tickets(case, gate.entries(seen))
            return sum(entry.kind == "fault" for entry in mine) == sum(entry.kind == "repair" for entry in mine)

        left_s = HEALED_S - (time.monotonic() - healed)
        if gate.until(repaired, max(left_s, 0.0)):
            finding.healed_s = time.monotonic() - healed
        else:
            finding.wrong.append(f"not repaired within {HEALED_S} s: {self._told(seen)}")

    def _judge_entries(self, finding: Finding, entries: list[Entry], opened: int) -> None:
        """Compare all entries of this device, from the fault to the repair, with those that there should be."""
        case = finding.case
        finding.claimed = _tickets(case, entries)
        told = {entry.data["symptom"] for entry in finding.claimed}
        if not told <= {*case.symptoms, *case.also}:
            finding.wrong.append(f"told as {sorted(told)}, expected {case.symptoms}")
        if self._actor.name in ("card", "scanner"):
            self._judge_passages(finding, passages(entries), opened)
        if case.component == "barrier":
            allowed = {case.told, *case.also, "passed", "not-moved"}
            events = {entry.data["event"] for entry in entries if entry.kind == "barrier"}
            if not events <= allowed:
                finding.wrong.append(f"the wires said {sorted(events)}, expected {sorted(allowed)}")

    @staticmethod
    def _judge_passages(finding: Finding, found: list[str], opened: int) -> None:
        case = finding.case
        planned = [case.told] if case.where is Where.PASSAGE else []
        planned += [one for one in case.also if ":" in one and not one.endswith("?")] + ["open:accepted"] * opened
        maybe = [one.removesuffix("?") for one in case.also if one.endswith("?")]
        if sorted(found) not in (sorted(planned), sorted(planned + maybe)):
            finding.wrong.append(f"passages {found}, expected {planned}, perhaps {maybe}")


def _tells(case: Case, entry: Entry) -> bool:
    data = entry.data
    match case.where:
        case Where.PASSAGE:
            return case.told in passages([entry])
        case Where.BARRIER:
            return entry.kind == "barrier" and data["event"] == case.told
        case _:
            mine = entry.kind == "fault" and data["device"] == case.component
            return mine and data["symptom"] in case.symptoms


def _tickets(case: Case, entries: list[Entry]) -> list[Entry]:
    found = [entry for entry in entries if entry.kind in ("fault", "repair")]
    return [entry for entry in found if entry.data["device"] == case.component]


@dataclass(slots=True, kw_only=True)
class Played:
    """One gate after its campaign: what its ledger and its relays say, and what was found."""

    plan: Plan
    gate: Gate
    findings: list[Finding]
    not_ready: list[str]


def play(folder: Path, wanted: frozenset[str]) -> list[Played]:
    """Run the cases with these ids on all gates at the same time, and return what came of it."""
    played, threads = [], []
    for number, plan in enumerate(PLANS):
        columns = {name: [case for case in plan.cases(name) if case.id in wanted] for name in plan.broken}
        if any(columns.values()):
            played.append(_begin(folder / str(number), plan, columns, threads))
    for one in played:
        one.not_ready += _not_ready(one.gate)
    for thread, _ in threads:
        thread.start()
    for thread, _ in threads:
        thread.join()
    for one in played:
        one.findings += [found for thread, column in threads if column._gate is one.gate for found in column.findings]
        one.gate.close()
    return played


def _begin(folder: Path, plan: Plan, columns: Mapping[str, list[Case]], threads: list) -> Played:
    folder.mkdir(parents=True)
    at_start = any(case.fault == "fire-at-start" for case in columns.get("barrier", ()))
    gate = Gate(folder, plan.kinds, broken=("barrier", "fire-at-start") if at_start else None)
    gate.walks = not {"relay", "barrier"} & set(columns)
    for name, cases in columns.items():
        column = Column(gate, actor_at(gate, name), cases)
        threads.append((threading.Thread(target=column.run, name=f"column {name}", daemon=True), column))
    gate.start()
    return Played(plan=plan, gate=gate, findings=[], not_ready=[])


def _not_ready(gate: Gate) -> list[str]:
    """Wait for a gate whose devices are all heard of; return those that are not."""

    def ill() -> list[str]:
        states = {state.component: state for state in gate.lane.health.states()}
        return [name for name, kind in gate.kinds.items() if kind != "none" and not states[name].well]

    gate.until(lambda: not ill(), READY_S)
    return ill()
