"""Poll the I2C sensors whose registers hold temperatures: MLX90614 (a point) and AMG8833 (8 x 8).

Source: device-protocols 2.1 and 2.5. The AMG8833 is decoded here and not by its common library: that one takes 64
transactions for one picture, and does not look at the overflow flags.
"""

import struct
from math import nan

from drivers.codecs import smbus
from drivers.codecs.framing import Dropped
from drivers.i2c import Bus, address_of
from drivers.readings import Identity, Junk, Reading, Sign, Symptom, ThermalReading, Trouble
from drivers.thermal_watch import ThermalWatch

WRONG_IN_A_ROW = 5  # one second of wrong check bytes is no glitch any more

AMG_ADDRESS = 0x69
AMG_SIDE = 8
AMG_POWER, AMG_RATE, AMG_STATUS, AMG_CLEAR, AMG_OWN, AMG_PIXELS = 0x00, 0x02, 0x04, 0x05, 0x0E, 0x80
AMG_OVERFLOW = 0x0C  # of a pixel, of the thermistor
AMG_PIXEL_STEP_CELSIUS = 0.25
AMG_OWN_STEP_CELSIUS = 0.0625
AMG_RANGE_CELSIUS = (0.0, 80.0)  # of a pixel; the part does not promise more
AMG_OWN_RANGE_CELSIUS = (0.0, 60.0)

_AMG_PIXELS = struct.Struct(f"<{AMG_SIDE * AMG_SIDE}H")


class Mlx90614:
    """Ask an MLX90614 for its two temperatures, and check each answer's check byte."""

    period_s = 0.2  # the sensor has a new value each 0.1 s

    def __init__(self, bus: Bus, url: str) -> None:
        self._bus = bus
        self._address = address_of(url, smbus.ADDRESS)
        self._watch = ThermalWatch()
        self._known = False
        self._wrong = 0

    def poll(self, now: float) -> list[Reading]:
        """Return the temperature, or why there is none. Raises: PortLost."""
        answers = [self._answer(smbus.AMBIENT), self._answer(smbus.OBJECT)]
        if any(answer in (b"\xff\xff\xff", bytes(3)) for answer in answers):
            return [_dead_bus(now)]
        ambient, measured = (
            smbus.read_word(self._address, command, answer)
            for command, answer in zip((smbus.AMBIENT, smbus.OBJECT), answers, strict=True)
        )
        if isinstance(ambient, Dropped) or isinstance(measured, Dropped):
            return self._wrong_check(now)
        self._wrong = 0
        point = ThermalReading(
            at_mono=now,
            width=1,
            height=1,
            celsius=(smbus.object_celsius(measured.raw),),
            ambient_celsius=smbus.ambient_celsius(ambient.raw),
        )
        return [*self._identity(now), *self._watch.see(point, now)]

    def _answer(self, command: int) -> bytes:
        return self._bus.transfer(self._address, bytes([command]), smbus.ANSWER_BYTES)

    def _wrong_check(self, now: float) -> list[Reading]:
        self._wrong += 1
        junk = Junk(at_mono=now, byte_count=smbus.ANSWER_BYTES)
        if self._wrong < WRONG_IN_A_ROW:
            return [junk]
        detail = f"{self._wrong} answers in a row with a wrong check byte (PEC); shorten the wires, 100 kHz at most"
        return [junk, Trouble(at_mono=now, symptom=Symptom.NOISE, detail=detail)]

    def _identity(self, now: float) -> list[Reading]:
        if self._known:
            return []
        words = [smbus.read_word(self._address, command, self._answer(command)) for command in smbus.IDS]
        numbers = [word.raw for word in words if isinstance(word, smbus.Word)]
        self._known = len(numbers) == len(words)
        text = "MLX90614 " + "-".join(f"{number:04X}" for number in numbers)
        return [Identity(at_mono=now, text=text)] if self._known else []


class Amg8833:
    """Ask an AMG8833 for its picture. Good for presence: its ±2.5 °C decide about no fever.

    Shape: 8 x 8 in the order of the registers; which way up is the board's matter.
    """

    period_s = 0.1  # 10 pictures a second

    def __init__(self, bus: Bus, url: str) -> None:
        self._bus = bus
        self._address = address_of(url, AMG_ADDRESS)
        self._watch = ThermalWatch(ambient_celsius=AMG_OWN_RANGE_CELSIUS)
        self._started = False

    def poll(self, now: float) -> list[Reading]:
        """Return the picture, or why there is none; the first poll only starts the sensor. Raises: PortLost."""
        if not self._started:
            return self._start(now)
        own = self._read(AMG_OWN, 2)
        pixels = self._read(AMG_PIXELS, _AMG_PIXELS.size)
        status = self._read(AMG_STATUS, 1)[0]
        if _undriven(own, pixels, status):
            return [_dead_bus(now)]
        if status & AMG_OVERFLOW:
            self._write(AMG_CLEAR, AMG_OVERFLOW)
            detail = "the sensor reports an overflow: something beyond its range is in view"
            return [Trouble(at_mono=now, symptom=Symptom.IMPLAUSIBLE, detail=detail)]
        field = ThermalReading(
            at_mono=now,
            width=AMG_SIDE,
            height=AMG_SIDE,
            celsius=amg_pixels(pixels),
            ambient_celsius=amg_own(own),
        )
        return self._watch.see(field, now)

    def _start(self, now: float) -> list[Reading]:
        self._write(AMG_POWER, 0x00)
        self._write(AMG_RATE, 0x00)
        self._started = True
        return [Identity(at_mono=now, text=f"AMG8833 at {self._address:#04x}"), Sign(at_mono=now, detail="started")]

    def _read(self, register: int, count: int) -> bytes:
        return self._bus.transfer(self._address, bytes([register]), count)

    def _write(self, register: int, value: int) -> None:
        self._bus.transfer(self._address, bytes([register, value]), 0)


def amg_pixels(registers: bytes) -> tuple[float, ...]:
    """Return the temperatures of 64 pixels: 12 bits, two's complement. Unit: °C; NaN outside the part's range."""
    lowest, highest = AMG_RANGE_CELSIUS
    values = (((raw & 0xFFF ^ 0x800) - 0x800) * AMG_PIXEL_STEP_CELSIUS for raw in _AMG_PIXELS.unpack(registers))
    return tuple(value if lowest <= value <= highest else nan for value in values)


def amg_own(registers: bytes) -> float:
    """Return the sensor's own temperature: 12 bits, sign and magnitude. Unit: °C."""
    raw = int.from_bytes(registers, "little")
    return (raw & 0x7FF) * AMG_OWN_STEP_CELSIUS * (-1 if raw & 0x800 else 1)


def _undriven(own: bytes, pixels: bytes, status: int) -> bool:
    """Tell whether nobody drove the bus in any of the three answers: it may die between two of them.

    Source: the register map; the upper bits of a temperature and of the status are zero, so no answer is all ones.
    """
    return status == 0xFF or set(own) == {0xFF} or pixels.endswith(b"\xff\xff") or not any(own + pixels)


def _dead_bus(now: float) -> Trouble:
    detail = "all bits of the answer are alike: nobody drives the bus; check wiring, pull-ups and power"
    return Trouble(at_mono=now, symptom=Symptom.SILENT, detail=detail)
