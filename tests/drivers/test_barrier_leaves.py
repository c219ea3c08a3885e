"""Both leaves, their doors, the switches and a fire: what the wires say, and each fault of the gate itself."""

import threading
from collections import deque

import pytest
from gpiozero.pins.mock import MockFactory, MockPin

from drivers.barrier import STUCK_S, Barrier, Pins
from drivers.contact import GAP_S, MAX_PULSE_S, OVERDUE_S, Contact
from drivers.errors import PortLost, PortSettingsError
from drivers.lamps import PATTERNS
from drivers.leaf import JAM_S, LEAVE_S
from drivers.readings import BarrierEventKind, Leaf, Symptom
from drivers.sim.gatehouse import Gatehouse, LeafState

WIRED = {
    "relay": 17, "relay_out": 5, "pass_sensor": 27, "pass_sensor_out": 6, "door": 13, "door_out": 19, "tailgate": 26,
    "key_switch": 20, "exit_button": 21, "fire": 22, "green": 23, "amber": 24, "red": 25, "buzzer": 18,
}  # fmt: skip
PINS = Pins(factory="mock", **WIRED)
PASSAGE_S, HELD_S, STEP_S = 5.0, 10.0, 0.05
Kind = BarrierEventKind


class ToldPin(MockPin):
    """A pin whose levels are kept for who steps the time."""

    moved: deque

    def _change_state(self, value):
        changed = super()._change_state(value)
        if changed and self._function == "output":
            self.factory.moved.append((self.info.name, bool(value)))
        return changed


class DeadPin(ToldPin):
    """A relay whose wire is cut."""

    def _set_state(self, value):
        if value:
            raise OSError("no answer")
        super()._set_state(value)


class Stand:
    """A barrier and a gatehouse, joined by pins, in a time that only we move."""

    def __init__(self, pins=PINS):
        self.now = 100.0
        self.told = []
        self.factory = MockFactory(pin_class=ToldPin)
        self.factory.moved = deque()
        self.moved = self.factory.moved
        self.edges = []
        self._later = []
        self._lock = threading.Lock()
        self.pins = {name: self.factory.pin(number) for name, number in WIRED.items()}
        self.house = Gatehouse(self.set_input, self.later)
        for name in ("pass_sensor", "pass_sensor_out", "tailgate", "key_switch", "exit_button", "fire"):
            self.set_input(name, False)
        self.barrier = Barrier(
            pins,
            passage_s=PASSAGE_S,
            held_s=HELD_S,
            on_event=self.told.append,
            clock=lambda: self.now,
            pin_factory=self.factory,
        )
        self.house.heal()

    def set_input(self, name, active):
        self.pins[name].drive_low() if active else self.pins[name].drive_high()

    def later(self, seconds, act):
        self._later.append((self.now + seconds, act))

    def relay(self, leaf):
        return bool(self.pins["relay" if leaf is Leaf.IN else "relay_out"].state)

    def levels(self, name):
        return [bool(change.state) for change in self.pins[name].states]

    def run(self, seconds):
        """Let the time pass in steps, as the gate's deciding thread does, and let the gate feel its relays."""
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            while self.moved:
                pin, on = self.moved.popleft()
                for leaf, name in ((Leaf.IN, "GPIO17"), (Leaf.OUT, "GPIO5")):
                    if pin == name:
                        self.edges.append((leaf, on))
                        self.house.relay_edge(leaf, on)
            ready = [act for at, act in self._later if at <= self.now]
            self._later = [(at, act) for at, act in self._later if at > self.now]
            for act in ready:
                act()
            self.barrier.tick(self.now)

    def let_through(self, leaf=Leaf.IN):
        self.barrier.pulse(0.5, leaf)
        self.run(0.5)
        self.house.walk(leaf)
        self.run(1.0)

    @property
    def kinds(self):
        return [event.kind for event in self.told]

    @property
    def symptom(self):
        return None if self.barrier.trouble is None else self.barrier.trouble.symptom


@pytest.fixture
def stand():
    stand = Stand()
    stand.run(1.0)
    assert (stand.told, stand.symptom, stand.edges) == ([], None, [])
    yield stand
    stand.barrier.close()


# — two leaves —


@pytest.mark.parametrize("leaf", Leaf)
def test_a_person_goes_through_the_leaf_that_was_opened(stand, leaf):
    stand.let_through(leaf)
    assert [(event.kind, event.leaf) for event in stand.told] == [(Kind.PASSED, leaf)]
    assert [edge for edge in stand.edges if edge[1]] == [(leaf, True)]
    stand.run(30.0)
    assert stand.house.state(leaf) is LeafState.CLOSED
    assert stand.symptom is None and len(stand.told) == 1


