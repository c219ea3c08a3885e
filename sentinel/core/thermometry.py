"""Turn a picture of temperatures into the skin temperature of the person in it, or say why it was not measured.

A value is measured or it is absent. Nothing is clamped, smoothed toward normal or replaced: the figure is one pixel of
the sensor plus a constant from the settings, and both are in the record. A warmer person never reads cooler: raising
any pixel can only raise the figure, or take it away as implausible.
Source: device-protocols 2.2 (up to four broken pixels are within the sensor's specification) and 2.4 (plausible skin).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from drivers.readings import ThermalReading
from sentinel.core.model import SkinTemperature

NOBODY = "nobody"  # nothing as warm as skin is in view
AMBIENT_OUT_OF_RANGE = "ambient-out-of-range"  # the module's own limits: its figure is not valid there
IMPLAUSIBLE = "implausible"  # something is in view that is no skin, or the module's picture is damaged
STALE = "stale"  # it was measured too long before the decision; said by the fuser
WHY_NOT = (NOBODY, AMBIENT_OUT_OF_RANGE, IMPLAUSIBLE, STALE)

SKIPPED_PIXELS = 4  # as many may be broken; the hottest left is then certainly a real one
MIN_WARM_PIXELS = 8  # twice the broken ones; a face two metres away still fills about twenty of 768
MAX_WARM_SHARE = 0.9  # more of a whole field: the wall is as warm as skin, and nobody can be told from it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """The pixels looked at, from `left`, `top` up to but without `right`, `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def pixel_count(self) -> int:
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)


def skin_temperature(
    field: ThermalReading,
    *,
    at_mono: float,
    face_box_share: tuple[float, float, float, float] | None = None,
    offset_celsius: float,
    ambient_min: float,
    ambient_max: float,
    person_min_celsius: float = 30.0,
    max_celsius: float = 43.0,
) -> SkinTemperature:
    """Return the skin temperature of the hottest person in the field, with all that went into the figure.

    Shape: `face_box_share` is x, y, width, height of the face as shares (0..1) of the picture; None: the whole field.
    Unit: °C. `raw_celsius` is the pixel as the module gave it; skin = raw + offset, unless `why_not` says otherwise.
    """
    raw = None
    if len(field.celsius) != field.width * field.height:
        why_not = IMPLAUSIBLE
    else:
        window = _window(field, face_box_share)
        warm = _warm_pixels(field, window, person_min_celsius - offset_celsius)
        raw = _hottest_person(field, warm)
        whole = face_box_share is None and len(warm) > MAX_WARM_SHARE * window.pixel_count
        why_not = _why_not(raw, None if raw is None else raw + offset_celsius, max_celsius, whole)
    if not ambient_min <= field.ambient_celsius <= ambient_max:  # NaN is out of range too
        why_not = AMBIENT_OUT_OF_RANGE
    return SkinTemperature(
        at_mono=at_mono,
        skin_celsius=raw + offset_celsius if raw is not None and not why_not else None,
        raw_celsius=raw,
        ambient_celsius=field.ambient_celsius if math.isfinite(field.ambient_celsius) else None,
        compensation_celsius=offset_celsius,
        why_not=why_not,
    )


def settled(
    measures: Sequence[SkinTemperature], limit_celsius: float, margin_celsius: float, again: int = 3
) -> SkinTemperature | None:
    """Return the measure that may decide, or None while the person must be measured again.

    Far from the limit the latest one decides. Nearer than the margin it takes the newest `again` measures of the same
    person, and the middle one of them: a figure that was really measured, never an average.
    """
    measured = [one for one in measures if one.skin_celsius is not None]
    if not measured:
        return None
    if abs(_figure(measured[-1]) - limit_celsius) > margin_celsius:
        return measured[-1]
    if len(measured) < again:
        return None
    middle = sorted(measured[-again:], key=_figure)[again // 2]
    return replace(middle, measured_times=again)


def _figure(measure: SkinTemperature) -> float:
    assert measure.skin_celsius is not None
    return measure.skin_celsius


def _why_not(raw: float | None, skin: float | None, max_celsius: float, whole_scene_warm: bool) -> str:
    if raw is None or skin is None:
        return NOBODY
    return IMPLAUSIBLE if skin > max_celsius or whole_scene_warm else ""


def _window(field: ThermalReading, share: tuple[float, float, float, float] | None) -> _Window:
    """Return the pixels that the face touches, cut to the field; none when the box is no box."""
    if share is None:
        return _Window(left=0, top=0, right=field.width, bottom=field.height)
    if not all(math.isfinite(part) for part in share):
        return _Window(left=0, top=0, right=0, bottom=0)
    x, y, width, height = share
    return _Window(
        left=max(0, math.floor(x * field.width)),
        top=max(0, math.floor(y * field.height)),
        right=min(field.width, math.ceil((x + width) * field.width)),
        bottom=min(field.height, math.ceil((y + height) * field.height)),
    )


def _warm_pixels(field: ThermalReading, window: _Window, least_raw_celsius: float) -> set[int]:
    """Return the indices of pixels at least as warm as skin. Too hot ones count: they must not vanish from a region."""
    warm = set()
    for row in range(window.top, window.bottom):
        for index in range(row * field.width + window.left, row * field.width + window.right):
            value = field.celsius[index]
            if math.isfinite(value) and value >= least_raw_celsius:
                warm.add(index)
    return warm


def _hottest_person(field: ThermalReading, warm: set[int]) -> float | None:
    """Return the figure of the hottest warm region that is large enough to be a person."""
    figures = [
        sorted((field.celsius[index] for index in region), reverse=True)[SKIPPED_PIXELS]
        for region in _regions(warm, field.width)
        if len(region) >= MIN_WARM_PIXELS
    ]
    return max(figures, default=None)


def _regions(warm: set[int], width: int) -> Iterator[list[int]]:
    """Yield the groups of warm pixels that touch each other side by side."""
    left = set(warm)
    while left:
        region = [left.pop()]
        for index in region:  # grows while it is walked
            column = index % width
            beside = [index - width, index + width]
            beside += [index - 1] if column > 0 else []
            beside += [index + 1] if column < width - 1 else []
            for neighbour in beside:
                if neighbour in left:
                    left.remove(neighbour)
                    region.append(neighbour)
        yield region
