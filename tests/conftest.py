"""What every test may ask for: the checkout, the real models, the demo's faces."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# A loaded machine is no reason to fail; a found example must fail again for whoever looks at the build.
settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    """Make each worker a session of its own: Linux shares processors out by sessions (sched(7), "autogroup").

    The gates that tests start are such sessions too. Workers in one session together would have the share of one of
    them, and what a test plays itself (a device that must answer in time) would be late for no fault of its own.
    """
    if hasattr(config, "workerinput") and os.getsid(0) != os.getpid():
        os.setsid()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers begin with the files that ask for the longest time-outs: what begins last is waited for alone."""
    if not hasattr(config, "workerinput"):
        return
    allowed_s: Counter[Path] = Counter()
    for item in items:
        if mark := item.get_closest_marker("timeout"):
            allowed_s[item.path] += mark.args[0]
    items.sort(key=lambda item: -allowed_s[item.path])


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """The folder of the real models."""
    return _fetched("SENTINEL_MODELS_DIR", "models", "*.onnx")


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """The folder of the demo's photographs."""
    return _fetched("SENTINEL_FACES_DIR", "faces", "*.jpg")


def _fetched(variable: str, name: str, pattern: str) -> Path:
    folder = Path(os.environ.get(variable) or ROOT / ".cache" / name)
    if not any(folder.glob(pattern)):
        pytest.fail(f"there is no {pattern} in {folder}; scripts/test fetches what tests need", pytrace=False)
    return folder
