"""Say which entries the ledger may drop when its room runs out, and which it keeps even then. Pure.

Dropping is for what the street has receipted and the law no longer wants here; what the gate itself still reads stays
however old it is.
"""

from dataclasses import dataclass

from sentinel.core.admission import BACKDATED_S, COUNTED_S
from sentinel.core.kinds import (
    Barrier,
    Calibration,
    Clock,
    CommandTaken,
    Deletion,
    Fault,
    ModeChange,
    Opening,
    Passage,
    PolicyTaken,
    Pruned,
    Registration,
    Repair,
    Revocation,
    RosterTaken,
    Salvage,
    Start,
    Stop,
    Unkept,
)

DAY_NS = 86_400 * 1_000_000_000
_OF_STREET = (RosterTaken.KIND, PolicyTaken.KIND, CommandTaken.KIND)
# What the gate reads in its own ledger: a revoked pass must stay revoked, a calibration holds until the next, what the
# street has sent is not taken twice, and what was erased lawfully is told from what is missing by the deletions.
NEEDED = frozenset((Revocation.KIND, Calibration.KIND, Deletion.KIND, *_OF_STREET))
_AS_PASSAGE = frozenset((Passage.KIND, Barrier.KIND))
_REMEMBERED_NS = int((COUNTED_S + BACKDATED_S) * 1_000_000_000)  # a pass that opens once is remembered by its passage
_AS_FAULT = frozenset((Fault.KIND, Repair.KIND, ModeChange.KIND, Start.KIND, Stop.KIND))
# Kept beyond the quota, out of the reserve: who passed and when, who let them pass, and which pass holds no more.
ESSENTIAL = frozenset(
    (Passage.KIND, Registration.KIND, Opening.KIND, Revocation.KIND, Pruned.KIND, Salvage.KIND, Unkept.KIND,
     Clock.KIND, Deletion.KIND, *_OF_STREET)
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """For how many days entries are kept at least; see `[retention]` of the settings."""

    passage: int
    fault: int
    audit: int


def kept_for_ns(kind: str, days: Days) -> int | None:
    """Return how long an entry of this kind is kept at least, None for ever. A kind that is not known is audited."""
    if kind in NEEDED:
        return None
    if kind in _AS_PASSAGE:
        return max(days.passage * DAY_NS, _REMEMBERED_NS)
    if kind == Clock.KIND:  # as long as anything that is dated by it
        return max(days.passage, days.fault, days.audit) * DAY_NS
    return (days.fault if kind in _AS_FAULT else days.audit) * DAY_NS


def may_go(kind: str, latest_ns: int | None, now_ns: int, days: Days) -> bool:
    """Tell whether an entry written at `latest_ns` or before has been kept long enough.

    Unit: ns of trusted wall time; `latest_ns` None: nobody can tell when it was written, so it stays.
    """
    kept_ns = kept_for_ns(kind, days)
    return kept_ns is not None and latest_ns is not None and latest_ns + kept_ns < now_ns
