"""A camera that delivers pictures and shows nothing is told within seconds, and people before it never are a fault."""

import pytest

from drivers.pictures import PictureWatch
from drivers.readings import Frame, Symptom
from drivers.sim.scene import Noise, compose, load_picture, spoilt

PERIOD_S = 0.2
LEARN_S = 6.0  # the empty place is known after half of it
TOLD_WITHIN_S, OVER_WITHIN_S = 5.0, 10.0
TROUBLES = {
    "dark": Symptom.DARK,
    "overexposed": Symptom.OVEREXPOSED,
    "blurred": Symptom.BLURRED,
    "blocked": Symptom.BLOCKED,
}


class Showing:
    """A watch that is shown pictures five times a second, on a clock of its own."""

    def __init__(self, **options):
        self.watch = PictureWatch(**options)
        self.noise = Noise(seed=7)
        self.now = 0.0
        self.news = []

    def show(self, scene, seconds, *, somebody=False):
        """Show a scene for so long; return what was said of each picture."""
        said = []
        for _ in range(round(seconds / PERIOD_S)):
            frame = Frame(at_mono=self.now, pixels=self.noise.over(scene))
            said.append(self.watch.see(frame, somebody=somebody))
            self.news += self.watch.news()
            self.now += PERIOD_S
        return said


@pytest.fixture
def showing():
    showing = Showing()
    assert showing.show(compose(None), LEARN_S) == [None] * round(LEARN_S / PERIOD_S)
    return showing


@pytest.mark.parametrize("fault", TROUBLES)
def test_a_camera_that_shows_nothing_is_told_in_time_and_well_in_time(showing, fault):
    said = showing.show(spoilt(compose(None), {fault}), TOLD_WITHIN_S)
    assert said[-1] is TROUBLES[fault], f"said {said[-1]}: {showing.watch.detail}"
    assert any(digit.isdigit() for digit in showing.watch.detail), "the measure is in the detail"
    assert showing.show(compose(None), OVER_WITHIN_S)[-1] is None


def test_a_stuck_picture_is_frozen_and_a_moving_one_is_not(showing):
    stuck = compose(None)
    frames = [Frame(at_mono=showing.now + at * PERIOD_S, pixels=stuck) for at in range(round(TOLD_WITHIN_S / PERIOD_S))]
    assert [showing.watch.see(frame) for frame in frames][-1] is Symptom.FROZEN
    showing.now += TOLD_WITHIN_S
    assert showing.show(compose(None), 0.2) == [None]


def test_a_camera_that_looks_elsewhere_goes_on_working_and_is_told(showing):
    said = showing.show(spoilt(compose(None), {"moved"}), TOLD_WITHIN_S)
    assert set(said) == {None}, "it still sees people"
    assert [(one.symptom, one.over) for one in showing.news if not one.over] == [(Symptom.MOVED, False)]
    showing.show(compose(None), OVER_WITHIN_S)
    assert showing.news[-1].over


@pytest.mark.parametrize("share", [0.6, 1.0, 2.0])
def test_people_are_neither_a_blur_nor_an_obstacle_nor_a_moved_camera(showing, faces_dir, share):
    for name in ("obama.jpg", "obama2.jpg", "person_a_2.jpg"):
        said = showing.show(compose(load_picture(faces_dir / name), share), 3.0, somebody=True)
        assert set(said) == {None}, f"{name}: {showing.watch.detail}"
    assert [one for one in showing.news if not one.over] == []
