"""Gather what a site's own roster and passages tell about its required similarity. numpy; reads only, names nobody."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recognition.alike import AlikePair, compare, own_similarities
from recognition.evidence import Evidence, NearMisses, near_misses, weigh
from recognition.thresholds import one_to_many
from sentinel import stepup
from sentinel.roster import Member
from sentinel.settings import Settings
from sync.errors import SyncError
from sync.reading import LedgerReader

STEPS = (-0.06, -0.03, 0.03, 0.06, 0.09)  # other similarities whose cost is told, beside what is required
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Templates:
    """The templates of one model by token. Shape: float32[n, d] for each person, rows of unit length."""

    model: str
    people: Mapping[str, np.ndarray] = field(repr=False)
    elsewhere: int  # templates of other models, which can be compared with none of these


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Similarities of passages: of unknown people to whoever is most like them, and of people let in by face alone."""

    unknown: tuple[float, ...] = ()
    opened: tuple[float, ...] = ()

    def lost_at(self, similarity: float) -> float | None:
        """Return the share of passages by face that this similarity would have held; None when there were none."""
        return sum(one < similarity for one in self.opened) / len(self.opened) if self.opened else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEvidence:
    """What is told of a site. `alike` are the pairs of people whom a face alone does not tell apart."""

    evidence: Evidence
    near: NearMisses
    alike: tuple[AlikePair, ...]
    passed: Passed


def templates_of(members: Iterable[Member]) -> Templates:
    """Return the templates of the model that most were made by."""
    members = tuple(members)
    models = Counter(template.model for member in members for template in member.templates)
    model = models.most_common(1)[0][0] if models else ""
    people = {}
    for member in members:
        vectors = [np.frombuffer(one.vector, "<f4") for one in member.templates if one.model == model]
        if vectors:
            people[member.token] = np.stack(vectors)
    return Templates(model=model, people=people, elsewhere=models.total() - models[model])


def passed_at(ledger: Path, model: str) -> Passed:
    """Return what the ledger's passages tell of one model; nothing where there is no ledger to be read."""
    try:
        with LedgerReader(ledger) as reader:
            return passed_in(_passages(reader), model)
    except SyncError:
        return Passed()


def passed_in(passages: Iterable[Mapping[str, Any]], model: str) -> Passed:
    """Return what these bodies of passages tell; a claim against a card is another question and is left out."""
    unknown, opened = [], []
    for body in passages:
        similarity, required = body.get("similarity"), body.get("similarity_required")
        nearest = body.get("nearest_similarity", similarity)
        if body.get("face_model") != model or similarity is None or required is None:
            continue
        if body.get("method") == "face" and body.get("outcome") == "open":
            opened.append(float(similarity))
        elif body.get("method") == "none" and body.get("person") is None and nearest < required:
            unknown.append(float(nearest))
    return Passed(unknown=tuple(unknown), opened=tuple(opened))


def _passages(reader: LedgerReader) -> Iterator[Mapping[str, Any]]:
    key = None
    while batch := reader.after(key, _BATCH):
        yield from (entry.data for entry in batch if entry.kind == "passage")
        key = batch[-1].key


def weigh_site(templates: Templates, passed: Passed, *, required: float, wished: float) -> SiteEvidence:
    """Return what a site tells; `required` 0 is the shipped figure for so many templates and the wished rate."""
    impostors = compare(templates.people)
    at = required or one_to_many(impostors.template_count, wished)
    evidence = weigh(
        impostors,
        required=at,
        wished=wished,
        own=own_similarities(templates.people),
        others=[round(at + step, 4) for step in STEPS],
    )
    return SiteEvidence(
        evidence=evidence,
        near=near_misses(passed.unknown, at, impostors.template_count, evidence.tail),
        alike=tuple(impostors.alike(at_least=at)),
        passed=passed,
    )


def renew_step_up(members: Iterable[Member], settings: Settings) -> int:
    """Work out anew who is too much alike and publish it, for whoever has changed the roster; return how many.

    About 2 s for 10,000 templates; not for the gate. Raises: NotPermitted, DataError when it cannot be written.
    """
    templates = templates_of(members)
    impostors = compare(templates.people)
    at = settings.face.similarity_one_to_many or one_to_many(impostors.template_count, settings.face.false_match_rate)
    asked = stepup.StepUp.of_pairs((pair.one, pair.other) for pair in impostors.alike(at_least=at))
    stepup.publish(settings.paths.alike, asked, model=templates.model, similarity=at)
    return len(asked.tokens)


def follow_roster(members: Iterable[Member], settings: Settings) -> None:
    """Renew who is too much alike after the roster has changed, at a site that has asked for it once."""
    if settings.paths.alike.exists():
        renew_step_up(members, settings)
