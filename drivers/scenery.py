"""Measure one picture, and remember the place a camera watches as it looks when nobody is there. Pure.

Everything is measured on a grey picture of at most 320 pixels width. Edges come from a Laplacian after light smoothing;
their strength in each of 8 × 6 blocks is what stands above the sensor's noise, in per cent of the picture's
brightness: so neither noise looks like an edge, nor dim light like mist.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

WORK_PX = 320
OUTLINE_PX = 160  # a shift of 1 % is 1.6 of these, and a correlation costs 0.3 ms
COARSE_PX = (32, 24)  # what mist leaves of a scene: things larger than a twentieth of the picture
GRID = (8, 6)  # blocks across and down
SMOOTH_PX, SMOOTH_SIGMA = (5, 5), 1.0
DARK_LEVEL = 16  # of 255; video black is 16, a lit street at night is above 30
BURNT_LEVEL = 250  # of 255; above, no detail is left
LEAST_LEVEL = 16.0  # darker pictures are not measured as if they were brighter still
SHARPEST = 0.95  # the sharpest twentieth of the blocks says how sharp the picture can be
NOISE_QUARTER = 0.25  # of the blocks at least a quarter holds still; the difference of two pictures there is noise
EDGE_PX = 5  # the reach of smoothing and Laplacian: so near the mask's rim its edge is seen
BLOCK_SHARE = 0.25  # a block with less than this inside the mask says nothing
LEARN_S = 3.0  # of empty pictures until the place is known
FORGET_S = 600.0  # light wanders within tens of minutes


class Grid:
    """Average over blocks, and only over what the mask leaves. `used` is bool[height, width], or None for all."""

    def __init__(self, used: Any | None, shape: tuple[int, int]) -> None:
        self.used = self.weight = None
        if used is not None and not used.all():
            self.used = cv2.resize(used.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
            kernel = np.ones((2 * EDGE_PX + 1, 2 * EDGE_PX + 1), np.uint8)
            self.weight = cv2.erode(self.used.astype(np.uint8), kernel, borderValue=1).astype(np.float32)
        share = np.ones(GRID[::-1]) if self.weight is None else _blocks(self.weight)
        self._share = share
        self._valid = share >= min(BLOCK_SHARE, share.max())

    def means(self, field: Any) -> Any:
        """Return the mean of a field in each block that counts. Shape: field float32[h, w] → float[n]."""
        if self.weight is not None:
            field = field * self.weight
        return (_blocks(field) / np.maximum(self._share, 1e-6))[self._valid]

    def inside(self, grey: Any) -> Any:
        """Return the pixels that are used."""
        return grey if self.used is None else grey[self.used]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """One picture, measured. Shape: `grey` and `edges` float32[h, w], at most 320 wide."""

    level: float  # mean, 0..255
    dark_share: float
    burnt_share: float
    grey: Any
    edges: Any


def look(pixels: Any, used: Any | None = None) -> tuple[Look, Grid]:
    """Return what one picture shows, and the grid it was measured on. Shape: pixels [h, w, 3] BGR or [h, w] grey."""
    grey = _small_grey(pixels)
    grid = Grid(used, grey.shape)
    inside = grid.inside(grey)
    single = grey.astype(np.float32)
    seen = Look(
        level=float(inside.mean()),
        dark_share=float(np.count_nonzero(inside < DARK_LEVEL) / inside.size),
        burnt_share=float(np.count_nonzero(inside >= BURNT_LEVEL) / inside.size),
        grey=single,
        edges=_edges(single),
    )
    return seen, grid


def noise_between(now: Look, before: Look, grid: Grid) -> float:
    """Return the noise in the edges of two pictures of one place, people walking through it or not. Unit: variance."""
    return float(np.quantile(grid.means((now.edges - before.edges) ** 2), NOISE_QUARTER)) / 2


def strengths(edges: Any, grid: Grid, *, noise: float, level: float) -> Any:
    """Return the strength of edges in each block, without the noise. Unit: per cent of the brightness."""
    energy = np.maximum(grid.means(edges * edges) - noise, 0.0)
    return np.sqrt(energy) / max(level, LEAST_LEVEL) * 100


def sharpness_of(edges: Any) -> float:
    """Return how sharp a picture is, from the strengths of its blocks: as its sharpest twentieth."""
    return float(np.quantile(edges, SHARPEST))


def doubtful(noise: float, level: float) -> float:
    """Return the strength below which noise may pass for an edge, or hide one: half of the noise's own variance."""
    return float(np.sqrt(noise / 2)) / max(level, LEAST_LEVEL) * 100


