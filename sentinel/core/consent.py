"""Say what a consent to a face template must tell, and whether it tells it. Pure.

Source: Personal Information Protection Law of the PRC, articles 14, 17, 28, 29 and 31: informed, specific, separate
consent to biometric data, and that of a guardian for whoever has not reached the age of 14.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from sentinel.core.citizen import birth_of
from sentinel.core.errors import DataError

GUARDED_UNTIL_YEARS = 14
CHILD_TEMPLATE_DAYS = 365  # faces of children change within a year or two; a template that ages refuses its own person
LONGEST_TEXT = 120


class Giver(StrEnum):
    """Who gave the consent."""

    SELF = "self"
    GUARDIAN = "guardian"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentGiven:
    """A consent to a stored face template. `guardian` is a name, and personal as the person's own."""

    ref: str  # where it can be looked up: "paper 2026/17"
    by: Giver
    on: date
    purpose: str  # as the form said it
    guardian: str = field(default="", repr=False)
    keep_picture: bool = False  # the picture may be kept, encrypted, for a change of model


def age_on(number: str, day: date) -> int | None:
    """Return how many whole years old the holder of an ID number is on a day; None when the number does not say.

    Who is born on 29 February has the birthday on 1 March in other years.
    """
    birth = birth_of(number)
    if birth is None:
        return None
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


def is_guarded(number: str, day: date) -> bool:
    """Tell whether the holder of this number is known to be under 14 on a day."""
    age = age_on(number, day)
    return age is not None and age < GUARDED_UNTIL_YEARS


def check_consent(consent: ConsentGiven, number: str, today: date) -> None:
    """Let a consent pass that is whole, given by somebody who may, and not in the future.

    Raises: DataError naming the field; never its value.
    """
    for key in ("ref", "purpose"):
        said = getattr(consent, key)
        if not said.strip() or len(said) > LONGEST_TEXT:
            raise DataError(f"consent.{key} is missing or longer than {LONGEST_TEXT} characters; say it in a few words")
    if consent.on > today:
        raise DataError("consent.on lies in the future; give the day on which it was signed")
    birth = birth_of(number)
    if birth is not None and consent.on < birth:
        raise DataError("consent.on lies before the birth date in the ID number; compare both with the form")
    if consent.by is Giver.GUARDIAN and not consent.guardian.strip():
        raise DataError("consent.guardian is missing; give the name of the guardian who consented")
    if consent.by is Giver.SELF and is_guarded(number, today):
        raise DataError(
            f"consent.by: under {GUARDED_UNTIL_YEARS} a guardian consents (PIPL art. 31); "
            'ask one, and give "by": "guardian" with their name'
        )


def expiry_of(number: str, made: date, template_days: int) -> date:
    """Return the last day on which a template made on a day is used."""
    days = min(template_days, CHILD_TEMPLATE_DAYS) if is_guarded(number, made) else template_days
    return made + timedelta(days=days)


def consent_as_json(consent: ConsentGiven) -> dict[str, Any]:
    """Return a consent as plain JSON values."""
    return {**asdict(consent), "by": str(consent.by), "on": consent.on.isoformat()}


def consent_from_json(told: Mapping[str, Any]) -> ConsentGiven:
    """Return the consent that plain JSON values tell.

    Raises: DataError naming the key that is unknown, missing or of the wrong form.
    """
    forms = {"ref": str, "by": str, "on": str, "purpose": str, "guardian": str, "keep_picture": bool}
    for key, value in told.items():
        if key not in forms:
            raise DataError(f"unknown key {'consent.' + key[:32]!r}; the keys are: {', '.join(forms)}")
        if not isinstance(value, forms[key]):
            kind = "true or false, without quotes" if forms[key] is bool else "text in quotes"
            raise DataError(f"consent.{key}: expected {kind}")
    for key in ("ref", "by", "on", "purpose"):
        if key not in told:
            raise DataError(f"consent.{key} is missing; a consent says ref, by, on and purpose: see docs/people.md")
    if told["by"] not in tuple(Giver):
        raise DataError(f"consent.by must be one of {', '.join(Giver)}")
    return ConsentGiven(
        ref=told["ref"].strip(),
        by=Giver(told["by"]),
        on=day_of("consent.on", told["on"]),
        purpose=told["purpose"].strip(),
        guardian=told.get("guardian", "").strip(),
        keep_picture=told.get("keep_picture", False),
    )


def day_of(key: str, value: str) -> date:
    """Return the day that a text of the form YYYY-MM-DD names.

    Raises: DataError naming the key when there is no such form or no such day.
    """
    # date.fromisoformat alone would take 20271231 and 2027-W01-1 too
    if len(value) != len("2027-12-31") or [at for at, char in enumerate(value) if char == "-"] != [4, 7]:
        raise DataError(f'{key}: expected a day as in "2027-12-31"; write it as YYYY-MM-DD')
    if not value.replace("-", "").isascii() or not value.replace("-", "").isdigit():
        raise DataError(f'{key}: expected a day as in "2027-12-31"; write it as YYYY-MM-DD')
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise DataError(f"{key}: there is no such day; look at a calendar") from error
