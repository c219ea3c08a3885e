"""Ask a Modbus board one thing after another, and believe only the answer to what was asked.

An answer does not say which question it belongs to (drivers/codecs/modbus.py). So after a question that nothing
answered, the line is left alone for longer than any board is late, and whatever comes then is thrown away.
"""

import threading
import time
from collections.abc import Callable
from math import inf

from drivers.codecs import modbus
from drivers.codecs.framing import Dropped
from drivers.codecs.modbus import Answer, Bits, ModbusCodec, Refusal
from drivers.ports import Port
from drivers.readings import Symptom
from drivers.wiring import WireFault

ANSWER_S = 0.3  # 8 bytes there and 8 back are 17 ms at 9600 baud, and boards think for some tens of ms
QUIET_S = 2.0  # boards that were late were so by up to 1.5 s
USUAL_BAUD = 9600
BITS_PER_BYTE = 11  # at most: start, eight, parity, stop
DRAIN_MOST = 50  # chunks; a line that never falls silent carries something else


class ModbusLine:
    """One board at one address. Every method may be called from any thread; each question has its turn."""

    def __init__(self, port: Port, *, address: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._address = address
        self._clock = clock
        self._codec = ModbusCodec()
        self._lock = threading.Lock()
        self._baud = port.baud or USUAL_BAUD
        self._gap_s = modbus.frame_gap_s(self._baud)
        self._free_at = -inf  # when what was sent is out, and the pause behind it is over
        self._quiet_until = -inf

    @property
    def quiet(self) -> bool:
        """Whether the line is left alone now, because an answer may come late."""
        return self._clock() < self._quiet_until

    def ask(self, request: bytes, *, answer_s: float = ANSWER_S) -> Answer:
        """Return the answer, which may take so many seconds.

        Raises: WireFault when the board refuses, is silent, or speaks what is no answer; PortLost.
        """
        with self._lock:
            if self.quiet:
                raise self._silent(answer_s)
            self._drain()
            self._codec.expect(request)
            self._send(request)
            answer, heard_bytes = self._hear(answer_s)
            if answer is None and heard_bytes == 0:
                self._quiet_until = self._clock() + QUIET_S  # before the next in turn can ask
                raise self._silent(answer_s)
        if answer is None:
            raise WireFault(
                f"relay board {self._address}: {heard_bytes} bytes and no answer among them; "
                "check speed, grounding and termination",
                symptom=Symptom.NOISE,
            )
        if isinstance(answer, Refusal):
            raise WireFault(
                f"relay board {self._address}: {answer.words}; check its manual and the options of the factory",
                symptom=Symptom.REFUSED,
            )
        return answer

    def ask_bits(self, request: bytes, *, answer_s: float = ANSWER_S) -> tuple[bool, ...]:
        """Return the states that were asked for. Raises: as `ask`."""
        answer = self.ask(request, answer_s=answer_s)
        return answer.values if isinstance(answer, Bits) else ()

    def say(self, request: bytes) -> None:
        """Send a request and do not hear the answer: the last resort for a relay that must open. Raises: PortLost."""
        with self._lock:
            self._drain()
            self._send(request)

    def close(self) -> None:
        """Release the port."""
        with self._lock:
            self._port.close()

    def _drain(self) -> None:
        """Wait for the pause that must lie between frames, our own too, and drop what still comes."""
        for _ in range(DRAIN_MOST):
            if not self._port.read(max(self._gap_s, self._free_at - self._clock())):
                return

    def _send(self, request: bytes) -> None:
        self._port.write(request)  # returns before the bytes are out
        self._free_at = self._clock() + len(request) * BITS_PER_BYTE / self._baud + self._gap_s

    def _hear(self, answer_s: float) -> tuple[Answer | None, int]:
        deadline = self._clock() + answer_s
        heard_bytes = 0
        late = False
        while not late:
            left_s = deadline - self._clock()
            late = left_s <= 0  # what came while this thread had no turn lies in the port: it is looked at once more
            chunk = self._port.read(max(left_s, 0.0))
            heard_bytes += len(chunk)
            for event in self._codec.feed(chunk):
                if not isinstance(event, Dropped):
                    return event, heard_bytes
        for event in self._codec.give_up():
            if not isinstance(event, Dropped):
                return event, heard_bytes
        return None, heard_bytes

    def _silent(self, answer_s: float) -> WireFault:
        return WireFault(
            f"relay board {self._address}: no answer in {answer_s} s; check its power, address, speed and cable",
            symptom=Symptom.SILENT,
        )
