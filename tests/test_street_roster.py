"""A roster of the street: taken whole or not at all, and what only this gate keeps of people stays as it was sealed."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel import roster, roster_reading, street_roster
from sentinel.core.consent import ConsentGiven, Giver
from sentinel.core.errors import DataError
from sentinel.core.rights import Window
from sync.vault import Vault

A, B, C = "11010519491231002X", "810000199001010027", "E12345678"
HOUSE = Path(__file__).parents[1]


def lines(*people: dict, exclusive: bool = False) -> bytes:
    return "\n".join(json.dumps(one, ensure_ascii=False) for one in ({"exclusive": exclusive}, *people)).encode()


def person(number: str, name: str = "样本", **more) -> dict:
    return {"number": number, "name": name, **more}


class Box:
    """A gate's roster, and what was recorded of those who left."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "roster.db"
        self.vault = Vault.open(folder / "secrets", create=True)
        self.left: list[street_roster.Leaver] = []

    def take(self, content: bytes, *, whole: bool = True) -> street_roster.Counts:
        said = street_roster.parse(content, self.vault.token, whole=whole)
        return street_roster.merge(self.path, said, self.vault, self.left.append)

    def members(self) -> dict[str, roster.Member]:
        return {member.number: member for member in roster.load_all(self.path, self.vault).values()}

    def enrol(self, number: str, name: str = "样本", **more) -> roster.Member:
        """Add a person locally, with a face and a consent."""
        token = self.vault.token(number)
        template = roster.Template(
            model="m", vector=bytes(range(256)), consent="paper 1", made_at="2026-11-22T00:00:00+00:00", id=token[:12],
            source="picture", has_picture=True,
        )  # fmt: skip
        given = ConsentGiven(
            ref="paper 1", by=Giver.SELF, on=date(2026, 11, 22), purpose="this gate", keep_picture=True
        )
        known = roster.load_all(self.path, self.vault)
        member = known.get(token, roster.Member(token=token, name=name, number=number))
        member = replace(member, templates=(template,), consent=given, **more)
        roster.publish(self.path, {**known, token: member}, self.vault, {token[:12]: b"picture"})
        return member

    def sealed_faces(self) -> list:
        with closing(sqlite3.connect(self.path)) as db:
            return sorted(db.execute("SELECT token, vector, vector_key FROM templates")) + sorted(
                db.execute("SELECT * FROM pictures")
            )


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def test_people_of_the_street_come_with_their_rights(box):
    week = {"days": [1, 2], "from": "07:00", "until": "20:00", "lanes": ["lane-1"]}
    counts = box.take(lines(person(A, windows=[week], valid_from="2026-01-01"), person(B, allowed=False)))
    assert counts == street_roster.Counts(people=2, added=2, changed=0, removed=0)
    people = roster_reading.people(box.path, box.vault)
    first = people[box.vault.token(A)]
    assert first.windows == (Window(days=(1, 2), from_min=420, until_min=1200, lanes=("lane-1",)),)
    assert first.valid_from == date(2026, 1, 1)
    assert not people[box.vault.token(B)].allowed
    assert people == {token: member.person for token, member in roster.load(box.path, box.vault).items()}


def test_faces_pictures_and_consents_of_who_stays_are_not_even_sealed_anew(box):
    box.take(lines(person(A), person(B)))
    box.enrol(A)
    before, consent = box.sealed_faces(), box.members()[A].consent
    counts = box.take(lines(person(A, "样本新名"), person(B)))
    assert (counts.changed, box.left) == (1, [])
    assert box.sealed_faces() == before
    assert box.members()[A].consent == consent
    assert box.members()[A].name == "样本新名"


def test_who_leaves_loses_face_and_picture_and_that_is_recorded_first(box):
    box.take(lines(person(A), person(B)))
    box.enrol(A)
    counts = box.take(lines(person(B)))
    assert counts.removed == 1
    assert box.left == [street_roster.Leaver(token=box.vault.token(A), templates=1)]
    assert set(box.members()) == {B}
    assert box.sealed_faces() == []


def test_a_removal_that_cannot_be_recorded_leaves_everything_as_it_was(box):
    box.take(lines(person(A), person(B)))
    box.enrol(A)
    before = box.path.read_bytes()

    def refuse(_leaver):
        raise OSError("the disk is full")

    said = street_roster.parse(lines(person(B)), box.vault.token, whole=True)
    with pytest.raises(OSError, match="full"):
        street_roster.merge(box.path, said, box.vault, refuse)
    assert box.path.read_bytes() == before


