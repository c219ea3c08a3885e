import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.detect import STRIDES, YuNet, decode, overlap, suppress_doubles
from recognition.errors import ModelDamaged, ModelMissing
from recognition.prepare import prepared_path
from recognition.testcard import draw_card

boxes = st.tuples(*[st.floats(-100, 100)] * 2, *[st.floats(0.5, 100)] * 2)


def empty_maps(rows: int = 64, columns: int = 96) -> list[np.ndarray]:
    maps = [np.zeros((1, 16, rows // stride, columns // stride), np.float32) for stride in STRIDES]
    for merged in maps:
        merged[:, :2] = -20
    return maps


def test_nothing_is_found_where_nothing_is():
    assert decode(empty_maps(), 0.7).shape == (0, 15)


def test_a_cell_is_decoded_in_strides_from_its_own_corner():
    maps = empty_maps()
    maps[1][0, :2, 2, 3] = 20  # stride 16, row 2, column 3
    maps[1][0, 2:6, 2, 3] = [0.5, 0.25, np.log(2), np.log(4)]
    maps[1][0, 6:16, 2, 3] = range(10)
    (row,) = decode(maps, 0.7)
    centre_x, centre_y, width, height = (3 + 0.5) * 16, (2 + 0.25) * 16, 32, 64
    assert row[:4] == pytest.approx([centre_x - width / 2, centre_y - height / 2, width, height])
    assert row[4:6] == pytest.approx([3 * 16, (2 + 1) * 16])
    assert row[14] == pytest.approx(1)


@given(logits=st.tuples(st.floats(-8, 8), st.floats(-8, 8)), cut=st.floats(0.3, 0.95))
def test_the_cheap_cut_loses_no_face(logits, cut):
    maps = empty_maps()
    maps[0][0, :2, 1, 1] = logits
    confidence = np.sqrt(np.prod(1 / (1 + np.exp(-np.array(logits, np.float32).astype(float)))))
    assert len(decode(maps, cut)) == (confidence >= cut)


@given(st.lists(boxes, max_size=12))
def test_of_doubles_the_most_certain_stays(rows):
    table = np.array([[*row, *[0] * 10, 0.9 - number / 100] for number, row in enumerate(rows)]).reshape(-1, 15)
    kept = suppress_doubles(table, 0.3)
    for number in range(len(rows)):
        hidden = any(overlap(table[number], table[other]) > 0.3 for other in kept if other < number)
        assert (number in kept) == (not hidden)


@given(one=boxes, two=boxes)
def test_overlap_is_a_share_and_has_no_favourite(one, two):
    assert 0 <= overlap(one, two) <= 1 + 1e-9
    assert overlap(one, two) == pytest.approx(overlap(two, one))
    assert overlap(one, one) == pytest.approx(1)


def test_a_missing_model_says_what_to_run(tmp_path):
    with pytest.raises(ModelMissing, match="sentinelctl models fetch"):
        YuNet(tmp_path / "none.onnx")


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelDamaged, match=r"bad\.onnx"):
        YuNet(tmp_path / "bad.onnx")


@pytest.mark.models
@pytest.mark.parametrize("name", ["person_a_1", "person_b_2", "obama", "impostor_2"])
def test_faces_equal_those_of_opencv(name, scene, prepared_dir, pack):
    frame = scene(name)[:448, :640]
    ours = YuNet(prepared_path(pack.detector, prepared_dir), width=640).detect(frame)
    theirs = cv2.FaceDetectorYN.create(str(prepared_dir / pack.detector.file), "", (640, 448), 0.7, 0.3)
    _, rows = theirs.detect(frame)
    assert len(ours) == len(rows)
    for face, row in zip(ours, rows, strict=True):
        assert face.box == pytest.approx(row[:4], abs=0.05)
        assert face.landmarks.ravel() == pytest.approx(row[4:14], abs=0.05)
        assert face.confidence == pytest.approx(row[14], abs=1e-3)


@pytest.mark.models
def test_the_box_is_told_in_pixels_of_the_whole_frame(scene, prepared_dir, pack):
    path = prepared_path(pack.detector, prepared_dir)
    frame = scene("person_b_1")
    (at_full,), (at_half,) = YuNet(path, width=640).detect(frame), YuNet(path, width=320).detect(frame)
    assert overlap(at_full.box, at_half.box) > 0.85


@pytest.mark.models
def test_a_second_look_finds_the_landmarks_of_a_small_face(scene, prepared_dir, pack):
    path = prepared_path(pack.detector, prepared_dir)
    frame = scene("person_a_2", height=240)
    (best,) = YuNet(path, width=640).detect(frame)
    coarse = YuNet(path, width=160)
    (rough,) = coarse.detect(frame)
    refined = coarse.refine(frame, rough)
    assert np.abs(refined.landmarks - best.landmarks).max() < np.abs(rough.landmarks - best.landmarks).max()
    assert np.abs(refined.landmarks - best.landmarks).max() < 0.05 * best.width


@pytest.mark.models
@pytest.mark.parametrize("shape", [(1, 1, 3), (33, 31, 3), (480, 640, 3), (1080, 1920, 3), (20, 2000, 3)])
def test_pictures_of_any_shape_are_looked_at(shape, prepared_dir, pack):
    assert YuNet(prepared_path(pack.detector, prepared_dir)).detect(np.zeros(shape, np.uint8)) == []


@pytest.mark.models
def test_a_smaller_picture_is_not_haunted_by_the_last_one(prepared_dir, pack):
    detector = YuNet(prepared_path(pack.detector, prepared_dir))
    assert len(detector.detect(draw_card(160))) == 1
    assert detector.detect(np.zeros((150, 150, 3), np.uint8)) == []


@pytest.mark.models
def test_a_detector_that_answers_otherwise_is_refused(prepared_dir, pack):
    wrong = [value * (1 + number % 2 / 10) for number, value in enumerate(pack.detector.known)]
    with pytest.raises(ModelDamaged, match="known vectors"):
        YuNet(prepared_path(pack.detector, prepared_dir), wrong)
