"""Choose which of a person's pictures become templates, and hold what looks like somebody else. numpy only.

    a picture given twice                         → refused, `duplicate`
    pictures that do not show one person          → the odd ones refused, `other-person`; no majority: all of them
    the picture that let a stranger in            → refused, `was-not-me`
    more good ones than are kept                  → refused, `spare`; the most different stay
    closer to somebody else than to the person    → kept in quarantine, `closer-to-other`
    as like somebody else as one person's are     → kept in quarantine, `alike-other`
    unlike every template that the person had     → kept in quarantine, `unlike-before`

Who was enrolled first stays in use: else whoever enrols could put everybody else aside.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from recognition.gallery import Match
from sentinel.roster import Member

MOST_TEMPLATES = 5  # from three on little is gained (face-pipeline D: misses 0.08 % with three, 0.05 % with five)
SAME_PICTURE = 0.98  # two pictures of one person in other light have 0.75, the best pairs of ORL 0.95
# As alike as two pictures of one person (0.75 on average). By the tail that gives 1 in 10 million at 0.593, strangers
# reach it about once in 100 million comparisons: among 10,000 people with five templates it is a twin or a mistake.
ALIKE = 0.65
# Who has one template only cannot be closer to somebody else than to the own others. At 0.545 a stranger is taken for
# one of 10,000 once in a hundred times (face-pipeline D); two pictures of one person are below it in 5 of 100 pairs.
ALIKE_ALONE = 0.545
_NOBODY = -2.0  # below every cosine


class PictureProblem(StrEnum):
    """Why a picture did not become a template, beside the face problems of recognition/readings.py."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    TOO_BIG = "too-big"
    NO_FACE = "no-face"
    DUPLICATE = "duplicate"
    OTHER_PERSON = "other-person"
    DISAGREE = "pictures-disagree"
    WAS_NOT_ME = "was-not-me"
    SPARE = "spare"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Which pictures are kept, by number, in the order of their use; and why the others are not."""

    kept: tuple[int, ...]
    refused: Mapping[int, PictureProblem]


def pick(vectors: np.ndarray, same_person: float, was_not_me: Sequence[np.ndarray] = ()) -> Picked:
    """Return which pictures of one person become templates.

    Shape: vectors float32[n, d], rows of unit length, in the order in which they were given.
    Unit: `same_person` is the similarity that two pictures of one person reach.
    """
    refused: dict[int, PictureProblem] = {}
    alike = vectors @ vectors.T
    good: list[int] = []
    for number, vector in enumerate(vectors):
        if any(float(vector @ bad) >= SAME_PICTURE for bad in was_not_me):
            refused[number] = PictureProblem.WAS_NOT_ME
        elif any(alike[number, other] >= SAME_PICTURE for other in good):
            refused[number] = PictureProblem.DUPLICATE
        else:
            good.append(number)
    if not good:
        return Picked(kept=(), refused=refused)
    middle, group = _one_person(alike[np.ix_(good, good)], same_person)
    if 2 * len(group) <= len(good):
        return Picked(kept=(), refused=refused | dict.fromkeys(good, PictureProblem.DISAGREE))
    theirs = [good[place] for place in group]
    refused |= {number: PictureProblem.OTHER_PERSON for number in good if number not in theirs}
    kept = _most_different(alike, good[middle], theirs)
    refused |= {number: PictureProblem.SPARE for number in theirs if number not in kept}
    return Picked(kept=kept, refused=refused)


def _one_person(alike: np.ndarray, same_person: float) -> tuple[int, list[int]]:
    """Return the picture that most others resemble, and those that resemble it, itself among them."""
    near = alike >= same_person
    np.fill_diagonal(near, val=True)
    middle = max(range(len(alike)), key=lambda place: (int(near[place].sum()), float(alike[place].mean())))
    return middle, [place for place in range(len(alike)) if near[middle, place]]


def _most_different(alike: np.ndarray, first: int, numbers: Sequence[int]) -> tuple[int, ...]:
    """Return the typical one and then, one by one, who is least like those chosen before."""
    kept = [first]
    while len(kept) < min(MOST_TEMPLATES, len(numbers)):
        left = [number for number in numbers if number not in kept]
        kept.append(min(left, key=lambda number: float(alike[number, kept].max())))
    return tuple(kept)


def is_unlike(vectors: np.ndarray, before: Sequence[np.ndarray], same_person: float) -> bool:
    """Tell whether none of the new templates is like one that the person had: it may be somebody else's face.

    Shape: vectors float32[n, d], before each float32[d], of unit length.
    """
    return bool(before) and float((vectors @ np.stack(before).T).max()) < same_person


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A template in use that looks like somebody else: whose it is, its id, why, and whom it is like."""

    token: str
    template: str
    why: str
    other: str


