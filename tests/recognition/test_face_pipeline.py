from dataclasses import replace

import numpy as np
import pytest
from staged_faces import card_face, card_frame

from recognition.errors import FaceUnusable, GalleryMismatch, RecognitionError
from recognition.gallery import Gallery
from recognition.pipeline import RECHECK_S, Pipeline
from recognition.readings import FaceProblem, FaceReading, NoFace
from recognition.thresholds import one_to_many
from recognition.tracking import MAX_GAP_S

FRAME = card_frame()
ANNA, BERT = np.eye(4, dtype=np.float32)[:2]


def like(similarity: float) -> np.ndarray:
    """Return a vector this similar to Anna and to nobody else."""
    return np.array([similarity, 0, 0, (1 - similarity**2) ** 0.5], np.float32)


def enrol(pipeline: Pipeline, **people: np.ndarray) -> Pipeline:
    pipeline.gallery = Gallery(pipeline.model, people)
    return pipeline


def test_an_enrolled_person_is_identified(staged):
    reading = enrol(staged, anna=ANNA, bert=BERT).look(FRAME, 1.0)
    assert reading.identified.person == "anna"
    assert reading.identified.reached
    assert reading.identified.similarity == pytest.approx(1)
    assert reading.claimed is None


def test_unknown_is_unknown_and_never_the_nearest(staged):
    staged.embedder.vector = like(0.49)
    reading = enrol(staged, anna=ANNA, bert=BERT).look(FRAME, 1.0)
    assert reading.problem is None
    assert reading.identified is None
    assert reading.nearest_similarity == pytest.approx(0.49)
    assert reading.required_similarity == 0.5
    assert "anna" not in repr(reading)


def test_nobody_enrolled_means_nobody_identified(staged):
    reading = staged.look(FRAME, 1.0)
    assert (reading.identified, reading.nearest_similarity) == (None, None)


def test_a_claim_is_judged_by_its_own_limit(staged):
    staged.embedder.vector = like(0.47)
    reading = enrol(staged, anna=ANNA).look(FRAME, 1.0, "anna")
    assert reading.claimed.reached
    assert reading.claimed.required == 0.4
    assert reading.identified is None, "0.47 proves a claim, and names nobody among everybody"


def test_a_false_claim_is_answered_with_no(staged):
    reading = enrol(staged, anna=ANNA, bert=BERT).look(FRAME, 1.0, "bert")
    assert reading.claimed.person == "bert"
    assert not reading.claimed.reached
    assert reading.identified.person == "anna"


def test_a_claimed_person_without_template_is_not_compared(staged):
    assert enrol(staged, anna=ANNA).look(FRAME, 1.0, "carl").claimed is None


def test_the_required_similarity_grows_with_the_gallery(staged):
    staged.limits = replace(staged.limits, one_to_many=0.0)
    crowd = {f"p{number}": BERT for number in range(1000)}
    assert enrol(staged, **crowd).look(FRAME, 1.0).required_similarity == one_to_many(1000)
    staged.limits = replace(staged.limits, false_match_rate=0.01)
    assert enrol(staged, **crowd).look(FRAME, 1.0).required_similarity == one_to_many(1000, 0.01)


def test_an_empty_frame_holds_no_face(staged):
    staged.detector.faces = []
    assert staged.look(FRAME, 7.0) == NoFace(at_mono=7.0)


SPOILT = {
    FaceProblem.TOO_SMALL: (FRAME, [card_face(size=85)]),
    FaceProblem.CUT_OFF: (FRAME, [card_face(x=500)]),
    FaceProblem.DARK: ((FRAME * 0.03).astype(np.uint8), [card_face()]),
    FaceProblem.SEVERAL: (FRAME, [card_face(), card_face(x=300, size=310)]),
}


@pytest.mark.parametrize("problem", SPOILT)
def test_a_face_with_a_problem_is_never_compared(problem, staged):
    frame, staged.detector.faces = SPOILT[problem]
    reading = enrol(staged, anna=ANNA).look(frame, 1.0, "anna")
    assert reading.problem is problem
    assert (reading.identified, reading.claimed, reading.nearest_similarity) == (None, None, None)
    assert staged.embedder.calls == 0
    with pytest.raises(FaceUnusable) as refused:
        staged.template(frame)
    assert refused.value.problem is problem


def test_a_portrait_for_enrolment_may_be_smaller_than_a_face_at_the_gate(staged):
    staged.detector.faces = [card_face(size=110)]  # 73 px wide
    frame = card_frame(size=110)
    assert staged.look(frame, 1.0).problem is FaceProblem.TOO_SMALL
    assert staged.template(frame).quality.face_px < staged.limits.min_face_px


def test_the_clearly_nearest_of_several_is_looked_at(staged):
    staged.detector.faces = [card_face(x=450, size=150), card_face()]
    reading = enrol(staged, anna=ANNA).look(FRAME, 1.0)
    assert reading.problem is None
    assert reading.box == card_face().box


def test_a_picture_without_face_is_not_enrolled(staged):
    staged.detector.faces = []
    with pytest.raises(FaceUnusable, match="no face") as refused:
        staged.template(FRAME)
    assert refused.value.problem is None


def test_a_template_carries_the_model_that_made_it(staged):
    template = staged.template(FRAME)
    assert template.model == staged.model
    assert "0." not in repr(template).split("quality=")[0], "a template's numbers must not reach a log"


def test_a_gallery_of_another_model_is_refused(staged):
    with pytest.raises(GalleryMismatch, match="enrol again"):
        staged.gallery = Gallery("another", {"anna": ANNA})


