"""Describe the tables of `ledger.db`, open it, and bring an older file up to today's shape.

    entries   one row per entry: appended, never edited (a trigger says so); only the personal part may be emptied
    epochs    one row per start of an owner: the counter that orders epochs; AUTOINCREMENT, so that it never comes back
    gaps      one row per run of numbers that is no longer here: `pruned` after its receipt, or `damaged` and lost

Why a table with a row id and pages of 2 KiB: an append then writes two small pages. Measured with entries of about
1 KB, one per commit: 7.8 KB go to the card per entry; 11.7 KB with pages of 4 KiB; 15.1 KB with those and WITHOUT
ROWID, where a row above a quarter of a page spills. `scripts/bench/ledger` shows today's figure in its last column.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sync.entry import Entry, Key, Stamp
from sync.errors import LedgerDamaged, LedgerFromTheFuture, LedgerUnavailable, SyncError

PAGE_BYTES = 2048
BUSY_S = 5.0  # nobody else writes; a reader that recovers the log after a crash holds the file for some milliseconds
READER_CACHE_KB = 256  # readers walk from row to row; by its own measure SQLite would remember 2 MB for each
WAL_KEEP_BYTES = 4 * 1024 * 1024  # after a burst the log shrinks to this: 1000 pages are checkpointed anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One migration: forward only, in one transaction with the note that it ran."""

    name: str
    statements: tuple[str, ...]


STEPS: tuple[Step, ...] = (
    Step(
        name="0001-entries-and-epochs",
        statements=(
            """CREATE TABLE epochs (
                counter INTEGER PRIMARY KEY AUTOINCREMENT,
                epoch INTEGER UNIQUE,
                owner TEXT NOT NULL,
                boot_id TEXT NOT NULL,
                wall_ns INTEGER NOT NULL
            )""",
            """CREATE TABLE entries (
                epoch INTEGER NOT NULL,
                seq INTEGER NOT NULL,
                kind TEXT NOT NULL,
                version INTEGER NOT NULL,
                wall_ns INTEGER NOT NULL,
                boot_ns INTEGER NOT NULL,
                boot_id TEXT NOT NULL,
                trusted INTEGER NOT NULL,
                body TEXT NOT NULL,
                personal BLOB,
                personal_key TEXT,
                personal_sha256 BLOB,
                request TEXT,
                prev BLOB NOT NULL,
                hash BLOB NOT NULL,
                PRIMARY KEY (epoch, seq)
            )""",
            "CREATE UNIQUE INDEX entries_request ON entries (request) WHERE request IS NOT NULL",
            """CREATE TRIGGER entries_are_final
               BEFORE UPDATE OF epoch, seq, kind, version, wall_ns, boot_ns, boot_id, trusted, body,
                   personal_sha256, request, prev, hash ON entries
               BEGIN SELECT RAISE(ABORT, 'an entry is final; what happened next is a second entry'); END""",
            """CREATE TRIGGER personal_parts_only_vanish
               BEFORE UPDATE OF personal, personal_key ON entries
               WHEN NEW.personal IS NOT NULL
               BEGIN SELECT RAISE(ABORT, 'a personal part is emptied or left as it is'); END""",
        ),
    ),
    Step(
        name="0002-gaps",
        statements=(
            """CREATE TABLE gaps (
                epoch INTEGER NOT NULL,
                first INTEGER NOT NULL,
                last INTEGER NOT NULL,
                prev BLOB,
                hash BLOB,
                why TEXT NOT NULL,
                PRIMARY KEY (epoch, first)
            )""",
        ),
    ),
)
SCHEMA_VERSION = len(STEPS)

_COLUMNS = (
    "epoch, seq, kind, version, wall_ns, boot_ns, boot_id, trusted, body, personal, personal_key, personal_sha256,"
    " request, prev, hash"
)
INSERT = f"INSERT INTO entries ({_COLUMNS}) VALUES ({', '.join('?' * 15)})"
SELECT = f"SELECT {_COLUMNS.replace('body', 'CAST(body AS BLOB)')} FROM entries"
GAPS = "SELECT epoch, first, last, prev, hash, why FROM gaps ORDER BY epoch, first"
INSERT_GAP = "INSERT OR REPLACE INTO gaps (epoch, first, last, prev, hash, why) VALUES (?, ?, ?, ?, ?, ?)"
TIP = "SELECT epoch, seq, hash FROM entries ORDER BY epoch DESC, seq DESC LIMIT 1"


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open the file in autocommit mode: `rwc` may make it, `rw` may not, `ro` reads, `immutable` touches nothing.

    The connection may pass between threads; its owner sees to it that one thread uses it at a time.
    """
    query = "mode=ro&immutable=1" if mode == "immutable" else f"mode={mode}"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}", uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    if mode in ("ro", "immutable"):
        connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KB}")
    return connection


def prepare(connection: sqlite3.Connection, path: Path, most_bytes: int = 0) -> None:
    """Make a connection fit for durable appends: write-ahead log, synchronised at each commit, tables of today.

    `most_bytes` bounds the file, 0 leaves it to the disk; beyond it SQLite says "full" and a deletion still works.
    Raises: LedgerFromTheFuture, LedgerDamaged, LedgerUnavailable when the disk cannot hold a write-ahead log.
    """
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # heeded only by a file that is still empty
    (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if journal != "wal":
        raise LedgerUnavailable(f"{path} cannot have a write-ahead log (journal is {journal}); keep it on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEEP_BYTES}")
    migrate(connection, path)
    if most_bytes:
        connection.execute(f"PRAGMA max_page_count = {most_bytes // page_bytes(connection)}")


def page_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the file's pages, in bytes."""
    return connection.execute("PRAGMA page_size").fetchone()[0]


