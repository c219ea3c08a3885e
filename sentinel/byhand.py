"""Turn what staff ask by hand into the entry that records it: the same words for the gate and for the one-shot."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from sentinel.core.admission import MOST_USES
from sentinel.core.calibration import OFFSET_MOST_K, Method
from sentinel.core.citizen import tidy_number, valid_number
from sentinel.core.consent import Giver
from sentinel.core.errors import Unavailable, UsageError
from sentinel.core.kinds import (
    CONSENT_ACTS,
    DELETION_REASONS,
    GALLERY_ACTS,
    GRANT_REASONS,
    REASONS,
    REVOKE_REASONS,
    TEMPLATE_ACTS,
    TEMPLATE_REASONS,
    Calibration,
    Consent,
    Deletion,
    GalleryMove,
    Grant,
    Opening,
    Registration,
    Revocation,
    TemplateChange,
    body_of,
)
from sentinel.core.model import PassKind
from sync.entry import Entry, Stamp, canonical, parse_key

VERBS = ("register", "open", "consent", "template", "gallery", "grant", "revoke", "calibrate", "delete")
DOCUMENTS = ("id-card", "passport", "other", "none")
_PASS_ID, _KEY_ID, _GATE = (re.compile(form) for form in ("[0-9a-f]{16}", "[0-9a-f]{8}", "[a-z0-9-]{1,32}"))
_TOKEN = re.compile(r"[0-9a-f]{32}")
_MOST_TEMPLATES = 1000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEY_NAME = re.compile(r"[a-z-]{1,32}/[0-9a-f~-]{10,32}")
_CLASS, _EPOCH = re.compile(r"[a-z-]{1,32}"), re.compile(r"[0-9a-f]{16}")
_MOST_NAMES = 1000
Paper = Consent | TemplateChange | GalleryMove | Grant | Revocation | Calibration | Deletion  # nothing moves
_REQUEST_ID = re.compile(r"[0-9a-zA-Z-]{8,64}")
_LOWEST_CELSIUS, _HIGHEST_CELSIUS = 34.0, 43.0  # what a hand-held thermometer can say about a living person
_TOLD_OTHERWISE = ("written_by", "operator", "opened", "person_sealed", "signer", "signature")
REPEAT_S = 15.0  # a request is repeated within the patience of whoever sent it; later its person has left


@dataclass(frozen=True, slots=True, kw_only=True)
class HandAct:
    """One act of staff: what is recorded, and whether the barrier opens for it."""

    entry: Registration | Opening | Paper
    request: str
    opens: bool
    personal: Mapping[str, Any] | None = field(default=None, repr=False)

    def is_repeated_by(self, entry: Entry) -> bool:
        """Tell whether this entry records the same act, whoever wrote it."""
        return entry.kind == self.entry.KIND and self._says(entry.data)

    def is_same_as(self, entry: object) -> bool:
        """Tell whether this is the act that was asked before: sealing anew never gives the same bytes."""
        return isinstance(entry, type(self.entry)) and self._says(body_of(entry))

    def _says(self, theirs: Mapping[str, Any]) -> bool:
        ours = body_of(self.entry)
        return all(theirs.get(key) == value for key, value in ours.items() if key not in _TOLD_OTHERWISE)


def opens_again(act: HandAct, before: Entry | None, now: Stamp) -> bool:
    """Tell whether the barrier opens for this act, given the entry that its request had made before.

    Raises: UsageError when that entry records another act.
    """
    if before is None:
        return act.opens
    if not act.is_repeated_by(before):
        raise UsageError(f"the request id {act.request} was used for {before.key}, another act; use a new one")
    age_s = (now.boot_ns - before.stamp.boot_ns) / 1e9
    still_there = before.stamp.boot_id == now.boot_id and age_s <= REPEAT_S
    return act.opens and still_there


def hand_act(
    request: Mapping[str, Any],
    *,
    operator: str,
    written_by: str,
    lane: str,
    direction: str,
    token_of: Callable[[str], str] | None,
    seal_number: Callable[[str], str] | None = None,
    sign: Callable[[bytes], tuple[str, str]] | None = None,
) -> HandAct:
    """Return the act that this request asks for; `sign` is for deletions, `seal_number` where the street wants numbers.

    Raises: UsageError naming the field that is missing or wrong. Unavailable when a deletion cannot be signed.
    """
    request_id = str(request.get("request", ""))
    if not _REQUEST_ID.fullmatch(request_id):
        raise UsageError("a request by hand needs a request id of 8 to 64 letters, digits and dashes")
    verb = request["verb"]
    if verb in _PAPERWORK:
        entry = _PAPERWORK[verb](request, request_id, operator)
        return HandAct(entry=_signed(entry, sign), request=request_id, opens=False)
    reason = _one_of(request, "reason", REASONS)
    if verb == "open":
        opening = Opening(request=request_id, operator=operator, reason=reason, lane=lane, written_by=written_by)
        return HandAct(entry=opening, request=request_id, opens=True)
    personal = _personal(request)
    number, celsius = personal["number"], _celsius(request)
    registration = Registration(
        request=request_id,
        operator=operator,
        reason=reason,
        opened=bool(request.get("open", True)),
        lane=lane,
        direction=direction,
        written_by=written_by,
        person=token_of(number) if number and token_of is not None else None,
        person_sealed=seal_number(number) if number and seal_number is not None else None,
        temperature="not-measured" if celsius is None else "by-hand",
        skin_celsius=celsius,
        after=_after(request),
    )
    return HandAct(entry=registration, request=request_id, opens=registration.opened, personal=personal)


def _personal(request: Mapping[str, Any]) -> dict[str, Any]:
    document = _one_of(request, "document", DOCUMENTS)
    number = tidy_number(str(request.get("number", "")))
    _check_number(document, number)
    name = str(request.get("name", "")).strip()
    if not name:
        raise UsageError("a registration needs the person's name; for nobody in particular use: sentinelctl open")
    return {"name": name, "document": document, "number": number}


def number_in(request: Mapping[str, Any], key: str, default: float) -> float:
    """Return a number of the request, or the default where it has none.

    Raises: UsageError when there is something else.
    """
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{key} must be a number, not {value!r}")
    return value


def _after(request: Mapping[str, Any]) -> str | None:
    after = request.get("after")
    if after is None:
        return None
    try:
        return str(parse_key(str(after)))
    except ValueError as error:
        raise UsageError(f"after: {error}; copy it from: sentinelctl show status") from error


def _consent(request: Mapping[str, Any], request_id: str, operator: str) -> Consent:
    by, given_on = request.get("by"), request.get("given_on")
    return Consent(
        request=request_id,
        person=_formed(request, "person", _TOKEN),
        act=_one_of(request, "act", CONSENT_ACTS),
        consent=str(request.get("consent", "")),
        operator=operator,
        templates=_count(request, "templates", _MOST_TEMPLATES),
        model=str(request.get("model", "")),
        by=None if by is None else _one_of(request, "by", tuple(Giver)),
        given_on=None if given_on is None else _day(request, "given_on"),
        purpose=None if request.get("purpose") is None else str(request["purpose"]),
        keep_picture=None if request.get("keep_picture") is None else request["keep_picture"] is True,
    )


def _template(request: Mapping[str, Any], request_id: str, operator: str) -> TemplateChange:
    return TemplateChange(
        request=request_id,
        operator=operator,
        person=_formed(request, "person", _TOKEN),
        act=_one_of(request, "act", TEMPLATE_ACTS),
        reason=_one_of(request, "reason", TEMPLATE_REASONS),
        templates=_count(request, "templates", _MOST_TEMPLATES),
        left=_count(request, "left", _MOST_TEMPLATES),
        model=str(request.get("model", "")),
        other=None if request.get("other") is None else _formed(request, "other", _TOKEN),
        after=_after(request),
    )


def _gallery(request: Mapping[str, Any], request_id: str, operator: str) -> GalleryMove:
    return GalleryMove(
        request=request_id,
        operator=operator,
        act=_one_of(request, "act", GALLERY_ACTS),
        people=_count(request, "people", 2**31),
        templates=_count(request, "templates", 2**31),
        pictures=_count(request, "pictures", 2**31),
        sha256=_formed(request, "sha256", _SHA256),
        signer=_formed(request, "signer", _KEY_ID),
    )


def _count(request: Mapping[str, Any], key: str, most: int) -> int:
    count = number_in(request, key, -1)
    if not 0 <= count <= most or count != int(count):
        raise UsageError(f"{key} must be a whole number up to {most}, not {count!r}")
    return int(count)


def _day(request: Mapping[str, Any], key: str) -> str:
    try:
        return date.fromisoformat(str(request.get(key, ""))).isoformat()
    except ValueError as error:
        raise UsageError(f"{key} must be a day, YYYY-MM-DD") from error


def _grant(request: Mapping[str, Any], request_id: str, operator: str) -> Grant:
    since, until = (number_in(request, f"valid_{end}_utc_s", -1) for end in ("from", "until"))
    uses = number_in(request, "uses", -1)
    if not 0 <= since < until < 2**32 or uses not in range(MOST_USES + 1):
        raise UsageError(f"a pass begins before it ends and has 0 to {MOST_USES} uses; use sentinelctl issue pass")
    return Grant(
        request=request_id,
        operator=operator,
        reason=_one_of(request, "reason", GRANT_REASONS),
        pass_id=_formed(request, "pass_id", _PASS_ID),
        pass_kind=_one_of(request, "pass_kind", tuple(PassKind)),
        issuer=_formed(request, "issuer", _KEY_ID),
        gate=_formed(request, "gate", _GATE),
        valid_from_utc_s=int(since),
        valid_until_utc_s=int(until),
        uses=int(uses),
    )


def _calibration(request: Mapping[str, Any], request_id: str, operator: str) -> Calibration:
    offset = number_in(request, "offset_celsius", math.nan)
    if not abs(offset) <= OFFSET_MOST_K:  # not a number is refused too
        raise UsageError(f"offset_celsius must be at most {OFFSET_MOST_K} K either way; use sentinelctl calibrate")
    return Calibration(
        request=request_id,
        operator=operator,
        signed_by=str(request.get("signed_by", "")).strip() or operator,
        device="thermal",
        method=_one_of(request, "method", tuple(Method)),
        samples=int(number_in(request, "samples", 0)),
        offset_celsius=float(offset),
        spread_celsius=float(number_in(request, "spread_celsius", 0.0)),
        residual_celsius=float(number_in(request, "residual_celsius", 0.0)),
        due=_day(request, "due"),
        reference_celsius=_optional_number(request, "reference_celsius"),
        ambient_celsius=_optional_number(request, "ambient_celsius"),
    )


def _optional_number(request: Mapping[str, Any], key: str) -> float | None:
    return None if request.get(key) is None else float(number_in(request, key, 0.0))


def _revocation(request: Mapping[str, Any], request_id: str, operator: str) -> Revocation:
    return Revocation(
        request=request_id,
        operator=operator,
        reason=_one_of(request, "reason", REVOKE_REASONS),
        pass_id=_formed(request, "pass_id", _PASS_ID),
    )


def _deletion(request: Mapping[str, Any], request_id: str, operator: str) -> Deletion:
    keys, runs, parts = request.get("keys", []), request.get("runs", []), request.get("parts", {})
    lists = isinstance(keys, list) and isinstance(runs, list) and isinstance(parts, dict)
    if not lists or not all(isinstance(run, list) and len(run) == 3 for run in runs):
        raise UsageError("a deletion names keys, runs of entries and counts of parts; use: sentinelctl retention")
    if not 0 < len(keys) + len(runs) <= _MOST_NAMES:
        raise UsageError(f"a deletion names 1 to {_MOST_NAMES} keys and runs; use: sentinelctl retention")
    for name in keys:
        _formed({"key": name}, "key", _KEY_NAME)
    for epoch, first, last in runs:
        _formed({"epoch": epoch}, "epoch", _EPOCH)
        if not 0 < _count({"first": first}, "first", 2**62) <= _count({"last": last}, "last", 2**62):
            raise UsageError(f"a run of entries goes from {first} to {last}; use: sentinelctl retention")
    counts = {_formed({"class": name}, "class", _CLASS): _count(parts, name, 2**31) for name in parts}
    return Deletion(
        request=request_id, operator=operator, reason=_one_of(request, "reason", DELETION_REASONS), keys=tuple(keys),
        parts=counts, total=sum(counts.values()), signer="", signature="", runs=tuple(runs),
        person=None if request.get("person") is None else _formed(request, "person", _TOKEN),
    )  # fmt: skip


def _signed(entry: Paper, sign: Callable[[bytes], tuple[str, str]] | None) -> Paper:
    if not isinstance(entry, Deletion):
        return entry
    if sign is None:
        raise Unavailable("the vault cannot be opened, so nothing can be deleted; see the log of sentinel-gate")
    return signed(entry, sign)


def signed(deletion: Deletion, sign: Callable[[bytes], tuple[str, str]]) -> Deletion:
    """Return the deletion with the gate's signature."""
    signer, signature = sign(signed_part(body_of(deletion)))
    return replace(deletion, signer=signer, signature=signature)