class Reference:
    """The place without people, averaged over minutes and free of noise. It is learnt anew by each process."""

    def __init__(self) -> None:
        self._grey: Any = None
        self._learnt_s = 0.0
        self._strengths: Any = None
        self._outline: Any = None
        self._coarse: Any = None

    def fits(self, seen: Look) -> bool:
        """Whether the place is known, in pictures of this size."""
        return self._learnt_s >= LEARN_S and self._grey.shape == seen.grey.shape

    def learn(self, seen: Look, seconds: float) -> None:
        """Blend in a picture of the empty place that stands for so many seconds."""
        grey = seen.grey * (100.0 / max(seen.level, LEAST_LEVEL))
        if self._grey is None or self._grey.shape != grey.shape:
            self._grey, self._learnt_s = grey, 0.0
        else:
            cv2.accumulateWeighted(grey, self._grey, min(1.0, seconds / (self._learnt_s + seconds)))
        self._learnt_s = min(self._learnt_s + seconds, FORGET_S)
        self._strengths = self._outline = self._coarse = None

    def strengths(self, grid: Grid) -> Any:
        """Return how strong the edges of the empty place are, block by block. Unit: per cent of the brightness."""
        if self._strengths is None:
            self._strengths = strengths(_edges(self._grey), grid, noise=0.0, level=100.0)
        return self._strengths

    def likeness(self, seen: Look) -> float:
        """Return how much of the place's large forms is in the picture, -1 to 1; mist leaves them, a hand does not."""
        if self._coarse is None:
            self._coarse = _forms(self._grey)
        return _correlation(self._coarse, _forms(seen.grey))

    def shift(self, seen: Look, grid: Grid) -> tuple[float, float, float]:
        """Return where the place lies in the picture: to the right, down, and how clearly that is so.

        Unit: shares of the picture's width; clearness 0 to 1.
        """
        there, here = self._outlines(seen, grid)
        window = cv2.createHanningWindow(here.shape[::-1], cv2.CV_32F)
        # Copies: OpenCV 5.0 multiplies the window into what it is given.
        (right, down), clear = cv2.phaseCorrelate(there.copy(), here.copy(), window)
        return right / here.shape[1], down / here.shape[1], float(clear)

    def outline_likeness(self, seen: Look, grid: Grid) -> float:
        """Return how much of the place's outlines is where it was, -1 to 1."""
        return _correlation(*self._outlines(seen, grid))

    def _outlines(self, seen: Look, grid: Grid) -> tuple[Any, Any]:
        if self._outline is None:
            self._outline = _outline(self._grey, grid)
        return self._outline, _outline(seen.grey, grid)


def _small_grey(pixels: Any) -> Any:
    height, width = pixels.shape[:2]
    if width > WORK_PX:
        size = (WORK_PX, max(1, round(height * WORK_PX / width)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY) if pixels.ndim == 3 else pixels


def _edges(grey: Any) -> Any:
    return cv2.Laplacian(cv2.GaussianBlur(grey, SMOOTH_PX, SMOOTH_SIGMA), cv2.CV_32F)


def _blocks(field: Any) -> Any:
    return cv2.resize(field, GRID, interpolation=cv2.INTER_AREA)


def _forms(grey: Any) -> Any:
    """Return what has middle size: no edges, which mist takes, and no fall of light, which a hand has too."""
    coarse = cv2.resize(grey, COARSE_PX, interpolation=cv2.INTER_AREA)
    return coarse - cv2.GaussianBlur(coarse, (0, 0), 4.0)


def _outline(grey: Any, grid: Grid) -> Any:
    size = (OUTLINE_PX, max(1, round(grey.shape[0] * OUTLINE_PX / grey.shape[1])))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    outline = cv2.magnitude(cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1))
    if grid.weight is not None:
        outline *= cv2.resize(grid.weight, size, interpolation=cv2.INTER_NEAREST)
    return outline


def _correlation(one: Any, other: Any) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / size if size > 0 else 0.0
