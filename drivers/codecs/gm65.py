"""Cut a scanner's bytes into codes and answers, and build the commands of the GM65 family.

Source: device-protocols 3.1. A code has no length and no checksum, and the answers to commands lie in the same stream.
So an answer is interpreted only while one is awaited, and what ends a code is a terminator or a quiet line.
"""

import re
from binascii import crc_hqx
from dataclasses import dataclass, field

from drivers.codecs.framing import Dropped

REQUEST_HEAD = bytes.fromhex("7E 00")
ANSWER_HEAD = bytes.fromhex("02 00")
ANSWER_BYTES = 7  # each answer that is awaited has one data byte
UNCHECKED = bytes.fromhex("AB CD")  # in place of the CRC: "do not check"
READ, WRITE, SAVE = 0x07, 0x08, 0x09
MODE, SCAN, OUTPUT, BAUD, DUTY, MODEL = 0x0000, 0x0002, 0x000D, 0x002A, 0x00D9, 0x00E0  # registers
BAUD_CLOCK = 3_000_000
TERMINATORS = {"cr": re.compile(rb"\r\n?|\n"), "crlf": re.compile(rb"\r\n"), "none": None}

LONGEST_CODE_BYTES = 512  # a signed pass has about 200
LONGEST_BYTES = LONGEST_CODE_BYTES + ANSWER_BYTES  # of what is held: a code, and an answer that may follow it


def start_scan_command() -> bytes:
    """Return the command for one scan; nothing is sent when nothing is read within the unit's 5 s."""
    return _command(WRITE, SCAN, b"\x01")


def save_command() -> bytes:
    """Return the command that keeps all registers over the next power cycle."""
    return _command(SAVE, MODE, b"\x00")


def serial_output_command() -> bytes:
    """Return the command that makes the unit send codes to the serial line; many leave the works as keyboards."""
    return _command(WRITE, OUTPUT, b"\x00")


def baud_command(baud: int) -> bytes:
    """Return the command for another line speed."""
    return _command(WRITE, BAUD, int(BAUD_CLOCK / baud + 0.5).to_bytes(2, "little"))  # 312.5 is sent as 313


def read_baud_command() -> bytes:
    """Return the question for the line speed."""
    return _command(READ, BAUD, b"\x02")


def read_model_command() -> bytes:
    """Return the question for the model."""
    return _command(READ, MODEL, b"\x01")


def sleep_command() -> bytes:
    """Return the command for deep sleep."""
    return _command(WRITE, DUTY, b"\xa5")


def wake_command() -> bytes:
    """Return the command that ends deep sleep."""
    return _command(WRITE, DUTY, b"\x00")


def _command(kind: int, register: int, data: bytes) -> bytes:
    count = 1 if kind == READ else len(data)  # a question's data says how many bytes to read
    body = bytes([kind, count]) + register.to_bytes(2, "big") + data
    return REQUEST_HEAD + body + _crc(body)


def encode_answer(data: bytes, *, result: int = 0) -> bytes:
    """Return a unit's answer to a command."""
    body = bytes([result, len(data)]) + data
    return ANSWER_HEAD + body + _crc(body)


def checked(body: bytes, check: bytes) -> bool:
    """Tell whether a unit would accept these check bytes for what lies behind the head."""
    return check in (_crc(body), UNCHECKED)