def version_of(connection: sqlite3.Connection) -> int:
    """Return the schema version of the file; 0 is a file that nobody has written yet."""
    return connection.execute("PRAGMA user_version").fetchone()[0]


def migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Step] = STEPS) -> None:
    """Bring the tables up to the last step; do nothing, and import nothing, when they are there already.

    Raises: LedgerFromTheFuture when a newer program wrote the file, LedgerDamaged when it is no ledger.
    """
    version = version_of(connection)
    if version > len(steps):
        raise LedgerFromTheFuture(
            f"{path} has schema {version} and this program knows {len(steps)}; install the newer program again"
        )
    if version == len(steps):
        return
    if version == 0 and _tables(connection) - {"_sqlite_migrations"}:
        raise LedgerDamaged(f"{path} is the database of another program; name another file")
    _run(connection, steps)
    if version_of(connection) != len(steps):
        raise LedgerDamaged(f"{path} says schema {version_of(connection)} after all {len(steps)} steps; restore a copy")


def _tables(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'")
    return {name for (name,) in rows}


def _run(connection: sqlite3.Connection, steps: Sequence[Step]) -> None:
    # Imported here: it costs a quarter of a second, and the one-shot that meets a current file must start in a blink.
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

    def apply(step: Step, version: int) -> None:
        def change(database: Database) -> None:
            for statement in step.statements:
                database.conn.execute(statement)
            database.conn.execute(f"PRAGMA user_version = {version}")

        migrations(name=step.name)(change)

    migrations = Migrations("ledger")
    for version, step in enumerate(steps, start=1):
        apply(step, version)
    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))


def row_of(entry: Entry) -> tuple[Any, ...]:
    """Return the entry as the values of `INSERT`."""
    stamp = entry.stamp
    return (
        *(entry.key.epoch, entry.key.seq, entry.kind, entry.version),
        *(stamp.wall_ns, stamp.boot_ns, stamp.boot_id, int(stamp.clock_trusted)),
        *(entry.body.decode(), entry.personal, entry.personal_key, entry.personal_sha256),
        *(entry.request, entry.prev, entry.hash),
    )


def entry_of(row: Sequence[Any]) -> Entry:
    """Return the entry that a row of `SELECT` holds."""
    return Entry(
        key=Key(row[0], row[1]),
        kind=row[2],
        version=row[3],
        stamp=Stamp(wall_ns=row[4], boot_ns=row[5], boot_id=row[6], clock_trusted=bool(row[7])),
        body=row[8],
        personal=row[9],
        personal_key=row[10],
        personal_sha256=row[11],
        request=row[12],
        prev=row[13],
        hash=row[14],
    )


_REMEDIES = {  # by SQLite's primary result name
    "SQLITE_FULL": "free some space on its disk",
    "SQLITE_IOERR": "the disk may be failing: look at the kernel log",
    "SQLITE_READONLY": "check the permissions of the file and its folder, and whether the disk is mounted read-only",
    "SQLITE_PERM": "check the permissions of the file and its folder",
    "SQLITE_CANTOPEN": "check that the folder exists and may be written",
    "SQLITE_BUSY": "end the other program that writes it",
    "SQLITE_NOTADB": "it is no ledger: move it away and restore a copy",
    "SQLITE_CORRUPT": "move it away and restore a copy",
}
_DAMAGE = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


def primary_name(error: sqlite3.Error) -> str:
    """Return SQLite's primary result name of an error: SQLITE_IOERR for SQLITE_IOERR_FSYNC."""
    name = getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR"
    return "_".join(name.split("_")[:2])


def explain(error: sqlite3.Error, path: Path, doing: str, *, may_be_damaged: bool = True) -> SyncError:
    """Return our error for one of SQLite's, with its reason and the next thing to try.

    On a disk that has just failed a write a read may say "corrupt" falsely: pass `may_be_damaged=False` there.
    """
    name = primary_name(error)
    detail = getattr(error, "sqlite_errorname", None) or type(error).__name__
    text = f"cannot {doing} {path}: {error} ({detail}); {_REMEDIES.get(name, 'try again')}"
    return LedgerDamaged(text) if may_be_damaged and name in _DAMAGE else LedgerUnavailable(text)
