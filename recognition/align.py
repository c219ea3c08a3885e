"""Turn a face in a picture into the upright 112×112 crop that face embedders are trained on."""

import cv2
import numpy as np

CROP_SIZE = 112
_WIDE_SIZE, _WIDE_SHIFT = 128, 8.0  # the other size of ArcFace's crops

# Where both eyes, the nose tip and the mouth corners stand in the crop, from the left of the picture to its right.
# Source: the five-point template of ArcFace and SFace (cv2.FaceRecognizerSF, insightface.utils.face_align).
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float64
)
_CENTRE = TEMPLATE.mean(axis=0)
_CENTRED = TEMPLATE - _CENTRE


def similarity_transform(landmarks: np.ndarray) -> np.ndarray:
    """Return the turn, scale and shift that lay five landmarks on the template with the least squared error.

    Shape: landmarks float[5, 2] → float64[2, 3], as cv2.warpAffine takes it.
    Source: Umeyama 1991 in its closed form for the plane; a mirror image is never fitted.
    """
    points = landmarks.astype(np.float64)
    centre = points.mean(axis=0)
    x, y = (points - centre).T
    u, v = _CENTRED.T
    spread = (x @ x + y @ y) or 1.0  # five equal points have no scale; any crop of them is refused later
    a = (x @ u + y @ v) / spread
    b = (x @ v - y @ u) / spread
    turn = np.array([[a, -b], [b, a]])
    return np.column_stack([turn, _CENTRE - turn @ centre])


def crop_face(pixels: np.ndarray, landmarks: np.ndarray, size: int = CROP_SIZE) -> np.ndarray:
    """Return the upright crop of a face.

    Shape: pixels uint8[h, w, 3] BGR, landmarks float[5, 2] → uint8[size, size, 3] BGR; size a multiple of 112 or 128.
    Source: insightface.utils.face_align.estimate_norm: at 128 the face is as large as at 112, and 8 px further right.
    """
    transform = similarity_transform(landmarks)
    if size != CROP_SIZE:
        wide = size % CROP_SIZE != 0
        transform[0, 2] += _WIDE_SHIFT if wide else 0
        transform *= size / (_WIDE_SIZE if wide else CROP_SIZE)
    # Black outside the picture: replicated borders double the false accepts of SFace (face-pipeline D, pitfalls).
    return cv2.warpAffine(pixels, transform, (size, size), borderValue=(0, 0, 0))
