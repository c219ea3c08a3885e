"""Follow the face in view from frame to frame: the same number while it stays, and no second embedding once decided.

A decided face costs a twentieth of its first frame: the detector looks at its surroundings only, and what it finds must
overlap the last place and the picture there must be, pixel by pixel, the last one moved a little. Whoever steps into
somebody's place fails the second, and is embedded like anybody else.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from recognition.detect import NEAR_MARGIN, Detector, Face, overlap, window_around

MIN_OVERLAP = 0.3  # at 10 frames a second a walking face moves a tenth of its width between two frames
MAX_GAP_S = 1.0  # a face unseen for longer may be another person who stepped into the same place

FOLLOW_OVERLAP = 0.5  # followed faces stand before the gate; a faster one is looked at as a whole
FOLLOW_GAP_S = 0.35  # three frames at 10 a second
RELOOK_S = 2.0  # a decided face is embedded again after so long, whatever it looks like
WHOLE_S = 0.5  # the whole frame is searched so often, for somebody who comes as near as the one followed
# Normalised correlation of the face with itself one frame before, at its best place. Faces in noise, 10 px aside and
# 3 % nearer reach it in 96 of 100 cases (median 0.98); 5,690 pairs of different people, faces laid on each other, have
# 0.88 at most (0.87 in one of a thousand). What falls short is only embedded again.
MIN_ALIKE = 0.92
_WINDOW = 48  # pixels a side; the face is half of it, so that sensor noise averages out and a few matter little
_FACE = (slice(10, 38), slice(12, 36))  # brow to chin and cheek to cheek in it: no hair, no background
_SEARCH = (slice(3, 45), slice(5, 43))  # where it may have gone within one frame: a seventh of its width


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


@dataclass(slots=True, eq=False)
class _Held:
    """A decided face as it was last. Clocks are monotonic seconds."""

    face: Face
    glance: np.ndarray = field(repr=False)
    decided_mono: float
    whole_mono: float  # when the whole frame was last searched
    last_mono: float


class Follower:
    """Follow one decided face cheaply, or say that it must be looked at as a whole."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._held: _Held | None = None

    def hold(self, face: Face, pixels: np.ndarray, at_mono: float) -> None:
        """Begin with a face that was just decided, in the picture it was decided on."""
        self._held = _Held(face, glance(pixels, face), at_mono, at_mono, at_mono)

    def drop(self) -> None:
        """Follow nobody."""
        self._held = None

    def follow(self, pixels: np.ndarray, at_mono: float) -> Face | None:
        """Return where the decided face now is; None, and nobody is followed any more, when that is not certain."""
        held, self._held = self._held, None
        if held is None or at_mono - held.decided_mono > RELOOK_S or at_mono - held.last_mono > FOLLOW_GAP_S:
            return None
        if alike(held.glance, glance(pixels, held.face)) < MIN_ALIKE:
            return None
        whole = at_mono - held.whole_mono > WHOLE_S
        found = self._detector.detect(pixels) if whole else self._detector.near(pixels, held.face)
        if len(found) != 1 or overlap(held.face.box, found[0].box) < FOLLOW_OVERLAP:
            return None
        held.face, held.glance, held.last_mono = found[0], glance(pixels, found[0]), at_mono
        if whole:
            held.whole_mono = at_mono
        self._held = held
        return found[0]


def glance(pixels: np.ndarray, face: Face) -> np.ndarray:
    """Return a face and its surroundings, small and grey. Shape: uint8[48, 48]."""
    side = max(face.width, face.height) * NEAR_MARGIN
    window, *_ = window_around(pixels, face, side, 2 * _WINDOW)
    return cv2.resize(cv2.cvtColor(window, cv2.COLOR_BGR2GRAY), (_WINDOW, _WINDOW), interpolation=cv2.INTER_AREA)


def alike(before: np.ndarray, now: np.ndarray) -> float:
    """Return how much a face of one glance is that of the next, wherever it went, -1..1; 0 without contrast."""
    found = float(cv2.matchTemplate(now[_SEARCH], before[_FACE], cv2.TM_CCOEFF_NORMED).max())
    return found if np.isfinite(found) and before[_FACE].std() > 1 else 0.0