def test_a_new_file_that_cannot_be_made_leaves_the_old_one_and_says_so(box):
    box.take(lines(person(A)))
    said = street_roster.parse(lines(person(B)), box.vault.token, whole=True)

    def full(_leaver):
        raise sqlite3.OperationalError("database or disk is full")

    box.enrol(A)
    before = box.path.read_bytes()
    with pytest.raises(DataError, match="make room"):
        street_roster.merge(box.path, said, box.vault, full)
    assert box.path.read_bytes() == before


def test_whom_staff_added_survive_unless_the_street_says_it_is_the_only_one(box):
    box.enrol(C)
    box.take(lines(person(A)))
    assert set(box.members()) == {A, C}
    box.take(lines(person(A), exclusive=True))
    assert set(box.members()) == {A}
    assert [leaver.token for leaver in box.left] == [box.vault.token(C)]


def test_a_change_adds_changes_and_removes_and_touches_nobody_else(box):
    box.enrol(C)
    box.take(lines(person(A), person(B)))
    counts = box.take(lines({"remove": A}, person(B, valid_until="2030-01-01"), person("E99999999")), whole=False)
    assert counts == street_roster.Counts(people=3, added=1, changed=1, removed=1)
    assert set(box.members()) == {B, C, "E99999999"}
    again = box.take(lines({"remove": A}, person(B, valid_until="2030-01-01"), person("E99999999")), whole=False)
    assert again == street_roster.Counts(people=3, added=0, changed=0, removed=0)


def test_what_staff_change_locally_keeps_the_rights_the_street_gave(box):
    box.take(lines(person(A, windows=[{"days": [1]}])))
    box.enrol(A)
    assert box.members()[A].windows == (Window(days=(1,), from_min=0, until_min=1440),)
    box.take(lines())
    assert box.members() == {}, "the street named this person, so the street can take them away"


def test_one_person_is_blocked_and_keeps_everything_else(box):
    box.take(lines(person(A), person(B)))
    box.enrol(A)
    before = box.members()[A]
    assert street_roster.block(box.path, box.vault.token(A), box.vault).changed == 1
    after = box.members()[A]
    assert not after.allowed
    assert (after.templates, after.consent, after.of_street) == (before.templates, before.consent, True)
    assert street_roster.block(box.path, box.vault.token(C), box.vault).changed == 0


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b'{"exclusive": 1}', b'{"people": []}', lines({}), lines(person("110105194912310021")),
        lines(person(A, "")), lines(person(A, allowed=1)), lines(person(A), person(A.lower())), lines({"remove": A}),
        lines(person(A, valid_from="soon")), lines(person(A, windows=[{"days": [9]}])), lines(person(A, age=3)),
        lines(person(A)) + b"\n\xff", lines(person(A)) + b"\nnull",
    ],
)  # fmt: skip
def test_lines_that_say_anything_else_are_refused_and_name_nobody(box, content):
    with pytest.raises(ValueError, match=r"line \d") as caught:
        street_roster.parse(content, box.vault.token, whole=True)
    assert A not in str(caught.value)


@given(junk=st.binary(max_size=200))
def test_no_content_whatever_is_an_error_of_ours(tmp_path_factory, junk):
    vault = _vault(tmp_path_factory)
    for content in (junk, b'{"exclusive":false}\n' + junk):
        try:
            said = street_roster.parse(content, vault.token, whole=True)
        except ValueError:
            continue
        assert said.people == {}


def _vault(factory, kept=[]):  # noqa: B006 - one vault for all examples
    if not kept:
        kept.append(Vault.open(factory.mktemp("vault") / "secrets", create=True))
    return kept[0]


KILLED = """
import os, signal, sys
from pathlib import Path
from sentinel import street_roster
from sync.vault import Vault
folder, at = Path(sys.argv[1]), int(sys.argv[2])
count = 0
def trace(frame, event, arg):
    global count
    if "street_roster" in frame.f_code.co_filename or frame.f_code.co_filename.endswith("sentinel/roster.py"):
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace
vault = Vault.open(folder / "secrets", create=False)
content = sys.stdin.buffer.read()
sys.settrace(trace)
said = street_roster.parse(content, vault.token, whole=True)
street_roster.merge(folder / "roster.db", said, vault, lambda leaver: None)
"""


@pytest.mark.parametrize("at", [5, 150, 240, 270, 300, 330, 360, 390, 420])
def test_a_kill_9_anywhere_leaves_the_old_roster_or_the_new_one(box, at):
    box.take(lines(person(A), person(B)))
    box.enrol(A)
    before = box.members()
    env = {**os.environ, "PYTHONPATH": str(HOUSE)}
    command = [sys.executable, "-c", KILLED, str(box.path.parent), str(at)]
    subprocess.run(command, input=lines(person(B), person(C)), env=env, check=False, cwd=HOUSE)
    now = box.members()
    assert now == before or set(now) == {B, C}
    box.take(lines(person(B), person(C)))
    assert set(box.members()) == {B, C}, "and the same document can be applied again"
