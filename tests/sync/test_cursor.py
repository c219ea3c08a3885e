"""What the uplink remembers of many refused entries, and that it costs no more to ask when there are many."""

import sys

from hypothesis import given, settings
from hypothesis import strategies as st
from made_entries import FIRST

from sync.cursor import Cursor, DeadLetter
from sync.entry import Key
from sync.runs import Run

MANY = 20_000
MOST_CALLS = 100


def letters(seqs):
    return [DeadLetter(key=Key(FIRST, seq), reason="no schema") for seq in seqs]


def calls_of(question) -> int:
    """Count the calls of functions that a question costs."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        question()
    finally:
        sys.setprofile(None)
    return calls


def test_what_is_open_is_told_without_a_walk_through_all_that_was_refused():
    with Cursor(":memory:", write=True) as cursor:
        cursor.settle({}, letters(range(2, 2 * MANY + 1, 2)))
        assert list(cursor.open_runs(FIRST, 1, 4)) == [Run(1, 1), Run(3, 3)]
        assert calls_of(lambda: list(cursor.open_runs(FIRST, MANY, MANY + 9))) < MOST_CALLS
        assert calls_of(lambda: cursor.settle({FIRST: [Run(1, 2)]})) < MOST_CALLS
        assert list(cursor.open_runs(FIRST, 1, 4)) == [Run(3, 3)]


ACTS = st.lists(st.tuples(st.sampled_from(["receipt", "refuse", "pardon"]), st.integers(1, 12), st.integers(0, 4)))


@given(acts=ACTS)
@settings(max_examples=60, deadline=None)
def test_after_any_history_each_number_is_receipted_refused_or_open(acts, tmp_path_factory):
    path = tmp_path_factory.mktemp("cursor") / "uplink.db"
    held, dead = set(), set()
    with Cursor(path, write=True) as cursor:
        for act, first, more in acts:
            numbers = set(range(first, first + more + 1))
            if act == "receipt":
                cursor.settle({FIRST: [Run(first, first + more)]})
                held, dead = held | numbers, dead - numbers
            elif act == "refuse":
                cursor.settle({}, letters(sorted(numbers)))
                held, dead = held - numbers, dead | numbers
            else:
                cursor.pardon()
                dead = set()
        for one in (cursor, Cursor(path)):
            unanswered = {seq for run in one.open_runs(FIRST, 1, 20) for seq in range(run.first, run.last + 1)}
            assert unanswered == set(range(1, 21)) - held - dead
            assert {letter.key.seq for letter in one.dead_letters()} == dead
