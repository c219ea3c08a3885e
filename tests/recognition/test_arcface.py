"""Embedders of other makers: held to the input that the manifest states, with the normalisation inside or outside."""

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from recognition.align import TEMPLATE, crop_face
from recognition.arcface import rewrite
from recognition.embed import PreparedEmbedder
from recognition.errors import ModelDamaged, RecognitionError
from recognition.forms import Form
from recognition.graphs import plain_form
from recognition.models import ModelFile, Packing, Role, load_manifest
from recognition.prepare import ensure_prepared
from recognition.testcard import cosine, draw_card

ARCFACE = Packing(size=112, channels="rgb", mean=127.5, scale=1 / 127.5, inside=False)
INSIDE = replace(ARCFACE, inside=True)


def network(packing: Packing = ARCFACE, *, fixed: bool = True) -> onnx.ModelProto:
    """Return an embedder of ArcFace's shape: convolutions with PRelu, a shortcut, a fully connected layer of 32.

    Normalised inside, its graph begins with Sub and Div under names that tell nothing. Its last bias is set so that it
    tells the drawn faces apart, as a trained network does.
    """
    size = packing.size
    chance = np.random.default_rng(7)
    nodes, weights, tensor = [], {}, "input.1"

    def add(op, *inputs, **attributes):
        nonlocal tensor
        tensor = f"t{len(nodes)}"
        nodes.append(helper.make_node(op, list(inputs), [tensor], **attributes))
        return tensor

    def weight(*shape, spread=1.0):
        name = f"w{len(weights)}"
        weights[name] = (chance.normal(size=shape) * spread).astype(np.float32)
        return name

    if packing.inside:
        weights["m"], weights["s"] = np.float32(packing.mean), np.float32(1 / packing.scale)
        add("Sub", tensor, "m")
        add("Div", tensor, "s")
    for channels, before in ((8, 3), (8, 8)):
        add("Conv", tensor, weight(channels, before, 3, 3, spread=0.3), weight(channels), strides=[4, 4], pads=[1] * 4)
        add("PRelu", tensor, weight(channels, 1, 1, spread=0.5))
    short = tensor
    add("Conv", tensor, weight(8, 8, 1, 1, spread=0.3), weight(8))
    add("PRelu", tensor, weight(8, 1, 1))
    add("Add", tensor, short)
    add("Flatten", tensor)
    add("Gemm", tensor, weight(32, 8 * (size // 16) ** 2, spread=0.05), weight(32, spread=0.01), transB=1)
    side = size if fixed else None
    graph = helper.make_graph(
        nodes,
        "arcface",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [None, 3, side, side])],
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [None, 32])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    middle = np.mean([by_hand(model, draw_card(size, variant), packing) for variant in range(5)], axis=0)[0]
    set_bias(model, numpy_helper.to_array(model.graph.initializer[-1]) - middle)
    return model


def set_bias(model: onnx.ModelProto, values: np.ndarray) -> None:
    """Change the bias of the last layer, which is the last weight."""
    bias = model.graph.initializer[-1]
    bias.CopyFrom(numpy_helper.from_array(values.astype(np.float32), bias.name))


@pytest.fixture
def bring(tmp_path):
    """Put a network into a models folder, as its manifest entry tells it."""

    def put(model: onnx.ModelProto, packing: Packing, name: str = "glint") -> ModelFile:
        data = model.SerializeToString()
        (tmp_path / f"{name}.onnx").write_bytes(data)
        return ModelFile(
            name=name, role=Role.EMBEDDER, file=f"{name}.onnx", sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data), licence="none", sources=(), known=(), packing=packing,
        )  # fmt: skip

    return put


def opened(file: ModelFile, folder) -> PreparedEmbedder:
    return PreparedEmbedder(file, ensure_prepared(file, folder))


def by_hand(model: onnx.ModelProto, crop: np.ndarray, packing: Packing) -> np.ndarray:
    """What the network as delivered answers, packed by nobody's code but this."""
    planes = (crop[..., ::-1] if packing.channels == "rgb" else crop).transpose(2, 0, 1)[None].astype(np.float32)
    if not packing.inside:
        planes = (planes - packing.mean) * np.float32(packing.scale)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input.1": np.ascontiguousarray(planes, np.float32)})[0]


PACKINGS = [
    ARCFACE,
    INSIDE,
    replace(ARCFACE, channels="bgr"),
    Packing(size=128, mean=127.5, scale=1 / 128, inside=True),
    Packing(size=112, mean=0.0, scale=1 / 255),
    Packing(size=224, mean=0.0, scale=1 / 255, inside=True),
]


