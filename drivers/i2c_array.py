"""Poll an MLX90640 through the Adafruit library, which knows the sensor's 800 calibration values and how to use them.

The library is written for boards with `busio`. It is given our bus instead, so no Blinka is needed and no board is
guessed. It also waits for ever where the sensor has nothing new, so each of its transfers has a deadline.
Source: device-protocols 2.2.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import nan
from types import ModuleType
from typing import Protocol

from drivers.errors import DriverError
from drivers.i2c import Bus, address_of
from drivers.readings import Identity, Reading, Symptom, ThermalReading, Trouble
from drivers.thermal_watch import ThermalWatch

ADDRESS = 0x33
WIDTH = 32
HEIGHT = 24
REFRESH_4_HZ = 0b011  # half pictures: two pictures a second, which a bus of 400 kHz carries with ease
POLL_WITHIN_S = 1.5  # two half pictures take 0.5 s; a sensor that needs three times as long is stuck
PAUSE_S = 0.01  # between two looks for a new half picture, which comes each 0.25 s
STATUS = b"\x80\x00"
NEW_DATA = 0x08
EEPROM = b"\x24\x00"
EEPROM_BYTES = 2 * 832
MOST_BLANK_SHARE = 0.5  # a sensor's own calibration has a few zeros; a dead bus has nothing else
IMPOSSIBLE_CELSIUS = -273.15  # what the library says of a broken pixel
LOWEST_CELSIUS = -40.0
HIGHEST_CELSIUS = 300.0
LENT = {"busio": ("I2C",), "circuitpython_typing": ("ReadableBuffer", "WriteableBuffer")}


class Library(Protocol):
    """What is used of the library's sensor; a simulated one is this, too."""

    refresh_rate: int
    own_celsius: float

    @property
    def serial_number(self) -> list[int]:
        """Return the three words that no other sensor has."""

    def getFrame(self, framebuf: list[float]) -> None:  # the library's name
        """Measure, and put 768 temperatures into the list. Raises: RuntimeError, ValueError."""


