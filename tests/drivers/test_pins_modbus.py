"""A relay board on a line: believed only after its read-back, leased where it can be, and each fault with its name.

The board is simulated at the other end of a real pseudo-terminal (relay_stand.py). Its inputs, and what is no board at
all: test_pins_modbus_wires.py.
"""

import os
import signal
import subprocess
import sys

import pytest
from relay_stand import BUZZER, FIRE, GREEN, IN, OUT, PULSE, RED, Stand

from drivers.barrier import NotMoved, WireFault
from drivers.codecs import modbus
from drivers.contact import MAX_PULSE_S
from drivers.modbus_line import ANSWER_S, QUIET_S
from drivers.pins_modbus import LEASE_S, SPOILT_MOST
from drivers.readings import BarrierEventKind, Symptom
from drivers.sim.relay_board import SimRelayBoard

Kind = BarrierEventKind


@pytest.fixture
def stand(tmp_path):
    stand = Stand(tmp_path)
    yield stand
    stand.close()


# — switching —


def test_nothing_is_commanded_at_the_start(stand):
    stand.open()
    assert [request for request in stand.board.heard if request.function == modbus.WRITE_COIL] == []


def test_a_relay_that_somebody_left_closed_is_opened_at_the_start(stand):
    stand.board.answer(modbus.write_coil(1, IN, True))
    stand.open()
    assert stand.board.edges == [(IN, True), (IN, False)]


def test_a_command_is_done_when_the_board_reads_back_that_it_is(stand):
    barrier = stand.open()
    stand.board.heard.clear()
    barrier.pulse(MAX_PULSE_S)
    assert stand.board.relays[IN]
    functions = [request.function for request in stand.board.heard if request.function != modbus.READ_INPUTS]
    assert functions[:2] == [modbus.WRITE_COIL, modbus.READ_COILS]


def test_a_pulse_ends(stand):
    barrier = stand.open(PULSE)
    barrier.pulse(0.1)
    stand.board.until(lambda: stand.board.edges == [(IN, True), (IN, False)])


def test_each_leaf_has_its_relay(stand):
    barrier = stand.open()
    barrier.pulse(MAX_PULSE_S, "out")
    assert stand.board.relays[IN : OUT + 1] == (False, True)
    barrier.close()
    assert not any(stand.board.relays)


# — faults of the board and of the line —

BOARD_FAULTS = {
    "no-echo": Symptom.SILENT,
    "exception-02": Symptom.REFUSED,
    "exception-04": Symptom.REFUSED,
    "unchanged": Symptom.NOT_MOVING,
    "late": Symptom.SILENT,
}
LINE_FAULTS = {"silence": Symptom.SILENT, "noise": Symptom.NOISE, "flip": Symptom.NOISE, "half": Symptom.SILENT}


def test_every_fault_of_the_board_has_its_symptom():
    assert set(BOARD_FAULTS) == set(SimRelayBoard.FAULTS)


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, (PULSE,)) for name in BOARD_FAULTS), *((name, ()) for name in ["late", *LINE_FAULTS])],
)
def test_each_fault_is_told_by_its_name_opens_nothing_late_and_heals(stand, name, options):
    barrier = stand.open(*options)
    symptom = (BOARD_FAULTS | LINE_FAULTS)[name]
    (stand.board if name in BOARD_FAULTS else stand.line).fault(name)
    stand.clock.hurry({Symptom.SILENT: 5, Symptom.NOISE: 2}.get(symptom, 1))
    with pytest.raises(WireFault, match="relay did not move") as told:
        barrier.pulse(0.5)
    assert told.value.symptom is symptom
    assert isinstance(told.value, NotMoved) == (symptom is Symptom.NOT_MOVING)
    assert barrier.rights == 0
    stand.board.until(lambda: not stand.board.relays[IN])
    before = stand.board.closures(IN)
    stand.heal(barrier)
    assert stand.board.closures(IN) == before, "a refused opening happened later"
    barrier.pulse(0.5)
    assert barrier.rights == 1 and stand.board.closures(IN) == before + 1


