"""Read the codes of scanners that send bare text: the GM65 family, which also answers questions, and plain ones.

Source: device-protocols 3.1. drivers/codecs/gm65.py cuts the bytes; here is what depends on time.
"""

import math
from collections import deque
from typing import ClassVar

from drivers.codecs.framing import Dropped
from drivers.codecs.gm65 import Answer, Code, Event, Overlong, ScannerCodec, Unfinished, read_model_command
from drivers.readings import CodeReading, Identity, Junk, Reading, Sign, Symptom, Trouble

QUIET_S = 0.2  # a stream at 9600 baud has 1 ms between bytes; the reader looks every 50 ms
QUIET_ENDS_S = 0.1  # where quiet is the terminator
REST_S = 1.0  # the rest of a code that stalled must not become a code of its own
SAME_CODE_S = 1.0  # after the last sight of it; a continuous scanner reads a code three times a second
CODES_KEPT = 8  # two codes before one lens come in turns
CHECK_EVERY_S = 1.0
ANSWER_WITHIN_S = 0.5  # 9 + 7 bytes at 9600 baud are 17 ms; a unit that decodes answers late
DOUBT_AFTER_S = 2.2  # two checks without an answer
DOUBTED_CODE_BYTES = 8  # in noise so long a piece of ASCII comes once in hours
TROUBLE_EVERY_S = 1.0
NOISE_WITHIN_S = 3.0  # five different lines that are no text, in so short a time
UNFINISHED_CODE_BYTES = 4
UNFINISHED_LEAST = 2  # one code without terminator is a cut one, two are a setting
UNFINISHED_FOR_S = 60.0
INSTANT_S = 1e-9  # sums of turns of 0.05 s miss their end by less


class LineDialect:
    """Turn the codes of one scanner into readings: whole ones only, each once, and none that noise has made up."""

    SPEEDS: ClassVar[tuple[int, ...]] = (9600, 115200)

    def __init__(self, *, terminator: str = "cr", silence_s: float = math.inf) -> None:
        self.silence_s = silence_s
        self._codec = ScannerCodec(terminator=terminator)
        self._quiet_s = QUIET_ENDS_S if terminator == "none" else QUIET_S
        self._byte_at = -math.inf
        self._rest_until: float | None = None
        self._seen: dict[bytes, float] = {}
        self._garbled: deque[float] = deque(maxlen=5)
        self._unfinished: deque[float] = deque(maxlen=UNFINISHED_LEAST)
        self._told_at: float | None = None  # a standing trouble

    def due(self, _now: float) -> bytes:
        """Return nothing: a plain scanner is not spoken to."""
        return b""

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean; time itself is news, so b"" is worth feeding."""
        if self._rest_until is None:
            self._rest_until = now + QUIET_S  # the port may have been opened in the middle of a code
        quiet = self._codec.busy and now - self._byte_at >= self._quiet_s - INSTANT_S
        if chunk:
            # Quiet that nobody saw: the reader itself stood still, and what belongs together cannot be known.
            if quiet or (now < self._rest_until and not self._codec.busy):
                self._codec.skip()
            self._byte_at = now
        events = self._codec.quiet() if quiet and not chunk else self._codec.feed(chunk)
        return [*(reading for event in events for reading in self._told(event, now)), *self._standing(now)]

    def _told(self, event: Event, now: float) -> list[Reading]:
        match event:
            case Code():
                return self._code(event.content, now)
            case Unfinished():
                return self._unterminated(event.content, now)
            case Overlong():
                self._rest_until = now + REST_S
                detail = f"a code of {event.byte_count} bytes"
                return [Junk(at_mono=now, byte_count=event.byte_count), *self._unreadable(detail, now)]
            case Answer():
                return self._answered(event, now)
            case Dropped():
                return [Junk(at_mono=now, byte_count=event.byte_count)]

    def _code(self, content: bytes, now: float) -> list[Reading]:
        junk = Junk(at_mono=now, byte_count=len(content))
        if not _printable(content):
            if self._repeated(content, now):
                return [junk]
            self._garbled.append(now)
            return [junk, *self._unreadable("a code with control characters", now)]
        if self._doubtful(now) and not _is_text(content, DOUBTED_CODE_BYTES):
            return [junk]
        self._unfinished.clear()
        if self._repeated(content, now):
            return self._sign("same code again", now)
        return [CodeReading(at_mono=now, content=content)]

    def _unterminated(self, content: bytes, now: float) -> list[Reading]:
        self._rest_until = now + REST_S
        junk = Junk(at_mono=now, byte_count=len(content))
        least = DOUBTED_CODE_BYTES if self._doubtful(now) else UNFINISHED_CODE_BYTES
        if not (_printable(content) and _is_text(content, least)):
            return [junk]  # a few bytes of noise are nobody's code
        self._unfinished.append(now)
        return [junk, *self._unreadable("a code without its terminator", now)]

    def _unreadable(self, detail: str, now: float) -> list[Reading]:
        if self._doubtful(now):
            return []
        return [Trouble(at_mono=now, symptom=Symptom.CODE_UNREADABLE, detail=detail)]

    def _repeated(self, content: bytes, now: float) -> bool:
        recent = {code: at for code, at in self._seen.items() if now - at <= SAME_CODE_S}
        repeated = recent.pop(content, None) is not None
        self._seen = dict(list({**recent, content: now}.items())[-CODES_KEPT:])
        return repeated

    def _standing(self, now: float) -> list[Reading]:
        """Tell what lasts, again and again, and its end."""
        trouble = self._trouble(now)
        if trouble is None:
            if self._told_at is None:
                return []
            self._told_at = None
            return self._sign("well again", now)
        if self._told_at is not None and now - self._told_at < TROUBLE_EVERY_S:
            return []
        self._told_at = now
        return [trouble]

    def _trouble(self, now: float) -> Trouble | None:
        if len(self._unfinished) == UNFINISHED_LEAST and now - self._unfinished[-1] < UNFINISHED_FOR_S:
            detail = "codes come without their terminator; set the scanner to send CR after each code"
            return Trouble(at_mono=now, symptom=Symptom.MISCONFIGURED, detail=detail)
        return None

    def _sign(self, detail: str, now: float) -> list[Reading]:
        """Return a sign of life, unless it would end a trouble that lasts."""
        return [] if self._trouble(now) else [Sign(at_mono=now, detail=detail)]

    def _noisy(self, now: float) -> bool:
        return len(self._garbled) == self._garbled.maxlen and now - self._garbled[0] < NOISE_WITHIN_S

    def _doubtful(self, now: float) -> bool:
        return self._noisy(now)

    def _answered(self, _answer: Answer, _now: float) -> list[Reading]:
        return []


def _printable(content: bytes) -> bool:
    return not any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in content)


def _is_text(content: bytes, least_bytes: int) -> bool:
    return len(content) >= least_bytes and content.isascii()


class LineScannerDialect(LineDialect):
    """Listen to a plain scanner, which is silent until it reads a code and answers nothing.

    So nobody can tell a healthy one from a dead one: its silence time is endless, and besides a lost port only noise
    and codes without end are told. An open port counts as well.
    """

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean."""
        opened = [Sign(at_mono=now, detail="port open")] if self._rest_until is None else []
        return [*opened, *super().feed(chunk, now)]

    def _trouble(self, now: float) -> Trouble | None:
        if self._noisy(now):
            detail = "lines that are no text; check speed, grounding and kind of device"
            return Trouble(at_mono=now, symptom=Symptom.NOISE, detail=detail)
        return super()._trouble(now)


