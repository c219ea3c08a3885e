"""Talk to the GY-MCU90640 thermal array module: 32 x 24 temperatures per frame, commands of four bytes.

Source: device-protocols 2.3. The checksum rule and the sign of the pixels rest on few origins; the readings chosen here
are the safe ones.
"""

import struct
from dataclasses import dataclass, field
from math import nan
from typing import ClassVar

from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder, cut_short
from drivers.readings import Junk, Reading, Sign, ThermalReading
from drivers.thermal_watch import ThermalWatch

WIDTH = 32
HEIGHT = 24
HEAD = bytes.fromhex("5A 5A")
FIELD_HEAD = bytes.fromhex("5A 5A 02 06")  # the length, 1538 little-endian, tells a field from the other answer
FIELD_BYTES = 1544
EMISSIVITY_BYTES = 4
EMISSIVITY_MOST = 100  # hundredths
LOWEST_CELSIUS = -40.0  # the sensor's range; the module sends -273.15 for a pixel it could not compute
HIGHEST_CELSIUS = 300.0  # a pixel at the very end is a dead one

_FIELD = struct.Struct(f"<4x{WIDTH * HEIGHT + 1}h2x")  # signed: two programs of three, and winter
_WORDS = struct.Struct(f"<{FIELD_BYTES // 2}H")

AUTOMATIC_EVERY_S = 2.0  # asked for again this long after the last frame; 0.5 Hz, the slowest rate, is not disturbed
BAUD_CODES = {9600: 1, 115200: 2, 460800: 3}
RATE_CODES = {0.5: 0, 1.0: 1, 2.0: 2, 4.0: 3, 8.0: 4}


def baud_command(baud: int) -> bytes:
    """Return the command for another line speed. Raises: KeyError when the module has no such speed."""
    return _command(0x15, BAUD_CODES[baud])


def rate_command(rate_hz: float) -> bytes:
    """Return the command for another picture rate; 8 Hz needs 460800 baud. Raises: KeyError for an unknown rate."""
    return _command(0x25, RATE_CODES[rate_hz])


def query_command() -> bytes:
    """Return the command that asks for one frame and ends automatic output."""
    return _command(0x35, 1)


def automatic_command() -> bytes:
    """Return the command that starts automatic output."""
    return _command(0x35, 2)


def set_emissivity_command(emissivity: float) -> bytes:
    """Return the command that sets the emissivity. Raises: ValueError outside 0.01 to 1.00."""
    hundredths = round(emissivity * 100)
    if not 1 <= hundredths <= EMISSIVITY_MOST:
        raise ValueError(f"emissivity {emissivity}: expected 0.01 to 1.00")
    return _command(0x45, hundredths)


def ask_emissivity_command() -> bytes:
    """Return the command that asks for the emissivity."""
    return _command(0x55, 1)


def save_command() -> bytes:
    """Return the command that keeps all settings over the next power cycle."""
    return _command(0x65, 1)


def _command(code: int, value: int) -> bytes:
    return bytes([0xA5, code, value, (0xA5 + code + value) & 0xFF])


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFrame:
    """One good frame, row by row as it was on the wire: the first pixel is the upper RIGHT of the scene."""

    celsius: tuple[float, ...] = field(repr=False)
    ambient_celsius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Emissivity:
    """The module's answer to the question for its emissivity."""

    emissivity: float


class ThermalArrayCodec:
    """Turn the module's bytes into frames, answers and junk."""

    def __init__(self) -> None:
        self._finder = FrameFinder(head=HEAD, longest_bytes=FIELD_BYTES, judge=_judge)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._finder.held_bytes

    def feed(self, chunk: bytes) -> list[FieldFrame | Emissivity | Dropped]:
        """Return what the bytes hold, in the order of the wire."""
        return [found if isinstance(found, Dropped) else _parsed(found) for found in self._finder.feed(chunk)]


def _judge(held: bytearray) -> int | None:
    if len(held) < EMISSIVITY_BYTES:
        return WAIT
    if not held.startswith(FIELD_HEAD):
        good = 1 <= held[2] <= EMISSIVITY_MOST and sum(held[:3]) & 0xFF == held[3]
        return EMISSIVITY_BYTES if good else NO_FRAME
    if cut_short(held, FIELD_BYTES, FIELD_HEAD):  # inside a field it would be a neighbourhood of 231 °C
        return NO_FRAME
    if len(held) < FIELD_BYTES:
        return WAIT
    *words, checksum = _WORDS.unpack_from(held)
    return FIELD_BYTES if sum(words) & 0xFFFF == checksum else NO_FRAME


def _parsed(frame: bytes) -> FieldFrame | Emissivity:
    if len(frame) == EMISSIVITY_BYTES:
        return Emissivity(emissivity=frame[2] / 100)
    *pixels, ambient = _FIELD.unpack(frame)
    return FieldFrame(celsius=tuple(_celsius(raw) for raw in pixels), ambient_celsius=_celsius(ambient))


def _celsius(raw: int) -> float:
    celsius = raw / 100
    return celsius if LOWEST_CELSIUS <= celsius < HIGHEST_CELSIUS else nan


class GyMcu90640Dialect:
    """Listen to one module and keep it talking: automatic output is asked for at the start and after each pause.

    `mirror` turns the picture round, because the module's first column is the right edge of the scene.
    """

    SPEEDS: ClassVar[tuple[int, ...]] = (115200, 460800, 9600)

    def __init__(self, *, mirror: bool = True, silence_s: float = 3.0) -> None:
        self.silence_s = silence_s
        self._mirror = mirror
        self._codec = ThermalArrayCodec()
        self._watch = ThermalWatch()
        self._ask_at = 0.0

    def due(self, now: float) -> bytes:
        """Return the command for automatic output when nothing came for a while, else b""."""
        if now < self._ask_at:
            return b""
        self._ask_at = now + AUTOMATIC_EVERY_S
        return automatic_command()

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean."""
        return [reading for found in self._codec.feed(chunk) for reading in self._readings(found, now)]

    def _readings(self, found: FieldFrame | Emissivity | Dropped, now: float) -> list[Reading]:
        if isinstance(found, Dropped):
            return [Junk(at_mono=now, byte_count=found.byte_count)]
        if isinstance(found, Emissivity):
            return [Sign(at_mono=now, detail=f"emissivity {found.emissivity:.2f}")]
        self._ask_at = now + AUTOMATIC_EVERY_S
        celsius = _mirrored(found.celsius) if self._mirror else found.celsius
        field = ThermalReading(
            at_mono=now, width=WIDTH, height=HEIGHT, celsius=celsius, ambient_celsius=found.ambient_celsius
        )
        return self._watch.see(field, now)


def _mirrored(celsius: tuple[float, ...]) -> tuple[float, ...]:
    rows = (celsius[start : start + WIDTH] for start in range(0, WIDTH * HEIGHT, WIDTH))
    return tuple(value for row in rows for value in reversed(row))
