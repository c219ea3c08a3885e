"""Keep a set of numbers as runs, so that a million receipted entries cost one line and a hole costs one more."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """Unbroken numbers, `first` to `last`, both included."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many numbers the run holds."""
        return self.last - self.first + 1


class Runs:
    """A set of whole numbers, held as sorted runs that never touch each other."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for run in runs:
            self.add(run.first, run.last)

    def __iter__(self) -> Iterator[Run]:
        return (Run(first, last) for first, last in zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    @property
    def last(self) -> int:
        """The greatest number, 0 when there is none."""
        return self._lasts[-1] if self._lasts else 0

    @property
    def total(self) -> int:
        """How many numbers there are."""
        return sum(run.count for run in self)

    def add(self, first: int, last: int) -> int:
        """Add the numbers from first to last and return how many of them are new."""
        new = last - first + 1 - self.count(first, last)
        low = bisect_left(self._lasts, first - 1)  # runs before `low` end too early to touch
        high = bisect_right(self._firsts, last + 1)  # runs from `high` on begin too late to touch
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]
        return new

    def discard(self, number: int) -> None:
        """Take one number out, if it is there."""
        if number not in self:
            return
        at = bisect_right(self._firsts, number) - 1
        whole = Run(self._firsts[at], self._lasts[at])
        rest = [run for run in (Run(whole.first, number - 1), Run(number + 1, whole.last)) if run.count > 0]
        self._firsts[at : at + 1] = [run.first for run in rest]
        self._lasts[at : at + 1] = [run.last for run in rest]

    def remove(self, first: int, last: int) -> None:
        """Take the numbers from first to last out."""
        kept = [old for old in self if old.last < first or old.first > last]
        cut = [Run(old.first, first - 1) for old in self if old.first < first <= old.last]
        cut += [Run(last + 1, old.last) for old in self if old.first <= last < old.last]
        rest = sorted([*kept, *cut], key=lambda run: run.first)
        self._firsts, self._lasts = [run.first for run in rest], [run.last for run in rest]

    def within(self, first: int, last: int) -> Iterator[Run]:
        """Yield the runs between first and last, cut to fit."""
        at = bisect_left(self._lasts, first)
        while at < len(self._firsts) and self._firsts[at] <= last:
            yield Run(max(first, self._firsts[at]), min(last, self._lasts[at]))
            at += 1

    def missing(self, first: int, last: int) -> Iterator[Run]:
        """Yield the runs of numbers between first and last that are not in the set."""
        for run in self.within(first, last):
            if run.first > first:
                yield Run(first, run.first - 1)
            first = run.last + 1
        if first <= last:
            yield Run(first, last)

    def count(self, first: int, last: int) -> int:
        """Return how many numbers of the set lie between first and last."""
        return sum(run.count for run in self.within(first, last))

    def copy(self) -> "Runs":
        """Return a set of its own with the same numbers."""
        twin = Runs()
        twin._firsts, twin._lasts = self._firsts.copy(), self._lasts.copy()
        return twin
