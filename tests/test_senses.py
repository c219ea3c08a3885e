"""What the gate knows of its surroundings: who is near, and who is only felt."""

from drivers.readings import PresenceReading
from recognition.readings import FaceReading
from sentinel.core.climate import Climate
from sentinel.core.thermometry import Compensation, Limits
from sentinel.senses import NEAR_S, PHANTOM_S, Senses
from sentinel.thermometer import Thermometer


def senses(*, has_presence: bool = True) -> Senses:
    limits = Limits(ambient_min_celsius=15.0, ambient_max_celsius=35.0)
    thermometer = Thermometer(limits=limits, compensation=Compensation(), climate=Climate(warm_up_s=0.0))
    return Senses(thermometer=thermometer, has_presence=has_presence)


def felt(at_mono: float, *, somebody: bool = True) -> PresenceReading:
    return PresenceReading(at_mono=at_mono, moving=somebody, still=False)


def face(at_mono: float) -> FaceReading:
    box = (10.0, 10.0, 90.0, 90.0)
    return FaceReading(at_mono=at_mono, track=1, box=box, frame_width=640, frame_height=480, confidence=0.9)


def test_who_is_felt_for_ten_minutes_and_never_seen_is_a_phantom():
    around = senses()
    around.see_presence(felt(100.0))
    around.see_presence(felt(100.0 + PHANTOM_S))
    assert not around.phantom(100.0 + PHANTOM_S, presence_works=True)
    assert around.phantom(100.1 + PHANTOM_S, presence_works=True)
    around.see_presence(felt(701.0, somebody=False))
    assert not around.phantom(701.0, presence_works=True)


def test_whoever_is_seen_or_judged_is_no_phantom():
    for proof in (lambda around: around.see_face(face(400.0)), lambda around: around.see_passage()):
        around = senses()
        around.see_presence(felt(100.0))
        proof(around)
        around.see_presence(felt(401.0))
        assert not around.phantom(101.0 + PHANTOM_S, presence_works=True)
        assert around.phantom(402.0 + PHANTOM_S, presence_works=True)


def test_a_radar_that_broke_says_nothing_of_the_time_before():
    around = senses()
    around.see_presence(felt(100.0))
    assert not around.phantom(900.0, presence_works=False)
    assert not around.phantom(900.0, presence_works=True)


def test_only_a_radar_that_works_and_feels_nobody_lets_the_camera_rest():
    assert not senses(has_presence=False).nobody_near(100.0, presence_works=True)
    around = senses()
    assert around.nobody_near(100.0, presence_works=True)
    assert not around.nobody_near(100.0, presence_works=False)
    around.see_presence(felt(100.0))
    assert not around.nobody_near(100.0 + NEAR_S, presence_works=True)
    assert around.nobody_near(100.1 + NEAR_S, presence_works=True)
