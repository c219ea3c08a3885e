"""The figures of scripts/bench/accuracy: right where the answer is known, and honest where nothing went wrong."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "accuracy_figures.py"


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("accuracy_figures", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["accuracy_figures"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def trial(figures, people: int, pictures: int, spread: float, seed: int = 1):
    """People as directions, pictures around them: without spread every picture of a person is the same."""
    random = np.random.default_rng(seed)
    centre = random.normal(size=(people, 1, 32))
    vectors = (centre + spread * random.normal(size=(people, pictures, 32))).reshape(-1, 32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return figures.Trial(person=np.repeat(np.arange(people), pictures), vectors=vectors)


def everybody(people: int) -> np.ndarray:
    return np.ones(people, np.int64)


def test_people_who_never_vary_are_told_apart_without_error(figures):
    clear = trial(figures, 8, 4, 0.0)
    pairs = figures.pairs_of(clear)
    assert (len(pairs.genuine), len(pairs.impostor)) == (8 * 6, 28 * 16)
    assert figures.equal_error_rate(pairs, everybody(8)) == 0
    assert figures.true_accept_rate(pairs, everybody(8), 1e-4) == 1


def test_pictures_of_nobody_in_particular_err_half_of_the_time(figures):
    noise = trial(figures, 30, 6, 100.0)
    rate = figures.equal_error_rate(figures.pairs_of(noise), everybody(30))
    assert rate == pytest.approx(0.5, abs=0.05)


@given(seed=st.integers(0, 99))
def test_the_rates_are_those_of_a_slow_count(figures, seed):
    pairs = figures.pairs_of(trial(figures, 6, 4, 0.8, seed))
    found = figures.true_accept_rate(pairs, everybody(6), 0.01)
    lowest = min(t for t in [*pairs.genuine, *pairs.impostor, np.inf] if np.mean(pairs.impostor >= t) <= 0.01)
    assert found == pytest.approx(np.mean(pairs.genuine >= lowest))


@given(seed=st.integers(0, 99))
def test_fewer_false_accepts_never_accept_more_people(figures, seed):
    pairs = figures.pairs_of(trial(figures, 6, 4, 0.8, seed))
    rates = [figures.true_accept_rate(pairs, everybody(6), far) for far in (1e-1, 1e-2, 1e-3)]
    assert rates == sorted(rates, reverse=True)


def test_a_person_drawn_twice_counts_twice(figures):
    some = trial(figures, 6, 4, 0.9)
    drawn = np.array([2, 1, 1, 0, 1, 1])
    pairs = figures.pairs_of(some)
    only = np.isin(some.person, [0, 1, 2, 4, 5])
    without = figures.pairs_of(figures.Trial(person=some.person[only], vectors=some.vectors[only]))
    zero_or_one = np.array([1, 1, 1, 0, 1, 1])
    assert figures.equal_error_rate(pairs, zero_or_one) == pytest.approx(
        figures.equal_error_rate(without, everybody(6)), abs=0.02
    )
    assert figures.equal_error_rate(pairs, drawn) != figures.equal_error_rate(pairs, zero_or_one)


def test_half_of_the_people_are_strangers_and_nobody_is_looked_at_by_an_enrolled_picture(figures):
    found = figures.open_set(trial(figures, 10, 5, 0.1), np.random.default_rng(1), everybody(10), lambda count: 0.5)
    assert found.templates == 5 * figures.ENROLLED
    assert (found.unknown_looks, found.known_looks) == (25, 5 * (5 - figures.ENROLLED))


def test_a_floor_that_all_reach_names_every_stranger_and_one_that_none_reaches_nobody(figures):
    some = trial(figures, 10, 5, 0.1)
    low = figures.open_set_figures(some, lambda count: -1.0)
    high = figures.open_set_figures(some, lambda count: 2.0)
    assert (low.fpir.value, low.fnir.value) == (1, 0)
    assert (high.fpir.value, high.fnir.value, high.misnamed.value) == (0, 1, 0)


def test_where_nothing_went_wrong_it_is_said_how_little_that_is_worth(figures):
    few, many = (figures.open_set_figures(trial(figures, people, 4, 0.05), lambda count: 0.9) for people in (6, 40))
    assert few.fpir.value == many.fpir.value == 0
    assert few.fpir.persons_at_most == pytest.approx(1 - 0.05 ** (1 / 6))
    assert many.fpir.persons_at_most < few.fpir.persons_at_most


def test_somebody_with_one_picture_is_a_stranger_or_looked_at_and_never_enrolled(figures):
    one_each = trial(figures, 6, 1, 0.1)
    assert figures.open_set(one_each, np.random.default_rng(1), everybody(6), lambda count: 0.5) is None
