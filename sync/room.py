"""Say how full a ledger is, and keep a ballast that can be thrown off when its disk has no room left.

The quota is below the file system's end, for at its end SQLite can neither delete nor checkpoint: both need room first.
Measured: on a full file system a deletion fails; with a ballast thrown off, or at a quota of pages, it works.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

BALLAST_BYTES = 8 * 1024 * 1024  # two write-ahead logs of `schema.WAL_KEEP_BYTES`
RESERVE_SHARE = 1.05  # beyond the quota only what must be kept may grow: 5 % of 1 GiB is 50,000 passages
WARN_FILL, PRUNE_FILL, FULL_FILL = 0.80, 0.95, 1.0
PRUNED_FILL = 0.90  # pruning stops here, so that it does not begin again at the next entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much of the quota is used. The quota is what the settings allow or the disk can give, whichever is less."""

    used_bytes: int
    quota_bytes: int

    @property
    def fill(self) -> float:
        """The share that is used; above 1 the reserve is being eaten."""
        return self.used_bytes / self.quota_bytes if self.quota_bytes > 0 else 1.0


def room_of(path: Path, pages: tuple[int, int, int], quota_bytes: int) -> Room:
    """Return how full a ledger is. Shape: `pages` is how many, how many of them are free, and the bytes of one.

    Raises: OSError.
    """
    count, free, page_bytes = pages
    disk = os.statvfs(path.parent)
    can_grow = max(0, disk.f_bavail * disk.f_frsize - BALLAST_BYTES // 2)
    quota = min(quota_bytes, count * page_bytes + can_grow) if quota_bytes else count * page_bytes + can_grow
    return Room(used_bytes=(count - free) * page_bytes, quota_bytes=quota)


class Ballast:
    """A file that holds room on the disk until it is needed."""

    def __init__(self, path: Path, size: int = BALLAST_BYTES):
        """Name the file; `load` makes it."""
        self.path = path
        self.size = size

    @property
    def loaded(self) -> bool:
        """Whether the whole ballast lies there."""
        try:
            return self.path.stat().st_size >= self.size
        except OSError:
            return False

    def load(self) -> bool:
        """Take the room when the disk has twice as much; return whether the ballast lies there."""
        if self.loaded:
            return True
        try:
            disk = os.statvfs(self.path.parent)
            if disk.f_bavail * disk.f_frsize < 2 * self.size:
                return False
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self.size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("no ballast for a full disk: %s", error)
            return False
        return True

    def throw(self) -> bool:
        """Give the room back to the disk; return whether there was any."""
        try:
            self.path.unlink()
        except OSError:
            return False
        log.warning("the disk is full: %d MB of ballast are thrown off", self.size >> 20)
        return True