@pytest.mark.parametrize("packing", PACKINGS, ids=str)
@pytest.mark.parametrize("fixed", [True, False])
def test_a_network_gets_what_it_was_trained_on_wherever_it_is_normalised(packing, fixed, bring, tmp_path):
    model = network(packing, fixed=fixed)
    embedder = opened(bring(model, packing), tmp_path)
    assert embedder.crop_size == packing.size
    for variant in range(5):
        crop = draw_card(packing.size, variant)
        assert cosine(embedder.embed(crop), by_hand(model, crop, packing)) > 0.99999


def test_the_same_network_inside_and_outside_gives_the_same_vectors(bring, tmp_path):
    inside = opened(bring(network(INSIDE), INSIDE, "inside"), tmp_path)
    outside = opened(bring(network(), ARCFACE, "outside"), tmp_path)
    assert cosine(inside.embed(draw_card(112)), outside.embed(draw_card(112))) > 0.999999
    assert inside.model != outside.model, "they are two files all the same"


@pytest.mark.parametrize(
    ("made", "stated", "told"),
    [
        (INSIDE, ARCFACE, "normalised twice"),
        (ARCFACE, INSIDE, "correct the entry"),
        (INSIDE, replace(INSIDE, scale=1 / 128), "correct the entry"),
        (INSIDE, replace(INSIDE, mean=0.0), "correct the entry"),
        (ARCFACE, replace(ARCFACE, size=128), r"wants pictures of \[3, 112, 112\]"),
    ],
)
def test_a_file_that_is_not_what_its_entry_states_is_refused(made, stated, told, bring, tmp_path):
    with pytest.raises(ModelDamaged, match=told):
        opened(bring(network(made), stated), tmp_path)


def test_each_prelu_may_be_written_as_two_scalings(bring):
    forms = rewrite(plain_form(network(INSIDE)), bring(network(INSIDE), INSIDE))
    kinds = {form: [node.op_type for node in model.graph.node] for form, model in forms.items()}
    assert set(kinds) == {Form.AS_IS, Form.PAIR}
    assert kinds[Form.AS_IS].count("PRelu") == 3
    assert "PRelu" not in kinds[Form.PAIR]
    assert not {"Sub", "Div"} & {*kinds[Form.AS_IS], *kinds[Form.PAIR]}


def test_a_model_without_known_vectors_that_finds_all_faces_alike_is_refused(bring, tmp_path):
    blind = network()
    set_bias(blind, np.full(32, 1e4))
    with pytest.raises(ModelDamaged, match="strangers for residents"):
        opened(bring(blind, ARCFACE), tmp_path)


def test_another_packing_is_another_model(bring, tmp_path):
    outside = bring(network(), ARCFACE)
    halved = replace(outside, packing=replace(ARCFACE, scale=1 / 128))
    assert opened(outside, tmp_path).model != PreparedEmbedder(halved, ensure_prepared(outside, tmp_path)).model


@pytest.mark.parametrize("size", [112, 128, 224, 256])
def test_a_crop_of_another_size_shows_the_face_where_arcface_was_trained_to_see_it(size):
    """Source: insightface.utils.face_align.estimate_norm."""
    from insightface.utils.face_align import norm_crop

    picture = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    landmarks = (TEMPLATE * 1.7 + 30).astype(np.float32)
    ours, theirs = crop_face(picture, landmarks, size), norm_crop(picture, landmarks, size)
    assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < 1.0


ENTRY = """
[packs.own]
title = "Own"
[packs.own.detector]
name = "d"
file = "d.onnx"
sha256 = "{zeros}"
size_bytes = 1
licence = "none"
sources = []
known = []
[packs.own.embedder]
name = "e"
file = "e.onnx"
sha256 = "{zeros}"
size_bytes = 1
licence = "none"
sources = []
known = []
input_size = 112
channels = "rgb"
mean = 127.5
scale = 0.00784314
normalisation = "outside"
"""


def test_an_entry_states_the_whole_packing(tmp_path):
    path = tmp_path / "models.toml"
    path.write_text(ENTRY.format(zeros="0" * 64))
    packing = load_manifest(path).pack("own").embedder.packing
    assert (packing.size, packing.channels, packing.mean, packing.inside) == (112, "rgb", 127.5, False)
    assert packing.scale == pytest.approx(1 / 127.5, rel=1e-4)


@pytest.mark.parametrize(
    "spoil",
    [
        ('normalisation = "outside"\n', ""),
        ("mean = 127.5\n", ""),
        ("input_size = 112", "input_size = 100"),
        ('channels = "rgb"', 'channels = "gbr"'),
        ("scale = 0.00784314", "scale = 0"),
        ('normalisation = "outside"', 'normalisation = "perhaps"'),
    ],
)
def test_an_entry_that_leaves_something_to_guess_is_refused(spoil, tmp_path):
    path = tmp_path / "models.toml"
    path.write_text(ENTRY.format(zeros="0" * 64).replace(*spoil))
    with pytest.raises(RecognitionError, match="not usable"):
        load_manifest(path)
