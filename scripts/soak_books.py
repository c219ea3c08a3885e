"""Close the books of a soak: hold ledger, street, barrier and logs against each other, and say what does not agree."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo import everything, opens

from drivers.sim.bench import Wiring
from sentinel.rehearsal import Rehearsal
from sentinel.settings import load
from sentinel.status import gather
from sync.entry import Entry
from sync.gaps import read_report

RIGHT_S = 10.0  # an opening follows its entry at once; a laden machine may deliver the edge to the world later
FIRE_SLACK_S = 2.0  # the leaves are held before the entry of the fire is written
KILLED = "-9"  # the exit code of a child that was killed, by us or by the gate
SURPRISES = ("Traceback (most recent call last)", "a surprise")
WRITERS = ("gate", "uplink", "street", "console")  # whose logs are ours; vision writes into the gate's


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What the run left in writing. `wrong` names everything that does not agree."""

    entries: Counter[str]  # by kind
    outcomes: Counter[str]  # of passages
    tickets: Counter[tuple[str, str]]  # faults told, by device and symptom
    barrier: Counter[str]  # events on the wires
    appended: int
    receipted: int
    pending: int
    at_street: int
    openings: int  # closings of a leaf's relay
    in_fire: int  # of these, while the fire input held both leaves open
    wrong: tuple[str, ...]


def close_books(stage: Rehearsal) -> Books:
    """Return what was written, after the gate has stopped and the street has receipted its last entry."""
    with stage.reader() as reader:
        chain = reader.verify()
        entries = everything(reader)
    balance = gather(load(stage.config)).balance
    street = _at_street(stage.store)
    ours = {(entry.key.epoch, entry.key.seq, entry.hash) for entry in entries}
    rises = tuple(_rises(stage.directory / "wires.jsonl"))
    unrecorded, in_fire = unpaired(rises, entries)
    wrong = [
        *(f"the chain is broken: {what}" for what in chain.breaks),
        *_imbalance(balance.appended, balance.receipted, balance.pending, balance.refused),
        *([] if street == ours else [f"the street has {len(street)} entries, the ledger {len(ours)}, not the same"]),
        *_street_complaints(stage.store),
        *(f"leaf {leaf} opened without an entry, {at_ns} ns after boot" for leaf, at_ns in unrecorded),
        *open_tickets(entries),
        *_crashes(entries),
        *_surprises(stage),
    ]
    return Books(
        entries=Counter(entry.kind for entry in entries),
        outcomes=Counter(entry.data["outcome"] for entry in entries if entry.kind == "passage"),
        tickets=Counter(_ticket(entry) for entry in entries if entry.kind == "fault"),
        barrier=Counter(entry.data["event"] for entry in entries if entry.kind == "barrier"),
        appended=balance.appended,
        receipted=balance.receipted,
        pending=balance.pending,
        at_street=len(street),
        openings=len(rises),
        in_fire=in_fire,
        wrong=tuple(wrong),
    )


def _imbalance(appended: int, receipted: int, pending: int, refused: int) -> Iterator[str]:
    if appended != receipted + pending or pending or refused:
        counts = f"{appended} appended, {receipted} receipted, {pending} pending, {refused} refused"
        yield f"the balance does not close: {counts}"


def _at_street(store: Path) -> set[tuple[int, int, bytes]]:
    """Return what the street has stored, by key and hash; its primary key already forbids doubles."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
        return set(db.execute("SELECT epoch, seq, hash FROM entries"))


def _street_complaints(store: Path) -> Iterator[str]:
    for gate in read_report(store):
        told = {
            "missing": gate.missing, "refused": gate.refused, "forked": len(gate.forks),
            "broken": len(gate.breaks), "forgotten": len(gate.forgotten),
        }  # fmt: skip
        yield from (f"the street counts {count} {name} entries" for name, count in told.items() if count)


# -- the barrier ------------------------------------------------------------------------------------------------------


def _rises(journal: Path) -> Iterator[tuple[str, int]]:
    """Return each closing of a leaf's relay as the simulated barrier has written it down, oldest first."""
    leaves = {Wiring().relay: "in", Wiring().relay_out: "out"}
    for line in journal.read_text(encoding="utf-8").splitlines():
        edge = json.loads(line)
        if edge["pin"] in leaves and edge["value"] == 1:
            yield leaves[edge["pin"]], edge["sent_boottime_ns"]


def unpaired(rises: Sequence[tuple[str, int]], entries: Sequence[Entry]) -> tuple[list[tuple[str, int]], int]:
    """Give each closing an entry of its own that was written just before; return those without, and how many were fire.

    While a fire holds the leaves, their contacts close without anybody's right.
    """
    rights: dict[str, list[int]] = {"in": [], "out": []}
    for entry in entries:
        if opens(entry):
            rights[entry.data.get("leaf", "in")].append(entry.stamp.boot_ns)
    fires = list(_fires(entries))
    without, in_fire = [], 0
    for leaf, at_ns in sorted(rises, key=lambda rise: rise[1]):
        own = [right for right in rights[leaf] if at_ns - RIGHT_S * 1e9 <= right <= at_ns]
        if own:
            rights[leaf].remove(max(own))
        elif any(begins <= at_ns <= ends for begins, ends in fires):
            in_fire += 1
        else:
            without.append((leaf, at_ns))
    return without, in_fire


def _fires(entries: Sequence[Entry]) -> Iterator[tuple[float, float]]:
    """Return the times in which the fire input was active, or the barrier was away after it had been."""
    slack_ns, begins = FIRE_SLACK_S * 1e9, None
    for entry in entries:
        event = entry.data.get("event") if entry.kind == "barrier" else None
        lost = entry.kind == "fault" and (entry.data["device"], entry.data["symptom"]) == ("barrier", "lost")
        if event == "fire-on" and begins is None:
            begins = entry.stamp.boot_ns - slack_ns
        elif begins is not None and (event == "fire-off" or lost):
            yield begins, entry.stamp.boot_ns + slack_ns
            begins = None
    if begins is not None:
        yield begins, float("inf")


# -- faults and surprises ---------------------------------------------------------------------------------------------


def _ticket(entry: Entry) -> tuple[str, str]:
    return str(entry.data["device"]), str(entry.data["symptom"])


def open_tickets(entries: Iterable[Entry]) -> list[str]:
    """Return each device and symptom whose faults and repairs are not equally many."""
    counted: dict[str, Counter[tuple[str, str]]] = {"fault": Counter(), "repair": Counter()}
    for entry in entries:
        if entry.kind in counted:
            counted[entry.kind][_ticket(entry)] += 1
    faults, repairs = counted["fault"], counted["repair"]
    return [
        f"{device} {symptom}: {faults[device, symptom]} faults, {repairs[device, symptom]} repairs"
        for device, symptom in sorted(set(faults) | set(repairs))
        if faults[device, symptom] != repairs[device, symptom]
    ]


def _crashes(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.kind == "fault" and " ended with code " in entry.data["detail"] and KILLED not in entry.data["detail"]:
            yield f"a child crashed: {entry.data['detail']}"


def _surprises(stage: Rehearsal) -> Iterator[str]:
    for name in WRITERS:
        text = stage.log_of(name).read_text(errors="replace")
        if any(word in text for word in SURPRISES):
            yield f"the log of {name} tells of a surprise; see {name}.log"
