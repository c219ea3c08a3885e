"""Simulate a keyboard scanner: codes held before it become the input events of a US keyboard."""

from typing import ClassVar

from drivers.codecs.keyboard import DOWN, ENTER, EVENTS_LOST, KEY, KEYMAP, SHIFTS, SYNCHRONISE, UP, encode_event
from drivers.sim.faulty import Faulty
from drivers.sim.scanner import AGAIN_S, HUGE_BYTES

# Text is typed on the main keys, as scanners do: of several keys that write the same, the first.
_KEYS = {text: key for key, text in reversed(KEYMAP.items())}
BOOTED_AT = 1.7e9  # the kernel stamps events with the time of day
_SYNCHRONISED = (SYNCHRONISE, 0, 0)


def encode_keys(text: bytes, *, at: float = BOOTED_AT) -> bytes:
    """Return the events of typing this text, CR as Enter. Raises: KeyError for what a US keyboard cannot write."""
    steps: list[tuple[int, int, int]] = []
    for byte in text:
        code, shifted = (ENTER[0], False) if byte == 0x0D else _KEYS[bytes([byte])]
        strokes = [(KEY, code, DOWN), (KEY, code, UP)]
        if shifted:
            strokes = [(KEY, SHIFTS[0], DOWN), *strokes, (KEY, SHIFTS[0], UP)]
        steps += [step for stroke in strokes for step in (stroke, _SYNCHRONISED)]
    return b"".join(encode_event(*step, at=at) for step in steps)


class SimKeyboard(Faulty):
    """Behave like a scanner that types each code and Enter. Codes are shown from any thread.

    `lost-keys`: the kernel dropped some of the events, and says so.
    """

    FAULTS: ClassVar[tuple[str, ...]] = ("no-terminator", "huge-code", "duplicates", "lost-keys")

    def __init__(self) -> None:
        super().__init__()
        self._codes: list[tuple[float | None, bytes]] = []  # when to type; None for at once

    def scan(self, content: bytes) -> None:
        """Hold a code before the scanner. Raises: KeyError for what a US keyboard cannot write."""
        encode_keys(content)  # the caller's error, not the serving thread's
        with self._lock:
            self._codes.append((None, content))

    def answer(self, _chunk: bytes, _now: float = 0.0) -> bytes:
        """Return nothing: nobody speaks to a keyboard."""
        return b""

    def due(self, now: float) -> bytes:
        """Return the events of the codes that were read."""
        with self._lock:
            ready = [(at, content) for at, content in self._codes if at is None or at <= now]
            self._codes = [code for code in self._codes if code not in ready]
            if "duplicates" in self._faults:
                fresh = [content for at, content in ready if at is None]
                self._codes += [(now + turn * AGAIN_S, content) for content in fresh for turn in (1, 2)]
            return b"".join(self._typed(content, BOOTED_AT + now) for _, content in ready)

    def _typed(self, content: bytes, at: float) -> bytes:
        if "huge-code" in self._faults:
            content = (content or b"?") * (HUGE_BYTES // max(1, len(content)) + 1)
        end = b"" if "no-terminator" in self._faults else b"\r"
        if "lost-keys" in self._faults:
            lost = encode_event(SYNCHRONISE, EVENTS_LOST, 0, at=at)
            return encode_keys(content[: len(content) // 2], at=at) + lost + encode_keys(end, at=at)
        return encode_keys(content + end, at=at)
