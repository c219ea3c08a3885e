"""Turn an upright face crop into the unit vector that says who it is, with the fingerprint of what made it."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from recognition.align import CROP_SIZE
from recognition.errors import ModelDamaged
from recognition.models import ModelFile
from recognition.prepare import PACKING_FACTOR, PACKING_MEAN
from recognition.runtime import OrtError, open_session
from recognition.testcard import check_known, draw_card

PACKING = "rgb1"  # names what `pack_rgb` does; another packing is another model, whose vectors must not be mixed
ARITHMETIC = "exact"  # every recipe of `prepare` is exact; a reduced one (fp16, int8) has to say so here


class Embedder(Protocol):
    """What the pipeline asks of any embedder."""

    @property
    def model(self) -> str:
        """Return the fingerprint that every vector of this embedder carries."""

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Return the unit vector of an upright crop."""


def pack_rgb(crop: np.ndarray) -> np.ndarray:
    """Return a crop as SFace wants it: RGB planes, (x - 127.5) / 128.

    Shape: uint8[112, 112, 3] BGR → float32[1, 3, 112, 112].
    """
    planes = np.empty((1, 3, CROP_SIZE, CROP_SIZE), np.float32)
    for channel, plane in enumerate(cv2.split(crop)[::-1]):
        np.multiply(plane, np.float32(PACKING_FACTOR), out=planes[0, channel])
    planes -= np.float32(PACKING_MEAN * PACKING_FACTOR)
    return planes


class SFace:
    """Embed with the prepared SFace.

    At load it must reproduce the known vector of the test card: with swapped channels or a second normalisation the
    network still answers, every stranger then resembles everybody, and no other check would notice.
    Raises: ModelDamaged when it does not.
    """

    def __init__(
        self,
        model: ModelFile,
        prepared: Path,
        *,
        threads: int = 1,
        pack: Callable[[np.ndarray], np.ndarray] = pack_rgb,
    ) -> None:
        self._session = open_session(prepared, threads=threads)
        self._input = self._session.get_inputs()[0].name
        self._pack = pack
        self._model = f"{model.name}-{model.sha256[:12]}-{PACKING}-{ARITHMETIC}"
        if model.known:
            check_known(self.answer(), np.asarray(model.known), prepared)

    @property
    def model(self) -> str:
        """Return the fingerprint: name, digest of the source file, packing, arithmetic."""
        return self._model

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Return the unit vector of an upright crop.

        Shape: uint8[112, 112, 3] BGR → float32[128].
        """
        try:
            (rows,) = self._session.run(None, {self._input: self._pack(crop)})
        except OrtError as error:
            raise ModelDamaged(f"the embedder failed ({error}); run: sentinelctl models verify") from error
        return unit(rows[0])

    def answer(self) -> np.ndarray:
        """Return what the manifest's `known` must hold: the unit vector of the test card."""
        return self.embed(draw_card(CROP_SIZE))


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector scaled to length one. Raises: ModelDamaged when it has none."""
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise ModelDamaged("the embedder gave a vector without length; run: sentinelctl models verify")
    return (vector / length).astype(np.float32)