class Gm65Dialect(LineDialect):
    """Listen to a unit of the GM65 family, and ask for its model now and then: the answer is its sign of life.

    Nothing is written to the unit. While it does not answer, only what cannot be noise counts as a code.
    """

    def __init__(self, *, terminator: str = "cr", silence_s: float = 3.0) -> None:
        super().__init__(terminator=terminator, silence_s=silence_s)
        self._check_at = -math.inf
        self._expires_at: float | None = None  # of the answer that is awaited
        self._answered_at = -math.inf
        self._refusals = 0
        self._model: int | None = None

    def due(self, now: float) -> bytes:
        """Return the question for the model when it is time, never into a code that is arriving."""
        if self._expires_at is not None or now < self._check_at or self._codec.busy:
            return b""
        self._check_at = now + CHECK_EVERY_S
        self._expires_at = now + ANSWER_WITHIN_S
        self._codec.expect()
        return read_model_command()

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean."""
        readings = super().feed(chunk, now)
        if self._expires_at is None or now < self._expires_at:
            return readings
        self._expires_at = None
        return readings + [reading for event in self._codec.forget() for reading in self._told(event, now)]

    def _answered(self, answer: Answer, now: float) -> list[Reading]:
        self._expires_at = None
        self._answered_at = now
        self._refusals = self._refusals + 1 if answer.result else 0
        if answer.result:
            detail = f"the question for the model was answered {answer.result:02X}"
            trouble = Trouble(at_mono=now, symptom=Symptom.REFUSED, detail=detail)
            return [trouble] if self._refusals > 1 else []  # a printed code can look like one answer
        signs = self._sign("model answered", now)
        if answer.value in (0, self._model):  # an acknowledgement of something else carries 0
            return signs
        self._model = answer.value
        return [Identity(at_mono=now, text=f"GM65 family, model {answer.value:02X}"), *signs]

    def _doubtful(self, now: float) -> bool:
        return now - self._answered_at > DOUBT_AFTER_S or super()._doubtful(now)
