"""Turn a thermal reading into the skin temperature of ONE person, or say why it was not measured.

A value is measured or it is absent. Nothing is clamped, smoothed toward normal or replaced: the figure is one pixel of
the sensor plus a compensation that is added as it is, and everything that went into it is in the record. A warmer
person never reads cooler: raising any pixel can only raise the figure, or take it away as implausible.

Where the camera sees a face and `View` says which part of its picture the sensor covers, the face's own window is
looked at, and in it the pixel of a fixed rank; else the hottest region of the whole field that is large enough.
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
FACE_OUTSIDE = "face-outside-field"  # the face is not where the sensor looks, or too small there
MISALIGNED = "misaligned"  # a point sensor sees hardly more than the room: too far away, or beside the face
TOO_NEAR, TOO_FAR = "too-near", "too-far"
DISTANCE_UNKNOWN = "distance-unknown"  # the compensation needs it
COMPENSATION_OUT_OF_RANGE = "compensation-out-of-range"  # more than a compensation may be: no measurement any more
WARMING_UP = "warming-up"  # said by sentinel.core.climate, as is the next
DRAUGHT = "draught"
WHY_NOT = (
    NOBODY, AMBIENT_OUT_OF_RANGE, IMPLAUSIBLE, STALE, FACE_OUTSIDE, MISALIGNED, TOO_NEAR, TOO_FAR, DISTANCE_UNKNOWN,
    COMPENSATION_OUT_OF_RANGE, WARMING_UP, DRAUGHT,
)  # fmt: skip

SKIPPED_PIXELS = 4  # as many may be broken; the hottest left is then certainly a real one
MIN_WARM_PIXELS = 8  # twice the broken ones; a face two metres away still fills about twenty of 768
MAX_WARM_SHARE = 0.9  # more of a whole field: the wall is as warm as skin, and nobody can be told from it
HOTTEST_SHARE = 0.05  # of a face's window: its inner eye corners and forehead, and not a lamp's mirror image
MIN_WINDOW_PIXELS = 12  # three times the broken ones
LEAST_INSIDE = 0.6  # of a face: with less, forehead or eyes may be outside
POINT_ABOVE_AMBIENT_K = 2.0  # reference 2.4: less, with a person present, is a fault of distance or alignment
COMPENSATED_ROOM_CELSIUS = 25.0  # where the compensation by ambient is nothing
NEAREST_MM, FARTHEST_MM = 150, 1500  # the sensors' spot is no face any more

Box = tuple[float, float, float, float]  # x, y, width, height in shares of a picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What counts as skin and as a place where the sensor may be believed. Unit: °C."""

    person_min_celsius: float = 30.0
    max_celsius: float = 43.0
    ambient_min_celsius: float
    ambient_max_celsius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """What is added to the raw figure: a constant, so much per K below 25 °C of ambient, so much per metre.

    Each part is linear, so it keeps the order and the slope of what was measured. `most_celsius` bounds the sum.
    """

    offset_celsius: float = 0.0
    ambient_coefficient: float = 0.0
    distance_coefficient: float = 0.0
    reference_distance_m: float = 0.5
    most_celsius: float = 3.0

    def at(self, ambient_celsius: float, distance_mm: int | None) -> float:
        """Return the sum for these conditions. Unit: K."""
        total = self.offset_celsius
        if self.ambient_coefficient:
            total += self.ambient_coefficient * (COMPENSATED_ROOM_CELSIUS - ambient_celsius)
        if self.distance_coefficient and distance_mm is not None:
            total += self.distance_coefficient * (distance_mm / 1000 - self.reference_distance_m)
        return total

    def why_not(self, ambient_celsius: float, distance_mm: int | None) -> str:
        """Return why these conditions cannot be compensated, "" when they can."""
        if self.distance_coefficient and distance_mm is None:
            return DISTANCE_UNKNOWN
        if distance_mm is not None and distance_mm < NEAREST_MM:
            return TOO_NEAR
        if distance_mm is not None and distance_mm > FARTHEST_MM:
            return TOO_FAR
        return COMPENSATION_OUT_OF_RANGE if abs(self.at(ambient_celsius, distance_mm)) > self.most_celsius else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The part of the camera's picture that the sensor covers, in shares of that picture; it may reach beyond it."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def parse(cls, text: str) -> "View | None":
        """Return the view of "x,y,width,height", None for "". Raises: ValueError for anything else."""
        if not text:
            return None
        x, y, width, height = (float(part) for part in text.split(","))
        if not (width > 0 and height > 0):
            raise ValueError(f"view {text!r} has no area; write x,y,width,height in shares of the camera's picture")
        return cls(x=x, y=y, width=width, height=height)

    def mapped(self, box: Box) -> Box:
        """Return a box of the camera's picture in shares of the sensor's field."""
        x, y, width, height = box
        return (x - self.x) / self.width, (y - self.y) / self.height, width / self.width, height / self.height


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """The raw figure, or why there is none; both when it was seen and must not be used."""

    raw_celsius: float | None
    why_not: str = ""


