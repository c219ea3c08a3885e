"""Find faces with YuNet on onnxruntime: box, five landmarks, confidence.

The decoding and the suppression of doubles are ours; boxes equal those of cv2.FaceDetectorYN on the same picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from recognition.runtime import open_network
from recognition.testcard import check_known, draw_card

STRIDES = (8, 16, 32)
GRID = 32  # the picture is padded to a multiple of the widest stride
MIN_CONFIDENCE = 0.7  # no false face in 126 scenes, every face of 80 px found (face-pipeline B)
MIN_CONFIDENCE_REFINE = 0.6  # the face is known to be there: its own best landmarks are asked for
MAX_OVERLAP = 0.3  # intersection over union above which two boxes are one face; cv2.FaceDetectorYN's default
REFINE_SIZE = 160  # one more look costs 0.8 ms at this size
REFINE_MARGIN = 1.6  # the crop is this many faces wide, as YuNet was trained on faces with surroundings
REFINE_BELOW_PX = REFINE_SIZE / REFINE_MARGIN  # a face seen larger than this gains nothing from the second look
NEAR_SIZE = 96  # a tenth of the pixels of a frame at 320
NEAR_MARGIN = 2.0  # the face is seen at 48 px: every one of 40 px is found (face-pipeline B)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Face:
    """A face found in a picture, in that picture's pixels.

    Shape: landmarks float32[5, 2]: both eyes, nose tip, mouth corners, from the left of the picture to its right.
    """

    x: float
    y: float
    width: float
    height: float
    confidence: float
    landmarks: np.ndarray = field(repr=False)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Return x, y, width, height."""
        return self.x, self.y, self.width, self.height

    @property
    def area(self) -> float:
        """Return the area of the box. Unit: square pixels."""
        return self.width * self.height


