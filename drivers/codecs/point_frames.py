"""Cut the frames of thermal modules that measure one point, and make the commands these modules obey.

Source: device-protocols 2.4. Which of the two figures comes first in the CJMCU frame, and the head of the 614V's
data frame, rest on single origins. A module's own "body temperature" is invented from the forehead: it is never used.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from types import MappingProxyType
from typing import Protocol

from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder, cut_short

LOWEST_CELSIUS = -70.0  # of the MLX90614, the sensor in all of them
HIGHEST_CELSIUS = 300.0  # above is what a module makes of a sensor that has no value

GY_HEAD = bytes.fromhex("5A 5A 45 04")
CJ_HEAD = bytes.fromhex("66 66")
SHORT_BYTES = 9  # of both frames: four bytes of head, two figures of two bytes, the sum
CJ_CONTINUOUS, CJ_QUERY = 1, 2
CJ_BAUD_CODES = {9600: 0x11, 57600: 0x12, 115200: 0x13}

REGISTER_ADDRESS = 0xA4
READ, WRITE = 0x03, 0x06
RATE_REGISTER, MODE_REGISTER, SPEED_REGISTER, SAVE_REGISTER = 0x02, 0x03, 0x01, 0x05
DATA = (0x07, 7)  # first register and count: emissivity, object, ambient, "body"
CHIP = (0x0E, 2)  # kind of chip, firmware
REGISTER_HEAD_BYTES = 4
REGISTER_BYTES: Mapping[tuple[int, int], int] = MappingProxyType(
    {block: REGISTER_HEAD_BYTES + block[1] + 1 for block in (DATA, CHIP)}
)
LONGEST_REGISTER_BYTES = max(REGISTER_BYTES.values())
REGISTER_BAUD_CODES = {2400: 0, 4800: 1, 9600: 2, 19200: 3, 38400: 4, 57600: 5, 115200: 6, 230400: 7}
REGISTER_RATE_CODES = {1: 0, 2: 1, 5: 2, 10: 3}

LONGEST_LINE_BYTES = 80
_NUMBER = re.compile(rb"(?<![\d.])[-+]?\d{1,3}\.\d\d(?![\d.])")


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFrame:
    """One good frame. `body_celsius` is the module's invention, kept for the maintainer; NaN where there is none."""

    object_celsius: float
    ambient_celsius: float
    body_celsius: float = nan
    emissivity: float = nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipFrame:
    """What a register-style module says it is."""

    chip: int
    firmware: int


PointEvent = PointFrame | ChipFrame | Dropped


class PointCodec(Protocol):
    """What each codec of a point module offers."""

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""

    def feed(self, chunk: bytes) -> list[PointEvent]:
        """Return what the bytes hold, in the order of the wire."""


def with_sum(body: bytes) -> bytes:
    """Return the bytes with the low 8 bits of their sum behind them."""
    return body + bytes([sum(body) & 0xFF])


# --- GY-MCU90614, GY-MCU90615 ----------------------------------------------------------------------------------------


def gy_continuous_command() -> bytes:
    """Return the command that starts continuous output."""
    return with_sum(b"\xa5\x45")


def gy_single_command() -> bytes:
    """Return the command that asks for one value."""
    return with_sum(b"\xa5\x15")


def gy_baud_command(baud: int) -> bytes:
    """Return the command for another line speed, after a restart. Raises: KeyError when the module has no such one."""
    return with_sum(bytes([0xA5, {9600: 0xAE, 115200: 0xAF}[baud]]))


def gy_power_on_command(*, send: bool) -> bytes:
    """Return the command that lets the module send, or keep silent, after each power-on."""
    return with_sum(bytes([0xA5, 0x51 if send else 0x52]))


class GyMcu90614Codec:
    """Turn the bytes of a GY-MCU90614 or 90615 into frames and junk."""

    def __init__(self) -> None:
        self._finder = FrameFinder(head=GY_HEAD, longest_bytes=SHORT_BYTES, judge=_judge_gy)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._finder.held_bytes

    def feed(self, chunk: bytes) -> list[PointEvent]:
        """Return what the bytes hold, in the order of the wire."""
        return [found if isinstance(found, Dropped) else _short(found) for found in self._finder.feed(chunk)]


