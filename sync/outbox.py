"""Pick the next entries to send from the ledger: what is new since the connection, and what waited before it.

Two walkers over one ledger. Both step over what the street has answered for, run by run, so a ledger of a million
receipted entries costs as much as an empty one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sync.cursor import Balance, Cursor, Span
from sync.entry import Key
from sync.events import Event
from sync.runs import Run, Runs

_BEFORE_ALL = Key(0, 0)
_BATCH_FRAME_BYTES = 2  # the brackets of the JSON array


class EntrySource(Protocol):
    """The part of `LedgerReader` that an outbox reads."""

    def changed(self) -> bool: ...
    def head(self) -> Key | None: ...
    def epochs(self) -> Sequence[Span]: ...
    def held(self, epoch: int) -> Sequence[Run]: ...
    def events(
        self, epoch: int, first: int, last: int, source: str, *, historical: bool
    ) -> Sequence[Event]: ...


@dataclass(slots=True, kw_only=True)
class Known:
    """A span of the ledger, kept here because looking at all of them twenty times a second would be waste."""

    epoch: int
    first_seq: int
    last_seq: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one batch may hold; `packet_bytes` is what the broker takes at all."""

    entries: int
    batch_bytes: int
    packet_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Entries ready to send, in order, and those that never can be, each with the reason."""

    keys: list[Key] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    unsendable: list[tuple[Key, str]] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many entries were looked at for it: a ledger full of unsendable ones must not be read in one go."""
        return len(self.keys) + len(self.unsendable)


class Outbox:
    """The open entries of one ledger, in the order they should travel."""

    def __init__(self, reader: EntrySource, cursor: Cursor, source: str) -> None:
        self._reader, self._cursor, self._source = reader, cursor, source
        self.spans: list[Known] = []
        self._backlog_at = self._split = self._live_at = _BEFORE_ALL
        self._mean_bytes = 1_000.0  # of an encoded entry; a passage has about 930

    @property
    def head(self) -> Key:
        """The newest key that is known."""
        return Key(self.spans[-1].epoch, self.spans[-1].last_seq) if self.spans else _BEFORE_ALL

    def begin(self) -> None:
        """Read what the ledger holds and call all of it backlog; what is appended from now on is live."""
        self._reload()
        self._backlog_at = _BEFORE_ALL
        self._split = self._live_at = self.head

    def look(self) -> bool:
        """Notice what was appended. True when the epochs changed, which is news for the street."""
        if not self._reader.changed():
            return False
        head = self._reader.head()
        newest = self.spans[-1] if self.spans else None
        if head is not None and newest is not None and head.epoch == newest.epoch and head.seq >= newest.last_seq:
            newest.count += head.seq - newest.last_seq
            newest.last_seq = head.seq
            return False
        before = self.head
        self._reload()
        if self.head < before:  # another file, or one from the past: walk it from its beginning
            self.begin()
        return True

    def span(self, epoch: int) -> Known | None:
        """Return what is known of one epoch."""
        return next((span for span in self.spans if span.epoch == epoch), None)

    def still_here(self, lost: Mapping[int, Sequence[Run]]) -> dict[int, list[Run]]:
        """Return which of these numbers the ledger still holds: what it has dropped it cannot send again."""
        here: dict[int, list[Run]] = {}
        for epoch, runs in lost.items():
            held = Runs(self._reader.held(epoch))
            if found := [part for run in runs for part in held.within(run.first, run.last)]:
                here[epoch] = found
        return here

    def live(self, limits: Limits) -> Parcel:
        """Take the next entries that were appended since `begin`."""
        parcel, self._live_at = self._collect(self._live_at, self.head, limits, historical=False)
        return parcel

    def backlog(self, limits: Limits) -> Parcel:
        """Take the oldest open entries from before `begin`."""
        parcel, self._backlog_at = self._collect(self._backlog_at, self._split, limits, historical=True)
        return parcel

    def balance(self) -> Balance:
        """Return where every entry stands."""
        return self._cursor.balance(self.spans)

    def _reload(self) -> None:
        self.spans = [
            Known(epoch=span.epoch, first_seq=span.first_seq, last_seq=span.last_seq, count=span.count)
            for span in sorted(self._reader.epochs(), key=lambda span: span.epoch)
        ]

    def _collect(self, at: Key, until: Key, limits: Limits, *, historical: bool) -> tuple[Parcel, Key]:
        parcel = Parcel()
        size = _BATCH_FRAME_BYTES
        while (taken := parcel.count) < limits.entries and (found := self._next_run(at, until)) is not None:
            epoch, run = found
            last = min(run.last, run.first + self._fitting(limits, taken, size) - 1)
            events = self._reader.events(epoch, run.first, last, self._source, historical=historical)
            all_fit, size = _load(parcel, epoch, events, limits, size)
            if not all_fit:
                return parcel, parcel.keys[-1]
            if parcel.events:
                self._mean_bytes += (size / len(parcel.events) - self._mean_bytes) / 4
            at = Key(epoch, last)  # numbers the ledger no longer holds are passed over; the balance shows them
        return parcel, at

    def _fitting(self, limits: Limits, taken: int, size: int) -> int:
        """Return how many more entries will about fit: what is read and does not fit is read again."""
        by_size = (limits.batch_bytes - size) / self._mean_bytes
        return max(1, min(limits.entries - taken, int(by_size) + 1))

    def _next_run(self, after: Key, until: Key) -> tuple[int, Run] | None:
        for span in self.spans:
            if span.epoch < after.epoch or span.epoch > until.epoch:
                continue
            first = max(span.first_seq, after.seq + 1) if span.epoch == after.epoch else span.first_seq
            last = min(span.last_seq, until.seq) if span.epoch == until.epoch else span.last_seq
            run = next(self._cursor.open_runs(span.epoch, first, last), None) if first <= last else None
            if run is not None:
                return span.epoch, run
        return None


def _load(parcel: Parcel, epoch: int, found: Sequence[Event], limits: Limits, size: int) -> tuple[bool, int]:
    """Put in what fits; return whether that was all, and the size of the batch with it."""
    for seq, event in found:
        length = len(event) + 1
        if length + 1 > limits.packet_bytes:
            parcel.unsendable.append((Key(epoch, seq), _too_large(length + 1, limits)))
            continue
        if parcel.keys and size + length > limits.batch_bytes:
            return False, size
        parcel.keys.append(Key(epoch, seq))
        parcel.events.append(event)
        size += length
    return True, size


def _too_large(length: int, limits: Limits) -> str:
    return f"too large: {length} bytes; the broker takes {limits.packet_bytes}"
