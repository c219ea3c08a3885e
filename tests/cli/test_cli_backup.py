"""`sentinelctl backup` and `doctor` as a maintainer calls them: one key, one proof, one way back, and one screen."""

import io
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backup_sample import Box
from cli_sample import BEHIND, EVEN, LEDGER, WELL, status

from drivers.lock import BarrierLock
from sentinel import backup, cli
from sentinel.cli.doctor import _said as doctor_lines
from sentinel.cli.render import Style
from sentinel.condition import Ledger, Process, Uplink
from sentinel.doctor import LOOKS, Found, Here, examine
from sentinel.settings import load
from sync.sealed import public_of


@pytest.fixture
def box(tmp_path) -> Iterator[Box]:
    """A gate whose second place is another file system, as the command line demands it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        yield Box(tmp_path, Path(place))


@pytest.fixture
def ctl(box, capsys):
    def call(*argv):
        code = cli.main([*map(str, argv), "--config", str(box.config), "--lang", "en"])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def key_file(box, tmp_path) -> Path:
    path = tmp_path / "key"
    path.write_text(box.recovery.hex())
    return path


def test_a_box_dies_and_another_one_goes_on(box, ctl, tmp_path, capsys):
    """The steps of the maintainer's page, one after the other."""
    (box.settings.paths.secrets_dir / "backup.pub").unlink()
    code, out, _ = ctl("backup", "key", tmp_path / "office.key")
    assert (code, out) == (0, "")
    assert ctl("backup", "make")[0] == 0
    code, out, _ = ctl("backup", "list", "--json")
    [listed] = json.loads(out)["backups"]
    assert ctl("backup", "verify", listed["path"], "--key-file", tmp_path / "office.key")[0] == 0
    new = Box(tmp_path / "new", box.place, fresh=True)
    restore = ["backup", "restore", listed["path"], "--key-file", str(tmp_path / "office.key"), "--yes"]
    assert cli.main([*restore, "--config", str(new.config), "--lang", "zh"]) == 0
    assert box.keys().items() <= new.keys().items()
    capsys.readouterr()


def test_the_key_is_shown_once_and_kept_nowhere(box, ctl):
    code, out, err = ctl("backup", "key", "--replace")
    assert code == 0
    key = bytes.fromhex(out.replace(" ", ""))
    assert public_of(key) == (box.settings.paths.secrets_dir / "backup.pub").read_bytes()
    assert key.hex() not in err
    for path in box.settings.paths.state_dir.rglob("*"):
        assert not path.is_file() or key not in path.read_bytes()


def test_a_key_is_not_replaced_and_no_file_written_over(ctl, tmp_path, key_file):
    assert ctl("backup", "key")[0] == 65
    before = key_file.read_bytes()
    assert ctl("backup", "key", key_file, "--replace")[0] == 64
    assert key_file.read_bytes() == before


def test_what_is_not_due_is_not_made_and_that_is_no_fault(box, ctl):
    assert json.loads(ctl("backup", "make", "--json")[1])["made"]
    assert json.loads(ctl("backup", "make", "--if-due", "--json")[1]) == {"schema": "sentinel.backup/1", "made": False}


def test_where_no_backup_is_wanted_the_timer_is_quiet(box, ctl):
    box.config.write_text(box.config.read_text().replace("folder =", "# folder ="))
    assert ctl("backup", "make", "--if-due") == (0, "", "")
    code, _, err = ctl("backup", "make")
    assert code == 69
    assert "[backup] folder" in err


def test_a_place_that_is_away_ends_with_69_and_the_next_thing_to_try(box, ctl, tmp_path):
    box.config.write_text(box.config.read_text().replace(str(box.place), str(tmp_path)))
    code, _, err = ctl("backup", "make")
    assert code == 69
    assert "plug the medium in" in err


def test_a_running_gate_is_not_restored_over(box, ctl, key_file):
    ctl("backup", "make")
    before = box.keys()
    with BarrierLock(box.settings.paths.barrier_lock):
        code, _, err = ctl("backup", "restore", box.archive(1), "--key-file", key_file, "--yes")
    assert code == 69
    assert "systemctl stop sentinel-gate" in err
    assert box.keys() == before


@pytest.mark.parametrize(("answer", "code"), [("no\n", 64), ("\n", 64), ("yes\n", 0)])
def test_a_restore_asks_and_tells_what_is_newer(box, ctl, key_file, answer, code):
    ctl("backup", "make")
    box.append(2, "since")
    before = box.keys()
    sys_stdin, sys.stdin = sys.stdin, io.StringIO(answer)
    try:
        got, _, err = ctl("backup", "restore", box.archive(1), "--key-file", key_file)
    finally:
        sys.stdin = sys_stdin
    assert got == code
    assert "on this box 4" in err
    assert (box.keys() == before) == (code != 0)


