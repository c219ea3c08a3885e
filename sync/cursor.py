"""Keep what the street confirmed, in `uplink.db`: runs of receipted numbers per epoch, and the entries it refused.

The uplink is the only writer. Nothing here is precious: a lost file costs one round of duplicates, which the street
knows by their keys, and its receipts fill the file again.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from sync.entry import Key
from sync.errors import LedgerDamaged, LedgerFromTheFuture, LedgerUnavailable
from sync.runs import Run, Runs

VERSION = _WITH_PROOFS = 2
_SCHEMA = """
CREATE TABLE receipted(epoch INTEGER, first INTEGER, last INTEGER, PRIMARY KEY(epoch, first)) WITHOUT ROWID;
CREATE TABLE refused(epoch INTEGER, seq INTEGER, reason TEXT, wall_ns INTEGER, PRIMARY KEY(epoch, seq)) WITHOUT ROWID;
"""
# Since version 2: the receipt that says most of each epoch, as the street signed it.
_PROOFS = """
CREATE TABLE proofs(epoch INTEGER PRIMARY KEY, upto INTEGER, payload BLOB, signer TEXT, signature BLOB);
PRAGMA user_version = 2;
"""


class Span(Protocol):
    """The numbers of one epoch that a ledger holds."""

    @property
    def epoch(self) -> int: ...
    @property
    def first_seq(self) -> int: ...
    @property
    def last_seq(self) -> int: ...
    @property
    def count(self) -> int: ...


class Spans(Protocol):
    """A ledger that can say which numbers it holds."""

    def epochs(self) -> Sequence[Span]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A receipt as the street signed it, kept for one epoch, which it proves from 1 `upto` here (and more)."""

    epoch: int
    upto: int
    payload: bytes
    signer: str
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An entry that the street will not take. It stays in the ledger and is not sent again until it is pardoned."""

    key: Key
    reason: str
    wall_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Where every entry stands. `appended = receipted + refused + pending`, or the ledger has lost rows."""

    appended: int
    receipted: int
    refused: int
    pending: int

    @property
    def holds(self) -> bool:
        """Whether every number that the ledger should hold is there and stands somewhere."""
        return self.appended == self.receipted + self.refused + self.pending


