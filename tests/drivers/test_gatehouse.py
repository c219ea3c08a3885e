"""A whole gate, its two leaves and its faults, by the wires alone: what the gate's hand is told, and what it moves."""

from functools import partial
from itertools import pairwise

import pytest
from gate_stand import HELD_S, PASS_SENSORS, PASSAGE_S, STEP_S, GateStand
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contact import GAP_S, MAX_PULSE_S, OVERDUE_S
from drivers.leaf import JAM_S
from drivers.readings import BarrierEventKind, Leaf, Symptom
from drivers.sim.gatehouse import MOVE_S, STAYS_OPEN_S, Gatehouse, LeafState
from sentinel.hand import RETRY_S

Kind = BarrierEventKind
BOTH = [Leaf.IN, Leaf.OUT]


@pytest.fixture
def stand():
    stand = GateStand()
    stand.run(1.0)
    assert (stand.told, stand.edges, stand.health) == ([], [], [None])
    yield stand
    stand.close()


# — the start —


@pytest.mark.parametrize(
    "name", ["pass_sensor", "pass_sensor_out", "tailgate", "key_switch", "exit_button", "door", "door_out"]
)
@pytest.mark.parametrize("active", [True, False])
def test_nothing_is_opened_at_the_start_however_the_inputs_are(name, active):
    stand = GateStand(before=lambda stand: stand.set_input(name, active))
    stand.run(2.0)
    assert stand.edges == [] and stand.hand.pulse(0.5)
    assert stand.told == [], "nothing has happened since the start"
    stand.close()


def test_a_fire_from_before_the_start_holds_both_leaves_and_lets_them_go():
    stand = GateStand(before=lambda stand: stand.house.fault("fire-at-start"))
    assert stand.closed_contacts() == [], "the start itself moves nothing"
    stand.run(30.0)
    assert stand.kinds == [Kind.FIRE_ON] and stand.hand.fire_active
    assert [(leaf, on) for _, leaf, on in stand.edges] == [(Leaf.IN, True), (Leaf.OUT, True)]
    assert {stand.house.state(leaf) for leaf in BOTH} == {LeafState.OPEN_HELD}
    stand.house.heal()
    assert stand.closed_contacts() == []
    stand.run(2.0)
    assert stand.kinds == [Kind.FIRE_ON, Kind.FIRE_OFF] and not stand.hand.fire_active
    assert {stand.house.state(leaf) for leaf in BOTH} == {LeafState.CLOSED}
    assert stand.health == [None]
    stand.close()


# — fire during the run —


@pytest.mark.parametrize("leaf", BOTH)
@pytest.mark.parametrize("after_s", [0.0, 0.3, 1.0, 2.0])
def test_a_fire_in_the_middle_of_a_passage_holds_both_leaves_and_lets_them_go(stand, leaf, after_s):
    stand.hand.pulse(0.5, leaf)
    stand.run(after_s)
    stand.house.fire(True)
    stand.run(20.0)
    assert stand.closed_contacts() == BOTH
    stand.house.walk(leaf)
    stand.run(1.0)
    stand.house.fire(False)
    assert stand.closed_contacts() == []
    stand.run(5.0)
    assert {stand.house.state(one) for one in BOTH} == {LeafState.CLOSED}
    assert Kind.INTRUSION not in stand.kinds and Kind.FORCED not in stand.kinds
    assert stand.barrier.rights == 0 and stand.health == [None]


def test_a_whole_house_leaves_in_a_fire_and_nobody_is_an_intruder(stand):
    stand.house.fire(True)
    for leaf in BOTH * 5:
        stand.house.walk(leaf)
        stand.run(0.5)
    assert stand.kinds == [Kind.FIRE_ON] + [Kind.PASSED] * 10


def test_a_fire_alarm_that_flickers_leaves_no_leaf_open(stand):
    for _ in range(10):
        stand.house.fire(True)
        stand.run(0.1)
        stand.house.fire(False)
        stand.run(0.1)
    stand.run(10.0)
    assert stand.kinds == [Kind.FIRE_ON, Kind.FIRE_OFF] * 10
    assert stand.closed_contacts() == []
    assert {stand.house.state(leaf) for leaf in BOTH} == {LeafState.CLOSED}


