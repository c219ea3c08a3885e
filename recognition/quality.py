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

# How much detail the mouth has, as a share of the eyes' own, and in percent of the skin's grey. 115 uncovered faces,
# beards and glasses among them, have 0.53 to 1.34, and 7 to 30. With a mask drawn on (blue, white, black; pleats and
# noise) 97 of 100 fall below the first limit alone, or below both others. Two measures, because pale eyes in a dark
# face have much detail, and lips then little beside it: no skin may be the reason. A mask with a mouth printed on it
# is not noticed; nor is a cap, which looks like a fringe.
COVERED_MOUTH_DETAIL = 0.20
MIN_MOUTH_DETAIL = 0.40
MIN_MOUTH_CONTRAST = 4.0
# Grey of the brighter eye as a share of the cheek below it. 215 uncovered faces have 0.37 to 1.09, whatever the skin,
# as it is measured against itself; with dark glasses drawn on, 9 of 10 have less than 0.30.
MIN_EYE_LIGHT = 0.33

WELL_SHARP = 6.0  # per mille; half of the unspoilt faces have more
WELL_SIZED_PX = 112.0  # the crop's own size: more pixels tell the embedder nothing

_BURNT_GREY = 250
_EYES = (slice(42, 62), slice(24, 88))
_MOUTH = (slice(82, 104), slice(36, 76))
_SKIN = (slice(66, 80), slice(30, 82))  # the cheeks, with the nose between them
_EYE_COLUMNS = (38, 73)  # where the template of `align` has both eyes
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
    mouth_detail: float = 1.0  # share of the eyes' detail
    mouth_contrast: float = 100.0  # percent of the skin's grey
    eye_light: float = 1.0  # share of the cheeks' grey


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
    mouth_detail, mouth_contrast = _mouth(grey)
    return Quality(
        face_px=face.width,
        turn=turn(face.landmarks),
        sharpness=_sharpness(grey),
        brightness=float(np.median(core)),
        burnt=float(np.mean(core >= _BURNT_GREY)),
        mouth_detail=mouth_detail,
        mouth_contrast=mouth_contrast,
        eye_light=_eye_light(grey),
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
    if _mouth_covered(quality):  # before the eyes: beside a white mask any eye is dark
        return FaceProblem.MOUTH_COVERED
    return FaceProblem.EYES_COVERED if quality.eye_light < MIN_EYE_LIGHT else None


def _mouth_covered(quality: Quality) -> bool:
    flat = quality.mouth_detail < MIN_MOUTH_DETAIL and quality.mouth_contrast < MIN_MOUTH_CONTRAST
    return flat or quality.mouth_detail < COVERED_MOUTH_DETAIL


def weight(quality: Quality) -> float:
    """Return how much a usable face counts beside other frames of it, 0..1: frontal, sharp and near is best."""
    frontal = 1 - 0.6 * min(quality.turn / MAX_TURN, 1.0)
    sharp = min(max(quality.sharpness / WELL_SHARP, 0.3), 1.0)
    return frontal * sharp * min(quality.face_px / WELL_SIZED_PX, 1.0)


def _mouth(grey: np.ndarray) -> tuple[float, float]:
    """Return the mean slope of grey about the mouth: over that about the eyes, and in percent of the skin's grey."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    across, down = cv2.absdiff(smooth[:, 2:], smooth[:, :-2]), cv2.absdiff(smooth[2:], smooth[:-2])
    slopes = across[1:-1].astype(np.float32) + down[:, 1:-1]
    mouth, eyes = float(slopes[_MOUTH].mean()), float(slopes[_EYES].mean())
    return mouth / max(eyes, 0.1), 100 * mouth / max(float(np.median(grey[_SKIN])), 10.0)


def _eye_light(grey: np.ndarray) -> float:
    """Return the grey of the brighter eye over that of the cheek below it."""
    shares = [
        float(np.median(grey[44:60, column - 9 : column + 10]))
        / max(float(np.median(grey[66:80, column - 8 : column + 9])), 1.0)
        for column in _EYE_COLUMNS
    ]
    return max(shares)


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
