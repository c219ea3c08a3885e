"""Own the barrier: a kernel lock on a file, with the number of its holder in it for people to read."""

import contextlib
import errno
import fcntl
import logging
import os
import time
from pathlib import Path

from drivers.errors import BarrierBusy, PortLost

log = logging.getLogger(__name__)

LOCK_RETRY_S = 0.02  # a dead owner frees the lock at once; one that shuts down needs some tens of ms


class BarrierLock:
    """Own the barrier, or know who does.

    A kernel lock on a file: it is free the moment its holder dies, however it dies. Whoever holds it may move the
    barrier and write the ledger. Never fork while holding it: the child would hold it too.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._fd = -1

    @property
    def held(self) -> bool:
        """Tell whether this object holds the lock."""
        return self._fd >= 0

    def acquire(self, wait_s: float = 0.0) -> None:
        """Take the lock, waiting at most so long.

        Raises: BarrierBusy naming the holder's process; PortLost when the file cannot be used.
        """
        if self.held:
            return
        fd = self._open()
        deadline_mono = time.monotonic() + max(wait_s, LOCK_RETRY_S)  # who only asks for the holder() is gone by then
        while not _try_lock(fd):
            if time.monotonic() >= deadline_mono:
                holder = _read_pid(fd)
                os.close(fd)
                raise BarrierBusy(
                    f"barrier lock {self.path} is held by process {holder or 'unknown'}; "
                    "ask that process to open, or stop it first"
                )
            time.sleep(LOCK_RETRY_S)
        self._fd = fd
        self._write_pid()

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES) and self.path.exists():
                # A flash card that the kernel has made read-only must not keep the barrier shut: a lock needs no write.
                return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            raise PortLost(f"barrier lock {self.path}: {error}; check the folder and its owner") from error

    def _write_pid(self) -> None:
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:  # a full disk must not keep the barrier shut; the lock is what counts
            log.warning("barrier lock %s: holder not written (%s)", self.path, error)

    def holder(self) -> int | None:
        """Return the process that holds the lock now, or None when it is free or the number is not known."""
        if self.held:
            return os.getpid()
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return None if _try_lock(fd) else _read_pid(fd)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # an old number is harmless, a kept lock is not
                os.ftruncate(fd, 0)
            fcntl.flock(fd, fcntl.LOCK_UN)  # closing alone waits for children between vfork and exec, which share it
            os.close(fd)

    def __enter__(self) -> "BarrierLock":
        self.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isascii() and text.isdigit() else None
