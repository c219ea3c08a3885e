"""Share the work of one street among processes: as many receivers, of which the broker gives each batch to one."""

import fcntl
import logging
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sentinel.core.errors import ConfigError, Unavailable
from sentinel.core.retry import Backoff
from sentinel.supervise import sd_notify
from sync.store import POSTGRESQL
from sync.store_sqlite import many_may_write

log = logging.getLogger(__name__)

LOOK_S = 0.5
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
CALM_S = 60.0
END_S = 10.0


def check_sharing(store: object, version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Refuse a file of SQLite to several receivers where this SQLite may damage it.

    Raises: ConfigError.
    """
    if not str(store).startswith(POSTGRESQL) and not many_may_write(version):
        number = ".".join(map(str, version))
        raise ConfigError(
            f"SQLite {number} may damage a file that several receivers write (fixed in 3.51.3);"
            " keep a shared street in PostgreSQL: --store postgresql://USER@HOST/DATABASE"
        )


@contextmanager
def alone_with(store: Path | str, version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Iterator[None]:
    """Be the only process of ours that writes this store, where it is a file that this SQLite may damage otherwise.

    Raises: Unavailable when another one writes it, or nobody can.
    """
    if str(store).startswith(POSTGRESQL) or many_may_write(version):
        yield
        return
    store = Path(store)
    beside = store.with_name(f"{store.name}.lock")  # not the file itself: to close it would drop SQLite's own locks
    try:
        lock = beside.open("a")
    except OSError as error:
        raise Unavailable(f"{beside}: {error.strerror}; check the directory, its owner and the free space") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another process writes {store}; stop it, or keep the street in PostgreSQL") from None
        yield


class Worker:
    """One receiver as a process, started again when it ends; what it had not acknowledged goes to the others."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, random.random)
        self._process: subprocess.Popen[bytes] | None = None
        self._due = self._began = 0.0

    def look(self, now: float) -> None:
        """Start it when it is due, notice when it has ended."""
        if self._process is None:
            if now >= self._due:
                env = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
                self._process, self._began = subprocess.Popen(self._command, env=env), now
        elif (code := self._process.poll()) is not None:
            if now - self._began > CALM_S:
                self._backoff.reset()
            self._process, self._due = None, now + self._backoff.next()
            log.error("a worker ended with %d; it is started again in %.1f s", code, self._due - now)

    def end(self) -> None:
        """Ask it to end; insist after a while."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run_workers(options: Sequence[str], count: int, name: str, stop: threading.Event) -> None:
    """Run so many receivers with these options until `stop`. The first hears the gates' states as well."""
    workers = []
    for number in range(count):
        own = ["--workers", "1", "--share", name, "--name", f"{name}-{number}"]
        only = ["--entries-only"] if number else []
        workers.append(Worker([sys.executable, "-m", "sentinel.street", *options, *own, *only]))
    sd_notify("READY=1")
    try:
        while True:
            for worker in workers:
                worker.look(time.monotonic())
            sd_notify("WATCHDOG=1")
            if stop.wait(LOOK_S):
                return
    finally:
        for worker in workers:
            worker.end()
