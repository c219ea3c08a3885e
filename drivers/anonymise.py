"""Take the people out of recorded bytes, before anything is written to a disk.

What is kept is what a codec needs to be tested: frames, lengths, checksums, status words, the kind of card. What could
be a person and cannot be told apart becomes zeros or a placeholder of the same length, never itself.
"""

import binascii
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from drivers import TABLE
from drivers.codecs.framing import Dropped
from drivers.codecs.idcard import (
    DONE,
    FINGERPRINT_BYTES,
    MODULE_NUMBER_BYTES,
    Answer,
    IdCardCodec,
    frame,
)
from drivers.codecs.idcard_text import ADDRESS_BYTES, TEXT_BYTES
from drivers.codecs.keyboard import ENTER, EVENT, EVENT_BYTES, KEY, SHIFTS
from drivers.errors import DriverError
from drivers.sim.idcard import MODULE_NUMBER
from drivers.sim.specimens import specimen_address, specimen_text

PLACEHOLDER = ord("x")
KEY_X = 45
LINE_ENDS = b"\r\n"
_ANSWER_HEAD = b"\x02\x00"
_ANSWER_DATA_MOST = 2  # an acknowledgement, the model: too short to be a person
_ANSWER_FRAME_BYTES = 6  # head, result, count and the checksum, without the data


class Anonymiser(Protocol):
    """Bytes as they came in, bytes that may be kept out, of the same count. What is torn is held until it is whole."""

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be kept of these bytes and of those held before."""

    def close(self) -> bytes:
        """Return what may be kept of the bytes that are still held."""


class CardAnonymiser:
    """Put a specimen of the same kind in the place of each card."""

    def __init__(self) -> None:
        self._codec = IdCardCodec()

    def feed(self, chunk: bytes) -> bytes:
        """Return the answers with specimens in them; bytes that belong to no answer become zeros."""
        return b"".join(_of_card(event) for event in self._codec.feed(chunk))

    def close(self) -> bytes:
        """Return zeros for the rest."""
        return b"".join(_of_card(event) for event in self._codec.give_up())


def _of_card(event: Answer | Dropped) -> bytes:
    if isinstance(event, Dropped):
        return bytes(event.byte_count)
    words = event.card_status.to_bytes(2, "big") + bytes([event.status])
    return frame(words + _card_data(event))


def _card_data(answer: Answer) -> bytes:
    data = answer.data
    if answer.status != DONE:
        return bytes(len(data))
    for counts in (2, 3):
        head = 2 * counts
        sizes = [int.from_bytes(data[at : at + 2], "big") for at in range(0, head, 2)]
        adds_up = len(data) == head + sum(sizes) and sizes[0] == TEXT_BYTES
        if adds_up and (counts == 2 or sizes[2] in FINGERPRINT_BYTES):
            text = specimen_text(data[head : head + TEXT_BYTES])
            return data[:head] + text + bytes(len(data) - head - TEXT_BYTES)
    if len(data) == MODULE_NUMBER_BYTES:
        return MODULE_NUMBER
    if data and len(data) % ADDRESS_BYTES == 0:
        return specimen_address() * (len(data) // ADDRESS_BYTES)
    return bytes(len(data))  # identifiers of the chip among them


class TextAnonymiser:
    """Put a placeholder in the place of each character of a code; line ends and short answers of the scanner stay."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return placeholders, line ends and answers."""
        self._held += chunk
        kept = bytearray()
        while self._held:
            size = _answer_size(self._held)
            if size is None:
                break
            kept += self._held[:size] if size else _placeholder(self._held[:1])
            self._held = self._held[size or 1 :]
        return bytes(kept)

    def close(self) -> bytes:
        """Return placeholders for the rest."""
        held, self._held = self._held, b""
        return b"".join(_placeholder(held[at : at + 1]) for at in range(len(held)))


def _placeholder(byte: bytes) -> bytes:
    return byte if byte in (b"\r", b"\n") else bytes([PLACEHOLDER])


def _answer_size(held: bytes) -> int | None:
    """Return the size of the scanner's answer that begins here, 0 for none, None while it may become one."""
    if not held.startswith(_ANSWER_HEAD[: len(held)]):
        return 0
    if len(held) < _ANSWER_FRAME_BYTES:
        return None
    count = held[3]
    if not 1 <= count <= _ANSWER_DATA_MOST:
        return 0
    size = _ANSWER_FRAME_BYTES + count
    if len(held) < size:
        return None
    return size if binascii.crc_hqx(held[2 : size - 2], 0) == int.from_bytes(held[size - 2 : size], "big") else 0


class KeyAnonymiser:
    """Let every key be the X; Enter and shift stay what they are."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return whole events with other keys in them."""
        self._held += chunk
        whole = len(self._held) - len(self._held) % EVENT_BYTES
        events, self._held = self._held[:whole], self._held[whole:]
        return b"".join(_other_key(*event) for event in EVENT.iter_unpack(events))

    def close(self) -> bytes:
        """Return zeros for the rest."""
        held, self._held = self._held, b""
        return bytes(len(held))


def _other_key(seconds: int, microseconds: int, kind: int, code: int, value: int) -> bytes:
    if kind == KEY:
        safe = code if code in (*ENTER, *SHIFTS) else KEY_X
        return EVENT.pack(seconds, microseconds, kind, safe, max(0, min(2, value)))
    return EVENT.pack(seconds, microseconds, kind & 0x1F, 0, 0)  # a scan code names the key a second time


class NobodyInIt:
    """Keep everything: a sensor's bytes hold temperatures and distances of somebody, and nobody's name."""

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes."""
        return chunk

    def close(self) -> bytes:
        """Return nothing: nothing is held."""
        return b""


_RULES: Mapping[str, Callable[[], Anonymiser]] = MappingProxyType(
    {"cards": CardAnonymiser, "codes": TextAnonymiser, "keys": KeyAnonymiser, "nobody": NobodyInIt}
)


class NoRule(DriverError):
    """Nobody has said what is personal in the bytes of this kind of device."""


def anonymiser_for(kind: str) -> Anonymiser:
    """Return a fresh anonymiser for a kind of device. Raises: NoRule for a kind that nobody has thought through."""
    if kind not in TABLE:
        raise NoRule(f"no rule says what is personal in the bytes of {kind!r}; say it in drivers/__init__.py")
    return _RULES[TABLE[kind].holds]()
