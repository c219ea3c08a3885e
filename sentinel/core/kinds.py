"""List the kinds of ledger entry: one frozen dataclass each, with its version.

A body holds no personal data beyond the keyed token of a person; names and numbers travel in the personal part,
which is encrypted at rest and never leaves the box. A new feature is a new kind: durability, order, tamper evidence
and delivery come with it. A field is added with a default; anything else raises the version. Any body may also hold
`spooled: true`: the ledger could not be written then, and the entry came over from the spool file afterwards.

The annotations are the contract with the street (`sentinel/contract.py` makes its JSON Schemas of them): a field of
certain words names them, `Annotated[str, Words]`, an enumeration or a tuple; words may be added, never taken away.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, TypedDict, get_args

from drivers.readings import BarrierEventKind, CardKind, Leaf, Symptom
from recognition.readings import FaceProblem
from sentinel.core.calibration import Method as CalibrationMethod
from sentinel.core.consent import Giver
from sentinel.core.health import STARTING, Component, Mode
from sentinel.core.liveness import Layer, Verdict, Why
from sentinel.core.model import Method, Outcome, PassKind, Reason, TemperatureState
from sentinel.core.street_kinds import CommandTaken, PolicyTaken, Report, RosterTaken
from sentinel.core.thermometry import WHY_NOT

REASONS = (
    "forgot-card",
    "card-unreadable",
    "face-failed",
    "temperature-checked",
    "visitor",
    "delivery",
    "helped-person",  # children, old people, people who need a hand
    "device-fault",
    "held",
    "other",
)
CONSENT_ACTS = ("enrolled", "re-enrolled", "imported", "removed")
TEMPLATE_ACTS = ("quarantined", "released", "dropped", "re-embedded")
TEMPLATE_REASONS = ("closer-to-other", "alike-other", "unlike-before", "not-me", "by-staff", "model-changed")
GALLERY_ACTS = ("exported", "imported")
GRANT_REASONS = ("visitor", "delivery", "repair", "helped-person", "staff", "other")
REVOKE_REASONS = ("lost-pass", "ended", "mistake", "misused", "other")
DELETION_REASONS = ("retention", "person")
CLOCK_WHYS = ("trusted", "jump", "periodic", "lost")
OWNERS = ("gate", "one-shot")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSaid:
    """What one layer of liveness said of a passage; see `sentinel.core.liveness`."""

    layer: Annotated[str, Layer]
    verdict: Annotated[str, Verdict]
    why: Annotated[str, Why]
    figure: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One attempt to pass and what the gate decided about it."""

    KIND: ClassVar[str] = "passage"
    VERSION: ClassVar[int] = 1
    outcome: Annotated[str, Outcome]
    method: Annotated[str, Method]
    reasons: tuple[Annotated[str, Reason], ...]
    lane: str
    direction: Annotated[str, Leaf]
    mode: Annotated[str, Mode]
    person: str | None = None  # keyed token
    person_sealed: str | None = None  # the ID number, base64, for the street alone; where its policy asks for it
    card_kind: Annotated[str, CardKind] | None = None
    temperature: Annotated[str, TemperatureState] = "not-asked"
    skin_celsius: float | None = None
    raw_celsius: float | None = None
    ambient_celsius: float | None = None
    compensation_celsius: float | None = None
    temperature_limit_celsius: float | None = None
    temperature_why_not: Annotated[str, WHY_NOT] | None = None
    temperature_distance_mm: int | None = None
    temperature_measured_times: int | None = None  # near the limit it is measured more than once
    similarity: float | None = None
    similarity_required: float | None = None
    similarity_margin: float | None = None  # how much closer the closest person is than the next
    similarity_margin_required: float | None = None
    face_frames: int | None = None  # how many frames were fused
    face_against: Annotated[str, ("everybody", "holder", "card-photo")] | None = None
    face_model: str | None = None
    face_template: str | None = None  # the id of the person's template that matched; several frames: the most similar
    face_problem: Annotated[str, FaceProblem] | None = None
    decision_ms: int | None = None  # from the first reading of the attempt to the decision
    pass_id: str | None = None  # of the pass that was shown, whatever became of it
    pass_kind: Annotated[str, PassKind] | None = None
    liveness: Annotated[str, Verdict] | None = None  # None where it is off or no face was seen
    liveness_required: bool | None = None
    liveness_layer: Annotated[str, Layer] | None = None  # the layer that decided
    liveness_why: Annotated[str, Why] | None = None
    liveness_layers: tuple[LayerSaid, ...] | None = None  # what each layer said


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A person registered by hand. `request` makes a repeated request one entry, whoever writes it."""

    KIND: ClassVar[str] = "registration"
    VERSION: ClassVar[int] = 1
    request: str
    operator: str
    reason: Annotated[str, REASONS]
    opened: bool
    lane: str
    direction: Annotated[str, Leaf]
    written_by: Annotated[str, OWNERS]
    person: str | None = None
    temperature: Annotated[str, ("not-measured", "by-hand")] = "not-measured"
    skin_celsius: float | None = None  # as staff read it from a hand-held thermometer
    after: str | None = None  # the key of the passage that was held, when this answers one
    person_sealed: str | None = None  # the ID number, base64, for the street alone; where its policy asks for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The barrier opened by hand without registering a person."""

    KIND: ClassVar[str] = "opening"
    VERSION: ClassVar[int] = 1
    request: str
    operator: str
    reason: Annotated[str, (*REASONS, "exit-button")]
    lane: str
    written_by: Annotated[str, OWNERS]
    leaf: Annotated[str, Leaf] = "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """What the barrier's wires said; `not-moved` when it did not obey."""

    KIND: ClassVar[str] = "barrier"
    VERSION: ClassVar[int] = 1
    event: Annotated[str, (*BarrierEventKind, "not-moved")]
    after: str | None = None  # the key of the entry that gave the right
    leaf: Annotated[str, Leaf] = "in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A device stopped doing its work. Opens a ticket that the Repair of the same device closes."""

    KIND: ClassVar[str] = "fault"
    VERSION: ClassVar[int] = 1
    device: Annotated[str, Component]
    symptom: Annotated[str, Symptom]
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """The device works again, after so many seconds."""

    KIND: ClassVar[str] = "repair"
    VERSION: ClassVar[int] = 1
    device: Annotated[str, Component]
    symptom: Annotated[str, Symptom]
    lasted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChange:
    """The gate works in another way now: automatic, assisted, manual."""

    KIND: ClassVar[str] = "mode"
    VERSION: ClassVar[int] = 1
    mode: Annotated[str, Mode]
    before: Annotated[str, (*Mode, STARTING)]
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A person (or a guardian) agreed to a stored face template, or a template was removed."""

    KIND: ClassVar[str] = "consent"
    VERSION: ClassVar[int] = 1
    request: str
    person: str
    act: Annotated[str, CONSENT_ACTS]
    consent: str  # how it was given: "paper 2026-11-22/17", "signed on screen"
    operator: str
    templates: int
    model: str
    by: Annotated[str, Giver] | None = None  # who the guardian is stays in the roster, sealed
    given_on: str | None = None  # the day, YYYY-MM-DD
    purpose: str | None = None  # as the form said it
    keep_picture: bool | None = None  # whether the consent covers the picture too


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateChange:
    """Face templates of a person were set aside, taken back, dropped or made anew, without a new consent."""

    KIND: ClassVar[str] = "template"
    VERSION: ClassVar[int] = 1
    request: str
    operator: str
    person: str
    act: Annotated[str, TEMPLATE_ACTS]
    reason: Annotated[str, TEMPLATE_REASONS]
    templates: int  # that it is about
    left: int  # that stay in use
    model: str
    other: str | None = None  # the person that the templates are closer to
    after: str | None = None  # the key of the passage that was not this person's


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryMove:
    """The roster went into an archive, or came out of one."""

    KIND: ClassVar[str] = "gallery"
    VERSION: ClassVar[int] = 1
    request: str
    operator: str
    act: Annotated[str, GALLERY_ACTS]
    people: int
    templates: int
    pictures: int
    sha256: str  # of the archive
    signer: str  # the id of the key that signed it


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A visitor pass or a staff badge was issued here. Nobody's name: who holds it is not known to the gate."""

    KIND: ClassVar[str] = "grant"
    VERSION: ClassVar[int] = 1
    request: str
    operator: str
    reason: Annotated[str, GRANT_REASONS]
    pass_id: str
    pass_kind: Annotated[str, PassKind]
    issuer: str  # the id of the key that signed it
    gate: str  # the gate where it holds, or "any" of the site
    valid_from_utc_s: int
    valid_until_utc_s: int
    uses: int  # 0: any number


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A pass holds no more at this gate."""

    KIND: ClassVar[str] = "revocation"
    VERSION: ClassVar[int] = 1
    request: str
    operator: str
    reason: Annotated[str, REVOKE_REASONS]
    pass_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A thermal sensor was compared with a reference, and somebody signs for the offset that holds from now on."""

    KIND: ClassVar[str] = "calibration"
    VERSION: ClassVar[int] = 1
    request: str
    operator: str  # the user who ran it, as the kernel vouches
    signed_by: str  # the name that this person signed with
    device: str
    method: Annotated[str, CalibrationMethod]
    samples: int
    offset_celsius: float
    spread_celsius: float
    residual_celsius: float
    due: str  # the day, YYYY-MM-DD, by which it is done again
    reference_celsius: float | None = None  # of the black body
    ambient_celsius: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The owner of the ledger began to write. Names the end of the epoch before, so that a loss is countable."""

    KIND: ClassVar[str] = "start"
    VERSION: ClassVar[int] = 1
    version: str
    owner: Annotated[str, (*OWNERS, "restore")]  # a restore begins an epoch by itself, before its file has its place
    previous_epoch: str | None
    previous_last_seq: int | None
    config_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """The owner of the ledger ended in order."""

    KIND: ClassVar[str] = "stop"
    VERSION: ClassVar[int] = 1
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Entries that the street had receipted were dropped, because the room was needed."""

    KIND: ClassVar[str] = "pruned"
    VERSION: ClassVar[int] = 1
    entries: int
    runs: tuple[tuple[str, int, int], ...]  # epoch, first and last number


