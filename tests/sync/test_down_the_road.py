"""From the street's command line to the gate's ledger and back: a roster, an opening, a revocation, over a broker."""

import json
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_uplink_and_street import HOUSE, Town, wait_for

from sync.identity import make_identity

sys.path.append(str(HOUSE / "tests"))
from test_downroad import A, B, Gate

NAME = "330106/cuiyuan3/east-3"


class WholeTown(Town):
    """A town whose gate follows the folder of its uplink, and whose street has a key."""

    def __init__(self, base: Path, mosquitto) -> None:
        super().__init__(base, mosquitto)
        self.gate = Gate(base / "state")
        (base / "gate.pub").write_text(self.gate.known.text())
        shutil.copy(base / "state" / "street.key", base / "street.key")  # by which it signs its receipts too
        keys = f'street_keys = "{base}/state/street.pub"\n'
        self.config.write_text(self.config.read_text() + keys)

    def publish(self, *what: str, exit_code: int = 0, stdin: str = "") -> str:
        keys = ["--gate", NAME, "--gate-key", str(self.base / "gate.pub"), "--key", str(self.base / "state/street.key")]
        command = [sys.executable, "-m", "sentinel.street", "--broker", self.mosquitto.url, "publish", *what, *keys]
        done = subprocess.run(command, cwd=HOUSE, input=stdin, text=True, capture_output=True, check=False)
        assert done.returncode == exit_code, done.stderr
        return done.stderr

    def entries(self, kind: str, count: int) -> list[dict]:
        def there() -> bool:
            self.gate.road.look()
            return len(self.gate.entries(kind)) >= count

        wait_for(f"{count} of {kind}", there)
        return self.gate.entries(kind)

    def lines(self, *people: dict) -> str:
        path = self.base / "people.jsonl"
        path.write_text("\n".join(json.dumps(one) for one in ({"exclusive": False}, *people)))
        return str(path)


@pytest.fixture
def town(tmp_path, mosquitto):
    town = WholeTown(tmp_path, mosquitto)
    yield town
    for process in town.running.values():
        process.kill()
        process.wait()


@pytest.mark.broker
def test_a_roster_an_opening_and_a_revocation_arrive_and_their_entries_come_back(town):
    town.gate.at = datetime.now(UTC)
    first = town.lines({"number": A, "name": "样本甲"}, {"number": B, "name": "样本乙"})
    town.publish("roster", first, "--yes")  # before anybody listens: the broker keeps it
    town.start("street")
    town.start("uplink")
    [entry] = town.entries("roster", 1)
    assert (entry["accepted"], entry["people"]) == (True, 2)
    town.publish("command", "open")
    [opened] = town.entries("command", 1)
    assert (opened["accepted"], opened["act"]) == (True, "open")
    assert len(town.gate.barrier.opened) == 1
    town.publish("command", "revoke", "--number", "-", stdin=A)
    town.publish("roster", "--delta", town.lines({"remove": B}))
    assert town.entries("command", 2)[1]["person"] == town.gate.vault.token(A)
    assert town.entries("roster", 2)[1]["removed"] == 1
    wait_for("the street holds everything", lambda: town.pending() == 0)
    assert town.at_street()["missing"] == 0
    town.end("uplink", signal.SIGKILL)
    town.start("uplink")  # the broker sends what it has kept once more, and that is no news
    wait_for("a new connection", lambda: town.said()["pid"] == town.running["uplink"].pid and town.said()["connected"])
    town.publish("command", "report")
    assert len(town.entries("command", 3)) == 3
    assert [one["accepted"] for one in town.entries("roster", 2)] == [True, True]
    assert len(town.gate.barrier.opened) == 1
    assert [one["accepted"] for one in town.gate.entries("command")] == [True, True, True]


@pytest.mark.broker
def test_a_stranger_with_the_broker_s_password_opens_nothing(town):
    town.start("uplink")
    wait_for("a connection", lambda: (town.base / "run/uplink.json").exists() and town.said()["connected"])
    stranger = make_identity(town.base / "stranger.key")
    assert stranger.known.id
    (town.base / "state" / "street.key").replace(town.base / "kept.key")
    (town.base / "stranger.key").replace(town.base / "state" / "street.key")
    town.publish("command", "report")
    town.publish("roster", town.lines(), "--yes")
    [entry] = town.entries("command", 1)
    assert (entry["accepted"], entry["reason"]) == (False, "unknown-signer")
    assert town.gate.entries("roster") == []
