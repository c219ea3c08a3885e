"""Speak Modbus RTU with a relay board: requests and their answers, the host's side and the board's.

Source: device-protocols 3.3. An answer carries neither its length nor the number of its request: what may come is known
only from what was asked. So the codec is told the request, accepts the one answer that fits it, and drops all else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder

READ_COILS = 0x01
READ_INPUTS = 0x02
WRITE_COIL = 0x05
WRITE_COILS = 0x0F
REFUSAL = 0x80  # added to the function of the request
ON, OFF, TOGGLE = 0xFF00, 0x0000, 0x5500  # values of function 05; the last is a maker's own
PULSE_ON = 0x0200  # one maker's: the coil number is added, the value is tenths of a second
PULSE_OFF = 0x0400
CODES = {1: "unknown function", 2: "no such relay or input", 3: "value not accepted", 4: "device failure"}

LONGEST_BYTES = 256  # what the line allows: address, 253 bytes, CRC
REFUSAL_BYTES = 5
FIXED_BYTES = 8  # every request but 0F, and every answer to a write
COILS_HEAD_BYTES = 7  # of the request 0F: before its values
MOST_BITS = 2000
MOST_WRITTEN_BITS = 1968
TENTH_S = 0.1


def crc(data: bytes | bytearray) -> bytes:
    """Return the CRC of a frame, in the order of the wire."""
    total = 0xFFFF
    for byte in data:
        total = total >> 8 ^ _CRC_TABLE[(total ^ byte) & 0xFF]
    return total.to_bytes(2, "little")


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(_crc_of_byte(byte) for byte in range(256))


def frame(body: bytes) -> bytes:
    """Return the body, from the address on, with its CRC."""
    return body + crc(body)


def frame_gap_s(baud: int) -> float:
    """Return how long the line must be quiet between two frames."""
    return max(3.5 * 11 / baud, 0.00175)  # 3.5 characters of 11 bits; a fixed time above 19200 baud


def read_coils(address: int, first: int, count: int) -> bytes:
    """Return the request for the states of `count` relays. Raises: ValueError."""
    return _request(address, READ_COILS, first, _counted(count, MOST_BITS))


def read_inputs(address: int, first: int, count: int) -> bytes:
    """Return the request for the states of `count` inputs. Raises: ValueError."""
    return _request(address, READ_INPUTS, first, _counted(count, MOST_BITS))


def write_coil(address: int, coil: int, on: bool) -> bytes:
    """Return the request that switches one relay. Raises: ValueError."""
    return _request(address, WRITE_COIL, coil, ON if on else OFF)


def write_coils(address: int, first: int, values: Sequence[bool]) -> bytes:
    """Return the request that switches neighbouring relays together. Raises: ValueError."""
    head = _request(address, WRITE_COILS, first, _counted(len(values), MOST_WRITTEN_BITS))[:-2]
    packed = pack(values)
    return frame(head + bytes([len(packed)]) + packed)


def pulse_coil(address: int, coil: int, duration_s: float, *, base: int = PULSE_ON) -> bytes:
    """Return the request for a pulse that the board itself ends: `base` PULSE_ON, PULSE_OFF or what the manual says.

    The duration is in steps of 0.1 s and is rounded down: a pulse is never longer than was asked. Raises: ValueError.
    """
    tenths = int(duration_s / TENTH_S + 1e-6)  # 0.7 / 0.1 is a little less than 7
    if not 1 <= tenths <= 0xFFFF:
        raise ValueError(f"pulse of {duration_s} s: expected 0.1 to 6553.5")
    return _request(address, WRITE_COIL, base + coil, tenths)


def _request(address: int, function: int, first: int, value: int) -> bytes:
    if not 1 <= address <= 247:
        raise ValueError(f"board address {address}: expected 1 to 247")
    if not 0 <= first <= 0xFFFF:
        raise ValueError(f"coil or input {first}: expected 0 to 65535")
    return frame(bytes([address, function]) + first.to_bytes(2, "big") + value.to_bytes(2, "big"))


def _counted(count: int, most: int) -> int:
    if not 1 <= count <= most:
        raise ValueError(f"{count} relays or inputs at once: expected 1 to {most}")
    return count


def pack(values: Sequence[bool]) -> bytes:
    """Return the bits as bytes, the first value in the lowest bit."""
    packed = bytearray((len(values) + 7) // 8)
    for place, value in enumerate(values):
        packed[place // 8] |= bool(value) << place % 8
    return bytes(packed)


def unpack(packed: bytes, count: int) -> tuple[bool, ...]:
    """Return the first `count` bits."""
    return tuple(bool(packed[place // 8] >> place % 8 & 1) for place in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """The answer to a question for relays or inputs: their states, as many as were asked for."""

    function: int
    values: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """The board received a write. Whether the relay moved must be read back."""

    function: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The board will not do what it was asked."""

    function: int
    code: int

    @property
    def words(self) -> str:
        """Say the code in words."""
        return f"exception {self.code:02X}: {CODES.get(self.code, 'unknown')}"


Answer = Bits | Echo | Refusal