def suspects_of_all(members: Iterable[Member], one_to_many: float = 0.0) -> list[Suspect]:
    """Return every template in use that is closer to somebody else than it may be, of both sides of a pair.

    Unit: one_to_many is the similarity that identifies, where a site or a pack sets it.
    """
    everybody = tuple(members)
    found = []
    for model in sorted({one.model for member in everybody for one in member.templates}):
        crowd = Crowd(model, everybody, one_to_many)
        for member in everybody:
            mine = [one for one in member.templates if one.model == model]
            vectors = np.stack([np.frombuffer(one.vector, "<f4") for one in mine]) if mine else np.empty((0, 0))
            for number, (why, other) in crowd.suspects(member.token, vectors).items():
                found.append(Suspect(token=member.token, template=mine[number].id, why=why, other=other))
    return found


class Crowd:
    """Everybody's templates of one model, growing as people are enrolled."""

    def __init__(self, model: str, members: Iterable[Member] = (), one_to_many: float = 0.0) -> None:
        """Take the members in. Unit: one_to_many is the similarity that identifies, where a site or a pack sets it."""
        self._model = model
        self._alone = one_to_many or ALIKE_ALONE
        self._alike = max(ALIKE, one_to_many)
        self._rows = np.empty((0, 0), np.float32)
        self._used = 0
        self._tokens: list[str] = []  # the owner of each row; "" for a row that is empty again
        self._places: dict[str, list[int]] = {"": []}
        for member in members:
            self.put(member)

    def put(self, member: Member) -> None:
        """Take in what a member has in use, instead of what was known of them before."""
        for place in self._places.pop(member.token, []):
            self._tokens[place] = ""
            self._places[""].append(place)
        for template in member.templates:
            if template.model == self._model:
                self._append(member.token, np.frombuffer(template.vector, "<f4"))

    def _append(self, token: str, vector: np.ndarray) -> None:
        if self._used == len(self._rows):
            rows = np.zeros((max(64, 2 * self._used), len(vector)), np.float32)
            if self._used:
                rows[: self._used] = self._rows
            self._rows = rows
        self._rows[self._used] = vector
        self._places.setdefault(token, []).append(self._used)
        self._used += 1
        self._tokens.append(token)

    def nearest_others(self, token: str, vectors: np.ndarray) -> list[Match | None]:
        """Return for each vector who of the others is most similar; None when there is nobody.

        Shape: float32[n, d], rows of unit length.
        """
        if not self._used or not len(vectors):
            return [None] * len(vectors)
        alike = vectors @ self._rows[: self._used].T
        alike[:, [*self._places[""], *self._places.get(token, [])]] = _NOBODY
        best = alike.argmax(axis=1)
        found = [Match(self._tokens[place], float(row[place])) for row, place in zip(alike, best, strict=True)]
        return [match if match.similarity > _NOBODY else None for match in found]

    def suspects(self, token: str, vectors: np.ndarray) -> dict[int, tuple[str, str]]:
        """Return which of a person's new templates are to be set aside, with the reason and whom they are like.

        Shape: vectors float32[n, d], rows of unit length.
        """
        found = {}
        for number, other in enumerate(self.nearest_others(token, vectors)):
            if other is None:
                continue
            own = np.delete(vectors, number, axis=0) @ vectors[number]
            if other.similarity > (float(own.max()) if len(own) else self._alone):
                found[number] = ("closer-to-other", other.person)
            elif other.similarity >= self._alike:
                found[number] = ("alike-other", other.person)
        return found
