"""Write down a judged attempt: every figure that the decision stood on, and apart from it who it was."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from recognition.readings import Candidate, FaceReading
from sentinel.core.kinds import LayerSaid, Passage
from sentinel.core.liveness import Liveness
from sentinel.core.model import Attempt, Decision, Pass, SkinTemperature


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where it was judged, and by which limit."""

    lane: str
    direction: str
    temperature_limit_celsius: float | None


def passage_of(
    attempt: Attempt, decision: Decision, place: Place, mode: str, now: float,
    seal_number: Callable[[str], str] | None = None,
) -> Passage:  # fmt: skip
    """Return the ledger's view of a judged attempt: every figure that the decision stood on, and nobody's name.

    `seal_number` is there where the street's policy asks for ID numbers: only the street opens what it returns.
    """
    face, card = attempt.face, attempt.card
    number = number_of(attempt, decision)
    shown = attempt.shown.read if attempt.shown and isinstance(attempt.shown.read, Pass) else None
    compared = face and (face.claimed or face.identified)
    return Passage(
        outcome=decision.outcome,
        method=decision.method,
        reasons=tuple(decision.reasons),
        lane=place.lane,
        direction=place.direction,
        mode=mode,
        person=decision.person.token if decision.person else None,
        person_sealed=seal_number(number) if seal_number and number else None,
        card_kind=card.kind if card else None,
        temperature=decision.temperature_state,
        temperature_limit_celsius=place.temperature_limit_celsius,
        **_measured(attempt.temperature),
        similarity=_rounded(compared.similarity if compared else face and face.nearest_similarity, 4),
        similarity_required=_rounded(compared.required if compared else face and face.required_similarity, 4),
        similarity_margin=_rounded(face and face.margin, 4),
        similarity_margin_required=_rounded(face and face.required_margin, 4),
        face_frames=(face.frames or None) if face else None,
        face_against=_against(face) if face else None,
        face_model=(face.model or None) if face else None,
        face_template=_matched(compared or None, decision),
        face_problem=face.problem if face else None,
        decision_ms=round((now - attempt.started_mono) * 1000),
        pass_id=shown.pass_id if shown else None,
        pass_kind=shown.kind if shown else None,
        **_lived(attempt.liveness),
    )


def _measured(temperature: SkinTemperature | None) -> dict[str, Any]:
    if temperature is None:
        return {}
    return {
        "skin_celsius": _rounded(temperature.skin_celsius, 2),
        "raw_celsius": _rounded(temperature.raw_celsius, 2),
        "ambient_celsius": _rounded(temperature.ambient_celsius, 2),
        "compensation_celsius": _rounded(temperature.compensation_celsius, 2),
        "temperature_distance_mm": temperature.distance_mm,
        "temperature_measured_times": temperature.measured_times,
        "temperature_why_not": temperature.why_not or None,
    }


def _lived(life: Liveness | None) -> dict[str, Any]:
    if life is None:
        return {}
    return {
        "liveness": life.verdict,
        "liveness_required": life.required,
        "liveness_layer": life.layer,
        "liveness_why": life.why,
        "liveness_layers": tuple(
            LayerSaid(layer=said.layer, verdict=said.verdict, why=said.why, figure=said.figure)
            for said in life.findings
        ),
    }


def _against(face: FaceReading) -> str | None:
    """Return with whom the face was compared for the similarity in the entry, None when it was not."""
    if face.claimed is not None:
        return "card-photo" if face.claimed.by_photo else "holder"
    return None if face.nearest_similarity is None and face.identified is None else "everybody"


def _matched(compared: Candidate | None, decision: Decision) -> str | None:
    """Return the template by which the passage was this person's, and nobody else's; None when none matched."""
    if compared is None or decision.person is None or compared.person != decision.person.token:
        return None
    return (compared.template or None) if compared.reached else None


def number_of(attempt: Attempt, decision: Decision) -> str:
    """Return whose ID number it is, as far as anybody knows; "" when nobody does."""
    return attempt.card.number if attempt.card else decision.person.number if decision.person else ""


def personal_of(attempt: Attempt, decision: Decision) -> dict[str, Any] | None:
    """Return what may be known about the person only under the vault's key."""
    if attempt.card is not None:
        return {"name": attempt.card.name, "number": attempt.card.number, "document": attempt.card.kind}
    if decision.person is not None:
        return {"name": decision.person.name, "number_masked": decision.person.number_masked}
    return None


def _rounded(value: Any, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
