"""Extend the hash chain on disk: one group of entries in one transaction, with no hole whatever fails.

Sequence numbers and hashes are given out inside the transaction. One thread at a time: `ledger.py` has the one that
appends; who prunes (`prune.py`) takes turns with it.
The path to the disk is the standard `sqlite3`: a durable commit costs sqlite-utils more, see `scripts/bench/ledger`.
"""

import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sync import prune, salvage, schema
from sync.entry import GENESIS, Entry, Key, Stamp, canonical, entry_hash, epoch_counter, epoch_text, make_epoch
from sync.errors import LedgerUnavailable, SyncError
from sync.prune import Stretch

log = logging.getLogger(__name__)

_READER_MS = 50

Connect = Callable[[Path, str], sqlite3.Connection]  # `schema.connect`, or a test's sick disk


@dataclass(slots=True, kw_only=True)
class Link:
    """An entry to be: everything but its place in the chain."""

    kind: str
    version: int
    stamp: Stamp
    body: bytes
    request: str | None = None
    personal: bytes | None = field(default=None, repr=False)  # ciphertext
    personal_key: str | None = None
    tried: Entry | None = None  # as it went into the last commit that failed


class ChainFile:
    """The ledger's file, opened for writing in an epoch of its own."""

    def __init__(self, path: Path, connect: Connect = schema.connect, most_bytes: int = 0, check_s: float = 0.0):
        """Open or make the file, and look for damage for `check_s` seconds.

        `most_bytes` bounds its size, 0 leaves that to the disk.
        Raises: LedgerUnavailable, LedgerDamaged, LedgerFromTheFuture.
        """
        self.path = path
        self.epoch = 0  # until `begin`
        self.lost = False  # for good: the file forgot what it had acknowledged, and only a new epoch may follow
        self.pages = (0, 0, schema.PAGE_BYTES)  # how many there are, how many of them are free, the bytes of one
        self._most_bytes = most_bytes
        self._turn = threading.RLock()
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._tip = (Key(0, 0), GENESIS)
        self._file = (0, 0)
        try:
            salvage.finish(path)
            connection = self._open("rwc")
            if check_s and not salvage.check(connection, path, check_s):
                log.info("%s is too large to be checked whole within %.1f s; its tail is right", path, check_s)
        except sqlite3.Error as error:
            self.drop()
            raise schema.explain(error, path, "open") from error
        except OSError as error:
            raise LedgerUnavailable(f"cannot end the salvage of {path}: {error}; make room on its disk") from error
        except SyncError:
            self.drop()
            raise

    def begin(self, owner: str, random32: int, stamp: Stamp, start: Mapping[str, Any]) -> Entry:
        """Begin a new epoch, whose counter is durable before its first entry, and append that entry, the `start`.

        Raises: LedgerUnavailable.
        """
        last = self._tip[0]
        try:
            self.epoch = self._count_epoch(owner, random32, stamp)
        except sqlite3.Error as error:
            self._recover(error)
            raise schema.explain(error, self.path, "begin an epoch in", may_be_damaged=False) from error
        body = {
            **start,
            "owner": owner,
            "previous_epoch": epoch_text(last.epoch) if last.epoch else None,
            "previous_last_seq": last.seq if last.epoch else None,
        }
        (entry,) = self.commit([Link(kind="start", version=1, stamp=stamp, body=canonical(body))])
        return entry

    def commit(self, links: Sequence[Link]) -> list[Entry]:
        """Make all these entries durable, or none; a link whose request is on disk already gets that entry.

        Raises: LedgerUnavailable with SQLite's reason. The next commit may succeed: nothing of this one is in its way.
        """
        with self._turn:
            try:
                return self._commit(self._connected(), links)
            except sqlite3.Error as error:
                self._recover(error)
                raise schema.explain(error, self.path, "append to", may_be_damaged=False) from error

    def prune(self, stretches: Sequence[Stretch], stamp: Stamp) -> Entry:
        """Drop these entries, note the gaps, and append the entry that says so: all of it, or nothing.

        Raises: LedgerUnavailable.
        """
        body = canonical(prune.body_of(stretches))
        link = Link(kind=prune.KIND, version=prune.VERSION, stamp=stamp, body=body)
        with self._turn:
            try:
                (entry,) = self._commit(self._connected(), [link], stretches)
            except sqlite3.Error as error:
                self._recover(error)
                raise schema.explain(error, self.path, "prune", may_be_damaged=False) from error
            except SyncError:
                self.drop()
                raise
            return entry

    def empty(self, keys: Sequence[Key]) -> int:
        """Empty the personal parts of these entries, overwritten in the file; return how many were still there.

        Copies stay in the write-ahead log until `checkpoint` has emptied it.
        Raises: LedgerUnavailable.
        """
        where = "WHERE epoch = ? AND seq = ? AND personal IS NOT NULL"
        with self._turn:
            try:
                connection = self._connected()
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("BEGIN IMMEDIATE")
                numbers = [(key.epoch, key.seq) for key in keys]
                count = connection.executemany(f"UPDATE entries SET personal = NULL {where}", numbers).rowcount
                connection.execute("COMMIT")
                connection.execute("PRAGMA secure_delete = OFF")  # pruning need not write what it frees
            except sqlite3.Error as error:
                self._recover(error)
                raise schema.explain(error, self.path, "empty personal parts of", may_be_damaged=False) from error
            return count

    def checkpoint(self, *, emptied: bool = False) -> bool:
        """Bring the write-ahead log home, so that the next commit begins it anew within the room it has.

        With `emptied` the log is cut to nothing as well; tell whether it was: a reader may be in the way.
        """
        with self._turn:
            try:
                connection = self._connected()
                if not emptied:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    return True
                connection.execute(f"PRAGMA busy_timeout = {_READER_MS}")  # whoever appends waits meanwhile
                try:
                    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                finally:
                    connection.execute(f"PRAGMA busy_timeout = {int(schema.BUSY_S * 1000)}")
                return not busy
            except sqlite3.Error as error:
                log.debug("no checkpoint now: %s", error)
                return False

    def landed(self, links: Sequence[Link]) -> list[Entry | None]:
        """Return which links of a failed commit are on disk all the same: a flash card may fail after it wrote."""
        if all(link.tried is None for link in links):
            return [None] * len(links)
        try:
            with self._turn:
                connection = self._connected()
                return [self._already(connection, link) if link.tried else None for link in links]
        except (sqlite3.Error, SyncError) as error:
            log.debug("cannot tell yet what of a failed commit reached the disk: %s", error)
            return [None] * len(links)  # told as not kept; a link that is tried again is looked up again

    def drop(self) -> None:
        """Close the connection; the next commit opens the file anew."""
        with self._turn:
            if self._connection is not None:
                try:
                    self._connection.close()
                except sqlite3.Error as error:
                    log.warning("closing %s: %s", self.path, error)
                self._connection = None

    def _count_epoch(self, owner: str, random32: int, stamp: Stamp) -> int:
        connection = self._connected()
        connection.execute("BEGIN IMMEDIATE")
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'epochs'").fetchone()
        counter = max(row[0] if row else 0, epoch_counter(self._tip[0].epoch)) + 1  # either may have been salvaged
        epoch = make_epoch(counter, random32)
        connection.execute(
            "INSERT INTO epochs (counter, epoch, owner, boot_id, wall_ns) VALUES (?, ?, ?, ?, ?)",
            (counter, epoch, owner, stamp.boot_id, stamp.wall_ns),
        )
        connection.execute("COMMIT")
        return epoch

    def _commit(
        self, connection: sqlite3.Connection, links: Sequence[Link], dropped: Sequence[Stretch] = ()
    ) -> list[Entry]:
        tip = self._tip
        entries = []
        connection.execute("BEGIN IMMEDIATE")
        prune.drop(connection, dropped, tip[0])
        for link in links:
            entry = self._already(connection, link)
            if entry is None:
                entry = link.tried = self._place(link, *tip)
                connection.execute(schema.INSERT, schema.row_of(entry))
                tip = entry.key, entry.hash
            entries.append(entry)
        connection.execute("COMMIT")
        self._tip = tip
        try:
            self._count_pages(connection)
        except sqlite3.Error as error:  # durable is durable
            log.debug("the pages of %s cannot be counted now: %s", self.path, error)
        return entries

    def _count_pages(self, connection: sqlite3.Connection) -> None:
        (count,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        self.pages = (count, free, self.pages[2])

    def _place(self, link: Link, last: Key, prev: bytes) -> Entry:
        entry = Entry(
            key=Key(self.epoch, last.seq + 1 if last.epoch == self.epoch else 1),
            kind=link.kind,
            version=link.version,
            stamp=link.stamp,
            body=link.body,
            personal=link.personal,
            personal_key=link.personal_key,
            personal_sha256=hashlib.sha256(link.personal).digest() if link.personal else None,
            request=link.request,
            prev=prev,
        )
        return replace(entry, hash=entry_hash(entry))

    def _already(self, connection: sqlite3.Connection, link: Link) -> Entry | None:
        row = None
        if link.tried is not None:
            where = f"{schema.SELECT} WHERE epoch = ? AND seq = ? AND hash = ?"
            row = connection.execute(where, (link.tried.key.epoch, link.tried.key.seq, link.tried.hash)).fetchone()
        if row is None and link.request is not None:
            row = connection.execute(f"{schema.SELECT} WHERE request = ?", (link.request,)).fetchone()
        return schema.entry_of(row) if row else None

    def _recover(self, error: sqlite3.Error) -> None:
        """Leave no transaction open; after anything but a full disk the connection's memory is not to be trusted."""
        if schema.primary_name(error) == "SQLITE_FULL" and self._connection is not None:
            try:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            except sqlite3.Error as second:
                log.warning("the roll-back failed too: %s", second)
            else:
                return
        self.drop()

    def _connected(self) -> sqlite3.Connection:
        """Return the connection, opened anew after a failure, to the file this epoch began in."""
        if self.lost:
            raise self._forgot()
        if self._connection is None:
            connection = self._open("rw")
            if self._tip[0].epoch != self.epoch:
                self.drop()
                raise LedgerUnavailable(f"{self.path} was replaced or written by another owner; start this one again")
            return connection
        if self._identity() != self._file:
            self.drop()
            raise LedgerUnavailable(f"{self.path} was replaced or deleted under its owner; start the owner again")
        return self._connection

    def _open(self, mode: str) -> sqlite3.Connection:
        connection = self._connection = self._connect(self.path, mode)
        try:
            schema.prepare(connection, self.path, self._most_bytes)
            self.pages = (0, 0, schema.page_bytes(connection))
            self._count_pages(connection)
            self._require_tip(connection)
            row = connection.execute(schema.TIP).fetchone()
        except (sqlite3.Error, SyncError):
            self.drop()
            raise
        self._tip = (Key(row[0], row[1]), row[2]) if row else (Key(0, 0), GENESIS)
        self._file = self._identity()
        return connection

    def _require_tip(self, connection: sqlite3.Connection) -> None:
        """Refuse a file without the last acknowledged entry: its number would be given to another one."""
        last, known = self._tip
        if last.epoch == 0:
            return
        where = "SELECT hash FROM entries WHERE epoch = ? AND seq = ?"
        if connection.execute(where, (last.epoch, last.seq)).fetchone() != (known,):
            self.lost = True
            log.error("%s no longer holds %s, which was durable; check the card and its cable", self.path, last)
            raise self._forgot()

    def _forgot(self) -> LedgerUnavailable:
        return LedgerUnavailable(f"{self.path} lost acknowledged entries or was replaced; a new epoch must begin")

    def _identity(self) -> tuple[int, int]:
        try:
            status = os.stat(self.path)
        except OSError:
            return (0, 0)  # no file is that one: whoever compares sees that ours is gone
        return status.st_dev, status.st_ino
