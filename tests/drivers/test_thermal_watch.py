"""The rules of the thermal watch: a value is passed on or withheld, and a broken pixel is never filled in."""

import random
from math import isnan, nan

import pytest

from drivers.readings import Impairment, Sign, Symptom, ThermalReading, Trouble
from drivers.thermal_watch import DEAD_FRAMES, WELL_FRAMES, ThermalWatch

WIDTH, HEIGHT = 32, 24
ROOM = 24.0
PLACE = 10 * WIDTH + 7


class Scene:
    """A noisy room at 4 Hz, with things in it."""

    def __init__(self, **watch) -> None:
        self.chance = random.Random(7)
        self.things: dict[int, float] = {}
        self.own = ROOM
        self.room = ROOM
        self.now = 100.0
        self.watch = ThermalWatch(**watch)

    def reading(self) -> ThermalReading:
        celsius = [self.room + self.chance.uniform(-0.05, 0.05) for _ in range(WIDTH * HEIGHT)]
        for index, value in self.things.items():
            celsius[index] = value
        return ThermalReading(
            at_mono=self.now, width=WIDTH, height=HEIGHT, celsius=tuple(celsius), ambient_celsius=self.own
        )

    def see(self, frames: int = 1) -> list:
        seen = []
        for _ in range(frames):
            self.now += 0.25
            seen += self.watch.see(self.reading(), self.now)
        return seen


def point(celsius, own=24.0):
    return ThermalReading(at_mono=0.0, width=1, height=1, celsius=(celsius,), ambient_celsius=own)


def kinds(readings):
    return [getattr(reading, "symptom", type(reading)) for reading in readings]


def block(left: int, top: int, width: int, height: int) -> list[int]:
    return [row * WIDTH + column for row in range(top, top + height) for column in range(left, left + width)]


# --- frozen -----------------------------------------------------------------------------------------------------------


def test_the_same_picture_again_is_no_measurement_and_after_three_seconds_a_trouble():
    scene = Scene()
    frame = scene.reading()
    seen = [(now, *kinds(scene.watch.see(frame, now))) for now in (10.0, 10.25, 12.75, 13.0, 14.0)]
    assert seen == [
        (10.0, ThermalReading),
        (10.25, Sign),
        (12.75, Sign),
        (13.0, Symptom.FROZEN),
        (14.0, Symptom.FROZEN),
    ]
    assert kinds(scene.watch.see(scene.reading(), 14.25)) == [ThermalReading]


def test_a_frozen_point_is_told_after_four_seconds():
    watch = ThermalWatch()
    assert [kinds(watch.see(point(36.0), now))[0] for now in (0.0, 1.0, 3.9, 4.0)] == [
        ThermalReading,
        Sign,
        Sign,
        Symptom.FROZEN,
    ]


def test_one_changed_figure_is_enough_to_be_alive():
    watch = ThermalWatch()
    for turn in range(40):
        assert kinds(watch.see(point(36.0, own=24.0 + turn % 2 / 100), turn / 2)) == [ThermalReading]


# --- implausible ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [60.0, 85.0, -20.01, nan])
def test_a_sensor_at_a_temperature_that_no_gate_has_is_not_believed(own):
    assert kinds(ThermalWatch().see(point(36.0, own=own), 1.0)) == [Symptom.IMPLAUSIBLE]


@pytest.mark.parametrize("own", [-20.0, 0.0, 59.9])
def test_winter_and_summer_are_believed(own):
    assert kinds(ThermalWatch().see(point(36.0, own=own), 1.0)) == [ThermalReading]


def test_a_part_with_narrower_limits_is_held_to_them():
    assert kinds(ThermalWatch(ambient_celsius=(0.0, 50.0)).see(point(36.0, own=-1.0), 1.0)) == [Symptom.IMPLAUSIBLE]


def test_a_point_without_a_value_is_a_trouble():
    assert kinds(ThermalWatch().see(point(nan), 1.0)) == [Symptom.IMPLAUSIBLE]


