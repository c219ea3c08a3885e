"""Hold a city's store in PostgreSQL, for any number of workers on any number of machines."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sync.errors import LedgerFromTheFuture, LedgerUnavailable

try:
    import psycopg
except ImportError as error:
    raise LedgerUnavailable("psycopg is not installed; pip install 'sentinel-gate[street-postgresql]'") from error

VERSION = 1
_SCHEMA_LOCK = 7_305_808_869_231_650_000  # any number nobody else uses: two workers must not make the tables at once

# As in SQLite; `boot_id` is bytes, for a text of PostgreSQL cannot hold what a gate may say there (a zero byte).
_SCHEMA = """
CREATE TABLE entries(
    device TEXT, epoch BIGINT, seq BIGINT, kind TEXT NOT NULL, version INTEGER NOT NULL,
    wall_ns BIGINT NOT NULL, boot_ns BIGINT NOT NULL, boot_id BYTEA NOT NULL, trusted SMALLINT NOT NULL,
    body BYTEA NOT NULL, personal_sha256 BYTEA, prev BYTEA NOT NULL, hash BYTEA NOT NULL,
    historical SMALLINT NOT NULL, received_ns BIGINT NOT NULL,
    PRIMARY KEY(device, epoch, seq));
CREATE TABLE runs(device TEXT, epoch BIGINT, first BIGINT, last BIGINT, PRIMARY KEY(device, epoch, first));
CREATE TABLE forks(device TEXT, epoch BIGINT, seq BIGINT, hash BYTEA, prev BYTEA, kind TEXT, body BYTEA,
    received_ns BIGINT, PRIMARY KEY(device, epoch, seq, hash));
CREATE TABLE breaks(device TEXT, epoch BIGINT, seq BIGINT, received_ns BIGINT, PRIMARY KEY(device, epoch, seq));
CREATE TABLE announced(device TEXT, epoch BIGINT, last BIGINT, PRIMARY KEY(device, epoch));
CREATE TABLE gates(device TEXT PRIMARY KEY, seen_ns BIGINT NOT NULL, online INTEGER, refused BIGINT NOT NULL);
CREATE TABLE street(version INTEGER NOT NULL);
INSERT INTO street VALUES(1);
"""
_COPY = "COPY entries FROM STDIN"
_BOOT_ID = 7
_ADVICE = "check that the server runs, its address, user and free space"


class PostgresEngine:
    """One connection. A transaction holds a lock for each device it names: two workers may have parts of one epoch."""

    def __init__(self, url: str) -> None:
        try:
            self._connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
            self._prepare()
        except psycopg.Error as error:
            raise LedgerUnavailable(f"the street's store cannot be opened: {_line(error)}; {_ADVICE}") from error

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def transaction(self, devices: Sequence[str]) -> Iterator[None]:
        """Commit what is done inside, or nothing of it.

        Raises: LedgerUnavailable.
        """
        try:
            with self._connection.transaction():
                for device in sorted(set(devices)):  # in one order, or two workers wait for each other
                    self.rows("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (device,))
                yield
        except psycopg.Error as error:
            raise LedgerUnavailable(f"the street's store cannot be written: {_line(error)}; {_ADVICE}") from error

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Return all rows of a query."""
        try:
            return self._connection.execute(_with_percent(sql), values).fetchall()
        except psycopg.Error as error:
            raise LedgerUnavailable(f"the street's store cannot be read: {_line(error)}; {_ADVICE}") from error

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run a statement for each row."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_with_percent(sql), rows)

    def insert_entries(self, rows: Iterable[Sequence[object]]) -> None:
        """Insert entries that are not there."""
        with self._connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                copy.write_row((*row[:_BOOT_ID], str(row[_BOOT_ID]).encode(), *row[_BOOT_ID + 1 :]))

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute("SET synchronous_commit TO on")  # a receipt follows the commit: it must be on the disk
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            found = connection.execute("SELECT to_regclass('street')").fetchone()
            if found is None or found[0] is None:
                connection.execute(_SCHEMA)
            row = connection.execute("SELECT version FROM street").fetchone()
        if row is not None and row[0] > VERSION:
            connection.close()
            raise LedgerFromTheFuture(f"the store has version {row[0]}, this program knows {VERSION}; update it")


@lru_cache(maxsize=64)
def _with_percent(sql: str) -> Any:
    return sql.replace("?", "%s")


def _line(error: Exception) -> str:
    """Return what the server said, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
