"""What a gallery proves about the required similarity, and that too few people prove nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.alike import compare
from recognition.evidence import (
    LEAST_PEOPLE,
    SHAPE_LEAST,
    SHAPE_MOST,
    Verdict,
    fit,
    near_misses,
    people_needed,
    share_of,
    weigh,
)
from recognition.thresholds import Tail, per_attempt


def crowd(people: int, *, templates: int = 1, length: int = 48, seed: int = 5) -> dict[str, np.ndarray]:
    """Return people whose faces are nothing but chance: in 48 dimensions similarities spread as SFace's do (0.14)."""
    rows = np.random.default_rng(seed).normal(size=(people, templates, length)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    return {f"p{number}": block for number, block in enumerate(rows)}


def true_rate(similarity: float, templates: int, length: int = 48) -> float:
    """Return how often a random face reaches this similarity with one of so many: integrated, not drawn."""
    grid = np.linspace(-1, 1, 400_001)
    density = (1 - grid**2) ** ((length - 3) / 2)
    return per_attempt(float(density[grid >= similarity].sum() / density.sum()), templates)


def pareto(shape: float, scale: float, count: int) -> np.ndarray:
    level = (np.arange(count) + 0.5) / count
    return -scale * np.log(1 - level) if abs(shape) < 1e-9 else scale / shape * ((1 - level) ** -shape - 1)


@given(shape=st.floats(SHAPE_LEAST, 0.2), scale=st.floats(0.01, 0.1))
def test_the_fit_finds_the_distribution_that_the_samples_are_of(shape, scale):
    found_scale, found_shape = fit(pareto(shape, scale, 20_000), np.ones(20_000))
    assert found_shape == pytest.approx(shape, abs=0.02)
    assert found_scale == pytest.approx(scale, rel=0.03)


@given(seed=st.integers(0, 99))
def test_a_weight_of_two_is_the_sample_twice(seed):
    random = np.random.default_rng(seed)
    excess = np.sort(random.exponential(0.03, 500))
    weights = random.integers(0, 3, 500)
    twice = np.repeat(excess, weights)
    assert fit(excess, weights.astype(float)) == pytest.approx(fit(twice, np.ones(len(twice))), rel=0.02, abs=0.01)


@given(excess=st.lists(st.floats(1e-6, 0.8), min_size=2, max_size=30))
def test_no_samples_give_a_tail_that_ends_at_once_or_never(excess):
    scale, shape = fit(np.sort(np.array(excess)), np.ones(len(excess)))
    assert SHAPE_LEAST <= shape <= SHAPE_MOST
    assert scale > 0


@pytest.mark.parametrize("people", [2, 10, LEAST_PEOPLE - 1])
def test_a_small_site_is_told_how_many_people_are_missing_and_gets_no_figure(people):
    found = weigh(compare(crowd(people)), required=0.5, wished=0.001)
    assert found.verdict is Verdict.TOO_LITTLE
    assert found.missing_people == LEAST_PEOPLE - people
    assert (found.tail, found.false_match_rate, found.advised) == (None, None, None)
    assert [cost.false_match_rate for cost in found.costs] == [None]


def test_an_empty_gallery_proves_nothing():
    found = weigh(compare({}), required=0.43, wished=0.001)
    assert (found.verdict, found.missing_people) == (Verdict.TOO_LITTLE, LEAST_PEOPLE)
    assert (found.counted.low, found.counted.high) == (0.0, 1.0)


def test_a_stricter_wish_needs_more_people():
    assert people_needed(3, 0.00005) > people_needed(3, 0.001) >= LEAST_PEOPLE
    strict = weigh(compare(crowd(60, templates=3)), required=0.6, wished=0.0001)
    assert strict.verdict is Verdict.TOO_LITTLE
    assert strict.missing_people == people_needed(3, 0.0001) - 60


@pytest.mark.parametrize("similarity", [0.5, 0.55, 0.6])
def test_the_bounds_hold_what_is_true_of_faces_made_of_chance(similarity):
    found = weigh(compare(crowd(400)), required=similarity, wished=0.001)
    assert found.false_match_rate.low <= true_rate(similarity, 400) <= found.false_match_rate.high


def test_the_verdict_follows_the_bounds():
    impostors = compare(crowd(400))
    advised = weigh(impostors, required=0.5, wished=0.001).advised
    assert advised.low < advised.value < advised.high
    assert weigh(impostors, required=advised.high, wished=0.001).verdict is Verdict.PROVEN
    assert weigh(impostors, required=advised.value, wished=0.001).verdict is Verdict.UNCERTAIN
    assert weigh(impostors, required=advised.low - 0.01, wished=0.001).verdict is Verdict.TOO_LOW


def test_what_is_uncertain_says_how_many_more_people_would_settle_it():
    impostors = compare(crowd(400))
    advised = weigh(impostors, required=0.5, wished=0.001).advised
    above = weigh(impostors, required=(advised.value + advised.high) / 2, wished=0.001)
    assert above.missing_people > 0
    below = weigh(impostors, required=(advised.value + advised.low) / 2, wished=0.001)
    assert below.missing_people is None, "more people would only show that it is too low"


def test_fewer_people_know_less():
    wide, narrow = (weigh(compare(crowd(people)), required=0.5, wished=0.001).advised for people in (60, 600))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_somebody_enrolled_twice_does_not_bend_the_tail():
    people = crowd(200)
    honest = weigh(compare(people), required=0.5, wished=0.001)
    doubled = weigh(compare(people | {"again": people["p3"], "too": people["p4"]}), required=0.5, wished=0.001)
    assert doubled.advised.value == pytest.approx(honest.advised.value, abs=0.01)
    assert doubled.counted.value > honest.counted.value, "but it is counted"


def test_another_similarity_costs_strangers_or_own_people():
    found = weigh(compare(crowd(200)), required=0.5, wished=0.001, own=[0.45, 0.55, 0.7, 0.8], others=(0.4, 0.6))
    assert [cost.similarity for cost in found.costs] == [0.4, 0.5, 0.6]
    assert [cost.missed for cost in found.costs] == [0.0, 0.25, 0.5]
    rates = [cost.false_match_rate.value for cost in found.costs]
    assert rates == sorted(rates, reverse=True)


def test_the_same_people_give_the_same_answer():
    one, two = (weigh(compare(crowd(80)), required=0.5, wished=0.001) for _ in range(2))
    assert one == two


@given(total=st.integers(1, 10_000), part=st.floats(0, 1))
def test_a_counted_share_lies_within_its_bounds(total, part):
    found = share_of(round(part * total), total)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high > 0, "none seen is not never"


TAIL = Tail(start=0.27, scale=0.033, shape=-0.04, share=0.02)


def test_near_misses_that_strangers_explain_do_not_surprise():
    found = near_misses([0.3] * 999 + [0.48], 0.5, 1000, TAIL)
    assert not found.surprising
    assert found.near.value == 0.001


def test_more_near_misses_than_foretold_surprise():
    assert near_misses([0.48] * 200 + [0.3] * 800, 0.5, 1000, TAIL).surprising


def test_without_a_tail_nothing_is_foretold():
    found = near_misses([0.48], 0.5, 10, None)
    assert (found.foretold, found.surprising) == (None, False)
