"""Simulate an I2C bus with one sensor on it, and serve it on a Unix socket to `sim:///DIR/i2c.sock`."""

import random
import socketserver
import threading
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Protocol

from drivers import UnknownDevice
from drivers.codecs import smbus
from drivers.errors import PortLost
from drivers.i2c import SIM_DONE, SIM_REQUEST_HEAD_BYTES
from drivers.i2c_sensors import (
    AMG_ADDRESS,
    AMG_OVERFLOW,
    AMG_OWN,
    AMG_OWN_STEP_CELSIUS,
    AMG_PIXEL_STEP_CELSIUS,
    AMG_PIXELS,
    AMG_SIDE,
    AMG_STATUS,
)
from drivers.sim.wires import UnixServer

SIM_REFUSED = b"\x00"
SLOW_S = 1.5  # longer than any host waits for a transfer
HOT_CELSIUS = 60.0
POINT_NOISE_CELSIUS = 0.08
OWN_NOISE_CELSIUS = 0.06
PIXEL_NOISE_CELSIUS = 0.4
NO_VALUE_RAW = 0x8000
IDS = (0x0000, 0x5E17, 0x81A6, 0x0042)


class SensorModel(Protocol):
    """What a simulated sensor is to its bus."""

    address: int

    def look(self, skin_celsius: float | None, ambient_celsius: float, own_celsius: float, *, failed: bool) -> None:
        """Measure what is there now; `failed`: find that it has no value."""

    def answer(self, write: bytes, read: int) -> bytes:
        """Return `read` bytes for what was written."""

    def garbled(self, answer: bytes) -> bytes:
        """Return the answer as a bad line delivers it."""


class SimMlx90614:
    """Behave like an MLX90614: words with real check bytes."""

    def __init__(self, chance: random.Random) -> None:
        self.address = smbus.ADDRESS
        self._chance = chance
        self._words = dict(zip(smbus.IDS, IDS, strict=True))

    def look(self, skin_celsius: float | None, ambient_celsius: float, own_celsius: float, *, failed: bool) -> None:
        """Measure what is there now."""
        seen = ambient_celsius if skin_celsius is None else skin_celsius
        seen += self._chance.uniform(-POINT_NOISE_CELSIUS, POINT_NOISE_CELSIUS)
        own = own_celsius + self._chance.uniform(0, OWN_NOISE_CELSIUS)
        self._words[smbus.OBJECT] = NO_VALUE_RAW if failed else smbus.raw_of(seen)
        self._words[smbus.AMBIENT] = smbus.raw_of(own)

    def answer(self, write: bytes, read: int) -> bytes:
        """Return the word of the command and its check byte. Whoever reads on finds the lines high."""
        word = smbus.word_answer(self.address, write[0], self._words.get(write[0], 0)) if write else b""
        return word[:read].ljust(read, b"\xff")

    def garbled(self, answer: bytes) -> bytes:
        """Return the answer with a wrong check byte."""
        return answer[:-1] + bytes([answer[-1] ^ 0xFF]) if answer else answer


