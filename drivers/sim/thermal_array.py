"""Simulate the GY-MCU90640: a room, and now and then a warm face in it."""

import random
import struct
from typing import ClassVar

from drivers.codecs.framing import NO_FRAME, Dropped, FrameFinder
from drivers.codecs.thermal_array import EMISSIVITY_MOST, FIELD_HEAD, HEAD, HEIGHT, RATE_CODES, WIDTH
from drivers.sim.attacks import Attack, celsius_at
from drivers.sim.faulty import Faulty

FACE_WIDTH_PX = 8.0  # a face at about half a metre through the 55° lens
FACE_HEIGHT_PX = 10.0
NOISE_CELSIUS = 0.05
COMMAND_BYTES = 4
HUNDREDTHS = 100
DEAD_PIXEL = 3 * WIDTH + 5  # where the faults break one: above the face, so that a person does not cover it
DEAD_CELSIUS = {"dead-pixel-cold": 0.0, "dead-pixel-hot": 300.0, "minus-273": -273.15}
WARM_UP_CELSIUS_PER_S = 0.1  # the first minute after power-up of a real sensor, a little hurried
WARM_UP_MOST_CELSIUS = 6.0
UNCOMPENSATED = 0.25  # the share of its own warming that the sensor shows in the pixels
HOT_CELSIUS = 60.0


