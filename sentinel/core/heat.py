"""Tell from a thermal picture whether what the camera takes for a face is as warm, and as shaped, as a face.

A face is warmer than the room, as warm as skin, and warmer in its middle (brow, eyes, cheeks) than at its edge (hair,
ears, the wall behind). A print or a screen is as cold as the room; a warmed screen is flat; a mask of paper is colder
than the ears and the neck around it. The contrast to the surroundings counts, not a body temperature: who comes in
from the cold is *unsure*, never an attack.

Where `View` says what part of the camera's picture the sensor covers, the face's own place is judged. Without it only
the largest warm thing in the field can be: the weak form, which cannot tell a face from the person who holds a picture
beside it. A point sensor gives the weakest form. Unit: figures are K above the surroundings.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drivers.readings import ThermalReading
from sentinel.core.liveness import Finding, Layer, Verdict, Why
from sentinel.core.thermometry import LEAST_INSIDE, MIN_WARM_PIXELS, MIN_WINDOW_PIXELS, Box, View

COLD_CELSIUS = 28.0  # no skin that stands before a gate is colder, and few rooms are warmer
CONTRAST_K = 2.0  # above the surroundings: the spread of a cheap array, ten times
SHAPED_K = 0.3  # from the edge to the middle: faces have 1 K and more, a plate has the noise of a median
COVERED_K = 0.5  # colder in the middle than at the edge
HOT_CELSIUS = 43.0
CORE, RIM, AROUND = (0.0, 0.6), (0.8, 1.15), (1.35, 2.2)  # in radii of the ellipse that fills the face's box
WARM_QUARTER = 0.75  # glasses and a medical mask are cold: the warmer quarter of a face is still its brow
TEPID_K = 1.0  # below skin: what is looked for in the field
COARSE_PX = 32  # a field is searched at this width
NEAR_PX = 2  # pixels of such a field: the pieces of one warm thing
TALLEST = 1.5  # times its width: below a face come neck and collar
MOVES = 0.3  # of the face's box: so far may the view be wrong, on each side
SPANS = 0.7
MOST_WARM_SHARE = 0.9  # of the field: then nothing is "around"
FINENESS_PX = 8  # a radius is looked at in so many steps at most: a Lepton has 25 times the pixels that are needed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Zones:
    """The temperatures of the three zones, each sorted."""

    core: Sequence[float]
    rim: Sequence[float]
    around: Sequence[float]


def face_heat(reading: ThermalReading, *, skin_celsius: float, view: View | None, box: Box | None) -> Finding:
    """Return what the heat says of the face in `box`, in shares of the camera's picture.

    `skin_celsius` is the least that the sensor shows of skin here, its compensation already taken off.
    """
    ambient = reading.ambient_celsius
    if reading.why_invalid or len(reading.celsius) != reading.width * reading.height or not math.isfinite(ambient):
        return _said(reading, Verdict.NOT_MEASURED, Why.SENSOR)
    if reading.is_point:
        return _of_point(reading, skin_celsius)
    if view is not None and box is not None:
        return _of_place(reading, view.mapped(box), skin_celsius)
    return _of_field(reading, skin_celsius)


def _said(reading: ThermalReading, verdict: Verdict, why: Why, contrast_k: float | None = None) -> Finding:
    figure = None if contrast_k is None else round(contrast_k, 1)
    return Finding(at_mono=reading.at_mono, layer=Layer.HEAT, verdict=verdict, why=why, figure=figure)


def _of_point(reading: ThermalReading, skin_celsius: float) -> Finding:
    [value] = reading.celsius
    if not math.isfinite(value):
        return _said(reading, Verdict.NOT_MEASURED, Why.SENSOR)
    contrast = value - reading.ambient_celsius
    if contrast < CONTRAST_K:
        return _no_contrast(reading, value, contrast)
    if value < skin_celsius:
        return _said(reading, Verdict.UNSURE, Why.COOL, contrast)
    if value > HOT_CELSIUS:
        return _said(reading, Verdict.NOT_LIVE, Why.TOO_HOT, contrast)
    return _said(reading, Verdict.LIVE, Why.POINT, contrast)


def _of_place(reading: ThermalReading, face: Box, skin_celsius: float) -> Finding:
    x, y, width, height = face
    if not all(math.isfinite(part) for part in face) or width <= 0 or height <= 0:
        return _said(reading, Verdict.NOT_MEASURED, Why.OUTSIDE)
    inside = max(0.0, min(1.0, x + width) - max(0.0, x)) * max(0.0, min(1.0, y + height) - max(0.0, y))
    pixels = width * height * reading.width * reading.height
    if inside < LEAST_INSIDE * width * height or pixels < MIN_WINDOW_PIXELS:
        return _said(reading, Verdict.NOT_MEASURED, Why.OUTSIDE)
    settled = _settled_on(reading, face, _tepid(reading, skin_celsius))
    return _judged(reading, _zones(reading, settled), skin_celsius, Why.SHAPED)


def _of_field(reading: ThermalReading, skin_celsius: float) -> Finding:
    """Judge the largest warm thing in the field; that somebody is there, the camera has seen."""
    least = _tepid(reading, skin_celsius)
    warm, seen = _warm(reading, (0.0, 0.0, 1.0, 1.0), least)
    if len(warm) > MOST_WARM_SHARE * seen:
        return _said(reading, Verdict.UNSURE, Why.WARM_BACKGROUND)
    largest = max(_clusters(warm), key=len, default=set())
    if len(largest) < MIN_WARM_PIXELS:
        return _no_contrast(reading, reading.ambient_celsius, 0.0)
    x, y, width, height = _box_of(largest, reading)
    tallest = TALLEST * width * reading.width / reading.height
    return _judged(reading, _zones(reading, (x, y, width, min(height, tallest))), skin_celsius, Why.WHOLE_FIELD)


def _tepid(reading: ThermalReading, skin_celsius: float) -> float:
    """Return from where on a pixel may belong to a face, or to something that is warm in its place."""
    return max(skin_celsius - TEPID_K, reading.ambient_celsius + CONTRAST_K)


def _warm(reading: ThermalReading, part: Box, least_celsius: float) -> tuple[set[tuple[int, int]], int]:
    """Return the warm pixels of a part of the field as (column, row), and how many were looked at.

    A finer field is looked at in steps: a face is as large a share of it.
    """
    step = max(1, reading.width // COARSE_PX)
    x, y, width, height = part
    columns = range(max(0, math.floor(x * reading.width)), min(reading.width, math.ceil((x + width) * reading.width)))
    rows = range(max(0, math.floor(y * reading.height)), min(reading.height, math.ceil((y + height) * reading.height)))
    places = [(column, row) for row in rows[::step] for column in columns[::step]]
    return {
        (column // step, row // step) for column, row in places
        if reading.celsius[row * reading.width + column] >= least_celsius  # NaN is not
    }, len(places)  # fmt: skip


def _clusters(warm: set[tuple[int, int]]) -> Iterator[set[tuple[int, int]]]:
    """Yield the groups of warm pixels that lie within `NEAR_PX` of each other: a worn mask leaves a broken ring."""
    left = set(warm)
    steps = range(-NEAR_PX, NEAR_PX + 1)
    while left:
        waiting = [left.pop()]
        cluster = set(waiting)
        while waiting:
            column, row = waiting.pop()
            near = {(column + across, row + down) for across in steps for down in steps} & left
            left -= near
            cluster |= near
            waiting += near
        yield cluster


def _box_of(pixels: set[tuple[int, int]], reading: ThermalReading) -> Box:
    """Return what they span, in shares of the field."""
    step = max(1, reading.width // COARSE_PX)
    columns, rows = [column for column, _ in pixels], [row for _, row in pixels]
    x, y = min(columns) * step / reading.width, min(rows) * step / reading.height
    return (
        x, y, (max(columns) + 1) * step / reading.width - x, (max(rows) + 1) * step / reading.height - y,
    )  # fmt: skip


def _settled_on(reading: ThermalReading, face: Box, least_celsius: float) -> Box:
    """Return the box of the warm thing that the face's box nearly covers: a calibrated view is not quite true."""
    x, y, width, height = face
    more_x, more_y = MOVES * width, MOVES * height
    warm, _ = _warm(reading, (x - more_x, y - more_y, width + 2 * more_x, height + 2 * more_y), least_celsius)
    if len(warm) < MIN_WARM_PIXELS:
        return face
    found = _box_of(warm, reading)
    # A hand at the edge of a print is warm too: only what spans most of a face may be taken for one.
    spans = found[2] >= SPANS * width and found[3] >= SPANS * height
    return found if spans else face


