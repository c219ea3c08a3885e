"""A right by hours and lanes: who comes at another time is held for staff, never refused, never by a bad clock."""

from dataclasses import replace
from datetime import date, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_policy import LI_ALONE, LI_AND_CARD, TODAY

from sentinel.core.model import Outcome, Policy, Profile, Reason
from sentinel.core.policy import decide
from sentinel.core.rights import Window, windows_as_json, windows_from_json

SUNDAY = TODAY
WORK = Window(days=(1, 2, 3, 4, 5), from_min=7 * 60, until_min=20 * 60)
POLICY = Policy(profile=Profile.FACE, temperature_limit_celsius=None, lane="lane-1", direction="in")


def judged(*windows, day: date = SUNDAY, at: time | None = time(12), trusted: bool = True, since: date | None = None):
    li = replace(LI_ALONE.face_person, windows=windows, valid_from=since)
    seen = replace(LI_ALONE, face_person=li)
    return decide(seen, POLICY, today=day, at=at, clock_trusted=trusted)


def test_within_the_hours_the_gate_opens_and_outside_staff_look():
    monday = SUNDAY + timedelta(days=1)
    assert judged(WORK, day=monday, at=time(7)).outcome is Outcome.OPEN
    assert judged(WORK, day=monday, at=time(19, 59, 59)).outcome is Outcome.OPEN
    for day, at in ((monday, time(6, 59)), (monday, time(20)), (SUNDAY, time(12))):
        assert judged(WORK, day=day, at=at).reasons == (Reason.RIGHT_OTHER_HOURS,)
        assert judged(WORK, day=day, at=at).outcome is Outcome.HOLD


def test_one_of_several_windows_is_enough():
    assert judged(WORK, replace(WORK, days=(7,)), day=SUNDAY).outcome is Outcome.OPEN


@pytest.mark.parametrize("other", [{"lanes": ("lane-2",)}, {"directions": ("out",)}])
@pytest.mark.parametrize("trusted", [True, False])
def test_another_lane_or_direction_is_held_whatever_the_clock_says(other, trusted):
    decision = judged(Window(days=(1, 2, 3, 4, 5, 6, 7), from_min=0, until_min=1440, **other), trusted=trusted)
    assert (decision.outcome, decision.reasons) == (Outcome.HOLD, (Reason.RIGHT_OTHER_LANE,))


def test_a_clock_that_is_not_believed_locks_no_resident_out():
    assert judged(WORK, day=SUNDAY, trusted=False).outcome is Outcome.OPEN
    assert judged(since=date(2030, 1, 1), day=date(1970, 1, 1), trusted=False).outcome is Outcome.OPEN


def test_a_right_that_has_not_begun_is_held():
    assert judged(since=SUNDAY).outcome is Outcome.OPEN
    assert judged(since=SUNDAY + timedelta(days=1)).reasons == (Reason.RIGHT_OTHER_HOURS,)


def test_who_asks_without_the_hour_opens_for_nobody_whose_right_has_hours():
    assert judged(WORK, at=None).outcome is Outcome.HOLD
    assert judged(at=None).outcome is Outcome.OPEN


def test_a_card_is_judged_by_the_same_hours():
    li = replace(LI_AND_CARD.holder, windows=(WORK,))
    seen = replace(LI_AND_CARD, holder=li, face_person=li)
    for profile in Profile:
        decision = decide(seen, replace(POLICY, profile=profile), today=SUNDAY, at=time(12), clock_trusted=True)
        assert (decision.outcome, decision.reasons) == (Outcome.HOLD, (Reason.RIGHT_OTHER_HOURS,))


WINDOWS = st.builds(
    Window,
    days=st.sets(st.integers(1, 7), min_size=1).map(lambda days: tuple(sorted(days))),
    from_min=st.integers(0, 700),
    until_min=st.integers(701, 1440),
    lanes=st.sampled_from([(), ("lane-1", "lane-2")]),
    directions=st.sampled_from([(), ("in",), ("out",)]),
)


@given(windows=st.lists(WINDOWS, max_size=4))
def test_windows_are_read_as_they_are_told(windows):
    assert windows_from_json(windows_as_json(windows)) == tuple(windows)


@pytest.mark.parametrize(
    "told",
    [
        {}, "always", [7], [{"days": [0]}], [{"days": []}], [{"days": [True]}], [{"from": "25:00"}], [{"until": "7"}],
        [{"from": "20:00", "until": "07:00"}], [{"from": "07:60"}], [{"directions": ["up"]}], [{"lanes": [""]}],
        [{"hours": 3}], [{}] * 33,
    ],
)  # fmt: skip
def test_windows_that_say_anything_else_are_none(told):
    with pytest.raises(ValueError, match=r"."):
        windows_from_json(told)
