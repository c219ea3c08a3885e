"""One file states what a site wants; each mistake in it is one clear line, and nothing is guessed."""

import re
import string
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import drivers
from sentinel.core.admission import COUNTED_S
from sentinel.core.errors import ConfigError, exit_code_of
from sentinel.core.liveness import Layer, Mode, Rule
from sentinel.device_settings import SERIAL_TABLES, THERMAL_I2C, THERMAL_VIDEO
from sentinel.life import liveness_rule
from sentinel.settings import COUNTED_PASS_DAYS, DEFAULT_CONFIG, TABLES, explain, find_config, load

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = (ROOT / "config" / "gate.toml").read_text(encoding="utf-8")
EVERY_KEY = [(table, key) for table, cls in TABLES.items() for key in fields(cls)]
REQUIRED = [(table, key.name) for table, key in EVERY_KEY if key.default is MISSING]


@pytest.fixture
def mistakes(tmp_path):
    """Load a text and return its mistakes, without the file's name before each."""

    def of(text: str) -> list[str]:
        path = tmp_path / "gate.toml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load(path)
        lines = str(caught.value).split("\n")
        assert all(line.startswith(f"{path}: ") for line in lines)
        return [line.removeprefix(f"{path}: ") for line in lines]

    return of


def changed(before: str, after: str) -> str:
    assert EXAMPLE.count(before) == 1, f"{before!r} stands {EXAMPLE.count(before)} times in config/gate.toml"
    return EXAMPLE.replace(before, after)


def test_the_example_is_right():
    settings = load(ROOT / "config" / "gate.toml")
    assert settings.temperature.limit_celsius == 37.3
    assert settings.paths.ledger == Path("/var/lib/sentinel/ledger.db")
    assert settings.paths.uplink_db == Path("/var/lib/sentinel/uplink/uplink.db")
    assert settings.source == ROOT / "config" / "gate.toml"


def test_the_demo_is_right(tmp_path):
    text = (ROOT / "config" / "demo.toml").read_text(encoding="utf-8")
    for mark, value in {"@DIR@": "/d", "@MODELS@": "/m", "@BROKER_PORT@": "1883", "@CONSOLE_PORT@": "8080"}.items():
        assert mark in text
        text = text.replace(mark, value)
    (tmp_path / "demo.toml").write_text(text, encoding="utf-8")
    settings = load(tmp_path / "demo.toml")
    assert settings.card.port == "serial:///d/card.tty?baud=115200"
    assert settings.paths.uplink_db == Path("/d/state/uplink.db")


