"""Several receivers share one street's entries: one that dies loses and doubles nothing, whatever the store."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_entries import FIRST, LedgerInMemory

from sentinel.core.errors import ConfigError, Unavailable
from sentinel.street_workers import alone_with, check_sharing
from sync.broker import MqttBroker
from sync.cursor import Cursor
from sync.forward import Forwarder
from sync.store import Store
from sync.store_sqlite import many_may_write
from sync.wire import Arrival, Batch, Gate, topics

HOUSE = Path(__file__).parents[2]
NAMES = topics("330106", "cuiyuan3", "east-3")
ENTRIES = 2_000
PATIENCE_S = 20.0


@pytest.fixture
def where(postgresql: Callable[[], str]) -> str:
    return postgresql()  # a file of SQLite bears several writers only since 3.51.3, which is nowhere yet


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 44, 5), (3, 46, 1), (3, 49, 9), (3, 50, 6), (3, 51, 2)])
def test_a_file_is_refused_to_several_receivers_where_sqlite_may_damage_it(version):
    with pytest.raises(ConfigError, match="PostgreSQL: --store postgresql://"):
        check_sharing(Path("street.db"), version)
    check_sharing("postgresql://street@db/street", version)


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 52, 0), (4, 0, 0)])
def test_a_sqlite_that_was_mended_serves_several_receivers(version):
    assert many_may_write(version)
    check_sharing(Path("street.db"), version)


def test_the_command_asks_before_it_shares(tmp_path: Path):
    command = [sys.executable, "-m", "sentinel.street", "--broker", "carrier-pigeon", "--share", "street"]
    done = subprocess.run([*command, "--store", str(tmp_path / "street.db")], cwd=HOUSE, capture_output=True, text=True)
    refused = (done.returncode, done.stderr.count("\n"), "PostgreSQL" in done.stderr) == (78, 1, True)
    assert refused is not many_may_write(), done.stderr


def test_a_file_has_one_writer_where_sqlite_may_damage_it(tmp_path: Path):
    store = tmp_path / "street.db"
    with alone_with(store, (3, 40, 1)):
        with pytest.raises(Unavailable, match="another process writes"), alone_with(store, (3, 40, 1)):
            pytest.fail("two write")
        with alone_with(store, (3, 51, 3)), alone_with("postgresql://street@db/street", (3, 40, 1)):
            pass
    with alone_with(store, (3, 40, 1)):
        pass  # who has ended is in nobody's way
    with pytest.raises(Unavailable, match="check the directory"), alone_with(tmp_path / "no" / "street.db", (3, 40, 1)):
        pytest.fail("there is no such place")


class Share:
    """Receivers as processes, all of one share."""

    def __init__(self, url: str, where: str) -> None:
        self.url, self.where = url, where
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, number: int) -> None:
        options = ["--broker", self.url, "--store", self.where, "--share", "street", "--name", f"street-{number}"]
        only = ["--entries-only"] if number else []
        command = [sys.executable, "-m", "sentinel.street", *options, *only]
        self.running.append(subprocess.Popen(command, cwd=HOUSE, stderr=subprocess.PIPE))
        stderr = self.running[-1].stderr
        assert stderr is not None
        assert any(b"connected" in line for line in stderr), "it ended before it was connected"
        threading.Thread(target=stderr.read, daemon=True).start()


@pytest.fixture
def share(mosquitto, where: str) -> Iterator[Share]:
    share = Share(mosquitto.url, where)
    yield share
    for process in share.running:
        process.kill()
        process.wait()


@pytest.mark.broker
def test_one_of_three_killed_while_it_drains_loses_and_doubles_nothing(share):
    for number in range(3):
        share.start(number)
    ledger = LedgerInMemory()
    ledger.start(FIRST)
    ledger.append(ENTRIES - 1)
    with Cursor(":memory:", write=True) as cursor:
        forwarder = Forwarder(
            ledger, cursor, MqttBroker(share.url, "gate"), NAMES, clock=time.monotonic, wall_ns=time.time_ns,
            chance=random.Random(3).random, batch_entries=20, resend_s=0.5,
        )  # fmt: skip
        forwarder.connect(5.0)
        deadline = time.monotonic() + PATIENCE_S
        killed = False
        while pending := forwarder.balance().pending:
            assert time.monotonic() < deadline, f"{pending} entries are stuck"
            forwarder.turn(0.02)
            if not killed and pending < ENTRIES * 3 // 4:
                share.running[1].kill()
                killed = True
        forwarder.close()
    assert killed
    with Store(share.where) as store:
        (gate,) = store.report()
    assert (gate.entries, gate.missing, gate.forks, gate.breaks) == (ENTRIES, 0, (), ())
    assert gate.epochs[0].missing == ()


def test_two_workers_with_parts_of_one_epoch_keep_all_runs(where):
    """Each batch comes to both, in another order, at the same time: what one adds the other must not forget."""
    ledger = LedgerInMemory()
    ledger.start(FIRST)
    ledger.append(199)
    gate = Gate(street="330106", site="cuiyuan3", gate="east-3")
    parts = [ledger.range(FIRST, first, first + 4) for first in range(1, 200, 5)]
    with Store(where):
        pass  # the tables are made

    def work(order: list[int]) -> list[int]:
        with Store(where) as store:
            said = []
            for at in order:
                arrivals = tuple(Arrival(entry=entry) for entry in parts[at])
                receipt = store.accept(gate, Batch(id=f"b-{at}", arrivals=arrivals), now_ns=1)
                assert not receipt.refused
                said.append(receipt.epochs[0].upto)
            return said

    forth = list(range(len(parts)))
    with ThreadPoolExecutor(3) as pool:
        orders: list[list[int]] = [forth, forth[::-1], random.Random(5).sample(forth, len(forth))]
        works: list[Callable[[], object]] = [pool.submit(work, order).result for order in orders]
        for result in works:
            result()
    with Store(where) as store:
        (report,) = store.report()
    assert (report.entries, report.missing, report.forks, report.breaks) == (200, 0, (), ())


def children_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.broker
def test_the_workers_of_one_command_come_back_and_end_with_it(mosquitto, where):
    command = [sys.executable, "-m", "sentinel.street", "--broker", mosquitto.url, "--store", where, "--workers", "2"]
    with subprocess.Popen(command, cwd=HOUSE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        connected = (line for line in process.stderr if b"connected to" in line)
        try:
            next(connected)
            next(connected)
            first = children_of(process.pid)
            assert len(first) == 2
            victim = min(first)
            os.kill(victim, signal.SIGKILL)
            assert next(connected), "a new one connects"
            second = children_of(process.pid)
            assert (len(second), victim in second, len(second & first)) == (2, False, 1)
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
            assert all(is_gone(pid) for pid in first | second)
        finally:
            process.kill()
