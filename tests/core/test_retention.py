"""Until when a personal part is kept, and that nothing goes by a day that nobody trusts."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.keeping import Days
from sentinel.core.retention import DayKey, day_key, is_due, kept_days, last_day

DAYS = Days(passage=30, fault=60, audit=180)
DAY = date(2026, 11, 22)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("passage/2026-11-22", DayKey(class_="passage", day=DAY)),
        ("passage/1970-01-01~0000000300c0ffee", DayKey(class_="passage", day=None, epoch=0x300C0FFEE)),
        ("template/8c1e1234deadbeef8c1e1234deadbeef", None),
        ("passage/2026-13-01", None),
        ("passage/2026-11-22 ", None),
        ("spool", None),
    ],
)
def test_a_keys_name_tells_its_class_and_its_day_or_none(name, told):
    assert day_key(name) == told


@given(st.text(max_size=40))
def test_no_name_makes_the_rule_fall_over(name):
    assert day_key(name) is None or day_key(name).class_


def test_who_registers_by_hand_is_forgotten_as_early_as_who_passes():
    assert kept_days("registration", DAYS) == kept_days("passage", DAYS) == 30
    assert kept_days("anything-else", DAYS) == 180


@given(day=st.dates(date(2020, 1, 1), date(2090, 1, 1)), age=st.integers(-400, 400))
def test_a_part_is_due_on_the_day_after_its_last_one_and_not_before(day, age):
    assert is_due("passage", day, DAYS, day + timedelta(days=age)) is (age > 30)
    assert last_day("passage", day, DAYS) == day + timedelta(days=30)


def test_what_nobody_can_date_is_never_due():
    assert not is_due("passage", None, DAYS, date(2999, 1, 1))
