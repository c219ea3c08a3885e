"""The two processes at the ends of the line, killed as power cuts kill them, with a real broker between them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sentinel.cli import main as sentinelctl
from sentinel.street_import import import_stick
from sentinel.uplink import open_cursor
from sync.cursor import Cursor
from sync.entry import Draft
from sync.identity import Believed, load_identity, make_identity
from sync.ledger import LedgerReader, LedgerWriter
from sync.store import Store

HOUSE = Path(__file__).parents[2]
PATIENCE_S = 20.0

SETTINGS = """
[gate]
street = "330106"
site = "cuiyuan3"
gate = "east-3"
profile = "card"
temperature = false
[paths]
state_dir = "{base}/state"
run_dir = "{base}/run"
secrets_dir = "{base}/secrets"
models_dir = "{base}/models"
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
[camera]
source = ""
[barrier]
factory = "mock"
relay = 17
[uplink]
broker = "{broker}"
keepalive_s = 5
resend_s = 1.0
"""


class Town:
    """A gate's files, its uplink, a broker and the street, as processes."""

    def __init__(self, base: Path, mosquitto) -> None:
        self.base, self.mosquitto = base, mosquitto
        (base / "state").mkdir()
        self.ledger, self.uplink_db = base / "state" / "ledger.db", base / "state" / "uplink.db"
        self.config = base / "gate.toml"
        self.config.write_text(SETTINGS.format(base=base, broker=mosquitto.url))
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        more = {
            "uplink": ["--config", str(self.config)],
            "street": ["--broker", self.mosquitto.url, "--store", str(self.base / "street.db")],
        }[name]
        log = (self.base / f"{name}.log").open("ab")
        with log:
            command = [sys.executable, "-m", f"sentinel.{name}", *more]
            self.running[name] = subprocess.Popen(command, cwd=HOUSE, stderr=log)

    def end(self, name: str, number: int) -> int:
        process = self.running.pop(name)
        process.send_signal(number)
        return process.wait(PATIENCE_S)

    def said(self) -> dict:
        return json.loads((self.base / "run" / "uplink.json").read_text())

    def at_street(self) -> dict:
        report = [sys.executable, "-m", "sentinel.street", "report", "--store", str(self.base / "street.db"), "--json"]
        (gate,) = json.loads(subprocess.run(report, cwd=HOUSE, check=False, capture_output=True).stdout)["gates"]
        return gate

    def pending(self) -> int:
        with Cursor(self.uplink_db) as cursor, LedgerReader(self.ledger) as reader:
            return cursor.pending(reader).pending


@pytest.fixture
def town(tmp_path: Path, mosquitto) -> Iterator[Town]:
    town = Town(tmp_path, mosquitto)
    yield town
    for process in town.running.values():
        process.kill()
        process.wait()


def wait_for(what: str, true: Callable[[], bool]) -> None:
    deadline, never = time.monotonic() + PATIENCE_S, threading.Event()
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {PATIENCE_S} s")
        never.wait(0.05)


def append(writer: LedgerWriter, count: int) -> None:
    for number in range(count):
        writer.append(Draft(kind="barrier", version=1, body={"event": "passed", "n": number}), wait_s=5.0)


@pytest.mark.broker
def test_kill_9_of_uplink_street_and_broker_loses_and_doubles_nothing(town):
    town.start("street")
    town.start("uplink")  # before the ledger exists: it waits
    wait_for("the state file", (town.base / "run" / "uplink.json").exists)
    with LedgerWriter.open(town.ledger, vault=None) as writer:
        append(writer, 50)
        wait_for("first entries", lambda: town.pending() == 0)
        for victim in ("uplink", "street"):
            append(writer, 50)
            town.end(victim, signal.SIGKILL)
            append(writer, 50)
            town.start(victim)
        town.mosquitto.kill()
        append(writer, 50)
        wait_for("the outage shows", lambda: not town.said()["connected"])
        assert town.said()["layer"] in ("tcp", "mqtt")
        town.mosquitto.start()
    wait_for("everything is receipted", lambda: town.pending() == 0)  # 300, the start and the stop
    gate = town.at_street()
    assert (gate["entries"], gate["missing"], gate["forks"], gate["breaks"]) == (302, 0, [], [])
    wait_for("its end of the balance", lambda: (town.said()["balance"] or {}).get("receipted") == 302)
    assert town.said()["connected"]


