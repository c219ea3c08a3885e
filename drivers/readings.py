"""Name what devices say: a card, a temperature, a code, a distance, a frame, a passage through the barrier, a trouble.

Frozen values and nothing else, so that the rules of the gate may import this page without a device in the house.
Standard library only. `at_mono` is always `time.monotonic()` seconds at the moment the last byte arrived.
"""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any


class CardKind(StrEnum):
    """The forms of card that the SAM reader family delivers; see device-protocols 1.8."""

    RESIDENT = "resident"
    HMT_PERMIT = "hmt-permit"  # residence permit for Hong Kong, Macao and Taiwan residents, letter J
    FOREIGNER_2017 = "foreigner-2017"  # letter I
    FOREIGNER_2023 = "foreigner-2023"  # letter Y
    UNKNOWN = "unknown"  # a letter we do not know: shown, never rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class CardReading:
    """One card as read from its chip. Its repr never shows a person: logs cannot leak what they do not hold."""

    at_mono: float
    kind: CardKind
    letter: str = ""  # of the kind, as it is on the chip; empty on resident cards
    number: str = field(repr=False)
    number_ok: bool  # the check digit holds (always true for kinds whose rule is not published)
    birth_ok: bool = True  # the birth date inside the number is the one in its own field, where both are readable
    name: str = field(repr=False)
    name_latin: str = field(default="", repr=False)
    sex_code: str = ""
    ethnic_code: str = ""
    birth: date | None = field(default=None, repr=False)
    address: str = field(default="", repr=False)
    authority: str = field(default="", repr=False)
    nationality: str = ""
    valid_from: date | None = None
    valid_until: date | None = None  # None with `long_term` set: no end; None without: unreadable
    long_term: bool = False
    permit_number: str = field(default="", repr=False)  # of the travel permit that an HMT permit goes with
    issue_count: str = ""  # how often it was issued (HMT) or replaced (2023 form)
    version: str = ""  # of the 2017 form
    earlier_link: str = field(default="", repr=False)  # 2023 form: the link to the holder's earlier number
    later_addresses: tuple[str, ...] = field(default=(), repr=False)  # newest first; `address` is the printed one
    photo: bytes = field(default=b"", repr=False)  # 1024 bytes, WLT, passed on unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalReading:
    """What a thermal sensor measured: a picture of temperatures, or a single point (1 x 1).

    Shape: `celsius` has `width * height` values, row by row from the upper left as the camera sees the scene.
    Unit: °C; NaN where the sensor reports a pixel, or the ambient temperature, that it could not measure.
    `why_invalid` is empty when the values can be trusted, else a word that says why they must not be used.
    """

    at_mono: float
    width: int
    height: int
    celsius: tuple[float, ...] = field(repr=False)
    ambient_celsius: float
    why_invalid: str = ""

    @property
    def is_point(self) -> bool:
        """Whether this is one figure for all that the sensor sees, not a picture."""
        return self.width * self.height == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReading:
    """What a scanner read: the bytes of one code without terminator. Its repr shows the size only."""

    at_mono: float
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceReading:
    """How far away the nearest thing in the beam is; None when nothing is near enough to be measured. Unit: mm."""

    at_mono: float
    distance_mm: int | None
    strength: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceReading:
    """Whether the radar sees somebody who moves or stands still, and how far away the nearer of them is. Unit: mm."""

    at_mono: float
    moving: bool
    still: bool
    distance_mm: int | None = None

    @property
    def somebody(self) -> bool:
        """Whether anybody is there."""
        return self.moving or self.still


