"""A temperature is measured or it is not: never invented, clamped or smoothed."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.readings import ThermalReading
from sentinel.core.thermometry import (
    AMBIENT_OUT_OF_RANGE,
    COMPENSATION_OUT_OF_RANGE,
    DISTANCE_UNKNOWN,
    DRAUGHT,
    FACE_OUTSIDE,
    IMPLAUSIBLE,
    MISALIGNED,
    NOBODY,
    TOO_FAR,
    TOO_NEAR,
    Compensation,
    Limits,
    View,
    settled,
    skin_temperature,
)

WIDTH, HEIGHT = 32, 24
FACE = (10, 6, 8, 10)  # left, top, width, height in pixels of the field


def scene(skin: float | None, ambient: float = 24.0, wall: float = 24.0) -> ThermalReading:
    """A wall, and perhaps a face before it whose middle is as warm as `skin` and whose edge is a little cooler."""
    left, top, width, height = FACE
    celsius = [wall] * (WIDTH * HEIGHT)
    if skin is not None:
        for y in range(height):
            for x in range(width):
                edge = max(abs(x - width / 2 + 0.5) / width, abs(y - height / 2 + 0.5) / height)
                celsius[(top + y) * WIDTH + left + x] = skin - max(0.0, edge - 0.25) * 4
    return ThermalReading(at_mono=1.0, width=WIDTH, height=HEIGHT, celsius=tuple(celsius), ambient_celsius=ambient)


def with_pixels(field: ThermalReading, pixels: dict[int, float]) -> ThermalReading:
    celsius = list(field.celsius)
    for index, value in pixels.items():
        celsius[index] = value
    return replace(field, celsius=tuple(celsius))


LIMITS = Limits(ambient_min_celsius=16.0, ambient_max_celsius=32.0)
WHOLE = View(x=0.0, y=0.0, width=1.0, height=1.0)  # the sensor sees just what the camera sees


def measure(field: ThermalReading, offset_celsius=0.0, **more):
    return skin_temperature(
        field, limits=LIMITS, compensation=more.pop("compensation", Compensation(offset_celsius=offset_celsius)), **more
    )


def test_a_person_is_measured_and_the_offset_is_in_the_record():
    seen = measure(scene(36.0), offset_celsius=0.4)
    assert (seen.raw_celsius, seen.compensation_celsius, seen.ambient_celsius) == (36.0, 0.4, 24.0)
    assert seen.skin_celsius == 36.4
    assert seen.why_not == ""


def test_nobody_in_view_is_not_measured():
    seen = measure(scene(None))
    assert (seen.skin_celsius, seen.raw_celsius, seen.why_not) == (None, None, NOBODY)


def test_a_few_warm_pixels_are_nobody():
    lamp = {100: 36.0, 101: 36.0, 102: 36.0, 132: 36.0, 133: 36.0, 134: 36.0, 166: 36.0}
    assert measure(with_pixels(scene(None), lamp)).why_not == NOBODY


@pytest.mark.parametrize("ambient", [-10.0, 15.9, 32.1, math.nan, math.inf])
def test_outside_the_modules_range_nothing_is_measured_but_the_raw_value_is_kept(ambient):
    seen = measure(scene(36.0, ambient=ambient))
    assert (seen.skin_celsius, seen.raw_celsius, seen.why_not) == (None, 36.0, AMBIENT_OUT_OF_RANGE)


def test_a_hot_plate_is_no_person():
    seen = measure(scene(60.0))
    assert (seen.skin_celsius, seen.raw_celsius, seen.why_not) == (None, 60.0, IMPLAUSIBLE)


def test_a_wall_as_warm_as_skin_hides_everybody():
    assert measure(scene(36.0, wall=31.0)).why_not == IMPLAUSIBLE


def test_a_damaged_picture_is_not_measured():
    assert measure(replace(scene(36.0), width=31)).why_not == IMPLAUSIBLE


@given(
    st.floats(33.0, 41.0),
    st.dictionaries(
        st.integers(0, WIDTH * HEIGHT - 1),
        st.sampled_from([0.0, 300.0, -273.15, math.nan, math.inf, -math.inf]),
        max_size=4,
    ),
)
def test_four_broken_pixels_change_little_and_never_invent(skin, broken):
    seen = measure(with_pixels(scene(skin), broken))
    assert seen.skin_celsius is not None
    assert skin - 0.5 <= seen.skin_celsius <= skin


@given(st.dictionaries(st.integers(0, WIDTH * HEIGHT - 1), st.floats(-300, 400), max_size=4))
def test_broken_pixels_alone_are_nobody(broken):
    assert measure(with_pixels(scene(None), broken)).why_not == NOBODY


@given(st.floats(31.0, 42.0), st.floats(31.0, 42.0))
def test_the_warmer_person_reads_warmer(one, other):
    cooler, warmer = sorted((one, other))
    low, high = measure(scene(cooler)), measure(scene(warmer))
    assert low.skin_celsius <= high.skin_celsius
    assert high.skin_celsius - low.skin_celsius == pytest.approx(warmer - cooler)  # slope 1: nothing is smoothed


@given(st.floats(33.0, 40.0), st.dictionaries(st.integers(0, WIDTH * HEIGHT - 1), st.floats(0, 12), max_size=60))
def test_warming_any_pixels_never_cools_the_figure(skin, warming):
    before = scene(skin)
    after = with_pixels(before, {index: before.celsius[index] + more for index, more in warming.items()})
    low, high = measure(before), measure(after)
    assume(high.skin_celsius is not None)
    assert low.skin_celsius <= high.skin_celsius
    assert high.skin_celsius <= 43.0


pixel = st.one_of(st.floats(-40, 120), st.sampled_from([math.nan, 300.0, -273.15]), st.floats(30, 43))


@given(
    st.lists(pixel, min_size=48, max_size=48),
    st.floats(-3, 3),
    st.floats(0, 50) | st.just(math.nan),
    st.none() | st.tuples(*[st.floats(-1, 2) | st.just(math.nan)] * 4),
)
def test_a_figure_is_always_one_of_the_pixels_or_absent_with_a_reason(pixels, offset, ambient, box):
    field = ThermalReading(at_mono=0.0, width=8, height=6, celsius=tuple(pixels), ambient_celsius=ambient)
    seen = measure(field, offset_celsius=offset, view=WHOLE, box=box)
    assert (seen.skin_celsius is None) == (seen.why_not != "")
    if seen.skin_celsius is not None:
        assert seen.raw_celsius in pixels
        assert seen.skin_celsius == seen.raw_celsius + offset
        assert 16.0 <= ambient <= 32.0
        assert seen.skin_celsius <= 43.0


def test_only_the_region_of_the_face_is_looked_at():
    left, top, width, height = FACE
    kettle = {row * WIDTH + column: 70.0 for row in range(18, 23) for column in range(25, 31)}
    field = with_pixels(scene(36.5), kettle)
    box = (left / WIDTH, top / HEIGHT, width / WIDTH, height / HEIGHT)
    assert measure(field, view=WHOLE, box=box).skin_celsius == 36.5
    assert measure(field).why_not == IMPLAUSIBLE
    assert measure(field, view=WHOLE, box=(0.0, 0.0, 0.2, 0.2)).why_not == NOBODY


# — the face's own window —

left, top, width, height = FACE
BOX = (left / WIDTH, top / HEIGHT, width / WIDTH, height / HEIGHT)
FULL = Compensation(offset_celsius=0.3, ambient_coefficient=0.05, distance_coefficient=0.6, most_celsius=2.0)
ambients, distances = st.floats(16.0, 32.0), st.integers(200, 1200)


def test_a_view_maps_the_face_to_where_the_sensor_sees_it():
    shifted = View(x=0.25, y=0.1, width=0.5, height=0.8)  # the sensor covers the middle of the camera's picture
    camera_box = (0.25 + BOX[0] * 0.5, 0.1 + BOX[1] * 0.8, BOX[2] * 0.5, BOX[3] * 0.8)
    seen = measure(scene(36.5), view=shifted, box=camera_box)
    assert seen.skin_celsius == measure(scene(36.5), view=WHOLE, box=BOX).skin_celsius == 36.5


@pytest.mark.parametrize(
    "box", [(0.95, 0.2, 0.3, 0.3), (-0.3, 0.0, 0.4, 0.4), (0.5, 0.5, 0.04, 0.04), (0.5, 0.5, 0, 0)]
)
def test_a_face_outside_the_field_or_too_small_in_it_is_not_measured(box):
    assert measure(scene(36.5), view=WHOLE, box=box).why_not == FACE_OUTSIDE


def test_two_faces_are_measured_each_for_itself():
    other = {row * WIDTH + column: 39.0 for row in range(6, 16) for column in range(22, 30)}
    both = with_pixels(scene(36.4), other)
    assert measure(both, view=WHOLE, box=BOX).skin_celsius == 36.4
    assert measure(both, view=WHOLE, box=(22 / WIDTH, 6 / HEIGHT, 8 / WIDTH, 10 / HEIGHT)).skin_celsius == 39.0


@given(st.floats(33.0, 40.0), st.dictionaries(st.integers(0, WIDTH * HEIGHT - 1), st.floats(0, 12), max_size=60))
def test_in_the_window_too_warming_any_pixels_never_cools_the_figure(skin, warming):
    before = scene(skin)
    after = with_pixels(before, {index: before.celsius[index] + more for index, more in warming.items()})
    low, high = (measure(field, view=WHOLE, box=BOX, compensation=FULL, distance_mm=500) for field in (before, after))
    assume(high.skin_celsius is not None)
    assert low.skin_celsius <= high.skin_celsius


@given(st.floats(34.0, 42.0), st.floats(34.0, 42.0), ambients, distances, st.booleans())
def test_the_slope_from_true_to_reported_is_one_at_every_ambient_and_distance(one, other, ambient, distance, window):
    cooler, warmer = sorted((one, other))
    assume(warmer - cooler > 0.01)
    where = {"view": WHOLE, "box": BOX} if window else {}
    low, high = (
        measure(scene(skin, ambient=ambient), compensation=FULL, distance_mm=distance, **where)
        for skin in (cooler, warmer)
    )
    assume(high.skin_celsius is not None and low.skin_celsius is not None)
    assert (high.skin_celsius - low.skin_celsius) / (warmer - cooler) >= 0.97


@given(ambients, ambients, distances, distances)
def test_the_compensation_is_monotone_bounded_and_recorded_with_its_inputs(ambient, warmer, near, far):
    ambient, warmer = sorted((ambient, warmer))
    near, far = sorted((near, far))
    assert FULL.at(ambient, near) >= FULL.at(warmer, near)
    assert FULL.at(ambient, near) <= FULL.at(ambient, far)
    seen = measure(scene(36.5, ambient=ambient), compensation=FULL, distance_mm=far)
    assert (seen.ambient_celsius, seen.distance_mm) == (ambient, far)
    assert seen.compensation_celsius == FULL.at(ambient, far)
    if seen.skin_celsius is not None:
        assert seen.skin_celsius == seen.raw_celsius + seen.compensation_celsius
        assert abs(seen.compensation_celsius) <= FULL.most_celsius


def test_what_cannot_be_compensated_is_not_measured_and_never_cut_to_the_limit():
    strong = Compensation(ambient_coefficient=0.2, most_celsius=1.0)
    assert measure(scene(36.5, ambient=18.0), compensation=strong).why_not == COMPENSATION_OUT_OF_RANGE
    assert measure(scene(36.5), compensation=FULL).why_not == DISTANCE_UNKNOWN
    assert measure(scene(36.5), compensation=FULL, distance_mm=100).why_not == TOO_NEAR
    assert measure(scene(36.5), distance_mm=2000).why_not == TOO_FAR


def test_conditions_and_an_invalid_reading_leave_nothing_measured():
    seen = measure(scene(36.5), conditions=DRAUGHT)
    assert (seen.skin_celsius, seen.raw_celsius, seen.why_not) == (None, 36.5, DRAUGHT)
    assert measure(replace(scene(36.5), why_invalid="frozen")).why_not == IMPLAUSIBLE


# — a single point —


def point(celsius: float, ambient: float = 24.0) -> ThermalReading:
    return ThermalReading(at_mono=1.0, width=1, height=1, celsius=(celsius,), ambient_celsius=ambient)


def test_a_point_is_the_figure_itself():
    assert measure(point(35.9), offset_celsius=0.5).skin_celsius == 36.4
    assert measure(point(24.2)).why_not == NOBODY
    assert measure(point(math.nan)).why_not == IMPLAUSIBLE
    assert measure(point(31.5, ambient=30.0)).why_not == MISALIGNED
    assert measure(point(60.0)).why_not == IMPLAUSIBLE


# — near the limit —


def measures(*celsius: float | None):
    return [
        replace(measure(scene(36.0)), at_mono=float(at), skin_celsius=value, why_not="" if value else NOBODY)
        for at, value in enumerate(celsius)
    ]


def test_far_from_the_limit_the_latest_decides_at_once():
    assert settled(measures(36.2, 36.4), 37.3, 0.2).skin_celsius == 36.4
    assert settled(measures(38.4), 37.3, 0.2).skin_celsius == 38.4


def test_near_the_limit_it_is_measured_again_and_the_middle_one_decides():
    assert settled(measures(37.2), 37.3, 0.2) is None
    assert settled(measures(37.2, 37.4), 37.3, 0.2) is None
    decided = settled(measures(37.2, None, 37.4, 37.25), 37.3, 0.2)
    assert (decided.skin_celsius, decided.measured_times) == (37.25, 3)
    assert settled([], 37.3, 0.2) is None


@given(st.lists(st.floats(34, 42), min_size=1, max_size=9), st.floats(0, 1))
def test_what_decides_was_really_measured(values, margin):
    decided = settled(measures(*values), 37.3, margin)
    assert decided is None or decided.skin_celsius in values
