"""Make a vector of the small photograph that an identity card holds, for comparison with who shows the card."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from recognition.align import crop_face
from recognition.detect import Detector, Face
from recognition.embed import Embedder, unit
from recognition.quality import Quality, measure

ZOOM = 2  # doubled before alignment and softened, for its codec leaves blocks (face-pipeline D)
SIGMA_PX = 0.6
MIN_FACE_PX = 30  # of 102: the detector finds every one from here on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhotoFace:
    """The face of a card's photograph. Shape: vector float32[d] of unit length. It must not leave the device."""

    vector: np.ndarray = field(repr=False)
    quality: Quality  # of the enlarged crop, its size as it is in the photograph


def photo_face(pixels: np.ndarray, detector: Detector, embedder: Embedder) -> PhotoFace | None:
    """Return the face of the photograph with its figures, to be enrolled; None when no face is in it.

    Shape: pixels uint8[126, 102, 3] BGR.
    """
    found = _cropped(pixels, detector)
    if found is None:
        return None
    face, crop = found
    return PhotoFace(vector=_embedded(crop, embedder), quality=measure(face, crop))


def photo_vector(pixels: np.ndarray, detector: Detector, embedder: Embedder) -> np.ndarray | None:
    """Return the mean of the photograph and its mirror image; None when no face is in it.

    Shape: pixels uint8[126, 102, 3] BGR → float32[d] of unit length.
    Source: face-pipeline D: doubled, softened and mirrored, the equal error rate of a harsh codec is half as large.
    """
    found = _cropped(pixels, detector)
    return None if found is None else _embedded(found[1], embedder)


def _cropped(pixels: np.ndarray, detector: Detector) -> tuple[Face, np.ndarray] | None:
    """Return the face and its enlarged crop.

    The face is looked for at the picture's own size, where the blocks of its codec disturb least.
    """
    faces = sorted(detector.detect(pixels), key=lambda face: -face.area)
    if not faces or faces[0].width < MIN_FACE_PX:
        return None
    size = (pixels.shape[1] * ZOOM, pixels.shape[0] * ZOOM)
    larger = cv2.GaussianBlur(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), (0, 0), SIGMA_PX)
    face = detector.refine(pixels, faces[0])
    return face, crop_face(larger, face.landmarks * ZOOM)


def _embedded(crop: np.ndarray, embedder: Embedder) -> np.ndarray:
    return unit(embedder.embed(crop) + embedder.embed(np.ascontiguousarray(crop[:, ::-1])))
