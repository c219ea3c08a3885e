"""Follow points of the face in view and say how they moved: as a head does, as paper does, not at all, or once more.

The points of one rigid thing, followed over looks and freed of their common shift, lie in a space of three dimensions;
those of a flat thing, however it is turned and tilted far away from the lens, in one of two. So what the third
dimension holds, beside what the error of following puts there, is depth.
Source: Tomasi and Kanade, Shape and Motion from Image Streams under Orthography, 1992.
"""

from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np

from recognition.readings import FaceReading, Motion

SIDE_PX = 128  # the face's surroundings are followed at this size, whatever the camera's
MARGIN = 1.5  # the crop is so many faces wide: a head sways by less in the time that is looked at
LOOKS = 40  # four seconds of a 10 Hz camera
GRID = 7  # points a side, over the middle of the face
FACE_PART = 0.8  # of the face's width and height that the points cover: no hair, no background
LEAST_LOOKS = 5
LOST_PX = 12.0  # a point that jumped so far was lost, not moved
SMALL_PX = 24  # looks are compared at this size: a sensor's noise is averaged away
APART_S = 1.0  # looks so far apart are compared: nearer ones of a slow movement are alike
LAST = 6  # so many newest looks are compared with all that came before
SAME = 0.12  # of the usual difference between two looks; a video that came round has 0.05 to 0.09, people 0.17 and more
LEAST_CHANGE = 2.0  # grey levels: below, everything is alike
# What following a point errs by, in pixels of the crop: at rest, and for each pixel of turn, tilt and shift. Prints and
# telephones in a hand reach 0.5 to 0.7 of it, people 1.5 to 7 (simulated; 128 px, 5 and 10 Hz, noise of 3 grey levels).
ERROR_PX, ERROR_TURNED, ERROR_SHIFTED = 0.02, 0.06, 0.015
_UNTIL = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Look:
    at_mono: float
    points: np.ndarray = field(repr=False)  # float32[GRID², 2] in pixels of the crop
    small: np.ndarray = field(repr=False)  # float32[SMALL_PX, SMALL_PX]


