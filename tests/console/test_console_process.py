"""The console as a process: it serves with the gate dead, and ends in order with a viewer still watching."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from sentinel.rehearsal import held_port

CONFIG = """
[gate]
street = "330106"
site = "cuiyuan3"
gate = "east-3"
temperature = false
profile = "card"
[paths]
state_dir = "{base}"
run_dir = "{base}"
secrets_dir = "{base}"
models_dir = "{base}"
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
kind = "none"


[barrier]
factory = "mock"
relay = 17
[uplink]
broker = "mqtt://127.0.0.1:1883"
"""


@pytest.fixture
def console(tmp_path):
    """A running console and its address; systemd's readiness socket says when it listens."""
    (tmp_path / "gate.toml").write_text(CONFIG.format(base=tmp_path))
    with held_port() as held, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        port = held.getsockname()[1]
        ready.bind(str(tmp_path / "ready"))
        ready.settimeout(20.0)
        command = [sys.executable, "-m", "sentinel.console.app", "--config", str(tmp_path / "gate.toml")]
        environ = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "ready")}
        process = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], env=environ, stderr=subprocess.PIPE)
        try:
            assert ready.recv(100) == b"READY=1"
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.communicate()


def test_a_watched_console_ends_in_order_when_told_to(console):
    process, address = console
    with urllib.request.urlopen(f"{address}/events", timeout=10) as stream:
        assert stream.readline() == b"event: status\n"
        assert b'"gate_alive": false' in stream.readline()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    assert b"Traceback" not in said
