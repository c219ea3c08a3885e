"""One leaf: every right ends once, nobody passes on another's right, and a door says what it is, once."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.leaf import JAM_S, LEAVE_S, LeafWatch
from drivers.readings import BarrierEventKind, Leaf, Symptom

PASSAGE_S, HELD_S = 5.0, 10.0
Kind = BarrierEventKind
A_MOMENT = 0.01


def watch(leaf=Leaf.OUT):
    return LeafWatch(leaf, passage_s=PASSAGE_S, held_s=HELD_S)


def kinds(events):
    return [event.kind for event in events]


def symptom(leaf):
    return None if leaf.trouble is None else leaf.trouble.symptom


@pytest.fixture
def leaf():
    """A leaf that was seen closed long ago."""
    leaf = watch()
    assert leaf.door(0.0, closed=True, excused=False) == []
    return leaf


# — rights —


def test_one_right_is_for_one_person(leaf):
    leaf.give(100.0)
    assert kinds(leaf.passed(101.0, excused=False)) == [Kind.PASSED]
    assert kinds(leaf.passed(101.1, excused=False)) == [Kind.INTRUSION]


def test_a_right_is_over_at_its_time_and_is_told_before_who_comes_too_late(leaf):
    leaf.give(100.0)
    assert leaf.lapse(100.0 + PASSAGE_S - A_MOMENT) == []
    assert kinds(leaf.passed(100.0 + PASSAGE_S, excused=False)) == [Kind.TIMED_OUT, Kind.INTRUSION]
    assert leaf.lapse(200.0) == []


def test_the_oldest_right_is_used_first(leaf):
    leaf.give(100.0)
    leaf.give(103.0)
    leaf.passed(104.0, excused=False)
    assert leaf.lapse(100.0 + PASSAGE_S) == [] and leaf.rights == 1
    assert kinds(leaf.lapse(103.0 + PASSAGE_S)) == [Kind.TIMED_OUT]


def test_who_is_excused_needs_no_right_and_uses_one_if_there_is_one(leaf):
    assert kinds(leaf.passed(100.0, excused=True)) == [Kind.PASSED]
    leaf.give(100.0)
    leaf.passed(101.0, excused=True)
    assert leaf.rights == 0


def test_a_signal_that_was_felt_before_the_last_look_takes_no_right_twice(leaf):
    """The pins' thread stamps a signal and may then have to wait for its turn."""
    leaf.give(100.0)
    leaf.lapse(101.0)
    assert kinds(leaf.passed(100.9, excused=False)) == [Kind.PASSED]
    assert kinds(leaf.passed(101.0, excused=False)) == [Kind.INTRUSION]


# — doors —


def test_a_leaf_that_opens_without_a_right_is_forced_until_it_closes(leaf):
    assert kinds(leaf.door(100.0, closed=False, excused=False)) == [Kind.FORCED]
    assert leaf.door(101.0, closed=False, excused=False) == []
    assert kinds(leaf.door(102.0, closed=True, excused=False)) == [Kind.CLOSED]
    assert leaf.door(103.0, closed=True, excused=False) == []


@pytest.mark.parametrize("end", ["passed", "lapsed"])
def test_a_leaf_may_swing_a_little_after_a_right_and_no_longer(leaf, end):
    leaf.give(100.0)
    at = 101.0 if end == "passed" else 100.0 + PASSAGE_S
    leaf.passed(at, excused=False) if end == "passed" else leaf.lapse(at)
    assert leaf.door(at + LEAVE_S - A_MOMENT, closed=False, excused=False) == []
    leaf.door(at + LEAVE_S, closed=True, excused=False)
    assert kinds(leaf.door(at + LEAVE_S + A_MOMENT, closed=False, excused=False)) == [Kind.FORCED]


def test_a_leaf_that_was_open_when_we_began_to_look_was_not_forced():
    assert watch().door(100.0, closed=False, excused=False) == []


def test_a_leaf_that_opens_while_everybody_may_pass_is_not_forced(leaf):
    assert leaf.door(100.0, closed=False, excused=True) == []


