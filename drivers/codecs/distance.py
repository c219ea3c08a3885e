"""Read the laser distance sensors TFmini, TFmini-S, TFmini Plus and TF-Luna: a hundred frames of nine bytes a second.

Source: device-protocols 4.1. Temperature and the first TFmini's mode byte lie in the same places and are not used.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder
from drivers.readings import DistanceReading, Identity, Junk, Reading, Sign, Symptom, Trouble

HEAD = bytes.fromhex("59 59")  # both distance bytes can be 59 too: only the sum tells where a frame begins
COMMAND_HEAD = 0x5A
FRAME_BYTES = 9
LONGEST_BYTES = FRAME_BYTES  # the answers are shorter
LEAST_ANSWER_BYTES = 5
LONGEST_ANSWER_BYTES = 8
VERSION, RATE, MEASURE, UNIT, BAUD, OUTPUT, FACTORY, KEEP = 0x01, 0x03, 0x04, 0x05, 0x06, 0x07, 0x10, 0x11
UNIT_CODES = {"cm": 1, "mm": 6}

WEAK_STRENGTH = 100  # below it the makers do not trust the distance
SATURATED = 0xFFFF
ERRORS = (0, 0xFFFF, 0xFFFE, 0xFFFC)  # which of them is used differs by model
TOO_BRIGHT = 0xFFFC
FARTHEST_MM = 12_000  # of the whole family; a TF-Luna ends at 8 m
READING_EVERY_S = 0.1  # a person walks 14 cm in that time
LASTS_S = 3.0  # a hand before the lens is no trouble
TROUBLE_EVERY_S = 1.0
NO_FRAME_S = 1.0  # the slowest useful rate is a few frames a second
ASK_EVERY_S = 1.0
INSTANT_S = 1e-9  # sums of turns of 0.05 s miss their end by less
ASK_TIMES = 3  # the first TFmini has no such command
MEANINGS = {
    Symptom.BLOCKED: "no light comes back at all: something covers the lens, or it is broken",
    Symptom.OVEREXPOSED: "the receiver is saturated: sunlight, or a mirror before it",
    Symptom.IMPLAUSIBLE: "the signal is strong and the distance is an error or out of range",
    Symptom.MISCONFIGURED: "it answers and sends no frames: output is off or on trigger only",
}


def version_command() -> bytes:
    """Return the question for the firmware version."""
    return command(VERSION)


def rate_command(rate_hz: int) -> bytes:
    """Return the command for so many frames a second; 0 for frames on trigger only. Raises: ValueError."""
    if not 0 <= rate_hz <= 1000:
        raise ValueError(f"rate {rate_hz} Hz: expected 0 to 1000")
    return command(RATE, rate_hz.to_bytes(2, "little"))


def measure_command() -> bytes:
    """Return the command that triggers one frame."""
    return command(MEASURE)


def unit_command(unit: str) -> bytes:
    """Return the command for frames in "cm" or "mm". Raises: KeyError for another unit."""
    return command(UNIT, bytes([UNIT_CODES[unit]]))


def output_command(on: bool) -> bytes:
    """Return the command that starts or stops the frames."""
    return command(OUTPUT, bytes([on]))


def baud_command(baud: int) -> bytes:
    """Return the command for another line speed."""
    return command(BAUD, baud.to_bytes(4, "little"))


def factory_command() -> bytes:
    """Return the command that restores the settings of the works."""
    return command(FACTORY)


def save_command() -> bytes:
    """Return the command that keeps all settings over the next power cycle."""
    return command(KEEP)


def command(number: int, data: bytes = b"") -> bytes:
    """Return a command or, since they look alike, an answer."""
    return _summed(bytes([COMMAND_HEAD, len(data) + 4, number]) + data)


def encode_frame(distance: int, strength: int, *, celsius: float = 36.0) -> bytes:
    """Return one frame. Unit: the distance in the sensor's unit, or one of its error values."""
    raw = round((celsius + 256) * 8)
    return _summed(HEAD + b"".join(value.to_bytes(2, "little") for value in (distance, strength, raw)))


def _summed(body: bytes) -> bytes:
    return body + bytes([sum(body) & 0xFF])


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame as it was sent: the distance in the sensor's unit, or one of its error values."""

    distance: int
    strength: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The sensor's answer to a command."""

    number: int
    data: bytes


class DistanceCodec:
    """Turn the sensor's bytes into frames, answers and junk."""

    def __init__(self) -> None:
        self._finder = FrameFinder(head=b"", longest_bytes=LONGEST_BYTES, judge=_judge)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._finder.held_bytes

    def feed(self, chunk: bytes) -> list[Frame | Answer | Dropped]:
        """Return what the bytes hold, in the order of the wire."""
        return [found if isinstance(found, Dropped) else _parsed(found) for found in self._finder.feed(chunk)]