def _judge_gy(held: bytearray) -> int | None:
    if cut_short(held, SHORT_BYTES, GY_HEAD):
        return NO_FRAME
    return _judge_short(held)


def _judge_short(held: bytearray) -> int | None:
    if len(held) < SHORT_BYTES:
        return WAIT
    return SHORT_BYTES if sum(held[: SHORT_BYTES - 1]) & 0xFF == held[SHORT_BYTES - 1] else NO_FRAME


def _short(frame: bytes) -> PointFrame:
    measured, ambient = struct.unpack_from(">hh", frame, 4)
    return PointFrame(object_celsius=_celsius(measured), ambient_celsius=_celsius(ambient))


def _celsius(hundredths: int) -> float:
    return _in_range(hundredths / 100)


def _in_range(celsius: float) -> float:
    return celsius if LOWEST_CELSIUS <= celsius < HIGHEST_CELSIUS else nan


# --- CJMCU-90614 -----------------------------------------------------------------------------------------------------


def cj_command(code: int) -> bytes:
    """Return a command: CJ_CONTINUOUS, CJ_QUERY, or one of CJ_BAUD_CODES."""
    return CJ_HEAD + bytes([code, 0x56])


class CjMcu90614Codec:
    """Turn the bytes of a CJMCU-90614 into frames and junk."""

    def __init__(self) -> None:
        self._finder = FrameFinder(head=CJ_HEAD, longest_bytes=SHORT_BYTES, judge=_judge_cj)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._finder.held_bytes

    def feed(self, chunk: bytes) -> list[PointEvent]:
        """Return what the bytes hold, in the order of the wire."""
        return [found if isinstance(found, Dropped) else _short(found) for found in self._finder.feed(chunk)]


def _judge_cj(held: bytearray) -> int | None:
    if len(held) < 4:
        return WAIT
    if held[2] not in (CJ_CONTINUOUS, CJ_QUERY) or held[3] != 4 or cut_short(held, SHORT_BYTES, bytes(held[:4])):
        return NO_FRAME
    return _judge_short(held)


# --- GY-614V ---------------------------------------------------------------------------------------------------------


def register_read(block: tuple[int, int], address: int = REGISTER_ADDRESS) -> bytes:
    """Return the request for a block of registers: DATA or CHIP."""
    return with_sum(bytes([address, READ, *block]))


def register_write(register: int, value: int, address: int = REGISTER_ADDRESS) -> bytes:
    """Return the command that sets one register."""
    return with_sum(bytes([address, WRITE, register, value]))


def register_baud_command(baud: int) -> bytes:
    """Return the command for another line speed. Raises: KeyError when the module has no such speed."""
    return register_write(SPEED_REGISTER, REGISTER_BAUD_CODES[baud])


def register_rate_command(rate_hz: int) -> bytes:
    """Return the command for another rate. Raises: KeyError for an unknown rate."""
    return register_write(RATE_REGISTER, REGISTER_RATE_CODES[rate_hz])


def register_mode_command(*, continuous: bool) -> bytes:
    """Return the command that starts continuous output, or ends it."""
    return register_write(MODE_REGISTER, 0 if continuous else 1)


def register_save_command() -> bytes:
    """Return the command that keeps all settings."""
    return register_write(SAVE_REGISTER, 0x55)


class Gy614VCodec:
    """Turn the bytes of a register-style module into frames and junk. Other blocks than ours are junk."""

    def __init__(self, address: int = REGISTER_ADDRESS) -> None:
        head = bytes([address, READ])
        self._finder = FrameFinder(head=head, longest_bytes=LONGEST_REGISTER_BYTES, judge=_judge_registers)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._finder.held_bytes

    def feed(self, chunk: bytes) -> list[PointEvent]:
        """Return what the bytes hold, in the order of the wire."""
        return [found if isinstance(found, Dropped) else _registers(found) for found in self._finder.feed(chunk)]


def _judge_registers(held: bytearray) -> int | None:
    if len(held) < REGISTER_HEAD_BYTES:
        return WAIT
    size = REGISTER_BYTES.get((held[2], held[3]), 0)
    if not size or cut_short(held, size, bytes(held[:REGISTER_HEAD_BYTES])):
        return NO_FRAME
    if len(held) < size:
        return WAIT
    return size if sum(held[: size - 1]) & 0xFF == held[size - 1] else NO_FRAME


