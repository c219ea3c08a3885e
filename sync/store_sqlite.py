"""Hold a street's store in one file of SQLite, for one street."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sync.errors import LedgerFromTheFuture, LedgerUnavailable

VERSION = 1
BUSY_S = 10.0  # several workers write in turns of some 10 ms each

_SCHEMA = """
CREATE TABLE entries(
    device TEXT, epoch INTEGER, seq INTEGER, kind TEXT NOT NULL, version INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL, boot_ns INTEGER NOT NULL, boot_id TEXT NOT NULL, trusted INTEGER NOT NULL,
    body BLOB NOT NULL, personal_sha256 BLOB, prev BLOB NOT NULL, hash BLOB NOT NULL,
    historical INTEGER NOT NULL, received_ns INTEGER NOT NULL,
    PRIMARY KEY(device, epoch, seq)) WITHOUT ROWID;
CREATE TABLE runs(device TEXT, epoch INTEGER, first INTEGER, last INTEGER,
    PRIMARY KEY(device, epoch, first)) WITHOUT ROWID;
CREATE TABLE forks(device TEXT, epoch INTEGER, seq INTEGER, hash BLOB, prev BLOB, kind TEXT, body BLOB,
    received_ns INTEGER, PRIMARY KEY(device, epoch, seq, hash)) WITHOUT ROWID;
CREATE TABLE breaks(device TEXT, epoch INTEGER, seq INTEGER, received_ns INTEGER,
    PRIMARY KEY(device, epoch, seq)) WITHOUT ROWID;
CREATE TABLE announced(device TEXT, epoch INTEGER, last INTEGER, PRIMARY KEY(device, epoch)) WITHOUT ROWID;
CREATE TABLE gates(device TEXT PRIMARY KEY, seen_ns INTEGER NOT NULL, online INTEGER, refused INTEGER NOT NULL)
    WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_MENDED = ((3, 44, 6), (3, 50, 7))  # the older branches that got the mending of 3.51.3
_INSERT = "INSERT INTO entries VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def many_may_write(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Tell whether several processes may write one file with this SQLite.

    From 3.7.0 to 3.51.2 two that write and checkpoint at once can damage it: its "WAL-reset bug".
    Source: https://sqlite.org/wal.html#walresetbug
    """
    return version >= (3, 51, 3) or any(fixed <= version < (*fixed[:2], 99) for fixed in _MENDED)


class SqliteEngine:
    """One connection to the file. Only one transaction runs at a time, whatever devices it is for."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = _open(path)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"{path}: {error}; check the directory, its owner and the free space") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self, devices: Sequence[str]) -> Iterator[None]:
        """Commit what is done inside, or nothing of it.

        Raises: LedgerUnavailable.
        """
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"the street's store cannot be written: {error}; check the disk") from error
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Return all rows of a query."""
        return self._connection.execute(sql, values).fetchall()

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for each row."""
        self._connection.executemany(sql, rows)

    def insert_entries(self, rows: Iterable[Sequence[object]]) -> None:
        """Insert entries that are not there."""
        self._connection.executemany(_INSERT, rows)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise LedgerFromTheFuture(f"{path}: version {version}, this program knows {VERSION}; update it")
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    except (sqlite3.Error, LedgerFromTheFuture):
        connection.close()
        raise
    return connection
