"""A calibration is previewed, refused for bad figures, and signed before it changes anything."""

import json
from datetime import date, timedelta

import pytest

from sentinel.cli import main

GOOD = [35.5, 35.6, 35.5, 35.4, 35.7, 35.5, 35.6, 35.3, 35.5, 35.6]


def run(capfd, config, *words):
    code = main(["--config", str(config), "--lang", "en", "calibrate", *words])
    said = capfd.readouterr()
    return code, said.out, said.err


@pytest.fixture
def readings(tmp_path):
    def write(rows, head="module_celsius,clinical_celsius"):
        path = tmp_path / "pairs.csv"
        path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]), encoding="utf-8")
        return str(path)

    return write


def test_pairs_are_previewed_and_nothing_is_changed(capfd, config, readings):
    code, out, _ = run(capfd, config, "thermal", "--pairs", readings([(value, 36.6) for value in GOOD]))
    assert code == 0
    assert "+1.10 K" in out
    assert "preview" in out


def test_json_is_one_document(capfd, config, readings):
    code, out, _ = run(capfd, config, "thermal", "--json", "--pairs", readings([(value, 36.6) for value in GOOD]))
    said = json.loads(out)
    assert code == 0
    assert (said["offset_celsius"], said["samples"], said["confirmed"]) == (1.1, 10, False)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(35.5, 36.6)] * 9, "too few"),
        ([(34.0, 36.6), (38.0, 36.6)] * 6, "differ too much"),
        ([(32.0, 36.6)] * 12, "more than 3 K"),
        ([(35.5, "warm")], "not two numbers"),
        ([(12.0, 36.6)], "no reading of a living person"),
    ],
)
def test_figures_that_cannot_be_trusted_end_with_65_and_the_reason(capfd, config, readings, rows, says):
    code, _, err = run(capfd, config, "thermal", "--pairs", readings(rows), "--operator", "A", "--confirm")
    assert code == 65
    assert says in err


@pytest.mark.parametrize(
    "words",
    [
        ("thermal", "--black-body", "37", "--confirm"),  # nobody signs
        ("thermal", "--black-body", "90"),
        ("thermal", "--black-body", "37", "--due-days", "0"),
        ("thermal",),
        ("thermal", "--pairs", "/nowhere.csv"),
    ],
)
def test_a_wrong_call_ends_with_64(capfd, config, words):
    assert run(capfd, config, *words)[0] == 64


def test_without_a_gate_a_black_body_cannot_be_looked_at(capfd, config):
    code, _, err = run(capfd, config, "thermal", "--black-body", "37")
    assert code == 69
    assert "control.sock" in err


def test_the_columns_must_be_named(capfd, config, readings):
    code, _, err = run(capfd, config, "thermal", "--pairs", readings([(35.5, 36.6)] * 12, head="a,b"))
    assert code == 65
    assert "module_celsius,clinical_celsius" in err


def test_a_signed_calibration_is_an_entry_with_its_due_day(capfd, config, readings, tmp_path):
    path = readings([(value, 36.6) for value in GOOD])
    code, out, err = run(capfd, config, "thermal", "--pairs", path, "--operator", "LI MING", "--confirm")
    assert code == 0, err
    code, out, err = run(capfd, config, "show", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert (said["signed_by"], said["offset_celsius"], said["method"]) == ("LI MING", 1.1, "pairs")
    assert said["due"] == (date.today() + timedelta(days=180)).isoformat()


def test_without_any_calibration_it_says_how_to_make_one(capfd, config):
    code, _, err = run(capfd, config, "show")
    assert code != 0
    assert err