def test_a_leaf_that_nobody_may_hold_is_told_once_and_is_a_trouble_until_it_closes(leaf):
    leaf.give(100.0)
    leaf.door(101.0, closed=False, excused=False)
    leaf.passed(102.0, excused=False)
    over = 102.0 + PASSAGE_S + HELD_S
    assert leaf.door(over, closed=False, excused=False) == [] and leaf.trouble is None
    (event,) = leaf.door(over + A_MOMENT, closed=False, excused=False)
    assert (event.kind, event.leaf) == (Kind.HELD_OPEN, Leaf.OUT)
    assert symptom(leaf) is Symptom.HELD_OPEN
    assert leaf.door(over + 60.0, closed=False, excused=False) == []
    assert kinds(leaf.door(over + 61.0, closed=True, excused=False)) == [Kind.CLOSED]
    assert leaf.trouble is None


@pytest.mark.parametrize("excused", [True, False])
def test_while_somebody_may_pass_a_leaf_is_open_with_right(leaf, excused):
    leaf.door(100.0, closed=False, excused=True)
    for second in range(60):
        if not excused:
            leaf.give(100.0 + second)
        assert Kind.HELD_OPEN not in kinds(leaf.door(100.0 + second, closed=False, excused=excused))


# — what should move and does not —


def test_a_leaf_that_stays_in_its_place_is_jammed_until_it_leaves_it(leaf):
    leaf.moved(100.0)
    leaf.door(101.0, closed=True, excused=False)
    leaf.door(100.0 + JAM_S - A_MOMENT, closed=True, excused=False)
    assert leaf.trouble is None
    leaf.door(100.0 + JAM_S, closed=True, excused=False)
    assert symptom(leaf) is Symptom.JAMMED
    leaf.door(200.0, closed=False, excused=True)
    assert leaf.trouble is None


def test_pulse_after_pulse_does_not_put_the_jam_off(leaf):
    for step in range(5):
        leaf.moved(100.0 + step)
        leaf.door(100.0 + step, closed=True, excused=False)
    assert symptom(leaf) is Symptom.JAMMED


def test_a_leaf_that_could_not_be_felt_meanwhile_is_not_jammed(leaf):
    """The board was silent for a minute: somebody may have gone through."""
    leaf.moved(100.0)
    leaf.door(160.0, closed=True, excused=False)
    leaf.door(160.1, closed=True, excused=False)
    assert leaf.trouble is None


def test_who_went_through_with_a_right_has_moved_it(leaf):
    leaf.give(100.0)
    leaf.moved(100.0)
    leaf.passed(101.0, excused=False)
    leaf.door(110.0, closed=True, excused=False)
    assert leaf.trouble is None


@pytest.mark.parametrize("seen", [None, False])
def test_a_leaf_whose_door_is_not_felt_or_stands_open_cannot_jam(seen):
    leaf = watch()
    if seen is not None:
        leaf.door(99.0, closed=seen, excused=False)
    leaf.moved(100.0)
    leaf.door(110.0, closed=True, excused=False)
    assert leaf.trouble is None


def test_when_nobody_knows_whether_the_contact_closed_nobody_has_forced_the_leaf(leaf):
    leaf.doubt(100.0)
    assert leaf.door(100.5, closed=False, excused=False) == []
    leaf.door(101.0, closed=True, excused=False)
    leaf.door(200.0, closed=True, excused=False)
    assert kinds(leaf.door(300.0, closed=False, excused=False)) == [Kind.FORCED], "a doubt does not last"


# — any order of things —


@dataclass
class Told:
    """What an honest guard would have written down beside the leaf."""

    deadlines: list[float] = field(default_factory=list)
    given: int = 0
    excused_passes: int = 0
    events: list = field(default_factory=list)

    def count(self, kind):
        return kinds(self.events).count(kind)


STEP = st.tuples(
    st.sampled_from(["give", "moved", "lapse", "pass", "open", "close", "doubt"]),
    st.floats(0.0, 8.0) | st.sampled_from([0.0, PASSAGE_S, LEAVE_S, JAM_S, PASSAGE_S + HELD_S]),
    st.booleans(),
)


