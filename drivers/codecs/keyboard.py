"""Read codes from a scanner that pretends to be a keyboard: Linux input events in, the typed line out.

The port hands out `struct input_event` of a 64-bit kernel: seconds, microseconds, type, code, value. Only the keys of
the US layout are known, which scanners use unless told otherwise; whatever else is typed makes its code unreadable.
"""

import math
import struct
from dataclasses import dataclass, field
from typing import ClassVar

from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder
from drivers.codecs.scanner import LineDialect
from drivers.readings import Junk, Reading, Sign

EVENT = struct.Struct("<qqHHi")
EVENT_BYTES = EVENT.size
SYNCHRONISE, KEY = 0x00, 0x01  # event types
EVENTS_LOST = 3  # a code of SYNCHRONISE: the kernel's own buffer overflowed
UP, DOWN, HELD = 0, 1, 2  # no scanner holds a key
LAST_TYPE, LAST_CODE = 0x1F, 0x2FF
ENTER = (28, 96)
SHIFTS = (42, 54)
OTHER_MODIFIERS = (29, 97, 56, 100, 125, 126)  # control, alt, meta: scanners write control characters with them
SILENT_KEYS = (58, 69, 70)  # the three locks
UNKNOWN = b"\x1a"  # stands for a key that is no text

# Where the keys of the US layout begin, and what they write without and with shift.
_ROWS = (
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (15, "\t", "\t"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (55, "*", "*"),
    (57, " ", " "),
    (71, "789-456+1230.", "789-456+1230."),
    (98, "/", "/"),
)
KEYMAP = {
    (first + place, shifted): text.encode()
    for first, *texts in _ROWS
    for shifted, row in zip((False, True), texts, strict=True)
    for place, text in enumerate(row)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What was typed, Enter as CR."""

    text: bytes = field(repr=False)


class KeyboardCodec:
    """Turn input events into typed text and junk. Events have no head: what cannot be one is dropped byte by byte."""

    def __init__(self) -> None:
        self._finder = FrameFinder(head=b"", longest_bytes=EVENT_BYTES, judge=_judge)
        self._held_down: set[int] = set()  # modifiers

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their event."""
        return self._finder.held_bytes

    def feed(self, chunk: bytes) -> list[Typed | Dropped]:
        """Return what the bytes hold, in the order of the wire; events that write nothing are in no list."""
        events: list[Typed | Dropped] = []
        for found in self._finder.feed(chunk):
            if isinstance(found, Dropped):
                events.append(found)
            elif text := self._text(*EVENT.unpack(found)[2:]):
                events.append(Typed(text=text))
        return events

    def _text(self, kind: int, code: int, value: int) -> bytes:
        if kind == SYNCHRONISE and code == EVENTS_LOST:
            self._held_down.clear()
            return UNKNOWN  # a code with a hole in it is none
        if kind != KEY or code in SILENT_KEYS:
            return b""
        if code in SHIFTS or code in OTHER_MODIFIERS:
            (self._held_down.discard if value == UP else self._held_down.add)(code)
            return b""
        if value != DOWN:
            return b""
        if code in ENTER:
            return b"\r"
        if self._held_down.intersection(OTHER_MODIFIERS):
            return UNKNOWN
        return KEYMAP.get((code, bool(self._held_down)), UNKNOWN)


def _judge(held: bytearray) -> int | None:
    if len(held) < EVENT_BYTES:
        return WAIT
    seconds, microseconds, kind, code, value = EVENT.unpack_from(held)
    if not (0 < seconds < 1 << 32 and 0 <= microseconds < 1_000_000 and kind <= LAST_TYPE and code <= LAST_CODE):
        return NO_FRAME
    if kind == KEY:
        return EVENT_BYTES if code and value in (UP, DOWN, HELD) else NO_FRAME
    return NO_FRAME if kind == SYNCHRONISE and not (code <= EVENTS_LOST and value in (0, 1)) else EVENT_BYTES


def encode_event(kind: int, code: int, value: int, *, at: float = 1.7e9) -> bytes:
    """Return one input event. Unit: seconds since 1970, as the kernel stamps it."""
    return EVENT.pack(int(at), int(at % 1 * 1_000_000), kind, code, value)


class KeyboardScannerDialect(LineDialect):
    """Listen to one keyboard scanner, which is silent until it reads a code: only a lost port can be told."""

    SPEEDS: ClassVar[tuple[int, ...]] = ()

    def __init__(self, *, silence_s: float = math.inf) -> None:
        super().__init__(silence_s=silence_s)
        self._keys = KeyboardCodec()
        self._opened = False

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean."""
        readings: list[Reading] = [] if self._opened else [Sign(at_mono=now, detail="device open")]
        self._opened = True
        events = self._keys.feed(chunk)
        readings += [Junk(at_mono=now, byte_count=one.byte_count) for one in events if isinstance(one, Dropped)]
        return readings + super().feed(b"".join(one.text for one in events if isinstance(one, Typed)), now)
