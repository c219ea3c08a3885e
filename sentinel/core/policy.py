"""Decide about one attempt: open, refuse or hold for staff, always with reasons.

Total and pure: every attempt gets a decision, the same one each time. Closed: the barrier opens only when one
credential was accepted without an objection and the temperature, where the site asks for it, was measured below the
limit. What cannot be judged is held for the guard. The one exception is a fire, which opens everything.

A pass opens by itself in every profile: a visitor has no face here. Whether it may be used now, the caller has asked
the book of passes (`sentinel/core/admission.py`) and says so; beside a card it counts for nothing.

Order of the reasons: what refuses, then a high temperature, then the rest as found; the first explains the outcome.
"""

import math
from dataclasses import dataclass, replace
from datetime import date, time

from drivers.readings import CardKind, CardReading
from recognition.readings import FaceProblem, FaceReading
from sentinel.core import rights
from sentinel.core.liveness import Verdict as LifeVerdict
from sentinel.core.model import (
    Attempt,
    Decision,
    Method,
    Outcome,
    PassProblem,
    Person,
    Policy,
    Profile,
    Reason,
    ShownPass,
    TemperatureState,
)

_REFUSING = frozenset({
    Reason.CARD_EXPIRED, Reason.CARD_NOT_YET_VALID, Reason.PERSON_BLOCKED,
    Reason.PASS_EXPIRED, Reason.PASS_NOT_YET_VALID, Reason.PASS_OTHER_SITE, Reason.PASS_REVOKED, Reason.PASS_USED,
})  # fmt: skip
_PROBLEMS = {
    PassProblem.NOT_A_PASS: Reason.PASS_UNREADABLE,
    PassProblem.DAMAGED: Reason.PASS_UNREADABLE,
    PassProblem.UNKNOWN_ISSUER: Reason.PASS_UNKNOWN_ISSUER,
    PassProblem.BAD_SIGNATURE: Reason.PASS_FORGED,
}
UNASKED = (Reason.PASS_UNCHECKED,)  # nobody has asked the book of passes: then no pass opens


@dataclass(frozen=True, slots=True, kw_only=True)
class _Here:
    """The day and hour by which rights are judged, whether they are believed, and the place."""

    today: date
    at: time | None
    trusted: bool
    lane: str
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What was judged, and every objection to it. Without objections and with a method the credential is accepted."""

    method: Method
    person: Person | None = None
    objections: tuple[Reason, ...] = ()


def decide(
    attempt: Attempt,
    policy: Policy,
    *,
    today: date,
    clock_trusted: bool,
    pass_objections: tuple[Reason, ...] = UNASKED,
    at: time | None = None,
) -> Decision:
    """Return what the gate does with this attempt, and every reason for it.

    `at` is the local time of the day; without it nobody passes whose right is bound to hours. `pass_objections` is
    what the book of passes says about the attempt's pass: () when it may be used now.
    """
    temperature = temperature_state(attempt, policy)
    here = _Here(today=today, at=at, trusted=clock_trusted, lane=policy.lane, direction=policy.direction)
    verdict = _judge(attempt, policy.profile, here, pass_objections)
    verdict = _as_far_as_it_lives(verdict, attempt, policy.profile)
    if policy.fire_active:
        return Decision(
            outcome=Outcome.OPEN,
            method=Method.FIRE,
            reasons=(Reason.FIRE,),
            person=verdict.person,
            temperature_state=temperature,
        )
    reasons = _in_order((*verdict.objections, *_temperature_objections(temperature)))
    if not reasons and verdict.method is not Method.NONE:
        outcome, reasons = Outcome.OPEN, (Reason.ACCEPTED,)
    else:
        outcome = Outcome.REFUSE if _REFUSING & set(reasons) else Outcome.HOLD
    return Decision(
        outcome=outcome,
        method=verdict.method,
        reasons=reasons,
        person=verdict.person,
        temperature_state=temperature,
    )


def temperature_state(attempt: Attempt, policy: Policy) -> TemperatureState:
    """Return what is known of the person's temperature; at the limit is high already."""
    limit = policy.temperature_limit_celsius
    if limit is None:
        return TemperatureState.NOT_ASKED
    skin = attempt.temperature.skin_celsius if attempt.temperature else None
    if skin is None or not math.isfinite(skin):
        return TemperatureState.NOT_MEASURED
    return TemperatureState.HIGH if skin >= limit else TemperatureState.NORMAL


def is_face_of(face: FaceReading, holder: Person) -> bool:
    """Tell whether this face proves that the holder stands there.

    A face that reaches the holder but is more like somebody else in the roster proves nothing: brothers exist.
    """
    if face.problem is not None:
        return False
    if face.identified is not None and face.identified.reached:
        return face.identified.person == holder.token
    return face.claimed is not None and face.claimed.reached and face.claimed.person == holder.token


