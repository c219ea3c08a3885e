"""A real MQTT 5 broker on a free loopback port, and a real PostgreSQL on another."""

import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sentinel.rehearsal import held_port

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "bench"))
import postgresql_server as server

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"


class Mosquitto:
    """One broker that a test may kill and start again on the same port."""

    def __init__(self, directory: Path, settings: str = "") -> None:
        self._held = held_port()
        self.port = self._held.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = directory / f"mosquitto-{self.port}.conf"
        self._config.write_text(settings or f"listener {self.port} 127.0.0.1\nallow_anonymous true\n")
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, settings: str) -> None:
        self._config.write_text(settings)

    def start(self) -> None:
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config), "-v"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if b" running" in line:
                break
        else:
            pytest.fail(f"mosquitto ended with {self._process.wait()} before it was running")
        # A full pipe would stop the broker in the midst of a flood.
        self._drain = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._drain.start()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stderr is not None
            self._drain.join()
            self._process.stderr.close()
            self._process = None


@pytest.fixture
def new_mosquitto(tmp_path: Path) -> Iterator[Callable[[], Mosquitto]]:
    """Make brokers, not yet started, that end with the test."""
    made: list[Mosquitto] = []

    def make() -> Mosquitto:
        made.append(Mosquitto(tmp_path))
        return made[-1]

    yield make
    for broker in made:
        with suppress(ProcessLookupError):
            broker.kill()


@pytest.fixture
def mosquitto(new_mosquitto: Callable[[], Mosquitto]) -> Mosquitto:
    """A running broker."""
    broker = new_mosquitto()
    broker.start()
    return broker


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, whose commits do not wait for the disk of a test machine."""
    with server.postgresql_server(tmp_path_factory.mktemp("pg"), settings=server.UNSAFE) as running:
        yield running.url


@pytest.fixture
def postgresql(postgresql_server: str) -> Callable[[], str]:
    """Make empty databases, by their URLs."""
    import psycopg

    def make() -> str:
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(postgresql_server, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return f"{postgresql_server}?options=-csearch_path%3D{name}"

    return make
