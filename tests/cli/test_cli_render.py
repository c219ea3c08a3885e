"""Columns are what a terminal draws: two for a Chinese character, none for a combining mark."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel import phrases
from sentinel.cli import render


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("读卡器", 6), ("a读b", 4), ("e\u0301", 1), ("", 0), ("✔", 1)]
)
def test_width_counts_columns(text, columns):
    assert render.width(text) == columns


@given(text=st.text(max_size=50), columns=st.integers(1, 60))
def test_a_cut_text_never_exceeds_its_columns_and_a_short_one_is_whole(text, columns):
    cut = render.cut(text, columns)
    assert render.width(cut) <= columns
    assert cut == text or render.width(text) > columns


@given(text=st.text(alphabet="a读\u0301", max_size=30), columns=st.integers(1, 40))
def test_a_padded_text_is_exactly_as_wide_as_asked(text, columns):
    assert render.width(render.pad(text, columns)) == columns


def test_columns_line_up_in_chinese():
    lines = render.table([("读卡器", "ok", "x"), ("card", "无应答", "y")])
    assert [render.width(line[: line.index(mark)]) for line, mark in zip(lines, "xy", strict=True)] == [16, 16]


def test_an_empty_table_has_no_lines():
    assert render.table([]) == []


@pytest.mark.parametrize(
    ("stream", "environ", "plain", "colour"),
    [
        (Terminal(), {}, False, True),
        (Terminal(), {"NO_COLOR": "1"}, False, False),
        (Terminal(), {"TERM": "dumb"}, False, False),
        (Terminal(), {}, True, False),
        (io.StringIO(), {}, False, False),
    ],
)
def test_colour_only_on_a_terminal_that_wants_it(stream, environ, plain, colour):
    assert render.style_for(stream, environ, plain=plain).colour is colour


@pytest.mark.parametrize(
    ("environ", "lang"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_ALL": "", "LANG": "zh_TW"}, "zh"),
        ({}, "en"),
    ],
)
def test_the_language_is_the_terminals(environ, lang):
    assert render.language(environ) == lang


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1, "0.0 s"),
        (0.3, "0.3 s"),
        (42.4, "42 s"),
        (59.9, "59 s"),
        (1740, "29 min"),
        (3600, "1 h"),
        (11520, "3 h 12 min"),
        (530_000, "6 d 3 h"),
    ],
)
def test_a_span_is_its_two_largest_units(seconds, said):
    assert phrases.span(seconds, "en") == said


@given(st.floats(0, 1e9))
def test_every_span_has_words(seconds):
    assert phrases.span(seconds, "zh")


def test_a_code_nobody_foresaw_is_shown_as_it_is():
    assert phrases.code("a-new-code", "zh") == "a-new-code"
    assert phrases.because(["pump:leaking"], "en") == "pump: leaking"


def test_no_sign_that_small_fonts_lack():
    folder = Path(render.__file__).parent.parent / "i18n"
    assert not any("\u2103" in path.read_text(encoding="utf-8") for path in folder.glob("*.json"))