@pytest.mark.parametrize("name", ["torn", "prelude"])
def test_a_line_that_only_tears_or_crackles_does_its_work(stand, name):
    stand.line.fault(name)
    stand.open(PULSE).pulse(MAX_PULSE_S)
    assert stand.board.relays[IN]


def test_a_spoilt_echo_is_decided_by_the_read_back(stand):
    factory = stand.factory("inputs=0")
    relay = factory.pin("relay0")
    stand.board.garbled = 1
    relay.output_with_state(False)
    relay.state = 1
    assert stand.board.garbled == 0
    assert stand.board.relays[0]


def test_one_spark_is_no_fault_and_several_in_a_row_are(stand):
    barrier = stand.open()
    stand.board.garbled = SPOILT_MOST - 1
    stand.board.until_asked(SPOILT_MOST + 1)
    barrier.tick(stand.clock())
    stand.line.noise()
    stand.clock.hurry(3)
    with pytest.raises(WireFault, match="no answer among them"):
        for _ in range(100):  # the thread that asks finds it out
            barrier.tick(stand.clock())
            stand.board.until_asked(1)


def test_one_late_answer_of_a_board_that_answered_so_far_is_no_fault(stand):
    """A busy host, or a busy board: nobody is sent to a barrier for half a second in which nobody wanted it."""
    barrier = stand.open()
    stand.board.late_s = 2 * ANSWER_S
    stand.board.until_asked(3)
    barrier.tick(stand.clock())
    stand.board.late_s = 0.0
    barrier.pulse(0.1)
    assert stand.board.closures(IN) == 1


def test_a_board_that_falls_silent_is_told_though_it_answered_so_far(stand):
    barrier = stand.open()
    stand.line.silence()
    stand.clock.hurry(5)
    stand.board.until_asked(2)  # the second comes when no answer to the first can come any more
    with pytest.raises(WireFault, match="no answer") as told:
        barrier.tick(stand.clock())
    assert told.value.symptom is Symptom.SILENT


def test_a_relay_that_must_open_is_told_again_though_nothing_else_works(stand):
    """A host-timed board whose answers are all spoilt: the commands to open are lost at first, and must not cease."""
    barrier = stand.open()
    barrier.pulse(0.1)
    stand.board.deaf, stand.board.garbled = 3, 1_000
    stand.clock.hurry(3)
    stand.board.until(lambda: stand.board.edges == [(IN, True), (IN, False)])
    assert stand.board.deaf == 0 and stand.board.garbled > 0


def test_a_relay_that_must_open_is_told_again_after_each_silence(stand):
    barrier = stand.open()
    barrier.pulse(0.1)
    stand.line.silence()
    stand.board.deaf = 3
    stand.clock.hurry(10)
    stand.board.until(lambda: stand.board.edges == [(IN, True), (IN, False)])


def test_two_relays_that_must_open_do_not_wait_for_each_other(stand):
    barrier = stand.open()
    barrier.pulse(0.1)
    barrier.pulse(0.1, "out")
    stand.board.deaf, stand.board.garbled = 4, 1_000
    stand.clock.hurry(3)
    stand.board.until(lambda: not any(stand.board.relays[: OUT + 1]))


@pytest.mark.parametrize("strays", [b"", b"?"], ids=["silent", "spoilt"])
def test_a_command_to_open_a_leaf_is_never_repeated_by_itself(stand, strays):
    factory = stand.factory(PULSE)
    relay = factory.pin(f"relay{IN}")
    relay.output_with_state(False)
    stand.board.deaf, stand.board.strays = 1, strays
    with pytest.raises(WireFault):
        relay.state = 1
    stand.clock.skip(QUIET_S)
    stand.board.until(lambda: len(stand.board.writes(IN)) >= 2)
    stand.board.until_asked(2)
    assert stand.board.edges == [], "the leaf opened though nobody waits any more"
    assert [request.value for request in stand.board.writes(IN)[1:]] == [modbus.OFF], "it is told to rest, once"


def test_a_closed_relay_that_cannot_be_told_to_open_is_opened_when_the_line_is_back(stand):
    barrier = stand.open()
    barrier.pulse(MAX_PULSE_S)
    stand.board.fault("late")
    stand.board.deaf = 1
    barrier.close()
    assert stand.board.relays[IN]
    stand.board.heal()
    stand.clock.skip(QUIET_S)
    stand.board.until(lambda: stand.board.edges == [(IN, True), (IN, False)])


