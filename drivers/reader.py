"""Run the one loop that every serial device has: send what is due, read, feed, emit; raise when the device is lost."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from drivers import ports
from drivers.errors import DeviceSilent
from drivers.readings import Junk, Reading, Symptom

TURN_S = 0.05  # how late a request may be, and how soon `stop` is seen


class Dialect(Protocol):
    """The pure half of a device driver: no port, no clock."""

    @property
    def silence_s(self) -> float:
        """Return how long the device may say nothing valid before it counts as silent; may change with its state."""

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean; called each turn, with b"" when nothing came."""

    def due(self, now: float) -> bytes:
        """Return the bytes to send now, b"" for nothing."""


class SilentDevice(DeviceSilent):
    """The device said nothing valid for its silence time; `symptom` tells noise from silence."""

    def __init__(self, message: str, *, symptom: Symptom) -> None:
        super().__init__(message)
        self.symptom = symptom


class SerialReader:
    """Read one serial device until told to stop."""

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        emit: Callable[[Reading], None],
        *,
        device: str,
        clock: Callable[[], float] = time.monotonic,
        open_port: Callable[[str], ports.Port] = ports.open_port,
    ) -> None:
        self._url = url
        self._dialect = dialect
        self._emit = emit
        self._device = device
        self._clock = clock
        self._open_port = open_port
        self._valid_at = 0.0
        self._bytes_since_valid = 0

    def run(self, stop: threading.Event) -> None:
        """Open the port and emit readings until stop is set. Nothing is tried again: that is the supervisor's part.

        Raises: PortLost, PortSettingsError, SilentDevice.
        """
        with self._open_port(self._url) as port:
            self._valid_at = self._clock()
            self._bytes_since_valid = 0
            while not stop.is_set():
                self._turn(port)

    def _turn(self, port: ports.Port) -> None:
        request = self._dialect.due(self._clock())
        if request:
            port.write(request)
        chunk = port.read(TURN_S)
        now = self._clock()
        self._bytes_since_valid += len(chunk)
        for reading in self._dialect.feed(chunk, now):
            if not isinstance(reading, Junk):
                self._valid_at, self._bytes_since_valid = now, 0
            self._emit(reading)
        if now - self._valid_at > self._dialect.silence_s:
            raise self._silent(now - self._valid_at)

    def _silent(self, silence_s: float) -> SilentDevice:
        if not self._bytes_since_valid:
            message = f"{self._device}: no answer for {silence_s:.1f} s; check cable, power and speed of {self._url}"
            return SilentDevice(message, symptom=Symptom.SILENT)
        message = (
            f"{self._device}: {self._bytes_since_valid} bytes in {silence_s:.1f} s and no frame among them; "
            f"check speed, grounding and kind of device at {self._url}"
        )
        return SilentDevice(message, symptom=Symptom.NOISE)
