"""Write one embedder in several exactly equivalent forms; which one is fastest, the device itself decides.

SFace is one chain of convolutions, each with a normalisation and a PRelu, and a fully connected layer. The
normalisations are always folded into the weights and the scaling of the picture into its packing. What is left to
choose is how the PRelu is computed, which takes half of the time on x86 and little on ARM, and how the fully connected
layer, two thirds of the weights, is read from memory.
Source: face-pipeline A, with the figures of each form.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from recognition.errors import ModelDamaged
from recognition.graphs import Build, attributes_of, import_onnx, picture_input

if TYPE_CHECKING:
    import onnx

SLOPE_MARGIN = 1e-3  # |1 - slope| of SFace is 0.003 at least; below this the division would lose fp32 digits
BLOCK = 64  # weights that share a scale; the zoo's own files have the same
INT8_ACCURACY = 4  # of MatMulNBits: inputs as int8 per block. The other levels take twice the whole network's time
PICTURE = 112
_UNKNOWN = "the embedder is not the network we know; fetch the models again"


class Form(StrEnum):
    """How an embedder is written down. All give the same vectors."""

    PRELU = "prelu"  # as trained; the processors whose PRelu is quick
    SUM = "sum"  # y / (1 - a) = Relu(x) + a / (1 - a) * x, the factor moved into the next layer
    PAIR = "pair"  # a * x + (1 - a) * Relu(x): no division, so fit for any graph
    BLOCKS = "blocks"  # as SUM, the fully connected layer as 8-bit blocks: a quarter of the memory to read
    AS_IS = "as-is"  # a graph of another maker, nothing touched but its normalisation
    NCNN = "ncnn"  # as PRELU, for the runtime ncnn


@dataclass(slots=True, eq=False)
class Layer:
    """A convolution with its normalisation folded in, and the slopes of the PRelu behind it."""

    node: Any
    weight: np.ndarray
    bias: np.ndarray
    slope: np.ndarray | None = None

    @property
    def channels(self) -> int:
        """Return how many channels come out."""
        return int(self.weight.shape[0])


@dataclass(slots=True, eq=False)
class Chain:
    """SFace without the things that are no arithmetic of its own.

    Shape: gain, offset float32[c], before the fully connected layer; matrix float32[d, c * h * w], bias float32[d].
    """

    picture: str
    mean: float
    factor: float
    layers: list[Layer]
    gain: np.ndarray
    offset: np.ndarray
    matrix: np.ndarray
    bias: np.ndarray


def read_chain(plain: "onnx.ModelProto") -> Chain:
    """Return what SFace's plain form computes. Raises: ModelDamaged when the graph is another network."""
    onnx = import_onnx()
    weights = {entry.name: onnx.numpy_helper.to_array(entry) for entry in plain.graph.initializer}
    nodes = _nodes_in_line(plain)
    if [node.op_type for node in nodes[:3]] != ["Sub", "Mul", "Conv"]:
        raise ModelDamaged("the embedder does not begin with its normalisation; fetch the models again")
    mean, factor = (weights[node.input[1]].item() for node in nodes[:2])
    layers: list[Layer] = []
    before: tuple[np.ndarray, np.ndarray] | None = None  # the normalisation before the fully connected layer
    full: tuple[np.ndarray, np.ndarray] | None = None
    for node in nodes[2:]:
        values = [weights[name] for name in node.input if name in weights]
        if node.op_type == "Conv":
            layers.append(Layer(node, values[0], np.zeros(values[0].shape[0], np.float32)))
        elif node.op_type == "PRelu":
            layers[-1].slope = values[0].reshape(-1)
        elif node.op_type == "Gemm":
            full = (values[0], values[1])
        elif node.op_type == "BatchNormalization":
            gain, offset = _normalisation(node, *values)
            if full is not None:
                full = (full[0] * gain[:, None], full[1] * gain + offset)
            elif layers[-1].slope is None:
                layers[-1].weight = layers[-1].weight * gain[:, None, None, None]
                layers[-1].bias = layers[-1].bias * gain + offset
            else:
                before = (gain, offset)
    if full is None or before is None or any(layer.slope is None for layer in layers):
        raise ModelDamaged(_UNKNOWN)
    return Chain(plain.graph.input[0].name, mean, factor, layers, *before, *full)


def _nodes_in_line(plain: "onnx.ModelProto") -> list[Any]:
    """Return the nodes from the picture to the vector in order, refusing anything that is no single chain we know."""
    by_input = {name: node for node in plain.graph.node for name in node.input[:1]}
    chain, tensor = [], plain.graph.input[0].name
    while tensor in by_input:
        chain.append(by_input[tensor])
        tensor = chain[-1].output[0]
    known = {"Sub", "Mul", "Conv", "BatchNormalization", "PRelu", "Dropout", "Flatten", "Gemm"}
    if len(chain) != len(plain.graph.node) or {node.op_type for node in chain} - known:
        raise ModelDamaged(_UNKNOWN)
    return chain


