"""Check and mask the numbers and names that identity cards carry.

Source: GB 11643 and ISO 7064 MOD 11-2; docs of the two forms of 18 places in device-protocols 1.9.
"""

import unicodedata
from datetime import date

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"  # by the weighted sum modulo 11
_NUMBER_CHARS = 18
_EARLIEST_BIRTH_YEAR = 1900  # the oldest living person was born later; an earlier year is a slip of the finger


def tidy_number(typed: str) -> str:
    """Return a number as cards write it: no blanks or dashes, plain digits, capital letters.

    People type full-width digits and a small x; both mean what the card says.
    """
    plain = unicodedata.normalize("NFKC", typed).upper()
    return "".join(char for char in plain if not char.isspace() and char != "-")


def check_digit(first17: str) -> str:
    """Return the eighteenth character that belongs to the first seventeen digits.

    Raises: ValueError when these are not seventeen digits.
    """
    if len(first17) != _NUMBER_CHARS - 1 or not _plain_digits(first17):
        raise ValueError("a check digit needs 17 digits; look at the number on the card again")
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, first17, strict=True))
    return _CHECK_DIGITS[total % 11]


def valid_number(number: str) -> bool:
    """Tell whether this is a whole number of 18 places: its check digit holds and its birth date exists."""
    return birth_of(number) is not None and check_digit(number[:17]) == number[17]


def birth_of(number: str) -> date | None:
    """Return the birth date inside a number of 18 places, or None when there is no such day."""
    if len(number) != _NUMBER_CHARS or not _plain_digits(number[:17]) or number[0] == "0":
        return None
    try:
        birth = date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return None
    return birth if birth.year >= _EARLIEST_BIRTH_YEAR else None


def mask_number(number: str) -> str:
    """Return the number with its birth date hidden: six places, eight stars, four places.

    Numbers of other lengths (older foreigner cards, passports) show a fifth at each end.
    """
    if len(number) == _NUMBER_CHARS:
        return f"{number[:6]}********{number[14:]}"
    shown = len(number) // 5
    return number[:shown] + "*" * (len(number) - 2 * shown) + number[len(number) - shown :]


def mask_name(name: str) -> str:
    """Return a name that its bearer recognises and a bystander does not learn.

    A Chinese name keeps its first and last character, of two only the first; a Latin name keeps one letter a word
    and always three stars, so that its length says nothing.
    """
    name = name.strip()
    if any("a" <= char <= "z" for char in unicodedata.normalize("NFKD", name).lower()):
        return " ".join(_mask_word(word) for word in name.split())
    if len(name) < 2:
        return "*" * len(name)
    if len(name) == 2:
        return f"{name[0]}*"
    return name[0] + "*" * (len(name) - 2) + name[-1]


def _mask_word(word: str) -> str:
    return f"{word[0]}***" + ("," if word.endswith(",") and len(word) > 1 else "")


def _plain_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