class ModbusCodec:
    """Find the answer to the request that was sent last.

    A late answer to the very same question cannot be told from the new one: be quiet for longer than the board's
    slowest answer before asking again. An RS-485 adapter that hears itself returns a write as if it were its echo:
    only reading back proves anything.
    """

    def __init__(self) -> None:
        self._request = b""  # empty while no answer is awaited
        self._finder = self._new_finder()
        self._stale_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._finder.held_bytes

    def expect(self, request: bytes) -> None:
        """Await the answer to this request and to no other; what is held of earlier ones is dropped."""
        self._stop()
        self._request = request

    def feed(self, chunk: bytes) -> list[Answer | Dropped]:
        """Return at most one answer, and the junk around it."""
        if not self._request:
            self._stale_bytes += len(chunk)
            return self._take([])
        return self._take(self._finder.feed(chunk))

    def give_up(self) -> list[Answer | Dropped]:
        """Look for the answer inside a frame whose rest is overdue, and await it no longer."""
        events = self._take(self._finder.give_up())
        self._stop()
        return events

    def _take(self, found: list[bytes | Dropped]) -> list[Answer | Dropped]:
        events: list[Answer | Dropped] = []
        dropped, self._stale_bytes = self._stale_bytes, 0
        for one in found:
            if isinstance(one, Dropped):
                dropped += one.byte_count
            elif not self._request:
                dropped += len(one)
            else:
                if dropped:
                    events.append(Dropped(byte_count=dropped))
                events.append(_parsed(one, self._request))
                dropped = 0
                self._stop()
        dropped, self._stale_bytes = dropped + self._stale_bytes, 0
        return [*events, Dropped(byte_count=dropped)] if dropped else events

    def _stop(self) -> None:
        self._stale_bytes += self._finder.held_bytes
        self._request = b""
        self._finder = self._new_finder()

    def _new_finder(self) -> FrameFinder:
        return FrameFinder(head=b"", longest_bytes=LONGEST_BYTES, judge=self._judge)

    def _judge(self, held: bytearray) -> int | None:
        return _judge_answer(held, self._request)


def _judge_answer(held: bytearray, request: bytes) -> int | None:
    address, function = request[:2]
    if held[0] != address:
        return NO_FRAME
    if len(held) < 2:
        return WAIT
    if held[1] == function | REFUSAL:
        return _whole(held, REFUSAL_BYTES)
    head, size = _expected(request)
    if not head.startswith(held[: len(head)]):
        return NO_FRAME
    return _whole(held, size)


def _expected(request: bytes) -> tuple[bytes, int]:
    """Return how the good answer to a request begins, and its size."""
    if request[1] in (READ_COILS, READ_INPUTS):
        count = (int.from_bytes(request[4:6], "big") + 7) // 8
        return request[:2] + bytes([count]), 3 + count + 2
    return request[:6], FIXED_BYTES


def _whole(held: bytearray, size: int) -> int | None:
    if len(held) < size:
        return WAIT
    return size if crc(held[: size - 2]) == held[size - 2 : size] else NO_FRAME


def _parsed(answer: bytes, request: bytes) -> Answer:
    function = request[1]
    if answer[1] & REFUSAL:
        return Refusal(function=function, code=answer[2])
    if function in (READ_COILS, READ_INPUTS):
        return Bits(function=function, values=unpack(answer[3:-2], int.from_bytes(request[4:6], "big")))
    return Echo(function=function)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as the board hears it. `value` is what follows the first coil: a count, or the value of function 05."""

    address: int
    function: int
    first: int
    value: int
    packed: bytes = b""  # what function 0F writes
    frame: bytes


class RequestCodec:
    """Turn what a board hears into requests to any board on the line, and junk."""

    def __init__(self) -> None:
        self._finder = FrameFinder(head=b"", longest_bytes=LONGEST_BYTES, judge=_judge_request)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._finder.held_bytes

    def feed(self, chunk: bytes) -> list[Request | Dropped]:
        """Return what the bytes hold, in the order of the wire."""
        return list(_requests(self._finder.feed(chunk)))

    def give_up(self) -> list[Request | Dropped]:
        """Take the pause for the end of the frame, as the line has it, and look for requests in what is held."""
        return list(_requests(self._finder.give_up()))


def _judge_request(held: bytearray) -> int | None:
    if len(held) < 2:
        return WAIT
    if held[1] != WRITE_COILS:
        return _whole(held, FIXED_BYTES)
    if len(held) < COILS_HEAD_BYTES:
        return WAIT
    size = COILS_HEAD_BYTES + held[6] + 2
    return _whole(held, size) if size <= LONGEST_BYTES else NO_FRAME


def _requests(found: list[bytes | Dropped]) -> Iterator[Request | Dropped]:
    for one in found:
        if isinstance(one, Dropped):
            yield one
        else:
            yield Request(
                address=one[0],
                function=one[1],
                first=int.from_bytes(one[2:4], "big"),
                value=int.from_bytes(one[4:6], "big"),
                packed=one[COILS_HEAD_BYTES:-2],
                frame=one,
            )
