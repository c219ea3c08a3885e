"""Every value has words in both languages, residents read nothing unkind, and no Chinese hides in the code."""

import ast
import dataclasses
import json
import re
import string
from pathlib import Path

import pytest

from drivers.readings import BarrierEventKind, CardKind, Symptom
from recognition.readings import FaceProblem
from sentinel import i18n
from sentinel.core import kinds
from sentinel.core.errors import UsageError
from sentinel.core.health import STARTING, Component, Mode
from sentinel.core.liveness import Layer, Verdict, Why
from sentinel.core.model import Method, Outcome, Reason, TemperatureState
from sentinel.core.thermometry import WHY_NOT

ROOT = Path(__file__).resolve().parents[1]
CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\u3000-\u303f\uff00-\uffef\U00020000-\U0003ffff]")
# The codecs and the simulator speak the cards' own words (the mark of a card without end); they are data, not texts.
MAY_HOLD_CHINESE = ("drivers/codecs", "drivers/sim")
OPENING = frozenset({Reason.ACCEPTED, Reason.FIRE})


def places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_both_catalogues_have_the_same_keys_and_places():
    chinese, english = (i18n.catalogue(lang) for lang in i18n.LANGUAGES)
    assert set(chinese) == set(english)
    assert {key for key in chinese if places(chinese[key]) != places(english[key])} == set()


def test_no_key_is_in_two_files():
    for lang in i18n.LANGUAGES:
        files = i18n.files_of(lang)
        assert sum(len(json.loads(path.read_text("utf-8"))) for path in files) == len(i18n.catalogue(lang))


def test_english_holds_no_chinese_but_the_name_of_the_other_language():
    found = [key for key, value in i18n.catalogue("en").items() if CHINESE.search(value)]
    assert [key for key in found if not key.endswith("other_language")] == []


def test_no_text_is_empty_or_holds_a_glyph_gates_cannot_show():
    for lang in i18n.LANGUAGES:
        for key, value in i18n.catalogue(lang).items():
            assert value.strip(), key
            assert "\u2103" not in value, f"{key}: write the degree sign and C, small fonts lack the joined sign"


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
@pytest.mark.parametrize(
    ("namespace", "values"),
    [
        ("reason", Reason),
        ("staff", Reason),
        ("screen.hold", [reason for reason in Reason if reason not in OPENING]),
        ("outcome", Outcome),
        ("method", Method),
        ("temperature", TemperatureState),
        ("temperature.why-not", WHY_NOT),
        ("liveness.verdict", Verdict),
        ("liveness.layer", Layer),
        ("liveness.why", Why),
        ("mode", Mode),
        ("symptom", [*Symptom, STARTING]),
        ("face-problem", FaceProblem),
        ("screen.face", FaceProblem),
        ("component", Component),
        ("card-kind", CardKind),
        ("barrier", BarrierEventKind),
        ("kind", kinds.ALL),
        ("line", kinds.ALL),
    ],
)
def test_every_value_has_words(namespace, values, lang):
    missing = [value for value in values if f"{namespace}.{value}" not in i18n.catalogue(lang)]
    assert missing == []


def test_every_component_has_a_remedy_for_every_symptom():
    for component in Component:
        for symptom in [*Symptom, STARTING, "a new symptom"]:
            for lang in i18n.LANGUAGES:
                assert i18n.remedy(component, symptom, lang)
    assert i18n.remedy("card", "silent", "en") != i18n.remedy("thermal", "silent", "en")


UNKIND = re.compile(
    r"\d|temperature|fever|degree|hot|expired|blocked|refus|denied|unknown|invalid|mismatch|stranger"
    "|体温|温度|发热|发烧|度|过期|停用|拒绝|不符|不一致|陌生|无效|失败",
    re.IGNORECASE,
)


def test_residents_never_read_the_reason_or_a_temperature():
    for lang in i18n.LANGUAGES:
        for key, value in i18n.catalogue(lang).items():
            if key.startswith(("screen.", "console.screen.")):
                assert not UNKIND.search(value), f"{key}: {value}"


@pytest.mark.parametrize("lang", i18n.LANGUAGES)
def test_who_is_hot_reads_the_same_as_many_others(lang):
    hot = i18n.text("screen.hold.temperature-high", lang)
    assert hot == i18n.text("screen.hold.card-dates-unreadable", lang)
    assert "fever" not in " ".join(i18n.catalogue("en").values()).lower(), "the word is for a doctor"


@pytest.mark.parametrize("kind", kinds.ALL)
def test_a_line_shows_only_what_its_entry_holds(kind):
    fields = {field.name for field in dataclasses.fields(kinds.ALL[kind])}
    assert places(i18n.catalogue("en")[f"line.{kind}"]) <= fields | {"who"}  # `who`: as the reader may see the person


@pytest.mark.parametrize(
    ("wish", "lang"),
    [
        ("zh_CN.UTF-8", "zh-CN"),
        ("zh", "zh-CN"),
        ("zh-TW,en;q=0.8", "zh-CN"),
        ("en_GB.UTF-8", "en"),
        ("de", "en"),
        ("C.UTF-8", "zh-CN"),
        ("", "zh-CN"),
        (None, "zh-CN"),
    ],
)
def test_a_wish_finds_its_language(wish, lang):
    assert i18n.language_of(wish) == lang


def test_a_missing_text_or_value_says_what_to_do():
    with pytest.raises(UsageError, match="add it to both languages"):
        i18n.text("no.such.key", "en")
    with pytest.raises(UsageError, match="name"):
        i18n.text("screen.open.named", "en")


def code_files() -> list[Path]:
    found = [path for room in ("sentinel", "drivers", "recognition", "sync") for path in ROOT.glob(f"{room}/**/*.py")]
    return [path for path in found if not path.relative_to(ROOT).as_posix().startswith(MAY_HOLD_CHINESE)]


def chinese_literals(source: str) -> list[int]:
    """Return the lines of string literals with Chinese in them; docstrings are for readers of the code."""
    tree = ast.parse(source)
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in prose
        and CHINESE.search(node.value)
    ]


def test_no_text_for_people_hides_in_the_code():
    found = {path.relative_to(ROOT).as_posix(): chinese_literals(path.read_text("utf-8")) for path in code_files()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_the_search_for_chinese_finds_it():
    assert chinese_literals('"""请."""\nx = 1  # 请\ny = f"{x} 请"\n') == [3]
