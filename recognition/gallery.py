"""Keep the enrolled vectors and find who is closest. numpy only: at gate sizes a product runs at memory speed."""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from recognition.errors import GalleryMismatch

# Gallery size and the similarity at which a stranger is taken for somebody in it once in a hundred attempts.
# Source: face-pipeline D, generalised Pareto fit to the top 2 % of 78,000 impostor comparisons on ORL with SFace.
_SIZE_TO_SIMILARITY = ((100, 0.43), (1_000, 0.49), (10_000, 0.545), (100_000, 0.59))

FEW = 16  # so many times the largest is looked for; for more, everybody is put in order
_LINE_FLOATS = 16  # 64 bytes, a line of the cache on x86-64 and ARM
_AT_ONCE = 1000


class Match(NamedTuple):
    """A person and how similar the closest of the person's templates is. Unit: cosine in [-1, 1], higher is closer."""

    person: str
    similarity: float


class Gallery:
    """The enrolled vectors of one model, unchangeable: a changed roster makes a new gallery. Not for several threads.

    It takes 36 bytes a person and 4 a template beside the vectors: at 128 dimensions at most 1.08 times their size.
    Shape: each person has float32[n, d] or float32[d], rows of unit length; all share d.
    Raises: GalleryMismatch when shapes differ, a row is not of unit length, or a name ends in a zero byte.
    """

    def __init__(self, model: str, people: Mapping[str, np.ndarray] | None = None) -> None:
        self.model = model
        blocks = sorted((person.encode(), _rows(vectors)) for person, vectors in (people or {}).items())
        blocks = [(person, block) for person, block in blocks if block.size]
        if len({block.shape[1] for _, block in blocks}) > 1:
            raise GalleryMismatch("templates of different lengths in one gallery; enrol again with the present model")
        if any(person.endswith(b"\0") for person, _ in blocks):
            raise GalleryMismatch("a person's name ends in a zero byte; use the token")
        self._people = np.array([person for person, _ in blocks], np.bytes_)
        # Where each person's templates begin, and at last where they all end.
        self._starts = np.cumsum([0, *(len(block) for _, block in blocks)]).astype(np.int32)
        self._columns = _columns([block for _, block in blocks])
        self._products = _aligned(self._columns.shape[1])
        self._similarities = self._products[: self.template_count]

    @property
    def people_count(self) -> int:
        """Return how many people are enrolled."""
        return len(self._people)

    @property
    def template_count(self) -> int:
        """Return how many vectors are compared with each face."""
        return int(self._starts[-1])

    @property
    def held_bytes(self) -> int:
        """Return how much memory the gallery holds."""
        return sum(_bytes_behind(array) for array in (self._people, self._starts, self._columns, self._products))

    def closest(self, vector: np.ndarray, k: int = 2) -> list[Match]:
        """Return the k most similar people, best first; fewer when fewer are enrolled.

        Shape: float32[d] of unit length.
        Raises: GalleryMismatch when the vector has another length than the enrolled ones.
        """
        k = min(k, self.people_count)
        if k <= 0:
            return []
        np.dot(self._fitting(vector), self._columns, out=self._products)
        similarities, starts = self._similarities, self._starts
        if k > FEW:
            return self._many(similarities, k)
        found = []
        for _ in range(k):
            template = similarities.argmax()
            after = starts.searchsorted(np.int32(template), "right")
            found.append(Match(self._people[after - 1].decode(), float(similarities[template])))
            similarities[starts[after - 1] : starts[after]] = -np.inf  # the next is another person
        return found

    def _many(self, similarities: np.ndarray, k: int) -> list[Match]:
        best = np.maximum.reduceat(similarities, self._starts[:-1])
        nearest = np.argsort(-best, kind="stable")[:k]
        return [Match(self._people[number].decode(), float(best[number])) for number in nearest]

    def similarity_to(self, person: str, vector: np.ndarray) -> float | None:
        """Return how similar a vector is to the closest template of one person; None when the person has none.

        Shape: float32[d] of unit length.
        Raises: GalleryMismatch when the vector has another length than the enrolled ones.
        """
        name = person.encode()
        number = int(self._people.searchsorted(name))
        if number >= self.people_count or self._people[number] != name:
            return None
        templates = self._columns[:, self._starts[number] : self._starts[number + 1]]
        return float((self._fitting(vector) @ templates).max())

    def _fitting(self, vector: np.ndarray) -> np.ndarray:
        if self.template_count and vector.shape != (len(self._columns),):
            raise GalleryMismatch(
                f"a vector of shape {vector.shape} cannot be compared with this gallery; enrol with the present model"
            )
        return vector if vector.dtype == np.float32 else vector.astype(np.float32)


