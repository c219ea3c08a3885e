"""Talk to a second-generation ID card reader: requests, answers, and the order in which they follow each other.

The module never speaks first: one request, one answer. So the dialect holds one request at a time, and an answer that
does not fit it came too late and is dropped. Source: device-protocols section 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import reduce
from operator import xor
from types import MappingProxyType

from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder, cut_short
from drivers.codecs.idcard_text import TEXT_BYTES, read_text
from drivers.readings import CardReading, Junk, Reading, Sign, Symptom, Trouble

PREAMBLE = bytes.fromhex("AA AA AA 96 69")
HEAD_BYTES = len(PREAMBLE) + 2
SHORTEST_LENGTH = 4  # SW1 SW2 SW3 CHK
LEAST_FRAME_BYTES = HEAD_BYTES + SHORTEST_LENGTH
LONGEST_LENGTH = 0x090A  # text, photo and two fingerprints
LONGEST_FRAME_BYTES = HEAD_BYTES + LONGEST_LENGTH

DONE = 0x90
CARD_FOUND = 0x9F
NO_CARD = 0x80
SELECT_FAILED = 0x81
MODULE_BROKEN = MappingProxyType({0x60: "self-test failed", 0x66: "module not authorised"})
REQUEST_REFUSED = MappingProxyType(
    {
        0x10: "request checksum wrong",
        0x11: "request length wrong",
        0x21: "command unknown or out of order",
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
        0x91: "item empty",
    }
)


def frame(body: bytes) -> bytes:
    """Return a whole frame around command or answer bytes; both directions look the same."""
    counted = (len(body) + 1).to_bytes(2, "big") + body
    return PREAMBLE + counted + bytes([reduce(xor, counted)])


def reset_request() -> bytes:
    """Return the request that restarts the module."""
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

    Shape: text and photo lengths (a third for fingerprints with `30 10`), big-endian, then the blocks.
    """
    for counts in (2, 3):
        sizes = [int.from_bytes(data[2 * i : 2 * i + 2], "big") for i in range(counts)]
        if len(data) == 2 * counts + sum(sizes) and sizes[0] == TEXT_BYTES:
            text_at = 2 * counts
            photo_at = text_at + TEXT_BYTES
            return read_text(data[text_at:photo_at], photo=data[photo_at : photo_at + sizes[1]], at_mono=at_mono)
    return None


class _Step(Enum):
    STATUS = "status"
    FIND = "find"
    SELECT = "select"
    READ = "read"


_REQUESTS: Mapping[_Step, bytes] = MappingProxyType(
    {
        _Step.STATUS: status_request(),
        _Step.FIND: find_request(),
        _Step.SELECT: select_request(),
        _Step.READ: read_request(),
    }
)
_ANSWER_WITHIN_S: Mapping[_Step, float] = MappingProxyType(
    {
        _Step.STATUS: 1.0,  # programs in use wait 0.5 to 2 s
        _Step.FIND: 1.0,
        _Step.SELECT: 1.0,
        _Step.READ: 5.0,  # 1.35 s on the wire at 9600 baud, and slow cards take 3 s
    }
)
_NEVER_ANSWERS = MappingProxyType(
    {_Step.SELECT: (CARD_FOUND, NO_CARD), _Step.READ: (CARD_FOUND, NO_CARD, SELECT_FAILED)}
)
FIND_EVERY_S = 0.3  # the makers' shortest interval
STATUS_EVERY_S = 3.0  # "every few seconds"
STATUS_WHILE_BROKEN_EVERY_S = 1.0  # well inside the silence time: a module that says it is broken is not silent
HOLD_OFF_S = 5.0  # a card swapped between two polls shows no 80; this long it may lie unnoticed
RETRY_UNREADABLE_S = 2.0  # it must be taken away and placed again; asking faster only heats it
TELL_UNREADABLE_AFTER = 2  # the first failure is usually a card still sliding into the field
TELL_REFUSALS_AFTER = 3  # one damaged request is a spark; three in a row are a bad cable


