"""Stages for whole gates: real processes, a real broker, the real face models; only the devices are simulated."""

from contextlib import suppress
from pathlib import Path

import pytest
from contract_check import faults_of_entry

from sentinel.core.citizen import check_digit
from sentinel.rehearsal import Rehearsal, synthetic_person
from sync.entry import Entry
from sync.errors import LedgerDamaged, LedgerUnavailable


def number_of(serial: int) -> str:
    """Return an ID number that is valid by check digit and of a region that does not exist."""
    first17 = f"99010119800101{serial:03d}"
    return first17 + check_digit(first17)


CARD_PERSON = {"name": "样本丁", "number": number_of(7), "address": "某省某市样本路1号"}


def enrol_two(stage: Rehearsal, faces_dir: Path) -> None:
    """Enrol one resident by face and one by card."""
    by_face = synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"])
    stage.enrol([by_face, synthetic_person(CARD_PERSON["name"], CARD_PERSON["number"])])


@pytest.fixture
def stage(tmp_path_factory, models_dir, faces_dir):
    """A gate with one resident by face and one by card, in a folder whose name is short enough for a socket."""
    with Rehearsal(tmp_path_factory.mktemp("g"), models_dir=models_dir) as built:
        built.start("world", "broker", "street", "gate")
        enrol_two(built, faces_dir)
        built.start("uplink")
        until_mode(built, "automatic", 60.0)
        yield built
        written = all_written(built)
    assert [fault for entry in written for fault in faults_of_entry(entry)] == [], "the street was promised otherwise"


def all_written(stage: Rehearsal) -> list[Entry]:
    """Return what the test made a whole gate write; nothing when the test has destroyed the ledger."""
    with suppress(LedgerDamaged, LedgerUnavailable), stage.reader() as reader:
        return reader.newest(10_000)
    return []


def until_mode(stage: Rehearsal, mode: str, timeout_s: float) -> dict:
    """Return the gate's status as soon as it works in this mode."""

    def look() -> dict | None:
        status = stage.status()
        return status if status and status["mode"] == mode else None

    return stage.wait(look, timeout_s)
