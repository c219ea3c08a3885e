"""Simulate an LD2410: who is felt, its configuration, and the ways it goes wrong."""

from typing import ClassVar

from drivers.codecs import radar
from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder
from drivers.codecs.radar import AROUND_BYTES, COMMAND_HEAD, COMMAND_TAIL, REPORT_TAIL, encode_answer, encode_report
from drivers.sim.faulty import Faulty

REPORT_EVERY_S = 0.1
LONGEST_COMMAND_BYTES = AROUND_BYTES + 20
FIRMWARE_VALUE = bytes.fromhex("00 01 02 01 16 24 06 22")
PARAMETERS_VALUE = bytes([0xAA, 8, 8, 8]) + bytes([50] * 9) + bytes([40] * 9) + bytes([5, 0])
OPENED_VALUE = bytes.fromhex("01 00 40 00")  # protocol version and buffer size
GATES_VALUE = bytes([8, 8]) + bytes(18) + bytes([0x80, 1])
PHANTOM_CM = 240  # a fan
FELT_PERCENT = 60


class SimRadar(Faulty):
    """Behave like a radar that reports of its own accord. Who is felt changes from any thread.

    `stuck-in-config`: the configuration is open and does not close. `report-in-config`: it is open, and reports go on.
    """

    FAULTS: ClassVar[tuple[str, ...]] = ("phantom", "no-tail", "stuck-in-config", "report-in-config")

    def __init__(self) -> None:
        super().__init__()
        self._finder = FrameFinder(head=COMMAND_HEAD, longest_bytes=LONGEST_COMMAND_BYTES, judge=_judge)
        self._next_at = 0.0
        self._open = self._engineering = False
        self._moving = self._still = False
        self._distance_mm: int | None = None

    def show(self, moving: bool, still: bool, distance_mm: int | None = None) -> None:
        """Let somebody be felt who moves, stands still, or both (two people); neither for an empty room."""
        with self._lock:
            self._moving, self._still, self._distance_mm = moving, still, distance_mm

    def _began(self, name: str) -> None:
        self._open = self._open or name.endswith("-config")  # and so it stays when the fault ends, until it is told

    def answer(self, chunk: bytes, now: float = 0.0) -> bytes:
        """Return the radar's answers to the commands in these bytes."""
        with self._lock:
            found = self._finder.feed(chunk)
            return b"".join(self._obey(one[6:-4]) for one in found if not isinstance(one, Dropped))

    def due(self, now: float) -> bytes:
        """Return the next report when its time has come."""
        with self._lock:
            if now < self._next_at:
                return b""
            self._next_at = now + REPORT_EVERY_S
            if self._open and "report-in-config" not in self._faults:
                return b""
            report = self._report()
            return report[: -len(REPORT_TAIL)] if "no-tail" in self._faults else report

    def _report(self) -> bytes:
        cm = (self._distance_mm or 0) // radar.MM_PER_CM
        moving, still = self._moving, self._still
        if "phantom" in self._faults and not (moving or still):
            still, cm = True, PHANTOM_CM
        return encode_report(
            moving * radar.MOVING + still * radar.STILL,
            moving_cm=cm * moving,
            moving_percent=FELT_PERCENT * moving,
            still_cm=cm * still,
            still_percent=FELT_PERCENT * still,
            detection_cm=cm,
            gates=GATES_VALUE if self._engineering else b"",
        )

    def _obey(self, data: bytes) -> bytes:
        code = int.from_bytes(data[:2], "little")
        if code == radar.ENTER:
            self._open = True
            return encode_answer(code, value=OPENED_VALUE)
        if not self._open:
            return encode_answer(code, status=1)
        if code == radar.LEAVE:
            self._open = "stuck-in-config" in self._faults
        elif code in (radar.ENGINEERING_ON, radar.ENGINEERING_OFF):
            self._engineering = code == radar.ENGINEERING_ON
        elif code == radar.FIRMWARE:
            return encode_answer(code, value=FIRMWARE_VALUE)
        elif code == radar.PARAMETERS:
            return encode_answer(code, value=PARAMETERS_VALUE)
        return encode_answer(code)


def _judge(held: bytearray) -> int | None:
    if len(held) < AROUND_BYTES:
        return WAIT
    size = AROUND_BYTES + int.from_bytes(held[4:6], "little")
    if not AROUND_BYTES + 2 <= size <= LONGEST_COMMAND_BYTES:
        return NO_FRAME
    if len(held) < size:
        return WAIT
    return size if held[size - 4 : size] == COMMAND_TAIL else NO_FRAME