def test_a_right_to_go_in_is_no_right_to_go_out(stand):
    stand.barrier.pulse(0.5, Leaf.IN)
    stand.set_input("pass_sensor_out", True)
    assert [(event.kind, event.leaf) for event in stand.told] == [(Kind.INTRUSION, Leaf.OUT)]
    assert stand.barrier.rights == 1


def test_a_leaf_that_is_not_fitted_is_not_opened():
    stand = Stand(Pins(factory="mock", relay=17))
    assert stand.barrier.leaves == (Leaf.IN,)
    with pytest.raises(ValueError, match="no leaf out"):
        stand.barrier.pulse(0.5, Leaf.OUT)
    assert stand.barrier.rights == 0
    stand.barrier.close()


def test_an_active_low_relay_is_idle_when_its_pin_is_high():
    stand = Stand(Pins(factory="mock", relay=17, relay_active_high=False))
    assert stand.levels("relay")[-1:] == [True]
    stand.barrier.pulse(0.5)
    assert stand.levels("relay")[-1:] == [False]
    stand.barrier.close()


def test_an_active_low_relay_on_a_board_that_leases_is_a_settings_error():
    factory = MockFactory()
    factory.leased = True
    with pytest.raises(PortSettingsError, match="relay_active_high"):
        Barrier(Pins(factory="m", relay=17, relay_active_high=False), passage_s=5, on_event=print, pin_factory=factory)
    assert factory.pin(17).function == "input", "not even the pin was touched"


@pytest.mark.parametrize(
    ("name", "flag", "kind"),
    [
        ("pass_sensor", "pass_active_low", Kind.INTRUSION),
        ("pass_sensor_out", "pass_out_active_low", Kind.INTRUSION),
        ("tailgate", "tailgate_active_low", Kind.TAILGATE),
        ("key_switch", "key_switch_active_low", Kind.KEY_SWITCH),
        ("exit_button", "exit_button_active_low", Kind.EXIT_BUTTON),
        ("fire", "fire_active_low", Kind.FIRE_ON),
    ],
)
@pytest.mark.parametrize("active_low", [True, False])
def test_every_input_may_close_to_ground_or_to_the_supply(name, flag, kind, active_low):
    stand = Stand(Pins(factory="mock", relay=17, **{name: WIRED[name], flag: active_low}))
    pin = stand.pins[name]
    assert stand.told == []
    pin.drive_low() if active_low else pin.drive_high()
    assert stand.kinds == [kind]
    stand.barrier.close()


# — fire —


def test_a_fire_holds_both_leaves_open_until_it_is_over(stand):
    stand.house.fire(True)
    stand.run(60.0)
    assert stand.kinds == [Kind.FIRE_ON]
    assert stand.relay(Leaf.IN) and stand.relay(Leaf.OUT)
    assert sorted(stand.edges) == [(Leaf.IN, True), (Leaf.OUT, True)], "held means closed without a gap"
    stand.set_input("fire", False)
    assert not stand.relay(Leaf.IN) and not stand.relay(Leaf.OUT), "it ends at once, not at the next tick"


def test_a_fire_from_before_the_start_holds_the_leaves_too():
    stand = Stand()
    stand.pins["fire"]._state = False  # the contact was closed before we looked, without an edge
    assert not stand.relay(Leaf.IN)
    stand.run(STEP_S)
    assert stand.kinds == [Kind.FIRE_ON]
    assert stand.relay(Leaf.IN) and stand.relay(Leaf.OUT)
    stand.barrier.close()
    assert not stand.pins["relay"].state


def test_in_a_fire_nobody_is_an_intruder_and_no_door_is_forced_or_held(stand):
    stand.house.fire(True)
    for _ in range(3):
        stand.house.walk(Leaf.OUT)
        stand.run(10.0)
    assert stand.kinds == [Kind.FIRE_ON, Kind.PASSED, Kind.PASSED, Kind.PASSED]
    assert stand.symptom is None
    stand.house.fire(False)
    stand.run(30.0)
    assert stand.kinds[4:] == [Kind.FIRE_OFF]


class WrittenRelay:
    """An output that writes down what it is told."""

    is_active = False
    pin = "GPIO17"

    def __init__(self):
        self.told = []

    def on(self):
        self.told.append("on")

    def off(self):
        self.told.append("off")

    def blink(self, *, on_time, off_time, n):
        self.told.append((on_time, off_time, n))


