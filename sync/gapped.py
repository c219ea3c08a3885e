"""Know which numbers a ledger no longer holds, and check the chain across them.

A gap is a run of numbers of one epoch. It remembers the hash before it and the hash at its end, so the chain of what is
left can be checked as if all were there: whoever takes an entry out without a gap is found, and so is a wrong gap.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sync.entry import Entry, Key, epoch_text
from sync.runs import Run

PRUNED = "pruned"  # the street had receipted them, and the room was needed
DAMAGED = "damaged"  # the file was damaged there; what the street has not receipted is lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Numbers that are no longer here, and the hashes that chain over them; None where a hash was lost too."""

    epoch: int
    first: int
    last: int
    prev: bytes | None
    hash: bytes | None
    why: str

    @property
    def count(self) -> int:
        """How many numbers are in the gap."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{epoch_text(self.epoch)}-{self.first}…{self.last} ({self.why})"


class Gaps:
    """The gaps of one ledger, in the order of their numbers."""

    def __init__(self, gaps: Iterable[Gap] = ()):
        """Take the gaps, in any order."""
        self._gaps = sorted(gaps, key=lambda gap: (gap.epoch, gap.first))
        self._keys = [Key(gap.epoch, gap.first) for gap in self._gaps]

    def __iter__(self) -> Iterator[Gap]:
        return iter(self._gaps)

    def between(self, after: Key, before: Key) -> Sequence[Gap]:
        """Return the gaps that begin after one key and before another."""
        return self._gaps[bisect_right(self._keys, after) : bisect_left(self._keys, before)]

    def count(self, epoch: int, first: int, last: int) -> int:
        """Return how many numbers of the gaps lie between first and last."""
        return sum(gap.count for gap in self.between(Key(epoch, first - 1), Key(epoch, last + 1)))

    def damaged(self) -> tuple[Gap, ...]:
        """Return the gaps that nobody wanted."""
        return tuple(gap for gap in self._gaps if gap.why == DAMAGED)


def chain_breaks(before: Entry, entry: Entry, gaps: Gaps) -> Iterator[str]:
    """Yield what is wrong between two entries that stand side by side in the file."""
    at, last = before.key, before.hash or None
    for gap in gaps.between(before.key, entry.key):
        yield from _missing(at, Key(gap.epoch, gap.first))
        if gap.prev is not None and last is not None and gap.prev != last:
            yield f"{gap}: does not follow {at}"
        at, last = Key(gap.epoch, gap.last), gap.hash
    yield from (missing := list(_missing(at, entry.key)))
    if not missing and last is not None and entry.prev != last:
        yield f"{entry.key}: does not follow {at}"


def missing_runs(before: Key, after: Key, gaps: Gaps) -> Iterator[tuple[int, Run]]:
    """Yield the epoch and the numbers between two keys that neither is there nor in a gap."""
    at = before
    for key, end in [*((Key(gap.epoch, gap.first), gap.last) for gap in gaps.between(before, after)), (after, 0)]:
        first = at.seq + 1 if at.epoch == key.epoch else 1
        if key.seq > first:
            yield key.epoch, Run(first, key.seq - 1)
        at = Key(key.epoch, end)


def _missing(at: Key, then: Key) -> Iterator[str]:
    first = at.seq + 1 if at.epoch == then.epoch else 1
    if then.seq != first:
        yield f"{epoch_text(then.epoch)}: entries {first} to {then.seq - 1} are missing"