def test_after_a_fire_the_gate_is_as_before(stand):
    stand.house.fire(True)
    stand.run(5.0)
    stand.house.fire(False)
    stand.run(2.0)
    stand.told.clear()
    for leaf in BOTH:
        stand.let_through(leaf)
    assert [(event.kind, event.leaf) for event in stand.told] == [(Kind.PASSED, leaf) for leaf in BOTH]


def test_a_board_that_comes_back_in_a_fire_holds_the_leaves_again(stand):
    stand.house.fire(True)
    stand.run(1.0)
    stand.unplug()
    stand.run(3 * RETRY_S)
    assert set(stand.health[1:]) == {Symptom.LOST} and not stand.hand.there
    stand.plug()
    stand.run(RETRY_S + STEP_S)
    assert stand.health[-1] is None
    assert stand.closed_contacts() == BOTH
    assert stand.kinds == [Kind.FIRE_ON, Kind.FIRE_ON], "the new barrier tells what it finds"


# — switches —


def test_who_comes_by_the_key_switch_is_let_by_and_no_longer_than_a_passage(stand):
    stand.press("key_switch")
    stand.set_input("door", False)
    stand.press("pass_sensor")
    stand.set_input("door", True)
    assert stand.kinds == [Kind.KEY_SWITCH, Kind.PASSED]
    stand.run(PASSAGE_S)
    stand.press("pass_sensor")
    assert stand.kinds[2:] == [Kind.INTRUSION]
    assert stand.edges == [], "the key needs no relay of ours"


def test_the_exit_button_asks_and_whoever_decides_opens(stand):
    stand.press("exit_button")
    stand.run(2.0)
    assert stand.kinds == [Kind.EXIT_BUTTON] and stand.edges == []
    stand.let_through(Leaf.OUT)
    assert (stand.told[-1].kind, stand.told[-1].leaf) == (Kind.PASSED, Leaf.OUT)


# — each fault —


def seconds_of(stand, seconds):
    stand.run(seconds)


def passage(stand, leaf=Leaf.IN):
    stand.let_through(leaf)


# fault → what is done meanwhile, what is told, the symptom while it lasts
FAULTS = {
    "pass-without-open": (partial(seconds_of, seconds=1.0), [Kind.INTRUSION], None),
    "no-pass": (passage, [], None),
    "double-pass": (passage, [Kind.PASSED, Kind.INTRUSION], None),
    "tailgate": (passage, [Kind.PASSED, Kind.TAILGATE], None),
    "forced": (partial(seconds_of, seconds=1.0), [Kind.FORCED], None),
    "jam": (lambda stand: (stand.hand.pulse(0.5), stand.run(JAM_S + 0.1)), [], Symptom.JAMMED),
    "held-open": (
        lambda stand: (passage(stand), stand.run(PASSAGE_S + HELD_S)), [Kind.PASSED, Kind.HELD_OPEN], Symptom.HELD_OPEN
    ),
    "sensor-stuck": (partial(seconds_of, seconds=61.0), [Kind.INTRUSION], Symptom.STUCK),
    "fire-at-start": (partial(seconds_of, seconds=1.0), [Kind.FIRE_ON], None),
}  # fmt: skip


def test_every_fault_of_the_gate_is_here():
    assert set(FAULTS) == set(Gatehouse.FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_told_and_ends(stand, name):
    meanwhile, kinds, symptom = FAULTS[name]
    stand.house.fault(name)
    meanwhile(stand)
    assert stand.kinds == kinds
    assert stand.health == [None] + ([] if symptom is None else [symptom])
    if symptom is not None:
        assert stand.pin("amber")._state, "people see that something is wrong"
    stand.house.heal()
    stand.run(PASSAGE_S + STAYS_OPEN_S)
    stand.told.clear()
    stand.let_through()
    stand.run(PASSAGE_S)
    assert stand.kinds == [Kind.PASSED]
    assert stand.health[-1] is None and stand.house.state(Leaf.IN) is LeafState.CLOSED


@pytest.mark.parametrize("leaf", BOTH)
@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("no-pass", [Kind.TIMED_OUT]),
        ("double-pass", [Kind.PASSED, Kind.INTRUSION]),
        ("held-open", [Kind.PASSED, Kind.HELD_OPEN]),
        ("jam", [Kind.TIMED_OUT]),
    ],
)
def test_a_fault_at_one_leaf_is_told_of_that_leaf(stand, leaf, fault, kinds):
    stand.house.fault(fault)
    stand.let_through(leaf)
    stand.run(PASSAGE_S + HELD_S)
    assert [(event.kind, event.leaf) for event in stand.told] == [(kind, leaf) for kind in kinds]