@pytest.mark.parametrize(("table", "key"), EVERY_KEY, ids=lambda value: getattr(value, "name", value))
def test_the_example_shows_every_setting_with_its_default(table, key):
    part = EXAMPLE.split(f"\n[{table}]\n")[1].split("\n[")[0]
    line = re.search(rf"^(# )?{key.name} = .*$", part, re.MULTILINE)
    assert line, f"config/gate.toml does not show [{table}] {key.name}"
    if line[1]:
        shown = tomllib.loads(line[0].removeprefix("# "))[key.name]
        default = key.default if not isinstance(key.default, Path) else str(key.default)
        assert shown == ("" if default is None else default)


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (
            "limit_celsius = 37.3",
            "limit_celcius = 37.3",
            "[temperature] unknown key 'limit_celcius'; did you mean 'limit_celsius'?",
        ),
        (
            "limit_celsius = 37.3",
            "limit_celsius = 73.5",
            "[temperature] limit_celsius = 73.5: expected 35.0 to 42.0 °C",
        ),
        (
            "limit_celsius = 37.3",
            'limit_celsius = "37.3"',
            '[temperature] limit_celsius = "37.3": expected 35.0 to 42.0 °C, without quotation marks',
        ),
        (
            "limit_celsius = 37.3",
            "",
            "[temperature] limit_celsius is missing: no law sets it, the street office must state it; "
            "add e.g. limit_celsius = 37.3",
        ),
        (
            "passage_days = 30",
            "passage_days = 30.0",
            "[retention] passage_days = 30.0: expected a whole number, 1 to 3650 days",
        ),
        (
            "passage_days = 30",
            "passage_days = true",
            "[retention] passage_days = true: expected a whole number, 1 to 3650 days",
        ),
        (
            "audit_days = 365",
            "audit_days = 30",
            "[retention] audit_days = 30: expected a whole number, 180 to 3650 days",
        ),
        ("response_hours = 2", "response_hours = nan", "[faults] response_hours = NaN: expected 0.5 to 720 h"),
        ("response_hours = 2", "response_hours = inf", "[faults] response_hours = Infinity: expected 0.5 to 720 h"),
        ('gate = "east-3"', 'gate = "East 3"', '[gate] gate = "East 3": expected 1 to 32 of the characters a-z 0-9 -'),
        ('gate = "east-3"', 'gate = "a/#"', '[gate] gate = "a/#": expected 1 to 32 of the characters a-z 0-9 -'),
        (
            '# profile = "card+face"',
            'profile = "faces"',
            '[gate] profile = "faces": expected "card+face" or "face" or "card"',
        ),
        ("# temperature = true", "temperature = 1", "[gate] temperature = 1: expected true or false"),
        ("relay = 17", "relay = true", "[barrier] relay = true: expected a pin number or a pin name"),
        ("# pulse_s = 0.5", "pulse_s = 9", "[barrier] pulse_s = 9: expected 0.1 to 3.0 s"),
        ("# mirror = true", "fps = 5", "[thermal] unknown key 'fps'; it belongs to [camera]"),
        ("[fusion]", "[fuson]", "unknown table [fuson]; did you mean 'fusion'?"),
        ("\n[gate]", "\ncolour = 3\n[gate]", "key 'colour' stands above the first [table]; move it into its table"),
        (
            "# similarity_one_to_many = 0.0",
            "similarity_one_to_many = 0.2",
            "[face] similarity_one_to_many = 0.2: expected 0 (by gallery size) or 0.43 to 0.9",
        ),
        (
            'source = "v4l2:///dev/video0"',
            'source = "rtsps://10.0.0.9/1"',
            '[camera] source = "rtsps://10.0.0.9/1": expected '
            'v4l2:///dev/videoN, rtsp://…, file:///…, folder:///… or "" for no camera',
        ),
        (
            '# state_dir = "/var/lib/sentinel"',
            'state_dir = "state"',
            '[paths] state_dir = "state": expected an absolute path',
        ),
        (
            '"serial:///dev/ttyS4?baud=115200"',
            '"serial:///dev/ttyS3?baud=9600"',
            '[thermal] port = "serial:///dev/ttyS3?baud=9600" is the port of [card] too; '
            "each device has a port of its own",
        ),
        (
            '# pass_sensor = ""',
            "pass_sensor = 17",
            "[barrier] pass_sensor = 17 is the pin of relay too; each wire has a pin of its own",
        ),
        (
            "# ambient_max_celsius = 35.0",
            "ambient_max_celsius = 20\nambient_min_celsius = 25",
            "[temperature] ambient_min_celsius must be below ambient_max_celsius",
        ),
        (
            '# cert_file = ""',
            'cert_file = "/c"',
            "[uplink] cert_file and key_file belong together; give both or neither",
        ),
        (
            'port = "serial:///dev/ttyS3?baud=115200"',
            "",
            '[card] port is missing: the card reader needs a port, or kind = "none"; '
            'add e.g. port = "serial:///dev/ttyS3?baud=115200"',
        ),
    ],
)
def test_one_mistake_is_one_line(mistakes, before, after, line):
    assert mistakes(changed(before, after)) == [line]


@pytest.mark.parametrize(("table", "key"), REQUIRED)
def test_a_missing_setting_says_why_and_what_to_write(mistakes, table, key):
    stated = re.search(rf"^{key} = .*\n", EXAMPLE.split(f"[{table}]")[1], re.MULTILINE)
    assert stated, f"[{table}] {key} must be stated in config/gate.toml"
    [line] = mistakes(changed(stated[0], ""))
    said = re.fullmatch(rf"\[{table}\] {key} is missing: (.+); add e\.g\. ({key} = .+)", line)
    assert said, line
    assert tomllib.loads(said[2])


