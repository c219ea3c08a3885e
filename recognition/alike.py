"""Find out how alike different people of a gallery are, pair by pair. numpy; people are tokens, never names."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

TAIL_SHARE = 0.02  # of the comparisons are kept; face-pipeline D fits the same part
TAIL_MOST = 50_000  # comparisons kept at most: more tell a fit nothing new and cost memory
_BLOCK = 512  # rows compared at once: 512 × 30,000 similarities are 60 MB
_SAMPLE = 2_000  # templates that tell where the kept part begins
_SEED = 1  # the same gallery gives the same answer


@dataclass(frozen=True, slots=True, kw_only=True)
class AlikePair:
    """Two people whose closest templates are this similar."""

    one: str
    other: str
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Impostors:
    """All comparisons of templates of different people, of which the most alike are kept.

    Shape: similarity float32[n], ascending; rows, columns int32[n]: the two people, as places in `people`; templates
    int64[people]: how many each has; nearest float32[people]: how similar the most similar other person is.
    """

    people: tuple[str, ...]
    templates: np.ndarray = field(repr=False)
    comparisons: int
    similarity: np.ndarray = field(repr=False)
    rows: np.ndarray = field(repr=False)
    columns: np.ndarray = field(repr=False)
    nearest: np.ndarray = field(repr=False)

    @property
    def template_count(self) -> int:
        """Return how many templates there are."""
        return int(self.templates.sum())

    def alike(self, at_least: float = -1.0, most: int | None = None) -> list[AlikePair]:
        """Return the most alike pairs of people among the kept, most alike first."""
        pairs: dict[tuple[int, int], float] = {}
        for place in range(len(self.similarity) - 1, -1, -1):
            if self.similarity[place] < at_least or len(pairs) == most:
                break
            one, other = sorted((int(self.rows[place]), int(self.columns[place])))
            pairs.setdefault((one, other), float(self.similarity[place]))
        return [
            AlikePair(one=self.people[one], other=self.people[other], similarity=similarity)
            for (one, other), similarity in pairs.items()
        ]


def compare(people: Mapping[str, np.ndarray]) -> Impostors:
    """Return what the templates of different people say to each other.

    Costs templates² × d / 2 multiplications: about a second for 10,000 templates of 128.
    Shape: each person has float32[n, d], n ≥ 1, rows of unit length.
    """
    names = tuple(people)
    counts = np.array([len(people[name]) for name in names], np.int64)
    owner = np.repeat(np.arange(len(names), dtype=np.int32), counts)
    matrix = np.concatenate([people[name] for name in names]) if names else np.empty((0, 1), np.float32)
    comparisons = int(counts.sum() ** 2 - (counts**2).sum()) // 2
    values, rows, columns, nearest = _kept(matrix, owner, len(names), _floor(matrix, owner, comparisons))
    order = np.argsort(values, kind="stable")[-TAIL_MOST:]
    return Impostors(
        people=names,
        templates=counts,
        comparisons=comparisons,
        similarity=values[order],
        rows=rows[order],
        columns=columns[order],
        nearest=nearest,
    )


def own_similarities(people: Mapping[str, np.ndarray]) -> list[float]:
    """Return how similar each template is to the best other one of the same person; one template alone tells nothing.

    Shape: each person has float32[n, d], rows of unit length.
    """
    found: list[float] = []
    for rows in people.values():
        if len(rows) > 1:
            block = rows @ rows.T
            np.fill_diagonal(block, -2.0)
            found += block.max(axis=1).tolist()
    return found


def _kept(
    matrix: np.ndarray, owner: np.ndarray, people: int, floor: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return similarity and both people of every pair of templates above the floor, and each person's nearest."""
    nearest = np.full(people, -1.0, np.float32)
    values, rows, columns = [np.empty(0, np.float32)], [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for start in range(0, len(matrix), _BLOCK):
        ours, theirs = owner[start : start + _BLOCK], owner[start:]
        block = matrix[start : start + _BLOCK] @ matrix[start:].T
        block[ours[:, None] == theirs[None, :]] = -2.0
        np.maximum.at(nearest, ours, block.max(axis=1))
        np.maximum.at(nearest, theirs, block.max(axis=0))
        # Inside the block's own square every pair stands twice; the lower half of it is the second time.
        block[np.tril_indices(len(block))] = -2.0
        row, column = np.nonzero(block > floor)
        values.append(block[row, column])
        rows.append(ours[row])
        columns.append(theirs[column])
    return np.concatenate(values), np.concatenate(rows), np.concatenate(columns), nearest


def _floor(matrix: np.ndarray, owner: np.ndarray, comparisons: int) -> float:
    """Return the similarity above which about the kept share of comparisons lies, told by a sample of templates."""
    if not comparisons:
        return -1.0
    share = min(TAIL_SHARE, TAIL_MOST / comparisons)
    chosen = np.arange(len(matrix))
    if len(matrix) > _SAMPLE:
        chosen = np.random.default_rng(_SEED).choice(len(matrix), _SAMPLE, replace=False)
    block = matrix[chosen] @ matrix[chosen].T
    upper = np.triu_indices(len(chosen), 1)
    different = owner[chosen][upper[0]] != owner[chosen][upper[1]]
    return float(np.quantile(block[upper][different], 1 - share))
