"""Read `ledger.db` in short reads, whoever writes it, dies over it or puts another file in its place.

A file without a write-ahead log beside it is opened `immutable`, which touches nothing: a reader that made a log of
its own could lock the owner out with its file permissions. Such a view is trusted only while the file has not
changed and no log has appeared, checked after each read; with a log there, the file is opened `mode=ro`.
"""

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sync import schema
from sync.entry import Entry, Key, entry_hash
from sync.errors import LedgerFromTheFuture, LedgerUnavailable, SyncError
from sync.events import Event, read_events
from sync.gapped import Gap, Gaps, chain_breaks
from sync.runs import Run

Answer = TypeVar("Answer")

_TRIES = 5  # each loses only to an owner that starts or stops within the same millisecond
_HEAD_BYTES = 400  # what the stamps, hashes and key of an entry add to its body in a message
_VERIFY_ENTRIES = 500  # per read: some 5 ms, so that the log can be checkpointed in between
_MAX_BREAKS = 100
_COPY_PAGES = 128  # 256 KB at a time, then a pause: 16 MB a second are about what a flash card can write
_COPY_PAUSE_S = 0.016
_COPY_SYNC_STEPS = 32  # 8 MB: more of it would stand in the card's queue before the next append

_EPOCHS = """WITH RECURSIVE known (epoch) AS (
    SELECT min(epoch) FROM entries
    UNION ALL
    SELECT (SELECT min(epoch) FROM entries WHERE epoch > known.epoch) FROM known WHERE known.epoch IS NOT NULL
)
SELECT epoch,
    (SELECT min(seq) FROM entries WHERE epoch = known.epoch),
    (SELECT max(seq) FROM entries WHERE epoch = known.epoch)
FROM known WHERE epoch IS NOT NULL"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSpan:
    """What the ledger holds of one epoch. `count` is less than the span when entries are missing inside it.

    Numbers inside the span that the ledger knows to have pruned or lost count too, and `gone` says how many they are:
    they were appended, and the balance knows what became of them.
    """

    epoch: int
    first_seq: int
    last_seq: int
    count: int
    gone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What a check of the hash chain found. Each break names its place by its numbers.

    `pruned` counts numbers dropped after their receipt; `holes` are damage that a salvage noted. Neither is a break.
    """

    ok: bool
    checked: int
    breaks: tuple[str, ...]
    pruned: int = 0
    holes: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPart:
    """Where a personal part is that was not emptied yet."""

    key: Key
    kind: str
    personal_key: str
    person: str | None  # the body's keyed token
    personal: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _View:
    """How the file looked when it was opened: another look means another opening."""

    device: int
    inode: int
    size: int = 0  # of an immutable view only: beside a log the main file changes at each checkpoint, and may
    mtime_ns: int = 0
    immutable: bool = False


