"""Make a vector of the small photograph that an identity card holds, for comparison with who shows the card."""

import cv2
import numpy as np

from recognition.align import crop_face
from recognition.detect import Detector
from recognition.embed import Embedder, unit

ZOOM = 2  # doubled before alignment and softened, for its codec leaves blocks (face-pipeline D)
SIGMA_PX = 0.6
MIN_FACE_PX = 30  # of 102: the detector finds every one from here on


def photo_vector(pixels: np.ndarray, detector: Detector, embedder: Embedder) -> np.ndarray | None:
    """Return the mean of the photograph and its mirror image; None when no face is in it.

    The face is looked for at the picture's own size, where the blocks of its codec disturb least.
    Shape: pixels uint8[126, 102, 3] BGR → float32[d] of unit length.
    Source: face-pipeline D: doubled, softened and mirrored, the equal error rate of a harsh codec is half as large.
    """
    faces = sorted(detector.detect(pixels), key=lambda face: -face.area)
    if not faces or faces[0].width < MIN_FACE_PX:
        return None
    size = (pixels.shape[1] * ZOOM, pixels.shape[0] * ZOOM)
    larger = cv2.GaussianBlur(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), (0, 0), SIGMA_PX)
    crop = crop_face(larger, detector.refine(pixels, faces[0]).landmarks * ZOOM)
    return unit(embedder.embed(crop) + embedder.embed(np.ascontiguousarray(crop[:, ::-1])))
