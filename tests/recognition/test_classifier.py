"""A classifier is what its manifest says, or it is not used; it is off until somebody installs one."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from recognition.classifier import classifiers_in, described_in, open_classifier
from recognition.errors import ModelDamaged, ModelMissing, RecognitionError
from recognition.models import FileState, Role, add, default_manifest_path, load_manifest, report_of

MANIFEST = """
[classifier]
name = "tiny"
file = "tiny.onnx"
sha256 = "{sha256}"
size_bytes = {size_bytes}
licence = "made by this test"
sources = []
size = [8, 8]
margin = 2.0
colours = "bgr"
mean = 0.0
scale = 0.00392156862745098
live_index = 1
softmax = true
live_from = 0.9
attack_below = 0.3
"""
BOX = (100.0, 100.0, 100.0, 100.0)


def tiny(folder: Path, *, outputs: int = 2) -> Path:
    """A model for which a bright picture lives: its logits are ±20 times (mean - 0.5)."""
    weights = np.zeros((3 * 64, outputs), np.float32)
    weights[:, 0], weights[:, -1] = -20 / 192, 20 / 192
    bias = np.linspace(10, -10, outputs).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["picture"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, outputs])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    data = model.SerializeToString()
    (folder / "tiny.onnx").write_bytes(data)
    onnx.checker.check_model(model)
    manifest = folder / "classifier.toml"
    text = MANIFEST.format(sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
    manifest.write_text(text, encoding="utf-8")
    return manifest


def frame(grey: int) -> np.ndarray:
    return np.full((480, 640, 3), grey, np.uint8)


def test_it_answers_by_its_manifest_and_says_on_what_terms(tmp_path):
    classifier = open_classifier(str(tiny(tmp_path)), tmp_path)
    assert classifier.model.licence == "made by this test"
    bright, dark = classifier.judge(frame(250), BOX), classifier.judge(frame(5), BOX)
    assert bright.liveness > bright.live_from
    assert dark.liveness < dark.attack_below


def test_it_is_off_until_its_file_is_there_unharmed(tmp_path):
    manifest = tiny(tmp_path)
    (tmp_path / "tiny.onnx").rename(tmp_path / "away.onnx")
    with pytest.raises(ModelMissing):
        open_classifier(str(manifest), tmp_path)
    (tmp_path / "tiny.onnx").write_bytes((tmp_path / "away.onnx").read_bytes() + b" ")
    with pytest.raises(ModelDamaged):
        open_classifier(str(manifest), tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("size = [8, 8]", "size = [9, 9]"),
        ("live_index = 1", "live_index = 2"),
        ("live_from = 0.9", "live_from = 0.1"),
        ('colours = "bgr"', 'colours = "grey"'),
        ("margin = 2.0", ""),
        ("[classifier]", "[other]"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path, before, after):
    manifest = tiny(tmp_path)
    manifest.write_text(manifest.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    with pytest.raises(RecognitionError):
        open_classifier(str(manifest), tmp_path)


def test_none_is_shipped_and_an_unknown_one_says_what_to_do(tmp_path):
    assert classifiers_in(default_manifest_path()) == {}
    with pytest.raises(RecognitionError, match="absolute path of a manifest"):
        open_classifier("minifasnet", tmp_path)


def test_a_shipped_manifest_may_hold_several(tmp_path):
    manifest = tiny(tmp_path)
    text = manifest.read_text(encoding="utf-8").replace("[classifier]", "[classifiers.tiny]")
    manifest.write_text(text, encoding="utf-8")
    assert classifiers_in(manifest)["tiny"].size == (8, 8)
    with pytest.raises(RecognitionError, match="no \\[classifier\\]"):
        described_in(manifest)


def test_the_manifest_lists_it_with_its_licence_and_takes_its_file_by_digest(tmp_path):
    manifest = tiny(tmp_path)
    text = manifest.read_text(encoding="utf-8").replace("[classifier]", "[classifiers.tiny]")
    manifest.write_text("[packs]\n" + text, encoding="utf-8")
    loaded = load_manifest(manifest)
    assert loaded.classifiers["tiny"].licence == "made by this test"
    taken = add(tmp_path / "tiny.onnx", loaded, tmp_path / "models")
    assert [model.role for model in taken] == [Role.CLASSIFIER]
    assert report_of(loaded.classifiers["tiny"], tmp_path / "models").state is FileState.PRESENT