class LedgerReader:
    """A reader of the ledger. Threads may share it: one read at a time."""

    def __init__(self, path: Path | str, *, connect: Callable[[Path, str], sqlite3.Connection] = schema.connect):
        """Name the file; it is opened by the first read, and may come later."""
        self.path = Path(path)
        self._wal = Path(f"{path}-wal")
        self._connect = connect
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._view: _View | None = None
        self._openings = 0
        self._mark: tuple[int, int] | None = None
        self._counted: dict[int, EpochSpan] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. A later read opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._view = None

    def changed(self) -> bool:
        """Tell whether anything was written since the last call; the first call says yes."""
        with self._lock:
            version = self._read(lambda ledger: ledger.execute("PRAGMA data_version").fetchone()[0])
            mark, self._mark = self._mark, (self._openings, version)
            return mark != self._mark

    def head(self) -> Key | None:
        """Return the key of the newest entry."""
        row = self._read(lambda ledger: ledger.execute(schema.TIP).fetchone())
        return Key(row[0], row[1]) if row else None

    def count(self) -> int:
        """Return how many entries the ledger holds."""
        return sum(span.count - span.gone for span in self.epochs())

    def epochs(self) -> list[EpochSpan]:
        """Return what is there of each epoch, oldest first. Only what is new since the last call is counted."""
        with self._lock:
            spans = self._read(self._spans)
            self._counted = {span.epoch: span for span in spans}
            return spans

    def gaps(self) -> Gaps:
        """Return which numbers are no longer here, and why."""
        return self._read(_gaps)

    def began_after(self, epoch: int) -> int | None:
        """Return the wall time, in ns, of the first later epoch that began under a trusted clock."""
        start = "SELECT wall_ns FROM entries WHERE epoch > ? AND seq = 1 AND trusted = 1 ORDER BY epoch LIMIT 1"
        row = self._read(lambda ledger: ledger.execute(start, (epoch,)).fetchone())
        return row[0] if row else None

    def after(self, key: Key | None, limit: int, max_bytes: int | None = None) -> list[Entry]:
        """Return the entries after `key` in order, from the oldest for None; at least one if there is one.

        Unit: `max_bytes` of message, about; an entry counts its body and 400 bytes.
        """
        where = "WHERE (epoch, seq) > (?, ?) ORDER BY epoch, seq LIMIT ?"
        return self._select(where, (*((key.epoch, key.seq) if key else (-1, -1)), limit), max_bytes)

    def range(self, epoch: int, first: int, last: int) -> list[Entry]:
        """Return the entries of an epoch from `first` to `last`, both included; missing ones are missing."""
        return self._select("WHERE epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq", (epoch, first, last))

    def held(self, epoch: int) -> list[Run]:
        """Return the runs of numbers that are here, of one epoch: the span of it without its gaps and holes."""
        query = """SELECT min(seq), max(seq) FROM (
            SELECT seq, seq - row_number() OVER (ORDER BY seq) AS run FROM entries WHERE epoch = ?
        ) GROUP BY run ORDER BY 1"""
        return self._read(lambda ledger: [Run(*row) for row in ledger.execute(query, (epoch,))])

    def events(self, epoch: int, first: int, last: int, source: str, *, historical: bool) -> list[Event]:
        """Return the same entries ready for the road."""
        return self._read(lambda ledger: read_events(ledger, epoch, first, last, source, historical=historical))

    def newest(self, limit: int, kind: str | None = None) -> list[Entry]:
        """Return the newest entries, of one kind or of all, newest first."""
        if kind is None:
            return self._select("ORDER BY epoch DESC, seq DESC LIMIT ?", (limit,))
        return self._select("WHERE kind = ? ORDER BY epoch DESC, seq DESC LIMIT ?", (kind, limit))

    def ends(self) -> list[Entry]:
        """Return the first and the last entry of every epoch, oldest first."""

        def look(ledger: sqlite3.Connection) -> list[Entry]:
            keys = [(epoch, seq) for epoch, *ends in ledger.execute(_EPOCHS).fetchall() for seq in sorted({*ends})]
            one = f"{schema.SELECT} WHERE epoch = ? AND seq = ?"
            return [schema.entry_of(ledger.execute(one, key).fetchone()) for key in keys]

        return self._read(look)

    def of_kind(self, kind: str, epochs: Iterable[int]) -> list[Entry]:
        """Return the entries of a kind in these epochs, oldest first; reads all of each epoch."""
        where = "WHERE epoch = ? AND kind = ? ORDER BY seq"
        return [entry for epoch in sorted(epochs) for entry in self._select(where, (epoch, kind))]

    def get(self, key: Key) -> Entry | None:
        """Return the entry of this key."""
        return next(iter(self.range(key.epoch, key.seq, key.seq)), None)

    def sealed_parts(self) -> Iterator[SealedPart]:
        """Yield every personal part that is still there, oldest first, in short reads."""
        query = """SELECT epoch, seq, kind, personal_key, json_extract(body, '$.person'), personal FROM entries
            WHERE (epoch, seq) > (?, ?) AND personal IS NOT NULL ORDER BY epoch, seq LIMIT ?"""
        at = (-1, -1)

        def look(ledger: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return ledger.execute(query, (*at, _VERIFY_ENTRIES)).fetchall()

        while rows := self._read(look):
            for epoch, seq, kind, name, person, personal in rows:
                yield SealedPart(key=Key(epoch, seq), kind=kind, personal_key=name, person=person, personal=personal)
            at = rows[-1][:2]

    def by_request(self, request: str) -> Entry | None:
        """Return the entry that this request made."""
        return next(iter(self._select("WHERE request = ?", (request,))), None)

    def counts_since(self, kind: str, wall_ns: int, by: str | None = None) -> dict[str, int]:
        """Return how many entries of a kind were stamped since that wall time, per value of the body's field `by`.

        Without `by` the only key is the kind. Looks back no further than the last trusted entry before that time.
        """
        value, values = ("json_extract(body, ?)", (f'$."{by}"',)) if by else ("kind", ())
        start = "SELECT epoch, seq FROM entries WHERE trusted = 1 AND wall_ns < ? ORDER BY epoch DESC, seq DESC LIMIT 1"
        since = "(epoch, seq) > (?, ?) AND kind = ? AND wall_ns >= ?"
        tally = f"SELECT {value}, count(*) FROM entries WHERE {since} GROUP BY 1"

        def look(ledger: sqlite3.Connection) -> dict[str, int]:
            key = ledger.execute(start, (wall_ns,)).fetchone() or (-1, -1)
            return {str(name): n for name, n in ledger.execute(tally, (*values, *key, kind, wall_ns))}

        return self._read(look)

    def verify(self, look: Callable[[Entry], object] = bool) -> ChainReport:
        """Check each hash, each link and each number from the oldest entry on; pruned ones are no break.

        `look` is shown each entry.
        Raises: LedgerUnavailable, LedgerDamaged.
        """
        checked, before, breaks = 0, None, list[str]()
        gaps = self.gaps()
        for entry in self._walk():
            checked += 1
            look(entry)
            found = list(_breaks(before, entry, gaps)) if len(breaks) < _MAX_BREAKS else []
            if found and before is not None:  # pruned under our eyes? then the gap is there now
                gaps = self.gaps()
                found = list(_breaks(before, entry, gaps))
            breaks.extend(found)
            before = entry
        holes = gaps.damaged()
        pruned = sum(gap.count for gap in gaps) - sum(gap.count for gap in holes)
        return ChainReport(ok=not breaks, checked=checked, breaks=tuple(breaks), pruned=pruned, holes=holes)

    def copy_to(self, target: Path) -> None:
        """Write a copy of the ledger as it is at this moment, in small steps; its owner goes on appending meanwhile.

        The copy lies in one snapshot: without it SQLite would begin again at each append. The log grows until the end.
        Raises: LedgerUnavailable, LedgerDamaged.
        """

        def copy(ledger: sqlite3.Connection) -> None:
            target.unlink(missing_ok=True)
            ledger.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on the snapshot stands
            with closing(self._connect(target, "rwc")) as fresh, target.open("rb") as file:
                fresh.execute("PRAGMA synchronous = OFF")
                ledger.backup(fresh, pages=_COPY_PAGES, progress=partial(_after_step, file.fileno(), count()))

        self._read(copy)

    def _walk(self) -> Iterator[Entry]:
        key = None
        while entries := self.after(key, _VERIFY_ENTRIES):
            yield from entries
            key = entries[-1].key

    def _spans(self, ledger: sqlite3.Connection) -> list[EpochSpan]:
        gaps = _gaps(ledger)
        return [self._count(ledger, gaps, *row) for row in ledger.execute(_EPOCHS).fetchall()]

    def _count(self, ledger: sqlite3.Connection, gaps: Gaps, epoch: int, first: int, last: int) -> EpochSpan:
        # Entry or gap, a number counts once: so what was counted stays right when entries inside the span are pruned.
        known = self._counted.get(epoch)
        base, since = (known.count, known.last_seq) if known and known.first_seq == first else (0, first - 1)
        if known is None or since != last:
            where = "SELECT count(*) FROM entries WHERE epoch = ? AND seq > ?"
            base += ledger.execute(where, (epoch, since)).fetchone()[0] + gaps.count(epoch, since + 1, last)
        return EpochSpan(
            epoch=epoch, first_seq=first, last_seq=last, count=base, gone=gaps.count(epoch, first, last)
        )

    def _select(self, where: str, values: tuple[Any, ...], max_bytes: int | None = None) -> list[Entry]:
        def look(ledger: sqlite3.Connection) -> list[Entry]:
            entries: list[Entry] = []
            room = max_bytes
            for row in ledger.execute(f"{schema.SELECT} {where}", values):
                entry = schema.entry_of(row)
                if room is not None:
                    room -= len(entry.body) + _HEAD_BYTES
                    if entries and room < 0:
                        break
                entries.append(entry)
            return entries

        return self._read(look)

    def _read(self, look: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Return what `look` sees in one snapshot of the file that is there now."""
        with self._lock:
            for last_try in (False,) * (_TRIES - 1) + (True,):
                try:
                    ledger = self._opened()
                    ledger.execute("BEGIN")
                    answer = look(ledger)
                    ledger.execute("COMMIT")
                except sqlite3.Error as error:
                    view = self._view
                    self.close()
                    if last_try or self._look_at_file() == view:
                        raise self._explain(error) from error
                    continue
                if self._view == self._look_at_file():
                    return answer
                self.close()
            raise LedgerUnavailable(f"{self.path} changed hands {_TRIES} times during one read; try again")

    def _opened(self) -> sqlite3.Connection:
        view = self._look_at_file()
        if self._connection is not None and view == self._view:
            return self._connection
        self.close()
        self._view = view
        self._counted = {}
        self._openings += 1
        self._connection = self._connect(self.path, "immutable" if view.immutable else "ro")
        self._check_version(schema.version_of(self._connection))
        return self._connection

    def _check_version(self, version: int) -> None:
        known = schema.SCHEMA_VERSION
        if version == known:
            return
        self.close()
        if version > known:
            raise LedgerFromTheFuture(
                f"{self.path} has schema {version} and this program knows {known}; use the newer program"
            )
        raise LedgerUnavailable(f"{self.path} has schema {version}, not finished or old; start its owner once")

    def _explain(self, error: sqlite3.Error) -> SyncError:
        if schema.primary_name(error) in ("SQLITE_CANTOPEN", "SQLITE_READONLY") and self._wal.exists():
            return LedgerUnavailable(
                f"cannot read {self.path}: its owner died and left a log ({self._wal.name}) that this user may not"
                " recover; start the gate once or read as its user"
            )
        return schema.explain(error, self.path, "read")

    def _look_at_file(self) -> _View:
        try:
            file = os.stat(self.path)
            if self._wal.exists():
                return _View(file.st_dev, file.st_ino)
        except FileNotFoundError:
            raise LedgerUnavailable(f"{self.path} does not exist yet; start the gate once") from None
        except OSError as error:
            raise LedgerUnavailable(f"cannot look at {self.path}: {error}; check the permissions") from error
        return _View(file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, immutable=True)


def _after_step(descriptor: int, steps: Iterator[int], _status: int, left: int, _pages: int) -> None:
    if next(steps) % _COPY_SYNC_STEPS == _COPY_SYNC_STEPS - 1:
        os.fdatasync(descriptor)
    if left:
        time.sleep(_COPY_PAUSE_S)


def _gaps(ledger: sqlite3.Connection) -> Gaps:
    return Gaps(
        Gap(epoch=epoch, first=first, last=last, prev=prev, hash=hash_, why=why)
        for epoch, first, last, prev, hash_, why in ledger.execute(schema.GAPS)
    )


def _breaks(before: Entry | None, entry: Entry, gaps: Gaps) -> Iterator[str]:
    if entry_hash(entry) != entry.hash:
        yield f"{entry.key}: its content does not give its hash"
    if entry.personal is not None and hashlib.sha256(entry.personal).digest() != entry.personal_sha256:
        yield f"{entry.key}: its personal part is not the one that was written"
    if before is not None:
        yield from chain_breaks(before, entry, gaps)