def _normalisation(
    node: Any, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    epsilon = next(entry.f for entry in node.attribute if entry.name == "epsilon")
    gain = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
    return gain.astype(np.float32), (beta - mean * gain).astype(np.float32)


def write_form(chain: Chain, form: Form) -> "onnx.ModelProto":
    """Return the graph of a form."""
    build = Build(import_onnx(), chain.picture)
    scale = np.ones(3, np.float32)  # what the layer's input still has to be multiplied with
    for layer in chain.layers[:-1]:
        _convolution(build, layer, scale)
        scale = _activation(build, layer, form)
    last = chain.layers[-1]
    _convolution(build, last, scale)
    if form is Form.BLOCKS:
        # The last factor goes into the activation: folded into the matrix it would spoil the blocks.
        _pair(build, last, chain.gain, chain.offset)
        build.add("Flatten", build.tensor)
        _blocks(build, chain)
    else:
        scale = _activation(build, last, form)
        build.add("Flatten", build.tensor)
        matrix, bias = flat_layer(chain, scale)
        build.add("Gemm", build.tensor, matrix, bias, transB=1)
    # A fixed size lets onnxruntime plan its memory: a tenth faster than an open one.
    picture = picture_input(build.onnx, chain.picture, PICTURE, PICTURE)
    return build.model(str(form), picture, [build.tensor])


def flat_layer(chain: Chain, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and bias of the fully connected layer with what stands before it folded in."""
    per_channel = chain.matrix.reshape(chain.matrix.shape[0], scale.size, -1)
    bias = chain.bias + (per_channel.sum(axis=2, dtype=np.float64) @ chain.offset).astype(np.float32)
    return (per_channel * (scale * chain.gain)[None, :, None]).reshape(chain.matrix.shape), bias


def _convolution(build: Build, layer: Layer, scale: np.ndarray) -> None:
    depthwise = layer.weight.shape[1] == 1 and layer.channels == scale.size  # one input channel per output
    weight = layer.weight * (scale[:, None, None, None] if depthwise else scale[None, :, None, None])
    build.add("Conv", build.tensor, weight, layer.bias, **attributes_of(layer.node))


def _activation(build: Build, layer: Layer, form: Form) -> np.ndarray:
    """Append the activation and return the factor per channel that the next layer has to carry."""
    slope = _slope(layer)
    none = np.ones_like(slope)
    if form is Form.PAIR:
        _pair(build, layer, none, None)
        return none
    if form is Form.PRELU or np.abs(1 - slope).min() < SLOPE_MARGIN:
        build.add("PRelu", build.tensor, slope[:, None, None])
        return none
    before = build.tensor
    rectified = build.add("Relu", before)
    linear = build.add("Conv", before, _each(slope / (1 - slope)), group=slope.size, kernel_shape=[1, 1])
    build.add("Add", rectified, linear)
    return 1 - slope


def _pair(build: Build, layer: Layer, gain: np.ndarray, offset: np.ndarray | None) -> None:
    """Append the activation as two scalings of one channel each, with what follows it folded in."""
    slope, before = _slope(layer), build.tensor
    rectified = build.add("Relu", before)
    shift = [] if offset is None else [offset]
    linear = build.add("Conv", before, _each(slope * gain), *shift, group=slope.size, kernel_shape=[1, 1])
    bent = build.add("Conv", rectified, _each((1 - slope) * gain), group=slope.size, kernel_shape=[1, 1])
    build.add("Add", linear, bent)


def _slope(layer: Layer) -> np.ndarray:
    if layer.slope is None:
        raise ModelDamaged(_UNKNOWN)
    return layer.slope


def _each(values: np.ndarray) -> np.ndarray:
    return values[:, None, None, None]


def _blocks(build: Build, chain: Chain) -> None:
    """Append the fully connected layer with its weights as 8-bit blocks. Source: com.microsoft MatMulNBits."""
    rows, columns = chain.matrix.shape
    if columns % BLOCK:
        raise ModelDamaged(f"{columns} weights a row are no whole blocks of {BLOCK}")
    blocks = chain.matrix.reshape(rows, columns // BLOCK, BLOCK).astype(np.float64)
    low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
    step = np.maximum(high - low, 1e-12) / 255
    zero = np.rint(-low / step)
    codes = np.clip(np.rint(blocks / step[..., None]) + zero[..., None], 0, 255)
    build.add(
        "MatMulNBits", build.tensor, codes.astype(np.uint8), step.ravel(), zero.astype(np.uint8),
        domain="com.microsoft", K=columns, N=rows, bits=8, block_size=BLOCK, accuracy_level=INT8_ACCURACY,
    )  # fmt: skip
    build.add("Add", build.tensor, chain.bias)