@dataclass(frozen=True, slots=True, kw_only=True)
class InfraredReading:
    """What the infrared camera saw. Unit: grey levels 0 to 255; `contrast` is their standard deviation."""

    at_mono: float
    level: float
    contrast: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One camera picture. Shape: `pixels` is uint8[height, width, 3], BGR as OpenCV delivers it."""

    at_mono: float
    pixels: Any = field(repr=False)


class Symptom(StrEnum):
    """What is wrong with a device, in words that appear in the ledger, on the page and in `sentinelctl`."""

    # The device does not do its work.
    LOST = "lost"  # the port or the device is gone (unplugged, closed, no such file)
    SILENT = "silent"  # the port is open and nothing valid came for the device's silence time
    NOISE = "noise"  # bytes arrive, but they are no frames of this device
    REFUSED = "refused"  # the device answers that it will not do what it is asked
    SELF_TEST = "self-test"  # the device says of itself that it is broken
    MISCONFIGURED = "misconfigured"  # the device works in a way that gives no readings
    IMPLAUSIBLE = "implausible"  # frames are whole and their values cannot be true
    WARMING_UP = "warming-up"  # the sensor is not stable yet
    FROZEN = "frozen"  # the same picture or the same value again and again
    DARK = "dark"  # the camera delivers pictures and sees nothing: covered, or no light
    OVEREXPOSED = "overexposed"  # too much light for the camera or the receiver
    BLURRED = "blurred"  # nothing in the picture has an edge: a dirty or misted lens, or out of focus
    BLOCKED = "blocked"  # something stands close before the lens
    NOT_MOVING = "not-moving"  # the relay was told to move, and its read-back says it did not
    JAMMED = "jammed"  # the relay moved and the leaf did not
    HELD_OPEN = "held-open"  # the leaf stands open though nobody has the right to pass
    STUCK = "stuck"  # an input is active all the time

    # The device does its work, and somebody should look at it; see WORKING.
    DIRTY = "dirty"  # bytes that are no frames lie between the good ones
    MOVED = "moved"  # the camera looks elsewhere than it did
    DEAD_PIXELS = "dead-pixels"  # single pixels of the sensor are broken
    PHANTOM = "phantom"  # presence is reported for long and nobody is ever seen
    CALIBRATION_DUE = "calibration-due"

    # What was shown cannot be read; the device is well.
    CARD_UNREADABLE = "card-unreadable"  # a card lies there and cannot be read: take it away and place it again
    CODE_UNREADABLE = "code-unreadable"  # a code was seen and is no text that could be a pass


WORKING = frozenset({
    Symptom.DIRTY, Symptom.MOVED, Symptom.DEAD_PIXELS, Symptom.PHANTOM, Symptom.CALIBRATION_DUE,
})  # fmt: skip
"""Symptoms of a device that goes on doing its work: told as an Impairment, not as a Trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A device is not well. `detail` is for the maintainer and holds no personal data."""

    at_mono: float
    symptom: Symptom
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """The device works and something about it is not right; `over` when it has become right again. See WORKING."""

    at_mono: float
    symptom: Symptom
    detail: str = ""
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the device says it is: its number, model or firmware. For the maintainer; no personal data."""

    at_mono: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """The device answered validly, with nothing to report (no card on the reader). Proof of life, nothing more."""

    at_mono: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Junk:
    """Bytes that belong to no frame were dropped; counted, never interpreted."""

    at_mono: float
    byte_count: int


class Leaf(StrEnum):
    """Which way a person is let through."""

    IN = "in"
    OUT = "out"


class BarrierEventKind(StrEnum):
    """What the barrier's own wires say."""

    PASSED = "passed"  # one person went through, and had the right to
    TIMED_OUT = "timed-out"  # a right lapsed: nobody went through in time
    INTRUSION = "intrusion"  # the pass sensor fired without a right: tail-gating or a forced leaf
    TAILGATE = "tailgate"  # the gate's own sensor says that a second person followed
    FORCED = "forced"  # the leaf left its closed position and nobody had the right to pass
    HELD_OPEN = "held-open"  # the leaf stands open longer than a passage may last
    CLOSED = "closed"  # after FORCED or HELD_OPEN: the leaf is closed again
    KEY_SWITCH = "key-switch"  # somebody opened by the key switch or release button, past the software
    EXIT_BUTTON = "exit-button"  # somebody inside asks to be let out
    FIRE_ON = "fire-on"
    FIRE_OFF = "fire-off"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarrierEvent:
    """One event on the barrier's wires."""

    at_mono: float
    kind: BarrierEventKind
    leaf: Leaf = Leaf.IN


Reading = (
    CardReading
    | ThermalReading
    | CodeReading
    | DistanceReading
    | PresenceReading
    | InfraredReading
    | Trouble
    | Impairment
    | Identity
    | Sign
    | Junk
    | BarrierEvent
)