def _registers(frame: bytes) -> PointFrame | ChipFrame:
    if (frame[2], frame[3]) == CHIP:
        return ChipFrame(chip=frame[4], firmware=frame[5])
    emissivity, measured, ambient, body = struct.unpack_from(">Bhhh", frame, REGISTER_HEAD_BYTES)
    return PointFrame(
        object_celsius=_celsius(measured),
        ambient_celsius=_celsius(ambient),
        body_celsius=_celsius(body),
        emissivity=emissivity / 100,
    )


# --- plain text ------------------------------------------------------------------------------------------------------


class TextCodec:
    """Turn lines with two numbers into frames; the words around the numbers are free, but stay what they are.

    A line has no checksum. Its words are what there is instead: once two lines in a row had the same, one with other
    words is damaged, and one with more before them begins with junk. Two in a row with other words are a new wording,
    and after a line that is none of this any wording is new.
    The first line is dropped: nobody knows where in it the listening began.
    """

    def __init__(self, *, object_first: bool = False) -> None:
        self._object_first = object_first
        self._line = bytearray()
        self._whole = False  # whether the line was heard from its beginning and is not too long
        self._words: tuple[bytes, bytes, bytes] | None = None  # before, between and after the numbers
        self._words_before: tuple[bytes, bytes, bytes] | None = None  # of the line before this one

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the end of their line."""
        return len(self._line)

    def feed(self, chunk: bytes) -> list[PointEvent]:
        """Return what the bytes hold, in the order of the wire."""
        events: list[PointEvent] = []
        *ended, rest = re.split(rb"[\r\n]", chunk)
        for piece in ended:
            self._hold(piece, events)
            self._end(events)
        self._hold(rest, events)
        return events

    def _hold(self, piece: bytes, events: list[PointEvent]) -> None:
        if len(self._line) + len(piece) <= LONGEST_LINE_BYTES:
            self._line += piece
            return
        events.append(Dropped(byte_count=len(self._line) + len(piece)))
        self._line.clear()
        self._whole = False
        self._words = self._words_before = None

    def _end(self, events: list[PointEvent]) -> None:
        numbers = _NUMBER.findall(self._line) if self._whole else []
        junk_bytes = self._junk_bytes(len(numbers))
        if junk_bytes:
            events.append(Dropped(byte_count=junk_bytes))
        if junk_bytes < len(self._line):
            first, second = (_in_range(float(number)) for number in numbers[-2:])
            measured, ambient = (first, second) if self._object_first else (second, first)
            events.append(PointFrame(object_celsius=measured, ambient_celsius=ambient))
        self._line.clear()
        self._whole = True

    def _junk_bytes(self, number_count: int) -> int:
        """Return how many bytes at the beginning of the line are junk: all of them when it is no measurement."""
        if number_count < 2:
            if self._line:  # what comes after junk may be another module
                self._words = self._words_before = None
            return len(self._line)
        words = _words(self._line)
        before, self._words_before = self._words_before, words
        if before is not None and _begins_with_junk(before, words) is not None:
            self._words = words
        if self._words is None:
            return 0 if number_count == 2 else len(self._line)
        junk_bytes = _begins_with_junk(words, self._words)
        return len(self._line) if junk_bytes is None else junk_bytes


def _words(line: bytes | bytearray) -> tuple[bytes, bytes, bytes]:
    """Return what stands before, between and after the last two numbers, however many blanks are in it."""
    first, second = list(_NUMBER.finditer(line))[-2:]
    pieces = line[: first.start()], line[first.end() : second.start()], line[second.end() :]
    before, between, after = (b" ".join(piece.split()) for piece in pieces)
    return before, between, after


def _begins_with_junk(words: tuple[bytes, bytes, bytes], usual: tuple[bytes, bytes, bytes]) -> int | None:
    """Return how many bytes stand before the usual words, 0 for none; None when these are other words."""
    if words == usual:
        return 0
    same = words[1:] == usual[1:] and usual[0] and words[0].endswith(usual[0])
    return len(words[0]) - len(usual[0]) if same else None