class Detector(Protocol):
    """What the pipeline asks of any detector."""

    def detect(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces of a picture, the most certain first."""

    def refine(self, pixels: np.ndarray, face: Face) -> Face:
        """Return the face with the best landmarks that can be had."""

    def near(self, pixels: np.ndarray, face: Face) -> list[Face]:
        """Return the faces in the surroundings of one that was just there."""


class YuNet:
    """Find faces with the prepared YuNet.

    `width` is the longest side of the picture that the network sees: at 320 a frame of 640×480 is halved, and a face
    of 80 px is seen at 40, where every one is found.
    """

    def __init__(self, prepared: Path, known: Sequence[float] = (), *, width: int = 320) -> None:
        # One thread: with two, the pools of both models fight for two cores and a frame takes longer.
        self._network = open_network(prepared, threads=1)
        self._width = width
        self._planes: dict[tuple[int, int], np.ndarray] = {}
        if known:
            check_known(self.answer(), np.asarray(known), prepared)

    def detect(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces of a picture, the most certain first.

        Shape: pixels uint8[h, w, 3], BGR.
        """
        return self._detect_at(pixels, self._width, MIN_CONFIDENCE)

    def refine(self, pixels: np.ndarray, face: Face) -> Face:
        """Return the face with landmarks of a second look at its surroundings, where that look is the sharper one.

        Source: face-pipeline D: the equal error rate on ORL falls from 1.00 % to 0.40 %.
        """
        if max(face.width, face.height) * self._scale(pixels, self._width) >= REFINE_BELOW_PX:
            return face
        side = max(face.width, face.height) * REFINE_MARGIN
        found = self._in_window(pixels, face, side, REFINE_SIZE, MIN_CONFIDENCE_REFINE)
        if not found:
            return face
        middle = np.array([face.x + face.width / 2, face.y + face.height / 2])
        again = min(found, key=lambda other: float(np.linalg.norm(other.landmarks.mean(axis=0) - middle)))
        return replace(again, confidence=face.confidence)

    def near(self, pixels: np.ndarray, face: Face) -> list[Face]:
        """Return the faces in the surroundings of one that was just there, at a tenth of a whole frame's cost."""
        side = max(face.width, face.height) * NEAR_MARGIN
        return self._in_window(pixels, face, side, NEAR_SIZE, MIN_CONFIDENCE)

    def _in_window(self, pixels: np.ndarray, face: Face, side: float, size: int, min_confidence: float) -> list[Face]:
        """Return the faces of a square around a face, in the picture's pixels. Unit: side and size in pixels."""
        window, zoom, left, top = window_around(pixels, face, side, size)
        rows = self._rows(window, min_confidence)
        rows[:, :14] /= zoom
        rows[:, [0, 4, 6, 8, 10, 12]] += left
        rows[:, [1, 5, 7, 9, 11, 13]] += top
        return [_face(row) for row in rows]

    def _detect_at(self, pixels: np.ndarray, longest: int, min_confidence: float) -> list[Face]:
        before = pixels.shape
        scale = self._scale(pixels, longest)
        if scale < 1:
            # Area averages what it drops; bilinear does the same for an exact half and skips pixels below it.
            size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR)
        rows = self._rows(pixels, min_confidence)
        rows[:, :14] *= np.tile([before[1] / pixels.shape[1], before[0] / pixels.shape[0]], 7)
        return [_face(row) for row in rows]

    def _rows(self, pixels: np.ndarray, min_confidence: float) -> np.ndarray:
        rows = decode(self._run(pixels), min_confidence)
        return rows[suppress_doubles(rows, MAX_OVERLAP)]

    @staticmethod
    def _scale(pixels: np.ndarray, longest: int) -> float:
        return min(1.0, longest / max(pixels.shape[:2]))

    def _run(self, pixels: np.ndarray) -> list[np.ndarray]:
        height, width = pixels.shape[:2]
        padded = (-(-height // GRID) * GRID, -(-width // GRID) * GRID)
        planes = self._planes.get(padded)
        if planes is None:
            # One size a camera, one for refinement, few for enrolled pictures: the old go when they are many.
            if len(self._planes) >= 8:
                self._planes.clear()
            planes = self._planes[padded] = np.zeros((1, 3, *padded), np.float32)
        planes[:, :, height:] = 0
        planes[:, :, :, width:] = 0
        for channel, plane in enumerate(cv2.split(pixels)):
            planes[0, channel, :height, :width] = plane
        return self._network.run(planes)

    def answer(self) -> np.ndarray:
        """Return what the manifest's `known` must hold: the mean of every channel for the test card.

        Shape: float32[48].
        """
        return np.concatenate([merged[0].mean(axis=(1, 2)) for merged in self._run(draw_card(REFINE_SIZE))])


def window_around(pixels: np.ndarray, face: Face, side: float, size: int) -> tuple[np.ndarray, float, float, float]:
    """Return the square around a face's middle at another size, its zoom, and its left and top edge in the picture.

    Shape: side in pixels of the picture, size in pixels of the window → uint8[size, size, 3], black outside.
    """
    left, top = face.x + face.width / 2 - side / 2, face.y + face.height / 2 - side / 2
    zoom = size / side
    to_window = np.array([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]])
    window = cv2.warpAffine(pixels, to_window, (size, size), borderValue=(0, 0, 0))
    return window, zoom, left, top


def _face(row: np.ndarray) -> Face:
    x, y, width, height = (float(value) for value in row[:4])
    landmarks = row[4:14].reshape(5, 2).astype(np.float32)
    return Face(x=x, y=y, width=width, height=height, confidence=float(row[14]), landmarks=landmarks)


def decode(maps: Sequence[np.ndarray], min_confidence: float) -> np.ndarray:
    """Return the candidates of three merged maps, the most certain first.

    Shape: maps float32[1, 16, h, w] per stride → float64[n, 15]: x, y, width, height, five points, confidence.
    Source: cv2.FaceDetectorYN: confidence = sqrt(class * object), sizes are exponentials, all in strides.
    """
    found = [np.empty((0, 15))]
    # Neither factor exceeds 1, so both must reach confidence² alone: a cheap cut before any exponential.
    floor = np.log(min_confidence**2 / (1 - min_confidence**2))
    for stride, merged in zip(STRIDES, maps, strict=True):
        columns = merged.shape[3]
        flat = merged[0].reshape(16, -1)
        kept = np.flatnonzero(np.minimum(flat[0], flat[1]) >= floor)
        if not kept.size:
            continue
        cells = flat[:, kept].astype(np.float64)
        grid = np.stack([kept % columns, kept // columns])
        confidence = np.sqrt(1 / (1 + np.exp(-cells[0])) / (1 + np.exp(-cells[1])))
        centre = (grid + cells[2:4]) * stride
        size = np.exp(cells[4:6]) * stride
        points = (np.tile(grid, (5, 1)) + cells[6:16]) * stride
        found.append(
            np.concatenate([centre - size / 2, size, points, confidence[None]]).T[confidence >= min_confidence]
        )
    rows = np.concatenate(found)
    return rows[np.argsort(-rows[:, 14], kind="stable")]


def suppress_doubles(rows: np.ndarray, max_overlap: float) -> list[int]:
    """Return which rows to keep: of boxes that overlap, the most certain.

    Shape: rows float[n, 15] as `decode` gives them, the most certain first.
    """
    kept: list[int] = []
    for index in range(len(rows)):
        if all(overlap(rows[index], rows[other]) <= max_overlap for other in kept):
            kept.append(index)
    return kept


def overlap(one: Sequence[float] | np.ndarray, two: Sequence[float] | np.ndarray) -> float:
    """Return the intersection of two boxes over their union, 0..1. Boxes begin with x, y, width, height."""
    wide = min(one[0] + one[2], two[0] + two[2]) - max(one[0], two[0])
    high = min(one[1] + one[3], two[1] + two[3]) - max(one[1], two[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return float(wide * high / (one[2] * one[3] + two[2] * two[3] - wide * high))
