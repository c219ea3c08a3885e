"""Ask an ONNX model that somebody installed whether a face lives. Its manifest says everything that it needs.

None is shipped: every model known to us has either no licence for a gate in service or no evidence. An entry of
`config/models.toml` under `[classifiers.NAME]`, or a manifest of the site's own with one `[classifier]` table, gives

    name, file, sha256, size_bytes, licence, sources      as for every model; the file lies in the models' folder
    size = [80, 80]        width and height that the model takes
    margin = 2.7           the crop is so many faces wide and high
    colours = "bgr"        or "rgb"
    mean = 0.0, scale = 1.0    each value becomes (value - mean) * scale
    live_index = 1         which of its outputs means "a living face"
    softmax = true         whether the outputs are logits
    live_from = 0.9, attack_below = 0.3    between them it is unsure
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recognition.errors import ModelDamaged, RecognitionError
from recognition.models import ModelFile, Role, check_file, default_manifest_path, model_file
from recognition.readings import Classified
from recognition.runtime import OrtError, open_session


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierFile:
    """What a manifest says of a classifier."""

    model: ModelFile
    size: tuple[int, int]
    margin: float
    rgb: bool
    mean: float
    scale: float
    live_index: int
    softmax: bool
    live_from: float
    attack_below: float


class Classifier:
    """Judge the face in a picture. Raises: ModelDamaged when the model does not answer as its manifest says."""

    def __init__(self, described: ClassifierFile, path: Path) -> None:
        self._described = described
        self._session = open_session(path, threads=1)
        self._input = self._session.get_inputs()[0].name
        self.judge(np.full((64, 64, 3), 128, np.uint8), (16.0, 16.0, 32.0, 32.0))  # a wrong size shows at once

    @property
    def model(self) -> ModelFile:
        """Return which file this is, and on what terms."""
        return self._described.model

    def judge(self, pixels: np.ndarray, box: tuple[float, float, float, float]) -> Classified:
        """Return how much the model takes the face in `box` for a living one. Shape: pixels uint8[h, w, 3], BGR."""
        described = self._described
        try:
            answer = np.asarray(self._session.run(None, {self._input: self._packed(pixels, box)})[0], np.float64)
        except OrtError as error:
            raise ModelDamaged(f"{described.model.file} does not run as its manifest says ({error})") from error
        values = answer.reshape(-1)
        if described.live_index >= values.size or not np.isfinite(values).all():
            raise ModelDamaged(f"{described.model.file} answers {values.size} values, not what its manifest says")
        if described.softmax:
            values = np.exp(values - values.max())
            values /= values.sum()
        return Classified(
            liveness=float(values[described.live_index]),
            live_from=described.live_from,
            attack_below=described.attack_below,
            model=described.model.name,
        )

    def _packed(self, pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
        described = self._described
        x, y, width, height = box
        side = max(width, height) * described.margin
        zoom = np.array([described.size[0] / side, described.size[1] / side])
        left, top = x + width / 2 - side / 2, y + height / 2 - side / 2
        place = np.array([[zoom[0], 0, -left * zoom[0]], [0, zoom[1], -top * zoom[1]]])
        crop = cv2.warpAffine(pixels, place, described.size)
        if described.rgb:
            crop = crop[:, :, ::-1]
        return ((crop.astype(np.float32) - described.mean) * described.scale).transpose(2, 0, 1)[None]


def open_classifier(name: str, models_dir: Path) -> Classifier:
    """Return the classifier of a name of the manifest, or of the site's own manifest by its absolute path.

    Raises: RecognitionError; ModelMissing, ModelDamaged for its file.
    """
    described = described_in(Path(name)) if Path(name).is_absolute() else None
    if described is None:
        known = classifiers_in(default_manifest_path())
        if name not in known:
            raise RecognitionError(
                f"no classifier '{name}' in config/models.toml ({', '.join(known) or 'none is shipped'}); "
                "give the absolute path of a manifest of your own, see recognition/classifier.py"
            )
        described = known[name]
    return Classifier(described, check_file(described.model, models_dir))


def classifiers_in(manifest: Path) -> dict[str, ClassifierFile]:
    """Return the classifiers of a manifest. Raises: RecognitionError naming what is wrong."""
    return {name: _described(table, manifest) for name, table in _read(manifest).get("classifiers", {}).items()}


def described_in(manifest: Path) -> ClassifierFile:
    """Return the one classifier of a site's own manifest. Raises: RecognitionError naming what is wrong."""
    tables = _read(manifest)
    if "classifier" not in tables:
        raise RecognitionError(f"{manifest} has no [classifier] table; see recognition/classifier.py")
    return _described(tables["classifier"], manifest)


def _read(manifest: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecognitionError(f"the manifest {manifest} cannot be read ({error}); check the path") from error


def _described(table: Mapping[str, Any], manifest: Path) -> ClassifierFile:
    try:
        width, height = (int(side) for side in table["size"])
        found = ClassifierFile(
            model=model_file(Role.CLASSIFIER, {"known": [], **table}),
            size=(width, height),
            margin=float(table["margin"]),
            rgb={"bgr": False, "rgb": True}[table["colours"]],
            mean=float(table["mean"]),
            scale=float(table["scale"]),
            live_index=int(table["live_index"]),
            softmax=bool(table["softmax"]),
            live_from=float(table["live_from"]),
            attack_below=float(table["attack_below"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecognitionError(f"{manifest}: the classifier is not fully described ({error!r})") from error
    if not (0.0 <= found.attack_below <= found.live_from <= 1.0 and found.margin >= 1.0 and found.live_index >= 0):
        raise RecognitionError(f"{manifest}: the classifier's limits contradict each other")
    return found
