"""Drive the children of `mortal.py` from a test: give an order, collect what was said, learn how it ended."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 30.0


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder in memory where there is one: the kernel keeps what a killed process wrote, no disk is needed."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


class Graveyard:
    """One `mortal.py`, and what its children said before they died."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("mortal.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()

    def order(self, scene: str, folder: Path, *, die_at: int = 0, request: str = "") -> None:
        """Send the next child on its way."""
        order = {"scene": scene, "folder": str(folder), "die_at": die_at, "request": request}
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    def said(self) -> Iterator[dict[str, Any]]:
        """Yield what the child says, up to and with how it ended."""
        assert self._process.stdout
        while True:
            while b"\n" not in self._rest:
                ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_S)
                assert ready, "the child says nothing any more"
                chunk = os.read(self._process.stdout.fileno(), 65536)
                assert chunk, "mortal.py itself has died"
                self._rest += chunk
            line, self._rest = self._rest.split(b"\n", 1)
            word = json.loads(line)
            yield word
            if "ended" in word:
                return

    def run(self, scene: str, folder: Path, *, die_at: int = 0, request: str = "") -> tuple[bool, list[dict[str, Any]]]:
        """Run one child to its end; return whether it lived, and what it said."""
        self.order(scene, folder, die_at=die_at, request=request)
        *words, end = self.said()
        assert end["ended"] in (0, -signal.SIGKILL), f"{scene} failed by itself: {end}"
        return end["ended"] == 0, words
