"""Name what is known about a face in view. Frozen values, standard library only; no pixels, no vectors."""

from dataclasses import dataclass, field
from enum import StrEnum


class FaceProblem(StrEnum):
    """Why a face cannot be used for identity. Nothing is matched below this gate."""

    TOO_SMALL = "too-small"
    TURNED_AWAY = "turned-away"
    BLURRED = "blurred"
    DARK = "dark"
    OVEREXPOSED = "overexposed"
    SEVERAL = "several-faces"
    CUT_OFF = "cut-off"  # the face touches the edge of the picture
    MOUTH_COVERED = "mouth-covered"  # a mask, a scarf, a hand
    EYES_COVERED = "eyes-covered"  # dark glasses


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A person of the gallery and how similar the face is. Unit: cosine similarity in [-1, 1], higher is closer."""

    person: str  # the keyed token of the person, never a name or a number
    similarity: float
    required: float  # the similarity that this comparison had to reach
    reached: bool
    doubtful: bool = False  # not reached, but so near that staff should say
    by_photo: bool = False  # compared with the card's own photograph, not with what is enrolled
    template: str = ""  # the id of the person's template that is most similar; only when reached, and where it has one


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceReading:
    """One face in one frame, and what this and the frames before it say of it together.

    `identified` is the person it is, or None: unknown is unknown, never the nearest.
    `claimed` answers a claim ("the holder of this card stands here"), reached or not; None when nobody was claimed.
    `doubtful`: nobody is identified, but somebody is so near, or two people are so alike, that staff should say.
    `settled`: more frames are not waited for.
    """

    at_mono: float
    track: int  # one number while the same face stays in view
    box: tuple[float, float, float, float]  # x, y, width, height in pixels of the frame
    frame_width: int
    frame_height: int
    confidence: float  # of the detector, 0..1
    problem: FaceProblem | None = None
    identified: Candidate | None = None
    nearest_similarity: float | None = None  # of the closest enrolled person, told without saying who
    required_similarity: float | None = None
    margin: float | None = None  # how much closer the closest person is than the next one; None when there is no other
    required_margin: float | None = None
    frames: int = 0  # how many frames the similarities were fused from
    doubtful: bool = False
    settled: bool = False
    claimed: Candidate | None = None
    model: str = field(default="", repr=False)  # fingerprint of the embedder that made these figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How the face in view moved over the last looks. Unit: lengths are shares of the face's width."""

    looks: int
    watched_s: float
    travel: float  # how far its points went on the way, the middle one of them
    turning: float  # how much its outline changed shape, as a thing does that turns or tilts
    depth: float  # how much of the movement no flat picture explains, in times of the noise
    repeats: float  # share of the last looks that are equal to looks of more than a second before, 0..1


@dataclass(frozen=True, slots=True, kw_only=True)
class InfraredFace:
    """What the infrared camera sees where the main camera sees a face. Unit: grey levels 0..255."""

    overlap: float  # of the two boxes, 0..1; 0 when no face is found there
    level: float
    contrast: float  # standard deviation
    lit_level: float  # of the brightest twentieth of the whole picture: is the lamp on?


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """What an installed classifier says: `liveness` rises toward yes, 0..1; the limits are its manifest's."""

    liveness: float
    live_from: float
    attack_below: float
    model: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeSigns:
    """What speaks for or against a living face on this track. Each layer is None where it did not look."""

    at_mono: float
    track: int
    motion: Motion | None = None
    infrared: InfraredFace | None = None
    classified: Classified | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFace:
    """The frame was looked at and nobody is in it."""

    at_mono: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Ask: is this person in front of the camera?"""

    person: str
    at_mono: float
    photo: bytes = field(default=b"", repr=False)  # of the card, undecoded; empty where it is not to be compared
