"""A pass opens as often as it says, where and while it says, and never after it was revoked."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.admission import BACKDATED_S, COUNTED_S, REVOCATIONS_KEPT, PassBook, Scope, scope_of
from sentinel.core.model import Pass, PassKind, Reason

NOW = 1_795_329_118
HERE = Scope.of("330106", "cuiyuan3", "east-3")
ONCE = Pass(
    kind=PassKind.VISITOR,
    pass_id="a" * 16,
    issuer="56475aa7",
    scope=HERE.gate,
    valid_from_utc_s=NOW - BACKDATED_S,
    valid_until_utc_s=NOW + 4 * 3600,
    uses=1,
)
BADGE = replace(
    ONCE, kind=PassKind.STAFF, pass_id="b" * 16, scope=HERE.site, uses=0, valid_until_utc_s=NOW + 365 * 86400
)


def admit(book: PassBook, found: Pass, now: float = NOW, *, trusted: bool = True) -> tuple[Reason, ...]:
    return book.admit(found, now_utc_s=now, clock_trusted=trusted, scope=HERE)


def passage(found: Pass, outcome: str = "open", method: str = "pass", at: float = NOW):
    return "passage", {"outcome": outcome, "method": method, "pass_id": found.pass_id}, int(at * 1e9)


@pytest.mark.parametrize("found", [ONCE, BADGE])
def test_a_pass_opens_where_and_while_it_says(found):
    assert admit(PassBook(), found) == ()


@pytest.mark.parametrize(
    ("now", "objections"),
    [
        (ONCE.valid_from_utc_s - 0.5, (Reason.PASS_NOT_YET_VALID,)),
        (ONCE.valid_from_utc_s, ()),
        (ONCE.valid_until_utc_s - 0.5, ()),
        (ONCE.valid_until_utc_s, (Reason.PASS_EXPIRED,)),
    ],
)
def test_the_first_moment_counts_and_the_last_does_not(now, objections):
    assert admit(PassBook(), ONCE, now) == objections


@pytest.mark.parametrize("now", [0.0, NOW, NOW + 1e6])
def test_without_a_trusted_clock_no_hour_is_judged(now):
    assert admit(PassBook(), ONCE, now, trusted=False) == (Reason.CLOCK_UNTRUSTED,)


@pytest.mark.parametrize(
    "scope",
    [scope_of("330106", "cuiyuan4"), scope_of("330106", "cuiyuan3", "east-4"), scope_of("330107", "cuiyuan3"), ""],
)
def test_a_pass_of_another_place_says_so(scope):
    assert admit(PassBook(), replace(ONCE, scope=scope)) == (Reason.PASS_OTHER_SITE,)


def test_a_gate_named_like_a_site_is_not_the_site():
    assert scope_of("a", "b", "c") not in {scope_of("a", "b"), scope_of("b", "c"), scope_of("a", "c")}


@pytest.mark.parametrize("uses", [1, 2, 5])
def test_a_pass_opens_as_often_as_it_says(uses):
    book, found = PassBook(), replace(ONCE, uses=uses)
    for _ in range(uses):
        assert admit(book, found) == ()
        book.note_used(found.pass_id, NOW)
    assert admit(book, found) == (Reason.PASS_USED,)
    assert admit(book, replace(found, pass_id="c" * 16)) == ()


def test_a_badge_is_never_used_up():
    book = PassBook()
    for _ in range(1000):
        book.note_used(BADGE.pass_id, NOW)
    assert admit(book, BADGE) == ()


def test_a_revoked_pass_is_refused_at_once():
    book = PassBook()
    book.revoke(BADGE.pass_id)
    assert admit(book, BADGE) == (Reason.PASS_REVOKED,)
    assert admit(book, ONCE) == ()


def test_every_objection_is_told():
    book = PassBook()
    book.note_used(ONCE.pass_id, NOW)
    book.revoke(ONCE.pass_id)
    wrong = replace(ONCE, scope=BADGE.pass_id)
    assert set(admit(book, wrong, NOW + 1e6)) == {
        Reason.PASS_OTHER_SITE, Reason.PASS_REVOKED, Reason.PASS_USED, Reason.PASS_EXPIRED,
    }  # fmt: skip


def test_a_pass_that_outlives_what_is_remembered_does_not_open():
    forever = replace(ONCE, valid_until_utc_s=ONCE.valid_from_utc_s + COUNTED_S + BACKDATED_S + 1)
    assert admit(PassBook(), forever) == (Reason.PASS_UNCHECKED,)


@pytest.mark.parametrize("found", [ONCE, BADGE])
def test_a_book_that_may_have_forgotten_something_lets_nothing_in(found):
    assert admit(PassBook(complete=False), found) == (Reason.PASS_UNCHECKED,)


# The ledger tells it again after a restart


def test_the_ledger_remembers_what_was_used_and_revoked():
    book = PassBook.from_entries([passage(ONCE), ("revocation", {"pass_id": BADGE.pass_id}, NOW * 10**9)])
    assert admit(book, ONCE) == (Reason.PASS_USED,)
    assert admit(book, BADGE) == (Reason.PASS_REVOKED,)


@pytest.mark.parametrize(
    "entry",
    [
        passage(ONCE, outcome="hold"),
        passage(ONCE, outcome="refuse"),
        passage(ONCE, method="card"),
        passage(ONCE, method="fire"),
        ("grant", {"pass_id": ONCE.pass_id}, NOW * 10**9),
        ("passage", {"outcome": "open", "method": "pass"}, NOW * 10**9),
        ("passage", {"outcome": "open", "method": "pass", "pass_id": None}, NOW * 10**9),
        ("passage", {}, 0),
    ],
)
def test_only_an_opening_by_the_pass_uses_it_up(entry):
    assert admit(PassBook.from_entries([entry]), ONCE) == ()


class Story:
    """The same acts told to a book as they happen and to another one from the ledger afterwards."""

    def __init__(self) -> None:
        self.live, self.entries, self.opened = PassBook(), [], {}

    def show(self, found: Pass, now: float) -> None:
        if admit(self.live, found, now) == ():
            self.entries.append(passage(found, at=now))
            self.live.note_used(found.pass_id, now)
            self.opened[found.pass_id] = self.opened.get(found.pass_id, 0) + 1
        else:
            self.entries.append(passage(found, "refuse", at=now))


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 2 * COUNTED_S)), max_size=60))
def test_no_pass_opens_more_often_than_it_says_whatever_the_clock_does(acts):
    """The clock may jump to and fro; it is trusted all the same, as an unsynchronised one that looks plausible is."""
    story = Story()
    for number, after_s in acts:
        lasts_s = (number + 1) * COUNTED_S // 6
        found = replace(ONCE, pass_id=f"{number:016x}", uses=1 + number % 3, valid_until_utc_s=NOW + lasts_s)
        before = dict(story.opened)
        story.show(found, NOW + after_s)
        assert story.opened.get(found.pass_id, 0) <= found.uses, before
        again = PassBook.from_entries(story.entries)
        assert admit(again, found, NOW) == admit(story.live, found, NOW)


# Memory


def test_what_has_expired_is_forgotten():
    book = PassBook()
    for day in range(100):
        for visitor in range(50):
            book.note_used(f"{day:08x}{visitor:08x}", NOW + day * 86400.0)
    assert len(book) <= 50 * 9


def test_revocations_are_bounded_and_the_newest_hold():
    book = PassBook()
    for number in range(REVOCATIONS_KEPT + 10):
        book.revoke(f"{number:016x}")
    assert len(book) == REVOCATIONS_KEPT
    assert admit(book, replace(ONCE, pass_id=f"{REVOCATIONS_KEPT + 9:016x}")) == (Reason.PASS_REVOKED,)


def test_a_book_read_anew_forgets_nothing_that_was_used_or_revoked_meanwhile():
    old, new = PassBook(complete=False), PassBook()
    old.note_used("00" * 8, 1000.0)
    old.note_used("11" * 8, 1001.0)
    old.revoke("22" * 8)
    new.note_used("00" * 8, 1000.0)
    new.absorb(old)
    assert new.complete
    assert len(new) == 3
