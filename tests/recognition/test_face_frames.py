"""One person, several frames: what decides, what is doubtful, what is never mixed, and what costs nothing more."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from staged_faces import card_face, card_frame

from recognition.fusion import CLEAR, Evidence, judge
from recognition.gallery import Enrolled, Gallery
from recognition.pipeline import AGAIN_S, FULL_EVERY, RECHECK_S, RENEW_S, Pipeline
from recognition.readings import FaceProblem, NoFace
from recognition.tracking import find_near

FRAME = card_frame()
ANNA, BERT, CARL = np.eye(5, dtype=np.float32)[:3]
REQUIRED = 0.5  # of the staged pipeline, among everybody
PERIOD_S = 0.1


def like(anna: float, bert: float = 0.0) -> np.ndarray:
    """Return a vector that is so similar to Anna and to Bert, and to nobody else."""
    return np.array([anna, bert, 0, 0, (1 - anna**2 - bert**2) ** 0.5], np.float32)


@pytest.fixture
def gate(staged):
    staged.gallery = Gallery(staged.model, {"anna": ANNA, "bert": BERT})
    staged.limits = replace(staged.limits, one_to_many=REQUIRED)
    staged.embedder.vector = ANNA
    return staged


def looks(pipeline: Pipeline, count: int, claim: str | None = None, since: float = 0.0) -> list:
    return [pipeline.look(FRAME, since + PERIOD_S * number, claim) for number in range(count)]


def until_settled(pipeline: Pipeline, claim: str | None = None, since: float = 0.0):
    count = round(pipeline.limits.deadline_s / PERIOD_S) + 2
    return looks(pipeline, count, claim, since)[-1]


def test_one_clear_frame_decides(gate):
    gate.embedder.vector = like(REQUIRED + CLEAR + 0.01)
    reading = gate.look(FRAME, 0.0)
    assert reading.identified.person == "anna"
    assert (reading.frames, reading.doubtful) == (1, False)


def test_near_the_limit_three_frames_are_asked_for(gate):
    gate.embedder.vector = like(REQUIRED + 0.02)
    one, two, three = looks(gate, 3)
    assert (one.identified, two.identified) == (None, None)
    assert one.doubtful and two.doubtful
    assert not two.settled
    assert three.identified.person == "anna"
    assert three.frames == 3


def test_frames_that_say_no_outweigh_one_that_says_yes(gate):
    gate.embedder.vector = like(REQUIRED + 0.04)
    gate.look(FRAME, 0.0)
    gate.embedder.vector = like(REQUIRED - 0.04)
    reading = looks(gate, 3, since=PERIOD_S)[1]
    assert reading.identified is None
    assert reading.nearest_similarity > REQUIRED - 0.04


def test_a_little_below_the_limit_staff_are_to_say_after_the_deadline(gate):
    gate.embedder.vector = like(REQUIRED - CLEAR / 2)
    assert not looks(gate, 3)[-1].settled
    reading = until_settled(gate)
    assert reading.identified is None
    assert reading.doubtful
    assert reading.settled


def test_far_below_the_limit_is_unknown_and_not_doubtful(gate):
    gate.embedder.vector = like(REQUIRED - CLEAR - 0.01)
    reading = until_settled(gate)
    assert (reading.identified, reading.doubtful, reading.settled) == (None, False, True)


def test_two_people_who_are_equally_near_are_doubtful_however_near(gate):
    gate.embedder.vector = like(0.70, 0.70 - gate.limits.margin + 0.01)
    reading = until_settled(gate)
    assert reading.identified is None
    assert reading.doubtful and reading.settled
    assert 0 < reading.margin < reading.required_margin


def test_the_margin_is_to_another_person_and_not_to_a_second_template(gate):
    gate.gallery = Gallery(gate.model, {"anna": np.stack([ANNA, like(0.99)]), "bert": BERT})
    gate.embedder.vector = ANNA
    reading = gate.look(FRAME, 0.0)
    assert reading.identified.person == "anna"
    assert reading.margin == pytest.approx(1.0)


def test_who_is_alone_in_the_gallery_has_no_margin_to_keep(gate):
    gate.gallery = Gallery(gate.model, {"anna": ANNA})
    assert gate.look(FRAME, 0.0).identified.person == "anna"
    assert gate.look(FRAME, 0.1).margin is None


def test_every_template_of_a_person_counts(gate):
    gate.gallery = Gallery(gate.model, {"anna": np.stack([CARL, ANNA, BERT])})
    for vector in (ANNA, BERT, CARL):
        gate.forget()
        gate.embedder.vector = vector
        assert gate.look(FRAME, 0.0).identified.similarity == pytest.approx(1)


def with_ids(gate) -> None:
    ids = b"".join(bytes([0, 0, 0, 0, 0, number]) for number in (1, 2))
    anna = Enrolled("anna", np.stack([like(0.8, 0.0), ANNA]), ids)
    gate.gallery = Gallery.from_sorted(gate.model, [anna, Enrolled("bert", BERT[None], bytes([0, 0, 0, 0, 0, 9]))], 3)


def test_who_is_identified_is_so_by_the_template_most_similar_to_all_frames_together(gate):
    with_ids(gate)
    gate.limits = replace(gate.limits, one_to_many=0.96)  # no frame alone is enough
    assert [reading.identified for reading in looks(gate, 2)] == [None, None]
    gate.embedder.vector = like(0.9)  # of itself more like the first one
    assert gate.gallery.template_like("anna", like(0.9)) == f"{1:012x}"
    assert gate.look(FRAME, 2 * PERIOD_S).identified.template == f"{2:012x}"


def test_the_template_of_somebody_who_was_not_reached_is_not_told(gate):
    with_ids(gate)
    gate.embedder.vector = np.array([0.1, 0.3, 0.9**0.5, 0, 0], np.float32)
    reading = until_settled(gate, "bert")
    assert (reading.identified, reading.claimed.reached, reading.claimed.template) == (None, False, "")


def test_a_claim_that_is_reached_names_the_holders_own_template(gate):
    with_ids(gate)
    gate.embedder.vector = ANNA
    assert gate.look(FRAME, 0.0, "anna").claimed.template == f"{2:012x}"
    gate.forget()
    gate.embedder.vector = BERT
    assert gate.look(FRAME, 9.0, "bert").claimed.template == f"{9:012x}"


def test_the_cards_own_photograph_is_no_template(gate):
    with_ids(gate)
    gate.embedder.vector = CARL
    assert gate.show_photo("carl", FRAME)
    claimed = gate.look(FRAME, 0.0, "carl").claimed
    assert (claimed.reached, claimed.by_photo, claimed.template) == (True, True, "")


def test_who_was_decided_on_is_not_embedded_again_while_followed(gate):
    looks(gate, round(RENEW_S / PERIOD_S))
    assert gate.embedder.calls == 1
    assert gate.look(FRAME, 1.0).at_mono == 1.0, "the reading is of the newest frame all the same"


def test_who_is_settled_as_unknown_is_embedded_again_only_when_seen_better(gate):
    gate.embedder.vector = like(0.1)
    until_settled(gate)
    calls = gate.embedder.calls
    looks(gate, 3 * round(AGAIN_S / PERIOD_S), since=gate.limits.deadline_s + 2 * PERIOD_S)
    assert gate.embedder.calls == calls


def test_a_decided_face_is_compared_again_now_and_then(gate):
    first = gate.look(FRAME, 0.0)
    gate.embedder.vector = BERT
    followed = [gate.look(FRAME, PERIOD_S * number) for number in range(1, round(RENEW_S / PERIOD_S) + 3)]
    assert followed[0].identified.person == "anna"
    assert followed[-1].identified.person == "bert"
    assert followed[-1].track != first.track, "another person in the same place is another track"


def test_frames_of_two_people_are_never_fused(gate):
    gate.embedder.vector = like(0.52)
    before = gate.look(FRAME, 0.0)
    gate.embedder.vector = np.array([0, 0.52, 0, (1 - 0.52**2) ** 0.5, 0], np.float32)
    after = gate.look(FRAME, 0.1)
    assert after.track != before.track
    assert after.frames == 1


def go(pipeline: Pipeline) -> None:
    pipeline.detector.faces = []


def come_closer_behind(pipeline: Pipeline) -> None:
    pipeline.detector.faces = [card_face(), card_face(x=300, size=310)]


@pytest.mark.parametrize("what", [go, come_closer_behind])
def test_what_was_decided_holds_no_longer_than_the_face_is_surely_the_same(what, gate):
    gate.look(FRAME, 0.0)
    before = gate.detector.faces
    what(gate)
    gate.look(FRAME, 0.1)
    gate.detector.faces = before
    gate.embedder.vector = like(0.1)
    assert gate.look(FRAME, 0.2).identified is None


def test_a_face_that_jumps_is_proven_again(gate):
    gate.look(FRAME, 0.0)
    gate.detector.faces = [card_face(size=200, x=160, y=110)]
    gate.embedder.vector = like(0.1)
    assert gate.look(card_frame(x=160, y=110, size=200), 0.1).identified is None


def test_a_changed_gallery_is_asked_at_once(gate):
    assert gate.look(FRAME, 0.0).identified.person == "anna"
    gate.gallery = Gallery(gate.model, {"bert": BERT})
    assert gate.look(FRAME, 0.1).identified is None


def test_a_claim_near_the_limit_is_doubtful_until_three_frames_say_yes(gate):
    gate.embedder.vector = like(0.1, 0.42)
    one, _, three = looks(gate, 3, claim="bert")
    assert (one.claimed.reached, one.claimed.doubtful) == (False, True)
    assert (three.claimed.reached, three.claimed.doubtful) == (True, False)


def test_a_claim_below_the_limit_stays_doubtful_and_a_false_one_does_not(gate):
    gate.embedder.vector = like(0.1, 0.38)
    reading = until_settled(gate, "bert")
    assert (reading.claimed.reached, reading.claimed.doubtful, reading.settled) == (False, True, True)
    gate.forget()
    gate.embedder.vector = like(0.1, 0.30)
    reading = until_settled(gate, "bert")
    assert (reading.claimed.reached, reading.claimed.doubtful, reading.settled) == (False, False, True)


def test_a_new_claim_opens_the_deadline_again(gate):
    gate.embedder.vector = like(0.3)
    until_settled(gate)
    later = gate.look(FRAME, 3.0, "anna")
    assert not later.settled
    assert until_settled(gate, "anna", since=3.1).settled


def test_a_card_laid_down_long_after_the_decision_asks_for_a_fresh_frame(gate):
    gate.look(FRAME, 0.0)
    looks(gate, 30, since=PERIOD_S)
    assert gate.recheck("anna", RECHECK_S + 1.0) is None
    calls = gate.embedder.calls
    assert gate.look(FRAME, 3.1, "anna").claimed.reached
    assert gate.embedder.calls == calls + 1


def test_the_photograph_of_a_card_serves_who_has_nothing_enrolled(gate):
    gate.embedder.vector = like(0.0)
    gate.detector.faces = [card_face(size=90, x=4, y=10)]
    assert gate.show_photo("dora", np.zeros((126, 102, 3), np.uint8))
    gate.detector.faces = [card_face()]
    reading = gate.look(FRAME, 0.0, "dora")
    assert reading.claimed.reached and reading.claimed.by_photo
    assert reading.claimed.required == gate.limits.card_photo
    assert reading.identified is None
    assert gate.look(FRAME, 0.1, "anna").claimed.by_photo is False, "what is enrolled comes first"
    gate.forget_photo()
    assert gate.look(FRAME, 0.2, "dora").claimed is None


def test_a_photograph_without_face_serves_nobody(gate):
    gate.detector.faces = []
    assert not gate.show_photo("dora", np.zeros((126, 102, 3), np.uint8))
    gate.detector.faces = [card_face()]
    assert gate.look(FRAME, 0.0, "dora").claimed is None


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), min_size=1, max_size=12))
def test_the_heaviest_frames_are_kept_whatever_their_order(frames):
    evidence = Evidence(3)
    for which, weight in frames:
        evidence.add(np.eye(3, dtype=np.float32)[which], weight)
    assert evidence.count == min(3, len(frames))
    assert np.linalg.norm(evidence.fused) == pytest.approx(1, abs=1e-5)
    assert evidence.gains_by(1.1)


@given(st.floats(-1, 1), st.floats(0.3, 0.9), st.booleans(), st.booleans())
def test_nobody_is_reached_below_what_is_required_or_beside_somebody_as_near(similarity, required, apart, confirmed):
    verdict = judge(similarity, required, apart=apart, confirmed=confirmed)
    assert not (verdict.reached and (similarity < required or not apart))
    assert not (verdict.reached and verdict.doubtful)


@pytest.mark.models
def test_a_face_is_found_again_where_it_was(scene, pipeline):
    frame = scene("person_a_1")
    (face,) = pipeline.detector.detect(frame)
    moved = np.roll(frame, 12, axis=1)
    again = find_near(pipeline.detector, moved, face)
    assert abs(again.x - face.x - 12) < 0.1 * face.width
    assert np.abs(again.landmarks - face.landmarks - (12, 0)).max() < 0.1 * face.width
    assert find_near(pipeline.detector, np.full_like(frame, 128), face) is None


@pytest.mark.models
def test_a_decided_face_is_followed_without_searching_the_whole_frame(scene, pipeline):
    frames = [scene("obama", seed) for seed in range(FULL_EVERY)]
    pipeline.gallery = Gallery(pipeline.model, {"obama": pipeline.template(frames[0]).vector})
    sizes = []
    real = pipeline.detector

    class Watched:
        refine = staticmethod(real.refine)
        near = staticmethod(real.near)

        def detect(self, pixels):
            sizes.append(max(pixels.shape[:2]))
            return real.detect(pixels)

    pipeline.detector = Watched()
    readings = [pipeline.look(frame, PERIOD_S * number) for number, frame in enumerate(frames)]
    assert {reading.identified.person for reading in readings} == {"obama"}
    assert len({reading.track for reading in readings}) == 1
    assert sizes == [640]
    assert isinstance(pipeline.look(np.full_like(frames[0], 128), 1.0), NoFace)


def with_mask(frame, landmarks, colour):
    """Return the frame with a mask drawn over nose and mouth."""
    right, left, _, *mouth = landmarks.astype(np.float64)
    eyes, middle = left - right, (left + right) / 2
    down = np.mean(mouth, axis=0) - middle
    shape = [(-0.85, 0.42), (0, 0.36), (0.85, 0.42), (0.8, 1.15), (0.45, 1.6), (-0.45, 1.6), (-0.8, 1.15)]
    points = np.array([middle + across * eyes + deep * down for across, deep in shape])
    return cv2.fillPoly(frame.copy(), [points.round().astype(np.int32)], colour)


def with_dark_glasses(frame, landmarks, _colour):
    """Return the frame with dark glasses drawn on."""
    radius = float(np.linalg.norm(landmarks[1] - landmarks[0])) * 0.36
    worn = frame.copy()
    for eye in landmarks[:2].round().astype(int):
        cv2.ellipse(worn, tuple(map(int, eye)), (int(radius), int(radius * 0.8)), 0, 0, 360, (25, 22, 20), -1)
    return worn


@pytest.mark.models
@pytest.mark.parametrize("name", ["person_a_1", "person_b_1", "obama", "impostor_2"])
@pytest.mark.parametrize(
    ("wear", "colour", "problem"),
    [
        (with_mask, (200, 170, 110), FaceProblem.MOUTH_COVERED),
        (with_mask, (225, 225, 225), FaceProblem.MOUTH_COVERED),
        (with_mask, (35, 33, 32), FaceProblem.MOUTH_COVERED),
        (with_dark_glasses, None, FaceProblem.EYES_COVERED),
    ],
)
def test_a_covered_face_is_told_and_not_compared(name, wear, colour, problem, scene, pipeline):
    frame = scene(name)
    (face,) = pipeline.detector.detect(frame)
    reading = pipeline.look(wear(frame, face.landmarks, colour), 0.0)
    assert reading.problem is problem
    assert reading.nearest_similarity is None


def card_photo(faces_dir, name):
    """Return a portrait as a card holds it: 102 by 126 pixels, of a harsh codec."""
    picture = cv2.imread(str(faces_dir / f"{name}.jpg"))
    height, width = picture.shape[:2]
    used = min(width, height * 102 // 126)
    left = (width - used) // 2
    small = cv2.resize(picture[: used * 126 // 102, left : left + used], (102, 126), interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


@pytest.mark.models
@pytest.mark.parametrize(("on_card", "comes"), [("person_a_1", "person_a_2"), ("person_b_2", "person_b_1")])
def test_a_cards_photograph_of_102_pixels_proves_its_holder_and_nobody_else(
    on_card, comes, scene, pipeline, faces_dir
):
    assert pipeline.show_photo("holder", card_photo(faces_dir, on_card))
    holder = [pipeline.look(scene(comes, seed), PERIOD_S * seed, "holder") for seed in range(3)][-1]
    assert holder.claimed.reached and holder.claimed.by_photo
    pipeline.forget()
    other = [pipeline.look(scene("impostor_2", seed), 5 + PERIOD_S * seed, "holder") for seed in range(3)][-1]
    assert not other.claimed.reached and not other.claimed.doubtful
