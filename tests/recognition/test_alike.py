"""Every pair of different people is compared once, and a person's own templates never."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognition.alike import TAIL_MOST, AlikePair, compare, own_similarities


def units(seed: int, *shape: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def crowd(seed: int, sizes) -> dict[str, np.ndarray]:
    return {f"p{number}": units(seed + number, size, 8) for number, size in enumerate(sizes)}


SIZES = st.lists(st.integers(1, 4), min_size=2, max_size=12)


@given(seed=st.integers(0, 999), sizes=SIZES)
def test_what_is_kept_is_the_upper_end_of_what_a_slow_search_finds(seed, sizes):
    people = crowd(seed, sizes)
    names = list(people)
    slow = sorted(
        float(one @ other)
        for place, name in enumerate(names)
        for later in names[place + 1 :]
        for one in people[name]
        for other in people[later]
    )
    found = compare(people)
    assert found.comparisons == len(slow)
    kept = len(found.similarity)
    assert found.similarity.tolist() == pytest.approx(slow[len(slow) - kept :], abs=1e-5)


@given(seed=st.integers(0, 999), sizes=SIZES)
def test_the_nearest_other_person_is_never_oneself(seed, sizes):
    people = crowd(seed, sizes)
    found = compare(people)
    for place, name in enumerate(found.people):
        others = np.concatenate([rows for other, rows in people.items() if other != name])
        assert found.nearest[place] == pytest.approx(float((people[name] @ others.T).max()), abs=1e-5)


def test_blocks_are_joined_without_a_pair_lost_or_doubled():
    people = crowd(7, [1] * 1500)
    matrix = np.concatenate(list(people.values()))
    everything = (matrix @ matrix.T)[np.triu_indices(1500, 1)]
    found = compare(people)
    assert found.comparisons == len(everything)
    assert found.similarity == pytest.approx(np.sort(everything)[-len(found.similarity) :], abs=1e-5)
    assert 0.019 < len(found.similarity) / found.comparisons < 0.021
    assert len(found.similarity) <= TAIL_MOST


def test_the_most_alike_pair_comes_first_and_each_pair_once():
    people = crowd(3, [2] * 40)
    people["twin"] = people["p5"] + 0.01 * units(99, 2, 8)
    people["twin"] /= np.linalg.norm(people["twin"], axis=1, keepdims=True)
    pairs = compare(people).alike(most=5)
    assert {pairs[0].one, pairs[0].other} == {"p5", "twin"}
    assert [pair.similarity for pair in pairs] == sorted((pair.similarity for pair in pairs), reverse=True)
    assert len({frozenset((pair.one, pair.other)) for pair in pairs}) == len(pairs)


def test_only_pairs_as_alike_as_asked_are_told():
    pairs = compare(crowd(3, [2] * 40)).alike(at_least=0.9)
    assert all(isinstance(pair, AlikePair) and pair.similarity >= 0.9 for pair in pairs)


@pytest.mark.parametrize("people", [{}, {"only": units(1, 3, 8)}])
def test_nobody_else_is_no_comparison(people):
    found = compare(people)
    assert (found.comparisons, found.alike()) == (0, [])


def test_one_template_alone_tells_nothing_of_its_person():
    alone, pair = units(1, 1, 8), units(2, 2, 8)
    assert own_similarities({"alone": alone}) == []
    assert own_similarities({"pair": pair, "alone": alone}) == pytest.approx([float(pair[0] @ pair[1])] * 2, abs=1e-6)
