from dataclasses import replace

import cv2
import numpy as np
import pytest

from recognition.align import crop_face
from recognition.detect import YuNet
from recognition.embed import SFace, pack_rgb, unit
from recognition.errors import ModelDamaged
from recognition.prepare import prepared_path
from recognition.testcard import cosine, draw_card


def test_packing_is_rgb_planes_from_minus_one_to_one():
    crop = np.zeros((112, 112, 3), np.uint8)
    crop[..., 0], crop[..., 2] = 255, 1  # blue, red
    planes = pack_rgb(crop)
    assert planes.shape == (1, 3, 112, 112)
    assert planes[0, :, 5, 5] == pytest.approx([(1 - 127.5) / 128, -127.5 / 128, 127.5 / 128])


@pytest.mark.parametrize("vector", [np.zeros(4), np.full(4, np.nan), np.full(4, np.inf)])
def test_a_vector_without_length_is_refused(vector):
    with pytest.raises(ModelDamaged, match="without length"):
        unit(vector)


MUTATIONS = {
    "swapped channels": lambda crop: pack_rgb(crop[..., ::-1]),
    "no normalisation": lambda crop: pack_rgb(crop) * 128 + np.float32(127.5),
    "double normalisation": lambda crop: (pack_rgb(crop) - np.float32(127.5)) / 128,
    "double scale": lambda crop: pack_rgb(crop) / 128,
    "lying face": lambda crop: pack_rgb(crop.swapaxes(0, 1)),
    "mirrored face": lambda crop: pack_rgb(np.ascontiguousarray(crop[:, ::-1])),
    "only one channel": lambda crop: pack_rgb(np.repeat(crop[..., 1:2], 3, axis=2)),
}


@pytest.mark.models
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutated_packing_is_caught_at_load(mutation, prepared_dir, pack):
    with pytest.raises(ModelDamaged, match="known vectors"):
        SFace(pack.embedder, prepared_path(pack.embedder, prepared_dir), pack=MUTATIONS[mutation])


@pytest.mark.models
def test_the_model_of_the_manifest_is_accepted(prepared_dir, pack):
    embedder = SFace(pack.embedder, prepared_path(pack.embedder, prepared_dir))
    assert embedder.model.startswith("sface-2021dec-fb143eea0783-")
    assert np.linalg.norm(embedder.answer()) == pytest.approx(1, abs=1e-6)


@pytest.mark.models
def test_a_detector_does_not_pass_as_embedder(prepared_dir, pack):
    with pytest.raises(ModelDamaged):
        SFace(pack.embedder, prepared_path(pack.detector, prepared_dir))


@pytest.mark.models
@pytest.mark.parametrize("name", ["person_a_1", "person_b_1", "obama"])
def test_vectors_equal_those_of_the_zoo_file_run_by_opencv(name, scene, prepared_dir, pack):
    """The yardstick is another runtime, the file as published and its published packing: RGB, 0 to 255."""
    frame = scene(name)
    (face,) = YuNet(prepared_path(pack.detector, prepared_dir)).detect(frame)
    crop = crop_face(frame, face.landmarks)
    net = cv2.dnn.readNetFromONNX(str(prepared_dir / pack.embedder.file))
    net.setInput(cv2.dnn.blobFromImage(crop, 1.0, (112, 112), (0, 0, 0), swapRB=True), "data")
    ours = SFace(pack.embedder, prepared_path(pack.embedder, prepared_dir)).embed(crop)
    assert cosine(ours, net.forward()) >= 0.99999


@pytest.mark.models
def test_the_fingerprint_changes_with_the_file(prepared_dir, pack):
    other = replace(pack.embedder, sha256="0" * 64, known=())
    path = prepared_path(pack.embedder, prepared_dir)
    assert SFace(other, path).model != SFace(pack.embedder, path).model


def test_the_test_card_never_changes():
    """The known vectors of every release stand on these bytes."""
    assert [int(draw_card(112, variant).sum()) for variant in range(5)] == CARD_SUMS


CARD_SUMS = [4168703, 4553390, 3363727, 4374782, 3563256]
