"""`sentinelctl probe`: what hangs where goes to standard output, no person does, and settings are changed with care."""

import argparse
import json
import tomllib

import pytest

from drivers.readings import (
    CardKind,
    CardReading,
    CodeReading,
    DistanceReading,
    Identity,
    Impairment,
    Junk,
    PresenceReading,
    Sign,
    Symptom,
    ThermalReading,
    Trouble,
)
from drivers.sim.idcard import CardData, SimIdCardReader
from drivers.sim.pty import PtyDevice
from sentinel.cli import build_parser
from sentinel.cli.probe import reading_words
from sentinel.cli.settings_file import with_device
from sentinel.core.errors import UsageError

CARD = CardData(number="11010519491231002X", name="样本甲", address="某省某市样本路1号")


@pytest.fixture
def ctl(config, capsys):
    def call(*argv):
        before = argparse.Namespace(config=config, json=False, lang="en", plain=False, quiet=False, debug=False)
        args = build_parser(("probe",)).parse_args(["probe", *argv], before)
        code = args.run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def unknown(tmp_path):
    """Return the address of a line with a card reader on it, and a card on the reader; no speed is named."""
    device = SimIdCardReader()
    device.place(CARD)
    with PtyDevice(tmp_path / "card.tty", device, baud=115200):
        yield f"serial://{tmp_path}/card.tty"


@pytest.fixture
def port(unknown):
    """Return the same address with its speed: one test searches for it, and the others need not wait for that."""
    return f"{unknown}?baud=115200"


def test_found_device_its_readings_and_its_settings_are_printed(ctl, unknown):
    code, out, err = ctl("--port", unknown, "--seconds", "0.8")
    assert code == 0
    assert out.splitlines()[0].split() == ["PORT", "KIND", "SPEED", "WHAT"]
    assert "idcard-sdt" in out and "05.03-20200101" in out
    assert "number ends in 002X" in out
    assert out.endswith(f'[card]\nkind = "idcard-sdt"\nport = "{unknown}?baud=115200"\n')
    assert f"trying {unknown} at 115200 baud" in err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_person_is_printed(ctl, port, options):
    _, out, err = ctl("--port", port, "--seconds", "0.8", *options)
    for secret in (CARD.number, CARD.name, CARD.address, CARD.number[:14]):
        assert secret not in out + err
    assert "002X" in out


def test_json_is_one_document_with_all_of_it(ctl, port):
    code, out, _ = ctl("--port", port, "--seconds", "0.3", "--json")
    document = json.loads(out)
    assert code == 0 and document["schema"] == "sentinel.probe/1"
    (found,) = document["ports"]
    assert (found["found"], found["kind"], found["baud"], found["checked"]) == (True, "idcard-sdt", 115200, True)
    assert {reading["port"] for reading in document["readings"]} == {port}
    assert tomllib.loads(document["config"])["card"]["kind"] == "idcard-sdt"


def test_nothing_found_ends_with_69_and_says_why(ctl, tmp_path):
    code, out, _ = ctl("--port", f"serial://{tmp_path}/none", "--seconds", "0")
    assert code == 69 and "cannot be opened" in out
    assert "kind =" not in out


def test_found_device_is_written_into_the_settings_and_the_old_ones_are_kept(ctl, port, config):
    before = config.read_text()
    code, _, err = ctl("--port", port, "--seconds", "0", "--write")
    assert code == 0 and "check config" in err
    assert tomllib.loads(config.read_text())["card"] == {"kind": "idcard-sdt", "port": port}
    assert config.with_name("gate.toml.before-probe").read_text() == before
    assert sorted(path.name for path in config.parent.glob("*gate.toml*")) == ["gate.toml", "gate.toml.before-probe"]


def test_two_devices_for_one_table_are_not_written(ctl, port, config, tmp_path):
    before = config.read_text()
    with (
        PtyDevice(tmp_path / "second.tty", SimIdCardReader(), baud=115200),
        pytest.raises(UsageError, match=r"two devices for \[card\]"),
    ):
        ctl("--port", port, "--port", f"serial://{tmp_path}/second.tty?baud=115200", "--seconds", "0", "--write")
    assert config.read_text() == before


@pytest.mark.parametrize("seconds", ["-1", "nan", "4000"])
def test_time_without_sense_is_refused(ctl, seconds):
    with pytest.raises(UsageError, match="--seconds"):
        ctl("--port", "serial:///dev/none", "--seconds", seconds)


SETTINGS = """# mine
[card]   # the reader
# kind = "none"
port = "serial:///dev/ttyS3"  # left
silence_s = 4.0

[thermal]
kind = "gy-614v"
"""


def test_only_kind_and_port_of_one_table_change():
    changed = with_device(SETTINGS, "card", kind="idcard-sdt", port="usb://1a86:7523?baud=9600")
    assert changed == SETTINGS.replace(
        '# kind = "none"\nport = "serial:///dev/ttyS3"  # left\n', '# kind = "none"\n'
    ).replace("# the reader\n", '# the reader\nkind = "idcard-sdt"\nport = "usb://1a86:7523?baud=9600"\n')
    assert with_device(changed, "card", kind="idcard-sdt", port="usb://1a86:7523?baud=9600") == changed


def test_table_that_is_not_there_is_added():
    changed = with_device(SETTINGS, "presence", kind="ld2410", port="serial:///dev/ttyS7?baud=256000")
    assert changed.startswith(SETTINGS)
    assert tomllib.loads(changed)["presence"] == {"kind": "ld2410", "port": "serial:///dev/ttyS7?baud=256000"}


@pytest.mark.parametrize(
    "text", ["[card\n", 'card.port = "x"\n', 'card = {port = "x"}\n', '[card]\nx = """\nport = 1\n"""\n']
)
def test_settings_that_cannot_be_changed_line_by_line_are_left_alone(text):
    with pytest.raises(ValueError):
        with_device(text, "card", kind="idcard-sdt", port="p")


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (CodeReading(at_mono=0.0, content=b"secret"), "a code of 6 bytes"),
        (DistanceReading(at_mono=0.0, distance_mm=640), "640 mm"),
        (DistanceReading(at_mono=0.0, distance_mm=None), "nothing near"),
        (PresenceReading(at_mono=0.0, moving=False, still=True), "somebody"),
        (PresenceReading(at_mono=0.0, moving=False, still=False), "nobody"),
        (Junk(at_mono=0.0, byte_count=3), "3 bytes of junk"),
        (Sign(at_mono=0.0, detail="no card"), "no card"),
        (Identity(at_mono=0.0, text="module 5"), "module 5"),
        (
            ThermalReading(at_mono=0.0, width=2, height=1, celsius=(float("nan"), 36.44), ambient_celsius=float("nan")),
            "hottest 36.4 °C, ambient - °C",
        ),
    ],
)
def test_readings_have_words(reading, said):
    assert reading_words(reading, "en") == said


def test_troubles_have_words_with_their_detail():
    assert reading_words(Trouble(at_mono=0.0, symptom=Symptom.SELF_TEST, detail="SW3 60"), "en").endswith(": SW3 60")
    assert reading_words(Impairment(at_mono=0.0, symptom=Symptom.DIRTY, detail="3 %"), "en").endswith(": 3 %")


def test_card_is_said_by_kind_and_last_four():
    card = CardReading(
        at_mono=0.0, kind=CardKind.HMT_PERMIT, number="810000199001010027", number_ok=True, name="样本乙"
    )
    said = reading_words(card, "en")
    assert said.endswith("number ends in 0027") and "8100" not in said and card.name not in said
