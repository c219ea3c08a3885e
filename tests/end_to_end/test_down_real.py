"""The real gate and the folder its uplink writes into: what the street signed is done once, and nothing else."""

import json
import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sentinel import roster
from sentinel.rehearsal import Rehearsal
from sync.entry import epoch_text
from sync.errors import LedgerUnavailable
from sync.identity import make_identity
from sync.snapshot import Heading, Type, write_documents
from sync.vault import Vault

from .conftest import number_of
from .test_whole_gate import relay_rises

pytestmark = [pytest.mark.models, pytest.mark.timeout(240)]
PEOPLE = 300


class Road:
    """A gate that believes a street, and whoever writes into the folder of its uplink."""

    def __init__(self, stage: Rehearsal) -> None:
        self.stage, self.serial = stage, 0
        self.street = make_identity(stage.directory / "street.key")  # the rehearsed street's own
        self.ours = make_identity(stage.directory / "secrets" / "gate.key").known
        self.folder = stage.directory / "state" / "down"
        self.folder.mkdir(exist_ok=True)
        gate = json.loads(stage.ctl("show", "config", "--json").stdout)["settings"]
        self.name = "/".join(row["value"] for row in gate if row["table"] == "gate" and row["key"] in
                             ("street", "site", "gate"))  # fmt: skip

    def lay(self, type_: Type, plain: bytes, **more) -> Path:
        self.serial += 1
        now = datetime.now(UTC)
        heading = Heading(type=type_, gate=self.name, serial=self.serial, made_at=now, **more)
        (data,) = write_documents(heading, plain, self.street, self.ours)
        return self.put(f"{type_}-{self.serial:04}.down", data)

    def put(self, name: str, data: bytes) -> Path:
        draft = self.folder / f"{name}.tmp"
        draft.write_bytes(data)
        return draft.replace(self.folder / name)

    def open(self) -> Path:
        with self.stage.reader() as reader:
            epoch = epoch_text(reader.head().epoch)
        told = {"act": "open", "leaf": "in", "epoch": epoch}
        return self.lay(Type.COMMAND, json.dumps(told).encode(), expires=datetime.now(UTC) + timedelta(seconds=60))

    def said(self, kind: str) -> list[tuple[int | None, bool, str | None]]:
        try:
            with self.stage.reader() as reader:
                found = [entry.data for entry in reversed(reader.newest(100, kind))]
        except LedgerUnavailable:
            return []
        return [(body.get("serial"), body["accepted"], body.get("reason")) for body in found]

    def until(self, kind: str, count: int) -> list[tuple[int | None, bool, str | None]]:
        return self.stage.wait(lambda: found if len(found := self.said(kind)) >= count else None, 30.0)


@pytest.fixture
def road(tmp_path_factory, models_dir):
    with Rehearsal(tmp_path_factory.mktemp("d"), models_dir=models_dir) as stage:
        road = Road(stage)
        stage.start("world", "gate")
        yield road


def people(first: int) -> bytes:
    rows = [{"number": number_of(first + number), "name": "样本"} for number in range(PEOPLE)]
    return "\n".join(json.dumps(one) for one in ({"exclusive": False}, *rows)).encode()


def test_an_unsigned_file_opens_nothing_and_a_signed_one_opens_once(road):
    road.put("a.down", b'{"act": "open", "leaf": "in"}')
    assert road.until("command", 1) == [(None, False, "not-signed")]
    assert relay_rises(road.stage) == 0
    kept = road.open().read_bytes()
    assert road.until("command", 2)[1] == (1, True, None)
    road.stage.wait(lambda: relay_rises(road.stage) or None, 10.0)
    road.stage.kill("gate")
    road.put("again.down", kept)
    road.stage.start("gate")
    road.lay(Type.COMMAND, b'{"act": "report"}')
    assert road.until("command", 3)[2] == (2, True, None)
    assert relay_rises(road.stage) == 1


def test_a_gate_killed_while_it_applies_a_roster_has_the_old_one_or_the_new_one_and_then_the_new_one(road):
    chance, never = random.Random(7), threading.Event()
    vault = Vault.open(road.stage.directory / "secrets")
    path = road.stage.directory / "state" / "roster.db"
    sets = [{vault.token(number_of(first + number)) for number in range(PEOPLE)} for first in (0, 500)]
    for round_ in range(3):
        seen = set(roster.load(path, vault))
        road.lay(Type.ROSTER, people((0, 500)[round_ % 2]))
        never.wait(chance.uniform(0.0, 0.5))  # the gate looks five times a second
        road.stage.kill("gate")
        assert set(roster.load(path, vault)) in (seen, sets[round_ % 2])
        road.stage.start("gate")
        road.until("roster", round_ + 1)
        assert set(roster.load(path, vault)) == sets[round_ % 2]
    assert road.said("roster") == [(serial, True, None) for serial in (1, 2, 3)]
