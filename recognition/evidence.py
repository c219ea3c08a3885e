"""Tell from the people enrolled how often a stranger would be taken for one of them. numpy; nobody is named.

Everybody enrolled is a stranger to everybody else, so N people give about N²/2 comparisons of different people. The
most alike of them are described by a generalised Pareto distribution (extreme values: Pickands, Balkema, de Haan),
which is carried on to rates that no site can count. How far it may be believed is asked of the people, not of the
comparisons: whole persons are drawn again and again with replacement, because one face that resembles many shifts
hundreds of comparisons at once. Too few people give no figure, but the number that is missing.
Not seen by it: how frames of the gate differ from pictures for enrolment, and relatives who are not enrolled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from recognition.alike import Impostors
from recognition.thresholds import Tail, per_attempt, per_comparison

SAME_OR_TWIN = 0.65  # different people reach it once in 10⁸ comparisons; one person's pictures mostly do (mean 0.75)
LEAST_PEOPLE = 50  # 1,225 pairs of people, 25 of them in the tail: fewer have no shape
LEAST_TAIL = 25
FARTHEST = 100  # two powers of ten: so far beyond the rarest pair that was counted the tail is carried on
# Tails of few samples end early by chance, and then promise that nobody is ever so alike; or they never end. SFace has
# -0.04, vectors of pure chance in 48 dimensions -0.11.
SHAPE_LEAST, SHAPE_MOST = -0.2, 0.3
CONFIDENCE = 0.90  # between the bounds; above the upper one is a chance of 5 %
_Z = 1.645  # the normal quantile of that
DRAWS = 300
NEAR = 0.05  # a passage that missed by less was near; a person's own pictures vary by about so much


class Verdict(StrEnum):
    """What the evidence says of the similarity that is required now."""

    PROVEN = "proven"  # strangers are taken for somebody no more often than wished
    UNCERTAIN = "uncertain"  # the wished rate lies between the bounds
    TOO_LOW = "too-low"  # strangers are taken for somebody more often than wished
    TOO_LITTLE = "too-little"  # too few people to tell anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the bounds it lies between at `CONFIDENCE`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What requiring this similarity would cost: strangers named, own people missed; None is untold."""

    similarity: float
    false_match_rate: Interval | None
    missed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a gallery tells about the similarity required to be identified. Rates are per attempt of one stranger."""

    verdict: Verdict
    people: int
    templates: int
    comparisons: int
    required: float
    wished: float
    counted: Interval  # share of people whom somebody else reaches at `required`: counted, not fitted
    missing_people: int | None = None  # None: more people alone would change nothing
    tail: Tail | None = None
    false_match_rate: Interval | None = None
    advised: Interval | None = None  # the similarity that gives the wished rate; its upper bound gives it surely
    costs: tuple[Cost, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMisses:
    """Passages of unknown people that missed by less than `NEAR`, and how many strangers alone would explain."""

    passages: int
    near: Interval  # share of them
    foretold: float | None  # share, by the fitted tail; None when there is none

    @property
    def surprising(self) -> bool:
        """Whether there are more than foretold: residents are missed, or strangers here are more alike."""
        return self.foretold is not None and self.near.low > self.foretold


def weigh(
    impostors: Impostors,
    *,
    required: float,
    wished: float,
    own: Sequence[float] = (),
    others: Sequence[float] = (),
    seed: int = 1,
) -> Evidence:
    """Return what the comparisons of different people tell about a required similarity.

    `own` are similarities of people to themselves, `others` further similarities to know the cost of.
    Unit: similarities are cosines, `wished` is the share of strangers' attempts that may end with a name.
    """
    people, templates = len(impostors.people), impostors.template_count
    asked = sorted({required, *others})
    known = Evidence(
        verdict=Verdict.TOO_LITTLE,
        people=people,
        templates=templates,
        comparisons=impostors.comparisons,
        required=required,
        wished=wished,
        counted=share_of(int((impostors.nearest >= required).sum()), people),
        costs=tuple(Cost(similarity=at, false_match_rate=None, missed=_missed(own, at)) for at in asked),
    )
    tails = tails_of(impostors, seed) if people >= LEAST_PEOPLE else []
    enough = people_needed(templates / max(people, 1), wished)
    if not tails or people < enough:
        return replace(known, missing_people=max(enough - people, 1))
    rate = _rates(tails, required, templates)
    goal = per_comparison(wished, templates)
    advised = interval_of([min(tail.similarity_at(min(goal, tail.share)), 1.0) for tail in tails])
    verdict, missing = _verdict(required, advised, rate, wished, people)
    return replace(
        known,
        verdict=verdict,
        missing_people=missing,
        tail=tails[0],
        false_match_rate=rate,
        advised=advised,
        costs=tuple(replace(cost, false_match_rate=_rates(tails, cost.similarity, templates)) for cost in known.costs),
    )


def people_needed(templates_each: float, wished: float) -> int:
    """Return how many people it takes before the tail may be carried on as far as the wished rate asks.

    The rarest pair that n people show is one of n²/2; n people with k templates each ask for one in n k / rate.
    """
    return max(LEAST_PEOPLE, math.ceil(1 + 2 * templates_each / (FARTHEST * wished)))


def share_of(count: int, total: int) -> Interval:
    """Return a share that was counted. Source: Wilson's interval, which is honest about none and about all."""
    if not total:
        return Interval(value=0.0, low=0.0, high=1.0)
    share, z2 = count / total, _Z * _Z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return Interval(value=share, low=min(share, max(0.0, middle - half)), high=max(share, min(1.0, middle + half)))


