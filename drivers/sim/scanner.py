"""Simulate a GM65 scanner: codes held before it, its registers, and the ways it goes wrong."""

from typing import ClassVar

from drivers.codecs import gm65
from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder
from drivers.codecs.gm65 import READ, SAVE, WRITE, encode_answer
from drivers.sim.faulty import Faulty

MODEL_VALUE = 0x04
REQUEST_HEAD_BYTES = 6  # up to the address
LONGEST_REQUEST_BYTES = REQUEST_HEAD_BYTES + 16 + 2
HUGE_BYTES = 2048
AGAIN_S = 0.3  # a continuous scanner reads the code that is still there three times a second
NOT_UTF8 = b"\xff\xfe\xc3\x28"
TERMINATOR = b"\r"


class SimScanner(Faulty):
    """Behave like a unit in continuous mode that sends CR after each code. Codes are shown from any thread."""

    FAULTS: ClassVar[tuple[str, ...]] = ("glued-ack", "no-terminator", "huge-code", "duplicates", "not-utf8")

    def __init__(self) -> None:
        super().__init__()
        self._finder = FrameFinder(head=gm65.REQUEST_HEAD, longest_bytes=LONGEST_REQUEST_BYTES, judge=_judge)
        self._registers = {gm65.MODEL: MODEL_VALUE, gm65.BAUD: 0x39, gm65.BAUD + 1: 0x01}
        self._codes: list[tuple[float | None, bytes]] = []  # when to send; None for at once

    def scan(self, content: bytes) -> None:
        """Hold a code before the scanner, as the bytes that are in it."""
        with self._lock:
            self._codes.append((None, content))

    def answer(self, chunk: bytes, now: float = 0.0) -> bytes:
        """Return the unit's answers to the commands in these bytes."""
        with self._lock:
            found = self._finder.feed(chunk)
            return b"".join(self._obey(request) for request in found if not isinstance(request, Dropped))

    def due(self, now: float) -> bytes:
        """Return the codes that were read."""
        with self._lock:
            ready = [(at, content) for at, content in self._codes if at is None or at <= now]
            self._codes = [code for code in self._codes if code not in ready]
            if "duplicates" in self._faults:
                fresh = [content for at, content in ready if at is None]
                self._codes += [(now + turn * AGAIN_S, content) for content in fresh for turn in (1, 2)]
            return b"".join(self._sent(content) for _, content in ready)

    def _sent(self, content: bytes) -> bytes:
        if "not-utf8" in self._faults:
            content += NOT_UTF8
        if "huge-code" in self._faults:
            content = (content or b"?") * (HUGE_BYTES // max(1, len(content)) + 1)
        before = encode_answer(b"\x00") if "glued-ack" in self._faults else b""
        return before + content + (b"" if "no-terminator" in self._faults else TERMINATOR)

    def _obey(self, request: bytes) -> bytes:
        kind, register, data = request[2], int.from_bytes(request[4:6], "big"), request[6:-2]
        if kind == READ:
            return encode_answer(bytes(self._registers.get(register + place, 0) for place in range(data[0])))
        if kind == WRITE:
            self._registers |= {register + place: value for place, value in enumerate(data)}
        return encode_answer(b"\x00")


def _judge(held: bytearray) -> int | None:
    if len(held) < REQUEST_HEAD_BYTES:
        return WAIT
    kind, count = held[2], held[3]
    size = REQUEST_HEAD_BYTES + (1 if kind == READ else count) + 2
    if kind not in (READ, WRITE, SAVE) or not 1 <= size - REQUEST_HEAD_BYTES - 2 <= 16:
        return NO_FRAME
    if len(held) < size:
        return WAIT
    good = gm65.checked(bytes(held[2 : size - 2]), bytes(held[size - 2 : size]))
    return size if good else NO_FRAME
