"""A published roster becomes vision's gallery: whole, of one model only, and without a name."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import date
from itertools import zip_longest

import numpy as np
import pytest

from recognition.errors import GalleryMismatch
from sentinel import roster, roster_reading
from sentinel.gallery_watch import GalleryWatch, read_gallery
from sync.vault import Vault

ANNA, BERT = np.eye(4, dtype="<f4")[:2]


@pytest.fixture
def vault(tmp_path):
    return Vault.open(tmp_path / "secrets", create=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "roster.db"


@pytest.fixture
def watch(path, vault):
    return GalleryWatch(path, vault, "m1")


def member(token, *vectors, model="m1", ids=()):
    known = {"model": model, "consent": "paper 1", "made_at": "2026-11-22T00:00:00+00:00"}
    templates = tuple(
        roster.Template(**known, vector=vector.tobytes(), id=id_)
        for vector, id_ in zip_longest(vectors, ids, fillvalue="")
    )
    return roster.Member(token=token, name="样本", number=token, templates=templates)


def publish(path, vault, *members):
    roster.publish(path, {member.token: member for member in members}, vault)


def taken(watch):
    watch.look()
    return watch.take()


def test_everybody_with_a_template_is_in_the_gallery_and_each_with_all_of_them(path, vault):
    publish(path, vault, member("b", BERT), member("a", ANNA, -ANNA), member("card-only"))
    gallery = read_gallery(path, vault, "m1")
    assert (gallery.people_count, gallery.template_count) == (2, 3)
    assert gallery.similarity_to("a", -ANNA) == pytest.approx(1)
    assert gallery.closest(BERT, 1) == [("b", pytest.approx(1))]


def test_templates_of_another_model_are_never_compared(path, vault):
    publish(path, vault, member("a", ANNA, model="m0"), member("b", BERT))
    gallery = read_gallery(path, vault, "m1")
    assert gallery.similarity_to("a", ANNA) is None
    assert gallery.model == "m1"


def test_each_template_brings_the_id_that_the_roster_has_of_it(path, vault):
    publish(path, vault, member("b", BERT, ids=["00aa00bb00cc"]), member("a", ANNA, -ANNA, ids=["1" * 12, "2" * 12]))
    gallery = read_gallery(path, vault, "m1")
    assert [gallery.template_like("a", vector) for vector in (ANNA, -ANNA)] == ["1" * 12, "2" * 12]
    assert gallery.template_like("b", BERT) == "00aa00bb00cc"


@pytest.mark.parametrize("strange", ["", "no id at all", "AABBCCDDEEFF", "aabbccddee", "aabbccddeeff00"])
def test_an_id_of_another_form_is_never_shortened_to_somebody_elses(path, vault, strange):
    publish(path, vault, member("a", ANNA, BERT, ids=[strange, "1" * 12]))
    gallery = read_gallery(path, vault, "m1")
    assert [gallery.template_like("a", vector) for vector in (ANNA, BERT)] == ["", "1" * 12]


def test_a_template_from_before_there_were_ids_has_the_same_one_for_gallery_and_quarantine(path, vault):
    publish(path, vault, member("a", ANNA))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE quarantine")
        for column in ("id", "source", "quality", "expires", "picture"):
            db.execute(f"ALTER TABLE templates DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
    (kept,) = roster.load_all(path, vault)["a"].templates
    assert read_gallery(path, vault, "m1").template_like("a", ANNA) == kept.id != ""


def test_a_template_is_used_up_to_its_last_day_and_no_longer(path, vault):
    publish(path, vault, member("a", ANNA), member("b", BERT))
    with closing(sqlite3.connect(path)) as db, db:
        if "expires" not in {row[1] for row in db.execute("PRAGMA table_info(templates)")}:
            db.execute("ALTER TABLE templates ADD COLUMN expires TEXT")
        db.execute("UPDATE templates SET expires = '2027-03-31' WHERE token = 'a'")
    for day, people in ((date(2027, 3, 31), 2), (date(2027, 4, 1), 1)):
        assert read_gallery(path, vault, "m1", day).people_count == people
        assert sum(one.has_face for one in roster_reading.people(path, vault, day).values()) == people


def test_a_gate_without_a_roster_has_an_empty_gallery(watch):
    assert taken(watch).people_count == 0
    assert taken(watch) is None, "nothing changed"


def test_who_is_added_is_found_and_who_is_deleted_is_not(watch, path, vault):
    publish(path, vault, member("a", ANNA))
    assert taken(watch).people_count == 1
    publish(path, vault, member("a", ANNA), member("b", BERT))
    assert taken(watch).similarity_to("b", BERT) == pytest.approx(1)
    publish(path, vault, member("b", BERT))
    gallery = taken(watch)
    assert gallery.similarity_to("a", ANNA) is None
    assert gallery.closest(ANNA, 1) == [("b", pytest.approx(0))]
    path.unlink()
    assert taken(watch).people_count == 0


def test_a_roster_is_read_once(watch, path, vault):
    publish(path, vault, member("a", ANNA))
    assert taken(watch) is not None
    assert taken(watch) is None


def test_only_the_newest_gallery_is_handed_over(watch, path, vault):
    publish(path, vault, member("a", ANNA))
    watch.look()
    publish(path, vault)
    assert taken(watch).people_count == 0
    assert watch.take() is None


def test_a_damaged_roster_leaves_the_gallery_as_it_was_until_it_is_mended(watch, path, vault, caplog):
    publish(path, vault, member("a", ANNA))
    assert taken(watch) is not None
    path.write_bytes(b"this is no database" * 100)
    assert taken(watch) is None
    assert taken(watch) is None
    assert caplog.text.count("the gallery stays as it was") == 1
    publish(path, vault, member("a", ANNA), member("b", BERT))
    assert taken(watch).people_count == 2


def test_a_roster_whose_key_is_gone_leaves_the_gallery_as_it_was(watch, path, vault, caplog):
    publish(path, vault, member("a", ANNA))
    for name in vault.names():
        vault.destroy(name)
    assert taken(watch) is None
    assert "there is no key" in caplog.text


@pytest.mark.parametrize("vector", [np.ones(3, "<f4"), np.zeros(4, "<f4"), np.ones(15, np.uint8)])
def test_a_template_that_cannot_be_compared_is_refused(path, vault, vector):
    damaged = member("a", vector)
    publish(path, vault, damaged, member("b", BERT))
    with pytest.raises(GalleryMismatch, match="enrol again"):
        read_gallery(path, vault, "m1")


def test_nothing_personal_is_logged(watch, path, vault, caplog):
    caplog.set_level("DEBUG")
    publish(path, vault, replace(member("8c1e5f20", ANNA), name="样本甲"))
    watch.look()
    assert "8c1e5f20" not in caplog.text
    assert "样本" not in caplog.text
    assert "1 people, 1 templates" in caplog.text


def test_the_thread_hands_over_what_is_published_while_it_runs(watch, path, vault):
    galleries = watch.start()
    assert galleries.take().people_count == 0, "the first gallery is there before the first picture"
    publish(path, vault, member("a", ANNA))
    while (gallery := galleries.take()) is None:
        pass
    assert gallery.people_count == 1
    galleries.stop()
