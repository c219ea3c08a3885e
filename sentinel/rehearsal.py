"""Put a whole gate on one machine for training, demos and drills: every process real, only the devices simulated.

A rehearsal lives in one folder: its settings, its state, its logs, its simulated world. `start`, `stop` and `kill` act
on real processes; what it tells comes from the same ledger and the same commands that a maintainer has.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from drivers.errors import PortLost
from drivers.sim.bench import KINDS, RELAY_BOARD, RELAY_BOARD_INPUTS
from drivers.sim.world import client
from sentinel.core.errors import SentinelError, Unavailable
from sentinel.device_settings import THERMAL_I2C, THERMAL_VIDEO
from sentinel.supervise import die_with_parent
from sync.identity import make_identity
from sync.ledger import LedgerReader

_T = TypeVar("_T")

LOOK_S = 0.05
WALK_AWAY_S = 1.0  # twice the blink that the fuser forgives a face; the simulated camera shows five pictures in it
_START_S = 30.0
_MOSQUITTO = ("mosquitto", "/usr/sbin/mosquitto")
_MOSQUITTO_CONF = "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n"
_RUMQTTD_CONF = """id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
[v5.1]
name = "v5-1"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 100
"""


def broker_program() -> str | None:
    """Return the system's mosquitto, or None where there is none: then the embedded broker of `iotcore` serves."""
    return next((found for name in _MOSQUITTO if (found := shutil.which(name))), None)


def shipped(name: str) -> Path:
    """Return a file of config/: beside the code in a checkout, under share/sentinel when installed."""
    checkout = Path(__file__).resolve().parents[1] / "config" / name
    return checkout if checkout.is_file() else Path(sys.prefix) / "share" / "sentinel" / name


