"""Read the presence radar HLK-LD2410: reports ten times a second, and answers while its configuration is open.

Source: device-protocols 4.2. There is no checksum: a frame is one whose head, length, marks and tail are all right.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar

from drivers.codecs.framing import NO_FRAME, WAIT, Dropped, FrameFinder
from drivers.readings import Identity, Junk, PresenceReading, Reading, Sign, Symptom, Trouble

REPORT_HEAD, REPORT_TAIL = bytes.fromhex("F4 F3 F2 F1"), bytes.fromhex("F8 F7 F6 F5")
COMMAND_HEAD, COMMAND_TAIL = bytes.fromhex("FD FC FB FA"), bytes.fromhex("04 03 02 01")
AROUND_BYTES = 10  # head, length and tail
BASIC, ENGINEERING = 0x02, 0x01
REPORT_DATA_BYTES = {BASIC: 13, ENGINEERING: 35}
REPORT_MARK, REPORT_END = 0xAA, bytes.fromhex("55 00")
LONGEST_ANSWER_DATA_BYTES = 40  # the parameters have 28
LONGEST_BYTES = AROUND_BYTES + LONGEST_ANSWER_DATA_BYTES
ANSWERED = 0x0100  # added to the code of the command
ENTER, LEAVE, PARAMETERS, ENGINEERING_ON, ENGINEERING_OFF, FIRMWARE = 0x00FF, 0x00FE, 0x0061, 0x0062, 0x0063, 0x00A0
SET_RANGE, SENSITIVITY, BAUD, FACTORY, RESTART, GATE_SIZE = 0x0060, 0x0064, 0x00A1, 0x00A2, 0x00A3, 0x00AA
BAUD_CODES = {9600: 1, 19200: 2, 38400: 3, 57600: 4, 115200: 5, 230400: 6, 256000: 7, 460800: 8}
NONE, MOVING, STILL, BOTH = 0, 1, 2, 3
MEASURING_NOISE = (4, 5, 6)  # the radar learns the empty room: under way, done, failed

ANSWER_WITHIN_S = 0.5
MISSING_S = 1.0  # ten reports
TELL_EVERY_S = 1.0
FIRMWARE_EVERY_S = 5.0
FIRMWARE_TIMES = 3
JUNK_RECENT_S = 2.0
MM_PER_CM = 10


def enter_command() -> bytes:
    """Return the command that opens the configuration; reports pause until it is left."""
    return command(ENTER, b"\x01\x00")


def leave_command() -> bytes:
    """Return the command that closes the configuration."""
    return command(LEAVE)


def firmware_command() -> bytes:
    """Return the question for the firmware."""
    return command(FIRMWARE)


def parameters_command() -> bytes:
    """Return the question for ranges, hold time and sensitivities."""
    return command(PARAMETERS)


def engineering_command(on: bool) -> bytes:
    """Return the command for reports with the energy of each gate; a restart ends them."""
    return command(ENGINEERING_ON if on else ENGINEERING_OFF)


def range_command(moving_gates: int, still_gates: int, hold_s: int) -> bytes:
    """Return the command for how many gates count, and how long presence outlasts the person."""
    return command(SET_RANGE, _words(moving_gates, still_gates, hold_s))


def sensitivity_command(gate: int, moving_percent: int, still_percent: int) -> bytes:
    """Return the command for the sensitivity of a gate, 0xFFFF for all."""
    return command(SENSITIVITY, _words(gate, moving_percent, still_percent))


def baud_command(baud: int) -> bytes:
    """Return the command for another line speed after the next restart. Raises: KeyError for an unknown one."""
    return command(BAUD, BAUD_CODES[baud].to_bytes(2, "little"))


def restart_command() -> bytes:
    """Return the command that starts the radar anew."""
    return command(RESTART)


def command(code: int, value: bytes = b"") -> bytes:
    """Return a command frame."""
    return _framed(COMMAND_HEAD, code.to_bytes(2, "little") + value, COMMAND_TAIL)


def encode_answer(code: int, *, status: int = 0, value: bytes = b"") -> bytes:
    """Return the radar's answer to a command."""
    return command(code | ANSWERED, status.to_bytes(2, "little") + value)


def encode_report(
    state: int, *, moving_cm: int = 0, moving_percent: int = 0, still_cm: int = 0, still_percent: int = 0,
    detection_cm: int = 0, gates: bytes = b"",
) -> bytes:  # fmt: skip
    """Return a report; one with `gates`, the 22 bytes that engineering adds, is an engineering report."""
    kind = ENGINEERING if gates else BASIC
    body = bytes([kind, REPORT_MARK, state])
    for distance_cm, percent in ((moving_cm, moving_percent), (still_cm, still_percent)):
        body += distance_cm.to_bytes(2, "little") + bytes([percent])
    return _framed(REPORT_HEAD, body + detection_cm.to_bytes(2, "little") + gates + REPORT_END, REPORT_TAIL)


