"""Say what the gate thinks in: a person, a pass, an attempt to pass, the policy of the site, the decision.

Source: the words of guards, not of databases. All frozen; times are `at_mono` seconds of the monotonic clock.
"""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from drivers.readings import CardReading
from recognition.readings import FaceReading
from sentinel.core.liveness import Liveness
from sentinel.core.rights import Window


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
    PASS = "pass"  # the code of a visitor or of staff
    MANUAL = "manual"
    FIRE = "fire"
    NONE = "none"  # nothing usable was shown


class Reason(StrEnum):
    """Why. Every reason has a text for residents and one for staff in zh-CN and en, see `sentinel/i18n/`."""

    ACCEPTED = "accepted"
    FIRE = "fire"
    CARD_EXPIRED = "card-expired"
    CARD_NOT_YET_VALID = "card-not-yet-valid"
    CARD_DATA_CONTRADICTS = "card-data-contradicts"  # its fields say two different birth dates
    CARD_DATES_UNREADABLE = "card-dates-unreadable"
    CARD_NUMBER_INVALID = "card-number-invalid"
    CARD_UNKNOWN_HOLDER = "card-unknown-holder"
    CARD_KIND_UNKNOWN = "card-kind-unknown"
    CARD_MISSING = "card-missing"
    CARD_UNREADABLE = "card-unreadable"
    CLOCK_UNTRUSTED = "clock-untrusted"  # dates of a card or a pass cannot be judged by a clock that is not trusted
    FACE_ALIKE = "face-alike"  # too easily somebody else: the card as well, see `Person.step_up`
    FACE_UNKNOWN = "face-unknown"
    FACE_LIVENESS_UNSURE = "face-liveness-unsure"  # nobody can say whether it is a face or its picture
    FACE_UNSURE = "face-unsure"  # so near somebody, or so near two people, that a person must look
    FACE_MISMATCH = "face-mismatch"
    FACE_MISSING = "face-missing"
    FACE_NOT_ENROLLED = "face-not-enrolled"
    FACE_NOT_LIVE = "face-not-live"  # a layer of liveness says it is a picture, a screen or a mask
    FACE_UNUSABLE = "face-unusable"
    FACE_SEVERAL = "face-several"
    PASS_EXPIRED = "pass-expired"
    PASS_FORGED = "pass-forged"
    PASS_NOT_YET_VALID = "pass-not-yet-valid"
    PASS_OTHER_SITE = "pass-other-site"
    PASS_REVOKED = "pass-revoked"
    PASS_UNCHECKED = "pass-unchecked"  # nobody can say whether it was used or revoked
    PASS_UNKNOWN_ISSUER = "pass-unknown-issuer"
    PASS_UNREADABLE = "pass-unreadable"
    PASS_USED = "pass-used"
    PERSON_BLOCKED = "person-blocked"
    RIGHT_OTHER_LANE = "right-other-lane"  # may pass, elsewhere or the other way
    RIGHT_OTHER_HOURS = "right-other-hours"  # may pass, at other hours or from another day on
    BARRIER_AWAY = "barrier-away"  # everything was right, and the barrier cannot be moved
    TEMPERATURE_HIGH = "temperature-high"
    TEMPERATURE_NOT_MEASURED = "temperature-not-measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody of the roster. `token` is HMAC(site key, ID number): the same person, but nobody's name."""

    token: str
    name: str = field(repr=False)
    number: str = field(default="", repr=False)  # only ever sealed: in the vault, or for the street
    number_masked: str = field(default="", repr=False)
    allowed: bool = True  # a right that was withdrawn stays in the roster as False, so that it can be explained
    has_face: bool = False
    step_up: bool = False  # a face alone does not prove it: a twin, or only a card's photograph is enrolled
    valid_until: date | None = None
    valid_from: date | None = None
    windows: tuple[Window, ...] = ()  # none: always, everywhere


class PassKind(StrEnum):
    """For whom a pass was issued."""

    VISITOR = "visitor"
    STAFF = "staff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A code whose signature was found good. It says what it allows and nobody's name.

    Unit: seconds of UTC since 1970, from the first on and before the last.
    """

    kind: PassKind
    pass_id: str  # 16 hexadecimal digits
    issuer: str  # which key signed it: 8 hexadecimal digits of the public key's hash
    scope: str  # where it holds, see `sentinel.core.admission.scope_of`
    valid_from_utc_s: int
    valid_until_utc_s: int
    uses: int  # 0: any number while it is valid


class PassProblem(StrEnum):
    """Why a code is no pass that can be judged."""

    NOT_A_PASS = "not-a-pass"
    DAMAGED = "damaged"
    UNKNOWN_ISSUER = "unknown-issuer"
    BAD_SIGNATURE = "bad-signature"


_NOTHING_READ = frozenset({PassProblem.NOT_A_PASS, PassProblem.DAMAGED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPass:
    """A code that was held before the scanner. `mark` is equal for the same code and tells nothing of its content."""

    at_mono: float
    mark: str
    read: Pass | PassProblem

    @property
    def readable(self) -> bool:
        """Whether there is something to judge. A shop's code or half a pass is like a card that cannot be read."""
        return self.read not in _NOTHING_READ


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
    distance_mm: int | None = None  # as the distance sensor had it, where one is fitted
    why_not: str = ""
    measured_times: int = 1  # how many measures this one was chosen from


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Everything seen of ONE person who wants to pass, joined by the fuser and not yet judged."""

    started_mono: float
    closed_mono: float
    card: CardReading | None = None
    card_trouble: bool = False  # a card lay there and could not be read
    holder: Person | None = None  # the roster's person for the card's number
    shown: ShownPass | None = None  # the code that was shown; beside a card it is kept and not judged
    face: FaceReading | None = None
    face_person: Person | None = None  # the roster's person for `face.identified`
    temperature: SkinTemperature | None = None
    liveness: Liveness | None = None  # None where the site has switched it off


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one site, from its settings. `temperature_limit_celsius` is None when temperature is off."""

    profile: Profile
    temperature_limit_celsius: float | None
    fire_active: bool = False
    lane: str = ""
    direction: str = "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is done, and why; the first reason is the one told to the person."""

    outcome: Outcome
    method: Method
    reasons: tuple[Reason, ...]
    person: Person | None = None
    temperature_state: TemperatureState = TemperatureState.NOT_ASKED
