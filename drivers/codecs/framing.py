"""Cut frames out of a byte stream that may be torn, dirty or cut short."""

from collections.abc import Callable
from dataclasses import dataclass

WAIT = None  # a judge's answer: this may become a frame, more bytes are needed
NO_FRAME = 0  # a judge's answer: no frame starts here


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Bytes that belong to no frame."""

    byte_count: int


class FrameFinder:
    """Find whole frames and say how many bytes lay between them.

    `judge` looks at bytes that start with `head` and returns the length of the good frame there, NO_FRAME, or WAIT.
    It must never answer WAIT once `longest_bytes` are there; so no more than one longest frame is ever held.
    """

    def __init__(self, *, head: bytes, longest_bytes: int, judge: Callable[[bytearray], int | None]) -> None:
        self._head = head
        self._longest_bytes = longest_bytes
        self._judge = judge
        self._held = bytearray()
        self._dropped = 0

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return len(self._held)

    def feed(self, chunk: bytes) -> list[bytes | Dropped]:
        """Return the whole frames and the junk, in the order of the wire."""
        found: list[bytes | Dropped] = []
        for start in range(0, len(chunk), self._longest_bytes):  # a huge chunk is not held twice
            self._held += chunk[start : start + self._longest_bytes]
            self._scan(found)
        self._tell_junk(found)
        return found

    def give_up(self) -> list[bytes | Dropped]:
        """Declare the unfinished frame dead, because its rest is overdue, and look for frames inside it."""
        found: list[bytes | Dropped] = []
        while self._held:
            self._drop(1)
            self._scan(found)
        self._tell_junk(found)
        return found

    def _scan(self, found: list[bytes | Dropped]) -> None:
        while self._held:
            self._drop(_bytes_before_head(self._held, self._head))
            if len(self._held) < len(self._head):
                return
            verdict = self._judge(self._held)
            if verdict is WAIT:
                return
            if verdict == NO_FRAME:
                self._drop(1)
                continue
            self._tell_junk(found)
            found.append(bytes(self._held[:verdict]))
            del self._held[:verdict]

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self._dropped += count

    def _tell_junk(self, found: list[bytes | Dropped]) -> None:
        if self._dropped:
            found.append(Dropped(byte_count=self._dropped))
            self._dropped = 0


def _bytes_before_head(held: bytearray, head: bytes) -> int:
    """Return where the head starts, or where the last bytes might yet become one."""
    at = held.find(head)
    if at >= 0:
        return at
    for kept in range(min(len(head) - 1, len(held)), 0, -1):
        if held.endswith(head[:kept]):
            return len(held) - kept
    return len(held)


def cut_short(held: bytearray, size: int, head: bytes) -> bool:
    """Tell whether another head lies inside the frame at the start: its rest was lost and the next one follows."""
    return held.find(head, 1, size) > 0
