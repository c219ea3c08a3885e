"""Waits double to a cap, with chance; refused credentials wait the longest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.retry import Backoff

chances = st.floats(0, 1, exclude_max=True)


def test_waits_double_to_the_cap():
    backoff = Backoff(1.0, 6.0, lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 6.0, 6.0]


@given(st.lists(chances, min_size=1, max_size=40))
def test_each_wait_lies_between_half_and_all_of_its_bound(rolls):
    left = iter(rolls)
    backoff = Backoff(0.5, 60.0, lambda: next(left))
    for turn in range(len(rolls)):
        bound = min(60.0, 0.5 * 2**turn)
        assert bound / 2 <= backoff.next() <= bound


def test_success_begins_again():
    backoff = Backoff(1.0, 60.0, lambda: 0.0)
    for _ in range(9):
        backoff.next()
    backoff.reset()
    assert backoff.next() == 0.5


def test_refused_waits_the_longest_until_it_works():
    backoff = Backoff(1.0, 60.0, lambda: 0.0)
    assert backoff.refused() == 60.0
    assert backoff.next() == 30.0
    backoff.reset()
    assert backoff.next() == 0.5


@pytest.mark.parametrize(("first_s", "cap_s"), [(0, 1), (-1, 1), (2, 1)])
def test_impossible_bounds_are_refused(first_s, cap_s):
    with pytest.raises(ValueError, match="expected 0 < first_s"):
        Backoff(first_s, cap_s, lambda: 0.0)
