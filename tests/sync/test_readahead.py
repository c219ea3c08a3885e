"""What was read ahead is what would have been read: nothing is left out, nothing twice, whatever was asked before."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sync.errors import LedgerUnavailable
from sync.readahead import ReadAhead

SOURCE = "/gates/a/b/c"


class Book:
    """Entries by number, as a ledger holds them: appended at any time, some numbers missing."""

    def __init__(self, numbers):
        self.numbers = set(numbers)
        self.asked = []
        self.ill = False

    def events(self, epoch, first, last, source, *, historical):
        self.asked.append((first, last))
        if self.ill:
            raise LedgerUnavailable("the card is away")
        here = sorted(seq for seq in list(self.numbers) if first <= seq <= last)
        return [(seq, f"{epoch} {seq} {source} {historical}".encode()) for seq in here]


@pytest.fixture
def book():
    return Book(range(1, 101))


@pytest.fixture
def ahead(book):
    source = ReadAhead(book, book)
    yield source
    source.close()


STEPS = some.lists(
    some.tuples(some.integers(-3, 8), some.integers(1, 12), some.booleans(), some.integers(0, 5), some.booleans()),
    max_size=30,
)


@given(steps=STEPS, missing=some.sets(some.integers(1, 80), max_size=4))
def test_whatever_is_asked_the_answer_is_the_ledgers(steps, missing):
    """Each step asks a little before, at or behind where the last ended; entries are appended in between."""
    book, other = Book(set(range(1, 20)) - missing), Book(())
    other.numbers = book.numbers
    source, at, top = ReadAhead(book, other), 1, 19
    try:
        for back, count, historical, appended, ill in steps:
            first = max(1, at + back if back < 0 else at)
            other.ill = ill
            asked = (7, first, first + count - 1, SOURCE)
            assert source.events(*asked, historical=historical) == book.events(*asked, historical=historical)
            at = first + count
            book.numbers.update(set(range(top + 1, top + appended + 1)) - missing)
            top += appended
    finally:
        source.close()


def test_a_backlog_in_order_is_read_once(book, ahead):
    own, book.asked = Book(book.numbers), []
    source = ReadAhead(own, book)
    for first in range(1, 81, 10):
        assert [seq for seq, _ in source.events(7, first, first + 9, SOURCE, historical=True)] == [
            *range(first, first + 10)
        ]
    source.close()
    assert own.asked == [(1, 10)], "all others were read ahead"
    spans = sorted(book.asked)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(spans))


def test_the_end_that_did_not_fit_is_asked_for_again_and_known(book):
    own = Book(book.numbers)
    source = ReadAhead(own, book)
    for first in (1, 10, 19, 28):
        assert len(source.events(7, first, first + 9, SOURCE, historical=True)) == 10
    source.close()
    assert own.asked == [(1, 10)]


def test_what_is_new_is_not_read_ahead(book, ahead):
    ahead.events(7, 90, 100, SOURCE, historical=False)
    assert book.asked == [(90, 100)]


def test_what_was_not_there_when_it_was_read_ahead_is_read_again(book, ahead):
    ahead.events(7, 91, 100, SOURCE, historical=True)
    book.numbers.update(range(101, 111))
    assert [seq for seq, _ in ahead.events(7, 101, 110, SOURCE, historical=True)] == [*range(101, 111)]


def test_a_card_that_fails_ahead_is_told_only_to_who_asks(book):
    own = Book(book.numbers)
    book.ill = True
    source = ReadAhead(own, book)
    assert len(source.events(7, 1, 10, SOURCE, historical=True)) == 10
    assert len(source.events(7, 11, 20, SOURCE, historical=True)) == 10
    own.ill = True
    with pytest.raises(LedgerUnavailable):
        source.events(7, 21, 30, SOURCE, historical=True)
    source.close()