def test_a_fire_is_held_by_leases_that_end_by_themselves():
    """Should the deciding thread hang, the pins' own thread opens the contact: the wires of the fire act alone then."""
    relay = WrittenRelay()
    contact = Contact(relay)
    for step in range(50):
        contact.hold(step * STEP_S)
    leases = [told for told in relay.told if told != "on"]
    assert set(leases) == {(MAX_PULSE_S, 0, 1)}
    assert len(leases) == 3, "one a second, not one a turn"
    contact.let_go(2.5)
    assert relay.told[-1] == "off"


def test_a_pulse_in_a_fire_is_a_right_and_moves_nothing(stand):
    stand.house.fire(True)
    stand.run(1.0)
    stand.barrier.pulse(0.5)
    stand.run(MAX_PULSE_S + OVERDUE_S + 1.0)
    assert stand.relay(Leaf.IN)
    assert stand.barrier.rights == 1


def test_after_a_fire_the_gate_sees_the_contact_open_before_the_next_pulse(stand):
    stand.house.fire(True)
    stand.run(10.0)
    stand.house.fire(False)
    stand.barrier.pulse(0.5)
    assert not stand.relay(Leaf.IN)
    stand.run(GAP_S + STEP_S)
    assert stand.levels("relay")[-2:] == [False, True]


def test_one_dead_relay_keeps_neither_the_other_leaf_shut_nor_the_fire_unsaid(stand):
    stand.pins["relay"].__class__ = DeadPin
    stand.set_input("fire", True)
    assert stand.kinds == [Kind.FIRE_ON]
    assert stand.relay(Leaf.OUT) and not stand.relay(Leaf.IN)
    with pytest.raises(PortLost, match="did not move"):
        stand.run(STEP_S)


# — lamps —


def test_every_pattern_lights_one_lamp_at_most(stand):
    for pattern, (lamp, _) in PATTERNS.items():
        stand.barrier.show(pattern)
        lit = [name for name in ("green", "amber", "red") if stand.pins[name].state]
        assert set(lit) <= {lamp}


def test_a_blinking_lamp_goes_on_and_off(stand):
    stand.barrier.show("fault")
    waited = threading.Event()
    for _ in range(100):
        if stand.levels("amber")[-2:] == [True, False]:
            break
        waited.wait(0.03)
    assert stand.levels("amber")[-2:] == [True, False]


def test_in_a_fire_the_lamps_show_fire_whatever_is_asked(stand):
    stand.house.fire(True)
    stand.barrier.show("red", buzz=1)
    assert not stand.pins["red"].state
    stand.house.fire(False)
    assert not stand.pins["green"].state
    stand.barrier.show("red")
    assert stand.pins["red"].state


# — doors —


def test_a_door_that_opens_for_a_right_is_not_forced(stand):
    stand.barrier.pulse(0.5)
    stand.run(PASSAGE_S + LEAVE_S)
    assert stand.kinds == [Kind.TIMED_OUT]


def test_a_forced_door_is_told_at_once_and_when_it_is_closed_again(stand):
    stand.house.fault("forced")
    assert [(event.kind, event.leaf) for event in stand.told] == [(Kind.FORCED, Leaf.IN)]
    stand.run(PASSAGE_S)
    stand.house.heal()
    stand.run(1.0)
    assert stand.kinds == [Kind.FORCED, Kind.CLOSED]


def test_a_door_that_is_held_is_a_trouble_until_it_closes(stand):
    stand.house.fault("held-open")
    stand.let_through()
    stand.run(PASSAGE_S + HELD_S - 1.5)
    assert stand.symptom is None
    stand.run(2.0)
    assert stand.symptom is Symptom.HELD_OPEN
    stand.house.heal()
    stand.run(1.0)
    assert stand.symptom is None
    assert stand.kinds == [Kind.PASSED, Kind.HELD_OPEN, Kind.CLOSED]


def test_a_door_that_stood_open_before_the_start_is_held_and_not_forced():
    stand = Stand(Pins(factory="mock", relay=17, door=13))
    stand.set_input("door", False)
    stand.told.clear()
    barrier = Barrier(
        Pins(factory="mock", relay=5, door=19), passage_s=PASSAGE_S, held_s=HELD_S, on_event=stand.told.append,
        clock=lambda: stand.now, pin_factory=stand.factory,
    )  # fmt: skip
    stand.set_input("door_out", False)
    barrier.tick(stand.now)
    barrier.tick(stand.now + PASSAGE_S + HELD_S + 1.0)
    assert Kind.HELD_OPEN in stand.kinds
    barrier.close()
    stand.barrier.close()


