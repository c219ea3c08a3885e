"""Judge whether a face is fit to be compared, and say why not. Pure: a face and its pixels in, a reason out.

The limits were set on ten portraits of five people composed into 640×480 scenes and then spoilt step by step; beside
each stands what the similarity of genuine pairs (0.73 unspoilt, 0.40 required) was at the limit.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from recognition.detect import Face
from recognition.readings import FaceProblem

# |nose offset| / eye distance. 0.25 drops 1 % of ORL and takes the equal error rate from 0.40 % to 0.11 %.
MAX_TURN = 0.25
# Share of the box outside the picture. YuNet's boxes overshoot a tight portrait by up to 10 % without losing a feature.
MAX_OUTSIDE = 0.15
# Per mille, see `_sharpness`. Unspoilt faces of 80 px and more reach 5.0 to 16; a Gaussian of 3 % of the face's width
# gives 0.8 to 3.2 (pairs 0.60), a smear of 11 % gives 0.6 to 2.8 (pairs 0.45).
MIN_SHARPNESS = 1.8
# Median grey of the face, 0..255. Pictures dimmed to a fifth have 18 to 35 (pairs 0.68), to a tenth 9 to 17 (0.60).
# Low on purpose: a dark skin in fair light is far above it, and must never be the reason to be turned away.
MIN_BRIGHTNESS = 16.0
# Share of face pixels at 250 or more. Brightened by 1.6 it is up to 0.48 (pairs 0.68), by 2.5 up to 0.84 (0.49).
MAX_BURNT = 0.6

_BURNT_GREY = 250
_CORE = (slice(20, 104), slice(24, 88))  # brow to chin and cheek to cheek in the crop: no hair, no background
_DIRECTIONS = ((0, 1, 1.0), (1, 0, 1.0), (1, 1, 2.0), (1, -1, 2.0))  # step in rows, in columns, its squared length


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What was measured on a face before it was compared."""

    face_px: float  # width of the box in the picture
    turn: float  # |nose offset| / eye distance
    sharpness: float  # per mille
    brightness: float  # median grey, 0..255
    burnt: float  # share of pixels without detail, 0..1


def place_problem(face: Face, frame_width: int, frame_height: int, min_face_px: float) -> FaceProblem | None:
    """Return what is wrong with where a face is, before any effort is spent on its pixels."""
    outside = outside_share(face, frame_width, frame_height)
    if outside > MAX_OUTSIDE or _landmark_outside(face, frame_width, frame_height):
        return FaceProblem.CUT_OFF
    if face.width < min_face_px:
        return FaceProblem.TOO_SMALL
    return None


def outside_share(face: Face, frame_width: int, frame_height: int) -> float:
    """Return the share of a face's box that lies outside the picture."""
    wide = min(face.x + face.width, frame_width) - max(face.x, 0)
    high = min(face.y + face.height, frame_height) - max(face.y, 0)
    return max(0.0, 1 - max(wide, 0) * max(high, 0) / face.area)


def _landmark_outside(face: Face, frame_width: int, frame_height: int) -> bool:
    x, y = face.landmarks.T
    return bool(x.min() < 0 or y.min() < 0 or x.max() > frame_width - 1 or y.max() > frame_height - 1)


def turn(landmarks: np.ndarray) -> float:
    """Return how far the nose stands from the middle of the eyes, along their line, in eye distances.

    A head turned until one eye hides the other has no eye distance: infinite.
    """
    right, left, nose = (landmarks[index].astype(np.float64) for index in range(3))
    line = left - right
    length = float(line @ line)
    return abs(float((nose - (right + left) / 2) @ line)) / length if length > 1 else float("inf")


def measure(face: Face, crop: np.ndarray) -> Quality:
    """Return the figures of a face and its upright crop."""
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    core = grey[_CORE]
    return Quality(
        face_px=face.width,
        turn=turn(face.landmarks),
        sharpness=_sharpness(grey),
        brightness=float(np.median(core)),
        burnt=float(np.mean(core >= _BURNT_GREY)),
    )


def problem(quality: Quality) -> FaceProblem | None:
    """Return what forbids comparing a face of this quality: the cause before its consequence."""
    if quality.turn > MAX_TURN:
        return FaceProblem.TURNED_AWAY
    if quality.brightness < MIN_BRIGHTNESS:
        return FaceProblem.DARK
    if quality.burnt > MAX_BURNT:
        return FaceProblem.OVEREXPOSED
    if quality.sharpness < MIN_SHARPNESS:
        return FaceProblem.BLURRED
    return None


def _sharpness(grey: np.ndarray) -> float:
    """Return the finest detail in the direction that has least of it, per mille of the face's own contrast.

    The least of four directions, because a moving head is smeared in one and stays sharp across it; relative to the
    contrast, because dim light is not blur; after a light smoothing, because sensor noise is not detail.
    """
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0).astype(np.float32)
    middle = smooth[16:108, 20:92]
    contrast = max(float(middle.var()), 1.0)  # a flat crop has no detail to measure
    finest = []
    for rows, columns, length in _DIRECTIONS:
        ahead = smooth[16 + rows : 108 + rows, 20 + columns : 92 + columns]
        behind = smooth[16 - rows : 108 - rows, 20 - columns : 92 - columns]
        finest.append(float((ahead + behind - 2 * middle).var()) / length)
    return 1000 * min(finest) / contrast
