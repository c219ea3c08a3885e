"""Lay out the 256-byte text block of the four card kinds, and read it.

Source: device-protocols 1.8 and 1.9. The layout of kind Y and the meaning of its letter rest on one vendor's documents:
check them with a real card.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType

from drivers.readings import CardKind, CardReading

TEXT_BYTES = 256
ADDRESS_BYTES = 70  # of one address, printed or written later
LETTER = slice(248, 250)  # the UTF-16 unit that says which layout the block has
LETTERS = MappingProxyType({CardKind.HMT_PERMIT: "J", CardKind.FOREIGNER_2017: "I", CardKind.FOREIGNER_2023: "Y"})
LONG_TERM = "长期"

# Categories of characters that steer a terminal or turn a line round; none of them is part of a name.
STEERING = frozenset({"Cc", "Cf", "Zl", "Zp"})

CHECK_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
CHECK_DIGITS = "10X98765432"  # by remainder: ISO 7064 MOD 11-2

Layout = Mapping[str, tuple[slice, ...]]  # field name → the places that together hold it

_RESIDENT: Layout = MappingProxyType(
    {
        "name": (slice(0, 30),),
        "sex_code": (slice(30, 32),),
        "ethnic_code": (slice(32, 36),),
        "birth": (slice(36, 52),),
        "address": (slice(52, 122),),
        "number": (slice(122, 158),),
        "authority": (slice(158, 188),),
        "valid_from": (slice(188, 204),),
        "valid_until": (slice(204, 220),),
    }
)
_HMT_PERMIT: Layout = MappingProxyType(
    {name: places for name, places in _RESIDENT.items() if name != "ethnic_code"}
    | {"permit_number": (slice(220, 238),), "issue_count": (slice(238, 242),)}
)
_FOREIGNER_2017: Layout = MappingProxyType(
    {
        "name_latin": (slice(0, 120),),
        "sex_code": (slice(120, 122),),
        "number": (slice(122, 152),),
        "nationality": (slice(152, 158),),
        "name": (slice(158, 188),),
        "valid_from": (slice(188, 204),),
        "valid_until": (slice(204, 220),),
        "birth": (slice(220, 236),),
        "version": (slice(236, 240),),
        "authority": (slice(240, 248),),
    }
)
_FOREIGNER_2023: Layout = MappingProxyType(
    {
        "name": (slice(0, 30),),
        "sex_code": (slice(30, 32),),
        "issue_count": (slice(32, 36),),
        "birth": (slice(36, 52),),
        "name_latin": (slice(52, 122), slice(220, 242)),
        "number": (slice(122, 158),),
        "valid_from": (slice(188, 204),),
        "valid_until": (slice(204, 220),),
        "nationality": (slice(242, 248),),
        "earlier_link": (slice(250, 256),),
    }
)
LAYOUTS: Mapping[CardKind, Layout] = MappingProxyType(
    {
        CardKind.RESIDENT: _RESIDENT,
        CardKind.HMT_PERMIT: _HMT_PERMIT,
        CardKind.FOREIGNER_2017: _FOREIGNER_2017,
        CardKind.FOREIGNER_2023: _FOREIGNER_2023,
        CardKind.UNKNOWN: _RESIDENT,  # a future form most likely keeps the places of the common one
    }
)


def read_text(block: bytes, *, photo: bytes, at_mono: float) -> CardReading:
    """Return the card that a text block describes; what cannot be read is empty or None, nothing is refused.

    Shape: block has 256 bytes; any content is accepted, lone surrogates come out as U+FFFD.
    """
    kind = card_kind(block)
    text = {name: _clean(b"".join(block[place] for place in places)) for name, places in LAYOUTS[kind].items()}
    number = text["number"].upper()
    birth = _date(text["birth"])
    valid_until = text["valid_until"]
    return CardReading(
        at_mono=at_mono,
        kind=kind,
        letter=_clean(block[LETTER]),
        number=number,
        number_ok=bool(number) if kind is CardKind.FOREIGNER_2017 else check_digit_holds(number),
        birth_ok=birth_agrees(number, birth),
        name=text["name"] or text.get("name_latin", ""),  # a foreigner without a Chinese name is still called something
        name_latin=text.get("name_latin", ""),
        sex_code=text["sex_code"],
        ethnic_code=text.get("ethnic_code", ""),
        birth=birth,
        address=text.get("address", ""),
        authority=text.get("authority", ""),
        nationality=text.get("nationality", ""),
        valid_from=_date(text["valid_from"]),
        valid_until=_date(valid_until),
        long_term=valid_until == LONG_TERM,
        permit_number=text.get("permit_number", ""),
        issue_count=text.get("issue_count", ""),
        version=text.get("version", ""),
        earlier_link=text.get("earlier_link", ""),
        photo=photo,
    )


def read_addresses(data: bytes) -> tuple[str, ...]:
    """Return the addresses in the places of 70 bytes, without the empty ones."""
    places = (data[start : start + ADDRESS_BYTES] for start in range(0, len(data), ADDRESS_BYTES))
    return tuple(address for place in places if (address := _clean(place)))


def card_kind(block: bytes) -> CardKind:
    """Return the kind that the block's letter names; a blank place is the resident card."""
    letter = _clean(block[LETTER])
    if not letter:
        return CardKind.RESIDENT
    return next((kind for kind, known in LETTERS.items() if known == letter), CardKind.UNKNOWN)


def check_digit_holds(number: str) -> bool:
    """Tell whether an 18-place number ends in the check digit of GB 11643."""
    if not re.fullmatch(r"[0-9]{17}[0-9X]", number):
        return False
    total = sum(weight * int(digit) for weight, digit in zip(CHECK_WEIGHTS, number[:17], strict=True))
    return CHECK_DIGITS[total % 11] == number[17]


def birth_agrees(number: str, birth: date | None) -> bool:
    """Tell whether the birth date inside an 18-place number is this one; true where there are not two to compare."""
    if birth is None or not re.fullmatch(r"[0-9]{17}[0-9X]", number):
        return True
    return number[6:14] == birth.isoformat().replace("-", "")  # strftime writes the year 203 without its zero


def _clean(field: bytes) -> str:
    """Return the text without its fill, which is U+0020 on most cards and U+0000 on some.

    Control and direction characters become U+FFFD: a name must not move a terminal's cursor, nor turn the line round.
    Private-use characters stay, because rare Chinese names are written with them.
    """
    text = field.decode("utf-16-le", errors="replace").replace("\0", " ").strip()
    return "".join("\ufffd" if unicodedata.category(character) in STEERING else character for character in text)


def _date(text: str) -> date | None:
    if not re.fullmatch(r"[0-9]{8}", text):  # isdigit() would also take Arabic-Indic digits
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None
