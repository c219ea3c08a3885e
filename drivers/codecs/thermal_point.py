"""Talk to thermal modules that measure one point: four dialects of the street, one reading of 1 x 1.

Source: device-protocols 2.4. A module's own "body temperature" is made up from the forehead: it is never used.
"""

from math import isnan
from typing import ClassVar

from drivers.codecs import point_frames
from drivers.codecs.framing import Dropped
from drivers.codecs.point_frames import (
    CHIP,
    CJ_CONTINUOUS,
    DATA,
    ChipFrame,
    CjMcu90614Codec,
    Gy614VCodec,
    GyMcu90614Codec,
    PointCodec,
    PointEvent,
    PointFrame,
    TextCodec,
)
from drivers.readings import Identity, Junk, Reading, Sign, ThermalReading
from drivers.thermal_watch import ThermalWatch

AUTOMATIC_EVERY_S = 2.0  # continuous output is asked for again this long after the last frame; the slowest rate is 1 Hz
READ_EVERY_S = 0.5  # a module in query mode then gives 2 Hz; a talking one at 1 Hz is asked once in between
AGREE_CELSIUS = 0.5  # a line of text has no checksum: one flipped bit makes 36 of 37; two lines do not flip alike


class _PointDialect:
    """What all of them share: frames become readings, and the watch judges them."""

    def __init__(self, codec: PointCodec, silence_s: float) -> None:
        self.silence_s = silence_s
        self._codec = codec
        self._watch = ThermalWatch()
        self._ask_at = 0.0

    def due(self, now: float) -> bytes:
        """Return the command for continuous output when nothing came for a while, else b""."""
        if now < self._ask_at:
            return b""
        self._ask_at = now + AUTOMATIC_EVERY_S
        return self._continuous_command()

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean."""
        return [reading for found in self._codec.feed(chunk) for reading in self._readings(found, now)]

    def _continuous_command(self) -> bytes:
        return b""

    def _readings(self, found: PointEvent, now: float) -> list[Reading]:
        if isinstance(found, Dropped):
            return [Junk(at_mono=now, byte_count=found.byte_count)]
        if isinstance(found, ChipFrame):
            return [Identity(at_mono=now, text=f"GY-614V chip {found.chip:02X} firmware {found.firmware:02X}")]
        self._ask_at = now + AUTOMATIC_EVERY_S
        return self._measured(found, now)

    def _measured(self, found: PointFrame, now: float) -> list[Reading]:
        celsius = (found.object_celsius,)
        point = ThermalReading(at_mono=now, width=1, height=1, celsius=celsius, ambient_celsius=found.ambient_celsius)
        return self._watch.see(point, now)


class GyMcu90614Dialect(_PointDialect):
    """Listen to a GY-MCU90614 or GY-MCU90615 and keep it talking."""

    SPEEDS: ClassVar[tuple[int, ...]] = (9600, 115200)

    def __init__(self, *, silence_s: float = 3.0) -> None:
        super().__init__(GyMcu90614Codec(), silence_s)

    def _continuous_command(self) -> bytes:
        return point_frames.gy_continuous_command()


class CjMcu90614Dialect(_PointDialect):
    """Listen to a CJMCU-90614 and keep it talking."""

    SPEEDS: ClassVar[tuple[int, ...]] = (115200, 9600, 57600)

    def __init__(self, *, silence_s: float = 3.0) -> None:
        super().__init__(CjMcu90614Codec(), silence_s)

    def _continuous_command(self) -> bytes:
        return point_frames.cj_command(CJ_CONTINUOUS)


class Gy614VDialect(_PointDialect):
    """Listen to a GY-614V, and read its registers when it does not talk by itself."""

    SPEEDS: ClassVar[tuple[int, ...]] = (9600, 115200)

    def __init__(self, *, silence_s: float = 3.0) -> None:
        super().__init__(Gy614VCodec(), silence_s)
        self._chip_asked = False
        self._talks = False

    def due(self, now: float) -> bytes:
        """Return the request for the figures when none came for a while; once for the chip when the first came."""
        if self._talks and not self._chip_asked:
            self._chip_asked = True
            return point_frames.register_read(CHIP)
        if now < self._ask_at:
            return b""
        self._ask_at = now + READ_EVERY_S
        return point_frames.register_read(DATA)

    def _measured(self, found: PointFrame, now: float) -> list[Reading]:
        self._talks = True
        self._ask_at = now + READ_EVERY_S
        return super()._measured(found, now)


class TextDialect(_PointDialect):
    """Listen to a module that prints lines of text. A figure counts when the line before said nearly the same.

    `object_first` says that the first number of a line is the object, not the sensor's own temperature.
    """

    SPEEDS: ClassVar[tuple[int, ...]] = (9600,)

    def __init__(self, *, object_first: bool = False, silence_s: float = 3.0) -> None:
        super().__init__(TextCodec(object_first=object_first), silence_s)
        self._before: PointFrame | None = None

    def _measured(self, found: PointFrame, now: float) -> list[Reading]:
        before, self._before = self._before, found
        if before is None or not _agree(before, found):
            return [Sign(at_mono=now, detail="to be confirmed by the next line")]
        return super()._measured(found, now)


def _agree(one: PointFrame, other: PointFrame) -> bool:
    return _near(one.object_celsius, other.object_celsius) and _near(one.ambient_celsius, other.ambient_celsius)


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= AGREE_CELSIUS or (isnan(one) and isnan(other))
