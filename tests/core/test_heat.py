"""A warm face is a face, and nothing else is: what heat says of people, of what they wear, of what attackers hold."""

from dataclasses import replace

import pytest

from drivers.codecs.thermal_array import GyMcu90640Dialect
from drivers.readings import ThermalReading
from drivers.sim.attacks import Attack
from drivers.sim.thermal_array import SimThermalArray
from sentinel.core.heat import face_heat
from sentinel.core.liveness import Verdict, Why
from sentinel.core.thermometry import View

WIDTH, HEIGHT = 32, 24
AMBIENT = 24.0
SAME = View(x=0.0, y=0.0, width=1.0, height=1.0)
FACE = (12 / WIDTH, 7 / HEIGHT, 8 / WIDTH, 10 / HEIGHT)  # where SimThermalArray's people have theirs
SKIN = 30.0


def field(skin: float | None, attack: Attack | None = None, *, seed: int = 1, ambient: float = AMBIENT):
    module = SimThermalArray(ambient_celsius=ambient, seed=seed)
    module.show(skin, attack=attack)
    [reading] = GyMcu90640Dialect().feed(module.frame(), 1.0)
    assert isinstance(reading, ThermalReading)
    return reading


def drawn(paint, *, ambient: float = AMBIENT) -> ThermalReading:
    """A field in which `paint(column, row)` says how warm a pixel is, None for the room."""
    seen = [paint(column, row) for row in range(HEIGHT) for column in range(WIDTH)]
    celsius = tuple(ambient if value is None else value for value in seen)
    return ThermalReading(at_mono=1.0, width=WIDTH, height=HEIGHT, celsius=celsius, ambient_celsius=ambient)


def said(reading: ThermalReading, view: View | None = SAME, box=FACE):
    finding = face_heat(reading, skin_celsius=SKIN, view=view, box=box)
    return finding.verdict, finding.why


@pytest.mark.parametrize("skin", [33.0, 36.4, 39.5])
@pytest.mark.parametrize("ambient", [15.0, 24.0, 28.0])
def test_a_person_is_live_whatever_the_room_and_the_fever(skin, ambient):
    assert said(field(skin, ambient=ambient)) == (Verdict.LIVE, Why.SHAPED)
    assert said(field(skin, ambient=ambient), view=None) == (Verdict.LIVE, Why.WHOLE_FIELD)


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (Attack.PRINT, {Why.COLD}),
        (Attack.SCREEN, {Why.COLD}),
        (Attack.MASK, {Why.COVERED}),
        (Attack.REPLAY, {Why.FLAT}),
    ],
)
@pytest.mark.parametrize("view", [SAME, None])
def test_what_attackers_hold_is_not_live_and_says_why(attack, why, view):
    verdict, found = said(field(36.4, attack), view=view)
    assert verdict is Verdict.NOT_LIVE
    assert found in why


def test_the_face_of_who_holds_a_picture_lends_it_nothing_where_the_view_is_known():
    def beside(column: int, row: int) -> float | None:
        radius = ((column - 25) ** 2 + (row - 12) ** 2) ** 0.5
        return 36.0 - radius / 2 if radius < 4 else None

    assert said(drawn(beside)) == (Verdict.NOT_LIVE, Why.COLD)
    assert said(drawn(beside), view=None)[0] is Verdict.LIVE, "the weak form cannot see it: calibrate the view"


def test_a_hand_at_the_edge_of_a_print_lends_it_nothing():
    def held(column: int, row: int) -> float | None:
        radius = ((column - 12) ** 2 + (row - 17) ** 2) ** 0.5
        return 34.0 - radius / 2 if radius < 3 else None

    assert said(drawn(held)) == (Verdict.NOT_LIVE, Why.COLD)


@pytest.mark.parametrize("size", [0.65, 0.8, 1.0, 1.2])
def test_a_face_is_live_where_the_view_is_not_quite_true(size):
    x, y, width, height = FACE
    box = (x + width * (1 - size) / 2 + 0.03, y + height * (1 - size) / 2 - 0.03, width * size, height * size)
    assert said(field(36.4), box=box) == (Verdict.LIVE, Why.SHAPED)


def test_who_comes_in_from_the_cold_is_unsure_and_never_an_attack():
    assert said(field(29.0, ambient=18.0)) == (Verdict.UNSURE, Why.COOL)


def test_on_a_hot_day_heat_says_that_it_cannot_tell():
    assert said(field(35.0, ambient=34.5)) == (Verdict.UNSURE, Why.WARM_BACKGROUND)
    assert said(field(35.0, Attack.PRINT, ambient=34.5)) == (Verdict.UNSURE, Why.WARM_BACKGROUND)


def test_glasses_and_a_medical_mask_are_worn_by_people():
    def dressed(column: int, row: int) -> float | None:
        across, down = (column + 0.5 - 16) / 4, (row + 0.5 - 12) / 5
        if across**2 + down**2 > 1:
            return None
        if -0.35 < down < -0.05 and abs(across) < 0.8:
            return 27.0  # glass
        return 32.5 if down > 0.1 else 35.0 - 0.8 * (across**2 + down**2)

    assert said(drawn(dressed)) == (Verdict.LIVE, Why.SHAPED)


@pytest.mark.parametrize("hot", [43.5, 60.0])
def test_a_lamp_is_no_face(hot):
    assert said(field(hot))[0] is Verdict.NOT_LIVE


@pytest.mark.parametrize("box", [(-0.3, 0.2, 0.4, 0.4), (0.5, 0.5, 0.02, 0.02), (0.1, 0.1, float("nan"), 0.2)])
def test_a_face_outside_the_field_or_too_small_in_it_is_not_measured(box):
    assert said(field(36.4), box=box) == (Verdict.NOT_MEASURED, Why.OUTSIDE)


def test_a_sensor_that_is_not_believed_says_nothing():
    seen = field(36.4)
    assert said(replace(seen, why_invalid="frozen")) == (Verdict.NOT_MEASURED, Why.SENSOR)
    assert said(replace(seen, celsius=seen.celsius[:-1])) == (Verdict.NOT_MEASURED, Why.SENSOR)
    assert said(replace(seen, ambient_celsius=float("nan"))) == (Verdict.NOT_MEASURED, Why.SENSOR)


@pytest.mark.parametrize(
    ("celsius", "expected"),
    [
        (24.3, (Verdict.NOT_LIVE, Why.COLD)),
        (28.5, (Verdict.UNSURE, Why.COOL)),
        (35.5, (Verdict.LIVE, Why.POINT)),
        (60.0, (Verdict.NOT_LIVE, Why.TOO_HOT)),
        (float("nan"), (Verdict.NOT_MEASURED, Why.SENSOR)),
    ],
)
def test_a_point_gives_the_weak_form(celsius, expected):
    point = ThermalReading(at_mono=1.0, width=1, height=1, celsius=(celsius,), ambient_celsius=AMBIENT)
    assert said(point) == expected
