"""Stage who stands before the camera: drawn faces, a detector and an embedder that see what the test says."""

import numpy as np

from recognition.detect import Face
from recognition.testcard import draw_card

# Where the drawn face has its eyes, nose and mouth corners, as shares of the drawing.
CARD_LANDMARKS = np.array([[342, 462], [658, 462], [500, 640], [382, 806], [618, 806]], np.float32) / 1000


def card_face(x: float = 100, y: float = 60, size: float = 320, confidence: float = 0.95) -> Face:
    """Return the face of a test card that was drawn at this place and size."""
    landmarks = (CARD_LANDMARKS * size + np.array([x, y])).astype(np.float32)
    return Face(
        x=x + 0.17 * size, y=y + 0.1 * size, width=0.66 * size, height=0.85 * size,
        confidence=confidence, landmarks=landmarks,
    )  # fmt: skip


def card_frame(variant: int = 0, x: int = 100, y: int = 60, size: int = 320) -> np.ndarray:
    """Return a frame with a test card in it."""
    frame = np.full((480, 640, 3), 128, np.uint8)
    frame[y : y + size, x : x + size] = draw_card(size, variant)
    return frame


class StagedDetector:
    """A detector that finds what the test staged."""

    def __init__(self) -> None:
        self.faces: list[Face] = []

    def detect(self, pixels):
        return list(self.faces)

    def refine(self, pixels, face):
        return face

    def near(self, pixels, face):
        return list(self.faces)


class StagedEmbedder:
    """An embedder that sees whom the test staged."""

    model = "staged-1"
    crop_size = 112

    def __init__(self) -> None:
        self.vector = np.eye(4, dtype=np.float32)[0]
        self.calls = 0

    def embed(self, crop):
        self.calls += 1
        return self.vector