def _judged(reading: ThermalReading, zones: _Zones, skin_celsius: float, form: Why) -> Finding:
    if not zones.core or not zones.rim:
        return _said(reading, Verdict.NOT_MEASURED, Why.SENSOR)
    core, rim = _rank(zones.core, WARM_QUARTER), _rank(zones.rim, 0.5)
    around = _rank(zones.around, 0.5) if len(zones.around) >= MIN_WARM_PIXELS else reading.ambient_celsius
    contrast, shape = core - around, core - rim
    if core - _rank(zones.rim, WARM_QUARTER) <= -COVERED_K:
        return _said(reading, Verdict.NOT_LIVE, Why.COVERED, contrast)
    if contrast < CONTRAST_K:
        return _no_contrast(reading, core, contrast)
    if core > HOT_CELSIUS:
        return _said(reading, Verdict.NOT_LIVE, Why.TOO_HOT, contrast)
    if shape < SHAPED_K:
        return _said(reading, Verdict.NOT_LIVE, Why.FLAT, contrast)
    if core < skin_celsius:
        return _said(reading, Verdict.UNSURE, Why.COOL, contrast)
    return _said(reading, Verdict.LIVE, form, contrast)


def _no_contrast(reading: ThermalReading, celsius: float, contrast_k: float) -> Finding:
    """Say what a thing is that is no warmer than its surroundings: on a hot day a face is that, too."""
    if celsius < COLD_CELSIUS:
        return _said(reading, Verdict.NOT_LIVE, Why.COLD, contrast_k)
    return _said(reading, Verdict.UNSURE, Why.WARM_BACKGROUND, contrast_k)


