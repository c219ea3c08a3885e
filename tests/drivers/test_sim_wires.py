"""The simulated barrier's wires: what the gate drives the world sees, also when the gate is killed."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from drivers.barrier import Barrier, Pins
from drivers.errors import PortLost, PortSettingsError
from drivers.readings import BarrierEventKind
from drivers.sim.wires import WIRES_ENVIRONMENT, SimFactory, WiresServer

RELAY, PASS, FIRE = 17, 27, 22
PINS = Pins(factory="sentinel-sim", relay=RELAY, pass_sensor=PASS, fire=FIRE)
WAIT_S = 5.0
GATE = """
import sys
from drivers.barrier import Barrier, Pins
from drivers.sim.wires import SimFactory
pins = Pins(factory="sentinel-sim", relay=17)
barrier = Barrier(pins, passage_s=5.0, on_event=print, pin_factory=SimFactory(sys.argv[1]))
barrier.pulse(3.0)
input()
"""


class Told:
    """Events, and a way to wait for the next."""

    def __init__(self):
        self.kinds = []
        self._news = threading.Condition()

    def __call__(self, event):
        with self._news:
            self.kinds.append(event.kind)
            self._news.notify_all()

    def reach(self, kinds):
        with self._news:
            assert self._news.wait_for(lambda: self.kinds == kinds, WAIT_S), f"told {self.kinds}, expected {kinds}"


@pytest.fixture
def world(tmp_path):
    world = WiresServer(tmp_path / "wires.sock", journal=tmp_path / "wires.jsonl")
    for pin in (PASS, FIRE):
        world.set(pin, 1)
    yield world
    world.close()


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def barrier(world, told, tmp_path):
    barrier = Barrier(PINS, passage_s=5.0, on_event=told, pin_factory=SimFactory(str(tmp_path / "wires.sock")))
    yield barrier
    barrier.close()


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "wires.jsonl").read_text().splitlines()]


def test_connecting_moves_nothing(barrier, world, tmp_path):
    world.set(PASS, 1)
    barrier.tick(0.0)
    assert world.edges() == [] and lines(tmp_path) == []


def test_a_pulse_is_two_edges_in_the_journal(barrier, world, tmp_path):
    barrier.pulse(0.01)
    assert world.wait_for(RELAY, 1, WAIT_S) or len(world.edges()) == 2
    assert world.wait_for(RELAY, 0, WAIT_S)
    rows = lines(tmp_path)
    assert [(row["pin"], row["value"], row["cause"], row["pid"]) for row in rows] == [
        (RELAY, 1, "driven", os.getpid()),
        (RELAY, 0, "driven", os.getpid()),
    ]
    assert rows[0]["sent_boottime_ns"] <= rows[0]["boottime_ns"] < rows[1]["boottime_ns"]


def test_the_journal_is_appended_to_by_the_next_world(tmp_path):
    (tmp_path / "wires.jsonl").write_text('{"pin": 1}\n')
    WiresServer(tmp_path / "wires.sock", journal=tmp_path / "wires.jsonl").close()
    assert lines(tmp_path) == [{"pin": 1}]


def test_the_pass_sensor_is_felt(barrier, world, told):
    barrier.pulse(1.0)
    world.press(PASS, 0.01)
    told.reach([BarrierEventKind.PASSED])


def test_fire_before_the_gate_starts_is_seen(world, told, tmp_path):
    world.set(FIRE, 0)
    with SimFactory(str(tmp_path / "wires.sock")) as factory:
        barrier = Barrier(PINS, passage_s=5.0, on_event=told, pin_factory=factory)
        assert barrier.fire_active
        barrier.tick(0.0)
        told.reach([BarrierEventKind.FIRE_ON])
        barrier.close()


def test_a_killed_gate_drops_the_relay_and_the_journal_says_so(world, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", GATE, str(tmp_path / "wires.sock")], stdin=subprocess.PIPE
    ) as gate:
        assert world.wait_for(RELAY, 1, WAIT_S)
        os.kill(gate.pid, signal.SIGKILL)
        assert world.wait_for(RELAY, 0, WAIT_S)
        assert [(row["value"], row["cause"], row["pid"]) for row in lines(tmp_path)] == [
            (1, "driven", gate.pid),
            (0, "lost", gate.pid),
        ]


def test_a_gate_that_closes_lets_the_relay_fall(barrier, world):
    barrier.pulse(3.0)
    assert world.wait_for(RELAY, 1, WAIT_S)
    barrier.close()
    assert world.wait_for(RELAY, 0, WAIT_S)
    assert [edge.cause for edge in world.edges(RELAY)] == ["driven", "driven"]


def test_cut_wires_are_told_and_nothing_is_believed(barrier, world):
    world.unplug()
    with pytest.raises(PortLost):
        while True:  # the cut is noticed by the thread that listens; pytest-timeout bounds this
            barrier.tick(0.0)
    with pytest.raises(PortLost, match="relay did not move"):
        barrier.pulse(0.5)
    assert barrier.rights == 0
    with pytest.raises(PortLost):
        _ = barrier.fire_active


def test_wires_can_be_put_back(barrier, world, told, tmp_path):
    world.unplug()
    with pytest.raises(PortLost, match="no world at"):
        SimFactory(str(tmp_path / "wires.sock"))
    world.plug()
    again = Barrier(PINS, passage_s=5.0, on_event=told, pin_factory=SimFactory(str(tmp_path / "wires.sock")))
    again.pulse(3.0)
    assert world.wait_for(RELAY, 1, WAIT_S)
    again.close()


def test_a_factory_without_a_socket_says_where_to_name_one():
    assert WIRES_ENVIRONMENT not in os.environ
    with pytest.raises(PortSettingsError, match=WIRES_ENVIRONMENT):
        SimFactory()


def test_a_listener_that_is_no_world_is_not_believed(tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "wires.sock"))
        deaf.listen()
        threading.Thread(target=lambda: deaf.accept()[0].close(), daemon=True).start()
        with pytest.raises(PortLost, match="no world answered"):
            SimFactory(str(tmp_path / "wires.sock"))


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(world, tmp_path):
    with pytest.raises(PortSettingsError, match="is a world running there already"):
        WiresServer(tmp_path / "wires.sock")
    import socket

    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "stale.sock"))
    stale.close()
    WiresServer(tmp_path / "stale.sock").close()


def test_nonsense_on_a_wire_ends_that_wire_only(barrier, world, tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX) as babbler:
        babbler.connect(str(tmp_path / "wires.sock"))
        babbler.sendall(b"\xff\x00 open sesame\n")
        while babbler.recv(4096):
            pass
    barrier.pulse(3.0)
    assert world.wait_for(RELAY, 1, WAIT_S)
