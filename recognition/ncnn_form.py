"""Run SFace in ncnn, a second runtime that needs fewer instructions on ARM (0.64 of onnxruntime's, face-pipeline A).

The package ncnn is optional: where it is installed, its form takes part in the choice like any other, in fp32 only and
held to the same numbers. Half-precision arithmetic, ncnn's default on ARM, is off: it costs up to 3 % of a cosine.
"""

import importlib
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from recognition.errors import ModelDamaged
from recognition.forms import PICTURE, Chain, flat_layer
from recognition.graphs import attributes_of

PARAM, WEIGHTS = ".param", ".bin"
_MAGIC = "7767517"
_FP32 = struct.pack("<I", 0)  # before weights that could also be stored smaller


@cache
def version() -> str | None:
    """Return the version of the installed package, or None."""
    try:
        return str(importlib.import_module("ncnn").__version__)
    except (ImportError, AttributeError):  # AttributeError: something else of that name
        return None


def write_ncnn(chain: Chain) -> dict[str, bytes]:
    """Return the two files of SFace by their suffix. Source: ncnn's wiki, "param and model file structure"."""
    lines, weights = [f"Input picture 0 1 b0 0={PICTURE} 1={PICTURE} 2=3"], [b""]

    def add(kind: str, *values: object) -> None:
        number = len(lines)
        told = " ".join(str(value) for value in values)
        lines.append(f"{kind} l{number} 1 1 b{number - 1} b{number} {told}")

    channels = 3
    for layer in chain.layers:
        attributes = attributes_of(layer.node)
        depthwise = layer.weight.shape[1] == 1 and layer.channels == channels
        add(
            "ConvolutionDepthWise" if depthwise else "Convolution",
            f"0={layer.channels} 1={layer.weight.shape[-1]} 3={attributes.get('strides', [1])[0]}",
            f"4={attributes.get('pads', [0])[0]} 5=1 6={layer.weight.size}",
            *([f"7={channels}"] if depthwise else []),
        )
        weights += [_FP32, _raw(layer.weight), _raw(layer.bias)]
        if layer.slope is None:
            raise ModelDamaged("the embedder is not the network we know; fetch the models again")
        add("PReLU", f"0={layer.slope.size}")
        weights.append(_raw(layer.slope))
        channels = layer.channels
    matrix, bias = flat_layer(chain, np.ones(channels, np.float32))
    add("InnerProduct", f"0={bias.size} 1=1 2={matrix.size}")
    weights += [_FP32, _raw(matrix), _raw(bias)]
    text = "\n".join([_MAGIC, f"{len(lines)} {len(lines)}", *lines, ""])
    return {PARAM: text.encode("ascii"), WEIGHTS: b"".join(weights)}


def _raw(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()


class NcnnNetwork:
    """A model open in ncnn. Raises: ModelDamaged when the package is missing or refuses the files."""

    def __init__(self, param: Path, *, threads: int = 1) -> None:
        if version() is None:
            raise ModelDamaged(f"{param.name} needs the package ncnn, which is not installed; install it")
        self._ncnn: Any = importlib.import_module("ncnn")
        self._name = param.name
        self._net = self._ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.opt.use_vulkan_compute = False
        for reduced in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "int8_inference"):
            setattr(self._net.opt, f"use_{reduced}", False)
        if self._net.load_param(str(param)) or self._net.load_model(str(param.with_suffix(WEIGHTS))):
            raise ModelDamaged(f"{param} is refused by ncnn; delete it and run: sentinelctl models verify")
        last = int(param.read_text(encoding="ascii").split("\n", 2)[1].split()[0]) - 1
        self._output = f"b{last}"

    def run(self, planes: np.ndarray, names: Sequence[str] | None = None) -> list[np.ndarray]:
        """Return the vector. Shape: float32[1, 3, 112, 112] → [float32[1, d]]."""
        extractor = self._net.create_extractor()
        picture = np.ascontiguousarray(planes[0], np.float32)  # held by a name: ncnn looks at it and does not own it
        refused = extractor.input("b0", self._ncnn.Mat(picture).clone())
        refused_too, vector = extractor.extract(self._output)
        if refused or refused_too:
            raise ModelDamaged(f"{self._name} failed in ncnn; run: sentinelctl models verify")
        return [np.array(vector, np.float32)[None]]
