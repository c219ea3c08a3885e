"""Keep who stands at the gate and what is gathered of them: one side of a change of person, and the open attempt.

Plain state for sentinel.core.fusion, whose module says the rule.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from drivers.readings import CardKind, CardReading
from recognition.readings import FaceReading
from sentinel.core.model import Person, ShownPass
from sentinel.core.policy import is_face_of

LOOKS_KEPT = 256  # eight seconds of a 30 Hz camera, twice the window; the oldest is dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a face, with the roster's person when it was identified."""

    face: FaceReading
    person: Person | None


@dataclass(slots=True, kw_only=True, eq=False)
class Presence:
    """One side of a change of person: who stands here, from `since_mono` on and before `until_mono`."""

    since_mono: float
    until_mono: float = math.inf
    track: int | None = None
    known_as: str | None = None  # the token of the person identified here
    card: tuple[CardKind, str] | None = None
    code: str | None = None  # the mark of the pass shown here
    decided: bool = False
    looks: deque[Look] = field(default_factory=lambda: deque(maxlen=LOOKS_KEPT))


@dataclass(slots=True, kw_only=True, eq=False)
class Opened:
    """The attempt that is being gathered."""

    started_mono: float
    asked_mono: float  # the window runs from here: the card's time, the code's, or the first face's
    presence: Presence
    card: CardReading | None = None
    holder: Person | None = None
    trouble: bool = False
    shown: ShownPass | None = None

    @property
    def has_pass(self) -> bool:
        """Whether a code was shown that can be read."""
        return self.shown is not None and self.shown.readable

    @property
    def shown_something(self) -> bool:
        """Whether there is more than a face."""
        return self.card is not None or self.trouble or self.shown is not None


def is_another(face: FaceReading, stood_here: Presence) -> bool:
    """Tell whether a face is not of who stood here."""
    if face.track != stood_here.track:
        return True
    found, known = face.identified, stood_here.known_as
    return found is not None and known is not None and found.person != known


def worth(look: Look, holder: Person | None) -> tuple[bool, bool, float, float]:
    """Order the looks of one person: usable, then proven, then most similar, then newest."""
    face = look.face
    if holder is None:
        found = face.identified
        return face.problem is None, look.person is not None, found.similarity if found else -1.0, face.at_mono
    claimed = face.claimed if face.claimed is not None and face.claimed.person == holder.token else None
    similarity = claimed.similarity if claimed else -1.0
    return face.problem is None, is_face_of(face, holder), similarity, face.at_mono