class MotionWatch:
    """Watch one face over its track. Not for several threads at once."""

    def __init__(self) -> None:
        self._track: int | None = None
        self._place: np.ndarray = np.zeros((2, 3))
        self._grid = _grid()
        self._first: np.ndarray | None = None
        self._looks: deque[_Look] = deque(maxlen=LOOKS)

    def forget(self) -> None:
        """Begin anew with whoever is seen next."""
        self._track, self._first = None, None
        self._looks.clear()

    def see(self, pixels: np.ndarray, face: FaceReading) -> Motion | None:
        """Return how the face moved since it came into view, None after the first looks.

        Shape: pixels uint8[h, w, 3], BGR, of the frame that the reading was made of.
        """
        if face.track != self._track:
            self.forget()
            self._track, self._place = face.track, _place(face.box)
        crop = cv2.cvtColor(cv2.warpAffine(pixels, self._place, (SIDE_PX, SIDE_PX)), cv2.COLOR_BGR2GRAY)
        if self._first is None:
            self._first = crop
        followed = self._follow(crop)
        if followed is None:  # it went out of the crop: another reference, and what was seen is not mixed with it
            self.forget()
            return None
        small = cv2.resize(crop, (SMALL_PX, SMALL_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        self._looks.append(_Look(at_mono=face.at_mono, points=followed, small=small))
        if len(self._looks) < LEAST_LOOKS:
            return None
        return self._measured()

    def _follow(self, crop: np.ndarray) -> np.ndarray | None:
        """Return where the grid's points are now, or None when most of them are lost."""
        assert self._first is not None
        guess = self._looks[-1].points if self._looks else self._grid
        start = guess.reshape(-1, 1, 2).copy()
        points, found, _ = cv2.calcOpticalFlowPyrLK(
            self._first, crop, self._grid.reshape(-1, 1, 2), start,
            winSize=(17, 17), maxLevel=2, criteria=_UNTIL, flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )  # fmt: skip
        moved = points.reshape(-1, 2)
        jumped = np.linalg.norm(moved - guess, axis=1) > LOST_PX
        lost = (found.reshape(-1) == 0) | jumped
        if lost.mean() > 0.5:
            return None
        return np.where(lost[:, None], guess, moved).astype(np.float32)

    def _measured(self) -> Motion:
        face_px = SIDE_PX / MARGIN
        tracks = np.stack([look.points for look in self._looks]).astype(np.float64)
        travel = np.linalg.norm(np.ptp(np.median(tracks, axis=1), axis=0)) / face_px
        turning, depth = shape_of(tracks)
        return Motion(
            looks=len(self._looks),
            watched_s=self._looks[-1].at_mono - self._looks[0].at_mono,
            travel=float(travel),
            turning=turning / face_px,
            depth=depth,
            repeats=self._repeats(),
        )

    def _repeats(self) -> float:
        """Return the share of the newest looks that were there already, more than `APART_S` before."""
        looks = list(self._looks)
        alike = 0
        for look in looks[-LAST:]:
            gaps = [float(np.sqrt(np.mean((look.small - other.small) ** 2))) for other in looks]
            usual = float(np.median(gaps))
            before = [gap for gap, other in zip(gaps, looks, strict=True) if look.at_mono - other.at_mono >= APART_S]
            alike += usual >= LEAST_CHANGE and min(before, default=usual) <= SAME * usual
        return alike / LAST


def shape_of(tracks: np.ndarray) -> tuple[float, float]:
    """Return how much the outline changed, in pixels, and the depth of what moved, in times of the error of following.

    Shape: tracks float64[looks, points, 2].
    """
    middles = tracks.mean(axis=1)
    centred = tracks - middles[:, None]
    mean = centred.mean(axis=0)
    # Rows are x and y of each look. A shift is gone already; the mean look is taken as known.
    rows = centred.transpose(0, 2, 1).reshape(-1, tracks.shape[1])
    plane = np.linalg.lstsq(mean, rows.T, rcond=None)[0]  # each look as an affine picture of the mean one
    changes = plane.T.reshape(-1, 2, 2) - np.eye(2)
    radius = np.sqrt((mean**2).sum(axis=1).mean() / 2)
    left = rows - (mean @ plane).T
    strengths = np.linalg.svd(left, compute_uv=False) / np.sqrt(left.size)
    noise = float(np.median(strengths[1 : 1 + len(strengths) // 2]))
    affine = float(np.sqrt((changes**2).sum(axis=(1, 2)).mean())) * radius
    shifted = float(np.sqrt(((middles - middles.mean(axis=0)) ** 2).sum(axis=1).mean()))
    error = max(ERROR_PX, 3 * noise) + ERROR_TURNED * affine + ERROR_SHIFTED * shifted
    return float(np.sqrt((_unlike(changes) ** 2).sum(axis=(1, 2)).mean()) * radius), float(strengths[0] / error)


def _unlike(changes: np.ndarray) -> np.ndarray:
    """Return what no nearing and no roll of the head explains. Shape: float64[looks, 2, 2], both."""
    near, roll = (changes[:, 0, 0] + changes[:, 1, 1]) / 2, (changes[:, 1, 0] - changes[:, 0, 1]) / 2
    alike = np.stack([np.stack([near, -roll], axis=-1), np.stack([roll, near], axis=-1)], axis=1)
    return changes - alike


def _grid() -> np.ndarray:
    half = SIDE_PX / MARGIN * FACE_PART / 2
    steps = np.linspace(SIDE_PX / 2 - half, SIDE_PX / 2 + half, GRID)
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2).astype(np.float32)


def _place(box: tuple[float, float, float, float]) -> np.ndarray:
    """Return the transform from the frame to the crop: the face's middle to the crop's, its width to a share of it."""
    x, y, width, height = box
    zoom = SIDE_PX / (MARGIN * width)
    return np.array(
        [[zoom, 0, SIDE_PX / 2 - zoom * (x + width / 2)], [0, zoom, SIDE_PX / 2 - zoom * (y + height / 2)]]
    )
