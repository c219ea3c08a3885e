"""Simulate thermal modules that measure one point: a room, and now and then a warm forehead before the sensor."""

import random
import struct
from collections.abc import Callable
from typing import ClassVar

from drivers.codecs import point_frames
from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder
from drivers.codecs.point_frames import CHIP, CJ_CONTINUOUS, CJ_HEAD, CJ_QUERY, DATA, GY_HEAD, READ, WRITE
from drivers.sim.faulty import Faulty

NOISE_CELSIUS = 0.08  # of the figure; the sensor's own is calmer
AMBIENT_NOISE_CELSIUS = 0.03
HOT_CELSIUS = 60.0
NO_VALUE_CELSIUS = 327.67  # what the modules' 16 bits make of a sensor word with bit 15 set
BODY_CELSIUS = 36.5  # the module's invention; no driver may take it for a measurement
EMISSIVITY_HUNDREDTHS = 95


class SimThermalPoint(Faulty):
    """What all the modules share: what is seen, the clock of automatic output, and the faults. Any thread may call."""

    FAULTS: ClassVar[tuple[str, ...]] = ("checksum", "stale", "bit15", "ambient-60")

    def __init__(self, *, ambient_celsius: float = 24.0, rate_hz: float = 5.0, seed: int = 1) -> None:
        self.ambient_celsius = ambient_celsius
        self._random = random.Random(seed)
        super().__init__()
        self._period_s = 1 / rate_hz
        self._next_at = 0.0
        self._automatic = True
        self._skin_celsius: float | None = None
        self._last = b""
        self._finder = self._commands()

    def show(self, skin_celsius: float | None) -> None:
        """Let a person stand there with this skin temperature, None for an empty room. Unit: °C."""
        with self._lock:
            self._skin_celsius = skin_celsius

    def frame(self) -> bytes:
        """Return one frame of what is seen now."""
        with self._lock:
            return self._frame()

    def answer(self, chunk: bytes, now: float = 0.0) -> bytes:
        """Return the module's answers to the commands in these bytes; most commands have none."""
        with self._lock:
            found = self._finder.feed(chunk)
            return b"".join(self._obey(command) for command in found if not isinstance(command, Dropped))

    def due(self, now: float) -> bytes:
        """Return the next frame of automatic output when its time has come."""
        with self._lock:
            if not self._automatic or now < self._next_at:
                return b""
            self._next_at = now + self._period_s
            return self._frame()

    def _frame(self) -> bytes:
        if not ("stale" in self._faults and self._last):
            own = HOT_CELSIUS if "ambient-60" in self._faults else self.ambient_celsius
            seen = self.ambient_celsius if self._skin_celsius is None else self._skin_celsius
            seen += self._random.uniform(-NOISE_CELSIUS, NOISE_CELSIUS)
            own += self._random.uniform(0, AMBIENT_NOISE_CELSIUS)
            self._last = self._encode(NO_VALUE_CELSIUS if "bit15" in self._faults else seen, own)
        return self._spoilt(self._last) if "checksum" in self._faults else self._last

    def _spoilt(self, frame: bytes) -> bytes:
        return frame[:-1] + bytes([frame[-1] ^ 0xFF])

    def _commands(self) -> FrameFinder:
        """Return what finds this module's commands."""
        raise NotImplementedError

    def _obey(self, command: bytes) -> bytes:
        """Do what a command says and return the answer."""
        raise NotImplementedError

    def _encode(self, seen_celsius: float, own_celsius: float) -> bytes:
        """Return the frame of these two figures."""
        raise NotImplementedError


def _figures(*celsius: float) -> bytes:
    return struct.pack(f">{len(celsius)}h", *(round(value * 100) for value in celsius))


def gy_frame(seen_celsius: float, own_celsius: float) -> bytes:
    """Return the frame of a GY-MCU90614."""
    return point_frames.with_sum(GY_HEAD + _figures(seen_celsius, own_celsius))