class Hole(TypedDict):
    """Numbers of one epoch that are not here any more."""

    epoch: str
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """The ledger's file was damaged: a new one was begun with all that could be proved."""

    KIND: ClassVar[str] = "salvage"
    VERSION: ClassVar[int] = 1
    kept: int
    lost: int  # numbers that existed and are not here any more; the street may hold them
    holes: tuple[Hole, ...]  # the first hundred
    refused_rows: int  # rows whose content did not give their hash
    aside: str  # the name of the damaged file, beside the ledger
    last: str | None = None  # the newest entry that was saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Unkept:
    """So many entries of each kind could not be kept, because the disk was full."""

    KIND: ClassVar[str] = "unkept"
    VERSION: ClassVar[int] = 1
    total: int
    counts: dict[str, int]
    since_utc_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The wall clock became good, was set, or is good no longer. By these, other entries are dated: `sync/dating.py`.

    Unit: numbers above 2**53 are text; `offset_ns` is wall clock less boot-time clock, read at the same moment.
    """

    KIND: ClassVar[str] = "clock"
    VERSION: ClassVar[int] = 1
    why: Annotated[str, CLOCK_WHYS]
    boot_id: str
    offset_ns: str
    jumped_ns: str  # how far the clock was set since the last such entry, forward positive
    synchronised: bool  # as the kernel says
    max_error_us: int  # of the wall clock, as its time source told the kernel
    est_error_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Personal parts were destroyed: by whole keys when their days were over, or one person's at their wish."""

    KIND: ClassVar[str] = "deletion"
    VERSION: ClassVar[int] = 1
    request: str
    operator: str
    reason: Annotated[str, DELETION_REASONS]
    keys: tuple[str, ...]  # the names of the keys that were destroyed
    parts: dict[str, int]  # how many personal parts, by class
    total: int
    signer: str
    signature: str  # the gate's own, of purpose "deletion", over the canonical body without these two
    runs: tuple[tuple[str, int, int], ...] = ()  # epoch, first and last number of entries that were emptied one by one
    person: str | None = None


AnyKind = (
    Passage | Registration | Opening | Barrier | Fault | Repair | ModeChange | Consent | TemplateChange | GalleryMove
    | Grant | Revocation | Calibration | Start | Stop | Pruned | Salvage | Unkept | Clock
    | Deletion | RosterTaken | PolicyTaken | CommandTaken | Report
)  # fmt: skip

ALL: dict[str, type] = {kind.KIND: kind for kind in get_args(AnyKind)}


def body_of(entry: AnyKind) -> dict[str, Any]:
    """Return the entry's body as plain JSON values; what is None is left out."""
    body = {key: value for key, value in asdict(entry).items() if value is not None}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in body.items()}
