"""Rewrite the zoo's block-quantised ONNX files into exact graphs that onnxruntime runs fast.

Two forms of each model come out: the *plain* form (weights dequantised, nothing else touched) is the yardstick, the
*fast* form is what runs. `prepare` accepts the fast form only when both give the same numbers.
`onnx` is imported inside the functions: a gate whose prepared files are in place never needs it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recognition.errors import ModelDamaged, RecognitionError

if TYPE_CHECKING:
    import onnx

SLOPE_MARGIN = 1e-3  # |1 - slope| of SFace is 0.003 at least; below this the division would lose fp32 digits
OPSET = 17  # every node below exists unchanged since 13; onnxruntime 1.23 and later read it
IR_VERSION = 8  # the partner of opset 17
EMBEDDER_PICTURE = 112
STRIDES = (8, 16, 32)
HEADS = ("cls", "obj", "bbox", "kps")  # 1 + 1 + 4 + 10 = 16 channels, in this order, is what `detect` decodes


def read_model(path: Path) -> "onnx.ModelProto":
    """Return the ONNX model of a file.

    Raises: RecognitionError without the onnx package; ModelDamaged when the file is no ONNX model.
    """
    onnx = import_onnx()
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(str(path))
    except (OSError, DecodeError) as error:
        raise ModelDamaged(f"{path} cannot be read as ONNX ({error}); fetch the models again") from error


def import_onnx() -> Any:
    """Return the onnx package, which only preparation needs."""
    try:
        import onnx
    except ImportError as error:
        raise RecognitionError(
            "the package onnx is missing and this model is not prepared yet; "
            "install onnx, or copy the folder models/prepared from a machine of the same release"
        ) from error
    return onnx


def plain_form(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return the model with its weights dequantised, its surplus inputs removed and its picture size left open."""
    onnx = import_onnx()
    constants = _constants(model)
    graph = onnx.GraphProto(name=model.graph.name)
    for node in model.graph.node:
        if node.output[0] not in constants:
            graph.node.append(node)
    used = {name for node in graph.node for name in node.input}
    graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in constants.items() if name in used
    )
    picture = next(entry for entry in model.graph.input if entry.name not in constants)
    graph.input.append(_picture_input(onnx, picture.name))
    for output in model.graph.output:
        graph.output.append(onnx.helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, None))
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=IR_VERSION)


def _picture_input(onnx: Any, name: str, rows: int | str = "rows", columns: int | str = "columns") -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, rows, columns])


def _constants(model: "onnx.ModelProto") -> dict[str, np.ndarray]:
    """Return every tensor that does not depend on the picture, with the quantised ones as float32."""
    onnx = import_onnx()
    known = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}
    for node in model.graph.node:
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        if node.op_type == "Constant":
            known[node.output[0]] = onnx.numpy_helper.to_array(attributes["value"])
        elif all(name in known for name in node.input):
            values = [known[name] for name in node.input]
            if node.op_type == "DequantizeLinear":
                known[node.output[0]] = _dequantised(values, attributes["axis"], attributes["block_size"])
            elif node.op_type == "Reshape":
                known[node.output[0]] = values[0].reshape(values[1])
    return known


def _dequantised(values: list[np.ndarray], axis: int, block_size: int) -> np.ndarray:
    quantised, scale, zero = values
    every = np.arange(quantised.shape[axis]) // block_size  # the block that each position belongs to
    zero_all, scale_all = (np.take(part, every, axis).astype(np.float32) for part in (zero, scale))
    return (quantised.astype(np.float32) - zero_all) * scale_all


# -- the embedder: one chain of Conv, BatchNormalization, PRelu, then a fully connected layer -------------------------