@pytest.mark.parametrize("said", ["00" * 31, "nonsense", "00" * 32])
def test_another_key_opens_nothing(box, ctl, tmp_path, said):
    ctl("backup", "make")
    (tmp_path / "wrong").write_text(said)
    code, out, err = ctl("backup", "verify", box.archive(1), "--key-file", tmp_path / "wrong")
    assert code in (64, 65)
    assert out == ""
    assert "key" in err


def test_doctor_shows_when_a_backup_was_last_proved(box, ctl):
    ctl("backup", "make")
    code, out, _ = ctl("doctor")
    assert code == 3, "the gate is not running"
    [line] = [line for line in out.splitlines() if "backup" in line]
    assert "330106-cuiyuan3-east-3-000001.sentinel, test restore 20" in line
    looks = {look["name"]: look for look in json.loads(ctl("doctor", "--json")[1])["looks"]}
    assert looks["backup"]["level"] == "ok"
    assert looks["backup"]["proven_utc_s"] == backup.read_state(box.settings).proven_utc_s
    assert looks.keys() == {"settings", *LOOKS}


def backup_look(box: Box) -> Found:
    return next(line.found for line in examine(Here(load(box.config))) if line.name == "backup")


def test_doctor_tells_each_way_a_backup_can_fail(box, ctl, tmp_path):
    assert (backup_look(box).level, backup_look(box).code) == ("critical", "never")
    ctl("backup", "make")
    state = backup.state_path(box.settings)
    known = json.loads(state.read_text())
    for change, level, code in (
        ({"problem": "the second place is away"}, "warning", "problem"),
        ({"proven_utc_s": known["proven_utc_s"] - 49 * 3600}, "critical", "stale"),
        ({"forget_upto": 1}, "critical", "forget"),
        ({"number": 0, "problem": "no key"}, "critical", "failed"),
    ):
        state.write_text(json.dumps({**known, **change}))
        assert (backup_look(box).level, backup_look(box).code) == (level, code)
        for lang in ("zh", "en"):
            assert cli.main(["doctor", "--config", str(box.config), "--lang", lang]) in (2, 3)
    state.write_text("{")
    assert backup_look(box).code == "failed-look"


def test_doctor_works_when_half_of_the_box_is_gone(box, ctl):
    box.settings.paths.ledger.unlink()
    box.settings.paths.ledger.mkdir()
    code, out, err = ctl("doctor", "--plain")
    assert code == 3
    assert err == ""
    assert len([line for line in out.splitlines() if not line.startswith("    ")]) >= 1 + len(LOOKS)
    assert out.isascii()


def test_doctor_with_wrong_settings_says_so_first(box, ctl):
    box.config.write_text("[gate]\n")
    code, out, _ = ctl("doctor")
    assert code == 78
    assert "check config" in out


def test_doctor_tells_of_what_a_restore_set_aside(box, ctl, key_file):
    ctl("backup", "make")
    assert ctl("backup", "restore", box.archive(1), "--key-file", key_file, "--yes")[0] == 0
    assert "before-restore-1" in ctl("doctor")[1]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_finding_of_doctor_has_words_and_every_trouble_a_next_thing(box, lang):
    processes = [
        *(replace(WELL, mode=mode) for mode in ("automatic", "assisted", "manual", "unknown")),
        *(replace(WELL, ledger_fill=fill) for fill in (0.5, 0.9, 1.0)),
        *(Process(alive=False, silence=why) for why in ("not-running", "not-permitted", "hung", "refused")),
    ]
    uplinks = [Uplink(state=state) for state in ("connected", "offline", "dead", "never", "unreadable")]
    ledgers = [LEDGER, replace(LEDGER, chain="broken"), replace(LEDGER, holes=3), Ledger(readable=False, problem="x")]
    balances = [EVEN, BEHIND, replace(EVEN, holds=False)]
    statuses = [
        *(status(process=one) for one in processes),
        *(status(uplink=one) for one in uplinks),
        *(status(ledger=one) for one in ledgers),
        *(status(balance=one) for one in balances),
    ]
    style = Style(plain=True)
    for one in statuses:
        for line in examine(Here(box.settings, gather=lambda _settings, one=one: one)):
            said = doctor_lines(line, lang, style)
            assert len(said) == (1 if line.found.level == "ok" else 2), line