def test_what_is_suggested_is_accepted(tmp_path):
    text = EXAMPLE
    for table, key in EVERY_KEY:
        rule = key.metadata["rule"]
        if rule.example and table != "thermal":
            text = re.sub(rf"(\[{table}\]\n(?:[^[].*\n)*?){key.name} = .*", rf"\1{key.name} = {rule.example}", text)
    (tmp_path / "gate.toml").write_text(text, encoding="utf-8")
    assert load(tmp_path / "gate.toml").uplink.broker == "mqtts://10.20.0.5:8883"


def test_passages_are_kept_for_as_long_as_a_pass_must_be_remembered(mistakes):
    assert COUNTED_PASS_DAYS * 24 * 3600 == COUNTED_S
    short = changed("passage_days = 30", "passage_days = 3")
    scanner = '[scanner]\nkind = "gm65"\nport = "serial:///dev/ttyS9?baud=9600"\n'
    [line] = mistakes(short.replace("[scanner]\n", scanner))
    assert line.startswith("[retention] passage_days: with a scanner at least 7")


def test_all_mistakes_are_told_at_once(mistakes):
    text = changed("limit_celsius = 37.3", "").replace("relay = 17", "relay = 1.5").replace("[log]", "[logg]")
    assert [line.split(":")[0].split(";")[0] for line in mistakes(text)] == [
        "unknown table [logg]",
        "[barrier] relay = 1.5",
        "[temperature] limit_celsius is missing",
    ]


def test_without_temperature_no_limit_is_asked_for(tmp_path):
    text = changed("# temperature = true", "temperature = false").replace("limit_celsius = 37.3", "")
    text = text.replace('port = "serial:///dev/ttyS4?baud=115200"', 'kind = "none"')
    (tmp_path / "gate.toml").write_text(text, encoding="utf-8")
    assert load(tmp_path / "gate.toml").temperature.limit_celsius is None


