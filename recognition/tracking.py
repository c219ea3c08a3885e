"""Give the same face in successive frames the same number, by how much its boxes overlap."""

from dataclasses import dataclass

import cv2
import numpy as np

from recognition.detect import Detector, Face, overlap
from recognition.fusion import Evidence
from recognition.readings import FaceReading

MIN_OVERLAP = 0.3  # at 10 frames a second a walking face moves a tenth of its width between two frames
MAX_GAP_S = 1.0  # a face unseen for longer may be another person who stepped into the same place
NEAR_PX = 128  # one look at a known place costs a quarter of a look at the whole frame
NEAR_MARGIN = 2.0  # that place is so many faces wide: a walking face stays in it for half a second


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
    """Return a face where one was a moment ago, None when it is not clearly there any more. Sees nobody else.

    Shape: pixels uint8[h, w, 3], BGR.
    """
    side = max(known.width, known.height) * NEAR_MARGIN
    left = max(0, round(known.x + known.width / 2 - side / 2))
    top = max(0, round(known.y + known.height / 2 - side / 2))
    region = pixels[top : top + round(side), left : left + round(side)]
    if min(region.shape[:2], default=0) < 2:
        return None
    zoom = min(1.0, NEAR_PX / max(region.shape[:2]))
    size = (max(1, round(region.shape[1] * zoom)), max(1, round(region.shape[0] * zoom)))
    found = detector.detect(cv2.resize(region, size, interpolation=cv2.INTER_LINEAR))
    faces = [_moved(face, left, top, region.shape[1] / size[0], region.shape[0] / size[1]) for face in found]
    best = max(faces, key=lambda face: overlap(face.box, known.box), default=None)
    return best if best is not None and overlap(best.box, known.box) >= MIN_OVERLAP else None


def _moved(face: Face, left: int, top: int, wide: float, high: float) -> Face:
    return Face(
        x=face.x * wide + left,
        y=face.y * high + top,
        width=face.width * wide,
        height=face.height * high,
        confidence=face.confidence,
        landmarks=(face.landmarks * (wide, high) + (left, top)).astype(np.float32),
    )