def cj_frame(seen_celsius: float, own_celsius: float, mode: int = CJ_CONTINUOUS) -> bytes:
    """Return the frame of a CJMCU-90614."""
    return point_frames.with_sum(CJ_HEAD + bytes([mode, 4]) + _figures(seen_celsius, own_celsius))


def register_frame(seen_celsius: float, own_celsius: float, body_celsius: float) -> bytes:
    """Return the data frame of a GY-614V."""
    head = bytes([point_frames.REGISTER_ADDRESS, READ, *DATA, EMISSIVITY_HUNDREDTHS])
    return point_frames.with_sum(head + _figures(seen_celsius, own_celsius, body_celsius))


class SimGyMcu90614(SimThermalPoint):
    """Behave like a GY-MCU90614."""

    def _commands(self) -> FrameFinder:
        return FrameFinder(head=b"\xa5", longest_bytes=3, judge=_judge_sum(3))

    def _obey(self, command: bytes) -> bytes:
        self._automatic = self._automatic or command[1] == 0x45
        return self._frame() if command[1] == 0x15 else b""

    def _encode(self, seen_celsius: float, own_celsius: float) -> bytes:
        return gy_frame(seen_celsius, own_celsius)


class SimCjMcu90614(SimThermalPoint):
    """Behave like a CJMCU-90614."""

    def _commands(self) -> FrameFinder:
        return FrameFinder(head=CJ_HEAD, longest_bytes=4, judge=_judge_cj_command)

    def _obey(self, command: bytes) -> bytes:
        if command[2] in (CJ_CONTINUOUS, CJ_QUERY):
            self._automatic = command[2] == CJ_CONTINUOUS
        return self._frame() if command[2] == CJ_QUERY else b""

    def _encode(self, seen_celsius: float, own_celsius: float) -> bytes:
        return cj_frame(seen_celsius, own_celsius, CJ_CONTINUOUS if self._automatic else CJ_QUERY)


class SimGy614V(SimThermalPoint):
    """Behave like a GY-614V, continuous or asked."""

    def _commands(self) -> FrameFinder:
        head = bytes([point_frames.REGISTER_ADDRESS])
        return FrameFinder(head=head, longest_bytes=5, judge=_judge_sum(5))

    def _obey(self, command: bytes) -> bytes:
        _, function, *block, _ = command
        if function == WRITE and block[0] == point_frames.MODE_REGISTER:
            self._automatic = block[1] == 0
        if function != READ:
            return b""
        if tuple(block) == CHIP:
            return point_frames.with_sum(command[:4] + bytes([0x14, 0x03]))
        return self._frame() if tuple(block) == DATA else b""

    def _encode(self, seen_celsius: float, own_celsius: float) -> bytes:
        return register_frame(seen_celsius, own_celsius, BODY_CELSIUS)


class SimText(SimThermalPoint):
    """Behave like a module that prints lines. A line has no checksum: the fault `checksum` garbles a digit instead."""

    def _commands(self) -> FrameFinder:
        return FrameFinder(head=b"\0", longest_bytes=1, judge=lambda _held: NO_FRAME)  # it takes no commands

    def _obey(self, command: bytes) -> bytes:
        return b""

    def _encode(self, seen_celsius: float, own_celsius: float) -> bytes:
        return f"Ambient = {own_celsius:.2f}*C  Object = {seen_celsius:.2f}*C\r\n".encode()

    def _spoilt(self, frame: bytes) -> bytes:
        point = frame.rindex(b".")
        return frame[: point - 1] + b"?" + frame[point:]


def _judge_sum(size: int) -> Callable[[bytearray], int | None]:
    def judge(held: bytearray) -> int | None:
        if len(held) < size:
            return WAIT
        return size if sum(held[: size - 1]) & 0xFF == held[size - 1] else NO_FRAME

    return judge


def _judge_cj_command(held: bytearray) -> int | None:
    if len(held) < 4:
        return WAIT
    return 4 if held[3] == 0x56 else NO_FRAME
