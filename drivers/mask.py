"""Limit a camera to the part of its picture that it may use; the rest is black before anything looks at it.

    mask = "0.10,0.00,0.80,1.00"                           x, y, width, height in shares of the picture
    mask = "0.10,0.00,0.40,1.00;0.60,0.20,0.30,0.80"       two rectangles; what either covers is used
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from drivers.errors import PortSettingsError

LEAST_SHARE = 0.05  # a face at half a metre fills more; a smaller part is a slip of the finger
ROUNDING = 1e-6  # 0.1 + 0.9 is a little more than 1
FORM = 'write "x,y,width,height" in shares of the picture, as "0.10,0.00,0.80,1.00"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """A part of a picture, in shares of its width and height."""

    x: float
    y: float
    width: float
    height: float

    def within(self, height_px: int, width_px: int) -> tuple[slice, slice]:
        """Return its rows and columns, rounded inward: a mask never shows a pixel more than it says."""
        top, bottom = _inward(self.y, self.height, height_px)
        left, right = _inward(self.x, self.width, width_px)
        return slice(top, bottom), slice(left, right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """The part of the picture that may be used; without rectangles it is all of it."""

    rectangles: tuple[Rectangle, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Mask":
        """Return the mask of this text; "" uses the whole picture.

        Raises: PortSettingsError, naming the mistake.
        """
        if not text:
            return cls()
        mask = cls(rectangles=tuple(_rectangle(part) for part in text.split(";")))
        if mask.share < LEAST_SHARE:
            raise PortSettingsError(
                f"mask {text!r}: only {mask.share:.1%} of the picture would be used, too small; "
                f"make it at least {LEAST_SHARE:.0%}"
            )
        return mask

    @property
    def share(self) -> float:
        """Return the part of the picture's area that is used, 0 to 1; what two rectangles share counts once."""
        if not self.rectangles:
            return 1.0
        xs = sorted({edge for one in self.rectangles for edge in (one.x, one.x + one.width)})
        ys = sorted({edge for one in self.rectangles for edge in (one.y, one.y + one.height)})
        return sum(
            (right - left) * (bottom - top)
            for left, right in pairwise(xs)
            for top, bottom in pairwise(ys)
            if self._covers((left + right) / 2, (top + bottom) / 2)
        )

    def _covers(self, x: float, y: float) -> bool:
        return any(one.x < x < one.x + one.width and one.y < y < one.y + one.height for one in self.rectangles)

    def used(self, height_px: int, width_px: int) -> Any:
        """Return which pixels are used. Shape: bool[height_px, width_px]."""
        used = np.full((height_px, width_px), not self.rectangles)
        for one in self.rectangles:
            used[one.within(height_px, width_px)] = True
        return used

    def frame(self, height_px: int, width_px: int) -> tuple[slice, slice]:
        """Return the rows and columns of the smallest rectangle around everything that is used."""
        if not self.rectangles:
            return slice(0, height_px), slice(0, width_px)
        parts = [one.within(height_px, width_px) for one in self.rectangles]
        rows, columns = zip(*parts, strict=True)
        return (
            slice(min(part.start for part in rows), max(part.stop for part in rows)),
            slice(min(part.start for part in columns), max(part.stop for part in columns)),
        )

    def apply(self, pixels: Any) -> Any:
        """Return the picture with everything outside black, as a copy; the whole picture comes back as it is."""
        if not self.rectangles:
            return pixels
        shown = np.zeros_like(pixels)
        for one in self.rectangles:
            part = one.within(*pixels.shape[:2])
            shown[part] = pixels[part]
        return shown

    def leaks(self, pixels: Any) -> int:
        """Return how many pixels outside are not black: none, or the mask does not hold."""
        outside = pixels[~self.used(*pixels.shape[:2])]
        return int(np.count_nonzero(outside.reshape(len(outside), -1).any(axis=1))) if len(outside) else 0

    def __str__(self) -> str:
        """Say it as in the settings, and what it means."""
        if not self.rectangles:
            return "no mask: all of the picture is used"
        parts = ";".join(f"{one.x:.2f},{one.y:.2f},{one.width:.2f},{one.height:.2f}" for one in self.rectangles)
        return f"mask {parts}: {self.share:.0%} of the picture is used"


def _rectangle(text: str) -> Rectangle:
    try:
        x, y, width, height = (float(share) for share in text.split(","))
    except ValueError as error:
        raise PortSettingsError(f"mask {text!r}: not four numbers; {FORM}") from error
    shares = (x, y, width, height)
    if not np.isfinite(shares).all():
        raise PortSettingsError(f"mask {text!r}: a share is no finite number; {FORM}")
    if width <= 0 or height <= 0:
        raise PortSettingsError(f"mask {text!r}: it is empty, width and height must be above 0; {FORM}")
    if min(x, y) < 0 or max(x + width, y + height) > 1 + ROUNDING:
        raise PortSettingsError(f"mask {text!r}: it reaches outside the picture, which goes from 0 to 1; {FORM}")
    return Rectangle(x=x, y=y, width=min(width, 1 - x), height=min(height, 1 - y))


def _inward(start: float, length: float, size_px: int) -> tuple[int, int]:
    first = int(np.ceil(start * size_px - ROUNDING))
    return first, max(first, int(np.floor((start + length) * size_px + ROUNDING)))
