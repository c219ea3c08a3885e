"""Make the card of a process sick and its clock wrong, from outside: a preloaded library, told by a file in memory."""

import mmap
import os
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

FIELDS = ("device", "pause_us", "every", "write_errno", "sync_errno", "permille", "clock_ns")
_SHAPE = f"={len(FIELDS)}q"


@cache
def library() -> Path | None:
    """Return the compiled library, None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    made = Path(mkdtemp(prefix="campaign-shim-")) / "shim.so"
    source = Path(__file__).with_name("shim.c")
    done = subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(made), str(source), "-ldl"], check=False)
    return made if done.returncode == 0 else None


def forget_library() -> None:
    """Remove what was compiled; what has loaded it keeps it."""
    if library.cache_info().currsize and (made := library()) is not None:
        shutil.rmtree(made.parent, ignore_errors=True)
    library.cache_clear()


class Card:
    """The sickness of one card and one clock; well until it is told otherwise."""

    def __init__(self, path: Path, disk: Path) -> None:
        self.path = path
        path.write_bytes(bytes(struct.calcsize(_SHAPE)))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._state = dict.fromkeys(FIELDS, 0)
        self.is_on(disk)

    def is_on(self, disk: Path) -> None:
        """Name the file system that is sick, again after it was mounted anew."""
        self.be(device=os.stat(disk).st_dev)

    def be(self, **state: int) -> None:
        """Change these fields."""
        self._state.update(state)
        self._memory[:] = struct.pack(_SHAPE, *(self._state[name] for name in FIELDS))

    def heal(self) -> None:
        """Be well: no pauses, no errors; the clock stays as it is."""
        self.be(pause_us=0, every=0, write_errno=0, sync_errno=0, permille=0)