@pytest.mark.broker
def test_both_end_in_order_at_sigterm(town):
    with LedgerWriter.open(town.ledger, vault=None) as writer:
        town.start("street")
        town.start("uplink")
        append(writer, 3)
        wait_for("everything is receipted", lambda: town.uplink_db.exists() and town.pending() == 0)
        assert town.at_street()["online"] is True
        assert town.end("uplink", signal.SIGTERM) == 0
        wait_for("the good-bye", lambda: town.at_street()["online"] is False)
        assert not town.said()["connected"]
        assert town.end("street", signal.SIGTERM) == 0
    assert "Traceback" not in (town.base / "uplink.log").read_text() + (town.base / "street.log").read_text()


@pytest.mark.parametrize("module", ["sentinel.uplink", "sentinel.street"])
def test_no_vision_is_loaded(module):
    code = f"import sys, {module}; print([m for m in ('numpy', 'cv2', 'onnxruntime') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, check=True).stdout == b"[]\n"


@pytest.mark.parametrize("module", ["sentinel.uplink", "sentinel.street"])
def test_help_has_an_example(module):
    said = subprocess.run([sys.executable, "-m", module, "--help"], cwd=HOUSE, capture_output=True, check=True).stdout
    assert b"Example: " in said


def test_a_street_without_a_broker_says_what_to_do():
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SENTINEL_")}
    done = subprocess.run([sys.executable, "-m", "sentinel.street"], cwd=HOUSE, capture_output=True, env=clean)
    assert done.returncode == 64
    assert b"--broker mqtt://" in done.stderr


def test_a_damaged_cursor_is_set_aside(tmp_path: Path):
    path = tmp_path / "uplink.db"
    path.write_bytes(b"once upon a time" * 100)
    with open_cursor(path, wall_ns=lambda: 7_000_000_000) as cursor:
        assert cursor.dead_letters() == ()
    assert (tmp_path / "uplink.db.damaged-7").read_bytes().startswith(b"once")


def test_where_no_broker_is_a_stick_there_and_back_leaves_nothing_waiting(tmp_path: Path, capsys):
    base = tmp_path
    (base / "state").mkdir()
    street = make_identity(base / "street.key")
    (base / "street.pub").write_text(street.known.text())
    config = base / "gate.toml"
    nobody = SETTINGS.format(base=base, broker="mqtt://127.0.0.1:1")
    config.write_text(f'{nobody}street_keys = "{base}/street.pub"\n')
    with LedgerWriter.open(base / "state" / "ledger.db", vault=None) as writer:
        append(writer, 40)
    uplink = subprocess.Popen([sys.executable, "-m", "sentinel.uplink", "--config", str(config)], cwd=HOUSE)
    try:
        said = base / "run" / "uplink.json"
        wait_for("the uplink has found nobody", lambda: said.exists() and json.loads(said.read_text())["balance"])
        assert sentinelctl(["--config", str(config), "--json", "stick", "export", str(base)]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["entries"] == 42  # with the start and the stop
        gates = Believed([load_identity(base / "secrets" / "gate.key").known])
        with Store(base / "street.db") as store:
            back = import_stick(Path(told["path"]), store, street, gates, now_ns=time.time_ns())
        assert sentinelctl(["--config", str(config), "--quiet", "stick", "import", str(back)]) == 0
        wait_for("the receipts hold", lambda: json.loads(said.read_text())["balance"]["receipted"] == 42)
    finally:
        uplink.kill()
        uplink.wait()
    assert sentinelctl(["--config", str(config), "--lang", "en", "stick", "export", str(base)]) == 0
    assert "Nothing waits" in capsys.readouterr().err
    assert not list((base / "state" / "receipts").iterdir())
