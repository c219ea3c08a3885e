"""A temperature is measured or it is not: never invented, clamped or smoothed."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.readings import ThermalReading
from sentinel.core.thermometry import AMBIENT_OUT_OF_RANGE, IMPLAUSIBLE, NOBODY, skin_temperature

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


def measure(field: ThermalReading, **changed):
    settings = {"at_mono": 1.0, "offset_celsius": 0.0, "ambient_min": 16.0, "ambient_max": 32.0} | changed
    return skin_temperature(field, **settings)


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
    assert measure(scene(36.0, wall=31.0), person_min_celsius=30.0).why_not == IMPLAUSIBLE


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
    seen = measure(field, offset_celsius=offset, face_box_share=box)
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
    assert measure(field, face_box_share=box).skin_celsius == 36.5
    assert measure(field).why_not == IMPLAUSIBLE
    assert measure(field, face_box_share=(0.0, 0.0, 0.1, 0.1)).why_not == NOBODY