def is_answered(face: FaceReading, person: Person | None) -> bool:
    """Tell whether vision knows who this is, or knows that more frames will not tell."""
    return (person is not None and face.identified is not None) or (face.doubtful and face.settled)


def leaves_holder_doubtful(face: FaceReading | None) -> bool:
    """Tell whether more frames will not tell if this is the claimed holder."""
    return face is not None and face.settled and face.claimed is not None and face.claimed.doubtful


def compared_with_photo(face: FaceReading, holder: Person) -> bool:
    """Tell whether this face was compared with the photograph of the holder's own card."""
    return face.claimed is not None and face.claimed.by_photo and face.claimed.person == holder.token


def _judge(attempt: Attempt, profile: Profile, day: _Here, pass_objections: tuple[Reason, ...]) -> _Verdict:
    if attempt.card is None:
        if attempt.shown is not None and attempt.shown.readable:
            return _judge_pass(attempt, attempt.shown, profile, pass_objections)
        if profile is Profile.FACE:
            return _judge_face_alone(attempt, day)
        told = _unreadable(attempt) or (Reason.CARD_MISSING,)
        return _Verdict(method=Method.NONE, person=attempt.face_person, objections=told)
    objections = [*_card_objections(attempt.card, day), *_person_objections(attempt.holder, day)]
    method = Method.CARD
    if attempt.holder is not None and profile is not Profile.CARD:
        face_objection = _face_beside_card(attempt.face, attempt.holder, required=profile is Profile.CARD_AND_FACE)
        if face_objection is not None:
            objections.append(face_objection)
        elif (
            attempt.face is not None
            and is_face_of(attempt.face, attempt.holder)
            and (attempt.holder.has_face or compared_with_photo(attempt.face, attempt.holder))
        ):
            method = Method.CARD_AND_FACE
    return _Verdict(method=method, person=attempt.holder, objections=tuple(objections))


def _unreadable(attempt: Attempt) -> tuple[Reason, ...]:
    """Return what was shown and could not be read: to show it again is what the person can do about it."""
    if attempt.card_trouble:
        return (Reason.CARD_UNREADABLE,)
    return (Reason.PASS_UNREADABLE,) if attempt.shown is not None else ()


def _judge_pass(
    attempt: Attempt, shown: ShownPass, profile: Profile, pass_objections: tuple[Reason, ...]
) -> _Verdict:
    """Judge the code alone; the face beside it only tells how many people stand here, and whether one may not."""
    objections = (_PROBLEMS[shown.read],) if isinstance(shown.read, PassProblem) else pass_objections
    face, person = attempt.face, attempt.face_person
    if face is None or profile is Profile.CARD:
        return _Verdict(method=Method.PASS, objections=objections)
    if face.problem is FaceProblem.SEVERAL:
        return _Verdict(method=Method.PASS, objections=(*objections, Reason.FACE_SEVERAL))
    if person is None or not person.has_face or not is_face_of(face, person):
        return _Verdict(method=Method.PASS, objections=objections)
    # Who has moved out may come to visit; who was shut out may not come in by a pass.
    blocked = () if person.allowed else (Reason.PERSON_BLOCKED,)
    return _Verdict(method=Method.PASS, person=person, objections=(*objections, *blocked))


def _card_objections(card: CardReading, day: _Here) -> list[Reason]:
    objections = []
    if card.kind is CardKind.UNKNOWN:
        objections.append(Reason.CARD_KIND_UNKNOWN)
    if not card.number_ok:
        objections.append(Reason.CARD_NUMBER_INVALID)
    if not card.birth_ok:
        objections.append(Reason.CARD_DATA_CONTRADICTS)
    if card.valid_from is None or (card.valid_until is None and not card.long_term):
        objections.append(Reason.CARD_DATES_UNREADABLE)
    if card.valid_until is not None and card.valid_until < day.today and not card.long_term:
        objections.append(_dated(Reason.CARD_EXPIRED, day))
    if card.valid_from is not None and card.valid_from > day.today:
        objections.append(_dated(Reason.CARD_NOT_YET_VALID, day))
    return objections


def _person_objections(person: Person | None, day: _Here) -> list[Reason]:
    if person is None:
        return [Reason.CARD_UNKNOWN_HOLDER]
    if not person.allowed:
        return [Reason.PERSON_BLOCKED]
    if person.valid_until is not None and person.valid_until < day.today:
        # A right that ran out is a right withdrawn on a date known in advance: the same answer for the person.
        return [_dated(Reason.PERSON_BLOCKED, day)]
    return _right_objections(person, day)


