"""Use a model pack of InsightFace that the operator brought, through `insightface.model_zoo`.

Never downloads. The weights that InsightFace publishes are for non-commercial research only; whoever points a gate at
them is told so at every start. The package is the extra `insightface` and is imported here only.
"""

import hashlib
import importlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from recognition.detect import Face
from recognition.embed import unit
from recognition.errors import ModelDamaged, ModelMissing, RecognitionError
from recognition.runtime import OrtError, session_options
from recognition.testcard import check_unlike

log = logging.getLogger(__name__)

LICENCE_NOTICE = (
    "the weights that InsightFace publishes are for non-commercial research only; "
    "a gate in service needs a licence from their owner or the pack opencv-zoo"
)
_LIKELY = ("det_", "scrfd", "w600k", "glint", "arcface")  # opened first: packs also hold landmark models of 140 MB
_LOAD_ERRORS = (AssertionError, RuntimeError, ValueError, OSError, DecodeError, *OrtError)


class InsightFaceDetector:
    """Find faces with the detector of a pack. It already looks as closely as it can: `refine` changes nothing."""

    def __init__(self, model: Any, *, width: int) -> None:
        self._model = model
        # SCRFD looks at a square whose side is a multiple of its widest stride.
        self._size = (max(32, width // 32 * 32),) * 2

    def detect(self, pixels: np.ndarray) -> list[Face]:
        """Return the faces of a picture, the most certain first."""
        boxes, points = self._model.detect(pixels, input_size=self._size)
        if len(boxes) and points is None:
            raise ModelDamaged("the pack's detector gives no landmarks; use a pack whose detector has key points (kps)")
        return [_face(box, landmarks) for box, landmarks in zip(boxes, points if len(boxes) else [], strict=True)]

    def refine(self, pixels: np.ndarray, face: Face) -> Face:
        """Return the face as it is."""
        return face

    def near(self, pixels: np.ndarray, face: Face) -> list[Face]:
        """Return the faces of the whole picture."""
        return self.detect(pixels)


class InsightFaceEmbedder:
    """Embed with the recognition model of a pack. Raises: ModelDamaged when all faces look alike to it."""

    def __init__(self, model: Any, fingerprint: str) -> None:
        self._model = model
        self._fingerprint = fingerprint
        check_unlike(self.embed, self.crop_size, fingerprint)

    @property
    def crop_size(self) -> int:
        """Return how wide and high the crop must be. Unit: pixels."""
        return int(self._model.input_size[0])

    @property
    def model(self) -> str:
        """Return the fingerprint: pack, file, digest, normalisation."""
        return self._fingerprint

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Return the unit vector of an upright crop. Shape: uint8[s, s, 3] BGR → float32[d]."""
        return unit(np.asarray(self._model.get_feat(crop), np.float32).reshape(-1))


def open_insightface(
    folder: Path, *, detector_width: int = 320, threads: int = 1, model_zoo: Any = None
) -> tuple[InsightFaceDetector, InsightFaceEmbedder]:
    """Return detector and embedder of a pack's folder.

    Raises: RecognitionError when the extra is not installed or the path is not absolute; ModelMissing, ModelDamaged.
    """
    if not folder.is_absolute():
        raise RecognitionError(f"'{folder}' is not absolute; name the pack's folder from the root")
    files = sorted(folder.glob("*.onnx"), key=lambda path: (not path.name.startswith(_LIKELY), path.name))
    if not files:
        raise ModelMissing(f"{folder} holds no .onnx file; name the folder that a pack was unpacked into")
    zoo = model_zoo or _import_model_zoo()
    log.warning("InsightFace pack %s: %s", folder.name, LICENCE_NOTICE)
    found: dict[str, tuple[Path, Any]] = {}
    for path in files:
        if {"detection", "recognition"} <= found.keys():
            break
        model = _load(zoo, path, threads)
        found.setdefault(getattr(model, "taskname", "unknown"), (path, model))
    for task in ("detection", "recognition"):
        if task not in found:
            raise ModelMissing(f"{folder} holds no {task} model; unpack a whole InsightFace pack there")
    path, recogniser = found["recognition"]
    width, height = recogniser.input_size
    if width != height or (width % 112 and width % 128):
        raise ModelDamaged(f"{path.name} wants crops of {width}×{height}; multiples of 112 or 128 are supported")
    detector = InsightFaceDetector(found["detection"][1], width=detector_width)
    return detector, InsightFaceEmbedder(recogniser, _fingerprint(folder, path, recogniser))


def _import_model_zoo() -> Any:
    try:
        return importlib.import_module("insightface.model_zoo")
    except ImportError as error:
        raise RecognitionError(
            f"InsightFace packs need the extra 'insightface' ({error}); run: scripts/install-insightface"
        ) from error


def _load(zoo: Any, path: Path, threads: int) -> Any:
    options = session_options(threads)
    try:
        return zoo.get_model(str(path), providers=["CPUExecutionProvider"], sess_options=options, download=False)
    except _LOAD_ERRORS as error:
        raise ModelDamaged(f"{path} is refused by insightface ({error}); unpack the pack again") from error


def _fingerprint(folder: Path, path: Path, model: Any) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    return f"insightface-{folder.name}-{path.stem}-{digest}-{model.input_mean:g}-{model.input_std:g}"


def _face(box: np.ndarray, landmarks: np.ndarray) -> Face:
    left, top, right, bottom, confidence = (float(value) for value in box)
    return Face(
        x=left,
        y=top,
        width=right - left,
        height=bottom - top,
        confidence=confidence,
        landmarks=np.asarray(landmarks, np.float32).reshape(5, 2),
    )
