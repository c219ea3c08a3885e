"""A fixed time zone for everything that prints local time, and a gate's files in a temporary folder."""

import time
from pathlib import Path

import pytest

CONFIG = """
[gate]
street = "330106"
site = "cuiyuan3"
gate = "east-3"
[paths]
state_dir = "{base}"
run_dir = "{base}/run"
secrets_dir = "{base}/secrets"
models_dir = "{base}/models"
[temperature]
limit_celsius = 37.3
[faults]
response_hours = 2
recovery_hours = 24
[retention]
passage_days = 30
fault_days = 365
audit_days = 365
[card]
port = "serial:///dev/ttyS3?baud=115200"
[thermal]
port = "serial:///dev/ttyS4?baud=115200"
[camera]
source = "v4l2:///dev/video0"
[barrier]
factory = "mock"
relay = 17
[uplink]
broker = "mqtt://127.0.0.1:1883"
"""


@pytest.fixture(autouse=True)
def shanghai(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gate.toml"
    path.write_text(CONFIG.format(base=tmp_path))
    return path
