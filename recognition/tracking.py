"""Follow the face in view from frame to frame: the same number while it stays, and no second embedding once known.

A known face costs a small part of its first frame: the detector looks at its surroundings only, and what it finds must
overlap the last place and the picture there must be, pixel by pixel, the last one moved a little. Whoever steps into
somebody's place fails the second, and is embedded like anybody else.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from recognition.detect import NEAR_MARGIN, Detector, Face, overlap, window_around
from recognition.fusion import Evidence
from recognition.readings import FaceReading

MIN_OVERLAP = 0.3  # at 10 frames a second a walking face moves a tenth of its width between two frames
MAX_GAP_S = 1.0  # a face unseen for longer may be another person who stepped into the same place
GLANCE_GAP_S = 0.35  # three frames at 10 a second; after longer a picture proves nothing
# Normalised correlation of the face with itself one frame before, at its best place. Faces in noise, 10 px aside and
# 3 % nearer reach it in 96 of 100 cases (median 0.98); 5,690 pairs of different people, faces laid on each other, have
# 0.88 at most (0.87 in one of a thousand). What falls short is only embedded again.
MIN_ALIKE = 0.92
_WINDOW = 48  # pixels a side; the face is half of it, so that sensor noise averages out and a few matter little
_FACE = (slice(10, 38), slice(12, 36))  # brow to chin and cheek to cheek in it: no hair, no background
_SEARCH = (slice(3, 45), slice(5, 43))  # where it may have gone within one frame: a seventh of its width


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """How a face looked in one frame, small and grey, and where. Clock: monotonic seconds."""

    at_mono: float
    face: Face
    picture: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, pixels: np.ndarray, face: Face, at_mono: float) -> "Glance":
        """Return a glance at a face of a frame. Shape: pixels uint8[h, w, 3], BGR."""
        return cls(at_mono, face, glance(pixels, face))

    def still_there(self, pixels: np.ndarray, at_mono: float) -> bool:
        """Tell whether the same face is certainly in this frame, which follows soon."""
        if at_mono - self.at_mono > GLANCE_GAP_S:
            return False
        return alike(self.picture, glance(pixels, self.face)) >= MIN_ALIKE


@dataclass(slots=True, kw_only=True, eq=False)
class Track:
    """What is known of the face in view, as long as it is surely the same one."""

    number: int
    face: Face
    evidence: Evidence
    until_mono: float | None = None  # the deadline, once a usable frame came
    embedded_mono: float = 0.0
    tried_mono: float = 0.0  # when it was last fit to be compared, embedded or not
    reading: FaceReading | None = None  # of the last usable frame
    settled: bool = False
    claim: str | None = None
    glance: Glance | None = None  # of a face that is known, in the last frame
    near_looks: int = 0  # frames since the whole one was searched

    @property
    def known(self) -> bool:
        """Whether what was asked is answered with yes: who this is, or that the claimed person stands here."""
        said = self.reading
        if said is None:
            return False
        return said.identified is not None if self.claim is None else said.claimed is not None and said.claimed.reached


class Tracker:
    """Number the face in view."""

    def __init__(self) -> None:
        self._number = 0
        self._last: Face | None = None
        self._at_mono = 0.0

    def follow(self, face: Face, at_mono: float) -> int:
        """Return the number of a face: the same as before while it overlaps the last one seen, else a new one."""
        same = (
            self._last is not None
            and at_mono - self._at_mono <= MAX_GAP_S
            and overlap(self._last.box, face.box) >= MIN_OVERLAP
        )
        if not same:
            self._number += 1
        self._last, self._at_mono = face, at_mono
        return self._number

    def part(self) -> int:
        """Return a new number for the face in view: it stands in the same place and is another person's."""
        self._number += 1
        return self._number


def find_near(detector: Detector, pixels: np.ndarray, known: Face) -> Face | None:
    """Return a face where one was a moment ago; None when it is not clearly there any more, or not alone.

    Shape: pixels uint8[h, w, 3], BGR.
    """
    found = detector.near(pixels, known)
    return found[0] if len(found) == 1 and overlap(found[0].box, known.box) >= MIN_OVERLAP else None


def glance(pixels: np.ndarray, face: Face) -> np.ndarray:
    """Return a face and its surroundings, small and grey. Shape: uint8[48, 48]."""
    side = max(face.width, face.height) * NEAR_MARGIN
    window, *_ = window_around(pixels, face, side, 2 * _WINDOW)
    return cv2.resize(cv2.cvtColor(window, cv2.COLOR_BGR2GRAY), (_WINDOW, _WINDOW), interpolation=cv2.INTER_AREA)


def alike(before: np.ndarray, now: np.ndarray) -> float:
    """Return how much a face of one glance is that of the next, wherever it went, -1..1; 0 without contrast."""
    found = float(cv2.matchTemplate(now[_SEARCH], before[_FACE], cv2.TM_CCOEFF_NORMED).max())
    return found if np.isfinite(found) and before[_FACE].std() > 1 else 0.0