def near_misses(similarities: Sequence[float], required: float, templates: int, tail: Tail | None) -> NearMisses:
    """Return how many passages of unknown people nearly reached what is required.

    The unknown are strangers and residents who were missed; so the share is an upper bound for strangers.
    """
    near = sum(required - NEAR <= similarity < required for similarity in similarities)
    foretold = None
    if tail is not None:
        reach = (per_attempt(tail.rate_at(at), templates) for at in (required - NEAR, required))
        foretold = next(reach) - next(reach)
    return NearMisses(passages=len(similarities), near=share_of(near, len(similarities)), foretold=foretold)


def fit(excess: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return scale and shape of the generalised Pareto distribution of weighted excesses.

    Shape: float[n] ascending, above zero; float[n].
    Source: probability-weighted moments, Hosking & Wallis 1987: closed, steady on few samples, no search to go astray.
    """
    part = weights / weights.sum()
    above = 1 - (np.cumsum(part) - part / 2)
    mean = float(part @ excess)
    upper = float(part @ (excess * above))
    spare = mean - 2 * upper
    shape = 2 - mean / spare if spare > 0 else SHAPE_MOST
    shape = min(max(shape, SHAPE_LEAST), SHAPE_MOST)
    return mean * (1 - shape), shape


def tails_of(impostors: Impostors, seed: int = 1) -> list[Tail]:
    """Return the fitted tail first, then those of the drawn persons; none when there is nothing to fit."""
    kept = impostors.similarity < SAME_OR_TWIN
    values = impostors.similarity[kept].astype(np.float64)
    rows, columns = impostors.rows[kept], impostors.columns[kept]
    if len(values) < LEAST_TAIL:
        return []
    start = float(values[0])
    excess = values - start
    people = len(impostors.people)
    random = np.random.default_rng(seed)
    draws = [np.ones(people, np.int64)]
    draws += [np.bincount(random.integers(people, size=people), minlength=people) for _ in range(DRAWS)]
    tails = []
    for drawn in draws:
        weights = (drawn[rows] * drawn[columns]).astype(np.float64)
        if not weights.sum() > 0:
            continue
        # A person drawn twice is not compared with herself.
        times = drawn * impostors.templates
        comparisons = (times.sum() ** 2 - (times**2).sum()) / 2
        scale, shape = fit(excess, weights)
        tails.append(Tail(start=start, scale=scale, shape=shape, share=float(weights.sum() / comparisons)))
    return tails


def _rates(tails: Sequence[Tail], similarity: float, templates: int) -> Interval:
    return interval_of([per_attempt(tail.rate_at(similarity), templates) for tail in tails])


def interval_of(values: Sequence[float]) -> Interval:
    """Return the first value, which is of everybody, between the bounds of the others, which are of drawn persons."""
    low, high = np.quantile(values[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value=values[0], low=min(float(low), values[0]), high=max(float(high), values[0]))


def _verdict(
    required: float, advised: Interval, rate: Interval, wished: float, people: int
) -> tuple[Verdict, int | None]:
    if required >= advised.high:
        return Verdict.PROVEN, None
    if required < advised.low:
        return Verdict.TOO_LOW, None
    if rate.value >= wished:
        return Verdict.UNCERTAIN, None  # more people would rather show that it is too low
    # Bounds shrink with the root of the number of people: how many bring the upper one down to what is wished.
    factor = math.log(rate.high / rate.value) / math.log(wished / rate.value) if rate.value > 0 else 1.0
    return Verdict.UNCERTAIN, max(1, math.ceil(people * (factor * factor - 1)))


def _missed(own: Sequence[float], similarity: float) -> float | None:
    return sum(one < similarity for one in own) / len(own) if own else None

