"""Keep the enrolled vectors and find who is closest. numpy only: at gate sizes a product runs at memory speed."""

import contextlib
import mmap
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import numpy as np

from recognition.errors import GalleryMismatch

FEW = 16  # so many times the largest is looked for; for more, everybody is put in order
_LINE_FLOATS = 16  # 64 bytes, a line of the cache on x86-64 and ARM
_HUGE_BYTES = 1 << 21  # of a huge page: one entry of the page table instead of 512
_AT_ONCE = 1000  # templates are checked and laid down together
_ID_BYTES = 6  # of a template's id; text of twelve digits would take ten times as much


class Match(NamedTuple):
    """A person and how similar the closest of the person's templates is. Unit: cosine in [-1, 1], higher is closer."""

    person: str
    similarity: float


class Enrolled(NamedTuple):
    """A person with the templates, in any order, and their ids in the same one: six bytes each, all zeros for none.

    Shape: vectors float32[n, d]; ids 6 n bytes, or none at all.
    """

    person: str
    vectors: np.ndarray
    ids: bytes = b""


class Gallery:
    """The enrolled vectors of one model, unchangeable: a changed roster makes a new gallery. Not for several threads.

    It takes 36 bytes a person and 10 a template beside the vectors: at 128 dimensions at most 1.09 times their size.
    Shape: each person has float32[n, d] or float32[d], rows of unit length; all share d.
    Raises: GalleryMismatch when shapes differ, a row is not of unit length, or a name is empty or ends in a zero byte.
    """

    def __init__(self, model: str, people: Mapping[str, np.ndarray] | None = None) -> None:
        self.model = model
        rows = {person: np.atleast_2d(np.asarray(vectors, np.float32)) for person, vectors in (people or {}).items()}
        in_order = (Enrolled(person, rows[person]) for person in sorted(rows, key=str.encode))
        self._fill(in_order, sum(map(len, rows.values())))

    @classmethod
    def from_sorted(cls, model: str, people: Iterable[Enrolled], room: int) -> Self:
        """Return the gallery of people who come one at a time, so that their vectors are never held twice.

        They come in the order of their names' UTF-8 bytes, each once, with at most `room` templates in all.
        Raises: GalleryMismatch when they do not, and as the class does.
        """
        gallery = cls(model)
        gallery._fill(people, room)
        return gallery

    def _fill(self, people: Iterable[Enrolled], room: int) -> None:
        names: list[bytes] = []
        ids = bytearray()
        starts = [0]
        columns = _Columns(room)
        for person, rows, own_ids in people:
            if rows.size:
                columns.add(rows)
                ids += _ids_of(rows, own_ids)
                names.append(_in_order(person.encode(), names[-1] if names else b""))
                starts.append(starts[-1] + len(rows))
        self._columns = columns.whole()
        self._people = np.array(names, np.bytes_)
        self._ids = bytes(ids)
        self._starts = np.array(starts, np.int32)  # where each person's templates begin, and at last where they all end
        self._bounds = self._starts.data  # the same memory, read an item at a time
        self._products = _room(self._columns.shape[1])
        self._similarities = self._products[: starts[-1]]

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
        arrays = (self._people, self._starts, self._columns, self._products)
        return sum(map(_bytes_behind, arrays)) + len(self._ids)

    def closest(self, vector: np.ndarray, k: int = 2) -> list[Match]:
        """Return the k most similar people, best first; fewer when fewer are enrolled.

        Shape: float32[d] of unit length.
        Raises: GalleryMismatch when the vector has another length than the enrolled ones.
        """
        k = min(k, len(self._people))
        if k <= 0:
            return []
        self._compare(vector)
        if k > FEW:
            return self._many(k)
        similarities, bounds, found = self._similarities, self._bounds, []
        for _ in range(k):
            template = int(similarities.argmax())
            after = bisect_right(bounds, template)
            found.append(Match(self._people[after - 1].decode(), similarities.item(template)))
            similarities[bounds[after - 1] : bounds[after]] = -np.inf  # the next is another person
        return found

    def _compare(self, vector: np.ndarray) -> None:
        """Fill the similarities. No test before the product: where the caches are cold, each costs a share of it."""
        try:
            vector.dot(self._columns, self._products)
        except ValueError:  # of another shape, or no float32
            self._fitting(vector).dot(self._columns, self._products)

    def _many(self, k: int) -> list[Match]:
        best = np.maximum.reduceat(self._similarities, self._starts[:-1])
        nearest = np.argsort(-best, kind="stable")[:k]
        return [Match(self._people[number].decode(), float(best[number])) for number in nearest]

    def similarity_to(self, person: str, vector: np.ndarray) -> float | None:
        """Return how similar a vector is to the closest template of one person; None when the person has none.

        Shape: float32[d] of unit length.
        Raises: GalleryMismatch when the vector has another length than the enrolled ones.
        """
        own = self._own(person)
        return None if own is None else float((self._fitting(vector) @ self._columns[:, own]).max())

    def template_like(self, person: str, vector: np.ndarray) -> str:
        """Return the id of the person's template that a vector is most similar to; empty when it has none.

        Apart from the search, so that only who was found is asked.
        Shape: float32[d] of unit length; the id is 12 hexadecimal digits.
        Raises: GalleryMismatch when the vector has another length than the enrolled ones.
        """
        own = self._own(person)
        if own is None:
            return ""
        number = own.start + int((self._fitting(vector) @ self._columns[:, own]).argmax())
        id_ = self._ids[number * _ID_BYTES : (number + 1) * _ID_BYTES]
        return id_.hex() if any(id_) else ""

    def _own(self, person: str) -> slice | None:
        """Return which columns are this person's; None when there is none."""
        name = person.encode()
        number = int(self._people.searchsorted(name))
        if number >= self.people_count or self._people[number] != name:
            return None
        return slice(self._bounds[number], self._bounds[number + 1])

    def _fitting(self, vector: np.ndarray) -> np.ndarray:
        if vector.shape != (len(self._columns),):
            raise GalleryMismatch(
                f"a vector of shape {vector.shape} cannot be compared with this gallery; enrol with the present model"
            )
        return vector.astype(np.float32, copy=False)


