"""A known face is followed without embedding it again, and never across a change of person."""

import numpy as np
import pytest
from staged_faces import card_face, card_frame

from recognition.detect import overlap
from recognition.gallery import Gallery
from recognition.pipeline import FULL_EVERY, RENEW_S
from recognition.readings import FaceReading
from recognition.tracking import GLANCE_GAP_S

STEP_S = 0.1


class Seen:
    """A pipeline that has just identified the drawn face, and whether the next look embeds again."""

    def __init__(self, staged) -> None:
        self.pipeline = staged
        staged.gallery = Gallery(staged.model, {"drawn": staged.embedder.vector})
        assert staged.look(card_frame(), 0.0).identified.person == "drawn"

    def look(self, frame, at_mono, **claim):
        before = self.pipeline.embedder.calls
        reading = self.pipeline.look(frame, at_mono, **claim)
        return reading, self.pipeline.embedder.calls > before


@pytest.fixture
def seen(staged):
    return Seen(staged)


def test_a_known_face_is_followed_without_being_embedded_again(seen):
    seen.pipeline.detector.faces = [card_face(x=108, y=64)]
    reading, embedded = seen.look(card_frame(x=108, y=64), STEP_S)
    assert not embedded
    assert reading.identified.person == "drawn"
    assert (reading.at_mono, reading.track) == (STEP_S, 1)
    assert reading.box == card_face(x=108, y=64).box


@pytest.mark.parametrize("other", [2, 3, 4])  # the first differs in colours more than in light
def test_another_face_in_the_same_place_is_embedded(other, seen):
    _, embedded = seen.look(card_frame(other), STEP_S)
    assert embedded


def test_another_face_in_the_same_place_is_not_the_one_before(seen):
    seen.pipeline.embedder.vector = np.eye(4, dtype=np.float32)[3]
    reading, _ = seen.look(card_frame(2), STEP_S)
    assert reading.identified is None
    assert reading.track == 2


def test_a_picture_that_shows_nothing_is_nobody(seen):
    reading, _ = seen.look(np.full((480, 640, 3), 128, np.uint8), STEP_S)
    assert reading.identified is None


def test_after_a_gap_the_face_may_be_another(seen):
    _, embedded = seen.look(card_frame(), GLANCE_GAP_S + 0.01)
    assert embedded


def test_an_answer_is_renewed_in_time_however_alike_the_face_stays(seen):
    turns = [seen.look(card_frame(), turn * STEP_S)[1] for turn in range(1, round(2 * RENEW_S / STEP_S))]
    first = turns.index(True) + 1
    assert RENEW_S - STEP_S <= first * STEP_S <= RENEW_S + 2 * STEP_S


def test_the_whole_frame_is_searched_often(seen):
    """Somebody who comes as near as the one followed must be seen."""
    detector, whole = seen.pipeline.detector, []
    detect = detector.detect
    detector.detect = lambda pixels: whole.append(True) or detect(pixels)
    for turn in range(1, 2 * FULL_EVERY + 1):
        seen.look(card_frame(), turn * STEP_S)
    assert len(whole) >= 2


def test_another_gallery_ends_the_following(seen):
    """Whoever was removed must not go on being identified."""
    seen.pipeline.gallery = Gallery(seen.pipeline.model, {})
    reading, embedded = seen.look(card_frame(), STEP_S)
    assert embedded
    assert reading.identified is None


def test_a_lost_camera_ends_the_following(seen):
    seen.pipeline.forget()
    _, embedded = seen.look(card_frame(), STEP_S)
    assert embedded


def test_a_claim_is_compared(seen):
    people = {"drawn": seen.pipeline.embedder.vector, "other": np.eye(4, dtype=np.float32)[1]}
    seen.pipeline.gallery = Gallery(seen.pipeline.model, people)
    seen.look(card_frame(), 0.0)
    reading, embedded = seen.look(card_frame(), STEP_S, claim="other")
    assert embedded
    assert not reading.claimed.reached
    reading, _ = seen.look(card_frame(), 2 * STEP_S, claim="drawn")
    assert reading.claimed.reached


@pytest.mark.models
@pytest.mark.parametrize("name", ["person_a_2", "person_b_1", "impostor_2"])
def test_a_real_face_that_moves_a_little_is_followed(name, pipeline, scene, embeddings):
    frame = scene(name)
    pipeline.gallery = Gallery(pipeline.model, {name: pipeline.template(frame).vector})
    first = pipeline.look(frame, 0.0)
    assert isinstance(first, FaceReading)
    before = embeddings.calls
    for turn in range(1, 6):
        moved = np.roll(scene(name, seed=turn), (turn, 2 * turn), axis=(0, 1))
        reading = pipeline.look(moved, turn * STEP_S)
        assert reading.identified.person == name
        assert overlap(reading.box, first.box) > 0.6
    assert embeddings.calls == before


@pytest.mark.models
def test_no_real_face_follows_another(pipeline, scene, embeddings):
    names = ["person_a_1", "person_a_2", "person_b_1", "person_b_2", "impostor_1", "impostor_2", "obama", "obama2"]
    for name in names:
        pipeline.gallery = Gallery(pipeline.model, {name: pipeline.template(scene(name)).vector})
        for other in names:
            pipeline.forget()
            assert pipeline.look(scene(name), 0.0).identified.person == name
            before = embeddings.calls
            pipeline.look(scene(other), STEP_S)
            assert (embeddings.calls == before) == (other == name)


@pytest.fixture
def embeddings(pipeline):
    """How often the pipeline's embedder was asked."""

    class Counted:
        def __init__(self, embedder) -> None:
            self.embedder, self.calls = embedder, 0

        def embed(self, crop):
            self.calls += 1
            return self.embedder.embed(crop)

        def __getattr__(self, name):
            return getattr(self.embedder, name)

    pipeline.embedder = Counted(pipeline.embedder)
    return pipeline.embedder
