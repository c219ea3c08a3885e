"""Simulate a Modbus RTU relay board: relays, inputs, the maker's own pulse, and answers that take their time."""

from collections.abc import Callable, Iterable
from typing import ClassVar

from drivers.codecs import modbus
from drivers.codecs.framing import Dropped
from drivers.codecs.modbus import OFF, ON, TOGGLE, Request, RequestCodec
from drivers.sim.faulty import Faulty

ANSWER_S = 0.005  # a board at 9600 baud needs 8 ms for its eight bytes alone
LATE_S = 1.5  # later than any host waits
PAUSE_S = 0.1  # a real board ends a frame after 3.5 characters; a pseudo-terminal has no such clock

_Edge = tuple[int, bool]


def _unnoticed(_index: int, _on: bool, _now: float) -> None:
    """Take an edge of a relay that nobody asked for."""


class SimRelayBoard(Faulty):
    """Behave like the board at one address. Inputs are set from any thread.

    `no-echo`: writes are done and not answered.

    `on_relay(index, on, now)` hears of every edge, on the thread that serves the board and with no lock held.
    """

    FAULTS: ClassVar[tuple[str, ...]] = ("no-echo", "exception-02", "exception-04", "unchanged", "late")

    JOINED_WITHIN_S: ClassVar[float] = 0.04  # adapters keep a short answer for 1 to 16 ms

    def __init__(
        self,
        *,
        relays: int = 8,
        inputs: int = 8,
        address: int = 1,
        on_relay: Callable[[int, bool, float], None] = _unnoticed,
    ) -> None:
        super().__init__()
        self._address = address
        self._on_relay = on_relay
        self._heard = RequestCodec()
        self._heard_at = 0.0
        self._relays = [False] * relays
        self._inputs = [False] * inputs
        self._turns: dict[int, tuple[float, bool]] = {}  # relay → when its pulse ends, and how it is then
        self._later: list[tuple[float, bytes]] = []

    @property
    def relays(self) -> tuple[bool, ...]:
        """Return which relays are on."""
        with self._lock:
            return tuple(self._relays)

    def set_input(self, index: int, on: bool) -> None:
        """Close or open the contact at an input."""
        with self._lock:
            self._inputs[index] = on

    def answer(self, chunk: bytes, now: float = 0.0) -> bytes:
        """Hear the requests in these bytes; the answers come with `due`."""
        with self._lock:
            paused = now - self._heard_at > PAUSE_S
            self._heard_at = now
            heard = [*(self._heard.give_up() if paused else []), *self._heard.feed(chunk)]
            edges = [edge for request in heard if not isinstance(request, Dropped) for edge in self._hear(request, now)]
        self._tell(edges, now)
        return b""

    def due(self, now: float) -> bytes:
        """Return the answers whose time has come, and end the pulses whose time is over."""
        with self._lock:
            ready = b"".join(answer for at, answer in self._later if at <= now)
            self._later = [(at, answer) for at, answer in self._later if at > now]
            over = {index: on for index, (at, on) in self._turns.items() if at <= now}
            self._turns = {index: turn for index, turn in self._turns.items() if index not in over}
            edges = self._switch(over.items())
        self._tell(edges, now)
        return ready

    def _tell(self, edges: Iterable[_Edge], now: float) -> None:
        for index, on in edges:
            self._on_relay(index, on, now)

    def _hear(self, request: Request, now: float) -> list[_Edge]:
        if request.address != self._address:
            return []
        code = next((code for code in (2, 4) if f"exception-{code:02}" in self._faults), 0) or self._objection(request)
        edges: list[_Edge] = []
        answer = bytes([self._address, request.function | modbus.REFUSAL, code])
        if not code and request.function in (modbus.READ_COILS, modbus.READ_INPUTS):
            answer = self._read(request)
        elif not code:
            edges = self._write(request, now)
            answer = request.frame[:6]
            if "no-echo" in self._faults:
                return edges
        self._later.append((now + (LATE_S if "late" in self._faults else ANSWER_S), modbus.frame(answer)))
        return edges

    def _objection(self, request: Request) -> int:
        """Return the exception code a strict board answers with, 0 for a good request."""
        there = len(self._inputs if request.function == modbus.READ_INPUTS else self._relays)
        if request.function == modbus.WRITE_COIL:
            base, coil = request.first & 0xFF00, request.first & 0xFF
            if base not in (0, modbus.PULSE_ON, modbus.PULSE_OFF) or coil >= there:
                return 2
            good = request.value > 0 if base else request.value in (ON, OFF, TOGGLE)
            return 0 if good else 3
        if request.function not in (modbus.READ_COILS, modbus.READ_INPUTS, modbus.WRITE_COILS):
            return 1
        if not 1 <= request.value <= modbus.MOST_BITS:
            return 3
        if request.function == modbus.WRITE_COILS and len(request.packed) != (request.value + 7) // 8:
            return 3
        return 2 if request.first + request.value > there else 0

    def _read(self, request: Request) -> bytes:
        states = self._relays if request.function == modbus.READ_COILS else self._inputs
        packed = modbus.pack(states[request.first : request.first + request.value])
        return bytes([self._address, request.function, len(packed)]) + packed

    def _write(self, request: Request, now: float) -> list[_Edge]:
        if "unchanged" in self._faults:
            return []
        if request.function == modbus.WRITE_COILS:
            written = dict(enumerate(modbus.unpack(request.packed, request.value), start=request.first))
        else:
            index = request.first & 0xFF
            base = request.first & 0xFF00
            toggled = not self._relays[index]
            on = base == modbus.PULSE_ON if base else {ON: True, OFF: False, TOGGLE: toggled}[request.value]
            written = {index: on}
        self._turns = {index: turn for index, turn in self._turns.items() if index not in written}
        if request.function == modbus.WRITE_COIL and base:
            self._turns[index] = (now + request.value * modbus.TENTH_S, not on)
        return self._switch(written.items())

    def _switch(self, written: Iterable[_Edge]) -> list[_Edge]:
        edges = [(index, on) for index, on in written if self._relays[index] != on]
        for index, on in edges:
            self._relays[index] = on
        return edges
