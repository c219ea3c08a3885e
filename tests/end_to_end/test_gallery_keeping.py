"""Templates by hand, end to end: sheets with folders, quarantine, "this was not me", archives, another model."""

import csv
import dataclasses
import json
import shutil
from datetime import date, timedelta

import pytest

from sentinel import roster
from sentinel.core.citizen import check_digit
from sentinel.enrol_lines import COLUMNS
from sentinel.rehearsal import Rehearsal, synthetic_person
from sync.entry import Draft
from sync.ledger import LedgerWriter
from sync.vault import Vault

from .conftest import number_of
from .test_people import add, listed

pytestmark = [pytest.mark.models, pytest.mark.timeout(120)]

CONSENT = "paper 7,self,2020-01-01,opening this gate"
CHILD = f"{(first17 := f'990101{date.today().year - 10}0101001')}{check_digit(first17)}"


@pytest.fixture
def quiet(tmp_path_factory, models_dir):
    """A gate of which no process runs: the roster can be kept all the same."""
    return Rehearsal(tmp_path_factory.mktemp("q"), models_dir=models_dir)


@pytest.fixture
def sheet(tmp_path, faces_dir):
    """A folder of pictures with a sheet beside it, to be filled."""
    folder = tmp_path / "pictures"
    shutil.copytree(faces_dir, folder)
    (folder / "broken.jpg").write_bytes(b"this is no picture")

    def fill(*rows):
        path = tmp_path / "people.csv"
        path.write_text("\n".join([",".join(COLUMNS), *rows]), encoding="utf-8")
        return ("people", "add", "--csv", str(path), "--folder", str(folder), "--report", str(tmp_path / "report.csv"))

    return fill


def report(tmp_path):
    with open(tmp_path / "report.csv", encoding="utf-8-sig", newline="") as file:
        return [(int(row["line"]), row["outcome"], row["reason"]) for row in csv.DictReader(file)]


def entries(stage, *kinds):
    with stage.reader() as reader:
        return [entry.data | {"kind": entry.kind} for entry in reader.after(None, 1000) if entry.kind in kinds]


def members(stage):
    vault = Vault.open(stage.directory / "secrets")
    return roster.load_all(stage.directory / "state" / "roster.db", vault)


def row(name, number, pictures, consent=CONSENT, guardian="", keep=""):
    return f"{name},{number},{pictures},{consent},{guardian},{keep},,,"


def test_a_sheet_enrols_whom_it_can_and_reports_each_file_it_cannot_use(quiet, sheet, tmp_path):
    command = sheet(
        row("样本甲", number_of(1), "obama.jpg;obama2.jpg;obama.jpg;biden.jpg;broken.jpg"),
        row("样本乙", number_of(3), "none.jpg"),
        row("样本丙", CHILD, "person_b_1.jpg"),
        row("样本丙", CHILD, "person_b_1.jpg", "paper 8,guardian,2026-01-01,opening this gate", "样本监护人"),
        row("样本丁", number_of(7), ""),
    )
    expected = [
        (2, "picture-refused", "unreadable"),
        (2, "picture-refused", "duplicate"),
        (2, "picture-refused", "other-person"),
        (3, "picture-refused", "missing"),
        (3, "refused", "no-picture-serves"),
        (4, "refused", "line"),
    ]
    dry = quiet.ctl(*command, "--dry-run")
    assert dry.returncode == 65, dry.stderr
    assert "would be added" in dry.stderr
    assert sorted(report(tmp_path)) == sorted(expected)
    assert not (quiet.directory / "state" / "roster.db").exists()

    done = quiet.ctl(*command)
    assert done.returncode == 65, done.stderr
    assert "5 of 5: 3 added, 2 refused" in done.stderr
    assert sorted(report(tmp_path)) == sorted(expected)
    assert {person["name"]: person["templates"] for person in listed(quiet)} == {"样*甲": 2, "样*丙": 1, "样*丁": 0}
    for secret in (number_of(1), CHILD, "样本甲", "样本监护人"):
        assert secret not in done.stdout + done.stderr + (tmp_path / "report.csv").read_text("utf-8-sig")

    told = entries(quiet, "consent")
    assert [(entry["act"], entry["by"], entry["templates"]) for entry in told] == [
        ("enrolled", "self", 2),
        ("enrolled", "guardian", 1),
    ]
    assert "样本监护人" not in str(told)
    child = next(person for person in listed(quiet) if person["name"] == "样*丙")
    assert date.fromisoformat(child["expires"]) <= date.today() + timedelta(days=365)


def test_a_consent_that_is_not_told_whole_enrols_nobody(quiet, faces_dir):
    person = synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"])
    for consent in ("paper 1", {"ref": "paper 1"}, {**person["consent"], "by": "guardian"}, None):
        done = add(quiet, {**person, "consent": consent})
        assert done.returncode == 65
        assert "consent" in done.stderr
    assert listed(quiet) == []