@pytest.mark.parametrize("leaf", BOTH)
def test_nobody_came_and_the_right_is_over_when_the_passage_time_is(stand, leaf):
    stand.hand.pulse(0.5, leaf)
    stand.run(PASSAGE_S - STEP_S)
    assert stand.told == [] and stand.barrier.rights == 1
    stand.run(2 * STEP_S)
    assert [(event.kind, event.leaf) for event in stand.told] == [(Kind.TIMED_OUT, leaf)]
    stand.set_input(PASS_SENSORS[leaf], True)
    assert stand.kinds[1:] == [Kind.INTRUSION]


# — any order of things —

ACTS = st.tuples(st.sampled_from(["pulse", "pass", "wait"]), st.sampled_from(BOTH))


@settings(max_examples=30)
@given(acts=st.lists(ACTS, max_size=15))
def test_each_leaf_has_its_own_rights(acts):
    """What is told of a leaf is what would be told if there were no other one."""
    together, alone = GateStand(), {leaf: GateStand() for leaf in BOTH}
    for act, leaf in acts:
        for stand in (together, *alone.values()):
            if act == "pulse" and stand in (together, alone[leaf]):
                stand.hand.pulse(0.5, leaf)
            elif act == "pass" and stand in (together, alone[leaf]):
                stand.press(PASS_SENSORS[leaf])
            else:
                stand.run({"pulse": 0.0, "pass": 0.2, "wait": 2.0}[act])
    for leaf in BOTH:
        said = [(event.at_mono, event.kind) for event in together.told if event.leaf is leaf]
        assert said == [(event.at_mono, event.kind) for event in alone[leaf].told]
        passed, lapsed = (together.count(kind, leaf) for kind in (Kind.PASSED, Kind.TIMED_OUT))
        assert passed + lapsed + alone[leaf].barrier.rights == acts.count(("pulse", leaf))
    for stand in (together, *alone.values()):
        stand.close()


@settings(max_examples=30)
@given(acts=st.lists(st.tuples(st.floats(0.01, 10.0), st.integers(0, 30)), max_size=15))
def test_a_contact_is_never_closed_for_longer_than_it_may_be(acts):
    """A gap that the gate is too slow to see is none."""
    stand = GateStand()
    for seconds, steps in acts:
        assert stand.hand.pulse(seconds)
        stand.run(steps * STEP_S)
    stand.run(MAX_PULSE_S + PASSAGE_S)
    assert stand.closed_contacts() == []
    seen = [at for at, _, on in stand.edges]
    spans = [[seen[at], seen[at + 1]] for at in range(0, len(seen), 2)]
    merged = spans[:1]
    for before, span in pairwise(spans):
        if span[0] - before[1] < GAP_S - OVERDUE_S:
            merged[-1][1] = span[1]
        else:
            merged.append(span)
    assert all(end - start <= MAX_PULSE_S + OVERDUE_S + 3 * STEP_S for start, end in merged)
    stand.close()


# — the gate itself —


@pytest.mark.parametrize("after_s", [0.0, MOVE_S / 2, 1.0, STAYS_OPEN_S + 1.5 * MOVE_S])
def test_a_fire_opens_a_leaf_from_any_state(stand, after_s):
    stand.hand.pulse(0.5)
    stand.run(after_s)
    stand.house.fire(True)
    stand.run(20.0)
    assert stand.house.state(Leaf.IN) is LeafState.OPEN_HELD


def test_a_leaf_closes_behind_a_person_and_when_nobody_comes(stand):
    stand.let_through()
    assert stand.house.state(Leaf.IN) is LeafState.CLOSED
    stand.hand.pulse(0.5)
    stand.run(STAYS_OPEN_S - 0.5)
    assert stand.house.state(Leaf.IN) is LeafState.OPEN
    stand.run(1.0)
    assert stand.house.state(Leaf.IN) is LeafState.CLOSED
    assert not stand.house.walk(Leaf.IN)