@pytest.mark.parametrize(
    ("profile", "device", "off", "line"),
    [
        ("card+face", 'source = "v4l2:///dev/video0"', "", "[camera] source is missing"),
        ("face", 'source = "v4l2:///dev/video0"', "", "[camera] source is missing"),
        (
            "card",
            'port = "serial:///dev/ttyS3?baud=115200"',
            'kind = "none"',
            '[gate] profile = "card" needs a card reader',
        ),
        ("card", 'port = "serial:///dev/ttyS4?baud=115200"', 'kind = "none"', "[gate] temperature = true"),
    ],
)
def test_a_profile_without_its_device_is_a_mistake(mistakes, profile, device, off, line):
    [told] = mistakes(changed('# profile = "card+face"', f'profile = "{profile}"').replace(device, off))
    assert told.startswith(line)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"[gate]\na b", "line 2, column 3: this is not TOML"),
        (b"x = ", "end of document: this is not TOML"),
        (b"x = yes", 'line 1, column 5: this is not TOML: Invalid value; text stands in "quotation marks"'),
        (b"[gate]\n[gate]\n", "line 2, column 6: this is not TOML: Cannot declare"),
        (b"a = 1\n# \xb7\xcf\n", "line 2: not UTF-8 text"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(tmp_path, raw, line):
    (tmp_path / "gate.toml").write_bytes(raw)
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/gate.toml: {line}")):
        load(tmp_path / "gate.toml")


def test_a_file_that_is_not_there_or_no_file_is_one_line(tmp_path):
    for path, what in ((tmp_path / "none.toml", "there is no such file"), (tmp_path, "cannot be read: Is a directory")):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: {what}")
        assert "\n" not in str(caught.value)


def test_systemd_is_told_not_to_restart():
    with pytest.raises(ConfigError) as caught:
        load("/nowhere/gate.toml")
    assert exit_code_of(caught.value) == 78


def test_where_each_value_comes_from_is_known():
    rows = {f"{row.table}.{row.key}": row for row in explain(load(ROOT / "config" / "gate.toml"))}
    assert list(rows) == [f"{table}.{key.name}" for table, key in EVERY_KEY]
    limit, pulse = rows["temperature.limit_celsius"], rows["barrier.pulse_s"]
    assert (limit.value, limit.origin, limit.unit) == (37.3, "file", "°C")
    assert (pulse.value, pulse.origin, pulse.unit) == (0.5, "default", "s")


def test_the_named_file_wins_over_the_environment_and_that_over_the_system(monkeypatch):
    monkeypatch.delenv("SENTINEL_CONFIG", raising=False)
    assert find_config() == DEFAULT_CONFIG
    monkeypatch.setenv("SENTINEL_CONFIG", "/from/environment.toml")
    assert find_config() == Path("/from/environment.toml")
    assert find_config("/named.toml") == Path("/named.toml")


@pytest.mark.parametrize(("table", "key"), EVERY_KEY, ids=lambda value: getattr(value, "name", value))
def test_every_setting_can_say_what_it_expects(table, key):
    rule, kinds = key.metadata["rule"], set(get_args(key.type) or (key.type,))
    if kinds & {int, float}:
        assert rule.least is not None
        assert rule.most is not None
    if rule.pattern:
        assert rule.form
    if key.default is MISSING:
        assert rule.why
        assert rule.example
    if isinstance(key.default, int | float) and not isinstance(key.default, bool) and not rule.zero:
        assert rule.least <= key.default <= rule.most


def test_every_serial_device_can_be_chosen():
    kinds = {kind for table in SERIAL_TABLES for kind in _rule(table, "kind").choices}
    assert kinds - {"none", *THERMAL_I2C, *THERMAL_VIDEO} == set(drivers.TABLE)


def _rule(table: str, name: str):
    return next(key.metadata["rule"] for one, key in EVERY_KEY if (one, key.name) == (table, name))


NAMES = st.sampled_from([key.name for _, key in EVERY_KEY]) | st.text(string.ascii_letters + ' \n"é', max_size=8)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=3,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(list(TABLES)) | NAMES, st.dictionaries(NAMES, VALUES, max_size=4) | VALUES, max_size=4
)


@given(document=DOCUMENTS)
def test_any_document_gives_settings_or_one_line_per_mistake(tmp_path_factory, document):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text("".join(f"{_toml(name)} = {_toml(value)}\n" for name, value in document.items()), encoding="utf-8")
    tomllib.loads(path.read_text(encoding="utf-8"))
    with pytest.raises(ConfigError) as caught:  # too short a document to state all that must be stated
        load(path)
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).split("\n"))


def _toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(name)} = {_toml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(one if one.isalnum() and one.isascii() else f"\\U{ord(one):08x}" for one in value) + '"'
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@pytest.mark.parametrize(
    ("thermal", "liveness", "expected"),
    [
        ('kind = "gy-mcu90640"', "", Rule(mode=Mode.REQUIRE, layers=(Layer.HEAT,))),
        ('kind = "gy-614v"', "", Rule(mode=Mode.RECORD)),
        ('kind = "gy-mcu90640"', 'mode = "off"', Rule(mode=Mode.OFF, layers=(Layer.HEAT,))),
        (
            'kind = "gy-614v"',
            'mode = "require"\nlayers = "infrared,motion"',
            Rule(mode=Mode.REQUIRE, layers=(Layer.INFRARED, Layer.MOTION)),
        ),
    ],
)
def test_heat_is_required_where_a_field_is_fitted_and_else_as_the_site_states(tmp_path, thermal, liveness, expected):
    text = EXAMPLE.replace("[thermal]\n", f"[thermal]\n{thermal}\n")
    text = text.replace("[liveness]\n", f"[liveness]\n{liveness}\n")
    (tmp_path / "gate.toml").write_text(text, encoding="utf-8")
    assert liveness_rule(load(tmp_path / "gate.toml")) == expected
