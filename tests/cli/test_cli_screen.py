"""The one screen: golden text at a fixed moment, in both languages, and what must hold for any status."""

from dataclasses import replace
from pathlib import Path

import pytest
from cli_sample import BAD, DEAD, EVEN, GOOD, HELD, LAST, LEDGER, TOKEN, WELL, status
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.cli import render
from sentinel.cli.show import EXIT_OF_VERDICT, status_screen
from sentinel.condition import Component, Process, Uplink

GOLDEN = Path(__file__).parent / "golden"
NAMED = {"good": GOOD, "bad": BAD, "dead": DEAD}


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("name", NAMED)
def test_the_screen_is_as_the_golden_text(name, lang):
    screen = "\n".join(status_screen(NAMED[name], lang, render.Style())) + "\n"
    assert screen == (GOLDEN / f"status-{name}-{lang}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "code"), [("good", 0), ("bad", 1), ("dead", 3)])
def test_the_exit_code_is_the_verdict(name, code):
    assert EXIT_OF_VERDICT[NAMED[name].verdict] == code


def test_a_dead_gate_is_said_in_words_in_the_first_line():
    assert "gate process is not running; showing what is on disk" in status_screen(DEAD, "en", render.Style())[0]


def test_plain_is_ascii():
    assert all(line.isascii() for line in status_screen(BAD, "en", render.Style(plain=True)))


def test_colour_changes_no_character():
    painted = "\n".join(status_screen(BAD, "en", render.Style(colour=True)))
    assert "\x1b[" in painted
    for code in ("33", "1;31", "32", "0"):
        painted = painted.replace(f"\x1b[{code}m", "")
    assert painted == "\n".join(status_screen(BAD, "en", render.Style()))


def test_a_person_is_eight_digits_of_a_token():
    screen = "\n".join(status_screen(GOOD, "en", render.Style()))
    assert f"r:{TOKEN[:8]}" in screen
    assert TOKEN[:9] not in screen


def test_what_the_broker_said_cannot_steer_the_terminal():
    evil = Uplink(state="offline", since_s=1.0, last_error="\x1b[2J\nrefused", age_s=1.0)
    assert not any("\x1b" in line or "\n" in line for line in status_screen(status(uplink=evil), "en", render.Style()))


details = st.text(max_size=60)
components = st.lists(
    st.builds(
        Component,
        name=st.sampled_from(["card", "thermal", "vision", "barrier", "ledger", "a-new-device"]),
        state=st.sampled_from(["ok", "fault", "starting"]),
        symptom=st.sampled_from(["lost", "silent", "noise", "a new symptom", None]),
        detail=details,
        last_good_s_ago=st.floats(0, 1e7) | st.none(),
    ),
    max_size=9,
)


@settings(max_examples=40)  # each draws a whole screen
@given(
    components=components,
    error=details,
    held=st.integers(0, 9),
    lang=st.sampled_from(["zh", "en"]),
    plain=st.booleans(),
)
def test_whatever_is_wrong_fits_24_lines_of_80_columns(components, error, held, lang, plain):
    process = replace(WELL, components=tuple(components), mode="manual", because=("card:lost", "thermal:silent") * 3)
    bad = status(
        process=process,
        uplink=Uplink(state="offline", since_s=1e7, last_error=error),
        balance=replace(EVEN, refused=10**9, holds=False, pending=10**9, oldest_pending_s=1e8),
        ledger=replace(LEDGER, chain="broken", entries=10**9),
        waiting=(replace(HELD, person=TOKEN, reasons=("temperature-not-measured",) * 4),) * held,
        last=LAST * 4,
    )
    lines = status_screen(bad, lang, render.Style(plain=plain))
    assert len(lines) <= render.LINES
    assert all(render.width(line) <= render.COLUMNS for line in lines), max(lines, key=render.width)


@pytest.mark.parametrize("silence", ["not-running", "hung", "not-permitted", "refused"])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_silence_of_the_gate_has_words(silence, lang):
    quiet = status(process=Process(alive=False, silence=silence))
    assert quiet.verdict == "unknown"
    assert len(status_screen(quiet, lang, render.Style())) > 5


@pytest.mark.parametrize("state", ["connected", "offline", "dead", "never", "unreadable"])
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_state_of_the_uplink_has_words(state, lang):
    assert status_screen(status(uplink=Uplink(state=state)), lang, render.Style())
