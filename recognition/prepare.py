"""Prepare a model file for the runtime, once, and keep the result beside it.

A prepared file is accepted only after it gave the same numbers as the plain dequantised form on several pictures.
Its name holds the digest of its source and the version of the recipe, so a new file or a new recipe never meets an
old result. It appears by rename: two processes that prepare at once both write a whole file, and the later one wins.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recognition import graphs
from recognition.errors import ModelDamaged
from recognition.models import ModelFile, Pack, Role, check_file, publish
from recognition.runtime import open_session
from recognition.testcard import cosine, draw_card

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

RECIPE = 1  # raise it with every change of `graphs` that changes what is written
MIN_COSINE = 0.99999  # exact rewrites differ by fp32 rounding only: 0.9999999 is what SFace reaches
GUARD_CARDS = 5
DETECTOR_PICTURES = ((160, 160), (256, 320))  # rows, columns; multiples of 32, one of them not square
PACKING_MEAN = 127.5
PACKING_FACTOR = 1 / 128


def prepared_path(model: ModelFile, models_dir: Path) -> Path:
    """Return where the prepared form of a model file is kept."""
    return models_dir / "prepared" / f"{model.name}-{model.sha256[:12]}-{RECIPE}.onnx"


def ensure_prepared(model: ModelFile, models_dir: Path) -> Path:
    """Return the prepared form of a model file, making it when it is not there yet.

    Raises: ModelMissing or ModelDamaged when the source file is not what the manifest promises, or when the rewrite
    does not reproduce it; RecognitionError when the onnx package is needed and missing.
    """
    target = prepared_path(model, models_dir)
    if target.is_file():
        return target
    source = check_file(model, models_dir)
    log.info("preparing %s for this machine, once", model.name)
    plain = graphs.plain_form(graphs.read_model(source))
    if model.role is Role.DETECTOR:
        fast = graphs.fast_detector(plain)
    else:
        fast, mean, factor = graphs.fast_embedder(plain)
        if (mean, factor) != (PACKING_MEAN, PACKING_FACTOR):
            raise ModelDamaged(f"the embedder wants (x - {mean}) * {factor}; this release packs for 127.5 and 1/128")
    publish(accept(plain, fast, model.role), target)
    return target


def accept(plain: "onnx.ModelProto", fast: "onnx.ModelProto", role: Role) -> bytes:
    """Return the bytes of a fast form that gives the same numbers as the plain one. Raises: ModelDamaged."""
    data = fast.SerializeToString()
    if role is Role.DETECTOR:
        worst = _worst_cosine_detector(graphs.without_sigmoids(plain).SerializeToString(), data)
    else:
        worst = _worst_cosine_embedder(plain.SerializeToString(), data)
    if not worst >= MIN_COSINE:  # written so that NaN fails
        raise ModelDamaged(
            f"the prepared {role} differs from its source (cosine {worst:.7f}, required {MIN_COSINE}); "
            "report this with the versions of onnx, numpy and onnxruntime"
        )
    log.info("prepared %s agrees with its source to a cosine of %.7f", role, worst)
    return data


def _worst_cosine_embedder(plain: bytes, fast: bytes) -> float:
    slow_session, fast_session = open_session(plain), open_session(fast)
    cosines = []
    for variant in range(GUARD_CARDS):
        rgb = draw_card(graphs.EMBEDDER_PICTURE, variant)[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        (expected,) = slow_session.run(None, {slow_session.get_inputs()[0].name: rgb})
        packed = (rgb - np.float32(PACKING_MEAN)) * np.float32(PACKING_FACTOR)
        (found,) = fast_session.run(None, {fast_session.get_inputs()[0].name: packed})
        cosines.append(cosine(expected, found))
    return min(cosines)


def _worst_cosine_detector(plain: bytes, fast: bytes) -> float:
    slow_session, fast_session = open_session(plain), open_session(fast)
    names = [f"{head}_{stride}" for stride in graphs.STRIDES for head in graphs.HEADS]
    cosines: list[float] = []
    for variant in range(GUARD_CARDS):
        rows, columns = DETECTOR_PICTURES[variant % len(DETECTOR_PICTURES)]
        picture = draw_card(max(rows, columns), variant)[:rows, :columns].transpose(2, 0, 1)[None].astype(np.float32)
        expected = slow_session.run(names, {slow_session.get_inputs()[0].name: picture})
        maps = fast_session.run(None, {fast_session.get_inputs()[0].name: picture})
        found = [part for merged in maps for part in _as_heads(merged)]
        cosines.extend(cosine(left, right) for left, right in zip(expected, found, strict=True))
    return min(cosines)


def _as_heads(merged: np.ndarray) -> list[np.ndarray]:
    """Return a merged map as the four outputs that the source file has for its stride."""
    return np.split(merged[0].reshape(16, -1).T, (1, 2, 6), axis=1)


def prepare_pack(pack: Pack, models_dir: Path) -> None:
    """Prepare every model of a pack, so that a gate without write access to the folder finds them ready."""
    for model in pack.files:
        ensure_prepared(model, models_dir)