def play(steps, judge=lambda leaf, told, before, now, act, excused, events: None):
    """Do all the steps; after each, `judge` may look at what came of it."""
    leaf, told, now = watch(), Told(), 100.0
    for act, wait_s, excused in steps:
        now += wait_s
        before = leaf.rights
        alive = [deadline for deadline in told.deadlines if deadline > now]
        if act == "give":
            leaf.give(now)
            told.deadlines.append(now + PASSAGE_S)
            told.given += 1
            events = []
        elif act == "pass":
            events = leaf.passed(now, excused=excused)
            told.excused_passes += excused and not alive
            told.deadlines = alive[1:]
        elif act in ("open", "close"):
            events = leaf.door(now, closed=act == "close", excused=excused)
            told.deadlines = alive
        elif act == "lapse":
            events = leaf.lapse(now)
            told.deadlines = alive
        else:
            getattr(leaf, act)(now)
            events = []
        told.events += events
        judge(leaf, told, before, now, act, excused, events)
    return leaf, told


@given(steps=st.lists(STEP, max_size=40))
def test_every_right_ends_once_as_a_passage_or_a_time_out(steps):
    def judge(leaf, told, *_):
        assert leaf.rights == len(told.deadlines)
        with_right = told.count(Kind.PASSED) - told.excused_passes
        assert 0 <= leaf.rights <= told.given
        assert with_right <= told.given, "more people than rights"
        assert with_right + told.count(Kind.TIMED_OUT) + leaf.rights == told.given

    play(steps, judge)


@given(steps=st.lists(STEP, max_size=40))
def test_each_pass_signal_is_one_person_and_an_intruder_only_without_right_and_excuse(steps):
    def judge(leaf, told, before, now, act, excused, events):
        persons = [kind for kind in kinds(events) if kind in (Kind.PASSED, Kind.INTRUSION)]
        assert len(persons) == (act == "pass")
        lapsed = kinds(events).count(Kind.TIMED_OUT)
        if act == "pass":
            assert (persons == [Kind.PASSED]) == (excused or before > lapsed)

    play(steps, judge)


@given(steps=st.lists(STEP, max_size=40))
def test_events_carry_their_leaf_and_their_moment(steps):
    def judge(_leaf, _told, _before, now, _act, _excused, events):
        assert all((event.leaf, event.at_mono) == (Leaf.OUT, now) for event in events)

    play(steps, judge)


@given(steps=st.lists(STEP, max_size=40))
def test_what_is_wrong_with_a_door_is_told_once_and_its_end_is_told(steps):
    leaf, told = play(steps)
    said = [kind for kind in kinds(told.events) if kind in (Kind.FORCED, Kind.HELD_OPEN, Kind.CLOSED)]
    assert all(before is not after for before, after in pairwise(said)), f"the same was told twice: {said}"
    assert said[:1] != [Kind.CLOSED], "an end of nothing"
    assert (Kind.HELD_OPEN, Kind.FORCED) not in list(pairwise(said)), "a held leaf was forced"
    if symptom(leaf) is Symptom.HELD_OPEN:
        assert said[-1:] == [Kind.HELD_OPEN]
    over = kinds(leaf.door(1e6, closed=True, excused=False))
    assert (Kind.CLOSED in over) == (said[-1:] in ([Kind.FORCED], [Kind.HELD_OPEN]))
    assert symptom(leaf) is not Symptom.HELD_OPEN


@given(steps=st.lists(STEP, max_size=40))
def test_whoever_has_a_right_or_an_excuse_neither_forces_nor_holds_a_door(steps):
    def judge(leaf, _told, _before, _now, _act, excused, events):
        if excused or leaf.rights:
            assert Kind.FORCED not in kinds(events)
        if leaf.rights:
            assert Kind.HELD_OPEN not in kinds(events)

    play(steps, judge)


@given(steps=st.lists(STEP, max_size=40))
def test_a_jam_needs_a_leaf_that_is_in_its_place_and_a_contact_that_closed(steps):
    moved = []

    def judge(leaf, _told, _before, now, act, _excused, _events):
        if act == "moved":
            moved.append(now)
        if act == "open":
            moved.clear()
            assert symptom(leaf) is not Symptom.JAMMED
        if symptom(leaf) is Symptom.JAMMED:
            assert moved and leaf.trouble.at_mono - moved[0] >= JAM_S

    play(steps, judge)
