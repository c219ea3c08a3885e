"""A set of numbers as runs behaves as a set of numbers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sync.runs import Run, Runs

SPANS = st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda pair: Run(pair[0], pair[0] + pair[1]))


def numbers(runs):
    return {number for run in runs for number in range(run.first, run.last + 1)}


@given(spans=st.lists(SPANS, max_size=12), gone=st.lists(st.integers(1, 75), max_size=6))
def test_runs_are_a_set(spans, gone):
    runs, expected = Runs(), set()
    for span in spans:
        assert runs.add(span.first, span.last) == len(numbers([span]) - expected)
        expected |= numbers([span])
    for number in gone:
        runs.discard(number)
        expected.discard(number)
    assert numbers(runs) == expected
    assert runs.total == len(expected)
    assert runs.last == max(expected, default=0)
    assert {number for number in range(80) if number in runs} == expected
    assert numbers(runs.missing(5, 50)) == set(range(5, 51)) - expected
    assert runs.count(5, 50) == len(set(range(5, 51)) & expected)


@given(spans=st.lists(SPANS, max_size=12))
def test_runs_never_touch(spans):
    runs = list(Runs(spans))
    assert all(before.last + 1 < after.first for before, after in pairwise(runs))