def held_port() -> socket.socket:
    """Return a socket that keeps a free port of the loopback until it is closed.

    Nobody is given the port meanwhile, also not while its server is killed and started again; a server that is told
    the number may listen on it, for it reuses addresses as this socket does.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


class Rehearsal:
    """One gate with everything around it: broker, street, uplink, console, and a simulated world at its wires.

    `devices` names others than the usual ones: {"thermal": "lepton", "infrared": "camera", "barrier": "modbus"}.
    """

    ORDER = ("world", "broker", "street", "gate", "uplink", "console")

    def __init__(
        self,
        directory: Path,
        *,
        models_dir: Path,
        settings: Mapping[str, Any] | None = None,
        devices: Mapping[str, str] | None = None,
    ) -> None:
        self._devices = dict(devices or {})
        self.directory = directory.resolve()
        self.models_dir = models_dir.resolve()
        self._ports = held_port(), held_port()
        self.broker_port, self.console_port = (int(held.getsockname()[1]) for held in self._ports)
        self.config = self.directory / "gate.toml"
        self.store = self.directory / "street.db"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("state", "run", "secrets", "logs"):
            (self.directory / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        street = make_identity(self.store.with_name("street.key"))  # found by the street beside its store
        self.store.with_name("street.pub").write_text(street.known.text(), encoding="ascii")
        self._write_settings(settings or {})
        self._write_broker_settings()

    def __enter__(self) -> "Rehearsal":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop_all()
        for held in self._ports:
            held.close()

    # -- processes ----------------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start processes and wait until each does its work.

        Raises: Unavailable naming the process and its log when one does not come up.
        """
        for name in names:
            self.spawn(name)
            self._until_ready(name)

    def spawn(self, name: str) -> None:
        """Start a process and do not wait for it."""
        with open(self.log_of(name), "ab") as log:
            self._running[name] = subprocess.Popen(
                self._command(name),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self.environment(),
                start_new_session=True,  # Ctrl-C is for whoever holds the rehearsal, who then ends these in order
                preexec_fn=partial(die_with_parent, signal.SIGTERM),  # and when that one is killed, these end too
            )

    def kill(self, name: str) -> None:
        """Kill a process with SIGKILL, as a power cut or a bug would."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def freeze(self, name: str) -> None:
        """Stop a process in its tracks, as a hung disk or a debugger would."""
        self._running[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self._running[name].send_signal(signal.SIGCONT)

    def stop(self, name: str) -> None:
        """End a process in order, or by force when it does not end within 10 s."""
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_all(self) -> None:
        """End everything that runs."""
        for name in reversed(self.ORDER):
            if name in self._running:
                self.stop(name)

    def runs(self, name: str) -> bool:
        """Tell whether a process runs."""
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def log_of(self, name: str) -> Path:
        """Return where a process writes its log."""
        return self.directory / "logs" / f"{name}.log"

    def environment(self) -> dict[str, str]:
        """Return the environment in which commands of this rehearsal run."""
        return {
            **os.environ,
            "SENTINEL_CONFIG": str(self.config),
            "SENTINEL_SIM_DIR": str(self.directory),
            "PYTHONUNBUFFERED": "1",
            "ORT_DISABLE_TELEMETRY": "1",
        }

    def _command(self, name: str) -> list[str]:
        python = [sys.executable, "-m"]
        if name == "world":
            other = [f"--device={device}={kind}" for device, kind in self._devices.items() if device != "barrier"]
            return [*python, "drivers.sim", "--dir", str(self.directory), *other]
        if name == "broker":
            program = broker_program()
            if program:
                return [program, "-c", str(self.directory / "mosquitto.conf")]
            return [*python, "iotcore", "--config", str(self.directory / "rumqttd.toml")]
        if name == "street":
            broker = f"mqtt://127.0.0.1:{self.broker_port}"
            return [*python, "sentinel.street", "--broker", broker, "--store", str(self.store)]
        module = "sentinel.console.app" if name == "console" else f"sentinel.{name}"
        return [*python, module, "--config", str(self.config)]

    def _world_answers(self) -> bool:
        try:
            return bool(self.world("state"))
        except PortLost:  # its socket is not there yet, or nobody listens at it yet
            return False

    def _until_ready(self, name: str) -> None:
        ready: Mapping[str, Callable[[], bool]] = {
            "world": self._world_answers,
            "broker": lambda: _listens(self.broker_port),
            "street": lambda: self.store.exists(),
            "gate": lambda: self.status() is not None,
            "uplink": lambda: (self.directory / "run" / "uplink.json").exists(),
            "console": lambda: _listens(self.console_port),
        }
        try:
            self.wait(lambda: ready[name]() or None, _START_S, while_running=name)
        except Unavailable as error:
            tail = self.log_of(name).read_text(errors="replace").splitlines()[-5:]
            raise Unavailable(f"{name} did not come up ({error}); its log {self.log_of(name)} ends: {tail}") from error

    # -- looking and acting -------------------------------------------------------------------------------------------

    def world(self, do: str, **request: Any) -> dict[str, Any]:
        """Ask the simulated world something.

        Raises: PortLost when it is not there; RequestError when it cannot do that.
        """
        with contextlib.closing(client(self.directory)) as world:
            return world.do(do=do, **request)

    def leave(self) -> None:
        """Let whoever stands there walk away, for as long as a camera needs to see that the place is empty."""
        self.world("leave")
        time.sleep(WALK_AWAY_S)

    def ctl(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `sentinelctl` as a maintainer would, and return what it printed and its exit code."""
        command = [sys.executable, "-m", "sentinel.cli", *args]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=self.environment(), check=False, timeout=60
        )

    def ctl_json(self, *args: str, stdin: str = "") -> dict[str, Any]:
        """Run `sentinelctl --json` and return its document."""
        done = self.ctl("--json", *args, stdin=stdin)
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            said = done.stderr or done.stdout
            raise SentinelError(f"sentinelctl {' '.join(args)} answered no JSON: {said}") from error

    def enrol(self, people: Iterable[Mapping[str, Any]]) -> None:
        """Put people into the roster.

        Raises: SentinelError with what `sentinelctl people add` said when somebody was refused.
        """
        lines = "\n".join(json.dumps(person, ensure_ascii=False) for person in people)
        done = self.ctl("people", "add", "--from", "-", stdin=lines)
        if done.returncode:
            raise SentinelError(f"not everybody could be enrolled: {done.stderr}")

    def status(self) -> dict[str, Any] | None:
        """Return the gate's own status, or None while no gate answers."""
        from sentinel.control import ask

        try:
            return ask(self.directory / "run" / "control.sock", {"v": 1, "verb": "status"}, 2.0)
        except Unavailable:
            return None

    def reader(self) -> LedgerReader:
        """Return a reader of the gate's ledger."""
        return LedgerReader(self.directory / "state" / "ledger.db")

    def wait(self, look: Callable[[], _T | None], timeout_s: float, while_running: str | None = None) -> _T:
        """Return what `look` finds as soon as it is not None.

        Raises: Unavailable when it found nothing in time, or the process that should bring it ended.
        """
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            found = look()
            if found is not None:
                return found
            if while_running is not None and not self.runs(while_running):
                raise Unavailable(f"{while_running} ended")
            time.sleep(LOOK_S)
        raise Unavailable(f"nothing came within {timeout_s:.0f} s")

    # -- settings -----------------------------------------------------------------------------------------------------

    def _write_settings(self, changes: Mapping[str, Any]) -> None:
        text = with_devices(shipped("demo.toml").read_text(encoding="utf-8"), self._devices)
        for mark, value in {
            "@DIR@": self.directory,
            "@MODELS@": self.models_dir,
            "@BROKER_PORT@": self.broker_port,
            "@CONSOLE_PORT@": self.console_port,
            **changes,
        }.items():
            text = text.replace(mark, str(value))
        self.config.write_text(text, encoding="utf-8")

    def _write_broker_settings(self) -> None:
        for name, form in (("mosquitto.conf", _MOSQUITTO_CONF), ("rumqttd.toml", _RUMQTTD_CONF)):
            (self.directory / name).write_text(form.format(port=self.broker_port), encoding="utf-8")


