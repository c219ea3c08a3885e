"""Say in what condition a gate is: the facts a maintainer asks for, and the verdict over them. Pure.

Codes only: words for people are added by the command line and the pages. No names, no ID numbers, no temperatures.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = "sentinel.status/1"

_WORST_FIRST = ("unknown", "critical", "warning", "ok")
LEDGER_FILLING = 0.80  # sync.room.WARN_FILL
_MODE_SEVERITY = {"assisted": "warning", "manual": "critical"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateName:
    """Which gate this is."""

    street: str
    site: str
    gate: str
    lane: str
    direction: str
    profile: str = "card+face"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One device or part of the gate. `state` is ok, impaired (it works, somebody should look), fault or starting."""

    name: str
    state: str
    symptom: str | None = None
    detail: str = ""
    identity: str = ""  # what the device says it is
    last_good_s_ago: float | None = None
    since_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What the last person was told; `outcome` is open, hold, refuse or none."""

    outcome: str = "none"
    reason: str = ""
    method: str = "none"
    at_s_ago: float | None = None
    face: str = ""  # what keeps the face in view from being compared, see recognition.readings.FaceProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The gate process. `silence` says why it did not answer: not-running, not-permitted or hung."""

    alive: bool
    silence: str | None = None
    version: str | None = None
    pid: int | None = None
    up_s: float | None = None
    mode: str = "unknown"
    because: tuple[str, ...] = ()
    fire: bool = False
    components: tuple[Component, ...] = ()
    screen: Screen = Screen()
    late: int = 0
    queued: int = 0
    ledger_fill: float = 0.0  # the share of the ledger's quota that is used
    unkept: int = 0  # entries that could not be kept, and no entry says so yet
    due: int = 0  # personal parts whose days are over


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """The way to the street. `state` is connected, offline, dead (its process is gone) or never (it never ran)."""

    state: str
    since_s: float | None = None
    last_error: str | None = None
    layer: str | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Every entry is receipted, refused by the street, or pending. `holds` is False when one is none of these."""

    known: bool
    appended: int = 0
    receipted: int = 0
    refused: int = 0
    pending: int = 0
    oldest_pending_s: float | None = None
    holds: bool = True
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """Counts since local midnight; `manual` are registrations by hand."""

    open: int = 0
    hold: int = 0
    refuse: int = 0
    manual: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry in a line: `what` happened and the codes that say more. `person` is the keyed token.

    `wall_ns` is the corrected time where there is one; `time` says what it stands on, see `sync.dating.Quality`.
    `until` is the last day on which its personal part is kept, or "unknown"; None: there is none, or nobody asked.
    """

    key: str
    kind: str
    wall_ns: int
    clock_trusted: bool  # when it was stamped
    what: str
    codes: tuple[str, ...] = ()
    person: str | None = None
    time: str = ""
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Somebody the gate held for staff and nobody has registered yet."""

    key: str
    wall_ns: int
    age_s: float
    reasons: tuple[str, ...]
    person: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The ledger as the files show it; `chain` is ok, broken or unknown, over the newest `chain_checked` entries."""

    readable: bool
    problem: str | None = None
    head: str | None = None
    entries: int = 0
    epochs: int = 0
    chain: str = "unknown"
    chain_checked: int = 0
    holes: int = 0  # numbers lost to a damaged file


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a person should know or do. `severity` is warning, critical or unknown; texts go by `id`."""

    id: str
    severity: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All of it at one moment. `verdict` is ok, warning, critical, or unknown when the gate did not answer."""

    wall_ns: int
    verdict: str
    gate: GateName
    process: Process
    uplink: Uplink
    balance: Balance
    today: Today
    ledger: Ledger
    waiting: tuple[Waiting, ...] = ()
    last: tuple[Line, ...] = ()
    findings: tuple[Finding, ...] = ()


def as_json(status: Status) -> dict[str, Any]:
    """Return the status as plain JSON values under its schema; the form that `--json` and the page speak."""
    return {"schema": SCHEMA, "gate_alive": status.process.alive, "mode": status.process.mode, **asdict(status)}


def judge(process: Process, uplink: Uplink, balance: Balance, ledger: Ledger) -> tuple[Finding, ...]:
    """Return what is wrong, the worst first."""
    found = [*_gate_findings(process), *_ledger_findings(balance, ledger)]
    if uplink.state != "connected":
        found.append(Finding(id=f"uplink-{uplink.state}", severity="warning", subject=uplink.layer or ""))
    return tuple(sorted(found, key=lambda finding: _WORST_FIRST.index(finding.severity)))


def verdict_of(findings: Sequence[Finding]) -> str:
    """Return the worst severity found, or ok."""
    return min((finding.severity for finding in findings), key=_WORST_FIRST.index, default="ok")


def _gate_findings(process: Process) -> Iterable[Finding]:
    if not process.alive:
        yield Finding(id=f"gate-{process.silence}", severity="unknown")
        return
    if process.fire:
        yield Finding(id="fire", severity="critical")
    if process.mode in _MODE_SEVERITY:
        yield Finding(
            id=f"mode-{process.mode}", severity=_MODE_SEVERITY[process.mode], subject=", ".join(process.because)
        )
    for component in process.components:
        if component.state in ("fault", "impaired"):
            yield Finding(
                id="component-fault", severity="warning", subject=f"{component.name}:{component.symptom or ''}"
            )
    if process.queued:
        yield Finding(id="ledger-queued", severity="warning", subject=str(process.queued))
    if process.ledger_fill >= LEDGER_FILLING:
        full = process.ledger_fill >= 1.0
        yield Finding(
            id="ledger-full" if full else "ledger-filling", severity="critical" if full else "warning",
            subject=f"{process.ledger_fill:.0%}",
        )  # fmt: skip
    if process.unkept:
        yield Finding(id="ledger-unkept", severity="critical", subject=str(process.unkept))
    if process.due:
        yield Finding(id="retention-due", severity="warning", subject=str(process.due))


def _ledger_findings(balance: Balance, ledger: Ledger) -> Iterable[Finding]:
    if not ledger.readable:
        yield Finding(id="ledger-unreadable", severity="critical")
    elif ledger.chain == "broken":
        yield Finding(id="chain-broken", severity="critical")
    if ledger.holes:
        yield Finding(id="ledger-holes", severity="warning", subject=str(ledger.holes))
    if balance.known and not balance.holds:
        yield Finding(id="balance-broken", severity="critical")
    if balance.refused:
        yield Finding(id="street-refused", severity="warning", subject=str(balance.refused))