class Mlx90640:
    """Ask an MLX90640 for its picture. `mirror` turns it round: its first column is the right edge of the scene."""

    period_s = 0.5

    def __init__(
        self,
        bus: Bus,
        url: str,
        *,
        mirror: bool = True,
        library: Callable[["BusioBus", int], Library] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = BusioBus(bus, clock=clock)
        self._address = address_of(url, ADDRESS)
        self._mirror = mirror
        self._library = library or adafruit
        self._sensor: Library | None = None
        self._watch = ThermalWatch()
        self._celsius = [nan] * (WIDTH * HEIGHT)

    def poll(self, now: float) -> list[Reading]:
        """Return the picture, or why there is none. Raises: PortLost, DriverError when the library is not installed."""
        self._bus.allow(POLL_WITHIN_S)
        try:
            if self._sensor is None:
                return self._start(now)
            self._sensor.getFrame(self._celsius)
        except (RuntimeError, ValueError, ArithmeticError, IndexError) as error:  # ValueError: the root of a wrong word
            return [self._trouble(error, now)]
        field = ThermalReading(
            at_mono=now,
            width=WIDTH,
            height=HEIGHT,
            celsius=self._as_seen(),
            ambient_celsius=self._sensor.own_celsius,
        )
        return self._watch.see(field, now)

    def _start(self, now: float) -> list[Reading]:
        self._bus.check_eeprom(self._address)
        sensor = self._library(self._bus, self._address)
        sensor.refresh_rate = REFRESH_4_HZ
        self._sensor = sensor
        number = "-".join(f"{word:04X}" for word in sensor.serial_number)
        return [Identity(at_mono=now, text=f"MLX90640 {number}")]

    def _trouble(self, error: Exception, now: float) -> Trouble:
        symptom = Symptom.IMPLAUSIBLE  # whole words that no picture can be computed from
        if isinstance(error, SensorStuck):
            symptom = error.symptom
        elif isinstance(error, RuntimeError):  # "Too many retries": a half picture is new before the last is read
            symptom = Symptom.MISCONFIGURED
        return Trouble(at_mono=now, symptom=symptom, detail=f"{error}; check wiring, power and the bus speed (400 kHz)")

    def _as_seen(self) -> tuple[float, ...]:
        values = [value if LOWEST_CELSIUS <= value < HIGHEST_CELSIUS else nan for value in self._celsius]
        if not self._mirror:
            return tuple(values)
        rows = (values[start : start + WIDTH] for start in range(0, WIDTH * HEIGHT, WIDTH))
        return tuple(value for row in rows for value in reversed(row))


class SensorStuck(RuntimeError):
    """The sensor acknowledges and does not do its work."""

    def __init__(self, message: str, symptom: Symptom) -> None:
        super().__init__(message)
        self.symptom = symptom


class BusioBus:
    """Our bus in the shape of `busio.I2C`, with a deadline for all that one poll does."""

    def __init__(
        self,
        bus: Bus,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._pause = pause
        self._until = 0.0

    def allow(self, for_s: float) -> None:
        """Let transfers pass for so long from now."""
        self._until = self._clock() + for_s

    def check_eeprom(self, address: int) -> None:
        """Accept the sensor's calibration; blank words let the library count for ever.

        Raises: SensorStuck, PortLost.
        """
        data = self._bus.transfer(address, EEPROM, EEPROM_BYTES)
        words = [data[at : at + 2] for at in range(0, len(data), 2)]
        blank = sum(word in (b"\0\0", b"\xff\xff") for word in words)
        if blank > MOST_BLANK_SHARE * len(words):
            raise SensorStuck(f"{blank} of {len(words)} calibration words are blank", Symptom.SILENT)

    def try_lock(self) -> bool:
        """Take the bus: it has one user."""
        return True

    def unlock(self) -> None:
        """Give the bus back."""

    def writeto(self, address: int, buffer: bytes, *, start: int = 0, end: int | None = None) -> None:
        """Write. An empty write asks who is there; some adapters cannot, so a byte is read instead."""
        data = bytes(buffer[start:end])
        self._transfer(address, data, 0 if data else 1)

    def readfrom_into(self, address: int, buffer: bytearray, *, start: int = 0, end: int | None = None) -> None:
        """Read into that part of the buffer."""
        end = len(buffer) if end is None else end
        buffer[start:end] = self._transfer(address, b"", end - start)

    def writeto_then_readfrom(
        self,
        address: int,
        out_buffer: bytes,
        in_buffer: bytearray,
        *,
        out_start: int = 0,
        out_end: int | None = None,
        in_start: int = 0,
        in_end: int | None = None,
    ) -> None:
        """Write and read in one transaction. A look for new data that finds none is followed by a short rest."""
        written = bytes(out_buffer[out_start:out_end])
        in_end = len(in_buffer) if in_end is None else in_end
        found = self._transfer(address, written, in_end - in_start)
        in_buffer[in_start:in_end] = found
        if written == STATUS and not found[-1] & NEW_DATA:
            self._pause(PAUSE_S)  # the library would ask thousands of times a second

    def _transfer(self, address: int, write: bytes, read: int) -> bytes:
        if self._clock() > self._until:
            raise SensorStuck("no new picture in time", Symptom.FROZEN)
        return self._bus.transfer(address, write, read)


def adafruit(bus: BusioBus, address: int) -> Library:
    """Return the library's sensor on our bus. Raises: DriverError when the library is not installed."""
    try:
        with names_lent():
            from adafruit_mlx90640 import MLX90640
    except ImportError as error:
        message = f"no library for the MLX90640 ({error}); run scripts/install-i2c"
        raise DriverError(message) from error

    class Sensor(MLX90640):  # type: ignore[misc]
        """The library's sensor; it also remembers its own temperature, which the library computes and throws away."""

        def __init__(self) -> None:
            self.own_celsius = nan
            self.brokenPixels: list[int] = []  # the library's are one list for all sensors there ever were
            self.outlierPixels: list[int] = []
            super().__init__(bus, address)

        def _GetTa(self, frameData: list[int]) -> float:
            self.own_celsius = super()._GetTa(frameData)
            return self.own_celsius

    return Sensor()


@contextmanager
def names_lent() -> Iterator[None]:
    """Let the library be imported without Blinka: it needs three names of it, for annotations only."""
    lent: dict[str, ModuleType] = {}
    for module, names in LENT.items():
        if module not in sys.modules:
            lent[module] = ModuleType(module)
            for name in names:
                setattr(lent[module], name, object)
    sys.modules.update(lent)
    try:
        yield
    finally:
        for module in lent:
            sys.modules.pop(module, None)