def skin_temperature(
    reading: ThermalReading,
    *,
    limits: Limits,
    compensation: Compensation,
    view: View | None = None,
    box: Box | None = None,
    distance_mm: int | None = None,
    conditions: str = "",
) -> SkinTemperature:
    """Return the skin temperature of the person in the reading, with all that went into the figure.

    Shape: `box` is the face in shares of the camera's picture; without it or without a view the whole field counts.
    `conditions` is why nothing can be measured now whatever is seen (the sensor warms up, a draught), else "".
    """
    ambient = reading.ambient_celsius
    added = compensation.at(ambient, distance_mm)
    figure = _figure(reading, limits, added, None if view is None or box is None else view.mapped(box))
    raw = figure.raw_celsius
    why_not = conditions or _why_not(reading, limits, figure, compensation.why_not(ambient, distance_mm))
    return SkinTemperature(
        at_mono=reading.at_mono,
        skin_celsius=None if raw is None or why_not else raw + added,
        raw_celsius=raw,
        ambient_celsius=ambient if math.isfinite(ambient) else None,
        compensation_celsius=added if math.isfinite(added) else 0.0,
        distance_mm=distance_mm,
        why_not=why_not,
    )


def _why_not(reading: ThermalReading, limits: Limits, figure: _Figure, uncompensated: str) -> str:
    if not limits.ambient_min_celsius <= reading.ambient_celsius <= limits.ambient_max_celsius:  # so is NaN
        return AMBIENT_OUT_OF_RANGE
    if reading.why_invalid:
        return IMPLAUSIBLE
    return figure.why_not or uncompensated


def _figure(reading: ThermalReading, limits: Limits, added: float, face: Box | None) -> _Figure:
    if len(reading.celsius) != reading.width * reading.height or not reading.celsius:
        return _Figure(raw_celsius=None, why_not=IMPLAUSIBLE)
    least = limits.person_min_celsius - (added if math.isfinite(added) else 0.0)
    if reading.is_point:
        found = _of_point(reading, least)
    elif face is not None:
        found = _of_face(reading, face, least)
    else:
        found = _of_field(reading, least)
    raw = found.raw_celsius
    if raw is not None and not found.why_not and raw + added > limits.max_celsius:
        return replace(found, why_not=IMPLAUSIBLE)
    return found


def _of_point(reading: ThermalReading, least_celsius: float) -> _Figure:
    [value] = reading.celsius
    if not math.isfinite(value):
        return _Figure(raw_celsius=None, why_not=IMPLAUSIBLE)
    if value < least_celsius:
        return _Figure(raw_celsius=None, why_not=NOBODY)
    above = value - reading.ambient_celsius
    return _Figure(raw_celsius=value, why_not=MISALIGNED if above < POINT_ABOVE_AMBIENT_K else "")


def _of_face(reading: ThermalReading, face: Box, least_celsius: float) -> _Figure:
    """Take the pixel of a rank that depends on the window alone: what any pixel shows cannot change which it is."""
    window = _window(reading, face)
    x, y, width, height = face
    inside = max(0.0, min(1.0, x + width) - max(0.0, x)) * max(0.0, min(1.0, y + height) - max(0.0, y))
    if window.pixel_count < MIN_WINDOW_PIXELS or not inside >= LEAST_INSIDE * width * height > 0:
        return _Figure(raw_celsius=None, why_not=FACE_OUTSIDE)
    rank = max(SKIPPED_PIXELS, int(HOTTEST_SHARE * window.pixel_count))
    values = [
        value
        for row in range(window.top, window.bottom)
        for value in reading.celsius[row * reading.width + window.left : row * reading.width + window.right]
        if math.isfinite(value)
    ]
    if len(values) <= rank:
        return _Figure(raw_celsius=None, why_not=IMPLAUSIBLE)
    value = sorted(values, reverse=True)[rank]
    return _Figure(raw_celsius=value) if value >= least_celsius else _Figure(raw_celsius=None, why_not=NOBODY)


def _of_field(reading: ThermalReading, least_celsius: float) -> _Figure:
    window = _Window(left=0, top=0, right=reading.width, bottom=reading.height)
    warm = _warm_pixels(reading, window, least_celsius)
    raw = _hottest_person(reading, warm)
    if raw is None:
        return _Figure(raw_celsius=None, why_not=NOBODY)
    return _Figure(raw_celsius=raw, why_not=IMPLAUSIBLE if len(warm) > MAX_WARM_SHARE * window.pixel_count else "")


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
    if abs(_skin(measured[-1]) - limit_celsius) > margin_celsius:
        return measured[-1]
    if len(measured) < again:
        return None
    middle = sorted(measured[-again:], key=_skin)[again // 2]
    return replace(middle, measured_times=again)


def _skin(measure: SkinTemperature) -> float:
    assert measure.skin_celsius is not None
    return measure.skin_celsius


def _window(reading: ThermalReading, box: Box) -> _Window:
    """Return the pixels that the box touches, cut to the field; none when the box is no box."""
    if not all(math.isfinite(part) for part in box):
        return _Window(left=0, top=0, right=0, bottom=0)
    x, y, width, height = box
    return _Window(
        left=max(0, math.floor(x * reading.width)),
        top=max(0, math.floor(y * reading.height)),
        right=min(reading.width, math.ceil((x + width) * reading.width)),
        bottom=min(reading.height, math.ceil((y + height) * reading.height)),
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