class Cursor:
    """Say which entries are closed. Read-only as it stands; the uplink opens it with `write=True`."""

    def __init__(self, path: Path | str, *, write: bool = False) -> None:
        self._receipted: dict[int, Runs] = {}
        self._refused: dict[int, dict[int, DeadLetter]] = {}
        self._dead: dict[int, Runs] = {}  # the numbers of `_refused`: there may be many thousands
        self._proofs: dict[int, Proof] = {}
        self._connection: sqlite3.Connection | None = None
        path = Path(path)
        try:
            if write:
                self._connection = _open_for_writing(path)
                self._load(self._connection)
            elif path.exists():  # no uplink has run yet: then nothing is receipted, which is an answer
                with closing(_open_for_reading(path)) as connection:
                    self._load(connection)
        except sqlite3.OperationalError as error:
            raise LedgerUnavailable(f"{path}: {error}; check the directory, its owner and the free space") from error
        except sqlite3.DatabaseError as error:
            raise LedgerDamaged(f"{path}: {error}; restart the uplink, which sets it aside") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def is_closed(self, key: Key) -> bool:
        """Tell whether the street has answered for this entry."""
        return key.seq in self._receipted.get(key.epoch, ()) or key.seq in self._refused.get(key.epoch, ())

    def is_receipted(self, key: Key) -> bool:
        """Tell whether the street holds this entry by its own word; one that it refused it does not hold."""
        return key.seq in self._receipted.get(key.epoch, ())

    def holds_all(self, first: Key, last: Key) -> bool:
        """Tell whether the street holds every number from first to last, by one look; False between epochs."""
        runs = self._receipted.get(first.epoch)
        whole = last.seq - first.seq + 1
        return runs is not None and first.epoch == last.epoch and runs.count(first.seq, last.seq) == whole

    def open_runs(self, epoch: int, first: int, last: int) -> Iterator[Run]:
        """Yield the runs of numbers between first and last that the street has not answered for."""
        refused = self._dead.get(epoch, Runs())
        for run in self._receipted.get(epoch, Runs()).missing(first, last):
            yield from refused.missing(run.first, run.last)

    def receipted(self, epoch: int) -> Runs:
        """Return the numbers of an epoch that the street holds by its own word."""
        return self._receipted.get(epoch, Runs())

    def proofs(self) -> list[Proof]:
        """Return the receipts that prove what was receipted, as they came; whoever relies on them verifies them."""
        return list(self._proofs.values())

    def settle(
        self,
        receipted: Mapping[int, Iterable[Run]],
        refused: Iterable[DeadLetter] = (),
        proofs: Iterable[Proof] = (),
    ) -> int:
        """Close these entries and return how many receipts are new.

        A receipt for an entry refused earlier wins: the street says that it holds it now. In one and the same call
        the refusal wins. Of the proofs of an epoch the one that proves most is kept.

        Raises: LedgerUnavailable when the file cannot be written; then nothing is closed.
        """
        touched, dead, new = self._merged(receipted, {letter.key: letter for letter in refused})
        proofs = [one for one in proofs if one.upto > (known.upto if (known := self._proofs.get(one.epoch)) else -1)]
        if not touched and not dead and not proofs:
            return 0
        with self._writing() as connection:
            for epoch, runs in touched.items():
                _write_runs(connection, epoch, runs)
                held = ((epoch, seq) for seq in _in_both(self._dead.get(epoch, Runs()), runs))
                connection.executemany("DELETE FROM refused WHERE epoch = ? AND seq = ?", held)
            letters = ((d.key.epoch, d.key.seq, d.reason, d.wall_ns) for d in dead.values())
            connection.executemany("INSERT OR REPLACE INTO refused VALUES(?, ?, ?, ?)", letters)
            rows = ((one.epoch, one.upto, one.payload, one.signer, one.signature) for one in proofs)
            connection.executemany("INSERT OR REPLACE INTO proofs VALUES(?, ?, ?, ?, ?)", rows)
        self._remember(touched, dead)
        self._proofs.update((one.epoch, one) for one in proofs)
        return new

    def reopen(self, epoch: int, lost: Iterable[Run]) -> None:
        """Open entries again that the street held and holds no more; what it proved of their epoch proves nothing now.

        Raises: LedgerUnavailable when the file cannot be written; then they stay closed.
        """
        runs = self.receipted(epoch).copy()
        for run in lost:
            runs.remove(run.first, run.last)
        with self._writing() as connection:
            _write_runs(connection, epoch, runs)
            connection.execute("DELETE FROM proofs WHERE epoch = ?", (epoch,))
        self._receipted[epoch] = runs
        self._proofs.pop(epoch, None)

    def pardon(self, reason: str | None = None) -> int:
        """Let refused entries be sent again, all of them or those of one reason; return how many."""
        letters = [letter for letter in self.dead_letters() if reason in (None, letter.reason)]
        if letters:
            with self._writing() as connection:
                keys = ((letter.key.epoch, letter.key.seq) for letter in letters)
                connection.executemany("DELETE FROM refused WHERE epoch = ? AND seq = ?", keys)
            for letter in letters:
                self._revive(letter.key.epoch, letter.key.seq)
        return len(letters)

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Return the refused entries, oldest key first."""
        letters = (letter for epoch in self._refused.values() for letter in epoch.values())
        return tuple(sorted(letters, key=lambda letter: letter.key))

    def beyond(self, spans: Iterable[Span]) -> tuple[int, int]:
        """Return how many receipted entries lie past the ends of these epochs, and the highest epoch receipted."""
        ends = {span.epoch: span.last_seq for span in spans}
        past = sum(runs.count(ends.get(epoch, 0) + 1, runs.last) for epoch, runs in self._receipted.items())
        return past, max((epoch for epoch, runs in self._receipted.items() if len(runs)), default=0)

    def pending(self, ledger: Spans) -> Balance:
        """Return where every entry of this ledger stands."""
        return self.balance(ledger.epochs())

    def balance(self, spans: Iterable[Span]) -> Balance:
        """Return where every entry of these epochs stands."""
        appended = receipted = refused = pending = 0
        for span in spans:
            first, last = span.first_seq, span.last_seq
            held = self._receipted.get(span.epoch, Runs()).count(first, last)
            dead = self._dead.get(span.epoch, Runs()).count(first, last)
            appended, receipted, refused = appended + span.count, receipted + held, refused + dead
            pending += last - first + 1 - held - dead
        return Balance(appended=appended, receipted=receipted, refused=refused, pending=pending)

    def _merged(
        self, receipted: Mapping[int, Iterable[Run]], dead: dict[Key, DeadLetter]
    ) -> tuple[dict[int, Runs], dict[Key, DeadLetter], int]:
        touched: dict[int, Runs] = {}
        new = 0
        for epoch, said in receipted.items():
            before = self._receipted.get(epoch, Runs())
            runs = before.copy()
            added = sum(runs.add(run.first, run.last) for run in said)
            if added:
                touched[epoch], new = runs, new + added
        for key in dead:
            runs = touched.get(key.epoch) or self._receipted.get(key.epoch, Runs()).copy()
            if key.seq in runs:
                runs.discard(key.seq)
                touched[key.epoch], new = runs, new - 1
        return touched, dead, new

    def _remember(self, touched: Mapping[int, Runs], dead: Mapping[Key, DeadLetter]) -> None:
        for epoch, runs in touched.items():
            self._receipted[epoch] = runs
            for seq in list(_in_both(self._dead.get(epoch, Runs()), runs)):
                self._revive(epoch, seq)
        for letter in dead.values():
            self._bury(letter)

    def _bury(self, letter: DeadLetter) -> None:
        epoch, seq = letter.key.epoch, letter.key.seq
        self._refused.setdefault(epoch, {})[seq] = letter
        self._dead.setdefault(epoch, Runs()).add(seq, seq)

    def _revive(self, epoch: int, seq: int) -> None:
        del self._refused[epoch][seq]
        self._dead[epoch].discard(seq)

    def _load(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise LedgerFromTheFuture(f"uplink.db has version {version}, this program knows {VERSION}; update sentinel")
        if version == 0:  # created this moment by its writer
            return
        for epoch, first, last in connection.execute("SELECT epoch, first, last FROM receipted ORDER BY epoch, first"):
            self._receipted.setdefault(epoch, Runs()).add(first, last)
        for epoch, seq, reason, wall_ns in connection.execute("SELECT epoch, seq, reason, wall_ns FROM refused"):
            self._bury(DeadLetter(key=Key(epoch, seq), reason=reason, wall_ns=wall_ns))
        if version < _WITH_PROOFS:  # a reader before the new writer has opened it
            return
        for epoch, upto, payload, signer, signature in connection.execute("SELECT * FROM proofs"):
            self._proofs[epoch] = Proof(epoch=epoch, upto=upto, payload=payload, signer=signer, signature=signature)

    def _writing(self) -> "_Transaction":
        if self._connection is None:
            raise LedgerUnavailable("uplink.db is open for reading only; open it with write=True")
        return _Transaction(self._connection)


class _Transaction:
    """One short BEGIN IMMEDIATE … COMMIT, with SQLite's complaints in our words."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"uplink.db cannot be written: {error}; check the free space") from error
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            self._connection.execute("ROLLBACK" if kind else "COMMIT")
        except sqlite3.Error as failed:
            raise LedgerUnavailable(f"uplink.db cannot be written: {failed}; check the free space") from failed
        if isinstance(error, sqlite3.Error):
            raise LedgerUnavailable(f"uplink.db cannot be written: {error}; check the free space") from error


def _in_both(one: Runs, other: Runs) -> Iterator[int]:
    few, many = sorted((one, other), key=len)
    for run in few:
        for part in many.within(run.first, run.last):
            yield from range(part.first, part.last + 1)


def _write_runs(connection: sqlite3.Connection, epoch: int, runs: Runs) -> None:
    connection.execute("DELETE FROM receipted WHERE epoch = ?", (epoch,))
    connection.executemany("INSERT INTO receipted VALUES(?, ?, ?)", ((epoch, run.first, run.last) for run in runs))


def _open_for_writing(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # In step with the log but not with each commit: a power cut may take back the last receipts, never invent one.
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < VERSION:
            connection.executescript(f"BEGIN IMMEDIATE; {'' if version else _SCHEMA} {_PROOFS} COMMIT;")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """Open read-only, also where nobody may create the files beside a WAL database and no writer lives."""
    address = path.absolute().as_uri() + "?mode=ro"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=1.0)
    try:
        connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if Path(f"{path}-wal").exists():  # immutable=1 would ignore it and show an old state as if it were the present
            raise
        connection = sqlite3.connect(address + "&immutable=1", uri=True, isolation_level=None)
    return connection
