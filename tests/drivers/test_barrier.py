"""The barrier: bounded pulses, one right each, nothing at start, and one owner."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from gpiozero.pins.mock import MockFactory, MockPin
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.barrier import GAP_S, MAX_PULSE_S, OVERDUE_S, Barrier, BarrierLock, Pins, make_pin_factory
from drivers.errors import BarrierBusy, PortLost, PortSettingsError
from drivers.readings import BarrierEventKind

RELAY, PASS, FIRE, GREEN, AMBER, RED, BUZZER = 17, 27, 22, 23, 24, 25, 18
PINS = Pins(
    factory="mock", relay=RELAY, pass_sensor=PASS, fire=FIRE, green=GREEN, amber=AMBER, red=RED, buzzer=BUZZER
)
PASSAGE_S = 5.0
PASSED, TIMED_OUT, INTRUSION = BarrierEventKind.PASSED, BarrierEventKind.TIMED_OUT, BarrierEventKind.INTRUSION
FIRE_ON, FIRE_OFF = BarrierEventKind.FIRE_ON, BarrierEventKind.FIRE_OFF


class WatchedPin(MockPin):
    """A pin whose level can be waited for."""

    def __init__(self, factory, info):
        self.news = threading.Condition()
        super().__init__(factory, info)

    def _change_state(self, value):
        with self.news:
            self.news.notify_all()
            return super()._change_state(value)

    def reaches(self, level):
        with self.news:
            return self.news.wait_for(lambda: self._state == level, timeout=2.0)


class BrokenPin(WatchedPin):
    """A relay board that has lost its cable."""

    def _set_state(self, value):
        if value:
            raise OSError("no answer")
        super()._set_state(value)


class Gate:
    """A barrier on pins of mock, with a clock that only we move."""

    def __init__(self, pins=PINS, pin_class=WatchedPin):
        self.now = 100.0
        self.told = []
        self.factory = MockFactory(pin_class=pin_class)
        self.barrier = Barrier(
            pins, passage_s=PASSAGE_S, on_event=self.told.append, clock=lambda: self.now, pin_factory=self.factory
        )

    def pin(self, number):
        return self.factory.pin(number)

    def levels(self, number):
        return [bool(change.state) for change in self.pin(number).states]

    def someone_passes(self):
        self.pin(PASS).drive_low()
        self.pin(PASS).drive_high()

    def wait(self, seconds):
        self.now += seconds
        self.barrier.tick(self.now)

    @property
    def kinds(self):
        return [event.kind for event in self.told]


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.barrier.close()


def test_nothing_moves_at_construction(gate):
    for pin in (RELAY, GREEN, AMBER, RED, BUZZER):
        assert gate.levels(pin) == [False], f"pin {pin} moved"
    assert gate.barrier.rights == 0


def test_a_pulse_closes_the_contact_and_ends_by_itself(gate):
    gate.barrier.pulse(0.01)
    assert gate.pin(RELAY).reaches(False)
    assert gate.levels(RELAY) == [False, True, False]


def test_a_pulse_gives_one_person_the_right_to_pass(gate):
    gate.barrier.pulse(0.5)
    gate.someone_passes()
    gate.someone_passes()
    assert gate.kinds == [PASSED, INTRUSION]


def test_two_pulses_are_two_rights_and_one_closure(gate):
    gate.barrier.pulse(1.0)
    gate.barrier.pulse(1.0)
    assert gate.levels(RELAY) == [False, True]
    gate.someone_passes()
    gate.someone_passes()
    assert gate.kinds == [PASSED, PASSED]


def test_a_right_lapses_when_nobody_comes(gate):
    gate.barrier.pulse(0.5)
    gate.wait(PASSAGE_S)
    gate.someone_passes()
    assert gate.kinds == [TIMED_OUT, INTRUSION]


def test_a_right_that_lapsed_unnoticed_lets_nobody_in(gate):
    gate.barrier.pulse(0.5)
    gate.now += PASSAGE_S
    gate.someone_passes()
    assert gate.kinds == [TIMED_OUT, INTRUSION]


def test_a_pulse_is_bounded_whatever_the_caller_wishes(gate):
    gate.barrier.pulse(3600.0)
    gate.wait(MAX_PULSE_S + OVERDUE_S + 0.01)
    assert gate.levels(RELAY) == [False, True, False]


def test_pulse_after_pulse_never_latches_the_contact(gate):
    for _ in range(8):
        gate.barrier.pulse(1.0)
        gate.wait(0.45)  # 3.6 s in all
    assert False in gate.levels(RELAY)[2:]


def worn_out(gate):
    """Hold the contact closed for as long as it may be, and see it opened."""
    gate.barrier.pulse(MAX_PULSE_S)
    gate.wait(MAX_PULSE_S + OVERDUE_S + 0.01)
    assert gate.levels(RELAY) == [False, True, False]


def test_a_pulse_after_the_longest_contact_waits_until_the_gate_has_seen_it_open(gate):
    worn_out(gate)
    gate.barrier.pulse(0.5)
    gate.wait(GAP_S - 0.01)
    assert gate.levels(RELAY) == [False, True, False], "the contact closed before the gap was over"
    assert gate.barrier.rights == 2, "a healthy relay that rests is no reason to refuse"
    gate.wait(0.02)
    assert gate.levels(RELAY) == [False, True, False, True]


def test_a_delayed_pulse_is_as_long_as_it_was_wished_and_comes_once(gate):
    worn_out(gate)
    gate.barrier.pulse(0.5)
    gate.wait(GAP_S)
    gate.wait(0.5 + OVERDUE_S + 0.01)
    gate.wait(GAP_S)
    assert gate.levels(RELAY) == [False, True, False, True, False]


def test_a_delayed_pulse_whose_right_is_over_opens_nothing(gate):
    worn_out(gate)
    gate.barrier.pulse(0.5)
    gate.wait(PASSAGE_S)
    assert gate.levels(RELAY) == [False, True, False]
    assert gate.kinds == [TIMED_OUT, TIMED_OUT]


def test_pulses_end_to_end_are_one_contact_with_one_limit(gate):
    """A contact that opens for no time is never open to the gate: only a real gap begins a new one."""
    for _ in range(3):
        gate.barrier.pulse(1.0)
        gate.now += 1.0
    closures = gate.levels(RELAY).count(True)
    gate.barrier.pulse(1.0)
    assert gate.levels(RELAY).count(True) == closures
    gate.wait(GAP_S - 0.01)
    gate.wait(GAP_S)
    assert gate.levels(RELAY)[-2:] == [False, True]


def test_a_second_pulse_soon_after_a_short_one_is_not_delayed(gate):
    gate.barrier.pulse(0.5)
    gate.now += 0.6
    gate.barrier.pulse(0.5)
    assert gate.levels(RELAY) == [False, True, False, True]


def test_a_relay_that_fails_in_a_delayed_pulse_is_told(gate):
    worn_out(gate)
    gate.barrier.pulse(0.5)
    gate.pin(RELAY).__class__ = BrokenPin
    with pytest.raises(PortLost, match="relay did not move"):
        gate.wait(GAP_S)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_pulse_of_no_length_is_refused(gate, seconds):
    with pytest.raises(ValueError, match="more than 0 s"):
        gate.barrier.pulse(seconds)
    assert gate.levels(RELAY) == [False]
    assert gate.barrier.rights == 0


def test_a_relay_that_does_not_move_is_told_and_gives_no_right():
    gate = Gate(pin_class=BrokenPin)
    with pytest.raises(PortLost, match="relay did not move"):
        gate.barrier.pulse(0.5)
    assert gate.barrier.rights == 0
    gate.barrier.close()


def test_closing_in_mid_pulse_opens_the_contact_once(gate):
    gate.barrier.pulse(3.0)
    relay = gate.pin(RELAY)
    gate.barrier.close()
    gate.barrier.close()
    assert [bool(change.state) for change in relay.states] == [False, True, False]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["pulse", "pass", "wait"]), max_size=12))
def test_every_right_ends_once(acts):
    gate = Gate()
    try:
        for act in acts:
            if act == "pulse":
                gate.barrier.pulse(3.0)
            elif act == "pass":
                gate.someone_passes()
            else:
                gate.wait(2.0)
        ended = gate.kinds.count(PASSED) + gate.kinds.count(TIMED_OUT)
        assert ended + gate.barrier.rights == acts.count("pulse")
        assert gate.kinds.count(PASSED) + gate.kinds.count(INTRUSION) == acts.count("pass")
    finally:
        gate.barrier.close()


def test_fire_is_told_when_it_comes_and_when_it_goes(gate):
    gate.pin(FIRE).drive_low()
    assert gate.barrier.fire_active
    gate.pin(FIRE).drive_high()
    assert gate.kinds == [FIRE_ON, FIRE_OFF]
    assert not gate.barrier.fire_active


def test_fire_at_start_is_told_by_the_first_tick():
    gate = Gate(pins=Pins(factory="mock", relay=RELAY, fire=FIRE, fire_active_low=False))
    gate.pin(FIRE)._state = True  # the contact was closed before we looked, without an edge
    gate.wait(0.1)
    gate.wait(0.1)
    assert gate.kinds == [FIRE_ON]
    gate.barrier.close()


def test_nobody_is_an_intruder_in_a_fire(gate):
    gate.pin(FIRE).drive_low()
    gate.someone_passes()
    assert gate.kinds == [FIRE_ON, PASSED]


def test_one_lamp_at_a_time(gate):
    lamps = {"green": GREEN, "amber": AMBER, "red": RED}
    for light in (*lamps, "off"):
        gate.barrier.show(light)
        assert [name for name, pin in lamps.items() if gate.pin(pin).state] == ([] if light == "off" else [light])


def test_the_buzzer_beeps(gate):
    gate.barrier.show("red", buzz=1)
    assert gate.pin(BUZZER).reaches(True)


def test_a_lamp_without_a_name_is_an_error(gate):
    with pytest.raises(ValueError, match="no lamp 'blue'"):
        gate.barrier.show("blue")


def test_a_barrier_may_have_nothing_but_a_relay():
    gate = Gate(pins=Pins(factory="mock", relay="GPIO17"))
    gate.barrier.show("green", buzz=2)
    gate.barrier.pulse(3.0)
    assert gate.pin(RELAY).state
    assert not gate.barrier.fire_active
    gate.barrier.close()


def test_pins_go_by_number_and_by_name():
    for relay in (17, "GPIO17", "BOARD11"):
        gate = Gate(pins=Pins(factory="mock", relay=relay))
        gate.barrier.pulse(3.0)
        assert gate.pin(RELAY).state, f"relay = {relay!r} is not GPIO17"
        gate.barrier.close()


def test_a_pin_that_is_not_there_is_a_settings_error():
    with pytest.raises(PortSettingsError, match="no pin 'GPIO99'"):
        Gate(pins=Pins(factory="mock", relay="GPIO99"))


def test_a_pin_used_twice_is_told_and_the_rest_is_given_back():
    factory = MockFactory()
    twice = Pins(factory="mock", relay=RELAY, green=RELAY)
    with pytest.raises(PortLost, match="already in use"):
        Barrier(twice, passage_s=5.0, on_event=print, pin_factory=factory)
    Barrier(Pins(factory="mock", relay=RELAY), passage_s=5.0, on_event=print, pin_factory=factory).close()


def test_factories_come_from_gpiozeros_table_by_name():
    factory = make_pin_factory("mock")
    assert isinstance(factory, MockFactory)
    factory.close()


def test_an_unknown_factory_is_an_error_and_never_a_mock():
    with pytest.raises(PortSettingsError, match=r"unknown pin factory 'gpoid'; known here are .*mock"):
        Barrier(Pins(factory="gpoid", relay=RELAY), passage_s=5.0, on_event=print)


def test_a_factory_that_takes_no_argument_gets_none():
    with pytest.raises(PortSettingsError, match="takes no argument"):
        make_pin_factory("mock:/tmp/x")


# — the lock —


def test_the_barrier_has_one_owner(tmp_path):
    first, second = BarrierLock(tmp_path / "barrier.lock"), BarrierLock(tmp_path / "barrier.lock")
    first.acquire()
    with pytest.raises(BarrierBusy, match=f"process {os.getpid()}"):
        second.acquire()
    assert second.holder() == os.getpid()
    first.release()
    with second:
        assert second.held
    assert second.holder() is None


def test_a_number_left_in_the_file_holds_nothing(tmp_path):
    (tmp_path / "barrier.lock").write_text("4242\n")
    lock = BarrierLock(tmp_path / "barrier.lock")
    assert lock.holder() is None
    with lock:
        assert lock.holder() == os.getpid()


def test_a_lock_nobody_ever_took_has_no_holder(tmp_path):
    assert BarrierLock(tmp_path / "barrier.lock").holder() is None


def test_a_lock_that_cannot_be_made_says_why(tmp_path):
    with pytest.raises(PortLost, match="No such file"):
        BarrierLock(tmp_path / "nowhere" / "barrier.lock").acquire()


def test_a_killed_owner_frees_the_lock(tmp_path):
    path = tmp_path / "barrier.lock"
    program = f"from drivers.barrier import BarrierLock; l = BarrierLock({str(path)!r}); l.acquire(); print(1, flush=1)"
    with subprocess.Popen(
        [sys.executable, "-c", program + "; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        owner.stdout.read(1)
        lock = BarrierLock(path)
        with pytest.raises(BarrierBusy, match=str(owner.pid)):
            lock.acquire()
        os.kill(owner.pid, signal.SIGKILL)
        lock.acquire(wait_s=5.0)
        lock.release()


def test_a_child_does_not_inherit_the_lock(tmp_path):
    program = "import os; print([os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')])"
    with BarrierLock(tmp_path / "barrier.lock"):
        open_files = subprocess.check_output([sys.executable, "-c", program], close_fds=False, text=True)
    assert "/dev/" in open_files and "barrier.lock" not in open_files
