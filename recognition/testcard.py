"""Show a model a picture drawn for the purpose and refuse it when the answer is not the known one.

The pictures are crude coloured faces in integer arithmetic, so that every machine and every library version draws
the same bytes, and nobody's photograph travels with the release.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from recognition.errors import ModelDamaged

CARDS = 5  # drawn faces there are
# With a wrong normalisation every face resembles every other. SFace gives the drawn faces a mean of 0.75 among each
# other, normalised twice 0.91, not at all 0.96.
MAX_CARD_SIMILARITY = 0.9
MIN_KNOWN_COSINE = 0.9999  # rounding in the manifest costs 0.00001, another machine's fp32 0.0000001


def draw_card(size: int, variant: int = 0) -> np.ndarray:
    """Return a crude face that makes a face model answer with structure, and whose channels all differ.

    Shape: uint8[size, size, 3], BGR.
    """
    y, x = np.mgrid[0:size, 0:size].astype(np.int64) * 1000 // size  # drawn on a 1000 x 1000 sheet
    wave = (x * (3 + variant) + y * (5 + 2 * variant)) % 256
    picture = np.stack([80 + x * 120 // 1000, 140 - y * 90 // 1000, 30 + wave // 3], axis=-1)
    skin = np.array([[95, 125, 190], [120, 160, 225], [60, 80, 120], [140, 170, 200], [80, 105, 150]][variant % 5])
    shade = (500 - abs(x - 430 + 20 * variant))[..., None] * 60 // 500
    _fill(picture, _ellipse(x, y, 500, 480, 330, 440), skin + shade - 30)
    for side in (-1, 1):
        eye_x = 500 + side * (158 - 6 * variant)
        _fill(picture, _ellipse(x, y, eye_x, 462, 62, 30), np.array([225, 228, 235]))
        _fill(picture, _ellipse(x, y, eye_x + 4 * variant, 464, 28, 28), np.array([60 + 20 * variant, 45, 30]))
        _fill(picture, _ellipse(x, y, eye_x, 400, 84, 14), np.array([30, 38, 45 + 10 * variant]))
    _fill(picture, _ellipse(x, y, 500, 600, 34, 80), skin + 25)
    _fill(picture, _ellipse(x, y, 500, 664, 58, 20), skin - 35)
    _fill(picture, _ellipse(x, y, 500, 806 - 8 * variant, 118, 30 + 6 * variant), np.array([70, 60, 165]))
    _fill(picture, (y < 170 + 25 * variant) & (abs(x - 500) < 300), np.array([25, 30, 40]))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _ellipse(x: np.ndarray, y: np.ndarray, cx: int, cy: int, rx: int, ry: int) -> np.ndarray:
    return (x - cx) ** 2 * ry**2 + (y - cy) ** 2 * rx**2 <= rx**2 * ry**2


def _fill(picture: np.ndarray, where: np.ndarray, colour: np.ndarray) -> None:
    picture[where] = np.broadcast_to(colour, picture.shape)[where]


def check_known(answer: np.ndarray, known: np.ndarray, prepared: Path) -> None:
    """Raise ModelDamaged unless a model answered the test card as the manifest says."""
    if answer.shape != known.shape or not cosine(answer, known) >= MIN_KNOWN_COSINE:  # written so that NaN fails
        raise ModelDamaged(
            f"{prepared.name} does not reproduce its known vectors; delete {prepared} and run: sentinelctl models fetch"
        )


def check_unlike(embed: Callable[[np.ndarray], np.ndarray], size: int, name: str) -> None:
    """Raise ModelDamaged when a model of which no known vectors exist finds all drawn faces alike."""
    vectors = np.stack([embed(draw_card(size, variant)) for variant in range(CARDS)])
    mean = float((vectors @ vectors.T)[np.triu_indices(CARDS, 1)].mean())
    if not mean <= MAX_CARD_SIMILARITY:  # written so that NaN fails
        raise ModelDamaged(
            f"{name} finds five different drawn faces alike (mean similarity {mean:.2f}), as with a "
            "wrong normalisation, and would take strangers for residents; use another pack"
        )


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    """Return the cosine of the angle between two arrays read as vectors."""
    one, two = left.ravel().astype(np.float64), right.ravel().astype(np.float64)
    return float(one @ two / np.sqrt((one @ one) * (two @ two)))
