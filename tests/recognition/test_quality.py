from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from staged_faces import card_face, card_frame

from recognition.align import crop_face
from recognition.detect import YuNet
from recognition.prepare import prepared_path
from recognition.quality import MAX_TURN, measure, outside_share, place_problem, problem, turn
from recognition.readings import FaceProblem


def judged(frame: np.ndarray, face=None) -> FaceProblem | None:
    face = face or card_face()
    return problem(measure(face, crop_face(frame, face.landmarks)))


def test_a_plain_face_is_usable():
    assert place_problem(card_face(), 640, 480, 80) is None
    assert judged(card_frame()) is None


def test_a_face_below_the_least_size_is_too_small():
    face = card_face(size=100)
    assert place_problem(face, 640, 480, face.width) is None
    assert place_problem(face, 640, 480, face.width + 1) is FaceProblem.TOO_SMALL


@pytest.mark.parametrize(("x", "y"), [(-180, 60), (500, 60), (100, -140), (100, 330)])
def test_a_face_at_the_edge_is_cut_off(x, y):
    assert place_problem(card_face(x=x, y=y), 640, 480, 80) is FaceProblem.CUT_OFF


def test_a_tight_portrait_is_not_cut_off():
    face = replace(card_face(x=0, y=0, size=320), x=-10, y=-10, width=330, height=330)
    assert place_problem(face, 320, 320, 80) is None


@given(x=st.floats(-500, 1000), y=st.floats(-500, 1000))
def test_the_share_outside_is_a_share(x, y):
    assert 0 <= outside_share(card_face(x=x, y=y), 640, 480) <= 1


@given(angle=st.floats(-3.1, 3.1), scale=st.floats(0.3, 5))
def test_tilting_the_head_is_not_turning_it(angle, scale):
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = card_face().landmarks @ matrix.T
    assert turn(landmarks) == pytest.approx(0, abs=1e-3)


def test_a_turned_head_is_turned_away():
    face = card_face()
    landmarks = face.landmarks.copy()
    landmarks[2, 0] += (MAX_TURN + 0.02) * (landmarks[1, 0] - landmarks[0, 0])
    assert judged(card_frame(), replace(face, landmarks=landmarks)) is FaceProblem.TURNED_AWAY


def test_a_profile_with_one_eye_behind_the_other_is_turned_away():
    landmarks = card_face().landmarks.copy()
    landmarks[1] = landmarks[0]
    assert turn(landmarks) == float("inf")


def test_a_face_in_the_dark_is_dark_and_not_blurred():
    assert judged((card_frame() * 0.05).astype(np.uint8)) is FaceProblem.DARK


def test_a_burnt_face_is_overexposed():
    frame = np.clip(card_frame().astype(np.float32) * 3, 0, 255).astype(np.uint8)
    assert judged(frame) is FaceProblem.OVEREXPOSED


@pytest.mark.parametrize("kernel", [np.ones((1, 41)) / 41, np.ones((41, 1)) / 41, np.eye(41) / 41])
def test_a_head_in_motion_is_blurred_whichever_way_it_moves(kernel):
    assert judged(cv2.filter2D(card_frame(), -1, kernel)) is FaceProblem.BLURRED


@pytest.mark.parametrize("variant", range(5))
def test_no_colour_of_skin_is_a_problem(variant):
    """Each card has another complexion; so does each at a third of the light."""
    assert judged(card_frame(variant)) is None
    assert judged((card_frame(variant) * 0.34).astype(np.uint8)) is None


@given(st.integers(0, 2**32 - 1))
def test_any_pixels_are_judged(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (112, 112, 3), np.uint8)
    assert problem(measure(card_face(), noise)) in {None, *FaceProblem}


@pytest.mark.models
@pytest.mark.parametrize("name", ["person_a_1", "person_a_2", "person_b_1", "person_b_2", "obama", "impostor_2"])
def test_real_portraits_are_usable_until_they_are_spoilt(name, scene, prepared_dir, pack):
    frame = scene(name)
    detector = YuNet(prepared_path(pack.detector, prepared_dir))
    (face,) = detector.detect(frame)
    assert judged(frame, face) is None
    assert judged((frame * 0.3).astype(np.uint8), face) is None
    assert judged((frame * 0.05).astype(np.uint8), face) is FaceProblem.DARK
    assert judged(cv2.GaussianBlur(frame, (0, 0), 0.06 * face.width), face) is FaceProblem.BLURRED
