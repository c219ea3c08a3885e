"""Keep what the street confirmed, in `uplink.db`: runs of receipted numbers per epoch, and the entries it refused.

The uplink is the only writer. Nothing here is precious: a lost file costs one round of duplicates, which the street
knows by their keys, and its receipts fill the file again.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from sync.entry import Key
from sync.errors import LedgerDamaged, LedgerFromTheFuture, LedgerUnavailable
from sync.runs import Run, Runs

VERSION = 1
_SCHEMA = """
CREATE TABLE receipted(epoch INTEGER, first INTEGER, last INTEGER, PRIMARY KEY(epoch, first)) WITHOUT ROWID;
CREATE TABLE refused(epoch INTEGER, seq INTEGER, reason TEXT, wall_ns INTEGER, PRIMARY KEY(epoch, seq)) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
# Signed receipts; an older program that opens the file does not miss the table.
_PROOFS = "CREATE TABLE IF NOT EXISTS proofs(number INTEGER PRIMARY KEY, payload BLOB, signer TEXT, signature BLOB)"


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
class DeadLetter:
    """An entry that the street will not take. It stays in the ledger and is not sent again until it is pardoned."""

    key: Key
    reason: str
    wall_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A receipt as the street signed it."""

    payload: bytes
    signer: str
    signature: bytes


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
        self._proofs: tuple[Proof, ...] = ()
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

    def receipted_of(self, epoch: int) -> Runs:
        """Return a copy of the numbers of one epoch that the street holds by its own word."""
        return self._receipted.get(epoch, Runs()).copy()

    def proofs(self) -> tuple[Proof, ...]:
        """Return the signed receipts that are kept, not verified."""
        return self._proofs

    def keep_proofs(self, proofs: Sequence[Proof]) -> None:
        """Keep these signed receipts in the place of those before.

        Raises: LedgerUnavailable when the file cannot be written.
        """
        with self._writing() as connection:
            connection.execute("DELETE FROM proofs")
            rows = ((number, one.payload, one.signer, one.signature) for number, one in enumerate(proofs))
            connection.executemany("INSERT INTO proofs VALUES(?, ?, ?, ?)", rows)
        self._proofs = tuple(proofs)

    def reopen(self, lost: Mapping[int, Iterable[Run]]) -> None:
        """Take receipts back: the street no longer holds these entries.

        Raises: LedgerUnavailable when the file cannot be written; then all stay closed.
        """
        left: dict[int, Runs] = {}
        for epoch, runs in lost.items():
            gone, before = Runs(runs), self._receipted.get(epoch, Runs())
            left[epoch] = Runs(part for run in before for part in gone.missing(run.first, run.last))
        with self._writing() as connection:
            _replace_runs(connection, left)
        self._receipted.update(left)

    def open_runs(self, epoch: int, first: int, last: int) -> Iterator[Run]:
        """Yield the runs of numbers between first and last that the street has not answered for."""
        refused = Runs(Run(seq, seq) for seq in sorted(self._refused.get(epoch, ())))
        for run in self._receipted.get(epoch, Runs()).missing(first, last):
            yield from refused.missing(run.first, run.last)

    def settle(self, receipted: Mapping[int, Iterable[Run]], refused: Iterable[DeadLetter] = ()) -> int:
        """Close these entries durably and return how many receipts are new.

        A receipt for an entry refused earlier wins: the street says that it holds it now. In one and the same call
        the refusal wins.

        Raises: LedgerUnavailable when the file cannot be written; then nothing is closed.
        """
        touched, dead, new = self._merged(receipted, {letter.key: letter for letter in refused})
        if not touched and not dead:
            return 0
        with self._writing() as connection:
            _replace_runs(connection, touched)
            for epoch, runs in touched.items():
                held = ((epoch, seq) for seq in self._refused.get(epoch, ()) if seq in runs)
                connection.executemany("DELETE FROM refused WHERE epoch = ? AND seq = ?", held)
            letters = ((d.key.epoch, d.key.seq, d.reason, d.wall_ns) for d in dead.values())
            connection.executemany("INSERT OR REPLACE INTO refused VALUES(?, ?, ?, ?)", letters)
        self._remember(touched, dead)
        return new

    def pardon(self, reason: str | None = None) -> int:
        """Let refused entries be sent again, all of them or those of one reason; return how many."""
        letters = [letter for letter in self.dead_letters() if reason in (None, letter.reason)]
        if letters:
            with self._writing() as connection:
                keys = ((letter.key.epoch, letter.key.seq) for letter in letters)
                connection.executemany("DELETE FROM refused WHERE epoch = ? AND seq = ?", keys)
            for letter in letters:
                del self._refused[letter.key.epoch][letter.key.seq]
        return len(letters)

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Return the refused entries, oldest key first."""
        letters = (letter for epoch in self._refused.values() for letter in epoch.values())
        return tuple(sorted(letters, key=lambda letter: letter.key))

    def pending(self, ledger: Spans) -> Balance:
        """Return where every entry of this ledger stands."""
        return self.balance(ledger.epochs())

    def balance(self, spans: Iterable[Span]) -> Balance:
        """Return where every entry of these epochs stands."""
        appended = receipted = refused = pending = 0
        for span in spans:
            first, last = span.first_seq, span.last_seq
            held = self._receipted.get(span.epoch, Runs()).count(first, last)
            dead = sum(first <= seq <= last for seq in self._refused.get(span.epoch, ()))
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
            for seq in [seq for seq in self._refused.get(epoch, ()) if seq in runs]:
                del self._refused[epoch][seq]
        for key, letter in dead.items():
            self._refused.setdefault(key.epoch, {})[key.seq] = letter

    def _load(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise LedgerFromTheFuture(f"uplink.db has version {version}, this program knows {VERSION}; update sentinel")
        if version == 0:  # created this moment by its writer
            return
        for epoch, first, last in connection.execute("SELECT epoch, first, last FROM receipted ORDER BY epoch, first"):
            self._receipted.setdefault(epoch, Runs()).add(first, last)
        for epoch, seq, reason, wall_ns in connection.execute("SELECT epoch, seq, reason, wall_ns FROM refused"):
            letter = DeadLetter(key=Key(epoch, seq), reason=reason, wall_ns=wall_ns)
            self._refused.setdefault(epoch, {})[seq] = letter
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'proofs'").fetchone():
            rows = connection.execute("SELECT payload, signer, signature FROM proofs ORDER BY number")
            self._proofs = tuple(Proof(payload=bytes(p), signer=str(by), signature=bytes(s)) for p, by, s in rows)

    def _writing(self) -> "_Transaction":
        if self._connection is None:
            raise LedgerUnavailable("uplink.db is open for reading only; open it with write=True")
        return _Transaction(self._connection)


def _replace_runs(connection: sqlite3.Connection, runs: Mapping[int, Runs]) -> None:
    for epoch, held in runs.items():
        connection.execute("DELETE FROM receipted WHERE epoch = ?", (epoch,))
        rows = ((epoch, run.first, run.last) for run in held)
        connection.executemany("INSERT INTO receipted VALUES(?, ?, ?)", rows)


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


def _open_for_writing(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # In step with the log but not with each commit: a power cut may take back the last receipts, never invent one.
        connection.execute("PRAGMA synchronous = NORMAL")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        connection.execute(_PROOFS)
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
