"""Find out whether the street still holds what it once receipted: one that was restored from a copy does not.

Each state that a gate announces asks anew, with a word of its own. A receipt that repeats this word was made after it,
so it tells what the street holds now: an old one, or one that arrives late, cannot. Sending again what the street does
hold changes nothing, so a doubt is enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sync.receipts import runs_of
from sync.runs import Run, Runs
from sync.wire import KnownEpoch, Receipt


class Held(Protocol):
    """What a cursor says that the street holds."""

    def receipted(self, epoch: int) -> Runs:
        """Return the numbers of an epoch that were receipted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a gate announced under this word, and what was receipted by then."""

    word: str
    before: Mapping[int, Runs] = field(default_factory=dict)

    @classmethod
    def about(cls, word: str, epochs: Sequence[KnownEpoch], cursor: Held) -> "Question":
        """Return the question about these epochs, at this moment."""
        return cls(word=word, before={known.epoch: cursor.receipted(known.epoch).copy() for known in epochs})

    def lost(self, receipt: Receipt) -> dict[int, list[Run]]:
        """Return what was receipted when this was asked and is not held any more, when this receipt is the answer.

        Of an epoch with so many holes that the answer leaves runs out, nothing is said.
        """
        return self._missing(receipt, self.before)

    def doubted(self, receipt: Receipt, cursor: Held) -> bool:
        """Tell whether the answer lacks what is receipted now: lost, or another worker was faster. Ask anew to know."""
        return bool(self._missing(receipt, {epoch: cursor.receipted(epoch) for epoch in self.before}))

    def _missing(self, receipt: Receipt, receipted: Mapping[int, Runs]) -> dict[int, list[Run]]:
        if receipt.answers != self.word:
            return {}
        said = {one.epoch: one for one in receipt.epochs}
        lost = {}
        for epoch, before in receipted.items():
            told = said.get(epoch)
            if told is not None and told.part:
                continue
            now = Runs(runs_of(told) if told is not None else ())
            if missing := [gone for run in before for gone in now.missing(run.first, run.last)]:
                lost[epoch] = missing
        return lost
