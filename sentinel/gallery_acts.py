"""Say what becomes of templates in quarantine, and which go there when a passage was somebody else's. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sentinel.core.citizen import birth_of
from sentinel.core.consent import Giver, is_guarded
from sentinel.core.errors import UsageError
from sentinel.roster import CARD_PHOTO, Member, Template

SOON_DAYS = 30
FEW_TEMPLATES = 3  # one picture misses 5 %, three miss 1.6 % at 10,000 people (face-pipeline D)
HINTS = (
    "expired", "expires-soon", "few-templates", "card-photo", "quarantined", "consent-incomplete", "own-consent-due",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A member as they will be, and the templates that it is about."""

    member: Member
    about: tuple[Template, ...]


def released(member: Member, ids: Collection[str]) -> Change:
    """Put templates of the quarantine, or all of them, back into use.

    Raises: UsageError when one of the ids is not there.
    """
    chosen = _chosen(member.quarantined, ids)
    back = tuple(replace(template, why="", other="") for template in chosen)
    left = tuple(template for template in member.quarantined if template not in chosen)
    return Change(member=replace(member, templates=(*member.templates, *back), quarantined=left), about=chosen)


def dropped(member: Member, ids: Collection[str]) -> Change:
    """Delete templates of the quarantine, or all of them.

    Raises: UsageError when one of the ids is not there.
    """
    chosen = _chosen(member.quarantined, ids)
    left = tuple(template for template in member.quarantined if template not in chosen)
    return Change(member=replace(member, quarantined=left), about=chosen)


def set_aside(member: Member, ids: Collection[str], why: str, other: str = "") -> Change:
    """Put templates in use, or all of them, into quarantine.

    Raises: UsageError when one of the ids is not there.
    """
    chosen = _chosen(member.templates, ids)
    aside = tuple(replace(template, why=why, other=other) for template in chosen)
    left = tuple(template for template in member.templates if template not in chosen)
    return Change(member=replace(member, templates=left, quarantined=(*member.quarantined, *aside)), about=aside)


def not_me(member: Member, passage: Mapping[str, Any], at: datetime | None) -> Change:
    """Put aside what may have matched in a passage that was not this person's. `at` is None when no clock is to trust.

    The template that the passage names; when it names none, every template of its model that was there by then: which
    of them let the stranger in is not known, and a stranger must not come in twice.
    Raises: UsageError when no face took part, or nothing that is in use can have matched.
    """
    model, named = passage.get("face_model"), passage.get("face_template")
    if not model or passage.get("similarity") is None:
        raise UsageError("no face took part in this passage; when the card was used by somebody else, block the person")
    there = [one for one in member.templates if one.model == model and (at is None or _made(one) <= at)]
    ids = [one.id for one in there if named in (None, one.id)] or [one.id for one in there]
    if not ids:
        raise UsageError("no template in use was there at this passage; it may stand in quarantine already")
    return set_aside(member, ids, "not-me")


def _made(template: Template) -> datetime:
    return datetime.fromisoformat(template.made_at).astimezone()


def _chosen(templates: Sequence[Template], ids: Collection[str]) -> tuple[Template, ...]:
    known = {template.id for template in templates}
    if not known or set(ids) - known:
        wrong = ", ".join(sorted(set(ids) - known)) or "any"
        raise UsageError(f"there is no such template ({wrong}); see: sentinelctl people quarantine")
    return tuple(template for template in templates if not ids or template.id in ids)


def hints(member: Member, today: date) -> tuple[str, ...]:
    """Return why this person should come and be enrolled again, or be looked at; `HINTS` lists the words."""
    used = [template for template in member.templates if template.holds_on(today)]
    soon = today + timedelta(days=SOON_DAYS)
    found = {
        "expired": bool(member.templates) and not used,
        "expires-soon": bool(used) and all(one.expires is not None and one.expires < soon for one in used),
        "few-templates": 0 < len(used) < FEW_TEMPLATES,
        "card-photo": any(one.source == CARD_PHOTO for one in used),
        "quarantined": bool(member.quarantined),
        "consent-incomplete": bool(member.templates) and member.consent is None,
        "own-consent-due": _own_consent_due(member, today),
    }
    return tuple(name for name in HINTS if found[name])


def _own_consent_due(member: Member, today: date) -> bool:
    """Tell whether a guardian consented for somebody who is by now known to be old enough to be asked."""
    by_guardian = member.consent is not None and member.consent.by is Giver.GUARDIAN
    was_guarded = by_guardian and member.consent is not None and is_guarded(member.number, member.consent.on)
    return was_guarded and birth_of(member.number) is not None and not is_guarded(member.number, today)
