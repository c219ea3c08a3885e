"""A sensor that warms up or stands in a draught measures nobody, and says so; a steady one is believed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.climate import Climate
from sentinel.core.thermometry import DRAUGHT, WARMING_UP


def watched(climate, temperatures, *, start=0.0, step_s=0.25):
    """Return what is said of a run of own temperatures, four a second."""
    return [climate.see(value, start + at * step_s) for at, value in enumerate(temperatures)]


def test_a_sensor_that_has_long_had_power_measures_at_once():
    assert set(watched(Climate(warm_up_s=300, powered_for_s=3600), [26.0] * 100)) == {""}


def test_after_a_cold_start_it_warms_up_for_its_time():
    climate = Climate(warm_up_s=60, powered_for_s=20)
    said = watched(climate, [26.0] * 400)
    assert said[0] == WARMING_UP
    assert said.index("") == 40 * 4


def test_an_outage_costs_as_long_as_it_lasted_and_never_more_than_the_warm_up():
    climate = Climate(warm_up_s=60, powered_for_s=3600)
    climate.see(26.0, 0.0)
    climate.lost(10.0)
    climate.lost(12.0)
    assert climate.see(26.0, 20.0) == WARMING_UP
    assert climate.see(26.0, 29.9) == WARMING_UP
    assert climate.see(26.0, 30.1) == ""
    climate.lost(40.0)
    assert climate.see(26.0, 4000.0) == WARMING_UP
    assert climate.see(26.0, 4060.1) == ""


def test_a_short_flap_of_the_line_is_no_cold_start():
    climate = Climate(warm_up_s=300, powered_for_s=3600)
    climate.see(26.0, 0.0)
    climate.lost(1.0)
    climate.see(26.0, 1.5)
    assert climate.see(26.0, 2.1) == ""


def test_a_sensor_that_still_climbs_is_not_stable():
    climbing = [24.0 + at * 0.25 * 3.0 / 60 for at in range(200)]  # 3 K a minute, for 50 s
    assert watched(Climate(warm_up_s=300, powered_for_s=3600), climbing)[-1] == WARMING_UP


def test_a_draught_is_told_and_ends_when_the_air_has_settled():
    climate = Climate(warm_up_s=0)
    watched(climate, [24.0] * 240)
    said = watched(climate, [21.0] * 480, start=60.0)
    assert said[0] == DRAUGHT
    assert said[-1] == ""


@given(st.lists(st.floats(23.9, 24.1) | st.just(math.nan), min_size=1, max_size=400))
def test_a_steady_room_is_believed(temperatures):
    assert set(watched(Climate(warm_up_s=300, powered_for_s=3600), temperatures)) == {""}


@pytest.mark.parametrize("warm_up_s", [0.0, 300.0])
@given(st.lists(st.floats(-100, 100) | st.just(math.nan), max_size=100))
def test_whatever_comes_it_says_one_of_its_words(warm_up_s, temperatures):
    assert set(watched(Climate(warm_up_s=warm_up_s), temperatures)) <= {"", WARMING_UP, DRAUGHT}
