"""Sixty attacks of each kind open nothing, two hundred people pass, and each decision names its layer.

The bytes of the thermal field, the pictures, the senses, the layers, the fuser and the policy are real; only the
detector is staged here, for speed. `scripts/bench/liveness --simulator` does the same with the real models.
"""

import sys
from pathlib import Path

import cv2
import pytest

from drivers.sim.attacks import Attack
from recognition.readings import Candidate, FaceReading
from sentinel.core.liveness import Layer, Mode, Rule, Verdict
from sentinel.core.model import Person, Reason

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from liveness_trial import Kit, Rate, Subject, apcer, bpcer, present

ATTACKS, GENUINE = 60, 200
SHORT_WINDOW_S = 1.2  # what is unsure to the end is unsure sooner; who is live or not is told before
BOXES = {
    "obama": (0.45, 0.08, 0.16, 0.28),
    "obama2": (0.43, 0.21, 0.18, 0.32),
    "impostor_1": (0.38, 0.21, 0.23, 0.41),
    "person_a_1": (0.38, 0.2, 0.23, 0.42),
    "person_b_2": (0.39, 0.14, 0.24, 0.44),
}  # where the real detector finds them, in shares of the scene
HEAT = Rule(mode=Mode.REQUIRE, layers=(Layer.HEAT,))


class Nobody:
    """A detector that is not asked: there is no infrared camera here."""

    def detect(self, pixels):
        raise AssertionError("nobody asks")

    def refine(self, pixels, face):
        return face


@pytest.fixture(scope="module")
def subjects(faces_dir) -> list[Subject]:
    def subject(name: str) -> Subject:
        person = Person(token=name, name="样本", has_face=True)
        known = Candidate(person=name, similarity=0.7, required=0.5, reached=True)
        x, y, width, height = BOXES[name]
        box = (x * 640, y * 480, width * 640, height * 480)

        def look(_pixels, at_mono: float) -> FaceReading:
            return FaceReading(
                at_mono=at_mono, track=1, box=box, frame_width=640, frame_height=480, confidence=0.9, identified=known
            )

        return Subject(picture=cv2.imread(str(faces_dir / f"{name}.jpg")), look=look, box=BOXES[name], person=person)

    return [subject(name) for name in BOXES]


@pytest.mark.parametrize("view", [True, False], ids=["calibrated", "whole-field"])
@pytest.mark.parametrize("attack", Attack)
def test_each_attack_is_refused_sixty_times_of_sixty_and_heat_decided(subjects, attack, view):
    kit = Kit(rule=HEAT, view=view, pictures=view, window_s=SHORT_WINDOW_S)
    seen = [
        present(subjects[serial % len(subjects)], attack, kit, Nobody(), seed=serial)
        for serial in range(ATTACKS)
    ]
    assert [one for one in seen if one.opened] == []
    assert {one.layer for one in seen} == {Layer.HEAT}
    assert {one.reason for one in seen} <= {Reason.FACE_NOT_LIVE, Reason.FACE_LIVENESS_UNSURE}
    assert apcer(seen, attack).errors == 0


def test_two_hundred_people_pass_and_nobody_is_refused(subjects):
    kit = Kit(rule=HEAT)
    seen = [present(subjects[n % len(subjects)], None, kit, Nobody(), seed=1000 + n) for n in range(GENUINE)]
    assert [one for one in seen if not one.opened] == []
    assert {(one.verdict, one.layer) for one in seen} == {(Verdict.LIVE, Layer.HEAT)}
    assert bpcer(seen).errors == 0


def test_a_rate_without_errors_still_says_how_little_that_proves():
    assert Rate(errors=0, of=60).interval == pytest.approx((0.0, 0.0596), abs=1e-3)
    assert Rate(errors=0, of=200).interval == pytest.approx((0.0, 0.0183), abs=1e-3)
    assert Rate(errors=3, of=100).interval == pytest.approx((0.0062, 0.0852), abs=1e-3)
