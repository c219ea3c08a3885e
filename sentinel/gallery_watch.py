"""Follow the roster for vision: whoever is added is found, and whoever is deleted is not, within a second.

The templates are read and the gallery is made in a thread of its own, so that no picture waits for it; vision takes the
finished gallery between two pictures. Names and numbers stay sealed here: a face needs only its token.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import date
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from recognition.errors import GalleryMismatch, RecognitionError
from recognition.gallery import Enrolled, Gallery
from sentinel import clocks
from sentinel.core.errors import DataError
from sentinel.roster import Mark, mark_of
from sentinel.roster_reading import vectors
from sentinel.supervise import Worker
from sync.errors import SyncError
from sync.vault import Vault

log = logging.getLogger(__name__)

LOOK_S = 0.1  # one look is one stat(2); a second, less what reading 10,000 people takes on a slow box
_NO_ID = bytes(6)
_NEVER = object()  # the mark of no publication, and not that of an absent roster


def read_gallery(path: Path, vault: Vault, model: str, day: date | None = None) -> Gallery:
    """Return the gallery of everybody with a template of this model that is used on a day (None: today).

    Raises: DataError when the roster cannot be read. VaultError when its keys are gone. GalleryMismatch.
    """
    with vectors(path, vault, model, day) as found:
        return Gallery.from_sorted(model, _people(found.opened), found.count)


def _people(opened: Iterator[tuple[str, str, bytes]]) -> Iterator[Enrolled]:
    """Return token, vectors and ids of each person, one at a time."""
    for token, templates in groupby(opened, key=itemgetter(0)):
        _, ids, rows = zip(*templates, strict=True)
        if len({len(row) for row in rows}) > 1 or len(rows[0]) % 4:
            raise GalleryMismatch("templates of different lengths in one gallery; enrol again with the present model")
        vectors_of = np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), -1)
        yield Enrolled(token, vectors_of, b"".join(map(_id_bytes, ids)))


def _id_bytes(id_: str) -> bytes:
    """Return a template's id as the gallery holds it; what is no such id is none, and then no passage names it."""
    try:
        packed = bytes.fromhex(id_)
    except ValueError:
        return _NO_ID
    return packed if packed.hex() == id_ and len(packed) == len(_NO_ID) else _NO_ID


class GalleryWatch:
    """Look at the roster, and hand over a new gallery when another one was published."""

    def __init__(
        self, path: Path, vault: Vault, model: str, *, day: Callable[[], date] = clocks.today
    ) -> None:
        self._path = path
        self._day = day
        self._vault = vault
        self._model = model
        self._mark: Mark | object | None = _NEVER
        self._said = ""
        self._lock = threading.Lock()
        self._made: Gallery | None = None
        self._worker = Worker("gallery", self._run)

    def start(self) -> "GalleryWatch":
        """Look once, so that the first gallery is there to be taken, and go on looking in a thread."""
        self.look()
        self._worker.start()
        return self

    def stop(self) -> None:
        """Look no more."""
        self._worker.stop()

    def take(self) -> Gallery | None:
        """Return the newest gallery that nobody took yet, or None."""
        with self._lock:
            made, self._made = self._made, None
            return made

    def look(self) -> None:
        """Make a gallery when the roster is another one than at the last look.

        One that cannot be read leaves the gallery as it was and is tried again at the next look.
        """
        try:
            today = self._day()
            mark = mark_of(self._path, today)
            if mark == self._mark:
                return
            gallery = read_gallery(self._path, self._vault, self._model, today)
        except (DataError, SyncError, RecognitionError) as error:
            if str(error) != self._said:
                log.error("the gallery stays as it was: %s", error)
            self._said = str(error)
            return
        with self._lock:
            self._made = gallery
        self._mark, self._said = mark, ""
        log.info("gallery: %d people, %d templates", gallery.people_count, gallery.template_count)

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK_S):
            self.look()