@pytest.mark.parametrize(("unmeasured", "believed"), [(WIDTH * HEIGHT // 4, True), (WIDTH * HEIGHT // 4 + 1, False)])
def test_more_than_a_quarter_without_values_spoils_the_picture(unmeasured, believed):
    scene = Scene()
    scene.things = dict.fromkeys(range(unmeasured), nan)
    assert kinds(scene.see()) == [ThermalReading if believed else Symptom.IMPLAUSIBLE]


@pytest.mark.parametrize("dead", [0.0, 200.0])
def test_a_picture_of_one_impossible_value_is_not_believed(dead):
    scene = Scene()
    scene.things = dict.fromkeys(range(WIDTH * HEIGHT), dead)
    assert kinds(scene.see()) == [Symptom.IMPLAUSIBLE]


# --- warming up -------------------------------------------------------------------------------------------------------


def test_a_sensor_that_warms_by_four_kelvin_a_minute_is_not_believed_until_it_is_steady():
    scene = Scene()
    scene.see(20)
    kept = []
    for _ in range(20):
        scene.own += 0.02  # each 0.25 s: 4.8 K a minute
        kept = scene.see()
    assert kinds(kept) == [Symptom.WARMING_UP]
    assert kinds(scene.see(17))[-1] is ThermalReading


def test_a_sensor_that_warms_and_cools_is_told_once_and_not_twice():
    scene = Scene()
    scene.see(20)
    for _ in range(20):
        scene.own += 0.02
        scene.see()
    scene.own -= 0.4
    told = [kind is Symptom.WARMING_UP for kind in kinds(scene.see(30))]
    assert told[0] and not told[-1]
    assert told == sorted(told, reverse=True), "believed, then not believed again"


def test_a_warm_day_is_no_warm_up():
    scene = Scene()
    for _ in range(200):
        scene.own += 0.004  # 1 K a minute
        assert kinds(scene.see()) == [ThermalReading]


# --- broken pixels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [nan, 0.0, 60.0])
@pytest.mark.parametrize("place", [PLACE, 0, WIDTH - 1, WIDTH * HEIGHT - 1, 5])
def test_a_broken_pixel_is_told_once_and_blanked_and_told_once_when_it_is_well(broken, place):
    scene = Scene()
    scene.things = {place: broken}
    assert kinds(scene.see(DEAD_FRAMES - 1)) == [ThermalReading] * (DEAD_FRAMES - 1)
    told, *readings = scene.see(20)
    assert (told.symptom, told.over) == (Symptom.DEAD_PIXELS, False)
    assert f"{place % WIDTH}/{place // WIDTH}" in told.detail
    assert all(isinstance(reading, ThermalReading) for reading in readings)
    for reading in readings:
        assert [index for index, value in enumerate(reading.celsius) if isnan(value)] == [place]
    scene.things = {}
    after = scene.see(WELL_FRAMES)
    assert [(news.symptom, news.over) for news in after if isinstance(news, Impairment)] == [
        (Symptom.DEAD_PIXELS, True)
    ]
    assert not any(isnan(value) for value in after[-1].celsius)


def test_a_pixel_that_is_odd_now_and_then_is_not_dead():
    scene = Scene()
    for turn in range(60):
        scene.things = {PLACE: 60.0} if turn % DEAD_FRAMES else {}
        assert kinds(scene.see()) == [ThermalReading]


@pytest.mark.parametrize("shape", [(2, 1), (1, 2), (2, 2), (3, 3), (1, 5)])
@pytest.mark.parametrize("hot", [60.0, 90.0])
def test_a_hot_cup_is_not_called_dead(shape, hot):
    scene = Scene()
    scene.things = dict.fromkeys(block(12, 9, *shape), hot)
    for reading in scene.see(40):
        assert isinstance(reading, ThermalReading)
        assert all(reading.celsius[index] == hot for index in scene.things)


def test_a_person_in_a_frosty_street_is_not_called_dead():
    scene = Scene()
    scene.room = scene.own = -5.0
    scene.things = dict.fromkeys(block(10, 5, 8, 10), 34.0)
    assert kinds(scene.see(40)) == [ThermalReading] * 40


def test_a_broken_pixel_stays_blank_while_a_person_stands_beside_it():
    scene = Scene()
    scene.things = {PLACE: 0.0}
    scene.see(DEAD_FRAMES)
    scene.things = {**dict.fromkeys(block(8, 5, 8, 10), 36.0), PLACE: 0.0}
    readings = scene.see(40)
    assert all(isinstance(reading, ThermalReading) and isnan(reading.celsius[PLACE]) for reading in readings)


def test_a_point_has_no_broken_pixels():
    watch = ThermalWatch()
    for turn in range(30):
        assert kinds(watch.see(point(80.0 + turn / 100), turn / 4)) == [ThermalReading]


def test_a_trouble_carries_the_time_of_its_turn():
    (trouble,) = ThermalWatch().see(point(nan), 12.5)
    assert isinstance(trouble, Trouble) and trouble.at_mono == 12.5 and trouble.detail