# — the host dies —

HOST = """
import sys
from drivers.barrier import Barrier, Pins
pins = Pins(factory=sys.argv[1], relay="relay0", green="relay4", buzzer="relay7")
barrier = Barrier(pins, passage_s=5.0, on_event=print)
barrier.show("green")
barrier.pulse(3.0)
print("pulsed", flush=True)
input()
"""


def host(stand, *options):
    return subprocess.Popen(
        [sys.executable, "-c", HOST, "sentinel-modbus:" + stand.url(*options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGSTOP])
def test_the_board_itself_opens_what_a_dead_host_has_closed_and_keeps_its_lamps(stand, death):
    with host(stand, PULSE) as gate:
        assert gate.stdout.readline() == b"pulsed\n"
        assert stand.board.relays[IN] and stand.board.relays[GREEN]
        os.kill(gate.pid, death)
        stand.clock.skip(LEASE_S)
        stand.board.until(lambda: not stand.board.relays[IN])
        assert stand.board.relays[GREEN], "a lamp is latched"
        gate.kill()
    assert stand.board.edges == [(GREEN, True), (IN, True), (IN, False)]


def test_what_a_dead_host_left_closed_on_a_board_without_leases_is_opened_by_the_next(stand):
    with host(stand) as gate:
        assert gate.stdout.readline() == b"pulsed\n"
        gate.kill()
    stand.clock.skip(2 * LEASE_S)
    assert stand.board.relays[IN] and stand.board.relays[GREEN]
    stand.open()
    assert not any(stand.board.relays)


def test_a_fire_is_a_lease_that_is_renewed_and_ends_with_the_deciding_thread(stand):
    barrier = stand.open(PULSE)
    stand.board.set_input(FIRE, True)
    stand.reaches([Kind.FIRE_ON])
    for _ in range(4):
        stand.clock.skip(1.0)
        barrier.tick(stand.clock())
        assert stand.board.relays[: OUT + 1] == (True, True)
    assert stand.board.closures(IN) == stand.board.closures(OUT) == 1, "held means closed without a gap"
    leases = [request.value * modbus.TENTH_S for request in stand.board.writes(IN)]
    assert leases == [LEASE_S] * len(leases) and len(leases) >= 4
    stand.clock.skip(LEASE_S)  # and no tick any more
    stand.board.until(lambda: stand.board.relays[: OUT + 1] == (False, False))


def test_a_relay_that_fell_in_a_fire_is_a_trouble_until_it_is_held_again(stand):
    barrier = stand.open(PULSE)
    stand.board.set_input(FIRE, True)
    stand.reaches([Kind.FIRE_ON])
    stand.board.fault("unchanged")
    stand.clock.skip(LEASE_S)
    stand.board.until(lambda: not any(stand.board.relays[: OUT + 1]))
    with pytest.raises(NotMoved):
        barrier.tick(stand.clock())
    assert barrier.trouble.symptom is Symptom.NOT_MOVING
    stand.board.heal()
    barrier.tick(stand.clock())
    assert stand.board.relays[: OUT + 1] == (True, True) and barrier.trouble is None


def test_the_buzzer_is_leased_and_lamps_are_not(stand):
    """Who dies while it beeps must not leave it beeping."""
    barrier = stand.open(PULSE)
    barrier.show("red", buzz=1)
    stand.board.until(lambda: (BUZZER, True) in stand.board.edges)
    assert stand.board.writes(BUZZER)[0].first == modbus.PULSE_ON + BUZZER
    assert stand.board.writes(RED)[0].first == RED


def test_a_latched_lamp_that_was_not_confirmed_is_lit_later(stand):
    barrier = stand.open(PULSE)
    stand.board.deaf, stand.board.strays = 1, b""
    with pytest.raises(WireFault):
        barrier.show("green")
    assert not stand.board.relays[GREEN]
    stand.heal(barrier)
    stand.board.until(lambda: stand.board.relays[GREEN])
    stand.clock.skip(10 * LEASE_S)
    barrier.tick(stand.clock())
    assert stand.board.relays[GREEN]
