"""Read the next part of a backlog while the last one is on its way: two cores then share what one would do alone.

SQLite needs half of a backlog's processor time, and needs Python for none of it. What was read ahead is taken only
where it is exactly what is asked for, with no number missing; otherwise it is read again, as if nothing had been.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from sync.cursor import Span
from sync.entry import Key
from sync.errors import SyncError
from sync.events import Event
from sync.outbox import EntrySource
from sync.runs import Run

RUNS_PER_READ = 2  # longer reads: after each one the thread waits for its turn in Python
RUNS_AHEAD = 3  # senders fill a window of several batches at once, and then wait for a while


class EventSource(Protocol):
    """The part of a `LedgerReader` that reads ahead: another one than the outbox has, for one waits for the other."""

    def events(
        self, epoch: int, first: int, last: int, source: str, *, historical: bool
    ) -> Sequence[Event]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A run of numbers that is being read, or has been."""

    first: int
    last: int
    coming: Future[Sequence[Event]]


class ReadAhead:
    """An entry source that is some runs of numbers ahead of who reads a backlog in order. Used by one thread."""

    def __init__(self, reader: EntrySource, ahead: EventSource) -> None:
        self._reader, self._ahead = reader, ahead
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")  # its thread begins with the first task
        self._of: tuple[int, str] | None = None  # epoch and source of the parts
        self._parts: deque[_Part] = deque()  # in order, each where the one before ends

    def close(self) -> None:
        """Let the thread end. The readers stay open: they are their owner's."""
        self._forget()
        self._worker.shutdown()

    def changed(self) -> bool:
        """As `LedgerReader.changed`."""
        return self._reader.changed()

    def head(self) -> Key | None:
        """As `LedgerReader.head`."""
        return self._reader.head()

    def epochs(self) -> Sequence[Span]:
        """As `LedgerReader.epochs`."""
        return self._reader.epochs()

    def held(self, epoch: int) -> Sequence[Run]:
        """As `LedgerReader.held`."""
        return self._reader.held(epoch)

    def events(self, epoch: int, first: int, last: int, source: str, *, historical: bool) -> Sequence[Event]:
        """As `LedgerReader.events`. What is new is never read ahead: it may be appended after it was looked for."""
        if not historical:
            return self._reader.events(epoch, first, last, source, historical=False)
        found = self._known(first, last) if self._of == (epoch, source) else None
        if found is None:
            self._forget()
            found = self._reader.events(epoch, first, last, source, historical=True)
        if _is_whole(found, first, last):  # there may be more, and it will be asked for next
            self._of = epoch, source
            self._go_on(epoch, first, last, source, found)
        return found

    def _known(self, first: int, last: int) -> Sequence[Event] | None:
        """Return these events if they were read with none missing. What lies before them is asked for no more."""
        while self._parts and self._parts[0].last < first:
            self._parts.popleft()
        found: list[Event] = []
        try:
            for part in self._parts:
                if part.first <= last:
                    found += part.coming.result()
        except SyncError:  # it is read again, and whoever does so is told
            return None
        skipped = first - self._parts[0].first if self._parts else 0
        found = found[skipped : skipped + last - first + 1]
        return found if _is_whole(found, first, last) else None

    def _go_on(self, epoch: int, first: int, last: int, source: str, found: Sequence[Event]) -> None:
        count = last - first + 1
        if not self._parts:  # its end may not have fitted, and is then asked for again
            here: Future[Sequence[Event]] = Future()
            here.set_result(found)
            self._parts.append(_Part(first=first, last=last, coming=here))
        at = self._parts[-1].last
        while at < last + RUNS_AHEAD * count:
            first, at = at + 1, at + RUNS_PER_READ * count
            coming = self._worker.submit(self._ahead.events, epoch, first, at, source, historical=True)
            self._parts.append(_Part(first=first, last=at, coming=coming))

    def _forget(self) -> None:
        for part in self._parts:
            part.coming.cancel()
        self._parts.clear()
        self._of = None


def _is_whole(events: Sequence[Event], first: int, last: int) -> bool:
    """Tell whether these are the events from `first` to `last` and none is missing."""
    return len(events) == last - first + 1 and events[0][0] == first and events[-1][0] == last
