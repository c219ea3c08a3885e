"""The roster: whole or not at all, and nothing in the file names anybody."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date

import pytest

from sentinel import roster, roster_file, roster_reading
from sentinel.core.consent import ConsentGiven, Giver
from sentinel.core.errors import DataError
from sync.errors import VaultError
from sync.vault import Vault

VECTOR = bytes(range(256)) * 2


@pytest.fixture
def vault(tmp_path):
    return Vault.open(tmp_path / "secrets", create=True)


def template_of(id_, **changes):
    known = {"model": "m1", "vector": VECTOR, "consent": "paper 1", "made_at": "2026-11-22T00:00:00+00:00", "id": id_}
    return roster.Template(**{**known, **changes})


def member(vault, name="样本甲", number="11010519491231002X", **changes):
    template = template_of("000000000001")
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
    mixed = template_of("000000000003", source=roster.CARD_PHOTO), template_of("000000000004", source="picture")
    c = member(vault, "样本丙", "E12345679", templates=mixed)
    roster.publish(path, {one.token: one for one in (a, b, c)}, vault)
    loaded = roster.load(path, vault)
    people = roster_reading.people(path, vault)
    assert people == {token: known.person for token, known in loaded.items()}
    assert [people[one.token].step_up for one in (a, b, c)] == [False, False, True], "a card's photograph names nobody"


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


FIGURES = roster.Figures(face_px=120.0, turn=0.1, sharpness=6.5, brightness=90.0, burnt=0.0)
CONSENT = ConsentGiven(ref="paper 1", by=Giver.GUARDIAN, on=date(2026, 1, 2), purpose="gate", guardian="样本监护人")


def test_expired_and_quarantined_templates_are_kept_and_never_given_for_use(tmp_path, vault):
    path = tmp_path / "roster.db"
    old = template_of("00000000000a", expires=date(2026, 1, 31), source="picture", quality=FIGURES)
    aside = template_of("00000000000b", why="closer-to-other", other=vault.token("X"))
    whole = member(vault, templates=(old, template_of("00000000000c")), quarantined=(aside,), consent=CONSENT)
    roster.publish(path, {whole.token: whole}, vault)
    assert roster.load_all(path, vault) == {whole.token: whole}
    on_the_last_day, after = (roster.load(path, vault, day=date(2026, *day))[whole.token] for day in ((1, 31), (2, 1)))
    assert [template.id for template in on_the_last_day.templates] == ["00000000000a", "00000000000c"]
    assert [template.id for template in after.templates] == ["00000000000c"]
    assert on_the_last_day.quarantined == after.quarantined == ()


def test_who_has_only_expired_templates_has_no_face(tmp_path, vault):
    path = tmp_path / "roster.db"
    gone = member(vault, templates=(template_of("00000000000a", expires=date(2026, 1, 31)),))
    roster.publish(path, {gone.token: gone}, vault)
    assert not roster.load(path, vault, templates=False, day=date(2026, 2, 1))[gone.token].person.has_face


def test_a_program_that_knows_only_the_old_columns_never_reads_the_quarantine(tmp_path, vault):
    path = tmp_path / "roster.db"
    aside = template_of("00000000000b", why="not-me")
    roster.publish(path, {"t": member(vault, quarantined=(aside,))}, vault)
    with closing(sqlite3.connect(path)) as db:
        columns = "token, model, vector, vector_key, consent, made_at"
        assert len(db.execute(f"SELECT {columns} FROM templates ORDER BY rowid").fetchall()) == 1


OLD_SCHEMA = """
CREATE TABLE people (token TEXT PRIMARY KEY, personal BLOB NOT NULL, personal_key TEXT NOT NULL,
    allowed INTEGER NOT NULL, valid_until TEXT);
CREATE TABLE templates (token TEXT NOT NULL REFERENCES people(token), model TEXT NOT NULL,
    vector BLOB NOT NULL, vector_key TEXT NOT NULL, consent TEXT NOT NULL, made_at TEXT NOT NULL);