class IdCardDialect:
    """Keep the dialogue with one reader going: status, find, select, read.

    Call `feed` each turn, with b"" when nothing came, and then send what `due` returns. A card that stays is read once:
    after a good read nothing is reported until find has answered "no card", or another card lies there.
    """

    def __init__(self, *, silence_s: float = 3.0) -> None:
        self._codec = IdCardCodec()
        self._base_silence_s = silence_s
        self._grace_s = 0.0
        self._next = _Step.STATUS
        self._ask_at = 0.0
        self._asked: _Step | None = None
        self._expires_at = 0.0
        self._status_at = 0.0
        self._refusals = 0
        self._stale_bytes = 0
        self._served: CardReading | None = None
        self._forget_card()

    @property
    def silence_s(self) -> float:
        """Return how long the reader may say nothing valid: longer while it reads a card."""
        return self._base_silence_s + self._grace_s

    def due(self, now: float) -> bytes:
        """Return the request to send now, b"" while an answer is awaited or nothing is due."""
        if self._asked is not None or now < self._ask_at:
            return b""
        step = self._next
        if step is _Step.FIND and now >= self._status_at:
            step = _Step.STATUS
        # What is still held belongs to an earlier request: it must not be completed by the next person's card.
        self._stale_bytes += self._codec.held_bytes
        self._codec = IdCardCodec()
        self._asked = step
        self._expires_at = now + _ANSWER_WITHIN_S[step]
        if step is _Step.READ:
            self._grace_s = _ANSWER_WITHIN_S[step]
        return _REQUESTS[step]

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean; time itself is news, so b"" is worth feeding."""
        stale, self._stale_bytes = self._stale_bytes, 0
        readings: list[Reading] = [Junk(at_mono=now, byte_count=stale)] if stale else []
        readings += self._take(self._codec.feed(chunk), now)
        if self._asked is not None and now >= self._expires_at:
            readings += self._take(self._codec.give_up(), now)
        if self._asked is not None and now >= self._expires_at:
            readings += self._no_answer(now)
        return readings

    def _take(self, events: list[Answer | Dropped], now: float) -> list[Reading]:
        readings: list[Reading] = []
        for event in events:
            if isinstance(event, Dropped):
                readings.append(Junk(at_mono=now, byte_count=event.byte_count))
            else:
                readings += self._heard(event, now)
        return readings

    def _heard(self, answer: Answer, now: float) -> list[Reading]:
        step = self._asked
        if step is None or not _fits(step, answer):
            # No sign of life: a module that only ever says what was not asked must not pass for a well one.
            return [Junk(at_mono=now, byte_count=LEAST_FRAME_BYTES + len(answer.data))]
        self._asked = None
        self._grace_s = 0.0
        if answer.status in MODULE_BROKEN:
            self._go(_Step.STATUS, now + STATUS_WHILE_BROKEN_EVERY_S)
            return [Trouble(at_mono=now, symptom=Symptom.SELF_TEST, detail=_words(answer, MODULE_BROKEN))]
        if step is _Step.STATUS or step is _Step.FIND:
            if answer.status in REQUEST_REFUSED:
                return self._request_refused(answer, now)
            return self._status_good(now) if step is _Step.STATUS else self._found(answer, now)
        if answer.status != DONE:
            return self._card_failed(_words(answer, CARD_REFUSED | REQUEST_REFUSED), now)
        if step is _Step.SELECT:
            self._go(_Step.READ, now)
            return [Sign(at_mono=now, detail="card selected")]
        return self._card_read(answer, now)

    def _status_good(self, now: float) -> list[Reading]:
        self._status_at = now + STATUS_EVERY_S
        self._go(_Step.FIND, now)
        # While find is refused again and again, a good status must not make the reader look well.
        return [Sign(at_mono=now, detail="status good")] if self._refusals < TELL_REFUSALS_AFTER else []

    def _request_refused(self, answer: Answer, now: float) -> list[Reading]:
        self._refusals += 1
        self._go(_Step.STATUS, now + FIND_EVERY_S)
        if self._refusals < TELL_REFUSALS_AFTER:
            return []
        return [Trouble(at_mono=now, symptom=Symptom.NOISE, detail=_words(answer, REQUEST_REFUSED))]

    def _found(self, answer: Answer, now: float) -> list[Reading]:
        self._refusals = 0
        self._go(_Step.FIND, now + FIND_EVERY_S)
        if answer.status == NO_CARD:
            # Some readers answer "no card" to a card they failed to read: this is the last moment to tell.
            untold = self._last_failure if self._failures and not self._told else ""
            self._forget_card()
            return [_unreadable(untold, now)] if untold else [Sign(at_mono=now, detail="no card")]
        if now < self._hold_until:
            return [Sign(at_mono=now, detail="card still there")]
        self._go(_Step.SELECT, now)
        return [Sign(at_mono=now, detail="card found")]

    def _card_read(self, answer: Answer, now: float) -> list[Reading]:
        card = card_of(answer.data, at_mono=now)
        if card is None:
            return self._card_failed("answer lengths do not add up", now)
        self._go(_Step.FIND, now + FIND_EVERY_S)
        self._failures, self._told = 0, False
        self._hold_until = now + HOLD_OFF_S
        same = self._served is not None and replace(card, at_mono=self._served.at_mono) == self._served
        self._served = card
        return [Sign(at_mono=now, detail="same card still there")] if same else [card]

    def _card_failed(self, detail: str, now: float, *, times: int = 1) -> list[Reading]:
        self._go(_Step.FIND, now + FIND_EVERY_S)
        self._failures += times
        self._last_failure = detail
        if self._failures < TELL_UNREADABLE_AFTER:
            return [Sign(at_mono=now, detail="card failed once")]
        self._hold_until = now + RETRY_UNREADABLE_S
        if self._told:
            return [Sign(at_mono=now, detail="card still unreadable")]
        self._told = True
        return [_unreadable(detail, now)]

    def _no_answer(self, now: float) -> list[Reading]:
        """Go back to status: the only request whose answer looks like no other."""
        step, self._asked = self._asked, None
        readings: list[Reading] = []
        if step is _Step.READ:  # it waited long enough for two tries
            readings = self._card_failed("no answer to read", now, times=TELL_UNREADABLE_AFTER)
            readings = [reading for reading in readings if isinstance(reading, Trouble)]  # silence is no sign of life
        self._go(_Step.STATUS, now)
        return readings

    def _forget_card(self) -> None:
        self._served = None
        self._hold_until = 0.0
        self._failures = 0
        self._told = False
        self._last_failure = ""

    def _go(self, step: _Step, at: float) -> None:
        self._next, self._ask_at = step, at


def _fits(step: _Step, answer: Answer) -> bool:
    """Tell whether the answer can belong to this request: a late one mostly cannot."""
    if answer.status in MODULE_BROKEN or answer.status in REQUEST_REFUSED:
        return True
    size = len(answer.data)
    if step is _Step.STATUS:
        return answer.status == DONE and size == 0
    if step is _Step.FIND:
        return answer.status in (CARD_FOUND, NO_CARD)
    if answer.status == DONE:
        return 0 < size < TEXT_BYTES if step is _Step.SELECT else size >= TEXT_BYTES
    # Any other word, known or not, is a failure of this card, except words that belong to other requests.
    return size == 0 and answer.status not in _NEVER_ANSWERS[step]


def _unreadable(detail: str, now: float) -> Trouble:
    return Trouble(at_mono=now, symptom=Symptom.CARD_UNREADABLE, detail=detail)


def _words(answer: Answer, meanings: Mapping[int, str]) -> str:
    words = f"SW3 {answer.status:02X}: {meanings.get(answer.status, 'unknown')}"
    return f"{words} (card says {answer.card_status:04X})" if answer.card_status else words
