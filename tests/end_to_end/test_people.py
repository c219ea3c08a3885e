"""The roster by hand: consent before template, reasons for every refusal, and removal that leaves a record."""

import json

import pytest

from sentinel.rehearsal import Rehearsal, synthetic_person

from .conftest import number_of

pytestmark = [pytest.mark.models, pytest.mark.timeout(120)]


@pytest.fixture
def quiet(tmp_path_factory, models_dir):
    """A gate of which no process runs: the roster can be kept all the same."""
    return Rehearsal(tmp_path_factory.mktemp("q"), models_dir=models_dir)


def add(stage, *people):
    lines = "\n".join(json.dumps(person, ensure_ascii=False) for person in people)
    return stage.ctl("people", "add", "--from", "-", stdin=lines)


def consents(stage):
    with stage.reader() as reader:
        return [(entry.data["act"], entry.data["person"]) for entry in reversed(reader.newest(100, "consent"))]


def test_people_are_added_listed_masked_and_removed_with_a_record(quiet, faces_dir):
    done = add(
        quiet,
        synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg", faces_dir / "obama2.jpg"]),
        synthetic_person("样本丁", number_of(7)),
    )
    assert done.returncode == 0, done.stderr
    listed = quiet.ctl_json("people", "list")["people"]
    assert sorted(person["templates"] for person in listed) == [0, 2]
    assert {person["name"] for person in listed} == {"样*甲", "样*丁"}
    shown = quiet.ctl("people", "list").stdout
    assert number_of(1) not in shown and "样本甲" not in shown
    enrolled = next(person["token"] for person in listed if person["templates"])
    assert consents(quiet) == [("enrolled", enrolled)], "a template needs a consent, a card needs none"

    removed = quiet.ctl("people", "remove", enrolled[:8], "--yes")
    assert removed.returncode == 0, removed.stderr
    assert [person["templates"] for person in quiet.ctl_json("people", "list")["people"]] == [0]
    assert consents(quiet) == [("enrolled", enrolled), ("removed", enrolled)]


def test_each_refused_line_says_why_and_the_others_are_added(quiet, faces_dir, tmp_path):
    (tmp_path / "no.jpg").write_bytes(b"this is no picture")
    done = add(
        quiet,
        {"name": "样本甲", "number": number_of(1), "pictures": [str(faces_dir / "obama.jpg")]},
        {"name": "样本乙", "number": number_of(3), "pictures": [str(tmp_path / "no.jpg")], "consent": "paper 1"},
        {"name": "", "number": number_of(5)},
        ["no object"],
        {"name": "样本己", "number": number_of(9)[:-1] + ("0" if number_of(9)[-1] != "0" else "1")},
        synthetic_person("样本丁", number_of(7)),
    )
    assert done.returncode == 65
    for line, why in enumerate(("consent", "no picture", "name and number", "JSON object", "check digit"), 1):
        told = next(said for said in done.stderr.splitlines() if said.startswith(f"line {line}:"))
        assert why in told
    assert [person["name"] for person in quiet.ctl_json("people", "list")["people"]] == ["样*丁"]


def test_nothing_is_removed_without_a_yes(quiet):
    add(quiet, synthetic_person("样本丁", number_of(7)))
    token = quiet.ctl_json("people", "list")["people"][0]["token"]
    assert quiet.ctl("people", "remove", token).returncode == 64
    assert quiet.ctl("people", "remove", "ffffff", "--yes").returncode == 64
    assert len(quiet.ctl_json("people", "list")["people"]) == 1


def test_models_are_listed_with_their_licences_and_verified(quiet):
    listed = quiet.ctl_json("models", "list")["models"]
    assert {model["state"] for model in listed} == {"present"}
    assert {model["licence"].split(";")[0] for model in listed} == {"MIT", "Apache-2.0"}
    assert quiet.ctl("models", "verify").returncode == 0


def test_missing_models_are_named_with_the_command_that_brings_them(quiet, tmp_path):
    done = quiet.ctl("models", "verify", "--models-dir", str(tmp_path))
    assert done.returncode == 78
    assert "sentinelctl models fetch" in done.stderr
    assert "Traceback" not in done.stderr


def test_models_from_a_folder_need_no_network(quiet, models_dir, tmp_path):
    assert quiet.ctl("models", "add", str(models_dir), "--models-dir", str(tmp_path)).returncode == 0
    assert quiet.ctl("models", "verify", "--models-dir", str(tmp_path)).returncode == 0