class SimAmg8833:
    """Behave like an AMG8833: registers one after the other. Its bytes carry no check."""

    def __init__(self, chance: random.Random) -> None:
        self.address = AMG_ADDRESS
        self._chance = chance
        self._registers = bytearray(256)

    def look(self, skin_celsius: float | None, ambient_celsius: float, own_celsius: float, *, failed: bool) -> None:
        """Measure what is there now: a face fills the middle half of the picture each way."""
        middle = range(AMG_SIDE // 4, AMG_SIDE * 3 // 4)
        for index in range(AMG_SIDE**2):
            inside = index % AMG_SIDE in middle and index // AMG_SIDE in middle
            seen = skin_celsius if inside and skin_celsius is not None else ambient_celsius
            seen += self._chance.uniform(-PIXEL_NOISE_CELSIUS, PIXEL_NOISE_CELSIUS)
            self._put(AMG_PIXELS + 2 * index, round(seen / AMG_PIXEL_STEP_CELSIUS) & 0xFFF)
        own = own_celsius + self._chance.uniform(0, OWN_NOISE_CELSIUS)
        magnitude = round(abs(own) / AMG_OWN_STEP_CELSIUS)
        self._put(AMG_OWN, magnitude | (0x800 if own < 0 else 0))
        self._registers[AMG_STATUS] = AMG_OVERFLOW if failed else 0

    def answer(self, write: bytes, read: int) -> bytes:
        """Return the registers from the one that was named; write the bytes behind its name."""
        if not write:
            return bytes(read)
        at = write[0]
        if len(write) > 1 and at < AMG_STATUS:
            self._registers[at : at + len(write) - 1] = write[1:]
        return bytes(self._registers[at : at + read]).ljust(read, b"\xff")

    def garbled(self, answer: bytes) -> bytes:
        """Return other bytes."""
        return self._chance.randbytes(len(answer))

    def _put(self, register: int, raw: int) -> None:
        self._registers[register : register + 2] = raw.to_bytes(2, "little")


MODELS: Mapping[str, type[SimMlx90614] | type[SimAmg8833]] = MappingProxyType(
    {"mlx90614-i2c": SimMlx90614, "amg8833-i2c": SimAmg8833}
)


class SimI2cBus:
    """Be a bus with one sensor: here by `transfer`, and at a path for others. Any thread may call.

    The faults mean what the sensor can do: `bit15` is its way to say that it has no value, `pec` a bad line.
    Without a path nothing is served. Raises: UnknownDevice for a kind that no model plays.
    """

    FAULTS: ClassVar[tuple[str, ...]] = ("pec", "bit15", "ffff", "zero", "frozen", "ambient-60", "unplug", "slow")

    def __init__(self, path: Path | None, kind: str, *, ambient_celsius: float = 24.0, seed: int = 1) -> None:
        if kind not in MODELS:
            raise UnknownDevice(f"no simulator plays {kind!r}; use one of: {', '.join(sorted(MODELS))}")
        self.ambient_celsius = ambient_celsius
        self._model: SensorModel = MODELS[kind](random.Random(seed))
        self._lock = threading.Lock()
        self._skin_celsius: float | None = None
        self._faults: set[str] = set()
        self._swift = threading.Event()  # not set while the bus is slow
        self._swift.set()
        self._look()
        self._server = None if path is None else UnixServer(path, _Client, self)

    def show(self, skin_celsius: float | None) -> None:
        """Let a person stand there with this skin temperature, None for an empty room. Unit: °C."""
        with self._lock:
            self._skin_celsius = skin_celsius

    def fault(self, name: str) -> None:
        """Begin a fault. Raises: ValueError for an unknown name."""
        if name not in self.FAULTS:
            raise ValueError(f"unknown fault {name!r}; use one of: {', '.join(self.FAULTS)}")
        with self._lock:
            self._faults.add(name)
            if name == "slow":
                self._swift.clear()

    def heal(self) -> None:
        """End every fault."""
        with self._lock:
            self._faults.clear()
            self._swift.set()

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """Write, then read `read` bytes. Raises: PortLost when nobody acknowledges."""
        self._swift.wait(SLOW_S)
        with self._lock:
            if address != self._model.address or "unplug" in self._faults:
                raise PortLost(f"simulated bus: nobody acknowledges at {address:#04x}; plug the sensor in")
            if "ffff" in self._faults or "zero" in self._faults:
                return (b"\xff" if "ffff" in self._faults else b"\x00") * read
            if "frozen" not in self._faults:
                self._look()
            answer = self._model.answer(write, read)
            return self._model.garbled(answer) if "pec" in self._faults else answer

    def close(self) -> None:
        """Stop serving; closing twice is fine."""
        self.heal()  # whoever waits for a slow answer has it now
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def _look(self) -> None:
        own = HOT_CELSIUS if "ambient-60" in self._faults else self.ambient_celsius
        failed = "bit15" in self._faults
        self._model.look(self._skin_celsius, self.ambient_celsius, own, failed=failed)


class _Client(socketserver.StreamRequestHandler):
    """Serve one host for as long as its end is open."""

    def handle(self) -> None:
        bus: SimI2cBus = self.server.owner  # type: ignore[attr-defined]
        try:
            while len(head := self.rfile.read(SIM_REQUEST_HEAD_BYTES)) == SIM_REQUEST_HEAD_BYTES:
                write = self.rfile.read(int.from_bytes(head[1:3], "big"))
                self.wfile.write(self._answer(bus, head[0], write, int.from_bytes(head[3:5], "big")))
        except OSError:
            return  # the host hung up in the middle of a transfer

    def _answer(self, bus: SimI2cBus, address: int, write: bytes, read: int) -> bytes:
        try:
            return SIM_DONE + bus.transfer(address, write, read)
        except PortLost:
            return SIM_REFUSED
