"""The similarity asked for follows from the size of the gallery and the wished rate of false matches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.thresholds import (
    CARD_PHOTO,
    FALSE_MATCH_RATE,
    LEAST_ONE_TO_MANY,
    ONE_TO_ONE,
    SFACE_TAIL,
    Tail,
    one_to_many,
    per_attempt,
    per_comparison,
)
from sentinel.settings import Face

SIZES = st.integers(0, 10**7)
RATES = st.floats(1e-5, 0.05)
TAILS = st.builds(
    Tail, start=st.floats(0.1, 0.4), scale=st.floats(0.01, 0.1), shape=st.floats(-0.3, 0.3), share=st.just(0.02)
)


def test_the_required_similarity_is_that_of_the_reference():
    found = [one_to_many(size, 0.01) for size in (100, 1_000, 10_000, 100_000)]
    assert found == pytest.approx([0.432, 0.491, 0.544, 0.593], abs=0.002)


def test_the_shipped_rate_is_stricter_than_one_in_a_hundred_by_one_size_of_gallery():
    assert one_to_many(1_000, FALSE_MATCH_RATE) == pytest.approx(one_to_many(10_000, 0.01), abs=0.002)


def test_three_questions_have_three_figures():
    assert CARD_PHOTO < ONE_TO_ONE < LEAST_ONE_TO_MANY <= one_to_many(1)


@given(one=SIZES, two=SIZES, rate=RATES)
def test_a_larger_gallery_never_asks_for_less(one, two, rate):
    low, high = sorted((one, two))
    assert LEAST_ONE_TO_MANY <= one_to_many(low, rate) <= one_to_many(high, rate) <= 1


@given(size=SIZES, one=RATES, two=RATES)
def test_a_stricter_wish_never_asks_for_less(size, one, two):
    strict, lax = sorted((one, two))
    assert one_to_many(size, strict) >= one_to_many(size, lax)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2])
def test_a_rate_that_cannot_be_had_is_refused(rate):
    with pytest.raises(ValueError, match="cannot be had"):
        one_to_many(100, rate)


@given(size=st.integers(1, 10**6), rate=RATES)
def test_all_comparisons_together_have_the_wished_rate(size, rate):
    assert per_attempt(per_comparison(rate, size), size) == pytest.approx(rate, rel=1e-6)


@given(tail=TAILS, rate=st.floats(1e-8, 0.02))
def test_a_tail_reads_the_same_in_both_directions(tail, rate):
    assert tail.rate_at(tail.similarity_at(rate)) == pytest.approx(rate, rel=1e-4)


@given(tail=TAILS, one=st.floats(-1, 1), two=st.floats(-1, 1))
def test_more_alike_is_never_more_frequent(tail, one, two):
    low, high = sorted((one, two))
    assert 0 <= tail.rate_at(high) <= tail.rate_at(low) <= tail.share


def test_a_tail_says_nothing_of_what_is_below_it():
    assert SFACE_TAIL.rate_at(-1) == SFACE_TAIL.share
    with pytest.raises(ValueError, match="outside the tail"):
        SFACE_TAIL.similarity_at(0.5)


def test_the_settings_ship_these_figures_and_keep_three_of_them():
    """The settings may not import the library, so both name the figures."""
    assert (Face().similarity_one_to_one, Face().similarity_card_photo) == (ONE_TO_ONE, CARD_PHOTO)
    assert (Face().similarity_one_to_many, Face().false_match_rate) == (0.0, FALSE_MATCH_RATE)