def _judge(held: bytearray) -> int | None:
    if held[0] == HEAD[0]:
        size = FRAME_BYTES
        if len(held) > 1 and held[1] != HEAD[1]:
            return NO_FRAME
    elif held[0] == COMMAND_HEAD:
        if len(held) < 2:
            return WAIT
        size = held[1]
        if not LEAST_ANSWER_BYTES <= size <= LONGEST_ANSWER_BYTES:
            return NO_FRAME
    else:
        return NO_FRAME
    if len(held) < size:
        return WAIT
    return size if sum(held[: size - 1]) & 0xFF == held[size - 1] else NO_FRAME


def _parsed(found: bytes) -> Frame | Answer:
    if found[0] == COMMAND_HEAD:
        return Answer(number=found[2], data=found[3:-1])
    return Frame(distance=int.from_bytes(found[2:4], "little"), strength=int.from_bytes(found[4:6], "little"))


class TfLunaDialect:
    """Listen to one sensor, ten readings a second. Its version is asked for at the start, and when frames stop.

    `unit` is what its frames count in: "cm", as from the works, or "mm".
    """

    SPEEDS: ClassVar[tuple[int, ...]] = (115200, 9600, 57600, 19200, 38400, 230400, 460800, 921600)

    def __init__(self, *, unit: str = "cm", silence_s: float = 3.0) -> None:
        self.silence_s = silence_s
        self._unit_mm = {"cm": 10, "mm": 1}[unit]
        self._codec = DistanceCodec()
        self._frame_at: float | None = None  # the last good frame; before the first, when the line was opened
        self._asked_at = -math.inf
        self._asked = 0
        self._known = False
        self._reading_at = -math.inf
        self._wrong: Symptom | None = None
        self._wrong_since = self._told_at = -math.inf

    def due(self, now: float) -> bytes:
        """Return the question for the version; while no frames come, the command that starts them as well."""
        if self._frame_at is None:
            self._frame_at = now
        missing = now - self._frame_at >= NO_FRAME_S
        if now - self._asked_at < ASK_EVERY_S or not (missing or (not self._known and self._asked < ASK_TIMES)):
            return b""
        self._asked_at = now
        self._asked += 1
        return output_command(True) + version_command() if missing else version_command()

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean: of the frames in them no more than the newest."""
        readings: list[Reading] = []
        newest: Frame | None = None
        for found in self._codec.feed(chunk):
            match found:
                case Dropped():
                    readings.append(Junk(at_mono=now, byte_count=found.byte_count))
                case Answer():
                    readings += self._answered(found, now)
                case Frame():
                    newest = found
        return readings + self._seen(newest, now) if newest else readings

    def _answered(self, answer: Answer, now: float) -> list[Reading]:
        if answer.number != VERSION or len(answer.data) != 3 or now - self._asked_at > ASK_EVERY_S:
            return []  # of other commands, or the remains of frames: no sign of life
        readings: list[Reading] = []
        if not self._known:
            self._known = True
            version = ".".join(str(part) for part in reversed(answer.data))
            readings.append(Identity(at_mono=now, text=f"TF series, version {version}"))
        if self._frame_at is not None and now - self._frame_at >= NO_FRAME_S:
            readings.append(_trouble(Symptom.MISCONFIGURED, now))
        return readings

    def _seen(self, frame: Frame, now: float) -> list[Reading]:
        self._frame_at = now
        wrong = self._wrong_with(frame)
        if wrong is not self._wrong:
            self._wrong, self._wrong_since = wrong, now
        if wrong is not None and now - self._wrong_since >= LASTS_S:
            if now - self._told_at < TROUBLE_EVERY_S:
                return []
            self._told_at = now
            return [_trouble(wrong, now)]
        if now - self._reading_at < READING_EVERY_S - INSTANT_S:
            return [Sign(at_mono=now, detail="frame")]
        self._reading_at = now
        trusted = wrong is None and frame.strength >= WEAK_STRENGTH
        distance_mm = frame.distance * self._unit_mm if trusted else None
        return [DistanceReading(at_mono=now, distance_mm=distance_mm, strength=frame.strength)]

    def _wrong_with(self, frame: Frame) -> Symptom | None:
        """Return what is wrong should it last: each of these is normal for a moment."""
        if frame.strength == 0:
            return Symptom.BLOCKED
        if frame.strength == SATURATED:
            return Symptom.OVEREXPOSED
        if frame.strength < WEAK_STRENGTH:
            return None  # an empty room
        if frame.distance == TOO_BRIGHT:
            return Symptom.OVEREXPOSED
        far = frame.distance * self._unit_mm > FARTHEST_MM
        return Symptom.IMPLAUSIBLE if far or frame.distance in ERRORS else None


def _trouble(symptom: Symptom, now: float) -> Trouble:
    return Trouble(at_mono=now, symptom=symptom, detail=MEANINGS[symptom])