def test_somebody_elses_pictures_stay_in_quarantine_until_a_verb(quiet, faces_dir):
    add(quiet, synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg", faces_dir / "obama2.jpg"]))
    done = add(quiet, synthetic_person("样本乙", number_of(3), [faces_dir / "obama3.jpg"]))
    assert done.returncode == 0, done.stderr
    (held,) = quiet.ctl_json("people", "quarantine")["templates"]
    first, second = listed(quiet)
    assert (held["token"], held["other"]) == (second["token"], first["token"])
    assert (second["templates"], second["quarantined"], second["hints"]) == (0, 1, ["quarantined"])

    assert quiet.ctl("people", "release", second["token"][:8]).returncode == 0
    assert [person["templates"] for person in listed(quiet)] == [2, 1]
    assert quiet.ctl("people", "check").returncode == 1, "whom staff released is still found by who looks at all"
    assert quiet.ctl("people", "drop", second["token"][:8]).returncode == 64, "there is nothing to drop any more"
    told = [(entry["act"], entry["reason"], entry.get("other")) for entry in entries(quiet, "template")]
    assert told == [("quarantined", "closer-to-other", first["token"]), ("released", "by-staff", first["token"])]


def passage_of(stage, member, **changes):
    """Write the passage of somebody who was taken for this person; return its key."""
    body = {"outcome": "open", "person": member.token, "face_model": member.templates[0].model, "similarity": 0.6}
    with LedgerWriter.open(stage.directory / "state" / "ledger.db", vault=None) as ledger:
        return str(ledger.append(Draft(kind="passage", version=1, body={**body, **changes}), 5.0).key)


def test_this_was_not_me_sets_aside_what_can_have_matched_and_says_for_which_passage(quiet, faces_dir):
    person = synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg", faces_dir / "obama2.jpg"])
    add(quiet, person)
    (member,) = members(quiet).values()
    by_card = passage_of(quiet, member, similarity=None)
    assert quiet.ctl("people", "not-me", by_card).returncode == 64
    key = passage_of(quiet, member, face_template=member.templates[0].id)
    assert quiet.ctl("people", "not-me", key).returncode == 0
    assert [one.id for one in members(quiet)[member.token].templates] == [member.templates[1].id]

    other = passage_of(quiet, member)
    assert quiet.ctl("people", "not-me", other).returncode == 0
    (person_now,) = listed(quiet)
    assert (person_now["templates"], person_now["quarantined"]) == (0, 2)
    told = [(entry["act"], entry["reason"], entry["after"], entry["left"]) for entry in entries(quiet, "template")]
    assert told == [("quarantined", "not-me", key, 1), ("quarantined", "not-me", other, 0)]

    again = add(quiet, {**person, "pictures": [*person["pictures"], str(faces_dir / "obama3.jpg")]})
    assert again.returncode == 0
    assert again.stderr.count("a stranger was taken for this person") == 2
    assert [(one["templates"], one["quarantined"]) for one in listed(quiet)] == [(1, 2)]


def test_an_archive_moves_people_to_another_site_whole_or_not_at_all(quiet, tmp_path_factory, models_dir, faces_dir):
    pictures = [faces_dir / "obama.jpg", faces_dir / "obama2.jpg"]
    person = synthetic_person("样本甲", number_of(1), pictures)
    add(quiet, {**person, "consent": {**person["consent"], "keep_picture": True}})
    add(quiet, synthetic_person("样本丁", number_of(7)))
    folder = tmp_path_factory.mktemp("a")
    archive, phrase = str(folder / "gallery.sga"), folder / "phrase.txt"
    phrase.write_text("korrekt horse battery\n")
    secret = ("--passphrase-file", str(phrase))
    done = quiet.ctl("people", "export", archive, *secret, "--with-pictures")
    assert done.returncode == 0, done.stderr
    assert quiet.ctl("people", "export", archive, *secret).returncode == 64, "an archive is never written over"

    other = Rehearsal(tmp_path_factory.mktemp("o"), models_dir=models_dir)
    add(other, synthetic_person("样本戊", number_of(9)))
    refused = other.ctl("people", "import", archive, *secret, "--yes")
    assert refused.returncode == 65
    signer = quiet.ctl("people", "signer").stdout.strip()
    assert signer in refused.stderr

    shown = other.ctl_json("people", "import", archive, *secret, "--signer", signer)
    assert (shown["dry_run"], shown["new"], shown["known"]) == (True, 2, 0)
    assert len(listed(other)) == 1
    assert other.ctl("people", "import", archive, *secret, "--signer", signer, "--yes").returncode == 0
    assert sorted(one["templates"] for one in listed(other)) == [0, 0, 2]
    assert {one["token"] for one in listed(other)}.isdisjoint({one["token"] for one in listed(quiet)})
    moved = next(one for one in members(other).values() if one.templates)
    kept = roster.pictures(
        other.directory / "state" / "roster.db",
        Vault.open(other.directory / "secrets"),
        [one.id for one in moved.templates],
    )
    assert len(dict(kept)) == 2
    acts = [(entry["kind"], entry["act"]) for entry in entries(other, "consent", "gallery")]
    assert acts == [("consent", "imported"), ("gallery", "imported")]
    assert [entry["act"] for entry in entries(quiet, "gallery")] == ["exported"]
    (told,) = entries(other, "gallery")
    assert (told["people"], told["templates"], told["pictures"]) == (2, 2, 2)
    assert told["sha256"] == entries(quiet, "gallery")[0]["sha256"]


def test_another_model_makes_anew_what_was_kept_and_names_the_others(quiet, faces_dir):
    kept = synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg", faces_dir / "obama2.jpg"])
    add(
        quiet,
        {**kept, "consent": {**kept["consent"], "keep_picture": True}},
        synthetic_person("样本乙", number_of(3), [faces_dir / "biden.jpg"]),
    )
    before = members(quiet)
    of_another_model = {
        token: dataclasses.replace(
            one, templates=tuple(dataclasses.replace(template, model="older") for template in one.templates)
        )
        for token, one in before.items()
    }
    roster.publish(quiet.directory / "state" / "roster.db", of_another_model, Vault.open(quiet.directory / "secrets"))

    shown = quiet.ctl_json("people", "re-embed")
    assert (shown["dry_run"], len(shown["renewed"])) == (True, 1)
    assert members(quiet) == of_another_model
    done = quiet.ctl_json("people", "re-embed", "--yes")
    (again,) = done["enrol_again"]
    assert again["name"] == "样*乙"
    after = members(quiet)
    for token, one in before.items():
        models = {template.model for template in after[token].templates}
        assert models == ({"older"} if token == again["token"] else {one.templates[0].model})
        assert [t.id for t in after[token].templates] == [t.id for t in one.templates]
    assert [(entry["act"], entry["templates"]) for entry in entries(quiet, "template")] == [("re-embedded", 2)]


def test_an_enrolment_keeps_no_picture_without_consent_and_only_the_face_with_it(quiet, faces_dir):
    add(quiet, synthetic_person("样本乙", number_of(3), [faces_dir / "biden.jpg"]))
    person = synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"])
    add(quiet, {**person, "consent": {**person["consent"], "keep_picture": True}})
    ids = [template.id for one in members(quiet).values() for template in one.templates]
    path = quiet.directory / "state" / "roster.db"
    found = dict(roster.pictures(path, Vault.open(quiet.directory / "secrets"), ids))
    assert len(found) == 1
    assert all(data not in path.read_bytes() for data in found.values())
    add(quiet, {"name": "样本甲", "number": number_of(1), "pictures": []})
    assert dict(roster.pictures(path, Vault.open(quiet.directory / "secrets"), ids)) == {}


def camera_shows(stage, *pictures):
    """Let the gate's camera show these pictures over and over, half a second each."""
    folder = stage.directory / "shown"
    folder.mkdir()
    for number, picture in enumerate(pictures):
        shutil.copy(picture, folder / f"{number}.jpg")
    settings = stage.config.read_text()
    source = next(line for line in settings.splitlines() if line.startswith("source") and "camera" in line)
    stage.config.write_text(settings.replace(source, f'source = "folder://{folder}?fps=2&loop=1"'))


def test_the_camera_enrols_who_stands_before_it_and_refuses_who_came_by(quiet, faces_dir):
    camera_shows(quiet, *(faces_dir / name for name in ("obama.jpg", "obama2.jpg", "impostor_2.jpg", "obama3.jpg")))
    person = synthetic_person("样本甲", number_of(1))
    del person["pictures"]
    two = "\n".join(json.dumps(line) for line in (person, person))
    assert quiet.ctl("people", "add", "--camera", stdin=two).returncode == 65
    done = quiet.ctl("people", "add", "--camera", stdin=json.dumps(person))
    assert done.returncode == 0, done.stderr
    assert "somebody else than the other pictures" in done.stderr
    (member,) = members(quiet).values()
    assert {template.source for template in member.templates} == {"camera"}
    assert len(member.templates) == 3


def test_a_gate_without_a_decoder_enrols_nobody_by_card(quiet):
    person = synthetic_person("样本甲", number_of(1))
    del person["pictures"]
    done = quiet.ctl("people", "add", "--card", stdin=json.dumps(person))
    assert done.returncode == 78
    assert "photo_decoder" in done.stderr
    assert quiet.ctl("people", "add", "--card", "--camera", stdin=json.dumps(person)).returncode == 64
    assert listed(quiet) == []


def test_another_face_under_a_known_number_is_not_used_until_somebody_looked(quiet, faces_dir):
    person = synthetic_person("样本甲", number_of(1), [faces_dir / "obama.jpg"])
    add(quiet, person)
    done = add(quiet, {**person, "pictures": [str(faces_dir / "biden.jpg")]})
    assert "unlike this person's face before" in done.stderr
    (now,) = listed(quiet)
    assert (now["templates"], now["quarantined"]) == (0, 1)
    assert [entry["reason"] for entry in entries(quiet, "template")] == ["unlike-before"]
