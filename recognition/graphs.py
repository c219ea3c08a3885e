"""Read model files as graphs: the plain form that is the yardstick of every rewrite, and the detector's fast one.

The *plain* form has its weights dequantised and nothing else touched. `forms` rewrites embedders. `prepare` accepts a
rewrite only when it gives the same numbers as the plain form.
`onnx` is imported inside the functions: a gate whose prepared files are in place never needs it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recognition.errors import ModelDamaged, RecognitionError

if TYPE_CHECKING:
    import onnx

OPSET = 17  # every node below exists unchanged since 13; onnxruntime 1.23 and later read it
IR_VERSION = 8  # the partner of opset 17
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
    picture = next((entry for entry in model.graph.input if entry.name in used - constants.keys()), None)
    if picture is None:
        raise ModelDamaged("the model takes no picture; fetch the models again")
    graph.input.append(picture_input(onnx, picture.name))
    for output in model.graph.output:
        graph.output.append(onnx.helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, None))
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=IR_VERSION)


def picture_input(onnx: Any, name: str, rows: int | str = "rows", columns: int | str = "columns") -> Any:
    """Return the declaration of a graph's input: one picture of three planes."""
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, rows, columns])


def _constants(model: "onnx.ModelProto") -> dict[str, np.ndarray]:
    """Return every tensor that does not depend on the picture, with the quantised ones as float32."""
    onnx = import_onnx()
    known = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}
    for node in model.graph.node:
        attributes = attributes_of(node)
        if node.op_type == "Constant" and "value" in attributes:
            known[node.output[0]] = onnx.numpy_helper.to_array(attributes["value"])
        elif node.input and all(name in known for name in node.input):
            values = [known[name] for name in node.input]
            if node.op_type == "DequantizeLinear" and attributes.get("block_size"):
                known[node.output[0]] = _dequantised(values, attributes["axis"], attributes["block_size"])
            elif node.op_type == "Reshape":
                known[node.output[0]] = values[0].reshape(values[1])
    return known


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes of a node by name."""
    return {entry.name: import_onnx().helper.get_attribute_value(entry) for entry in node.attribute}


def _dequantised(values: list[np.ndarray], axis: int, block_size: int) -> np.ndarray:
    quantised, scale, zero = values
    every = np.arange(quantised.shape[axis]) // block_size  # the block that each position belongs to
    zero_all, scale_all = (np.take(part, every, axis).astype(np.float32) for part in (zero, scale))
    return (quantised.astype(np.float32) - zero_all) * scale_all


@dataclass(slots=True)
class Build:
    """Collect nodes and weights of a new graph; `tensor` is the name of the newest output."""

    onnx: Any
    tensor: str
    nodes: list[Any] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, op: str, *inputs: str | np.ndarray, **attributes: Any) -> str:
        """Append a node and return its output's name; arrays become weights, float32 unless they are uint8."""
        output = f"{op.lower()}{len(self.nodes)}"
        names = []
        for position, entry in enumerate(inputs):
            if isinstance(entry, np.ndarray):
                self.weights[f"{output}_{position}"] = entry if entry.dtype == np.uint8 else entry.astype(np.float32)
                names.append(f"{output}_{position}")
            else:
                names.append(entry)
        self.nodes.append(self.onnx.helper.make_node(op, names, [output], name=output, **attributes))
        self.tensor = output
        return output

    def model(self, name: str, picture: Any, outputs: list[str]) -> "onnx.ModelProto":
        """Return the finished model."""
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes,
            name,
            [picture],
            [helper.make_tensor_value_info(output, self.onnx.TensorProto.FLOAT, None) for output in outputs],
            [self.onnx.numpy_helper.from_array(value, key) for key, value in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain for node in self.nodes):
            opsets.append(helper.make_opsetid("com.microsoft", 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


# -- the detector ------------------------------------------------------------------------------------------------------


def fast_detector(plain: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return the exact fast form of YuNet: the twelve heads merged to one map of 16 channels per stride.

    The maps hold logits: the decoder cuts by confidence before it computes any sigmoid or exponential.
    """
    onnx = import_onnx()
    weights = {entry.name: onnx.numpy_helper.to_array(entry) for entry in plain.graph.initializer}
    producer = {name: node for node in plain.graph.node for name in node.output}
    heads = {f"{head}_{stride}": _head(producer, f"{head}_{stride}") for stride in STRIDES for head in HEADS}
    build = Build(onnx, plain.graph.input[0].name)
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
    return build.model("yunet", picture_input(onnx, plain.graph.input[0].name), outputs)


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