PRAGMA user_version = 1;
"""


def test_a_roster_of_the_first_schema_is_read_and_goes_on_as_the_present_one(tmp_path, vault):
    path = tmp_path / "roster.db"
    one = member(vault)
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(OLD_SCHEMA)
        key, sealed = vault.seal({"name": one.name, "number": one.number}, "roster", "2026-11-22")
        db.execute("INSERT INTO people VALUES (?, ?, ?, 1, NULL)", (one.token, sealed, key))
        key, sealed = vault.seal_bytes(VECTOR, "template", "2026-11-22")
        row = (one.token, "m1", sealed, key, "paper 1", "2026-11-22T00:00:00+00:00")
        db.execute("INSERT INTO templates VALUES (?, ?, ?, ?, ?, ?)", row)
    before = roster.load_all(path, vault)
    assert roster.load(path, vault) == before
    (template,) = before[one.token].templates
    assert (template.vector, template.expires, len(template.id)) == (VECTOR, None, 12)
    roster.publish(path, before, vault)
    assert roster.load_all(path, vault) == before


def test_a_roster_of_a_later_program_is_refused(tmp_path, vault):
    path = tmp_path / "roster.db"
    roster.publish(path, {}, vault)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="schema 99"):
        roster.load(path, vault)


def test_pictures_are_sealed_and_stay_as_long_as_their_template(tmp_path, vault):
    path = tmp_path / "roster.db"
    kept = member(vault, templates=(template_of("00000000000a", has_picture=True),))
    roster.publish(path, {kept.token: kept}, vault, {"00000000000a": b"a picture in the clear", "00000000000f": b"no"})
    assert b"a picture in the clear" not in path.read_bytes()
    roster.publish(path, roster.load_all(path, vault), vault)
    assert dict(roster.pictures(path, vault, ["00000000000a", "00000000000f"])) == {
        "00000000000a": b"a picture in the clear"
    }
    roster.publish(path, {}, vault)
    roster.publish(path, {kept.token: kept}, vault)
    assert dict(roster.pictures(path, vault, ["00000000000a"])) == {}


def test_the_name_of_a_guardian_is_sealed_too(tmp_path, vault):
    path = tmp_path / "roster.db"
    roster.publish(path, {"t": member(vault, consent=CONSENT)}, vault)
    assert "样本监护人".encode() not in path.read_bytes()
    assert "样本监护人" not in repr(member(vault, consent=CONSENT))


def test_each_person_has_keys_of_their_own_and_they_go_with_the_person(tmp_path, vault):
    path = tmp_path / "roster.db"
    one = member(vault, templates=(template_of("00000000000a", has_picture=True),))
    other = member(vault, token="0" * 32, templates=(template_of("00000000000b"),))
    roster.publish(path, {m.token: m for m in (one, other)}, vault, {"00000000000a": b"a picture"})
    names = {f"{kind}/{one.token}" for kind in roster_file.CLASSES}
    names |= {f"roster/{other.token}", f"template/{other.token}"}
    assert set(vault.names()) == names
    vault.seal({"name": "somebody"}, "passage", "2026-11-22")
    before = path.read_bytes()
    roster.publish(path, {other.token: other}, vault)
    left = {f"roster/{other.token}", f"template/{other.token}", "passage/2026-11-22"}
    assert set(vault.names()) == left, "the one is gone, the other and the passages are not"
    (tmp_path / "old.db").write_bytes(before)
    with pytest.raises(VaultError, match="destroyed"):
        roster.load_all(tmp_path / "old.db", vault)
    bare = replace(other, templates=())
    roster.publish(path, {other.token: bare}, vault)
    assert set(vault.names()) == left - {f"template/{other.token}"}, "who takes the consent back passes by card"


def test_the_keys_of_a_day_that_older_rosters_used_go_with_the_first_publication(tmp_path, vault):
    path, kept = tmp_path / "roster.db", member(vault)
    vault.seal(({"name": "n"}), "roster", "2026-11-01")
    vault.seal_bytes(VECTOR, "template", "2026-11-01")
    roster.publish(path, {kept.token: kept}, vault)
    assert set(vault.names()) == {f"roster/{kept.token}", f"template/{kept.token}"}
