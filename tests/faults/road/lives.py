"""Start, kill and watch the processes of the road: forked from `zygote.py`, and brokers of their own."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .card import library

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
PATIENCE_S = 30.0


@dataclass(slots=True)
class Life:
    """One process. Held by a pidfd, so that a number which was given to somebody else is never killed."""

    pid: int
    pidfd: int

    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.pidfd >= 0 and not select.select([self.pidfd], [], [], 0)[0]

    def send(self, number: int) -> None:
        """Send a signal; one that has ended takes none."""
        if self.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def freeze(self) -> None:
        """Stop it, and return when none of its threads can run any more: each stands still, or waits in the kernel."""
        self.send(signal.SIGSTOP)
        until = time.monotonic() + PATIENCE_S
        while self.alive() and not all(state in "TtDZX" for state in _states(self.pid)):
            assert time.monotonic() < until, f"{self.pid} does not stand still"

    def wait(self, seconds: float = PATIENCE_S) -> bool:
        """Wait until it has ended; return whether it has."""
        return self.pidfd < 0 or bool(select.select([self.pidfd], [], [], seconds)[0])

    def end(self, number: int = signal.SIGKILL, seconds: float = PATIENCE_S) -> bool:
        """Send a signal and wait for the end; return whether it came."""
        self.send(signal.SIGCONT if number == signal.SIGKILL else 0)
        self.send(number)
        gone = self.wait(seconds)
        if gone and self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        return gone


def _states(pid: int) -> list[str]:
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):  # a thread that has ended
            states.append(stat.read_text().rpartition(")")[2].split()[0])
    return states


class Zygote:
    """The process that all others are forked from."""

    def __init__(self, *, sick: bool = True) -> None:
        more = {"LD_PRELOAD": str(library())} if sick and library() else {}
        self.sick = bool(more)
        self._turn = threading.Lock()  # runs beside each other share one
        program = Path(__file__).with_name("zygote.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env={**os.environ, **more},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        self._process.stdout.close()

    def spawn(self, role: str, argv: list[str], log: Path, **more: Any) -> Life:
        """Start a process of this role."""
        assert self._process.stdin and self._process.stdout
        order = {"role": role, "argv": argv, "log": str(log), **more}
        with self._turn:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            pid = int(self._process.stdout.readline())
        try:
            return Life(pid, os.pidfd_open(pid))
        except ProcessLookupError:  # it has died already
            return Life(pid, -1)


class Broker:
    """A mosquitto on a free port, which may be killed, frozen, and started again with or without its memory."""

    def __init__(self, base: Path, *, host: str = "127.0.0.1", persistent: bool = False) -> None:
        with socket.create_server((host, 0)) as free:
            self.port = free.getsockname()[1]
        self.host = host
        self.acl = base / "acl"
        self._store = base / "broker"
        self._store.mkdir(exist_ok=True)
        self._config = base / "mosquitto.conf"
        self._log = base / "mosquitto.log"
        self.lines = [f"listener {self.port} {host}", "allow_anonymous true", "max_packet_size 300000"]
        if os.geteuid() == 0:
            self.lines.append("user root")
        if persistent:
            self.lines += ["persistence true", f"persistence_location {self._store}/", "autosave_interval 1"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._config.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection((self.host, self.port), 1.0):
                return
            if self.process.poll() is not None:
                break
            select.select([], [], [], 0.01)
        raise RuntimeError(f"mosquitto does not start; see {self._log}")

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def forget(self) -> None:
        """Lose all sessions and retained messages; only while it is down."""
        shutil.rmtree(self._store)
        self._store.mkdir()