class _Columns:
    """Lay templates side by side. Shape: float32[d, n] with up to 31 columns of zeros behind the last.

    Laid so, a search reads several rows at once and writes the similarities as it goes: on x86-64 it takes four fifths
    of one product a template when the vectors are larger than the cache (scripts/bench/gallery). Each row begins on a
    line of the cache.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._columns = np.empty((0, 0), np.float32)
        self._done = 0
        self._waiting: list[np.ndarray] = []
        self._waiting_count = 0

    def add(self, rows: np.ndarray) -> None:
        """Add one person's templates. Raises: GalleryMismatch."""
        if rows.ndim != 2:
            raise GalleryMismatch("a person's templates must be float32[n, d]; enrol again")
        if not self._done and not self._waiting:
            lines = -(-self._room // _LINE_FLOATS) | 1  # odd: rows at a power of two would share few sets of the cache
            self._columns = _room(rows.shape[1] * lines * _LINE_FLOATS).reshape(rows.shape[1], -1)
        if rows.shape[1] != len(self._columns):
            raise GalleryMismatch("templates of different lengths in one gallery; enrol again with the present model")
        self._waiting.append(rows)
        self._waiting_count += len(rows)
        if self._waiting_count >= _AT_ONCE:
            self._lay()

    def whole(self) -> np.ndarray:
        """Return everything that was added. Raises: GalleryMismatch."""
        if self._waiting:
            self._lay()
        return self._columns

    def _lay(self) -> None:
        rows = np.concatenate(self._waiting)
        end = self._done + len(rows)
        if end > self._room:
            raise GalleryMismatch(f"more templates than the {self._room} that were announced; read the roster again")
        if not np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3):
            raise GalleryMismatch("a template is not of unit length; enrol again with the present model")
        self._columns[:, self._done : end] = rows.T
        self._done, self._waiting, self._waiting_count = end, [], 0


def _ids_of(rows: np.ndarray, ids: bytes) -> bytes:
    if len(ids) not in (0, _ID_BYTES * len(rows)):
        raise GalleryMismatch(f"{len(ids)} bytes are no ids of {len(rows)} templates; give six of each, or none")
    return ids or bytes(_ID_BYTES * len(rows))


def _in_order(name: bytes, before: bytes) -> bytes:
    if name <= before or name.endswith(b"\0"):  # numpy's bytes end before their last zeros
        raise GalleryMismatch("a name is empty, ends in a zero byte, or is out of order; give each token once, sorted")
    return name


def _room(count: int) -> np.ndarray:
    """Return zeros in memory of their own, which begin on a page and go back to the system with the gallery.

    The allocator would begin 16 bytes into a line of the cache, and keep what an old gallery leaves behind.
    Shape: float32[n].
    """
    memory = mmap.mmap(-1, max(count, 1) * 4)
    if len(memory) >= _HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.float32, count)


def _bytes_behind(array: np.ndarray) -> int:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.nbytes
