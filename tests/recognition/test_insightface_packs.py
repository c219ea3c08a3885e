from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from recognition import graphs
from recognition.errors import ModelDamaged, ModelMissing, RecognitionError
from recognition.gallery import Gallery
from recognition.packs import InsightFaceEmbedder, open_insightface
from recognition.pipeline import Limits, Pipeline
from recognition.readings import FaceReading
from recognition.testcard import draw_card


class StagedZoo:
    """Answers as `insightface.model_zoo` does: a model by its file's name."""

    def __init__(self, **tasks):
        self.tasks = tasks
        self.opened = []

    def get_model(self, path, providers, sess_options, download):
        assert providers == ["CPUExecutionProvider"]
        assert download is False
        self.opened.append(path.rsplit("/", 1)[1])
        return self.tasks.get(self.opened[-1].removesuffix(".onnx"))


def recogniser(feature):
    return SimpleNamespace(
        taskname="recognition", input_size=(112, 112), input_mean=127.5, input_std=127.5, get_feat=feature
    )


def detector(boxes, points):
    return SimpleNamespace(taskname="detection", detect=lambda pixels, input_size: (boxes, points))


def by_place(crop):
    """An embedder that tells drawn faces apart: the mean colours of a coarse grid, around their own mean."""
    grid = crop.reshape(4, 28, 4, 28, 3).mean(axis=(1, 3)).ravel()
    return (grid - grid.mean() + 40 * np.sin(grid))[None]


NOBODY = detector(np.empty((0, 5), np.float32), None)


@pytest.fixture
def folder(tmp_path):
    for name in ("1k3d68", "det_10g", "w600k_r50"):
        (tmp_path / f"{name}.onnx").write_bytes(b"weights")
    return tmp_path


def test_the_licence_is_told_at_every_opening(folder, caplog):
    open_insightface(folder, model_zoo=StagedZoo(det_10g=NOBODY, w600k_r50=recogniser(by_place)))
    assert "non-commercial research only" in caplog.text


def test_landmark_models_are_not_opened(folder):
    zoo = StagedZoo(det_10g=NOBODY, w600k_r50=recogniser(by_place))
    open_insightface(folder, model_zoo=zoo)
    assert zoo.opened == ["det_10g.onnx", "w600k_r50.onnx"]


def test_a_face_is_told_by_its_place_and_size(folder):
    box = np.array([[10, 20, 110, 150, 0.9]], np.float32)
    points = np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    zoo = StagedZoo(det_10g=detector(box, points), w600k_r50=recogniser(by_place))
    (face,) = open_insightface(folder, model_zoo=zoo)[0].detect(np.zeros((200, 200, 3), np.uint8))
    assert face.box == (10, 20, 100, 130)
    assert face.landmarks.tolist() == points[0].tolist()


def test_a_detector_without_landmarks_is_refused(folder):
    blind = detector(np.ones((1, 5), np.float32), None)
    zoo = StagedZoo(det_10g=blind, w600k_r50=recogniser(by_place))
    with pytest.raises(ModelDamaged, match="landmarks"):
        open_insightface(folder, model_zoo=zoo)[0].detect(np.zeros((200, 200, 3), np.uint8))


def test_a_model_to_which_all_faces_look_alike_is_refused():
    alike = recogniser(lambda crop: (np.ones(512) + crop.mean() / 1e4)[None])
    with pytest.raises(ModelDamaged, match="strangers for residents"):
        InsightFaceEmbedder(alike, "alike")


def test_a_pack_that_lacks_a_model_is_refused(folder):
    with pytest.raises(ModelMissing, match="no recognition model"):
        open_insightface(folder, model_zoo=StagedZoo(det_10g=NOBODY))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ModelMissing, match=r"no \.onnx file"):
        open_insightface(tmp_path, model_zoo=StagedZoo())


def test_a_relative_folder_is_refused(tmp_path, folder):
    with pytest.raises(RecognitionError, match="not absolute"):
        open_insightface(folder.relative_to("/"), model_zoo=StagedZoo())


# -- the package itself -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_zoo():
    try:
        import insightface.model_zoo
    except ImportError as error:
        pytest.fail(f"the extra insightface is not installed here ({error}); run: scripts/install-insightface")
    return insightface.model_zoo


@pytest.fixture
def real_pack(models_dir, pack, tmp_path):
    """A pack of the shape of InsightFace's own: SFace as the recogniser, and a detector that finds one fixed face."""
    onnx.save(graphs.plain_form(graphs.read_model(models_dir / pack.embedder.file)), tmp_path / "w600k_sface.onnx")
    _fix_picture(tmp_path / "w600k_sface.onnx")
    onnx.save(one_face_detector(), tmp_path / "det_one.onnx")
    return tmp_path


def _fix_picture(path):
    model = onnx.load(path)
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = 112
    onnx.save(model, path)


def one_face_detector():
    """Return a graph with SCRFD's nine outputs for a picture of 320×320: one certain anchor at (160, 160)."""
    nodes, weights, outputs = [], [], []
    landmarks = np.array([[-0.9, -0.2], [0.9, -0.2], [0, 0.8], [-0.67, 1.7], [0.67, 1.7]]) * 50 / 32
    for kind, width in (("score", 1), ("box", 4), ("points", 10)):
        for stride in (8, 16, 32):
            anchors = (320 // stride) ** 2 * 2
            table = np.zeros((anchors, width), np.float32)
            if stride == 32:
                table[(5 * 10 + 5) * 2] = {
                    "score": 0.9, "box": [2.5, 3, 2.5, 4], "points": landmarks.ravel(),
                }[kind]  # fmt: skip
            name = f"{kind}_{stride}"
            weights.append(numpy_helper.from_array(table, f"{name}_table"))
            nodes.append(helper.make_node("Add", [f"{name}_table", "nothing"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [anchors, width]))
    weights.append(numpy_helper.from_array(np.float32(0), "zero"))
    nodes.insert(0, helper.make_node("ReduceMax", ["picture"], ["peak"], keepdims=0))
    nodes.insert(1, helper.make_node("Mul", ["peak", "zero"], ["nothing"]))
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 320, 320])
    graph = helper.make_graph(nodes, "one-face", [picture], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.models
def test_a_real_pack_identifies_through_insightface(model_zoo, real_pack):
    frame = np.full((320, 320, 3), 128, np.uint8)
    frame[:] = draw_card(320)
    pipeline = Pipeline(*open_insightface(real_pack, model_zoo=model_zoo), Limits(one_to_many=0.5))
    template = pipeline.template(frame)
    assert template.model.startswith(f"insightface-{real_pack.name}-w600k_sface-")
    pipeline.gallery = Gallery(pipeline.model, {"drawn": template.vector})
    reading = pipeline.look(frame, 0.0, "drawn")
    assert isinstance(reading, FaceReading)
    assert reading.identified.person == "drawn"


@pytest.mark.models
def test_the_double_normalisation_of_a_zoo_file_is_caught(model_zoo, real_pack, models_dir, pack):
    """insightface guesses the normalisation by node names; in the quantised file it guesses wrong and would add one."""
    embedder = model_zoo.get_model(str(real_pack / "w600k_sface.onnx"), providers=["CPUExecutionProvider"])
    embedder.input_mean = embedder.input_std = 127.5
    with pytest.raises(ModelDamaged, match="normalisation"):
        InsightFaceEmbedder(embedder, "twice")
