"""Cut the power of a small disk: an ext4 in a file, which forgets whatever was not synchronised."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_MB = 24
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NOLOGFLUSH = 2


class Disk:
    """A disk under `place`. Where nobody may mount, it is a plain folder and a cut costs nothing."""

    def __init__(self, folder: Path):
        self.place = folder / "disk"
        self.place.mkdir()
        self._image = folder / "image"
        with self._image.open("wb") as file:
            file.truncate(DISK_MB << 20)
        self.real = os.geteuid() == 0 and self._run("mkfs.ext4", "-q", "-m", "0", str(self._image)) and self._mount()

    def cut(self) -> None:
        """Take the power away and give it back."""
        if not self.real:
            return
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NOLOGFLUSH))
        finally:
            os.close(folder)
        assert self._run("umount", str(self.place))
        assert self._mount()

    def sync(self) -> None:
        """Make all durable: what a test begins with."""
        self._run("sync", "-f", str(self.place))

    def end(self) -> None:
        """Put the disk away."""
        if self.real:
            self._run("umount", "-l", str(self.place))

    def _mount(self) -> bool:
        return self._run("mount", "-o", "loop", str(self._image), str(self.place))

    def _run(self, *line: str) -> bool:
        try:
            return subprocess.run(line, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False


@contextmanager
def disk_in(folder: Path) -> Iterator[Disk]:
    """Give a disk that ends with the test."""
    disk = Disk(folder)
    try:
        yield disk
    finally:
        disk.end()