def signed_part(body: Mapping[str, Any]) -> bytes:
    """Return what the signature of a deletion's body is over."""
    return canonical({name: value for name, value in body.items() if name not in ("signer", "signature")})


def _formed(request: Mapping[str, Any], key: str, form: re.Pattern[str]) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise UsageError(f"{key} must have the form {form.pattern}, not {value!r}")
    return value


def _one_of(request: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    value = request.get(key)
    if value not in choices:
        raise UsageError(f"{key} must be one of {', '.join(choices)}; not {value!r}")
    return str(value)


def _check_number(document: str, number: str) -> None:
    if document == "none" and number:
        raise UsageError("a number was given with document 'none'; say which document it is from: --document")
    if document == "id-card" and not valid_number(number):
        raise UsageError("the ID number fails its check digit or birth date; read it again, or use --document other")


def _celsius(request: Mapping[str, Any]) -> float | None:
    if request.get("skin_celsius") is None:
        return None
    celsius = number_in(request, "skin_celsius", 0.0)
    if not _LOWEST_CELSIUS <= celsius <= _HIGHEST_CELSIUS:
        raise UsageError(f"a temperature by hand must be {_LOWEST_CELSIUS} to {_HIGHEST_CELSIUS} °C; measure again")
    return float(celsius)


# What is only written down: the barrier does not move for it.
_PAPERWORK: Mapping[str, Callable[[Mapping[str, Any], str, str], Paper]] = {
    "consent": _consent,
    "template": _template,
    "gallery": _gallery,
    "grant": _grant,
    "revoke": _revocation,
    "calibrate": _calibration,
    "delete": _deletion,
}
