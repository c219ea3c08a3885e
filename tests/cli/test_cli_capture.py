"""`sentinelctl capture`: real bytes go into a new file, the people in them do not."""

import argparse
import json

import pytest

from drivers.codecs.idcard import IdCardCodec, card_of
from drivers.errors import DriverError
from drivers.recording import NothingRecorded
from drivers.sim.idcard import CardData, SimIdCardReader
from drivers.sim.pty import PtyDevice
from drivers.sim.thermal_array import SimThermalArray
from sentinel.cli import build_parser
from sentinel.core.errors import UsageError, exit_code_of

CARD = CardData(number="990703196807254380", name="虚构赵钱孙", address="无名县无名镇虚构巷七十六号")


@pytest.fixture
def ctl(config, capsys):
    def call(*argv):
        before = argparse.Namespace(config=config, json=False, lang="en", plain=False, quiet=False, debug=False)
        args = build_parser(("capture",)).parse_args(["capture", *argv], before)
        code = args.run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def card_port(tmp_path):
    device = SimIdCardReader()
    device.place(CARD)
    with PtyDevice(tmp_path / "card.tty", device, baud=115200):
        yield f"serial://{tmp_path}/card.tty"


def test_card_is_captured_as_a_specimen(ctl, card_port, tmp_path):
    file = tmp_path / "idcard-sdt-sim-resident.bin"
    code, out, err = ctl("card", "--port", card_port, "--kind", "idcard-sdt", "--to", str(file), "--seconds", "0.8")
    assert code == 0 and "personal data replaced" in out and "place cards now" in err
    content = file.read_bytes()
    cards = [card_of(event.data, at_mono=0.0) for event in IdCardCodec().feed(content)]
    assert [card.number for card in cards if card] == ["11010519491231002X"]
    for secret in (CARD.number, CARD.name, CARD.address):
        assert secret.encode("utf-16-le") not in content


def test_port_and_kind_come_from_the_settings(ctl, config, tmp_path):
    config.write_text(config.read_text().replace("serial:///dev/ttyS4", f"serial://{tmp_path}/thermal.tty"))
    with PtyDevice(tmp_path / "thermal.tty", SimThermalArray(rate_hz=50.0)):
        code, out, _ = ctl("thermal", "--to", str(tmp_path / "t.bin"), "--seconds", "0.3", "--json")
    said = json.loads(out)
    assert code == 0 and (said["schema"], said["kind"], said["junk_bytes"]) == ("sentinel.capture/1", "gy-mcu90640", 0)
    assert said["bytes"] == len((tmp_path / "t.bin").read_bytes()) >= 1544


def test_nothing_is_written_when_nothing_of_that_kind_came(ctl, tmp_path):
    class Other:
        def answer(self, chunk, now):
            return b""

        def due(self, now):
            return b"NAME;NUMBER\r"

    with PtyDevice(tmp_path / "x.tty", Other()), pytest.raises(NothingRecorded) as caught:
        ctl(
            "thermal", "--port", f"serial://{tmp_path}/x.tty", "--kind", "gy-mcu90640", "--to", str(tmp_path / "t.bin"),
            "--seconds", "0.3",
        )  # fmt: skip
    assert exit_code_of(caught.value) == 69
    assert not (tmp_path / "t.bin").exists()


def test_port_that_is_not_there_is_told_and_nothing_is_written(ctl, tmp_path):
    with pytest.raises(DriverError, match="check cable"):
        ctl("card", "--port", f"serial://{tmp_path}/none", "--kind", "idcard-sdt", "--to", str(tmp_path / "c.bin"))
    assert not (tmp_path / "c.bin").exists()


def test_no_file_is_overwritten(ctl, card_port, tmp_path):
    (tmp_path / "old.bin").write_bytes(b"old")
    with pytest.raises(UsageError, match="name a new file"):
        ctl("card", "--port", card_port, "--kind", "idcard-sdt", "--to", str(tmp_path / "old.bin"))
    assert (tmp_path / "old.bin").read_bytes() == b"old"


def test_folder_that_is_not_there_is_told(ctl, card_port, tmp_path):
    with pytest.raises(UsageError, match="name a file in a folder"):
        ctl("card", "--port", card_port, "--kind", "idcard-sdt", "--to", str(tmp_path / "no/c.bin"), "--seconds", "0.3")


@pytest.mark.parametrize(
    ("options", "story"),
    [
        (("card", "--kind", "gy-614v"), "--kind is idcard-sdt"),
        (("thermal", "--kind", "mlx90614-i2c"), "--kind is gy-mcu90640"),
        (("scanner",), "--kind is gm65"),  # none is fitted here
        (("card", "--seconds", "0"), "--seconds"),
    ],
)
def test_wrong_words_are_refused_with_the_right_ones(ctl, tmp_path, options, story):
    with pytest.raises(UsageError, match=story):
        ctl(*options, "--to", str(tmp_path / "x.bin"))
