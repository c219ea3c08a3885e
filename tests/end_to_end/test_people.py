"""The roster by hand: consent before template, reasons for every refusal, and removal that leaves a record."""

import json
import subprocess
import sys

import pytest

from sentinel.rehearsal import Rehearsal, synthetic_person

from .conftest import number_of

pytestmark = [pytest.mark.models, pytest.mark.timeout(120)]


@pytest.fixture
def quiet(tmp_path_factory, models_dir):
    """A gate of which no process runs: the roster can be kept all the same."""
    return Rehearsal(tmp_path_factory.mktemp("q"), models_dir=models_dir)


CONSENT = {"ref": "paper 1", "by": "self", "on": "2020-01-01", "purpose": "opening this gate"}


def add(stage, *people):
    lines = "\n".join(json.dumps(person, ensure_ascii=False) for person in people)
    return stage.ctl("people", "add", "--from", "-", stdin=lines)


def listed(stage):
    return stage.ctl_json("people", "list")["people"]


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
    people = listed(quiet)
    assert sorted(person["templates"] for person in people) == [0, 2]
    assert {person["name"] for person in people} == {"样*甲", "样*丁"}
    shown = quiet.ctl("people", "list").stdout
    assert number_of(1) not in shown and "样本甲" not in shown
    enrolled = next(person["token"] for person in people if person["templates"])
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
        {"name": "样本乙", "number": number_of(3), "pictures": [str(tmp_path / "no.jpg")], "consent": CONSENT},
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


D, E = number_of(7), number_of(9)
UNREADABLE = {  # what a line must say when it is refused → the line
    "unknown key 'pictuers'; did you mean 'pictures'?": {"name": "样本戊", "number": E, "pictuers": []},
    "unknown key 'zzz'; the keys are: name, number": {"name": "样本戊", "number": E, "zzz": 1},
    "name: expected text in quotes; not a number": {"name": 5, "number": E},
    "number: expected text in quotes; not a number": {"name": "样本戊", "number": int(E.replace("X", "0"))},
    "number is missing; name and number are needed": {"name": "样本戊", "number": " - "},
    "pictures: expected a list of files": {"name": "样本戊", "number": E, "pictures": 5},
    "pictures: expected text in quotes; not null": {"name": "样本戊", "number": E, "pictures": [None]},
    "pictures holds half a character or a zero byte": {"name": "样本戊", "number": E, "pictures": ["\0"]},
    "consent: expected an object, as in": {"name": "样本戊", "number": E, "consent": True},
    'valid_until: expected a day as in "2027-12-31"': {"name": "样本戊", "number": E, "valid_until": "20271231"},
    "valid_until: there is no such day": {"name": "样本戊", "number": E, "valid_until": "2027-02-29"},
    "valid_until: expected text in quotes; not a number": {"name": "样本戊", "number": E, "valid_until": 20271231},
    "allowed: expected true or false, without quotes; not text": {"name": "样本戊", "number": E, "allowed": "false"},
    "allowed: expected true or false, without quotes; not null": {"name": "样本戊", "number": E, "allowed": None},
    "name holds half a character": {"name": "\ud800", "number": E},
}


def test_a_line_is_taken_as_it_is_written_or_refused_with_its_key(quiet):
    lines = [
        *(json.dumps(line).encode() for line in UNREADABLE.values()),
        json.dumps({"name": "样本戊", "number": E}, ensure_ascii=False).encode("gbk"),
        b"[" * 100_000,
        b'{"name": "A", "name": "B", "number": "1"}',
        json.dumps({"name": "样本丁", "number": D}, ensure_ascii=False).encode(),
    ]
    why = [*UNREADABLE, "the line is not UTF-8; save", "the line is no JSON", "key 'name' stands twice"]
    source = quiet.directory / "people.jsonl"
    source.write_bytes(b"\n".join(lines))
    done = quiet.ctl("people", "add", "--from", str(source))
    assert done.returncode == 65, done.stderr
    told = done.stderr.splitlines()
    for number, words in enumerate(why, 1):
        assert told[number - 1].startswith(f"line {number}: refused: {words}")
    assert "Traceback" not in done.stderr
    assert E not in done.stderr, "a mistake is told by its key, not by what is personal"
    assert [person["name"] for person in listed(quiet)] == ["样*丁"]


