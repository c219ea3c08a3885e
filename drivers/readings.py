"""Name what devices say: a card, a thermal field, a frame, a passage through the barrier, a trouble.

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
    number: str = field(repr=False)
    number_ok: bool  # the check digit holds (always true for kinds whose rule is not published)
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
    photo: bytes = field(default=b"", repr=False)  # 1024 bytes, WLT, passed on unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class ThermalField:
    """One picture of temperatures.

    Shape: `celsius` has `width * height` values, row by row from the upper left as the camera sees the scene.
    Unit: °C; NaN where the module reports a pixel it could not measure.
    """

    at_mono: float
    width: int
    height: int
    celsius: tuple[float, ...] = field(repr=False)
    ambient_celsius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One camera picture. Shape: `pixels` is uint8[height, width, 3], BGR as OpenCV delivers it."""

    at_mono: float
    pixels: Any = field(repr=False)


class Symptom(StrEnum):
    """What is wrong with a device, in words that appear in the ledger, on the page and in `sentinelctl`."""

    LOST = "lost"  # the port or the device is gone (unplugged, closed, no such file)
    SILENT = "silent"  # the port is open and nothing valid came for the device's silence time
    NOISE = "noise"  # bytes arrive, but they are no frames of this device
    SELF_TEST = "self-test"  # the device says of itself that it is broken
    DARK = "dark"  # the camera delivers pictures and sees nothing: covered, or no light
    FROZEN = "frozen"  # the camera delivers the same picture again and again
    CARD_UNREADABLE = "card-unreadable"  # a card lies there and cannot be read: take it away and place it again


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A device is not well. `detail` is for the maintainer and holds no personal data."""

    at_mono: float
    symptom: Symptom
    detail: str


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


class BarrierEventKind(StrEnum):
    """What the barrier's own wires say."""

    PASSED = "passed"  # one person went through, and had the right to
    TIMED_OUT = "timed-out"  # a right lapsed: nobody went through in time
    INTRUSION = "intrusion"  # the pass sensor fired without a right: tail-gating or a forced leaf
    FIRE_ON = "fire-on"
    FIRE_OFF = "fire-off"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarrierEvent:
    """One event on the barrier's wires."""

    at_mono: float
    kind: BarrierEventKind


Reading = CardReading | ThermalField | Trouble | Sign | Junk | BarrierEvent