def test_the_same_face_keeps_its_number_while_it_moves(staged):
    numbers = []
    for step in range(5):
        staged.detector.faces = [card_face(x=100 + 20 * step)]
        numbers.append(staged.look(FRAME, step / 10).track)
    assert len(set(numbers)) == 1


def test_another_place_or_a_long_gap_is_another_face(staged):
    first = staged.look(FRAME, 0.0).track
    staged.detector.faces = [card_face(x=400, size=200)]
    elsewhere = staged.look(FRAME, 0.1).track
    later = staged.look(FRAME, 0.1 + MAX_GAP_S + 0.01).track
    assert len({first, elsewhere, later}) == 3


def test_a_card_laid_down_later_is_compared_with_the_face_just_seen(staged):
    enrol(staged, anna=ANNA, bert=BERT)
    seen = staged.look(FRAME, 10.0)
    calls = staged.embedder.calls
    again = staged.recheck("anna", 10.0 + RECHECK_S)
    assert again == replace(seen, claimed=again.claimed)
    assert again.claimed.reached
    assert not staged.recheck("bert", 11.0).claimed.reached
    assert staged.embedder.calls == calls


def test_a_claim_without_face_waits_for_the_next_frame(staged):
    assert staged.recheck("anna", 0.0) is None


def test_a_face_seen_too_long_ago_proves_nothing(staged):
    enrol(staged, anna=ANNA).look(FRAME, 10.0)
    assert staged.recheck("anna", 10.0 + RECHECK_S + 0.01) is None


def test_a_deleted_person_is_not_found_in_a_look_from_before(staged):
    assert enrol(staged, anna=ANNA, bert=BERT).look(FRAME, 10.0).identified.person == "anna"
    enrol(staged, bert=BERT)
    assert staged.recheck("bert", 10.1) is None
    assert staged.look(FRAME, 10.2).identified is None


def leave(pipeline: Pipeline) -> None:
    pipeline.detector.faces = []


def change_places(pipeline: Pipeline) -> None:
    pipeline.detector.faces = [card_face(x=440, size=90)]  # another one, too small to be compared


def crowd_in(pipeline: Pipeline) -> None:
    pipeline.detector.faces = [card_face(), card_face(x=300, size=310)]


@pytest.mark.parametrize("then", [leave, change_places, crowd_in])
def test_the_last_face_is_forgotten_when_it_is_not_the_one_in_view(then, staged):
    enrol(staged, anna=ANNA).look(FRAME, 10.0)
    then(staged)
    staged.look(FRAME, 10.1)
    assert staged.recheck("anna", 10.2) is None


def test_a_blink_of_blur_does_not_forget_the_face(staged):
    staged.embedder.vector = like(0.52)  # not decided by one frame
    enrol(staged, anna=ANNA).look(FRAME, 10.0)
    assert staged.look((FRAME * 0.03).astype(np.uint8), 10.1).problem is FaceProblem.DARK
    assert staged.recheck("anna", 10.2).claimed.reached


def test_an_unknown_pack_names_the_known_ones(tmp_path):
    with pytest.raises(RecognitionError, match="opencv-zoo"):
        Pipeline.open(tmp_path, "buffalo_l")


def test_an_insightface_pack_needs_its_own_similarity(tmp_path):
    with pytest.raises(RecognitionError, match="similarity_one_to_many"):
        Pipeline.open(tmp_path, str(tmp_path))


@pytest.mark.models
@pytest.mark.parametrize(
    ("enrolled", "comes"),
    [("person_a_1", "person_a_2"), ("person_b_1", "person_b_2"), ("obama", "obama2"), ("obama2", "impostor_1")],
)
def test_another_photograph_of_the_same_person_is_identified(enrolled, comes, scene, pipeline):
    enrol(pipeline, resident=pipeline.template(scene(enrolled)).vector)
    reading = pipeline.look(scene(comes, seed=1), 0.0, "resident")
    assert reading.identified.person == "resident"
    assert reading.claimed.reached


@pytest.mark.models
def test_strangers_stay_unknown(scene, pipeline):
    residents = ("person_a_1", "person_b_1", "obama")
    enrol(pipeline, **{name: pipeline.template(scene(name)).vector for name in residents})
    reading = pipeline.look(scene("impostor_2", seed=1), 0.0, "obama")
    assert reading.problem is None
    assert reading.identified is None
    assert not reading.claimed.reached
    assert reading.nearest_similarity < 0.3


@pytest.mark.models
def test_every_pair_of_demo_faces_falls_on_its_side(scene, pipeline):
    names = ["person_a_1", "person_a_2", "person_b_1", "person_b_2", "obama", "obama2", "impostor_2"]
    vectors = {name: pipeline.template(scene(name, seed)).vector for seed, name in enumerate(names)}
    for one in names:
        for two in names:
            same = one[:6] == two[:6] and one[:8] == two[:8] if one.startswith("person") else one[:5] == two[:5]
            assert (float(vectors[one] @ vectors[two]) > 0.5) == same, (one, two)


@pytest.mark.models
def test_a_frame_without_people_holds_no_face(pipeline):
    frame = np.random.default_rng(1).integers(100, 140, (480, 640, 3), np.uint8)
    assert isinstance(pipeline.look(frame, 0.0), NoFace)


@pytest.mark.models
def test_a_face_far_away_is_too_small(scene, pipeline):
    reading = pipeline.look(scene("person_a_1", height=200), 0.0)
    assert isinstance(reading, FaceReading)
    assert reading.problem is FaceProblem.TOO_SMALL