def with_devices(text: str, devices: Mapping[str, str]) -> str:
    """Return the demo's settings with other devices in it; the simulated ones have the speeds of the real ones."""
    for name, kind in devices.items():
        if name == "infrared":
            text += '\n[infrared]\nsource = "folder://@DIR@/infrared?newest=1&fps=5"\n'
        elif name == "barrier":
            text = _on_relay_board(text)
        else:
            start = text.index(f"[{name}]\n")
            end = text.index("\n[", start)
            text = f'{text[:start]}[{name}]\nkind = "{kind}"\n{_place_of(name, kind)}\n{text[end:]}'
    return text


def _place_of(name: str, kind: str) -> str:
    if kind in THERMAL_I2C:
        return 'port = "sim://@DIR@/i2c.sock"'
    if kind in THERMAL_VIDEO:
        return 'source = "folder://@DIR@/thermal?newest=1&fps=4&format=y16"'
    return f'port = "serial://@DIR@/{name}.tty?baud={KINDS[kind][1]}"'


def _on_relay_board(text: str) -> str:
    """Hang the barrier on the simulated Modbus board, whose pulse command bounds each opening."""
    text = text.replace('"sentinel-sim:@DIR@/wires.sock"', '"sentinel-modbus:serial://@DIR@/relay.tty?pulse=0x0200"')
    for names, pins in ((RELAY_BOARD, "relay"), (RELAY_BOARD_INPUTS, "input")):
        for place, name in enumerate(names):
            text = re.sub(rf"(?m)^{name} = \d+$", f'{name} = "{pins}{place}"', text)
    return text


def _listens(port: int) -> bool:
    with contextlib.closing(socket.socket()) as sock:
        sock.settimeout(0.5)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def synthetic_person(name: str, number: str, pictures: Sequence[Path] = ()) -> dict[str, Any]:
    """Return a roster line for a person who does not exist."""
    return {
        "name": name,
        "number": number,
        "pictures": [str(picture) for picture in pictures],
        "consent": {"ref": "rehearsal: synthetic person", "by": "self", "on": "2020-01-01", "purpose": "rehearsal"},
    }
