"""Say requests to a second-generation ID card reader, and cut its answers out of the bytes that come back.

The order in which requests and answers follow each other is in idcard_dialogue.py. Source: device-protocols section 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from types import MappingProxyType

from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder, cut_short
from drivers.codecs.idcard_text import ADDRESS_BYTES, TEXT_BYTES, read_addresses, read_text
from drivers.readings import CardReading

PREAMBLE = bytes.fromhex("AA AA AA 96 69")
HEAD_BYTES = len(PREAMBLE) + 2
SHORTEST_LENGTH = 4  # SW1 SW2 SW3 CHK
LEAST_FRAME_BYTES = HEAD_BYTES + SHORTEST_LENGTH
LONGEST_LENGTH = 0x090A  # text, photo and two fingerprints
LONGEST_FRAME_BYTES = HEAD_BYTES + LONGEST_LENGTH
PHOTO_BYTES = 1024
MODULE_NUMBER_BYTES = 16
FINGERPRINT_BYTES = (0, 512, 1024)  # none, one finger, two

DONE = 0x90
CARD_FOUND = 0x9F
NO_CARD = 0x80
SELECT_FAILED = 0x81
UNKNOWN_COMMAND = 0x21
ITEM_EMPTY = 0x91
MODULE_BROKEN = MappingProxyType({0x60: "self-test failed", 0x66: "module not authorised"})
REQUEST_REFUSED = MappingProxyType(
    {
        0x10: "request checksum wrong",
        0x11: "request length wrong",
        UNKNOWN_COMMAND: "command unknown or out of order",
        0x23: "not permitted",
        0x24: "unidentified error",
    }
)
CARD_REFUSED = MappingProxyType(
    {
        0x31: "card refused the module",
        0x32: "module refused the card",
        0x33: "content verification failed",
        0x40: "wrong kind of card",
        0x41: "reading failed",
        0x47: "random-number step failed",
        SELECT_FAILED: "select failed",
        ITEM_EMPTY: "item empty",
    }
)
SPEED_CODES: Mapping[int, int] = MappingProxyType({115200: 0, 57600: 1, 38400: 2, 19200: 3, 9600: 4})


def frame(body: bytes) -> bytes:
    """Return a whole frame around command or answer bytes; both directions look the same."""
    counted = (len(body) + 1).to_bytes(2, "big") + body
    return PREAMBLE + counted + bytes([reduce(xor, counted)])


def reset_request() -> bytes:
    """Return the request that restarts the module; it then needs about as long as after power-up."""
    return frame(b"\x10\xff")


def status_request() -> bytes:
    """Return the request for the module's self-test result."""
    return frame(b"\x11\xff")


def module_number_request() -> bytes:
    """Return the request for the module's own number."""
    return frame(b"\x12\xff")


def find_request() -> bytes:
    """Return the request that looks for a card."""
    return frame(b"\x20\x01")


def select_request() -> bytes:
    """Return the request that selects the card found."""
    return frame(b"\x20\x02")


def read_request() -> bytes:
    """Return the request for text and photo."""
    return frame(b"\x30\x01")


def later_addresses_request() -> bytes:
    """Return the request for the addresses written to the chip later; right after a read it needs no new selection."""
    return frame(b"\x30\x03")


def chip_data_request() -> bytes:
    """Return the request for the chip's management data: 28 bytes whose inner layout is not confirmed."""
    return frame(b"\x30\x05")


def read_fingerprint_request() -> bytes:
    """Return the request for text, photo and fingerprints; old readers answer 21 to it."""
    return frame(b"\x30\x10")


def speed_request(baud: int) -> bytes:
    """Return the request for another line speed, kept over power-off. The answer still comes at the old speed.

    Raises: KeyError when the module has no such speed.
    """
    return frame(bytes([0x60, SPEED_CODES[baud]]))


def radio_packet_request(packet_bytes: int) -> bytes:
    """Return the request for the largest radio packet. Unit: bytes, 0 to 255; programs in use send 80 or 88."""
    return frame(bytes([0x61, 0xFF, packet_bytes]))


def module_number_text(data: bytes) -> str:
    """Return the module number as makers print it. Shape: data has 16 bytes."""
    sizes = ((0, 2), (2, 4), (4, 8), (8, 12), (12, 16))
    return "{:02d}.{:02d}-{:08d}-{:010d}-{:010d}".format(*(int.from_bytes(data[a:b], "little") for a, b in sizes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One good answer of the module. Its repr shows the status only: the data may be a person."""

    card_status: int  # SW1 SW2, the card's own words
    status: int  # SW3
    data: bytes = field(repr=False)


class IdCardCodec:
    """Turn the reader's bytes into answers and junk."""

    def __init__(self) -> None:
        self._finder = FrameFinder(head=PREAMBLE, longest_bytes=LONGEST_FRAME_BYTES, judge=_judge)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._finder.held_bytes

    def feed(self, chunk: bytes) -> list[Answer | Dropped]:
        """Return the answers and the junk in the order of the wire."""
        return [_answer(found) for found in self._finder.feed(chunk)]

    def give_up(self) -> list[Answer | Dropped]:
        """Declare the unfinished answer dead because its rest is overdue; return what was hidden behind its head."""
        return [_answer(found) for found in self._finder.give_up()]


def _judge(held: bytearray) -> int | None:
    if len(held) < HEAD_BYTES:
        return WAIT
    length = int.from_bytes(held[5:HEAD_BYTES], "big")
    if not SHORTEST_LENGTH <= length <= LONGEST_LENGTH:
        return NO_FRAME
    size = HEAD_BYTES + length
    if cut_short(held, size, PREAMBLE):  # eight bits of XOR would let one mixture of two people in 256 through
        return NO_FRAME
    if len(held) < size:
        return WAIT
    return size if reduce(xor, held[5:size]) == 0 else NO_FRAME


def _answer(found: bytes | Dropped) -> Answer | Dropped:
    if isinstance(found, Dropped):
        return found
    return Answer(card_status=int.from_bytes(found[7:9], "big"), status=found[9], data=found[10:-1])


def card_of(data: bytes, *, at_mono: float) -> CardReading | None:
    """Return the card in the data of a read answer, None when its lengths do not add up.

    Shape: text and photo lengths (a third for fingerprints with `30 10`), big-endian, then the blocks. Fingerprints are
    left behind: nothing here may use them.
    """
    for counts in (2, 3):
        sizes = [int.from_bytes(data[2 * i : 2 * i + 2], "big") for i in range(counts)]
        if len(data) != 2 * counts + sum(sizes) or sizes[0] != TEXT_BYTES:
            continue
        if counts == 3 and sizes[2] not in FINGERPRINT_BYTES:
            continue
        text_at = 2 * counts
        photo_at = text_at + TEXT_BYTES
        return read_text(data[text_at:photo_at], photo=data[photo_at : photo_at + sizes[1]], at_mono=at_mono)
    return None


def later_addresses_of(answer: Answer) -> tuple[str, ...]:
    """Return the addresses in an answer to `30 03`, the newest first; none when the chip has none."""
    if answer.status != DONE or len(answer.data) % ADDRESS_BYTES:
        return ()
    return read_addresses(answer.data)


def words_of(answer: Answer, meanings: Mapping[int, str]) -> str:
    """Return what an answer's status says, for the maintainer."""
    words = f"SW3 {answer.status:02X}: {meanings.get(answer.status, 'unknown')}"
    return f"{words} (card says {answer.card_status:04X})" if answer.card_status else words