def _zones(reading: ThermalReading, face: Box) -> _Zones:
    """Return the temperatures by how far from the face's middle they are. Shape: `face` in shares of the field."""
    x, y, width, height = face
    half_wide, half_high = width * reading.width / 2, height * reading.height / 2
    middle_x, middle_y = x * reading.width + half_wide, y * reading.height + half_high
    found: dict[tuple[float, float], list[float]] = {CORE: [], RIM: [], AROUND: []}
    farthest = AROUND[1]
    step = max(1, int(min(half_wide, half_high) / FINENESS_PX))
    for row in _span(middle_y, half_high * farthest, reading.height, step):
        down = (row + 0.5 - middle_y) / half_high
        for column in _span(middle_x, half_wide * farthest, reading.width, step):
            radius = math.hypot((column + 0.5 - middle_x) / half_wide, down)
            value = reading.celsius[row * reading.width + column]
            for zone, values in found.items():
                if zone[0] <= radius <= zone[1] and math.isfinite(value):
                    values.append(value)
    return _Zones(core=sorted(found[CORE]), rim=sorted(found[RIM]), around=sorted(found[AROUND]))


def _span(middle: float, reach: float, count: int, step: int) -> range:
    return range(max(0, math.floor(middle - reach)), min(count, math.ceil(middle + reach)), step)


def _rank(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))]
