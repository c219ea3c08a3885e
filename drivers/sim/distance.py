"""Simulate a TF-Luna: a beam, and what stands in it."""

from typing import ClassVar

from drivers.codecs import distance
from drivers.codecs.distance import COMMAND_HEAD, encode_frame
from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder
from drivers.sim.faulty import Faulty

VERSION_DATA = bytes([1, 2, 3])  # 3.2.1
LONGEST_COMMAND_BYTES = 8
AT_ONCE_MOST = 10  # frames; a sensor has no memory for a host that sleeps
STRONG, WEAK = 1000, 20  # of a coat at arm's length, and of an empty room
ALL_59 = 0x5959


class SimDistance(Faulty):
    """Behave like a sensor that sends of its own accord. What stands in the beam changes from any thread.

    `all-59`: every byte before the sum is 59, so that the head is found everywhere.
    """

    FAULTS: ClassVar[tuple[str, ...]] = ("strength-0", "saturated", "error-distance", "all-59")

    def __init__(self, *, rate_hz: int = 100) -> None:
        super().__init__()
        self._finder = FrameFinder(head=bytes([COMMAND_HEAD]), longest_bytes=LONGEST_COMMAND_BYTES, judge=_judge)
        self._rate_hz = rate_hz
        self._output = True
        self._unit_mm = 10
        self._next_at: float | None = None
        self._distance_mm: int | None = None

    def show(self, distance_mm: int | None) -> None:
        """Let somebody stand so far away, None for nobody."""
        with self._lock:
            self._distance_mm = distance_mm

    def answer(self, chunk: bytes, now: float = 0.0) -> bytes:
        """Return the sensor's answers to the commands in these bytes."""
        with self._lock:
            found = self._finder.feed(chunk)
            return b"".join(self._obey(one[2], one[3:-1]) for one in found if not isinstance(one, Dropped))

    def due(self, now: float) -> bytes:
        """Return the frames since the last look."""
        with self._lock:
            if not (self._output and self._rate_hz):
                self._next_at = None
                return b""
            if self._next_at is None or now - self._next_at > AT_ONCE_MOST / self._rate_hz:
                self._next_at = now
            count = int((now - self._next_at) * self._rate_hz + 1e-6) + 1 if now >= self._next_at else 0
            self._next_at += count / self._rate_hz
            return self._frame() * count

    def _frame(self) -> bytes:
        there = self._distance_mm is not None
        units = (self._distance_mm or 0) // self._unit_mm
        strength = STRONG if there else WEAK
        if "error-distance" in self._faults:
            units, strength = 0xFFFE, STRONG
        if "strength-0" in self._faults:
            units, strength = 0, 0
        if "saturated" in self._faults:
            strength = distance.SATURATED
        if "all-59" in self._faults:
            return encode_frame(ALL_59, ALL_59, celsius=ALL_59 / 8 - 256)
        return encode_frame(units, strength)

    def _obey(self, number: int, data: bytes) -> bytes:
        if number == distance.VERSION:
            return distance.command(number, VERSION_DATA)
        if number == distance.RATE and len(data) == 2:
            self._rate_hz = int.from_bytes(data, "little")
        elif number == distance.OUTPUT and len(data) == 1:
            self._output = bool(data[0])
        elif number == distance.UNIT and len(data) == 1:
            self._unit_mm = 1 if data[0] == distance.UNIT_CODES["mm"] else 10
        elif number == distance.MEASURE:
            return self._frame()
        elif number in (distance.FACTORY, distance.KEEP):
            data = b"\x00"
        elif number != distance.BAUD:
            return b""
        return distance.command(number, data)


def _judge(held: bytearray) -> int | None:
    if len(held) < 2:
        return WAIT
    size = held[1]
    if not 4 <= size <= LONGEST_COMMAND_BYTES:
        return NO_FRAME
    if len(held) < size:
        return WAIT
    return size if sum(held[: size - 1]) & 0xFF == held[size - 1] else NO_FRAME