def test_a_stream_of_people_holds_the_door_with_right(stand):
    stand.house.fault("held-open")
    for _ in range(10):
        stand.let_through()
        stand.run(2.0)
    assert set(stand.kinds) == {Kind.PASSED} and stand.symptom is None


# — switches —


def test_who_opens_by_the_key_switch_is_no_intruder(stand):
    stand.set_input("key_switch", True)
    stand.set_input("door", False)
    stand.set_input("pass_sensor", True)
    stand.run(20.0)
    stand.set_input("pass_sensor", False)
    stand.set_input("key_switch", False)
    stand.run(PASSAGE_S - 1.0)
    stand.set_input("pass_sensor", True)
    assert stand.kinds == [Kind.KEY_SWITCH, Kind.PASSED, Kind.PASSED]
    stand.set_input("pass_sensor", False)
    stand.run(2.0)
    stand.set_input("pass_sensor", True)
    assert stand.kinds[3:] == [Kind.INTRUSION], "the key's time is over"


def test_the_exit_button_is_news_and_moves_nothing(stand):
    stand.set_input("exit_button", True)
    stand.run(1.0)
    assert stand.kinds == [Kind.EXIT_BUTTON]
    assert stand.edges == [] and stand.barrier.rights == 0


# — the faults of the gate, section 5 —


def test_a_pass_signal_without_opening_is_an_intrusion(stand):
    stand.house.fault("pass-without-open")
    stand.run(1.0)
    assert stand.kinds == [Kind.INTRUSION]


def test_no_pass_signal_lets_the_right_lapse(stand):
    stand.house.fault("no-pass")
    stand.let_through()
    stand.run(PASSAGE_S)
    assert stand.kinds == [Kind.TIMED_OUT]


def test_a_double_pass_signal_is_one_right_and_one_intrusion(stand):
    stand.house.fault("double-pass")
    stand.let_through()
    assert stand.kinds == [Kind.PASSED, Kind.INTRUSION]


def test_the_gates_own_tailgating_signal_is_told(stand):
    stand.house.fault("tailgate")
    stand.let_through()
    assert stand.kinds == [Kind.PASSED, Kind.TAILGATE]


@pytest.mark.parametrize("leaf", Leaf)
def test_a_jammed_leaf_is_a_trouble_until_a_leaf_moves_again(stand, leaf):
    stand.house.fault("jam")
    stand.barrier.pulse(0.5, leaf)
    stand.run(JAM_S - 0.1)
    assert stand.symptom is None
    stand.run(0.2)
    assert stand.symptom is Symptom.JAMMED
    assert f"leaf {leaf}" in stand.barrier.trouble.detail
    stand.run(PASSAGE_S)
    assert stand.symptom is Symptom.JAMMED, "nothing has moved yet: nothing is proven"
    stand.house.heal()
    stand.let_through(leaf)
    assert stand.symptom is None
    assert stand.kinds == [Kind.TIMED_OUT, Kind.PASSED]


def test_who_went_through_a_leaf_has_moved_it_whatever_its_door_contact_says():
    stand = Stand(Pins(factory="mock", relay=17, pass_sensor=27, door=13))
    stand.barrier.tick(stand.now)
    stand.barrier.pulse(0.5)
    stand.set_input("pass_sensor", True)
    stand.now += JAM_S + 1.0
    stand.barrier.tick(stand.now)
    assert stand.symptom is None
    stand.barrier.close()


@pytest.mark.parametrize("name", ["pass_sensor", "pass_sensor_out", "tailgate", "exit_button"])
def test_a_signal_that_never_ends_is_a_stuck_input(stand, name):
    stand.set_input(name, True)
    stand.run(STUCK_S - 1.0)
    assert stand.symptom is None
    stand.run(2.0)
    assert stand.symptom is Symptom.STUCK and name in stand.barrier.trouble.detail
    stand.set_input(name, False)
    stand.run(STEP_S)
    assert stand.symptom is None


def test_every_fault_of_the_gatehouse_ends(stand):
    for name in Gatehouse.FAULTS:
        stand.house.fault(name)
    stand.let_through()
    stand.house.heal()
    stand.run(1.0)
    stand.told.clear()
    stand.let_through()
    assert stand.kinds == [Kind.PASSED]
    assert stand.symptom is None and not stand.barrier.fire_active


def test_an_unknown_fault_is_refused(stand):
    with pytest.raises(ValueError, match="unknown fault 'rust'"):
        stand.house.fault("rust")
