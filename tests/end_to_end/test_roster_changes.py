"""A changed roster in the running gate: who is deleted is a stranger, who is added is known, nobody else notices."""

from dataclasses import replace

import numpy as np
import pytest

from sentinel import roster
from sentinel.rehearsal import Rehearsal, synthetic_person
from sync.vault import Vault

from .conftest import number_of, until_mode
from .test_whole_gate import come

pytestmark = [pytest.mark.realtime, pytest.mark.models, pytest.mark.timeout(240)]

CROWD = 10_000
USED_S = 60.0  # no rule but patience: how soon it is, scripts/bench/memory measures


@pytest.fixture
def town(tmp_path_factory, models_dir, faces_dir):
    """A gate with one real resident among ten thousand people who do not exist."""
    with Rehearsal(tmp_path_factory.mktemp("t"), models_dir=models_dir) as stage:
        stage.enrol([synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"])])
        crowd_in(stage)
        stage.start("world", "gate")
        until_mode(stage, "automatic", 60.0)
        until_used(stage, CROWD + 1)
        yield stage


def crowd_in(stage: Rehearsal) -> None:
    path, vault = stage.directory / "state" / "roster.db", Vault.open(stage.directory / "secrets", create=False)
    members = roster.load(path, vault)
    (template,) = next(iter(members.values())).templates
    vectors = np.random.default_rng(1).standard_normal((CROWD, 128), dtype=np.float32)
    for number, vector in enumerate(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)):
        token = vault.token(f"9{number:017}")
        templates = (replace(template, vector=vector.tobytes()),)
        members[token] = roster.Member(token=token, name="样本", number=f"9{number:017}", templates=templates)
    roster.publish(path, members, vault)


def until_used(stage: Rehearsal, people: int, seen: int = 0) -> None:
    """Wait until the gate and its vision use a roster of so many people."""
    words = f"roster: {people} people", f"gallery: {people} people"

    def look() -> bool | None:
        told = stage.log_of("gate").read_bytes()[seen:].decode()
        return all(word in told for word in words) or None

    stage.wait(look, USED_S, while_running="gate")


def test_who_is_deleted_is_a_stranger_and_who_is_added_is_known(town, faces_dir):
    resident = {"picture": str(faces_dir / "obama2.jpg")}
    known = come(town, **resident)
    assert (known["outcome"], known["method"]) == ("open", "face")

    seen = town.log_of("gate").stat().st_size
    removed = town.ctl("people", "remove", known["person"][:12], "--yes")
    assert removed.returncode == 0, removed.stderr
    until_used(town, CROWD, seen)
    stranger = come(town, **resident)
    assert (stranger["outcome"], stranger["reasons"][0]) == ("hold", "face-unknown")
    assert "person" not in stranger

    seen = town.log_of("gate").stat().st_size
    town.enrol([synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"])])
    until_used(town, CROWD + 1, seen)
    assert come(town, **resident)["person"] == known["person"]
    assert "said nothing" not in town.log_of("gate").read_text(encoding="utf-8"), "vision never stood still for it"
