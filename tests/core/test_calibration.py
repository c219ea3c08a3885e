"""An offset comes from enough figures that agree, or it does not come at all."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.calibration import OFFSET_MOST_K, Method, Refusal, black_body, pairs, worked_out


def noisy(middle, spread, count, seed=1):
    chance = random.Random(seed)
    return [middle + chance.gauss(0, spread) for _ in range(count)]


@given(st.floats(-2.9, 2.9), st.floats(35, 40))
def test_the_offset_of_a_still_black_body_is_found(error, reference):
    found = worked_out(black_body(noisy(reference - error, 0.05, 40), reference))
    assert found.refused is None
    assert found.offset_celsius == pytest.approx(error, abs=0.05)
    assert found.within_permissible


@pytest.mark.parametrize(
    ("comparison", "why"),
    [
        (black_body([36.5] * 19, 37.0), Refusal.TOO_FEW),
        (black_body([], 37.0), Refusal.TOO_FEW),
        (black_body(noisy(36.5, 0.6, 40), 37.0), Refusal.TOO_WIDE),
        (black_body(noisy(33.0, 0.05, 40), 37.0), Refusal.TOO_LARGE),
        (pairs([(35.5, 36.6)] * 9), Refusal.TOO_FEW),
        (pairs([(value, 36.6) for value in noisy(35.5, 1.0, 30)]), Refusal.TOO_WIDE),
    ],
)
def test_what_cannot_be_trusted_is_refused(comparison, why):
    found = worked_out(comparison)
    assert found.refused is why
    assert not found.within_permissible


def test_pairs_may_spread_as_people_do():
    found = worked_out(pairs([(value, 36.6) for value in noisy(35.6, 0.3, 30)]))
    assert (found.refused, found.samples) == (None, 30)
    assert found.offset_celsius == pytest.approx(1.0, abs=0.2)


@given(st.lists(st.floats(-0.15, 0.15), min_size=20, max_size=60), st.floats(-6, 6), st.sampled_from(Method))
def test_an_offset_is_accepted_only_when_one_may_be_so_large(deviations, error, method):
    values = [37.0 - error + one for one in deviations]
    found = worked_out(black_body(values, 37.0) if method is Method.BLACK_BODY else pairs([(v, 37.0) for v in values]))
    assert found.refused in (None, Refusal.TOO_LARGE)
    if abs(found.offset_celsius) != OFFSET_MOST_K:  # rounded to a hundredth, the limit itself may be either
        assert (found.refused is None) == (abs(found.offset_celsius) < OFFSET_MOST_K)
