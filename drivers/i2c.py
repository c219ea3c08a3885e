"""Read the sensors that hang on an I2C bus: open the bus by URL, poll, emit; raise when the sensor is lost.

    i2c:///dev/i2c-1?address=0x5a     sim:///var/tmp/demo/i2c.sock?address=0x5a

`I2C_TABLE` names the sensor of each kind. The address may be left out: each kind has its own from the works.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from drivers import UnknownDevice
from drivers.errors import PortLost, PortSettingsError
from drivers.readings import Reading

I2C_TABLE = MappingProxyType(
    {
        "mlx90614-i2c": "drivers.i2c_sensors:Mlx90614",
        "amg8833-i2c": "drivers.i2c_sensors:Amg8833",
        "mlx90640-i2c": "drivers.i2c_array:Mlx90640",
    }
)
ADDRESSES = range(0x08, 0x78)  # all others are reserved on every bus
SIM_WITHIN_S = 1.0  # the longest real transfer, 1664 bytes at 100 kHz, takes 0.15 s
SIM_REQUEST_HEAD_BYTES = 5  # address, bytes to write, bytes to read
SIM_DONE = b"\x01"  # else the sensor did not acknowledge


class Bus(Protocol):
    """An I2C bus that is open from the moment you have it."""

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """Write, then read `read` bytes, in one combined transaction. Raises: PortLost."""

    def close(self) -> None:
        """Release the bus; closing twice is fine."""


class Sensor(Protocol):
    """What a sensor on the bus is to its reader."""

    @property
    def period_s(self) -> float:
        """Return how long after the start of one poll the next one is due."""

    def poll(self, now: float) -> list[Reading]:
        """Ask the sensor once and return what it says. Raises: PortLost."""


def open_bus(url: str) -> Bus:
    """Return the open bus at this address.

    Raises: PortSettingsError when the address is wrong, PortLost when nothing can be opened there now.
    """
    place = _place(url)
    return SimBus(place.path) if place.scheme == "sim" else LinuxBus(place.path)


def check_url(url: str) -> None:
    """Accept an address that `open_bus` would understand, without opening anything. Raises: PortSettingsError."""
    _place(url)


def address_of(url: str, usual: int) -> int:
    """Return the sensor's address on its bus: the URL's, else the usual one. Raises: PortSettingsError."""
    address = _place(url).address
    return usual if address is None else address


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    scheme: str
    path: str
    address: int | None


def _place(url: str) -> _Place:
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        address = int(query.pop("address"), 16) if "address" in query else None
    except ValueError as error:
        raise PortSettingsError(f"bus {url!r}: {error}; write i2c:///dev/i2c-1?address=0x5a") from error
    path = unquote(parts.path)
    if parts.scheme not in ("i2c", "sim"):
        raise PortSettingsError(f"bus {url!r}: unknown kind {parts.scheme!r}; write i2c:///dev/i2c-1?address=0x5a")
    if parts.netloc or not path.startswith("/") or path == "/" or "\0" in path:
        raise PortSettingsError(f"bus {url!r}: expected an absolute path; write {parts.scheme}:///… with 3 slashes")
    if query:
        raise PortSettingsError(f"bus {url!r}: unknown option {min(query)!r}; there is address")
    if address is not None and address not in ADDRESSES:
        raise PortSettingsError(f"bus {url!r}: address {address:#04x}; expected 0x08 to 0x77")
    return _Place(scheme=parts.scheme, path=path, address=address)


class LinuxBus:
    """A bus of this machine, through the kernel's i2c-dev."""

    def __init__(self, path: str) -> None:
        import smbus2  # here, so that a gate without I2C sensors never needs it

        self._path = path
        self._message = smbus2.i2c_msg
        try:
            self._bus: Any = smbus2.SMBus(path)
        except OSError as error:
            raise self._lost(error) from error

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """Write, then read `read` bytes, in one combined transaction. Raises: PortLost."""
        messages = [self._message.write(address, write)] if write else []
        if read:
            messages.append(self._message.read(address, read))
        try:
            self._bus.i2c_rdwr(*messages)
        except OSError as error:  # no acknowledge is one of them
            raise self._lost(error) from error
        return bytes(messages[-1]) if read else b""

    def close(self) -> None:
        """Release the bus; closing twice is fine."""
        with contextlib.suppress(OSError):
            self._bus.close()

    def _lost(self, why: object) -> PortLost:
        return PortLost(f"bus {self._path}: {why}; check wiring, power and address, it is tried again")


class SimBus:
    """The bus of a simulated sensor, served by drivers/sim/i2c.py on a Unix socket."""

    def __init__(self, path: str, *, within_s: float = SIM_WITHIN_S) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(within_s)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise self._lost(error) from error

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """Write, then read `read` bytes, in one combined transaction. Raises: PortLost."""
        head = bytes([address]) + len(write).to_bytes(2, "big") + read.to_bytes(2, "big")
        try:
            self._socket.sendall(head + write)
            if self._exactly(1) != SIM_DONE:
                raise self._lost(f"nobody acknowledges at {address:#04x}")
            return self._exactly(read)
        except OSError as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Release the bus; closing twice is fine."""
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            chunk = self._socket.recv(count - len(found))
            if not chunk:
                raise self._lost("closed by the other end")
            found += chunk
        return found

    def _lost(self, why: object) -> PortLost:
        return PortLost(f"bus {self._path}: {why}; check wiring, power and address, it is tried again")


def load(kind: str) -> Callable[..., Sensor]:
    """Return the class of a kind of I2C sensor. Raises: UnknownDevice, naming the kinds there are."""
    try:
        module, _, name = I2C_TABLE[kind].partition(":")
    except KeyError:
        raise UnknownDevice(f"unknown sensor {kind!r}; use one of: {', '.join(sorted(I2C_TABLE))}") from None
    return getattr(import_module(module), name)


class I2cReader:
    """Read one I2C sensor until told to stop. `options` go to the sensor: `mirror` of an MLX90640.

    A sensor that answers and gives nothing says so itself, at every poll; one that does not answer is a lost port.
    So, unlike on a serial line, there is no silence to wait for.
    """

    def __init__(
        self,
        url: str,
        kind: str,
        emit: Callable[[Reading], None],
        *,
        device: str,
        clock: Callable[[], float] = time.monotonic,
        open_bus: Callable[[str], Bus] = open_bus,
        **options: Any,
    ) -> None:
        self._url = url
        self._make = load(kind)
        self._emit = emit
        self._device = device
        self._clock = clock
        self._open_bus = open_bus
        self._options = options

    def run(self, stop: threading.Event) -> None:
        """Open the bus and emit readings until stop is set. Nothing is tried again: that is the supervisor's part.

        Raises: PortLost, PortSettingsError.
        """
        with contextlib.closing(self._open_bus(self._url)) as bus:
            sensor = self._make(bus, self._url, **self._options)
            while not stop.is_set():
                began = self._clock()
                try:
                    readings = sensor.poll(began)
                except PortLost as error:
                    raise PortLost(f"{self._device}: {error}") from error
                for reading in readings:
                    self._emit(reading)
                stop.wait(max(0.0, began + sensor.period_s - self._clock()))
