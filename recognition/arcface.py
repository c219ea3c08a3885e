"""Rewrite an ArcFace-type embedder of any maker for the runtime, held to what its manifest entry states.

The normalisation that a graph begins with is read from its arithmetic, never guessed from the names of its nodes: a
wrong guess makes every stranger resemble everybody (false accepts of 100 %, face-pipeline D, pitfalls). It moves out
of the graph into the packing, so that every embedder runs alike.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from recognition.errors import ModelDamaged
from recognition.forms import Form
from recognition.graphs import import_onnx, picture_input
from recognition.models import ModelFile

if TYPE_CHECKING:
    import onnx

_TOLERANCE = 1e-3  # 1/127.5 and 1/128 differ by 4e-3 of themselves and must be told apart
_PLAIN = {"Sub", "Add", "Mul", "Div", "Identity"}


def rewrite(plain: "onnx.ModelProto", model: ModelFile) -> dict[Form, "onnx.ModelProto"]:
    """Return the forms of an embedder that want their picture normalised already.

    Raises: ModelDamaged when the graph has another normalisation or size than the manifest states.
    """
    bare = _copy(plain)
    mean, scale, passed = _leading(bare)
    check_packing(mean, scale, model)
    _cut(bare, passed)
    _fix_size(bare, model)
    forms = {Form.AS_IS: bare}
    if (pairs := _with_pairs(bare)) is not None:
        forms[Form.PAIR] = pairs
    return forms


def check_packing(mean: float, scale: float, model: ModelFile) -> None:
    """Raise ModelDamaged unless a graph that begins with (x - mean) * scale is what the manifest states."""
    packing = model.packing
    if not packing.inside and (mean, scale) != (0.0, 1.0):
        raise ModelDamaged(
            f"{model.file} begins with its own normalisation, (x - {mean:g}) * {scale:g}, and its manifest entry says "
            "'outside': it would be normalised twice; correct the entry"
        )
    if packing.inside and not (_near(mean, packing.mean) and _near(scale, packing.scale)):
        raise ModelDamaged(
            f"{model.file} normalises (x - {mean:g}) * {scale:g} inside, and its manifest entry states "
            f"(x - {packing.mean:g}) * {packing.scale:g}; correct the entry"
        )


def _near(found: float, stated: float) -> bool:
    return abs(found - stated) <= _TOLERANCE * max(abs(stated), 1e-9)


def _copy(model: "onnx.ModelProto") -> "onnx.ModelProto":
    copy = import_onnx().ModelProto()
    copy.CopyFrom(model)
    return copy


def _leading(model: "onnx.ModelProto") -> tuple[float, float, list[str]]:
    """Return mean and scale of the arithmetic that a graph begins with, and the tensors it passes through."""
    onnx = import_onnx()
    numbers = {
        entry.name: onnx.numpy_helper.to_array(entry).ravel()
        for entry in model.graph.initializer
        if np.prod(entry.dims, dtype=int) <= 3
    }
    tensor, slope, shift = model.graph.input[0].name, 1.0, 0.0
    passed: list[str] = []
    while True:
        takers = [node for node in model.graph.node if tensor in node.input]
        if len(takers) != 1 or takers[0].op_type not in _PLAIN:
            break
        step = _step(takers[0], tensor, numbers)
        if step is None:
            break
        slope, shift, tensor = slope * step[0], shift * step[0] + step[1], takers[0].output[0]
        passed.append(tensor)
    return (-shift / slope if shift else 0.0), slope, passed


def _step(node: Any, tensor: str, numbers: dict[str, np.ndarray]) -> tuple[float, float] | None:
    """Return factor and summand of one elementwise node, or None when it is no such thing."""
    if node.op_type == "Identity":
        return 1.0, 0.0
    other = next((name for name in node.input if name != tensor), "")
    values = numbers.get(other)
    if (
        values is None
        or not values.size
        or np.ptp(values)
        or (node.op_type in ("Sub", "Div") and node.input[0] != tensor)
    ):
        return None
    value = float(values[0])
    if node.op_type in ("Mul", "Div"):
        return (value if node.op_type == "Mul" else 1 / value), 0.0
    return 1.0, (value if node.op_type == "Add" else -value)


def _cut(model: "onnx.ModelProto", passed: list[str]) -> None:
    """Remove the nodes that make these tensors of the picture, and put the picture in their place."""
    kept = [node for node in model.graph.node if node.output[0] not in passed]
    for node in kept:
        for position, name in enumerate(node.input):
            if passed and name == passed[-1]:
                node.input[position] = model.graph.input[0].name
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _fix_size(model: "onnx.ModelProto", file: ModelFile) -> None:
    onnx, size = import_onnx(), file.packing.size
    name = model.graph.input[0].name
    del model.graph.input[:]
    model.graph.input.append(picture_input(onnx, name, size, size))


def check_size(source: "onnx.ModelProto", picture: str, model: ModelFile) -> None:
    """Raise ModelDamaged when a file wants crops of another size than its manifest entry states.

    A file's graph names more inputs than the picture: its weights may stand among them.
    """
    if len(source.graph.output) != 1:
        raise ModelDamaged(f"{model.file} is no embedder: one vector out is expected, not {len(source.graph.output)}")
    shape = next(entry.type.tensor_type.shape for entry in source.graph.input if entry.name == picture)
    sides = [dimension.dim_value for dimension in shape.dim[1:]]
    size = model.packing.size
    if any(side not in (0, wanted) for side, wanted in zip(sides, (3, size, size), strict=False)) or len(sides) != 3:
        raise ModelDamaged(f"{model.file} wants pictures of {sides}, its manifest entry states [3, {size}, {size}]")


def _with_pairs(model: "onnx.ModelProto") -> "onnx.ModelProto | None":
    """Return the model with each PRelu as a * x + (1 - a) * Relu(x), scalings of single channels; None without any.

    onnxruntime computes those in its fast blocked layout, which a PRelu breaks. Source: face-pipeline A, `axr`.
    """
    onnx = import_onnx()
    copy = _copy(model)
    slopes = {entry.name: onnx.numpy_helper.to_array(entry) for entry in copy.graph.initializer}
    nodes, changed = [], False
    for node in copy.graph.node:
        slope = slopes.get(node.input[1]) if node.op_type == "PRelu" else None
        if slope is None or slope.ndim < 3 or slope.shape[-2:] != (1, 1) or slope.size < 2:
            nodes.append(node)
            continue
        changed = True
        nodes.extend(_pair(onnx, copy, node, slope.reshape(-1).astype(np.float32)))
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy if changed else None


def _pair(onnx: Any, model: "onnx.ModelProto", node: Any, slope: np.ndarray) -> list[Any]:
    before, after = node.input[0], node.output[0]
    for name, values in (("linear", slope), ("bent", 1 - slope)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values[:, None, None, None], f"{after}/{name}_w"))
    make = onnx.helper.make_node
    return [
        make("Relu", [before], [f"{after}/relu"]),
        make("Conv", [before, f"{after}/linear_w"], [f"{after}/linear"], group=slope.size, kernel_shape=[1, 1]),
        make("Conv", [f"{after}/relu", f"{after}/bent_w"], [f"{after}/bent"], group=slope.size, kernel_shape=[1, 1]),
        make("Add", [f"{after}/linear", f"{after}/bent"], [after]),
    ]
