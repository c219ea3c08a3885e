"""Answer whether a pass opens now, from what the ledger tells of passes used and revoked. Pure, and without a network.

A pass that may be used a number of times lives at most COUNTED_S, so nothing older need be remembered: after that it
has expired. What another gate has seen of a pass is not known here; a single use is promised by one gate, so a pass
for one use should name its gate.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sentinel.core.kinds import Passage
from sentinel.core.model import Method, Outcome, Pass, Reason

COUNTED_S = 7 * 24 * 3600  # a week covers a visitor's stay; the ledger must keep passages for as long
LONGEST_S = 400 * 24 * 3600  # a badge of one year, issued some weeks before it begins
MOST_USES = 255
BACKDATED_S = 300  # a pass begins so long before it is issued: the clocks of offices and gates differ by minutes
REVOCATIONS_KEPT = 10_000  # more than twenty a day for as long as a pass can last; the oldest is dropped
REVOCATION = "revocation"  # the ledger's name for the entry that withdraws a pass
_SCOPE_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which scopes of passes hold at this gate: the one of its site, and its own."""

    site: str
    gate: str

    @classmethod
    def of(cls, street: str, site: str, gate: str) -> Self:
        """Return the scopes of the gate with this name."""
        return cls(site=scope_of(street, site), gate=scope_of(street, site, gate))


def scope_of(street: str, site: str, gate: str | None = None) -> str:
    """Return where a pass holds, as 16 hexadecimal digits: every gate of a site, or one gate."""
    name = "/".join(part for part in (street, site, gate) if part is not None)
    return hashlib.sha256(name.encode()).hexdigest()[:_SCOPE_DIGITS]


def lives_too_long(valid_from_utc_s: int, valid_until_utc_s: int, uses: int) -> bool:
    """Tell whether a pass would outlive what is remembered of it, or would never be valid."""
    lasts_s = valid_until_utc_s - valid_from_utc_s
    return not 0 < lasts_s <= (COUNTED_S if uses else LONGEST_S) + BACKDATED_S


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """How often a pass opened, and when last."""

    times: int
    last_utc_s: float


class PassBook:
    """What this gate knows of passes: how often each was used lately, and which are revoked. One thread decides.

    A book that is not `complete`, because the ledger could not be read, lets nothing in: who knows what it forgot.
    """

    def __init__(self, *, complete: bool = True) -> None:
        self._complete = complete
        self._used: OrderedDict[str, _Use] = OrderedDict()  # the longest unused first
        self._revoked: OrderedDict[str, None] = OrderedDict()

    @classmethod
    def from_entries(cls, entries: Iterable[tuple[str, Mapping[str, Any], int]]) -> Self:
        """Return the book that these entries make: kind, body and wall time in ns of each, oldest first."""
        book = cls()
        for kind, body, wall_ns in entries:
            pass_id = body.get("pass_id")
            if not isinstance(pass_id, str):
                continue
            if kind == REVOCATION:
                book.revoke(pass_id)
            elif kind == Passage.KIND and body.get("outcome") == Outcome.OPEN and body.get("method") == Method.PASS:
                book.note_used(pass_id, wall_ns / 1e9)
        return book

    def __len__(self) -> int:
        """Return how many passes are remembered."""
        return len(self._used) + len(self._revoked)

    @property
    def complete(self) -> bool:
        """Whether everything the ledger knows is in it."""
        return self._complete

    def absorb(self, other: "PassBook") -> None:
        """Take over what another book knows and this one does not, as when this one was read from an older file."""
        for pass_id, use in other._used.items():
            mine = self._used.get(pass_id)
            if mine is None or mine.times < use.times:
                self._used[pass_id] = use
        self._used = OrderedDict(sorted(self._used.items(), key=lambda item: item[1].last_utc_s))
        for pass_id in other._revoked:
            self.revoke(pass_id)

    def note_used(self, pass_id: str, at_utc_s: float) -> None:
        """Take in that a pass opened: when the decision was kept, before the barrier moves."""
        before = self._used.pop(pass_id, None)
        self._used[pass_id] = _Use(times=before.times + 1 if before else 1, last_utc_s=at_utc_s)
        # Forgotten only here, where the clock was good enough to open by: one that jumps lets nothing be used twice.
        while next(iter(self._used.values())).last_utc_s < at_utc_s - COUNTED_S - BACKDATED_S:
            self._used.popitem(last=False)

    def revoke(self, pass_id: str) -> None:
        """Take in that a pass holds no more."""
        self._revoked[pass_id] = None
        self._revoked.move_to_end(pass_id)
        while len(self._revoked) > REVOCATIONS_KEPT:
            self._revoked.popitem(last=False)

    def admit(self, found: Pass, *, now_utc_s: float, clock_trusted: bool, scope: Scope) -> tuple[Reason, ...]:
        """Return every objection to this pass, none when it opens.

        Without a trusted clock its hours cannot be judged, neither for it nor against it: then staff look.
        """
        objections = []
        if found.scope not in (scope.site, scope.gate):
            objections.append(Reason.PASS_OTHER_SITE)
        if found.pass_id in self._revoked:
            objections.append(Reason.PASS_REVOKED)
        used = self._used.get(found.pass_id)
        if found.uses and used is not None and used.times >= found.uses:
            objections.append(Reason.PASS_USED)
        if not self._complete or lives_too_long(found.valid_from_utc_s, found.valid_until_utc_s, found.uses):
            objections.append(Reason.PASS_UNCHECKED)  # it may have been used and forgotten
        if not clock_trusted:
            objections.append(Reason.CLOCK_UNTRUSTED)
        elif now_utc_s < found.valid_from_utc_s:
            objections.append(Reason.PASS_NOT_YET_VALID)
        elif now_utc_s >= found.valid_until_utc_s:
            objections.append(Reason.PASS_EXPIRED)
        return tuple(objections)