def _right_objections(person: Person, here: _Here) -> list[Reason]:
    """Return what speaks against passing here and now; a clock that is not believed speaks against nobody."""
    windows = rights.of_lane(person.windows, here.lane, here.direction)
    if person.windows and not windows:
        return [Reason.RIGHT_OTHER_LANE]
    if not here.trusted:
        return []
    begun = person.valid_from is None or person.valid_from <= here.today
    at = here.at
    open_now = not windows or (at is not None and any(window.holds(here.today, at) for window in windows))
    return [] if begun and open_now else [Reason.RIGHT_OTHER_HOURS]


def _dated(reason: Reason, day: _Here) -> Reason:
    """Return the reason, unless it rests on a clock that is not believed: then staff look at the date."""
    return reason if day.trusted else Reason.CLOCK_UNTRUSTED


def _face_beside_card(face: FaceReading | None, holder: Person, *, required: bool) -> Reason | None:
    """Return what the face says against the card's holder.

    Where the face is not required (profile `face`) the card is a way in by itself, as the law wants: then nobody in
    view or a face that cannot be compared is no objection, but a face that is somebody else's is, and so are several
    people, because nobody can say whose card and whose temperature was read.
    """
    if face is not None and face.problem is FaceProblem.SEVERAL:
        return Reason.FACE_SEVERAL
    if not holder.has_face and not (face is not None and compared_with_photo(face, holder)):
        if required:
            return Reason.FACE_NOT_ENROLLED
        return Reason.FACE_MISMATCH if face is not None and _is_somebody_else(face, holder) else None
    if face is None:
        return Reason.FACE_MISSING if required else None
    if face.problem is not None:
        return Reason.FACE_UNUSABLE if required else None
    if is_face_of(face, holder):
        return None
    compared = face.claimed is not None and face.claimed.person == holder.token
    if compared and face.claimed is not None and face.claimed.doubtful and not _is_somebody_else(face, holder):
        return Reason.FACE_UNSURE
    if not required and not compared and face.identified is None:
        return None  # nothing could be compared, as after a change of model: the card is a way in by itself
    return Reason.FACE_MISMATCH if compared or _is_somebody_else(face, holder) else Reason.FACE_UNKNOWN


def _is_somebody_else(face: FaceReading, holder: Person) -> bool:
    found = face.identified
    return face.problem is None and found is not None and found.reached and found.person != holder.token


def _judge_face_alone(attempt: Attempt, day: _Here) -> _Verdict:
    person = attempt.face_person
    objection = _face_alone_objection(attempt.face, person)
    if objection is not None:
        return _Verdict(method=Method.NONE, person=person, objections=(*_unreadable(attempt), objection))
    return _Verdict(method=Method.FACE, person=person, objections=tuple(_person_objections(person, day)))


def _face_alone_objection(face: FaceReading | None, person: Person | None) -> Reason | None:
    if face is None:
        return Reason.FACE_MISSING
    if face.problem is not None:
        return Reason.FACE_SEVERAL if face.problem is FaceProblem.SEVERAL else Reason.FACE_UNUSABLE
    if person is None or not is_face_of(face, person) or face.identified is None:
        return Reason.FACE_UNSURE if face.doubtful else Reason.FACE_UNKNOWN
    if not person.has_face:
        return Reason.FACE_NOT_ENROLLED  # a withdrawn consent: the face counts no more
    return Reason.FACE_ALIKE if person.step_up else None


def _as_far_as_it_lives(verdict: _Verdict, attempt: Attempt, profile: Profile) -> _Verdict:
    """Let a face that is not shown to live open nothing; what else was shown counts as if no face had been there."""
    life = attempt.liveness
    if life is None or life.opens or verdict.method not in (Method.FACE, Method.CARD_AND_FACE):
        return verdict
    if verdict.method is Method.CARD_AND_FACE and profile is not Profile.CARD_AND_FACE:
        return replace(verdict, method=Method.CARD)  # the step up was made: the card is a way in by itself here
    why = Reason.FACE_NOT_LIVE if life.verdict is LifeVerdict.NOT_LIVE else Reason.FACE_LIVENESS_UNSURE
    return replace(verdict, objections=(*verdict.objections, why))


def _temperature_objections(state: TemperatureState) -> tuple[Reason, ...]:
    if state is TemperatureState.HIGH:
        return (Reason.TEMPERATURE_HIGH,)
    if state is TemperatureState.NOT_MEASURED:
        return (Reason.TEMPERATURE_NOT_MEASURED,)
    return ()


def _in_order(objections: tuple[Reason, ...]) -> tuple[Reason, ...]:
    def rank(reason: Reason) -> int:
        return 0 if reason in _REFUSING else 1 if reason is Reason.TEMPERATURE_HIGH else 2

    return tuple(sorted(dict.fromkeys(objections), key=rank))
