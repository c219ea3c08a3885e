"""Numbers and names of cards: what is valid, and what may be shown."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.core.citizen import birth_of, check_digit, mask_name, mask_number, tidy_number, valid_number

SPECIMENS = ("11010519491231002X", "932682198501010017", "911124198108030024", "810000199001010027")
numbers = st.builds(
    lambda region, birth, sequence: f"{region:06d}{birth:%Y%m%d}{sequence:03d}",
    st.integers(110000, 999999),
    st.dates(date(1900, 1, 1), date(2026, 12, 31)),
    st.integers(0, 999),
).map(lambda first17: first17 + check_digit(first17))


@pytest.mark.parametrize("number", SPECIMENS)
def test_published_specimens_are_valid(number):
    assert valid_number(number)


@given(numbers, st.integers(0, 16), st.integers(1, 9))
def test_one_wrong_digit_is_always_found(number, place, step):
    wrong = number[:place] + str((int(number[place]) + step) % 10) + number[place + 1 :]
    assert not valid_number(wrong)


@given(numbers, st.integers(0, 15))
def test_two_swapped_neighbours_are_always_found(number, place):
    swapped = number[:place] + number[place + 1] + number[place] + number[place + 2 :]
    assert valid_number(swapped) == (swapped == number)


@given(st.text(max_size=20))
def test_any_text_gets_an_answer(text):
    assert valid_number(text) in (True, False)
    assert len(mask_number(text)) >= len(text)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("110105194912310021", "the check digit does not hold"),
        ("11010519490230002X", "there is no 30 February"),
        ("1101051949123100", "two places are missing"),
        ("²10105194912310021", "a raised two is no digit of a card"),
    ],
)
def test_slips_are_found(number, why):
    assert not valid_number(number), why


def test_birth_comes_from_the_number():
    assert birth_of("11010519491231002X") == date(1949, 12, 31)
    assert birth_of("not a number") is None


def test_check_digit_wants_seventeen_digits():
    with pytest.raises(ValueError, match="17 digits"):
        check_digit("123")


def test_typed_numbers_are_tidied():
    assert tidy_number(" 110105-19491231-002x") == "11010519491231002X"
    assert tidy_number("110105") == "110105"


def test_number_is_masked():
    assert mask_number("11010519491231002X") == "110105********002X"
    assert mask_number("ABC110123456789") == "ABC*********789"
    assert mask_number("1234") == "****"


@given(numbers)
def test_masked_number_hides_the_birth_date(number):
    assert mask_number(number)[6:14] == "********"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("李小明", "李*明"),
        ("王芳", "王*"),
        ("欧阳娜娜", "欧**娜"),
        ("阿卜杜拉·买买提", "阿******提"),
        ("龙", "*"),
        ("SMITH, ANNA", "S***, A***"),
        ("Émile Zola", "É*** Z***"),
        ("  王芳  ", "王*"),
        ("", ""),
    ],
)
def test_name_is_masked(name, shown):
    assert mask_name(name) == shown


@given(st.text(alphabet="abcdefghij", min_size=2, max_size=12))
def test_latin_mask_tells_nothing_of_the_length(name):
    assert mask_name(name) == f"{name[0]}***"
