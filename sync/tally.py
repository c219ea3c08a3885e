"""Count what could not be kept, in a file whose room is taken beforehand: a full disk cannot refuse it.

Two slots of one file are written in turn, each with its number and a CRC: wherever a write is torn, the other slot is
whole. A count outlives a killed process at once and a power cut from the next `sync` on, for who decides at the gate
must not wait for a disk. Counts are told in an entry later; `generation` names that entry's request, so that whoever
dies between the entry and the reset of the counts does not tell them twice.
"""

import json
import os
import secrets
import threading
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sync.disk import sync_folder

_SLOT_BYTES = 2048  # some 60 kinds; two slots are one page of most disks
_MOST_KINDS = 40  # the rest is counted as "other"


class Tally:
    """How many entries of each kind could not be kept. Threads may share it."""

    def __init__(self, path: Path):
        """Open or make the file, with all the room that it will ever need.

        Raises: OSError when there is no room for 4 KiB or the folder cannot be written.
        """
        self.path = path
        self._lock = threading.Lock()
        self._dirty = self._unwritten = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(self._descriptor).st_size < 2 * _SLOT_BYTES:
                os.pwrite(self._descriptor, bytes(2 * _SLOT_BYTES), 0)  # written, not only allocated
                os.fsync(self._descriptor)
                sync_folder(path.parent)
            self._state = max((_slot_of(self._descriptor, at) for at in (0, 1)), key=lambda state: state["number"])
        except OSError:
            os.close(self._descriptor)
            raise
        if not self._state["generation"]:
            self._state["generation"] = secrets.token_hex(8)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind since they were last told."""
        return dict(self._state["counts"])

    @property
    def generation(self) -> str:
        """A name that changes when counts were told."""
        return self._state["generation"]

    @property
    def since_ns(self) -> int:
        """The wall time of the first that could not be kept, 0 when there is none."""
        return self._state["since_ns"]

    def add(self, kind: str, wall_ns: int) -> None:
        """Count one; nothing here waits for the disk.

        Raises: OSError when not even that can be written; the count stays in memory.
        """
        with self._lock:
            counts = self._state["counts"]
            if kind not in counts and len(counts) >= _MOST_KINDS:
                kind = "other"
            counts = {**counts, kind: counts.get(kind, 0) + 1}
            self._write({**self._state, "counts": counts, "since_ns": self._state["since_ns"] or wall_ns})

    def told(self, counts: Mapping[str, int]) -> None:
        """Take off what an entry says now, and begin a new generation.

        Raises: OSError.
        """
        with self._lock:
            rest = {kind: n - counts.get(kind, 0) for kind, n in self._state["counts"].items()}
            rest = {kind: n for kind, n in rest.items() if n > 0}
            since_ns = self._state["since_ns"] if rest else 0
            self._write({**self._state, "counts": rest, "since_ns": since_ns, "generation": secrets.token_hex(8)})
        self.sync()

    def sync(self) -> None:
        """Make the counts outlive a power cut.

        Raises: OSError.
        """
        with self._lock:
            if self._unwritten:  # counted while the card took nothing: it may take it now
                self._put()
        if self._dirty:
            self._dirty = False
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self, state: dict[str, Any]) -> None:
        self._state = {**state, "number": state["number"] + 1}
        self._put()

    def _put(self) -> None:
        self._unwritten = True
        text = json.dumps(self._state, separators=(",", ":")).encode()
        line = b"%08x %s" % (zlib.crc32(text), text)
        os.pwrite(self._descriptor, line.ljust(_SLOT_BYTES, b"\n"), self._state["number"] % 2 * _SLOT_BYTES)
        self._unwritten, self._dirty = False, True


def _slot_of(descriptor: int, at: int) -> dict[str, Any]:
    raw = os.pread(descriptor, _SLOT_BYTES, at * _SLOT_BYTES).rstrip(b"\n\0")
    crc, _, text = raw.partition(b" ")
    try:
        if int(crc, 16) == zlib.crc32(text):
            return json.loads(text)
    except ValueError:
        pass  # never written, or torn: the other slot holds
    return {"number": 0, "generation": "", "since_ns": 0, "counts": {}}
