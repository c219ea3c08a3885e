"""Keep the enrolled vectors and find who is closest. numpy only: at gate sizes a product runs at memory speed."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from recognition.errors import GalleryMismatch


class Match(NamedTuple):
    """A person and how similar the closest of the person's templates is. Unit: cosine in [-1, 1], higher is closer."""

    person: str
    similarity: float


class Gallery:
    """The enrolled vectors of one model, unchangeable: a changed roster makes a new gallery.

    Shape: each person has float32[n, d] or float32[d], rows of unit length; all share d.
    Raises: GalleryMismatch when shapes differ or a row is not of unit length.
    """

    def __init__(self, model: str, people: Mapping[str, np.ndarray] | None = None) -> None:
        self.model = model
        blocks = {person: _rows(person, vectors) for person, vectors in (people or {}).items()}
        if len({block.shape[1] for block in blocks.values()}) > 1:
            raise GalleryMismatch("templates of different lengths in one gallery; enrol again with the present model")
        self._people = tuple(person for person, block in blocks.items() if len(block))
        self._matrix = np.concatenate([block for block in blocks.values() if len(block)]) if self._people else None
        sizes = [len(blocks[person]) for person in self._people]
        # Where each person's rows begin: one reduceat gives everybody's best.
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp) if sizes else np.empty(0, np.intp)
        self._index = {person: number for number, person in enumerate(self._people)}

    @property
    def people_count(self) -> int:
        """Return how many people are enrolled."""
        return len(self._people)

    @property
    def template_count(self) -> int:
        """Return how many vectors are compared with each face."""
        return 0 if self._matrix is None else len(self._matrix)

    def closest(self, vector: np.ndarray, k: int = 2) -> list[Match]:
        """Return the k most similar people, best first; fewer when fewer are enrolled.

        Shape: float32[d] of unit length.
        Raises: GalleryMismatch when the vector has another length than the enrolled ones.
        """
        if self._matrix is None:
            return []
        best = np.maximum.reduceat(self._matrix @ self._fitting(vector), self._starts)
        k = min(k, len(best))
        if k <= 0:
            return []
        nearest = np.argpartition(-best, k - 1)[:k]
        nearest = nearest[np.argsort(-best[nearest], kind="stable")]
        return [Match(self._people[number], float(best[number])) for number in nearest]

    def similarity_to(self, person: str, vector: np.ndarray) -> float | None:
        """Return how similar a vector is to the closest template of one person; None when the person has none."""
        number = self._index.get(person)
        if number is None or self._matrix is None:
            return None
        end = self._starts[number + 1] if number + 1 < len(self._starts) else len(self._matrix)
        return float((self._matrix[self._starts[number] : end] @ self._fitting(vector)).max())

    def _fitting(self, vector: np.ndarray) -> np.ndarray:
        if self._matrix is None or vector.shape != (self._matrix.shape[1],):
            raise GalleryMismatch(
                f"a vector of shape {vector.shape} cannot be compared with this gallery; enrol with the present model"
            )
        return vector


def _rows(person: str, vectors: np.ndarray) -> np.ndarray:
    rows = np.atleast_2d(np.asarray(vectors, np.float32))
    if rows.ndim != 2:
        raise GalleryMismatch("a person's templates must be float32[n, d]; enrol again")
    if len(rows) and rows.shape[1] and not np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3):
        raise GalleryMismatch("a template is not of unit length; enrol again with the present model")
    return rows
