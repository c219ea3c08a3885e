"""The units are right by systemd's own judgement, and keep the promises of the house: alone, alive, and no more rights.

systemd ignores a misspelt key with a shrug, so any word of `systemd-analyze verify` fails. The programs of the units
are not installed on a machine that runs tests: the units are checked with /bin/true in their place, and that each
program is an entry point of ours is checked beside it.
"""

import configparser
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "systemd"
PROGRAMS = "/opt/sentinel/current/bin/"
UNITS = [*sorted(FOLDER.glob("*.service")), *sorted(FOLDER.glob("*.socket")), *sorted(FOLDER.glob("*.timer"))]
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
TIMERS = {unit.stem for unit in UNITS if unit.suffix == ".timer"}
LASTING = [unit for unit in SERVICES if "@" not in unit.name and unit.stem not in TIMERS]

services = pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
lasting = pytest.mark.parametrize("unit", LASTING, ids=lambda unit: unit.name)


def keys_of(unit: Path) -> dict[str, list[str]]:
    """Return every key of a unit with its values, in their order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def command_of(unit: Path) -> list[str]:
    return keys_of(unit)["ExecStart"][0].removeprefix("-").split()


def entry_points() -> dict[str, str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options.entry_points"]["console_scripts"].strip().splitlines()
    return {name.strip(): target.strip() for name, _, target in (line.partition("=") for line in lines)}


def rows_of(name: str, kind: str) -> list[list[str]]:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if line.startswith(f"{kind} ")]


def verify(folder: Path) -> str:
    assert shutil.which("systemd-analyze"), "systemd-analyze is missing; on Debian: apt-get install systemd"
    units = sorted(str(path) for path in folder.iterdir())
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


@pytest.fixture
def rendered(tmp_path) -> Path:
    for unit in UNITS:
        text = re.sub(re.escape(PROGRAMS) + r"\S+", "/bin/true", unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return tmp_path


def test_systemd_has_nothing_to_say(rendered):
    assert verify(rendered) == ""


def test_a_misspelt_key_would_be_noticed(rendered):
    unit = rendered / "sentinel-gate.service"
    unit.write_text(unit.read_text(encoding="utf-8").replace("WatchdogSec=", "WatchdogSecs="), encoding="utf-8")
    assert "WatchdogSecs" in verify(rendered)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_comments_stand_on_their_own_lines(unit):
    for line in unit.read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or "#" not in line, f"{unit.name}: systemd would take the comment as value: {line}"


@services
def test_the_program_is_an_entry_point_and_knows_its_options(unit):
    program, *options = command_of(unit)
    assert program.startswith(PROGRAMS)
    module = entry_points()[program.removeprefix(PROGRAMS)].partition(":")[0]
    source = ROOT / (module.replace(".", "/") + ".py")
    for option in options:
        if option.startswith("--") and source.exists():
            assert f'"{option}"' in source.read_text(encoding="utf-8"), f"{unit.name}: {module} knows no {option}"


@lasting
def test_a_service_says_when_it_is_ready_and_fed(unit):
    keys = keys_of(unit)
    assert (keys["Type"], keys["NotifyAccess"]) == (["notify"], ["main"])
    module = entry_points()[Path(command_of(unit)[0]).name].partition(":")[0]
    source = ROOT / (module.replace(".", "/") + ".py")
    said = source.read_text(encoding="utf-8") if source.exists() else "READY=1 WATCHDOG=1"
    assert "READY=1" in said, f"{unit.name} waits for READY=1, which {module} never says"
    assert ("WATCHDOG=1" in said) == ("WatchdogSec" in keys)


@lasting
def test_a_service_comes_back_for_ever_except_with_wrong_settings(unit):
    keys = keys_of(unit)
    assert keys["Restart"] == ["always"]
    assert keys["StartLimitIntervalSec"] == ["0"]
    assert keys["RestartPreventExitStatus"] == ["78"]
    assert keys["KillMode"] == ["mixed"]


@services
def test_stopping_a_service_does_not_delete_the_manual_socket(unit):
    assert "RuntimeDirectory" not in keys_of(unit)


@services
def test_a_service_has_no_rights_it_does_not_need(unit):
    keys = keys_of(unit)
    assert keys["CapabilityBoundingSet"] == [""]
    assert keys["NoNewPrivileges"] == ["yes"]
    assert keys["ProtectSystem"] == ["strict"]
    assert keys.get("User", ["dynamic"]) != ["root"]
    assert "PrivateDevices" in keys or keys["DevicePolicy"] == ["closed"]


@services
def test_a_service_may_ask_whether_the_clock_is_trusted(unit):
    """ProtectClock= forbids adjtimex(2), with which an entry's stamp asks whether the clock is synchronised."""
    keys = keys_of(unit)
    assert "ProtectClock" not in keys
    assert "adjtimex" in keys["SystemCallFilter"][-1]


