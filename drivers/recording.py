"""Record what a device says, without the people in it: the bytes for a golden file."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import drivers
from drivers import addresses, identity, ports
from drivers.anonymise import anonymiser_for
from drivers.errors import DriverError, PortLost
from drivers.identity import HERE, Machine
from drivers.reader import SerialReader
from drivers.readings import CodeReading, Junk, Reading, Sign, Trouble
from drivers.speeds import is_proof

MOST_BYTES = 4_000_000  # six minutes at 115200 baud; a capture is a sample


class NothingRecorded(DriverError):
    """The device on the port is not of this kind, or it had nothing to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was recorded. `content` holds no person any more."""

    content: bytes
    readings: int
    junk_bytes: int


def record(
    url: str,
    kind: str,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    open_port: Callable[[str], ports.Port] = ports.open_port,
    machine: Machine = HERE,
) -> Recording:
    """Return what the device says in so many seconds while it is asked its usual questions.

    Raises: PortLost when the port is not there or not free, SilentDevice, NothingRecorded.
    """
    _check_free(url, machine)
    stop = threading.Event()
    tape = _Tape(kind, clock=clock, ends=clock() + seconds, stop=stop)
    dialect = drivers.load(kind)()
    SerialReader(
        url, dialect, tape.count, device=kind, clock=clock, open_port=lambda address: _Tapped(open_port(address), tape)
    ).run(stop)
    return tape.recording()


def _check_free(url: str, machine: Machine) -> None:
    address = addresses.parse(url)
    if address.scheme not in ("serial", "usb", "input"):
        return
    holders = identity.holders_of(identity.device_of(url, address, machine), machine)
    if holders:
        them = ", ".join(f"process {holder.pid} ({holder.name})" for holder in holders)
        raise PortLost(f"port {url}: in use by {them}; stop it first, the gate by: systemctl stop sentinel-gate")


class _Tape:
    """Keep what may be kept, in memory: nothing reaches the disk before it is known to be of the right kind."""

    def __init__(self, kind: str, *, clock: Callable[[], float], ends: float, stop: threading.Event) -> None:
        self._kind = kind
        self._clock = clock
        self._ends = ends
        self._stop = stop
        self.restart()

    def restart(self) -> None:
        """Forget what was heard at another speed."""
        self._anonymiser = anonymiser_for(self._kind)
        self._content = bytearray()
        self._readings = self._junk_bytes = 0

    def hear(self, chunk: bytes) -> None:
        """Take bytes from the line."""
        self._content += self._anonymiser.feed(chunk)
        if self._clock() >= self._ends or len(self._content) > MOST_BYTES:
            self._stop.set()

    def count(self, reading: Reading) -> None:
        """Take what the bytes meant."""
        if isinstance(reading, Junk):
            self._junk_bytes += reading.byte_count
        elif isinstance(reading, CodeReading) or (is_proof(reading) and not isinstance(reading, Trouble | Sign)):
            self._readings += 1  # a sign may say no more than that the port is open

    def recording(self) -> Recording:
        """Return what was recorded. Raises: NothingRecorded when it does not look like the kind it should be."""
        self._content += self._anonymiser.close()
        if not self._readings or self._junk_bytes * 2 > len(self._content):
            raise NothingRecorded(
                f"{len(self._content)} bytes came, and they are not those of {self._kind}; "
                "find out what hangs there: sentinelctl probe"
            )
        return Recording(content=bytes(self._content), readings=self._readings, junk_bytes=self._junk_bytes)


class _Tapped:
    """An open port whose bytes are heard by a tape too."""

    def __init__(self, port: ports.Port, tape: _Tape) -> None:
        self.url = port.url
        self._port = port
        self._tape = tape

    @property
    def baud(self) -> int | None:
        return self._port.baud

    def set_baud(self, baud: int) -> None:
        self._port.set_baud(baud)
        self._tape.restart()

    def read(self, timeout_s: float) -> bytes:
        chunk = self._port.read(timeout_s)
        self._tape.hear(chunk)
        return chunk

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def close(self) -> None:
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
