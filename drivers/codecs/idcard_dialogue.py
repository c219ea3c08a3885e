"""Keep the dialogue with an ID card reader going: which request follows which answer, and what the person is told.

The module never speaks first: one request, one answer. So the dialect holds one request at a time, and an answer that
does not fit it came too late and is dropped. Source: device-protocols 1.7.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from types import MappingProxyType
from typing import ClassVar

from drivers.codecs import idcard
from drivers.codecs.framing import Dropped
from drivers.codecs.idcard import (
    CARD_FOUND,
    CARD_REFUSED,
    DONE,
    HEAD_BYTES,
    LEAST_FRAME_BYTES,
    MODULE_BROKEN,
    MODULE_NUMBER_BYTES,
    NO_CARD,
    PHOTO_BYTES,
    REQUEST_REFUSED,
    SELECT_FAILED,
    SPEED_CODES,
    UNKNOWN_COMMAND,
    Answer,
    IdCardCodec,
    card_of,
    later_addresses_of,
    module_number_text,
    words_of,
)
from drivers.codecs.idcard_text import ADDRESS_BYTES, TEXT_BYTES
from drivers.readings import CardReading, Identity, Junk, Reading, Sign, Symptom, Trouble


class _Step(Enum):
    STATUS = "status"
    NUMBER = "module number"
    FIND = "find"
    SELECT = "select"
    READ = "read"
    READ_FINGERPRINT = "read with fingerprint"
    LATER = "later addresses"


_READS = (_Step.READ, _Step.READ_FINGERPRINT)
_REQUESTS: Mapping[_Step, bytes] = MappingProxyType(
    {
        _Step.STATUS: idcard.status_request(),
        _Step.NUMBER: idcard.module_number_request(),
        _Step.FIND: idcard.find_request(),
        _Step.SELECT: idcard.select_request(),
        _Step.READ: idcard.read_request(),
        _Step.READ_FINGERPRINT: idcard.read_fingerprint_request(),
        _Step.LATER: idcard.later_addresses_request(),
    }
)
READ_BEGINS_WITHIN_S = 4.9  # slow cards take 3 s, programs wait 3 to 5; a reader that died must be told within 5
_BEGINS_WITHIN_S: Mapping[_Step, float] = MappingProxyType(
    {
        _Step.STATUS: 1.0,  # programs in use wait 0.5 to 2 s
        _Step.NUMBER: 0.5,  # no card has a part in it
        _Step.FIND: 1.0,
        _Step.SELECT: 1.0,
        _Step.READ: READ_BEGINS_WITHIN_S,
        _Step.READ_FINGERPRINT: READ_BEGINS_WITHIN_S,
        _Step.LATER: 0.3,  # the person is known already and waits
    }
)
STALLED_S = 0.5  # USB delivers every 16 ms, a TCP bridge may lose a packet and send it again after 0.2 to 0.4 s
LONGEST_ANSWER_S = 2.5  # 2321 bytes at 9600 baud
_NEVER_ANSWERS: Mapping[_Step, tuple[int, ...]] = MappingProxyType(
    {
        _Step.SELECT: (CARD_FOUND, NO_CARD),
        _Step.READ: (CARD_FOUND, NO_CARD, SELECT_FAILED),
        _Step.READ_FINGERPRINT: (CARD_FOUND, NO_CARD, SELECT_FAILED),
        _Step.LATER: (CARD_FOUND, NO_CARD, SELECT_FAILED),
    }
)
FIND_EVERY_S = 0.3  # the makers' shortest interval
STATUS_EVERY_S = 3.0  # "every few seconds"
STATUS_WHILE_BROKEN_EVERY_S = 0.8  # told again every second, the answer's own time included
HOLD_OFF_S = 5.0  # a card swapped between two polls shows no 80; this long it may lie unnoticed
RETRY_UNREADABLE_S = 2.0  # it must be taken away and placed again; asking faster only heats it
TELL_UNREADABLE_AFTER = 2  # the first failure is usually a card still sliding into the field
TELL_REFUSALS_AFTER = 3  # one damaged request is a spark; three in a row are a bad cable


class IdCardDialect:
    """Keep the dialogue with one reader going: status, module number, find, select, read.

    Call `feed` each turn, with b"" when nothing came, and then send what `due` returns. A card that stays is read once:
    after a good read nothing is reported until find has answered "no card", or another card lies there.

    `fingerprint` asks for the longer read answer, as long as the reader knows it; the templates are left behind.
    `later_addresses` asks one question more for each card, which is told after the answer to it.
    """

    SPEEDS: ClassVar[tuple[int, ...]] = tuple(SPEED_CODES)

    def __init__(self, *, silence_s: float = 3.0, fingerprint: bool = False, later_addresses: bool = False) -> None:
        self._codec = IdCardCodec()
        self._base_silence_s = silence_s
        self._read = _Step.READ_FINGERPRINT if fingerprint else _Step.READ
        self._later_addresses = later_addresses
        self._grace_s = 0.0
        self._next = _Step.STATUS
        self._ask_at = 0.0
        self._asked: _Step | None = None
        self._asked_at = 0.0
        self._byte_at = 0.0  # when the answer last grew
        self._answer_bytes = 0
        self._status_at = 0.0
        self._refusals = 0
        self._identity = ""
        self._has_number = False
        self._number_failures = 0
        self._stale_bytes = 0
        self._served: CardReading | None = None
        self._pending: CardReading | None = None
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
        self._asked, self._asked_at, self._byte_at, self._answer_bytes = step, now, now, 0
        if step in _READS:
            self._grace_s = _BEGINS_WITHIN_S[step]
        return _REQUESTS[step]

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean; time itself is news, so b"" is worth feeding."""
        stale, self._stale_bytes = self._stale_bytes, 0
        readings: list[Reading] = [Junk(at_mono=now, byte_count=stale)] if stale else []
        if chunk:
            self._byte_at = now
            self._answer_bytes += len(chunk)
        readings += self._take(self._codec.feed(chunk), now)
        if self._overdue(now):
            readings += self._take(self._codec.give_up(), now)
            if self._overdue(now):  # nothing was hidden behind a false head
                readings += self._no_answer(now)
        return readings

    def _overdue(self, now: float) -> bool:
        """Tell whether the answer will not come: it did not begin in time, or it began and stopped."""
        if self._asked is None:
            return False
        stalled = now - self._byte_at >= STALLED_S
        if stalled and self._answer_bytes >= HEAD_BYTES:
            return True
        begins_by = self._asked_at + _BEGINS_WITHIN_S[self._asked]
        growing = self._codec.held_bytes >= HEAD_BYTES and not stalled
        return now >= begins_by and not (growing and now < begins_by + LONGEST_ANSWER_S)

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
            self._answer_bytes = 0
            return [Junk(at_mono=now, byte_count=LEAST_FRAME_BYTES + len(answer.data))]
        self._asked = None
        self._grace_s = 0.0
        if step is _Step.LATER:
            return self._later_heard(answer, now)
        if answer.status in MODULE_BROKEN:
            return self._broken(answer, now)
        if step is _Step.NUMBER:
            return self._number_heard(answer, now)
        if step is _Step.STATUS or step is _Step.FIND:
            if answer.status in REQUEST_REFUSED:
                return self._request_refused(answer, now)
            return self._status_good(now) if step is _Step.STATUS else self._found(answer, now)
        if step is _Step.READ_FINGERPRINT and answer.status == UNKNOWN_COMMAND:
            self._go(_Step.READ, now)  # the card is still selected; only if this works is the command to blame
            return [Sign(at_mono=now, detail="no fingerprint command")]
        if answer.status != DONE:
            return self._card_failed(words_of(answer, CARD_REFUSED | REQUEST_REFUSED), now)
        if step is _Step.SELECT:
            self._go(self._read, now)
            return [Sign(at_mono=now, detail="card selected")]
        return self._card_read(step, answer, now)

    # — the module —

    def _broken(self, answer: Answer, now: float) -> list[Reading]:
        self._go(_Step.STATUS, now + STATUS_WHILE_BROKEN_EVERY_S)
        return [Trouble(at_mono=now, symptom=Symptom.SELF_TEST, detail=words_of(answer, MODULE_BROKEN))]

    def _status_good(self, now: float) -> list[Reading]:
        self._status_at = now + STATUS_EVERY_S
        self._go(_Step.NUMBER, now)
        return self._sign("status good", now)

    def _number_heard(self, answer: Answer, now: float) -> list[Reading]:
        # A reader that never had the command is well without it; one that has lost it is not.
        unsupported = answer.status == UNKNOWN_COMMAND and not self._has_number
        if answer.status != DONE and not unsupported:
            return self._number_failed(words_of(answer, REQUEST_REFUSED), now, again_s=FIND_EVERY_S)
        text = "module without a number" if unsupported else f"module {module_number_text(answer.data)}"
        news, self._identity = text != self._identity, text
        self._has_number = not unsupported
        self._number_failures = 0
        self._go(_Step.FIND, now)
        return [Identity(at_mono=now, text=text)] if news else self._sign("module number good", now)

    def _number_failed(self, detail: str, now: float, *, again_s: float) -> list[Reading]:
        """Ask again, status first; a module that says it is good and cannot tell its number is not good."""
        self._number_failures += 1
        self._go(_Step.STATUS, now + again_s)
        if self._number_failures < TELL_REFUSALS_AFTER:
            return []
        return [Trouble(at_mono=now, symptom=Symptom.SELF_TEST, detail=f"status good, module number fails: {detail}")]

    def _request_refused(self, answer: Answer, now: float) -> list[Reading]:
        self._refusals += 1
        self._go(_Step.STATUS, now + FIND_EVERY_S)
        if self._refusals < TELL_REFUSALS_AFTER:
            return []
        return [Trouble(at_mono=now, symptom=Symptom.REFUSED, detail=words_of(answer, REQUEST_REFUSED))]

    def _sign(self, detail: str, now: float) -> list[Reading]:
        """Return a sign of life, unless the module is in trouble: a good word in between must not make it look well."""
        ill = max(self._refusals, self._number_failures) >= TELL_REFUSALS_AFTER
        return [] if ill else [Sign(at_mono=now, detail=detail)]

    # — the card —

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

    def _card_read(self, step: _Step, answer: Answer, now: float) -> list[Reading]:
        card = card_of(answer.data, at_mono=now)
        if card is None:
            return self._card_failed("answer lengths do not add up", now)
        self._read = step  # what the reader has just done it can do
        self._go(_Step.FIND, now + FIND_EVERY_S)
        self._failures, self._told = 0, False
        self._hold_until = now + HOLD_OFF_S
        same = self._served is not None and replace(card, at_mono=self._served.at_mono) == self._served
        self._served = card
        if same:
            return [Sign(at_mono=now, detail="same card still there")]
        if not self._later_addresses:
            return [card]
        self._pending = card
        self._go(_Step.LATER, now)
        return [Sign(at_mono=now, detail="card read")]

    def _later_heard(self, answer: Answer, now: float) -> list[Reading]:
        readings = self._tell_pending(later_addresses_of(answer))
        self._go(_Step.FIND, now + FIND_EVERY_S)
        return readings + (self._broken(answer, now) if answer.status in MODULE_BROKEN else [])

    def _tell_pending(self, later_addresses: tuple[str, ...]) -> list[Reading]:
        card, self._pending = self._pending, None
        return [] if card is None else [replace(card, later_addresses=later_addresses)]

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
        if step is _Step.NUMBER:
            return self._number_failed("no answer", now, again_s=0.0)
        readings: list[Reading] = []
        if step is _Step.LATER:
            readings = self._tell_pending(())
        elif step in _READS:
            begun = self._answer_bytes >= HEAD_BYTES  # a torn answer may be read whole at once; a mute card waited long
            detail, times = ("answer to read torn", 1) if begun else ("no answer to read", TELL_UNREADABLE_AFTER)
            readings = self._card_failed(detail, now, times=times)
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
    if step is _Step.NUMBER:
        return answer.status == DONE and size == MODULE_NUMBER_BYTES
    if step is _Step.FIND:
        return answer.status in (CARD_FOUND, NO_CARD)
    if answer.status == DONE:
        return _data_fits(step, size)
    # Any other word, known or not, is a failure of this card, except words that belong to other requests.
    return size == 0 and answer.status not in _NEVER_ANSWERS[step]


def _data_fits(step: _Step, size: int) -> bool:
    if step is _Step.SELECT:
        return 0 < size < ADDRESS_BYTES and size != MODULE_NUMBER_BYTES
    if step is _Step.LATER:
        return 0 < size < TEXT_BYTES + PHOTO_BYTES and size % ADDRESS_BYTES == 0
    return size >= TEXT_BYTES


def _unreadable(detail: str, now: float) -> Trouble:
    return Trouble(at_mono=now, symptom=Symptom.CARD_UNREADABLE, detail=detail)
