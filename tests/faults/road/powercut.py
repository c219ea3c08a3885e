"""Lend the power cut of tests/sync/powercut.py to scenes in which processes still hold the disk."""

import fcntl
import importlib.util
import os
import struct
from pathlib import Path
from types import ModuleType

from .town import until


def _plain() -> ModuleType:
    path = Path(__file__).parents[2] / "sync" / "powercut.py"
    spec = importlib.util.spec_from_file_location("sync_powercut", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_CUT = _plain()


class Disk(_CUT.Disk):  # type: ignore[name-defined, misc]
    """A small ext4 whose power goes first and whose processes die after."""

    def shut_down(self) -> None:
        """Take the power away: what was not synchronised is gone, and whoever writes gets an error."""
        if not self.real:
            return
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _CUT._SHUTDOWN, struct.pack("I", _CUT._NOLOGFLUSH))
        finally:
            os.close(folder)

    def mount_again(self) -> None:
        """Give the power back; nobody may hold the disk any more."""
        if self.real:
            assert until(self._mounted_anew, 15.0), f"{self.place} does not come back"

    def _mounted_anew(self) -> bool:
        """Unmount and mount; a file system that somebody else's namespace still holds comes back as dead as it was."""
        self._run("umount", str(self.place))
        return self._mount() and self._is_well()

    def _is_well(self) -> bool:
        probe = self.place / "probe"
        try:
            with probe.open("wb") as file:
                file.write(b"well?")
                os.fsync(file.fileno())
            probe.unlink()
        except OSError:
            return False
        return True

    def remount(self, how: str) -> bool:
        """Mount it `ro` or `rw`; return whether the kernel agreed."""
        return self._run("mount", "-o", f"remount,{how}", str(self.place))