@dataclass(slots=True)
class _Build:
    """Collect nodes and weights of the new graph; `tensor` is the name of the newest output."""

    onnx: Any
    tensor: str
    nodes: list[Any] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, op: str, *inputs: str | np.ndarray, **attributes: Any) -> str:
        output = f"{op.lower()}{len(self.nodes)}"
        names = []
        for position, entry in enumerate(inputs):
            if isinstance(entry, np.ndarray):
                self.weights[f"{output}_{position}"] = entry.astype(np.float32)
                names.append(f"{output}_{position}")
            else:
                names.append(entry)
        self.nodes.append(self.onnx.helper.make_node(op, names, [output], name=output, **attributes))
        self.tensor = output
        return output

    def model(self, name: str, picture: Any, outputs: list[str]) -> "onnx.ModelProto":
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes,
            name,
            [picture],
            [helper.make_tensor_value_info(output, self.onnx.TensorProto.FLOAT, None) for output in outputs],
            [self.onnx.numpy_helper.from_array(value, key) for key, value in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def fast_embedder(plain: "onnx.ModelProto") -> tuple["onnx.ModelProto", float, float]:
    """Return the exact fast form of SFace, and the mean and the factor its input now expects to be packed with.

    Batch normalisations are folded into the weights. PRelu, half of the time on x86, is rewritten: with slope a,
    y / (1 - a) = Relu(x) + a / (1 - a) * x, which is a depthwise 1x1 convolution and an addition; the factor (1 - a)
    moves into the next layer's weights. Source: face-pipeline A, `dwsum`.
    """
    onnx = import_onnx()
    weights = {entry.name: onnx.numpy_helper.to_array(entry) for entry in plain.graph.initializer}
    build = _Build(onnx, plain.graph.input[0].name)
    nodes = _chain(plain)
    mean, factor = _packing(nodes, weights)
    scale, shift = np.ones(3, np.float32), np.zeros(3, np.float32)
    pending: tuple[Any, np.ndarray, np.ndarray] | None = None  # a convolution that awaits its normalisation
    for node in nodes[2:]:
        values = [weights[name] for name in node.input if name in weights]
        if node.op_type == "Conv":
            pending = (node, _scaled_inputs(node, values[0], scale), np.zeros(values[0].shape[0], np.float32))
            scale = np.ones(values[0].shape[0], np.float32)
            shift = np.zeros_like(scale)
        elif node.op_type == "BatchNormalization":
            gain, offset = _normalisation(node, *values)
            if pending is not None:
                pending = (pending[0], pending[1] * gain[:, None, None, None], pending[2] * gain + offset)
            else:
                scale, shift = scale * gain, shift * gain + offset
        elif node.op_type == "PRelu":
            if pending is None:
                raise ModelDamaged("the embedder is not the network we know; fetch the models again")
            build.add("Conv", build.tensor, pending[1], pending[2], **_attributes(pending[0]))
            scale, pending = _activation(build, values[0].reshape(-1)), None
        elif node.op_type == "Gemm":
            scale, shift = _fully_connected(build, values, scale, shift)
    if build.nodes[-1].op_type != "Gemm":
        raise ModelDamaged("the embedder does not end in a fully connected layer; fetch the models again")
    _finish_gemm(build, scale, shift)
    # A fixed size lets onnxruntime plan its memory: a tenth faster than an open one.
    picture = _picture_input(onnx, plain.graph.input[0].name, EMBEDDER_PICTURE, EMBEDDER_PICTURE)
    return build.model("sface", picture, [build.tensor]), mean, factor


def _chain(plain: "onnx.ModelProto") -> list[Any]:
    """Return the nodes from the picture to the vector in order, refusing anything that is no single chain we know."""
    by_input = {name: node for node in plain.graph.node for name in node.input[:1]}
    chain, tensor = [], plain.graph.input[0].name
    while tensor in by_input:
        chain.append(by_input[tensor])
        tensor = chain[-1].output[0]
    known = {"Sub", "Mul", "Conv", "BatchNormalization", "PRelu", "Dropout", "Flatten", "Gemm"}
    if len(chain) != len(plain.graph.node) or {node.op_type for node in chain} - known:
        raise ModelDamaged("the embedder is not the network we know; fetch the models again")
    return chain


def _packing(nodes: list[Any], weights: dict[str, np.ndarray]) -> tuple[float, float]:
    if [node.op_type for node in nodes[:2]] != ["Sub", "Mul"]:
        raise ModelDamaged("the embedder does not begin with its normalisation; fetch the models again")
    return weights[nodes[0].input[1]].item(), weights[nodes[1].input[1]].item()


def _scaled_inputs(node: Any, weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    if weight.shape[1] == 1 and weight.shape[0] == scale.size:  # depthwise: one input channel per output
        return weight * scale[:, None, None, None]
    return weight * scale[None, :, None, None]


def _normalisation(
    node: Any, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    epsilon = next(entry.f for entry in node.attribute if entry.name == "epsilon")
    gain = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
    return gain.astype(np.float32), (beta - mean * gain).astype(np.float32)


def _attributes(node: Any) -> dict[str, Any]:
    onnx = import_onnx()
    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def _activation(build: _Build, slope: np.ndarray) -> np.ndarray:
    """Append the activation and return the factor per channel that the next layer has to carry."""
    before = build.tensor
    if np.abs(1 - slope).min() < SLOPE_MARGIN:
        build.add("PRelu", before, slope[:, None, None])
        return np.ones_like(slope)
    rectified = build.add("Relu", before)
    ratio = (slope / (1 - slope))[:, None, None, None]
    linear = build.add("Conv", before, ratio, group=slope.size, kernel_shape=[1, 1])
    build.add("Add", rectified, linear)
    return 1 - slope


def _fully_connected(
    build: _Build, values: list[np.ndarray], scale: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = values
    per_channel = weight.reshape(weight.shape[0], scale.size, -1)
    bias = bias + (per_channel.sum(axis=2, dtype=np.float64) @ shift).astype(np.float32)
    build.add("Flatten", build.tensor)
    build.add("Gemm", build.tensor, (per_channel * scale[None, :, None]).reshape(weight.shape), bias, transB=1)
    return np.ones(weight.shape[0], np.float32), np.zeros(weight.shape[0], np.float32)


def _finish_gemm(build: _Build, scale: np.ndarray, shift: np.ndarray) -> None:
    """Fold what follows the fully connected layer into its weights."""
    name = build.tensor
    build.weights[f"{name}_1"] = build.weights[f"{name}_1"] * scale[:, None]
    build.weights[f"{name}_2"] = build.weights[f"{name}_2"] * scale + shift


# -- the detector ------------------------------------------------------------------------------------------------------


def fast_detector(plain: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return the exact fast form of YuNet: the twelve heads merged to one map of 16 channels per stride.

    The maps hold logits: the decoder cuts by confidence before it computes any sigmoid or exponential.
    """
    onnx = import_onnx()
    weights = {entry.name: onnx.numpy_helper.to_array(entry) for entry in plain.graph.initializer}
    producer = {name: node for node in plain.graph.node for name in node.output}
    heads = {f"{head}_{stride}": _head(producer, f"{head}_{stride}") for stride in STRIDES for head in HEADS}
    build = _Build(onnx, plain.graph.input[0].name)
    needed = _ancestors([pair[0].input[0] for pair in heads.values()], producer)
    build.nodes = [node for node in plain.graph.node if node.output[0] in needed]
    build.weights = {name: weights[name] for node in build.nodes for name in node.input if name in weights}
    outputs = []
    for stride in STRIDES:
        pairs = [heads[f"{head}_{stride}"] for head in HEADS]
        point, spread = ([pair[step] for pair in pairs] for step in (0, 1))
        merged = build.add("Conv", point[0].input[0], *_joined(point, weights), kernel_shape=[1, 1])
        outputs.append(
            build.add("Conv", merged, *_joined(spread, weights), kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=16)
        )
    return build.model("yunet", _picture_input(onnx, plain.graph.input[0].name), outputs)


def without_sigmoids(plain: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return the model with its heads as logits: near zero a sigmoid keeps too few digits to compare two graphs."""
    copy = import_onnx().ModelProto()
    copy.CopyFrom(plain)
    for node in copy.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "Identity"
    return copy


def _head(producer: dict[str, Any], output: str) -> tuple[Any, Any]:
    """Return the pointwise and the depthwise convolution that end in an output."""
    node = producer[output]
    while node.op_type in {"Sigmoid", "Reshape", "Transpose"}:
        node = producer[node.input[0]]
    return producer[node.input[0]], node


def _ancestors(tensors: list[str], producer: dict[str, Any]) -> set[str]:
    """Return the tensors that must be computed for these."""
    seen: set[str] = set()
    todo = list(tensors)
    while todo:
        tensor = todo.pop()
        if tensor in producer and tensor not in seen:
            seen.add(tensor)
            todo.extend(producer[tensor].input)
    return seen


def _joined(nodes: list[Any], weights: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.concatenate([weights[node.input[1]] for node in nodes]),
        np.concatenate([weights[node.input[2]] for node in nodes]),
    )