def _framed(head: bytes, data: bytes, tail: bytes) -> bytes:
    return head + len(data).to_bytes(2, "little") + data + tail


def _words(*values: int) -> bytes:
    return b"".join(word.to_bytes(2, "little") + value.to_bytes(4, "little") for word, value in enumerate(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the radar feels. Unit: cm, and percent of the energy that counts. `gates` is what engineering adds."""

    state: int
    moving_cm: int
    moving_percent: int
    still_cm: int
    still_percent: int
    detection_cm: int
    gates: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The radar's answer to a command; status 0 is good."""

    code: int
    status: int
    value: bytes


class RadarCodec:
    """Turn the radar's bytes into reports, answers and junk."""

    def __init__(self) -> None:
        self._finder = FrameFinder(head=b"", longest_bytes=LONGEST_BYTES, judge=_judge)

    @property
    def held_bytes(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return self._finder.held_bytes

    def feed(self, chunk: bytes) -> list[Report | Answer | Dropped]:
        """Return what the bytes hold, in the order of the wire."""
        return [found if isinstance(found, Dropped) else _parsed(found) for found in self._finder.feed(chunk)]


def _judge(held: bytearray) -> int | None:
    head = bytes(held[:4])
    if head not in (REPORT_HEAD, COMMAND_HEAD):
        return WAIT if REPORT_HEAD.startswith(head) or COMMAND_HEAD.startswith(head) else NO_FRAME
    if len(held) < 8:
        return WAIT
    size = AROUND_BYTES + int.from_bytes(held[4:6], "little")
    report = head == REPORT_HEAD
    if report and (held[7] != REPORT_MARK or REPORT_DATA_BYTES.get(held[6]) != size - AROUND_BYTES):
        return NO_FRAME
    if not report and (held[7] != 1 or not 4 <= size - AROUND_BYTES <= LONGEST_ANSWER_DATA_BYTES):
        return NO_FRAME
    if held.find(head, 1, size) > 0:  # the rest was lost, and the next frame follows
        return NO_FRAME
    if len(held) < size:
        return WAIT
    if not report:
        return size if held[size - 4 : size] == COMMAND_TAIL else NO_FRAME
    return size if held[size - 6 : size] == REPORT_END + REPORT_TAIL else NO_FRAME


def _parsed(found: bytes) -> Report | Answer:
    data = found[6:-4]
    if found.startswith(COMMAND_HEAD):
        code = int.from_bytes(data[:2], "little") & ~ANSWERED
        return Answer(code=code, status=int.from_bytes(data[2:4], "little"), value=data[4:])
    return Report(
        state=data[2],
        moving_cm=int.from_bytes(data[3:5], "little"),
        moving_percent=data[5],
        still_cm=int.from_bytes(data[6:8], "little"),
        still_percent=data[8],
        detection_cm=int.from_bytes(data[9:11], "little"),
        gates=data[11:-2],
    )


def nearest_mm(report: Report) -> int | None:
    """Return how far away the nearer of those who are felt is, None when the radar does not say.

    The maker's own sample puts the distance of somebody who stands still where that of a moving one belongs, so a
    place that is empty is looked up in the others.
    """
    felt = [report.moving_cm] if report.state in (MOVING, BOTH) else []
    felt += [report.still_cm] if report.state in (STILL, BOTH) else []
    others = [report.detection_cm, report.moving_cm, report.still_cm] if felt else []
    known = [near for near in felt if near] or [near for near in others if near]
    return min(known) * MM_PER_CM if known else None


class _Step(Enum):
    REST = auto()
    ENTER = auto()
    FIRMWARE = auto()
    LEAVE = auto()


_REQUESTS = {_Step.ENTER: enter_command(), _Step.FIRMWARE: firmware_command(), _Step.LEAVE: leave_command()}
_CODES = {_Step.ENTER: ENTER, _Step.FIRMWARE: FIRMWARE, _Step.LEAVE: LEAVE}
_AFTER = {_Step.ENTER: _Step.FIRMWARE, _Step.FIRMWARE: _Step.LEAVE, _Step.LEAVE: _Step.REST}


class Ld2410Dialect:
    """Listen to one radar. Its firmware is asked for at the start; a configuration that was left open is closed.

    While the dialect itself has the configuration open no report should come, and one that does is not believed.
    A radar that feels somebody in an empty room cannot be told from here.
    """

    SPEEDS: ClassVar[tuple[int, ...]] = (256000, 115200, 57600, 9600, 460800)

    def __init__(self, *, silence_s: float = 3.0) -> None:
        self.silence_s = silence_s
        self._codec = RadarCodec()
        self._step = _Step.REST
        self._asked = False  # the step's request is out
        self._expires_at = -math.inf
        self._report_at: float | None = None  # the last good one; before the first, when the line was opened
        self._junk_at = -math.inf
        self._leave_at = -math.inf
        self._told_at = -math.inf
        self._firmware = ""
        self._firmware_at = -math.inf
        self._firmware_tries = 0

    def due(self, now: float) -> bytes:
        """Return the next request of the short conversation about the firmware, or the command to report again."""
        if self._report_at is None:
            self._report_at = now
        if self._step is not _Step.REST and self._asked and now >= self._expires_at:
            # Whatever was not answered: what may have been opened is closed, and then there is rest.
            self._go(_Step.REST if self._step is _Step.LEAVE else _Step.LEAVE)
        if self._step is _Step.REST:
            self._begin(now)
        if self._step is _Step.REST or self._asked:
            return b""
        self._asked = True
        self._expires_at = now + ANSWER_WITHIN_S
        return _REQUESTS[self._step]

    def _begin(self, now: float) -> None:
        missing = self._missing(now)
        if missing and now >= self._leave_at:
            self._leave_at = now + MISSING_S
            self._go(_Step.LEAVE)
        elif not missing and not self._firmware and now >= self._firmware_at and self._firmware_tries < FIRMWARE_TIMES:
            self._firmware_at = now + FIRMWARE_EVERY_S
            self._firmware_tries += 1
            self._go(_Step.ENTER)

    def feed(self, chunk: bytes, now: float) -> list[Reading]:
        """Return what the bytes mean."""
        readings: list[Reading] = []
        for found in self._codec.feed(chunk):
            match found:
                case Dropped():
                    self._junk_at = now
                    readings.append(Junk(at_mono=now, byte_count=found.byte_count))
                case Answer():
                    readings += self._answered(found, now)
                case Report():
                    readings += self._reported(found, now)
        return readings

    def _answered(self, answer: Answer, now: float) -> list[Reading]:
        if self._step is _Step.REST or answer.code != _CODES[self._step]:
            return []  # late, or somebody else's: no sign of life
        readings: list[Reading] = []
        if self._step is _Step.FIRMWARE and not answer.status and len(answer.value) == 8 and not self._firmware:
            self._firmware = _version(answer.value)
            readings.append(Identity(at_mono=now, text=f"LD2410 {self._firmware}"))
        if self._missing(now) and now - self._told_at >= TELL_EVERY_S - ANSWER_WITHIN_S:
            self._told_at = now
            readings.append(self._why_missing(now))
        self._go(_AFTER[self._step])
        return readings

    def _reported(self, report: Report, now: float) -> list[Reading]:
        if self._step is _Step.FIRMWARE or (self._step is _Step.LEAVE and not self._asked):
            size = AROUND_BYTES + REPORT_DATA_BYTES[ENGINEERING if report.gates else BASIC]
            return [Junk(at_mono=now, byte_count=size)]
        self._report_at = now
        if report.state in MEASURING_NOISE:
            return [Sign(at_mono=now, detail="learns the empty room")]
        if report.state > BOTH:
            return [Trouble(at_mono=now, symptom=Symptom.IMPLAUSIBLE, detail=f"unknown state {report.state}")]
        return [
            PresenceReading(
                at_mono=now,
                moving=report.state in (MOVING, BOTH),
                still=report.state in (STILL, BOTH),
                distance_mm=nearest_mm(report),
            )
        ]

    def _missing(self, now: float) -> bool:
        return self._report_at is not None and now - self._report_at >= MISSING_S

    def _why_missing(self, now: float) -> Trouble:
        if now - self._junk_at < JUNK_RECENT_S:
            detail = "it answers, and its reports are damaged; check speed and grounding"
            return Trouble(at_mono=now, symptom=Symptom.NOISE, detail=detail)
        detail = "it answers and does not report: its configuration stays open; switch it off and on"
        return Trouble(at_mono=now, symptom=Symptom.MISCONFIGURED, detail=detail)

    def _go(self, step: _Step) -> None:
        self._step, self._asked = step, False


def _version(value: bytes) -> str:
    """Return the firmware as the maker's tool shows it. Source: the maker's protocol sheet; one origin."""
    major, minor = value[3], value[2]
    return f"V{major:X}.{minor:02X}.{int.from_bytes(value[4:8], 'little'):08X}"