def test_what_a_line_leaves_out_stays_as_it_was(quiet, faces_dir):
    person = synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"])
    add(quiet, {**person, "allowed": False, "valid_until": "2027-12-31"})
    assert add(quiet, {"name": "样本改甲", "number": number_of(1)}).returncode == 0
    (kept,) = listed(quiet)
    assert (kept["name"], kept["templates"]) == ("样**甲", 1)
    assert (kept["allowed"], kept["valid_until"]) == (False, "2027-12-31")

    add(quiet, {"name": "样本甲", "number": number_of(1), "allowed": True, "valid_until": "2028-01-01"})
    (changed,) = listed(quiet)
    assert (changed["allowed"], changed["valid_until"], changed["templates"]) == (True, "2028-01-01", 1)
    assert len(consents(quiet)) == 1, "who keeps a template needs no new consent"


def test_an_empty_list_of_pictures_removes_the_templates_with_a_record(quiet, faces_dir):
    add(quiet, synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"]))
    for _ in range(2):
        assert add(quiet, {"name": "样本甲", "number": number_of(1), "pictures": []}).returncode == 0
        (person,) = listed(quiet)
        assert person["templates"] == 0
        token = person["token"]
        assert consents(quiet) == [("enrolled", token), ("removed", token)], "nothing is removed twice"


def test_templates_stay_when_their_removal_cannot_be_recorded(quiet, faces_dir):
    add(quiet, synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"]))
    ledger = quiet.directory / "state" / "ledger.db"
    for path in ledger.parent.glob("ledger.db*"):
        path.unlink()
    ledger.mkdir()
    done = add(quiet, {"name": "样本甲", "number": number_of(1), "pictures": []})
    assert done.returncode == 65
    assert "could not be recorded" in done.stderr
    assert [person["templates"] for person in listed(quiet)] == [1]


def test_missing_models_end_the_run_and_keep_who_came_before(tmp_path_factory, faces_dir):
    bare = Rehearsal(tmp_path_factory.mktemp("b"), models_dir=tmp_path_factory.mktemp("m"))
    done = add(
        bare,
        synthetic_person("样本丁", number_of(7)),
        synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"]),
        synthetic_person("样本戊", number_of(9)),
    )
    assert done.returncode == 78
    assert "sentinelctl models fetch" in done.stderr
    assert "refused:" not in done.stderr
    assert "Traceback" not in done.stderr
    assert [person["name"] for person in listed(bare)] == ["样*丁"]


# Stands where the extra `insightface` is installed: its models answer as the package's do, by the models of opencv-zoo.
MODEL_ZOO = """
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from recognition.pipeline import Pipeline
real = Pipeline.open(Path({models_dir!r}))
def detect(pixels, input_size):
    assert input_size == (640, 640)
    faces = real.detector.detect(pixels)
    boxes = [(f.x, f.y, f.x + f.width, f.y + f.height, f.confidence) for f in faces]
    return np.array(boxes), np.array([f.landmarks for f in faces])
def get_model(path, **options):
    if Path(path).stem.startswith("det_"):
        return SimpleNamespace(taskname="detection", detect=detect)
    return SimpleNamespace(taskname="recognition", input_size=(112, 112), input_mean=127.5, input_std=127.5,
                           get_feat=real.embedder.embed)
"""


@pytest.fixture
def pack(tmp_path, models_dir, monkeypatch):
    """The folder of an InsightFace pack that can be opened."""
    (tmp_path / "insightface").mkdir()
    (tmp_path / "insightface" / "__init__.py").write_text("")
    (tmp_path / "insightface" / "model_zoo.py").write_text(MODEL_ZOO.format(models_dir=str(models_dir)))
    folder = tmp_path / "buffalo_x"
    folder.mkdir()
    for name in ("det_10g.onnx", "w600k_r50.onnx"):
        (folder / name).write_bytes(b"weights")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return folder


def with_pack(stage_dir, models_dir, pack):
    face = f'[face]\npack = "{pack}"\nsimilarity_one_to_many = 0.5\ndetector_width = 640\n\n[fusion]'
    return Rehearsal(stage_dir, models_dir=models_dir, settings={"[fusion]": face})


def test_an_insightface_pack_enrols(tmp_path_factory, models_dir, faces_dir, pack):
    stage = with_pack(tmp_path_factory.mktemp("i"), models_dir, pack)
    done = add(stage, synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"]))
    assert done.returncode == 0, done.stderr
    assert "non-commercial research only" in done.stderr
    with stage.reader() as reader:
        assert reader.newest(1, "consent")[0].data["model"].startswith("insightface-buffalo_x-")


def test_an_insightface_pack_is_prepared_with_its_similarity(models_dir, pack):
    command = [sys.executable, "-m", "sentinel.prepare", "--models-dir", str(models_dir), "--pack", str(pack)]
    done = subprocess.run([*command, "--one-to-many", "0.5"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "insightface-buffalo_x-" in done.stderr
    assert "similarity_one_to_many" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


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
