"""A disk that fails, hangs or runs full on command, between the ledger's writer and a real SQLite file."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sync import schema

PATIENCE_S = 30.0


def io_error(name: str = "SQLITE_IOERR_WRITE") -> sqlite3.OperationalError:
    """Return the error SQLite raises when the card does not take a page."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    return error


class SickDisk:
    """Give `connect` to the writer; `before` and `after` see each statement and may raise."""

    def __init__(self) -> None:
        self.before: Callable[[str], None] = lambda _sql: None
        self.after: Callable[[str], None] = lambda _sql: None
        self.refuses_to_open = False
        self.seen: list[str] = []
        self.connection: sqlite3.Connection | None = None

    def connect(self, path: Path, mode: str) -> Any:
        if self.refuses_to_open:
            raise io_error("SQLITE_CANTOPEN")
        self.connection = schema.connect(path, mode)
        return _Sick(self, self.connection)

    def heal(self) -> None:
        """Work again from the next statement on."""
        self.before = self.after = lambda _sql: None
        self.refuses_to_open = False

    def fail(self, word: str, *, times: int = 1 << 30, afterwards: bool = False) -> None:
        """Fail statements that begin with `word`: before they run, or after they ran for real."""
        left = [times]

        def check(sql: str) -> None:
            if sql.startswith(word) and left[0] > 0:
                left[0] -= 1
                raise io_error()

        if afterwards:
            self.after = check
        else:
            self.before = check

    def hang(self, word: str) -> tuple[threading.Event, threading.Event]:
        """Hang at statements that begin with `word`; return what says "reached" and what lets go."""
        reached, let_go = threading.Event(), threading.Event()

        def check(sql: str) -> None:
            if sql.startswith(word):
                reached.set()
                assert let_go.wait(PATIENCE_S)

        self.before = check
        return reached, let_go


class _Sick:
    """A connection whose statements pass by the disk's illness."""

    def __init__(self, disk: SickDisk, connection: sqlite3.Connection):
        self._disk = disk
        self._connection = connection

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        self._disk.seen.append(sql)
        self._disk.before(sql)
        cursor = self._connection.execute(sql, values)
        self._disk.after(sql)
        return cursor

    def close(self) -> None:
        self._connection.close()
