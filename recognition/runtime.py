"""Open model files with onnxruntime, on the processor, without two thread pools fighting over it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from recognition.errors import ModelDamaged, ModelMissing
from recognition.ncnn_form import PARAM, NcnnNetwork

# onnxruntime has no common base for its errors: these are the ones that a bad file or a bad tensor raises.
OrtError = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NotFound,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


def open_session(model: Path | bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """Return a session that runs a model on the processor.

    Raises: ModelMissing when the file is not there; ModelDamaged when onnxruntime refuses it.
    """
    options = session_options(threads)
    if isinstance(model, Path) and not model.is_file():
        raise ModelMissing(f"{model} is not here; run: sentinelctl models fetch")
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except OrtError as error:
        name = "a graph in memory" if isinstance(model, bytes) else model
        raise ModelDamaged(f"{name} is refused by onnxruntime ({error}); run: sentinelctl models verify") from error


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """Return the options of every session here: this many threads, none of which turns idly."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads else spin for work, against the other model's pool and the rest of the box. Two threads on two cores
    # with busy neighbours: an embedding takes 20 ms so (median), 40 when spinning only stops at a run's end.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class Network(Protocol):
    """A model that is open: planes in, tensors out."""

    def run(self, planes: np.ndarray, names: Sequence[str] | None = None) -> list[np.ndarray]:
        """Return the outputs, all or those named. Raises: ModelDamaged."""


class OrtNetwork:
    """A model open in onnxruntime."""

    def __init__(self, session: onnxruntime.InferenceSession, name: str) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._name = name

    def run(self, planes: np.ndarray, names: Sequence[str] | None = None) -> list[np.ndarray]:
        """Return the outputs, all or those named. Raises: ModelDamaged when the runtime refuses the planes."""
        try:
            return self._session.run(names, {self._input: planes})
        except OrtError as error:
            raise ModelDamaged(f"{self._name} failed ({error}); run: sentinelctl models verify") from error


def open_network(model: Path | bytes, *, threads: int = 1) -> Network:
    """Return a model open in the runtime that its file is for. Raises: ModelMissing, ModelDamaged."""
    if isinstance(model, Path) and model.suffix == PARAM:
        return NcnnNetwork(model, threads=threads)
    name = "a graph in memory" if isinstance(model, bytes) else model.name
    return OrtNetwork(open_session(model, threads=threads), name)