class SimThermalArray(Faulty):
    """Behave like the module in automatic output. What is seen changes from any thread.

    The scene is held as a camera sees it; on the wire each row is mirrored, as the real module sends it.
    """

    SEES_SHAPES: ClassVar[bool] = True
    FAULTS: ClassVar[tuple[str, ...]] = (*DEAD_CELSIUS, "stale", "checksum", "cut-by-next", "drift", "ambient-60")

    def __init__(self, *, ambient_celsius: float = 24.0, rate_hz: float = 4.0, seed: int = 1) -> None:
        self.ambient_celsius = ambient_celsius
        self._random = random.Random(seed)
        super().__init__()
        self._finder = FrameFinder(head=b"\xa5", longest_bytes=COMMAND_BYTES, judge=_judge)
        self._period_s = 1 / rate_hz
        self._next_at = 0.0
        self._automatic = True
        self._emissivity = 95
        self._skin_celsius: float | None = None
        self._centre = (WIDTH / 2, HEIGHT / 2)
        self._attack: Attack | None = None
        self._last = b""
        self._now = 0.0
        self._warming_since = 0.0
        self._drift_celsius = 0.0
        self._dead: dict[int, float] = {}

    def show(
        self,
        skin_celsius: float | None,
        *,
        centre: tuple[float, float] = (WIDTH / 2, HEIGHT / 2),
        attack: Attack | None = None,
    ) -> None:
        """Let a person stand there with this skin temperature, None for an empty room; or what they hold before it.

        Unit: °C; centre is (column, row) of the face in pixels from the scene's upper left.
        """
        with self._lock:
            self._skin_celsius = skin_celsius
            self._centre = centre
            self._attack = attack

    def frame(self) -> bytes:
        """Return one frame of what is seen now. Shape: 1544 bytes."""
        with self._lock:
            return self._frame()

    def answer(self, chunk: bytes, now: float = 0.0) -> bytes:
        """Return the module's answers to the commands in these bytes; most commands have none."""
        with self._lock:
            self._now = now
            found = self._finder.feed(chunk)
            return b"".join(self._obey(command) for command in found if not isinstance(command, Dropped))

    def due(self, now: float) -> bytes:
        """Return the next frame of automatic output when its time has come."""
        with self._lock:
            self._now = now
            if not self._automatic or now < self._next_at:
                return b""
            self._next_at = now + self._period_s
            frame = self._frame()
            return frame[: self._random.randrange(1, len(frame))] + frame if "cut-by-next" in self._faults else frame

    def _began(self, name: str) -> None:
        if name in DEAD_CELSIUS:
            self._dead[DEAD_PIXEL] = DEAD_CELSIUS[name]
        self._warming_since = self._now if name == "drift" else self._warming_since

    def freeze(self, on: bool = True) -> None:
        """Send the same frame again and again while on."""
        with self._lock:
            self._set("stale", on)

    def kill_pixel(self, index: int, celsius: float = -273.15) -> None:
        """Let one pixel of the scene show this value for ever."""
        with self._lock:
            self._dead[index] = celsius

    def spoil_checksum(self, on: bool = True) -> None:
        """Send a wrong checksum while on."""
        with self._lock:
            self._set("checksum", on)

    def drift(self, celsius: float) -> None:
        """Show everything this much too warm, as in the first minutes after power-up."""
        with self._lock:
            self._drift_celsius = celsius

    def _healed(self) -> None:
        self._drift_celsius = 0.0
        self._dead.clear()

    def _set(self, fault: str, on: bool) -> None:
        self._faults = self._faults | {fault} if on else self._faults - {fault}

    def _obey(self, command: bytes) -> bytes:
        _, code, value, _ = command
        if code == 0x25:
            rates = {number: rate_hz for rate_hz, number in RATE_CODES.items()}
            self._period_s = 1 / rates[value] if value in rates else self._period_s
        elif code == 0x35:
            self._automatic = value == 2
            return self._frame() if value == 1 else b""
        elif code == 0x45 and 1 <= value <= EMISSIVITY_MOST:
            self._emissivity = value
        elif code == 0x55:
            answer = HEAD + bytes([self._emissivity])
            return answer + bytes([sum(answer) & 0xFF])
        return b""

    def _frame(self) -> bytes:
        if not ("stale" in self._faults and self._last):
            warmed = self._warmed_celsius()
            error = self._drift_celsius + warmed * UNCOMPENSATED
            rows = [[self._celsius_at(column, row, error) for column in range(WIDTH)] for row in range(HEIGHT)]
            wire = [celsius for row in rows for celsius in reversed(row)]
            own = HOT_CELSIUS if "ambient-60" in self._faults else self.ambient_celsius + warmed
            self._last = encode_field(wire, own)
        if "checksum" in self._faults:
            return self._last[:-1] + bytes([self._last[-1] ^ 0xFF])
        return self._last

    def _warmed_celsius(self) -> float:
        """Return by how much the sensor itself has warmed since the fault `drift` began."""
        if "drift" not in self._faults:
            return 0.0
        return min(WARM_UP_MOST_CELSIUS, WARM_UP_CELSIUS_PER_S * (self._now - self._warming_since))

    def _celsius_at(self, column: int, row: int, error_celsius: float) -> float:
        dead = self._dead.get(row * WIDTH + column)
        if dead is not None:
            return dead
        noise = self._random.uniform(-NOISE_CELSIUS, NOISE_CELSIUS)
        return self._true_celsius_at(column, row) + error_celsius + noise

    def _true_celsius_at(self, column: int, row: int) -> float:
        if self._skin_celsius is None:
            return self.ambient_celsius
        across = (column + 0.5 - self._centre[0]) / (FACE_WIDTH_PX / 2)
        down = (row + 0.5 - self._centre[1]) / (FACE_HEIGHT_PX / 2)
        return celsius_at(
            across, down, skin_celsius=self._skin_celsius, ambient_celsius=self.ambient_celsius, attack=self._attack
        )


def encode_field(celsius: list[float], ambient_celsius: float) -> bytes:
    """Return the frame of 768 temperatures in the order of the wire. Shape: 1544 bytes."""
    raw = [round(value * HUNDREDTHS) for value in [*celsius, ambient_celsius]]
    body = FIELD_HEAD + struct.pack(f"<{len(raw)}h", *raw)
    words = struct.unpack(f"<{len(body) // 2}H", body)
    return body + struct.pack("<H", sum(words) & 0xFFFF)


def _judge(held: bytearray) -> int | None:
    if len(held) < COMMAND_BYTES:
        return None
    return COMMAND_BYTES if sum(held[:3]) & 0xFF == held[3] else NO_FRAME
