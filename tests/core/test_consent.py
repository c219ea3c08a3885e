"""A consent tells who, when and for what; under fourteen a guardian tells it."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.citizen import check_digit
from sentinel.core.consent import (
    ConsentGiven,
    Giver,
    age_on,
    check_consent,
    consent_as_json,
    consent_from_json,
    expiry_of,
)
from sentinel.core.errors import DataError

TODAY = date(2026, 11, 22)
TOLD = {"ref": "paper 2026/17", "by": "self", "on": "2026-11-20", "purpose": "opening this gate"}


def number_born(born):
    first17 = f"990101{born:%Y%m%d}001"
    return first17 + check_digit(first17)


def consent(**changes):
    return consent_from_json({**TOLD, **changes})


@pytest.mark.parametrize(
    ("born", "by", "taken"),
    [
        (date(2012, 11, 22), "self", True),  # fourteen today
        (date(2012, 11, 23), "self", False),  # fourteen tomorrow
        (date(2012, 11, 23), "guardian", True),
        (date(1980, 1, 1), "self", True),
        (date(1980, 1, 1), "guardian", True),  # an adult may have a guardian
    ],
)
def test_under_fourteen_a_guardian_consents(born, by, taken):
    given_ = consent(by=by, guardian="样本监护人" if by == "guardian" else "")
    if taken:
        check_consent(given_, number_born(born), TODAY)
    else:
        with pytest.raises(DataError, match="guardian"):
            check_consent(given_, number_born(born), TODAY)


def test_who_is_born_on_the_29th_of_february_is_fourteen_on_the_first_of_march():
    number = number_born(date(2012, 2, 29))
    assert [age_on(number, date(2026, *day)) for day in ((2, 28), (3, 1))] == [13, 14]


def test_a_number_without_a_birth_date_says_nothing_of_age():
    assert age_on("P1234567", TODAY) is None
    check_consent(consent(), "P1234567", TODAY)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ref": " "}, "consent.ref"),
        ({"purpose": ""}, "consent.purpose"),
        ({"purpose": "x" * 121}, "consent.purpose"),
        ({"on": "2026-11-23"}, "future"),
        ({"on": "1979-12-31"}, "birth date"),
        ({"by": "guardian"}, "consent.guardian"),
    ],
)
def test_a_consent_that_tells_too_little_is_refused_by_its_key(changes, told):
    with pytest.raises(DataError, match=told):
        check_consent(consent(**changes), number_born(date(1980, 1, 1)), TODAY)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"by": "mother"}, "self, guardian"),
        ({"on": "20261120"}, "YYYY-MM-DD"),
        ({"on": "2026-02-30"}, "no such day"),
        ({"on": 20261120}, "text in quotes"),
        ({"keep_picture": "yes"}, "true or false"),
        ({"forever": True}, "unknown key"),
    ],
)
def test_a_consent_of_another_form_is_refused_by_its_key(changes, told):
    with pytest.raises(DataError, match=told):
        consent(**changes)


@pytest.mark.parametrize("key", TOLD)
def test_nothing_that_a_consent_must_say_is_guessed(key):
    with pytest.raises(DataError, match=f"consent.{key} is missing"):
        consent_from_json({name: value for name, value in TOLD.items() if name != key})


@given(
    st.builds(
        ConsentGiven,
        ref=st.just("paper 1"),
        by=st.sampled_from(Giver),
        on=st.dates(min_value=date(1000, 1, 1)),
        purpose=st.just("gate"),
        guardian=st.sampled_from(["", "样本"]),
        keep_picture=st.booleans(),
    )
)
def test_what_is_written_is_what_is_read(given_):
    assert consent_from_json(consent_as_json(given_)) == given_


def test_templates_of_children_expire_within_a_year():
    made = date(2026, 1, 1)
    assert expiry_of(number_born(date(2015, 1, 1)), made, 1095) == date(2027, 1, 1)
    assert expiry_of(number_born(date(2015, 1, 1)), made, 90) == date(2026, 4, 1)
    assert expiry_of(number_born(date(1980, 1, 1)), made, 90) == date(2026, 4, 1)
    assert expiry_of(number_born(date(1980, 1, 1)), made, 1095) == date(2028, 12, 31)
