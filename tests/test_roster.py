"""The roster: whole or not at all, and nothing in the file names anybody."""

import sqlite3
from datetime import date

import pytest

from sentinel import roster, roster_reading
from sentinel.core.errors import DataError
from sync.vault import Vault

VECTOR = bytes(range(256)) * 2


@pytest.fixture
def vault(tmp_path):
    return Vault.open(tmp_path / "secrets", create=True)


def member(vault, name="样本甲", number="11010519491231002X", **changes):
    template = roster.Template(model="m1", vector=VECTOR, consent="paper 1", made_at="2026-11-22T00:00:00+00:00")
    known = {"token": vault.token(number), "name": name, "number": number, "templates": (template,), **changes}
    return roster.Member(**known)


def test_what_is_published_is_what_is_loaded(tmp_path, vault):
    path = tmp_path / "roster.db"
    a, b = member(vault), member(vault, "样本乙", "810000199001010027", templates=(), valid_until=date(2030, 1, 2))
    roster.publish(path, {a.token: a, b.token: b}, vault)
    assert roster.load(path, vault) == {a.token: a, b.token: b}
    person = roster.load(path, vault)[a.token].person
    assert person.has_face
    assert person.number_masked == "110105********002X"


def test_a_running_gate_reads_the_same_people_without_their_templates(tmp_path, vault):
    path = tmp_path / "roster.db"
    a = member(vault, allowed=False)
    b = member(vault, "样本乙", "E12345678", templates=(), valid_until=date(2030, 1, 2))
    roster.publish(path, {a.token: a, b.token: b}, vault)
    loaded = roster.load(path, vault)
    assert roster_reading.people(path, vault) == {token: known.person for token, known in loaded.items()}


def test_no_roster_yet_is_an_empty_roster(tmp_path, vault):
    assert roster.load(tmp_path / "roster.db", vault) == {}
    assert roster_reading.people(tmp_path / "roster.db", vault) == {}
    assert roster.mark_of(tmp_path / "roster.db") is None


def test_the_file_holds_no_name_no_number_and_no_template(tmp_path, vault):
    path = tmp_path / "roster.db"
    roster.publish(path, {"t": member(vault)}, vault)
    raw = path.read_bytes()
    for secret in ("样本甲".encode(), "样本甲".encode("utf-16-le"), b"11010519491231002X", VECTOR[:64]):
        assert secret not in raw


def test_a_publication_changes_the_mark_and_leaves_a_reader_of_the_old_one_whole(tmp_path, vault):
    path = tmp_path / "roster.db"
    roster.publish(path, {"t": member(vault)}, vault)
    before = roster.mark_of(path)
    old = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
    old.execute("SELECT count(*) FROM people").fetchone()
    roster.publish(path, {}, vault)
    assert roster.mark_of(path) != before
    assert old.execute("SELECT count(*) FROM people").fetchone() == (1,)
    old.close()


def test_a_damaged_roster_is_named_and_not_taken_for_an_empty_one(tmp_path, vault):
    path = tmp_path / "roster.db"
    path.write_bytes(b"this is no database" * 100)
    for read in (roster.load, roster_reading.people):
        with pytest.raises(DataError, match=r"roster\.db"):
            read(path, vault)


def test_a_member_never_shows_in_a_repr(vault):
    shown = repr(member(vault)) + repr(member(vault).person)
    assert "样本甲" not in shown
    assert "11010519491231002X" not in shown