def _crc(body: bytes) -> bytes:
    return crc_hqx(body, 0).to_bytes(2, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One whole code, without terminator."""

    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """What lay there when the line went quiet and its terminator had not come."""

    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlong:
    """A code that was longer than any, dropped whole."""

    byte_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The unit's answer to the command that was sent last; result 0 is good."""

    result: int
    value: int


Event = Code | Unfinished | Overlong | Answer | Dropped


class ScannerCodec:
    """Turn a scanner's bytes into codes, the awaited answer, and junk; be told when the line is quiet.

    `terminator` is what ends a code: "cr" (0D, 0A or both), "crlf" (the pair only) or "none" (quiet alone).
    Raises: ValueError for another terminator.
    """

    def __init__(self, *, terminator: str = "cr") -> None:
        if terminator not in TERMINATORS:
            raise ValueError(f"terminator {terminator!r}: expected one of {', '.join(TERMINATORS)}")
        self._ends = TERMINATORS[terminator]
        self._held = bytearray()
        self._awaited = False
        self._skipping = self._too_long = False
        self._skipped_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the end of their code."""
        return len(self._held)

    @property
    def busy(self) -> bool:
        """Whether a code, or the rest of one, is under way."""
        return bool(self._held) or self._skipping

    def expect(self) -> None:
        """Await one answer; it is found before, between and behind codes."""
        self._awaited = True

    def forget(self) -> list[Event]:
        """Await no answer any longer, and take what might have become one for what it is."""
        self._awaited = False
        return self.feed(b"")

    def skip(self) -> None:
        """Drop what comes up to the next end: it is the rest of something."""
        self._skipping = True

    def feed(self, chunk: bytes) -> list[Event]:
        """Return what the bytes hold, in the order of the wire."""
        found: list[Event] = []
        for start in range(0, max(1, len(chunk)), LONGEST_CODE_BYTES):  # a huge chunk is not held twice
            self._held += chunk[start : start + LONGEST_CODE_BYTES]
            self._scan(found)
        return found

    def quiet(self) -> list[Event]:
        """Take the silence of the line for the end of whatever is held."""
        awaited, found = self._awaited, self.forget()
        self._awaited = awaited
        rest = bytes(self._held)
        self._held.clear()
        if self._skipping or self._ends is None:
            self._end(rest.rstrip(b"\r\n"), found)
        elif rest := _without_answers(rest, found):
            found.append(Unfinished(content=rest))
        return found

    def _scan(self, found: list[Event]) -> None:
        while self._held:
            end = self._ends.search(self._held) if self._ends else None
            edge = end.start() if end else len(self._held)
            at = _answer_at(self._held, edge) if self._awaited else edge
            if at < edge and len(self._held) - at >= ANSWER_BYTES:
                self._take_answer(at, found)
            elif at == edge and end:
                content = bytes(self._held[:edge])
                del self._held[: end.end()]
                self._end(content, found)
            else:
                self._bound(at)
                return

    def _bound(self, upto: int) -> None:
        """Hold no more than one longest code; what lies behind `upto` may yet become an answer."""
        if not self._skipping and upto > LONGEST_CODE_BYTES:
            self._skipping = self._too_long = True
        if self._skipping:
            self._skipped_bytes += upto
            del self._held[:upto]

    def _take_answer(self, at: int, found: list[Event]) -> None:
        if self._skipping:
            self._skipped_bytes += at
        elif at:
            found.append(Dropped(byte_count=at))  # a code ends with its terminator, not with an answer
        answer = self._held[at : at + ANSWER_BYTES]
        del self._held[: at + ANSWER_BYTES]
        self._awaited = False
        found.append(Answer(result=answer[2], value=answer[4]))

    def _end(self, content: bytes, found: list[Event]) -> None:
        if self._skipping:
            byte_count, too_long = self._skipped_bytes + len(content), self._too_long
            self._skipping, self._too_long, self._skipped_bytes = False, False, 0
            if byte_count:
                found.append(Overlong(byte_count=byte_count) if too_long else Dropped(byte_count=byte_count))
            return
        content = _without_answers(content, found)
        if len(content) > LONGEST_CODE_BYTES:
            found.append(Overlong(byte_count=len(content)))
        elif content:  # an empty line is the second half of CR LF
            found.append(Code(content=content))


def _answer_at(held: bytearray, edge: int) -> int:
    """Return where an answer is or may yet be, `edge` when there is none before it."""
    at = held.find(ANSWER_HEAD[0], 0, edge)
    while at >= 0 and not _may_be_answer(held[at : at + ANSWER_BYTES]):
        at = held.find(ANSWER_HEAD[0], at + 1, edge)
    return edge if at < 0 else at


def _may_be_answer(part: bytes | bytearray) -> bool:
    if part[:2] != ANSWER_HEAD[: len(part)] or (len(part) > 3 and part[3] != 1):
        return False
    return len(part) < ANSWER_BYTES or _crc(bytes(part[2:5])) == part[5:]


def _without_answers(content: bytes, found: list[Event]) -> bytes:
    """Remove acknowledgements glued to the front of a code; nobody asked for them, so they say nothing."""
    while len(content) >= ANSWER_BYTES and _may_be_answer(content[:ANSWER_BYTES]):
        found.append(Dropped(byte_count=ANSWER_BYTES))
        content = content[ANSWER_BYTES:]
    return content
