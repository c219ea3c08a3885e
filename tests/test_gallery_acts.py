"""The quarantine: in by a reason, out by a verb; and a passage that was somebody else's."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from gallery_sample import CONSENT, face, member, template

from sentinel.byhand import CONSENT_ACTS, TEMPLATE_ACTS, TEMPLATE_REASONS
from sentinel.core.citizen import check_digit
from sentinel.core.consent import Giver
from sentinel.core.errors import UsageError
from sentinel.gallery_acts import HINTS, dropped, hints, not_me, released
from sentinel.i18n import LANGUAGES, catalogue
from sentinel.roster import CARD_PHOTO

ONE, TWO = template(face(1, 0), "1a"), template(face(1, 1), "1b")
ASIDE = template(face(1, 2), "1c", why="closer-to-other", other=f"{2:032x}")
PASSAGE = {"person": member(1).token, "face_model": "m1", "similarity": 0.61}
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_released_template_is_used_again_and_a_dropped_one_is_gone():
    held = member(1, ONE, quarantined=(ASIDE,))
    back = released(held, [])
    assert back.member.templates == (ONE, replace(ASIDE, why="", other=""))
    assert back.member.quarantined == ()
    gone = dropped(held, [ASIDE.id])
    assert (gone.member.templates, gone.member.quarantined) == ((ONE,), ())
    assert back.about == gone.about == (ASIDE,)


@pytest.mark.parametrize("act", [released, dropped])
def test_what_is_not_in_quarantine_is_neither_released_nor_dropped(act):
    with pytest.raises(UsageError, match="quarantine"):
        act(member(1, ONE, quarantined=(ASIDE,)), [ONE.id])
    with pytest.raises(UsageError, match="quarantine"):
        act(member(1, ONE), [])


def test_a_passage_that_names_its_template_sets_this_one_aside():
    change = not_me(member(1, ONE, TWO), {**PASSAGE, "face_template": TWO.id}, NOON)
    assert change.member.templates == (ONE,)
    assert change.member.quarantined == (replace(TWO, why="not-me"),)


def test_a_passage_that_names_none_sets_all_aside_that_can_have_matched():
    later = template(face(1, 3), "1d", made_at="2026-11-22T12:00:01+00:00")
    other_model = template(face(1, 4), "1e", model="m2")
    change = not_me(member(1, ONE, TWO, later, other_model), PASSAGE, NOON)
    assert change.member.templates == (later, other_model)
    assert {one.why for one in change.member.quarantined} == {"not-me"}


def test_without_a_clock_to_trust_the_later_ones_go_too():
    later = template(face(1, 3), "1d", made_at="2026-11-22T12:00:01+00:00")
    assert not_me(member(1, ONE, later), PASSAGE, None).member.templates == ()


def test_a_template_that_is_gone_does_not_spare_the_others():
    change = not_me(member(1, ONE, TWO), {**PASSAGE, "face_template": "ffffffffffff"}, NOON)
    assert change.member.templates == (), "the named one was replaced: what is there now is as suspect"


@pytest.mark.parametrize("lacks", ["face_model", "similarity"])
def test_a_passage_without_a_face_accuses_no_template(lacks):
    with pytest.raises(UsageError, match="no face"):
        not_me(member(1, ONE), {key: value for key, value in PASSAGE.items() if key != lacks}, NOON)


def test_nothing_is_set_aside_twice():
    with pytest.raises(UsageError, match="quarantine already"):
        not_me(not_me(member(1, ONE), PASSAGE, NOON).member, PASSAGE, NOON)


TODAY = date(2028, 12, 20)
CHILD = f"{(first17 := '99010120150101001')}{check_digit(first17)}"
BY_GUARDIAN = replace(CONSENT, by=Giver.GUARDIAN, guardian="样本监护人")


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (member(1), set()),
        (member(1, *(replace(ONE, id=f"{n}", expires=None) for n in range(3))), set()),
        (member(1, replace(ONE, expires=date(2028, 12, 19))), {"expired"}),
        (member(1, ONE, TWO, replace(ONE, id="x")), {"expires-soon"}),
        (member(1, ONE, replace(TWO, expires=None)), {"few-templates"}),
        (member(1, replace(ONE, source=CARD_PHOTO, expires=None)), {"few-templates", "card-photo"}),
        (member(1, quarantined=(ASIDE,)), {"quarantined"}),
        (member(1, *(replace(ONE, id=f"{n}", expires=None) for n in range(3)), consent=None), {"consent-incomplete"}),
        (member(1, number=CHILD, consent=BY_GUARDIAN), set()),
    ],
)
def test_who_is_to_come_again_is_hinted(who, expected):
    assert set(hints(who, TODAY)) == expected


def test_who_has_turned_fourteen_is_asked_themselves():
    child = member(1, number=CHILD, consent=BY_GUARDIAN)
    assert [hints(child, day) for day in (date(2028, 12, 31), date(2029, 1, 1))] == [(), ("own-consent-due",)]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_hint_has_words(lang):
    assert [hint for hint in HINTS if f"people.hint.{hint}" not in catalogue(lang)] == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_act_and_reason_of_the_ledger_has_words(lang):
    acts = (*TEMPLATE_ACTS, *CONSENT_ACTS, "exported")
    wanted = [*(f"status.what.{act}" for act in acts), *(f"status.code.{reason}" for reason in TEMPLATE_REASONS)]
    assert [key for key in wanted if key not in catalogue(lang)] == []