@pytest.mark.parametrize("name", ["sentinel-gate.service", "sentinel-manual@.service"])
def test_what_opens_the_barrier_has_no_network(name):
    keys = keys_of(FOLDER / name)
    assert keys["PrivateNetwork"] == ["yes"]
    assert keys["RestrictAddressFamilies"] == ["AF_UNIX"]


@pytest.mark.parametrize("name", ["sentinel-uplink.service", "sentinel-console.service"])
def test_what_has_the_network_can_open_nothing(name):
    keys = keys_of(FOLDER / name)
    assert keys["PrivateDevices"] == ["yes"]
    assert "-/var/lib/sentinel/secrets" in keys["InaccessiblePaths"]
    assert keys["User"] != keys_of(FOLDER / "sentinel-gate.service")["User"]
    assert keys["IPAddressDeny"] == ["any"]


def test_the_backup_comes_after_the_gate_and_reaches_no_device_and_no_network():
    keys = keys_of(FOLDER / "sentinel-backup.service")
    assert (keys["Type"], keys["User"]) == (["oneshot"], ["sentinel"]), "a -wal file of another user locks the gate out"
    assert (keys["Nice"], keys["IOSchedulingClass"]) == (["19"], ["idle"])
    assert (keys["PrivateDevices"], keys["PrivateNetwork"]) == (["yes"], ["yes"])
    assert "--if-due" in command_of(FOLDER / "sentinel-backup.service")
    assert set(keys_of(FOLDER / "sentinel-backup.timer")) >= {"OnBootSec", "OnUnitActiveSec"}, "no wall clock"


def test_nobody_but_the_gate_can_leave_a_file_beside_the_ledger():
    """A reader of another user that left a -wal file beside the ledger would lock the gate out of it."""
    directories = {row[1]: row[2:5] for row in rows_of("sentinel.tmpfiles.conf", "d")}
    assert directories["/var/lib/sentinel"] == ["2750", "sentinel", "sentinel"]
    settings = tomllib.loads((ROOT / "config" / "gate.toml").read_text(encoding="utf-8"))
    own = settings["paths"]["uplink_dir"]
    assert directories[own] == ["2750", "sentinel-uplink", "sentinel"]
    assert keys_of(FOLDER / "sentinel-uplink.service")["ReadWritePaths"] == [f"{own} /run/sentinel"]


def test_the_manual_socket_is_held_by_systemd_for_the_operators():
    keys = keys_of(FOLDER / "sentinel-manual.socket")
    assert keys["ListenStream"] == ["/run/sentinel/manual.sock"]
    assert keys["Accept"] == ["yes"]
    assert (keys["SocketGroup"], keys["SocketMode"]) == (["sentinel-ops"], ["0660"])
    assert keys["TriggerLimitIntervalSec"] == ["0"]
    served = keys_of(FOLDER / "sentinel-manual@.service")
    assert served["StandardInput"] == ["socket"]
    assert served["StandardOutput"] == ["journal"]


def test_every_user_and_group_is_made():
    made = {row[1] for kind in "ug" for row in rows_of("sentinel.sysusers.conf", kind)}
    for unit in UNITS:
        for key in ("User", "Group", "SocketUser", "SocketGroup"):
            assert set(keys_of(unit).get(key, ())) <= made, f"{unit.name}: {key}= names nobody"
    for row in rows_of("sentinel.tmpfiles.conf", "d"):
        assert set(row[3:5]) <= made | {"root"}, f"{row[1]} belongs to nobody"
    for row in rows_of("sentinel.sysusers.conf", "m"):
        assert row[1] in made


def test_operators_reach_the_manual_socket():
    directories = {row[1]: int(row[2], 8) for row in rows_of("sentinel.tmpfiles.conf", "d")}
    assert directories["/run/sentinel"] & 0o001, "sentinel-ops may not pass through /run/sentinel"
    assert not directories["/run/sentinel"] & 0o002


def test_systemd_can_make_the_users(tmp_path):
    program = shutil.which("systemd-sysusers")
    assert program, "systemd-sysusers is missing; on Debian: apt-get install systemd"
    (tmp_path / "etc").mkdir()
    command = [program, f"--root={tmp_path}", "--dry-run", str(FOLDER / "sentinel.sysusers.conf")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    strange = [line for line in done.stderr.splitlines() if not line.startswith(("Creating ", "Would write "))]
    assert strange == []
