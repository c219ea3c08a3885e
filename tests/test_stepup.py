"""People too much alike show their card as well; a list that cannot be read asks everybody."""

import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from recognition.readings import Candidate, FaceReading
from sentinel import roster, stepup
from sentinel.core.model import Attempt, Method, Outcome, Person, Policy, Profile, Reason
from sentinel.core.policy import decide
from sentinel.events import RosterRead
from sentinel.files import Files
from sentinel.settings import load
from sentinel.stepup import StepUp
from sync.vault import Vault

ANNA = Person(token="anna", name="Anna", has_face=True)
BERT = Person(token="bert", name="Bert", has_face=True)
FACE = FaceReading(
    at_mono=10.0, track=1, box=(0, 0, 100, 100), frame_width=640, frame_height=480, confidence=0.9,
    identified=Candidate(person="anna", similarity=0.7, required=0.5, reached=True),
)  # fmt: skip


def by_face_alone(person: Person):
    seen = Attempt(started_mono=10.0, closed_mono=10.5, face=FACE, face_person=person)
    policy = Policy(profile=Profile.FACE, temperature_limit_celsius=None)
    return decide(seen, policy, today=date(2026, 11, 22), clock_trusted=True)


def test_a_face_alone_opens_for_whoever_is_like_nobody_else():
    assert by_face_alone(ANNA).outcome is Outcome.OPEN


def test_a_face_alone_does_not_open_for_a_twin_and_the_card_is_asked_for():
    decision = by_face_alone(replace(ANNA, step_up=True))
    assert (decision.outcome, decision.reasons) == (Outcome.HOLD, (Reason.FACE_ALIKE,))
    assert decision.method is Method.NONE


def test_both_of_a_pair_are_asked():
    people = StepUp.of_pairs([("anna", "carl"), ("carl", "dora")]).marked({"anna": ANNA, "bert": BERT})
    assert {token: person.step_up for token, person in people.items()} == {"anna": True, "bert": False}
    assert people["anna"] == replace(ANNA, step_up=True), "nothing else of them changes"


def test_the_list_is_read_as_it_was_published(tmp_path):
    path = tmp_path / "alike.json"
    stepup.publish(path, StepUp(tokens=frozenset({"anna"})), model="m", similarity=0.5)
    assert stepup.read(path) == StepUp(tokens=frozenset({"anna"}))
    assert os.stat(path).st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["alike.json"]


def test_a_new_list_has_another_mark(tmp_path):
    path = tmp_path / "alike.json"
    marks = [stepup.mark_of(path)]
    for tokens in ({"anna"}, {"bert"}):
        stepup.publish(path, StepUp(tokens=frozenset(tokens)), model="m", similarity=0.5)
        marks.append(stepup.mark_of(path))
    assert marks[0] is None
    assert len(set(marks)) == 3


def test_no_list_asks_nobody(tmp_path):
    assert not stepup.read(tmp_path / "alike.json").asks("anna")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"v": 1}', '{"v": 2, "tokens": []}', '{"v": 1, "tokens": [1]}'])
def test_a_damaged_list_asks_everybody(tmp_path, content):
    path = tmp_path / "alike.json"
    path.write_text(content, encoding="utf-8")
    assert stepup.read(path).asks("anna")


class OneLook:
    """A stop that lets a follower look once."""

    def __init__(self) -> None:
        self._looks = 0

    def wait(self, timeout: float) -> bool:
        self._looks += 1
        return self._looks > 1


class NothingSpooled:
    def bring_home(self) -> bool:
        return False


def looked_at(files: Files, posted: list) -> dict[str, Person]:
    files.run(OneLook())
    return next(told.people for told in reversed(posted) if isinstance(told, RosterRead))


def test_the_gate_follows_the_list_as_it_follows_the_roster(tmp_path):
    text = (Path(__file__).resolve().parent.parent / "config" / "gate.toml").read_text(encoding="utf-8")
    text = text.replace('uplink_dir = "/var/lib/sentinel/uplink"', f'state_dir = "{tmp_path}"')
    (tmp_path / "gate.toml").write_text(text, encoding="utf-8")
    settings = load(tmp_path / "gate.toml")
    vault = Vault.open(tmp_path / "secrets", create=True)
    template = roster.Template(model="m", vector=bytes(512), consent="paper 1", made_at="2026-11-22T00:00:00+00:00")
    anna = roster.Member(token="anna", name="Anna", number="11010519491231002X", templates=(template,))
    roster.publish(settings.paths.roster, {"anna": anna}, vault)
    posted: list = []
    files = Files(settings, vault, NothingSpooled(), posted.append, date.today)
    assert not looked_at(files, posted)["anna"].step_up
    stepup.publish(settings.paths.alike, StepUp(tokens=frozenset({"anna"})), model="m", similarity=0.5)
    assert looked_at(files, posted)["anna"].step_up, "though the roster is the same"
