"""A decided face is followed without embedding it again, and never across a change of person."""

import numpy as np
import pytest
from staged_faces import StagedDetector, card_face, card_frame

from recognition.detect import overlap
from recognition.gallery import Gallery
from recognition.readings import FaceReading
from recognition.tracking import FOLLOW_GAP_S, RELOOK_S, WHOLE_S, Follower

STEP_S = 0.1


@pytest.fixture
def decided(staged):
    """A pipeline that has just identified the drawn face."""
    staged.gallery = Gallery(staged.model, {"drawn": staged.embedder.vector})
    assert staged.look(card_frame(), 0.0).identified.person == "drawn"
    return staged


def test_a_decided_face_is_followed_without_being_embedded_again(decided):
    calls = decided.embedder.calls
    decided.detector.faces = [card_face(x=108, y=64)]
    reading = decided.follow(card_frame(x=108, y=64), STEP_S)
    assert reading.identified.person == "drawn"
    assert (reading.at_mono, reading.track) == (STEP_S, 1)
    assert reading.box == card_face(x=108, y=64).box
    assert decided.embedder.calls == calls


def test_nobody_is_followed_before_anybody_was_identified(staged):
    assert staged.follow(card_frame(), 0.0) is None
    staged.look(card_frame(), 0.0)
    assert staged.follow(card_frame(), STEP_S) is None


@pytest.mark.parametrize("other", [2, 3, 4])  # the first differs in colours more than in light
def test_another_face_in_the_same_place_is_not_followed(other, decided):
    assert decided.follow(card_frame(other), STEP_S) is None
    assert decided.follow(card_frame(), 2 * STEP_S) is None, "once lost, only a look decides again"


@pytest.mark.parametrize(
    ("faces", "what"),
    [
        ([], "gone"),
        ([card_face(), card_face(x=400, size=150)], "two faces"),
        ([card_face(x=300)], "somewhere else"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_certain_is_looked_at_again(faces, what, decided):
    decided.detector.faces = faces
    assert decided.follow(card_frame(), STEP_S) is None, what


def test_a_picture_that_shows_nothing_is_nobody(decided):
    assert decided.follow(np.full((480, 640, 3), 128, np.uint8), STEP_S) is None
    assert decided.follow(card_frame(), 2 * STEP_S) is None


def test_after_a_gap_the_face_may_be_another(decided):
    assert decided.follow(card_frame(), FOLLOW_GAP_S + 0.01) is None


def test_a_decision_is_renewed_in_time_however_alike_the_face_stays(decided):
    frame, at_mono, followed = card_frame(), 0.0, 0
    while decided.follow(frame, at_mono + STEP_S) is not None:
        at_mono += STEP_S
        followed += 1
    assert RELOOK_S - STEP_S <= at_mono <= RELOOK_S
    assert followed


def test_the_whole_frame_is_searched_often(decided):
    """Somebody who comes as near as the one followed must be seen."""

    class Counting(StagedDetector):
        whole, near_only = 0, 0

        def detect(self, pixels):
            self.whole += 1
            return super().detect(pixels)

        def near(self, pixels, face):
            self.near_only += 1
            return super().near(pixels, face)

    detector = Counting()
    detector.faces = [card_face()]
    follower, frame = Follower(detector), card_frame()
    follower.hold(card_face(), frame, 0.0)
    for turn in range(1, 20):
        assert follower.follow(frame, turn * STEP_S) is not None
    assert detector.whole >= int(19 * STEP_S / (WHOLE_S + STEP_S))
    assert detector.near_only > detector.whole


def test_another_gallery_ends_the_following(decided):
    """Whoever was removed must not go on being identified."""
    decided.gallery = Gallery(decided.model, {})
    assert decided.follow(card_frame(), STEP_S) is None
    assert decided.look(card_frame(), STEP_S).identified is None


def test_a_lost_camera_ends_the_following(decided):
    decided.forget()
    assert decided.follow(card_frame(), STEP_S) is None


def test_a_claim_for_another_person_is_looked_at(decided):
    decided.gallery = Gallery(
        decided.model, {"drawn": decided.embedder.vector, "other": np.eye(4, dtype=np.float32)[1]}
    )
    decided.look(card_frame(), 0.0)
    assert decided.follow(card_frame(), STEP_S, claim="other") is None
    decided.look(card_frame(), 2 * STEP_S)
    assert decided.follow(card_frame(), 3 * STEP_S, claim="drawn").claimed.reached


def test_a_followed_face_can_be_rechecked_with_a_card(decided):
    decided.follow(card_frame(), STEP_S)
    assert decided.recheck("drawn", 2 * STEP_S).at_mono == STEP_S


@pytest.mark.models
@pytest.mark.parametrize("name", ["person_a_2", "person_b_1", "impostor_2"])
def test_a_real_face_that_moves_a_little_is_followed(name, pipeline, scene):
    frame = scene(name)
    template = pipeline.template(frame)
    pipeline.gallery = Gallery(pipeline.model, {name: template.vector})
    first = pipeline.look(frame, 0.0)
    assert isinstance(first, FaceReading)
    for turn in range(1, 6):
        moved = np.roll(scene(name, seed=turn), (turn, 2 * turn), axis=(0, 1))
        reading = pipeline.follow(moved, turn * STEP_S)
        assert reading is not None
        assert reading.identified.person == name
        assert overlap(reading.box, first.box) > 0.6


@pytest.mark.models
def test_no_real_face_follows_another(pipeline, scene):
    names = ["person_a_1", "person_a_2", "person_b_1", "person_b_2", "impostor_1", "impostor_2", "obama", "obama2"]
    for name in names:
        pipeline.gallery = Gallery(pipeline.model, {name: pipeline.template(scene(name)).vector})
        for other in names:
            assert pipeline.look(scene(name), 0.0).identified.person == name
            followed = pipeline.follow(scene(other), STEP_S)
            assert (followed is not None) == (other == name)