def _rows(vectors: np.ndarray) -> np.ndarray:
    rows = np.atleast_2d(np.asarray(vectors, np.float32))
    if rows.ndim != 2:
        raise GalleryMismatch("a person's templates must be float32[n, d]; enrol again")
    return rows


def _columns(blocks: list[np.ndarray]) -> np.ndarray:
    """Return the templates of all blocks side by side, and zeros behind the last.

    Shape: float32[d, n or up to 31 more], each row begins on a line of the cache.
    Laid so, a search reads several rows at once and writes the similarities as it goes: on x86-64 three quarters of
    the time of one product a template when the vectors are larger than the cache (scripts/bench/gallery).
    """
    count = sum(len(block) for block in blocks)
    if not count:
        return _aligned(0).reshape(0, 0)
    lines = -(-count // _LINE_FLOATS) | 1  # an odd number: rows at a power of two would share the same few cache sets
    length = blocks[0].shape[1]
    columns = _aligned(length * lines * _LINE_FLOATS).reshape(length, -1)
    columns[:, count:] = 0
    done = 0
    for rows in _by_the_thousand(blocks):
        if not np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3):
            raise GalleryMismatch("a template is not of unit length; enrol again with the present model")
        columns[:, done : done + len(rows)] = rows.T
        done += len(rows)
    return columns


def _by_the_thousand(blocks: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Return the rows of all blocks, about a thousand at a time: the vectors are never held twice."""
    for begin in range(0, len(blocks), _AT_ONCE):
        yield np.concatenate(blocks[begin : begin + _AT_ONCE])


def _aligned(count: int) -> np.ndarray:
    """Return room that begins on a line of the cache; numpy's begins 16 bytes into one. Shape: float32[n]."""
    line_bytes = _LINE_FLOATS * 4
    raw = np.empty(count * 4 + line_bytes, np.uint8)
    begin = -raw.ctypes.data % line_bytes
    return raw[begin : begin + count * 4].view(np.float32)


def _bytes_behind(array: np.ndarray) -> int:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.nbytes


def threshold_one_to_many(count: int) -> float:
    """Return the similarity that a face must reach to be identified among this many templates.

    Aims at one stranger in a hundred being taken for somebody, whatever the size of the gallery; straight lines over
    the logarithm of the size between the fitted points, the last slope beyond them, never below the first point.
    This is a design figure, not evidence: 40 people, one camera, one laboratory, extrapolated to one comparison in
    a million, for SFace only. A site with its own impostor scores must fit its own tail and set the figure itself.
    Unit: cosine similarity.
    """
    if count <= _SIZE_TO_SIMILARITY[0][0]:
        return _SIZE_TO_SIMILARITY[0][1]
    upper = next((number for number, (size, _) in enumerate(_SIZE_TO_SIMILARITY) if count <= size), -1)
    (size_a, low), (size_b, high) = _SIZE_TO_SIMILARITY[upper - 1], _SIZE_TO_SIMILARITY[upper]
    share = math.log(count / size_a) / math.log(size_b / size_a)
    return min(low + share * (high - low), 1.0)
