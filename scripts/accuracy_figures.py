"""Turn the vectors of people's pictures into accuracy figures with bounds. numpy only; for scripts/bench/accuracy.

Bounds hold 95 %, from drawing whole persons with replacement: pictures of one person err together, so persons and not
pictures are what evidence is counted in. Where nothing went wrong at all, drawing again finds nothing either: then it
is said of how many persons it may still go wrong when none of these showed it, 1 - 0.05^(1/persons).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

DRAWS = 400
FALSE_ACCEPT_RATES = (1e-2, 1e-3, 1e-4)
ENROLLED = 3  # pictures of each known person that are enrolled; the others are looked at
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A share with its bounds; `persons_at_most`: of how many it may go wrong, where nothing did."""

    value: float
    low: float
    high: float
    persons_at_most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """The pictures in which a face was found. Shape: person int[n], vectors float32[n, d] of unit length."""

    person: np.ndarray
    vectors: np.ndarray = field(repr=False)

    @property
    def people(self) -> int:
        """Return how many persons there are; their numbers run from 0."""
        return int(self.person.max()) + 1 if len(self.person) else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Every pair of pictures once, ascending by similarity, with the person or the two persons it is of."""

    genuine: np.ndarray
    genuine_person: np.ndarray
    impostor: np.ndarray
    impostor_persons: np.ndarray  # int[2, n]


def pairs_of(trial: Trial) -> Pairs:
    """Return all pairs of different pictures."""
    one, other = np.triu_indices(len(trial.person), 1)
    similarity = np.einsum("ij,ij->i", trial.vectors[one], trial.vectors[other])
    order = np.argsort(similarity, kind="stable")
    one, other, similarity = trial.person[one[order]], trial.person[other[order]], similarity[order]
    same = one == other
    return Pairs(
        genuine=similarity[same],
        genuine_person=one[same],
        impostor=similarity[~same],
        impostor_persons=np.stack([one[~same], other[~same]]),
    )


def equal_error_rate(pairs: Pairs, drawn: np.ndarray) -> float:
    """Return the rate at which as many impostors are accepted as genuine pairs are missed; persons weigh `drawn`."""
    at, missed, accepted = _errors(pairs, drawn)
    place = int(np.argmax(missed >= accepted)) if len(at) else 0
    return float((missed[place] + accepted[place]) / 2)


def true_accept_rate(pairs: Pairs, drawn: np.ndarray, false_accept_rate: float) -> float:
    """Return the share of genuine pairs above the lowest similarity that so few impostors reach."""
    _, missed, accepted = _errors(pairs, drawn)
    allowed = np.flatnonzero(accepted <= false_accept_rate)
    return float(1 - missed[allowed[0]])


def _errors(pairs: Pairs, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return similarities ascending, and the missed genuine and accepted impostor shares at each, from there on."""
    genuine = drawn[pairs.genuine_person].astype(np.float64)
    impostor = (drawn[pairs.impostor_persons[0]] * drawn[pairs.impostor_persons[1]]).astype(np.float64)
    at = np.concatenate([np.unique(np.concatenate([pairs.genuine, pairs.impostor])), [np.inf]])
    below_genuine = np.concatenate([[0], np.cumsum(genuine)])[np.searchsorted(pairs.genuine, at)]
    below_impostor = np.concatenate([[0], np.cumsum(impostor)])[np.searchsorted(pairs.impostor, at)]
    return at, below_genuine / max(genuine.sum(), 1), 1 - below_impostor / max(impostor.sum(), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSet:
    """One division of the people into enrolled and unknown, and how it went; counts of looks, weighted by `drawn`."""

    templates: int
    required: float
    unknown_looks: float
    false_positives: float  # looks at strangers that ended with somebody's name
    known_looks: float
    false_negatives: float  # looks at enrolled people that did not end with their own name
    misnamed: float  # of these, those that ended with somebody else's name


def open_set(
    trial: Trial, random: np.random.Generator, drawn: np.ndarray, required: Callable[[int], float]
) -> OpenSet | None:
    """Return how a gallery of one half of the people does with pictures of everybody; None when nobody can be enrolled.

    `required` gives the similarity to be identified among so many templates. A person counts by the best template.
    """
    unknown = np.isin(trial.person, random.permutation(trial.people)[: trial.people // 2])
    enrolled = np.zeros(len(trial.person), bool)
    for person in np.unique(trial.person[~unknown]):
        pictures = np.flatnonzero(trial.person == person)
        enrolled[random.permutation(pictures)[: min(ENROLLED, len(pictures) - 1)]] = True
    if not enrolled.any() or not unknown.any():
        return None
    similarity = trial.vectors[~enrolled] @ trial.vectors[enrolled].T
    best = similarity.argmax(axis=1)
    floor = required(int(enrolled.sum()))
    named = similarity.max(axis=1) >= floor
    who, stranger = trial.person[~enrolled], unknown[~enrolled]
    right = trial.person[enrolled][best] == who
    weight = drawn[who].astype(np.float64)
    return OpenSet(
        templates=int(enrolled.sum()),
        required=floor,
        unknown_looks=float(weight[stranger].sum()),
        false_positives=float(weight[stranger & named].sum()),
        known_looks=float(weight[~stranger].sum()),
        false_negatives=float(weight[~stranger & ~(named & right)].sum()),
        misnamed=float(weight[~stranger & named & ~right].sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSetFigures:
    """FPIR, FNIR and the share of looks at enrolled people that ended with somebody else's name, over all divisions."""

    templates: int
    required: float
    fpir: Figure
    fnir: Figure
    misnamed: Figure


def shares_over_persons(people: int, share: Callable[[np.ndarray], float]) -> list[float]:
    """Return a share for persons drawn again and again; equal numbers of people are drawn alike every time."""
    random = np.random.default_rng(_SEED)
    return [share(_draw(random, people)) for _ in range(DRAWS)]


def open_set_figures(trial: Trial, required: Callable[[int], float]) -> OpenSetFigures | None:
    """Return the open-set figures over many random halves, bounds from halves of drawn persons."""
    random = np.random.default_rng(_SEED)
    ones = np.ones(trial.people, np.int64)
    whole = [found for _ in range(DRAWS) if (found := open_set(trial, random, ones, required))]
    drawn = [found for _ in range(DRAWS) if (found := open_set(trial, random, _draw(random, trial.people), required))]
    if not whole:
        return None

    def figure(wrong: str, looks: str) -> Figure:
        value = sum(getattr(one, wrong) for one in whole) / max(1.0, sum(getattr(one, looks) for one in whole))
        shares = [getattr(one, wrong) / getattr(one, looks) for one in drawn if getattr(one, looks)]
        return _bounded(value, shares, trial.people)

    return OpenSetFigures(
        templates=round(sum(one.templates for one in whole) / len(whole)),
        required=sum(one.required for one in whole) / len(whole),
        fpir=figure("false_positives", "unknown_looks"),
        fnir=figure("false_negatives", "known_looks"),
        misnamed=figure("misnamed", "known_looks"),
    )


def over_persons(people: int, share: Callable[[np.ndarray], float], *, good: bool = False) -> Figure:
    """Return a share of everybody, with bounds from persons drawn again; `good`: one is what cannot be improved."""
    shares = shares_over_persons(people, share)
    value = share(np.ones(people, np.int64))
    if not good:
        return _bounded(value, shares, people)
    found = _bounded(1 - value, [1 - one for one in shares], people)
    return Figure(value=value, low=1 - found.high, high=1 - found.low, persons_at_most=found.persons_at_most)


def _bounded(value: float, shares: list[float], people: int) -> Figure:
    low, high = np.quantile(shares, [0.025, 0.975]) if shares else (0.0, 1.0)
    at_most = 1 - 0.05 ** (1 / max(people, 1)) if value == 0 else None
    return Figure(value=value, low=min(float(low), value), high=max(float(high), value), persons_at_most=at_most)


def _draw(random: np.random.Generator, people: int) -> np.ndarray:
    return np.bincount(random.integers(people, size=people), minlength=people)
