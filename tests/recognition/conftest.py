"""Give tests the prepared models, scenes made of the demo faces, and a staged pipeline where only rules are tested."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from staged_faces import StagedDetector, StagedEmbedder, card_face

from recognition.models import DEFAULT_PACK, Pack, load_manifest
from recognition.pipeline import Limits, Pipeline
from recognition.prepare import prepare_pack


@pytest.fixture(scope="session")
def pack() -> Pack:
    return load_manifest().pack(DEFAULT_PACK)


@pytest.fixture(scope="session")
def prepared_dir(models_dir: Path, pack: Pack) -> Path:
    prepare_pack(pack, models_dir)
    return models_dir


@pytest.fixture(scope="session")
def scene(faces_dir: Path):
    """Return a maker of 640×480 camera scenes from demo pictures: scaled to the height, padded, with sensor noise."""

    def make(name: str, seed: int = 0, height: int = 480) -> np.ndarray:
        picture = cv2.imread(str(faces_dir / f"{name}.jpg"))
        scale = height / picture.shape[0]
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:, :640]
        frame = np.full((480, 640, 3), 128.0)
        left = (640 - picture.shape[1]) // 2
        frame[: picture.shape[0], left : left + picture.shape[1]] = picture
        return np.clip(frame + np.random.default_rng(seed).normal(0, 3, frame.shape), 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def opened(prepared_dir: Path) -> Pipeline:
    return Pipeline.open(prepared_dir)


@pytest.fixture
def pipeline(opened: Pipeline) -> Pipeline:
    """A pipeline of the real models that has seen nobody yet."""
    return Pipeline(opened.detector, opened.embedder, opened.limits)


@pytest.fixture
def staged() -> Pipeline:
    """A pipeline whose detector and embedder are staged; what it does with them is the product's own."""
    pipeline = Pipeline(StagedDetector(), StagedEmbedder(), Limits(one_to_one=0.4, one_to_many=0.5))
    pipeline.detector.faces = [card_face()]
    return pipeline
