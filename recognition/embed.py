"""Turn an upright face crop into the unit vector that says who it is, with the fingerprint of what made it."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from recognition.align import CROP_SIZE
from recognition.errors import ModelDamaged
from recognition.models import ModelFile, Packing
from recognition.runtime import open_network
from recognition.testcard import check_known, check_unlike, draw_card

ARITHMETIC = "exact"  # every form of `prepare` gives the plain numbers; a reduced one (fp16, int8) has to say so here


class Embedder(Protocol):
    """What the pipeline asks of any embedder."""

    @property
    def model(self) -> str:
        """Return the fingerprint that every vector of this embedder carries."""

    @property
    def crop_size(self) -> int:
        """Return how wide and high the crop must be. Unit: pixels."""

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Return the unit vector of an upright crop."""


def pack(crop: np.ndarray, packing: Packing, planes: np.ndarray) -> np.ndarray:
    """Fill planes with a crop as its embedder wants it, and return them.

    Shape: crop uint8[s, s, 3] BGR, planes float32[1, 3, s, s].
    """
    channels = cv2.split(crop)
    for place, plane in enumerate(channels[::-1] if packing.channels == "rgb" else channels):
        np.multiply(plane, np.float32(packing.scale), out=planes[0, place])
    planes -= np.float32(packing.mean * packing.scale)
    return planes


def pack_rgb(crop: np.ndarray) -> np.ndarray:
    """Return a crop as SFace wants it: RGB planes, (x - 127.5) / 128.

    Shape: uint8[112, 112, 3] BGR → float32[1, 3, 112, 112].
    """
    return pack(crop, Packing(), np.empty((1, 3, CROP_SIZE, CROP_SIZE), np.float32))


class PreparedEmbedder:
    """Embed with a prepared model: SFace, or any ArcFace-type network of the manifest.

    At load it must reproduce the known vector of the test card: with swapped channels or a second normalisation the
    network still answers, every stranger then resembles everybody, and no other check would notice. Where the manifest
    knows no vector, the model must at least tell drawn faces apart.
    Raises: ModelDamaged when it does not.
    """

    def __init__(
        self,
        model: ModelFile,
        prepared: Path,
        *,
        threads: int = 1,
        pack: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self._network = open_network(prepared, threads=threads)
        self._packing = model.packing
        size = model.packing.size
        self._planes = np.empty((1, 3, size, size), np.float32)
        self._pack = pack or self._into_planes
        self._model = f"{model.name}-{model.sha256[:12]}-{model.packing.name}-{ARITHMETIC}"
        if model.known:
            check_known(self.answer(), np.asarray(model.known), prepared)
        else:
            check_unlike(self.embed, size, model.file)

    @property
    def model(self) -> str:
        """Return the fingerprint: name, digest of the source file, packing, arithmetic."""
        return self._model

    @property
    def crop_size(self) -> int:
        """Return how wide and high the crop must be. Unit: pixels."""
        return self._packing.size

    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Return the unit vector of an upright crop.

        Shape: uint8[s, s, 3] BGR → float32[d].
        """
        return unit(self._network.run(self._pack(crop))[0].reshape(-1))

    def answer(self) -> np.ndarray:
        """Return what the manifest's `known` must hold: the unit vector of the test card."""
        return self.embed(draw_card(self._packing.size))

    def _into_planes(self, crop: np.ndarray) -> np.ndarray:
        return pack(crop, self._packing, self._planes)


SFace = PreparedEmbedder  # what the pack opencv-zoo embeds with


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector scaled to length one. Raises: ModelDamaged when it has none."""
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise ModelDamaged("the embedder gave a vector without length; run: sentinelctl models verify")
    return (vector / length).astype(np.float32)
