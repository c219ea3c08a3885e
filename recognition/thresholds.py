"""Say how similar two faces must be, for each of three questions. Pure arithmetic, standard library only.

The questions differ in how often they give a stranger a chance, and so do their figures. One to one: is this the
person who is claimed? One chance. Card photograph: the same, but the picture on the chip is small and squeezed, and
genuine pairs are less alike. One to many: is this anybody enrolled? As many chances as there are templates.
The data behind every figure, and how to repeat it: docs/faces.md, "Thresholds".
"""

import math
from dataclasses import dataclass

ONE_TO_ONE = 0.40  # verification by SFace: false accepts 0.1 % at 0.37, 0.01 % at 0.43 (face-pipeline D)
CARD_PHOTO = 0.36  # false accepts 0.1 %; 38 % of genuine pairs miss it when the chip's picture is squeezed to 1 KB

# Wished share of strangers' attempts that end with somebody's name. A gate has no second look: a stranger who is
# taken for a resident walks in. At 0.01 a site with 50 callers a day lets one in every second day; at 0.001 one in
# three weeks, and about one resident's look in 100 more is not enough, which costs another look or a card.
# NIST SP 800-63A-4, 3.11 asks the same 1 in 1,000 of searches among everybody enrolled.
FALSE_MATCH_RATE = 0.001
LEAST_ONE_TO_MANY = 0.43  # the tail below is fitted above 0.27; a handful of people is no reason to go near it


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The upper end of impostor similarities as a generalised Pareto distribution.

    Unit: `start` and `scale` are cosines; `share` is the part of all comparisons above `start`; `shape` has none,
    and below zero the tail ends somewhere.
    """

    start: float
    scale: float
    shape: float
    share: float

    def rate_at(self, similarity: float) -> float:
        """Return the share of impostor comparisons at or above this similarity; below the start, what `share` says."""
        beyond = (similarity - self.start) / self.scale
        if beyond <= 0:
            return self.share
        if abs(self.shape) < 1e-9:
            return self.share * math.exp(-beyond)
        inner = 1 + self.shape * beyond
        return 0.0 if inner <= 0 else self.share * float(inner ** (-1 / self.shape))

    def similarity_at(self, rate: float) -> float:
        """Return the similarity that so small a share of impostor comparisons reaches.

        Raises: ValueError when the rate is not within what the tail describes.
        """
        if not 0 < rate <= self.share:
            raise ValueError(f"a rate of {rate} is outside the tail; it describes what is above 0, to {self.share}")
        ratio = rate / self.share
        if abs(self.shape) < 1e-9:
            return self.start - self.scale * math.log(ratio)
        return self.start + self.scale / self.shape * float(ratio**-self.shape - 1)


# Source: face-pipeline D, the top 2 % of 78,000 impostor comparisons of 40 people of ORL with SFace: the curve through
# its 0.432, 0.491, 0.544 and 0.593 at 1e-4 to 1e-7.
SFACE_TAIL = Tail(start=0.2744, scale=0.033, shape=-0.04, share=0.02)


def per_comparison(false_match_rate: float, count: int) -> float:
    """Return the false-match rate each of `count` comparisons may have, so that all together have the wished one."""
    return -math.expm1(math.log1p(-false_match_rate) / max(1, count))


def per_attempt(rate: float, count: int) -> float:
    """Return the false-match rate of an attempt that is compared `count` times, each with this rate."""
    return 1.0 if rate >= 1 else -math.expm1(count * math.log1p(-rate))


def one_to_many(count: int, false_match_rate: float = FALSE_MATCH_RATE, tail: Tail = SFACE_TAIL) -> float:
    """Return the similarity that a face must reach to be identified among this many templates.

    Grows with the count, falls with the wished rate, never below `LEAST_ONE_TO_MANY`. A person's templates are counted
    as if they were different people's, which errs to the safe side.
    A design figure, not evidence: 40 people, one camera, one laboratory, carried on from one comparison in 78,000 to
    one in ten million. `sentinelctl faces check` says what a site's own people tell about it.
    Unit: cosine similarity. Raises: ValueError when the wished rate is not between 0 and 1.
    """
    if not 0 < false_match_rate < 1:
        raise ValueError(f"a false-match rate of {false_match_rate} cannot be had; wish for one between 0 and 1")
    rate = per_comparison(false_match_rate, count)
    if rate >= tail.share:
        return LEAST_ONE_TO_MANY
    return min(max(tail.similarity_at(rate), LEAST_ONE_TO_MANY), 1.0)
