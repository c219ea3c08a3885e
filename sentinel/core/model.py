"""Say what the gate thinks in: a person, an attempt to pass, the policy of the site, the decision.

Source: the words of guards, not of databases. All frozen; times are `at_mono` seconds of the monotonic clock.
"""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from drivers.readings import CardReading
from recognition.readings import FaceReading


class Profile(StrEnum):
    """Which credentials open this lane by themselves. Face is never the only way in: a card is always accepted."""

    CARD_AND_FACE = "card+face"  # the card's holder must stand before the camera
    FACE = "face"  # a known face opens; so does a resident's card
    CARD = "card"  # a resident's card opens; the camera is not asked


class Outcome(StrEnum):
    """What the gate does with an attempt."""

    OPEN = "open"
    REFUSE = "refuse"  # this credential is not valid here; staff can still register the person
    HOLD = "hold"  # the machine cannot judge: staff look


class Method(StrEnum):
    """By which credential a passage was judged."""

    CARD = "card"
    FACE = "face"
    CARD_AND_FACE = "card+face"
    MANUAL = "manual"
    FIRE = "fire"
    NONE = "none"  # nothing usable was shown


class Reason(StrEnum):
    """Why. Every reason has a text for residents and one for staff in zh-CN and en, see `sentinel/i18n/`."""

    ACCEPTED = "accepted"
    FIRE = "fire"
    CARD_EXPIRED = "card-expired"
    CARD_NOT_YET_VALID = "card-not-yet-valid"
    CARD_DATES_UNREADABLE = "card-dates-unreadable"
    CARD_NUMBER_INVALID = "card-number-invalid"
    CARD_UNKNOWN_HOLDER = "card-unknown-holder"
    CARD_KIND_UNKNOWN = "card-kind-unknown"
    CARD_MISSING = "card-missing"
    CARD_UNREADABLE = "card-unreadable"
    CLOCK_UNTRUSTED = "clock-untrusted"  # the card's dates cannot be judged by a clock that is not trusted
    FACE_UNKNOWN = "face-unknown"
    FACE_MISMATCH = "face-mismatch"
    FACE_MISSING = "face-missing"
    FACE_NOT_ENROLLED = "face-not-enrolled"
    FACE_UNUSABLE = "face-unusable"
    FACE_SEVERAL = "face-several"
    PERSON_BLOCKED = "person-blocked"
    BARRIER_AWAY = "barrier-away"  # everything was right, and the barrier cannot be moved
    TEMPERATURE_HIGH = "temperature-high"
    TEMPERATURE_NOT_MEASURED = "temperature-not-measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody of the roster. `token` is HMAC(site key, ID number): the same person, but nobody's name."""

    token: str
    name: str = field(repr=False)
    number_masked: str = field(default="", repr=False)
    allowed: bool = True  # a right that was withdrawn stays in the roster as False, so that it can be explained
    has_face: bool = False
    valid_until: date | None = None


class TemperatureState(StrEnum):
    """A temperature is measured or it is not; it is never replaced or assumed."""

    NORMAL = "normal"
    HIGH = "high"
    NOT_MEASURED = "not-measured"
    NOT_ASKED = "not-asked"  # the site has switched temperature off


@dataclass(frozen=True, slots=True, kw_only=True)
class SkinTemperature:
    """What the thermal module saw of one person, with all that went into the figure.

    Unit: °C. `skin_celsius` is None when not measured, and then `why_not` says why.
    """

    at_mono: float
    skin_celsius: float | None
    raw_celsius: float | None
    ambient_celsius: float | None
    compensation_celsius: float = 0.0
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Everything seen of ONE person who wants to pass, joined by the fuser and not yet judged."""

    started_mono: float
    closed_mono: float
    card: CardReading | None = None
    card_trouble: bool = False  # a card lay there and could not be read
    holder: Person | None = None  # the roster's person for the card's number
    face: FaceReading | None = None
    face_person: Person | None = None  # the roster's person for `face.identified`
    temperature: SkinTemperature | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one site, from its settings. `temperature_limit_celsius` is None when temperature is off."""

    profile: Profile
    temperature_limit_celsius: float | None
    fire_active: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is done, and why; the first reason is the one told to the person."""

    outcome: Outcome
    method: Method
    reasons: tuple[Reason, ...]
    person: Person | None = None
    temperature_state: TemperatureState = TemperatureState.NOT_ASKED
