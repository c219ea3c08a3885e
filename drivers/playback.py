"""Play pictures that were kept: a video file, the pictures of a folder, or the newest picture of one."""

import abc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drivers.camera import Camera, CameraAway, Source
from drivers.errors import CameraLost
from drivers.readings import Frame

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
FOLDER_FPS = 10.0
VIDEO_FPS = 25.0  # for a recording that does not say its own
RELIST_TRIES = 5  # each time the newest file was replaced between looking and reading; twice in a row is rare already


class Pace:
    """Say when the next picture is due. Zero per second means: at once."""

    def __init__(self, fps: float):
        self.period_s = 1.0 / fps if fps > 0 else 0.0
        self._due_mono: float | None = None

    def wait_s(self, now: float) -> float:
        """Return how long to wait from now; the first picture is due at once."""
        return 0.0 if self._due_mono is None else max(0.0, self._due_mono - now)

    def took(self, now: float) -> int:
        """Note that a picture is taken now; return how many before it were missed."""
        if self._due_mono is None or not self.period_s:
            self._due_mono = now + self.period_s
            return 0
        missed = max(0, int((now - self._due_mono) / self.period_s))
        self._due_mono += (missed + 1) * self.period_s
        return missed


class PacedCamera(Camera):
    """Wait until the next picture is due, then take it."""

    def __init__(self, where: Source, fps: float, clock: Callable[[], float]):
        self.name = where.shown
        self._path = where.path
        self._deep = where.deep
        self._clock = clock
        self._pace = Pace(fps)
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> Frame | None:
        """Return the picture that is due, or None when the next is due later than the timeout."""
        wait_s = self._pace.wait_s(self._clock())
        if self._closed.wait(min(wait_s, timeout_s)):
            raise CameraLost(f"camera {self.name}: closed")
        if wait_s > timeout_s:
            return None
        now = self._clock()
        return Frame(at_mono=now, pixels=self._take(self._pace.took(now)))

    @abc.abstractmethod
    def _take(self, missed: int) -> Any:
        """Return the pixels that are due; so many before them were missed."""

    def close(self) -> None:
        """Stop; a waiting read ends at once."""
        self._closed.set()


class Recording(PacedCamera):
    """Play a video file at its own speed, leaving out what the reader was too slow for; its end is CameraLost."""

    def __init__(self, where: Source, clock: Callable[[], float]):
        import cv2

        if not where.path.is_file():
            raise CameraAway(f"camera {where.shown}: no such file; check [camera] source")
        self._capture = cv2.VideoCapture(str(where.path), cv2.CAP_ANY)
        if not self._capture.isOpened():
            raise CameraLost(f"camera {where.shown}: not a video that OpenCV can play; convert it to MP4 or AVI")
        own_fps = self._capture.get(cv2.CAP_PROP_FPS) or VIDEO_FPS
        super().__init__(where, own_fps if where.fps is None else where.fps, clock)

    def _take(self, missed: int) -> Any:
        for _ in range(missed):
            self._capture.grab()
        good, pixels = self._capture.read()
        if not good:
            raise CameraLost(f"camera {self.name}: the recording is over; nothing to repair")
        return pixels

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._capture.release()


class Pictures(PacedCamera):
    """Show the pictures of a folder in the order of their names; none is left out, however slow the reader."""

    def __init__(self, where: Source, clock: Callable[[], float]):
        super().__init__(where, FOLDER_FPS if where.fps is None else where.fps, clock)
        self._loop = where.loop
        self._paths = sorted(_pictures_in(self._path, self.name))
        if not self._paths:
            raise CameraLost(f"camera {self.name}: no pictures there; put .jpg or .png files into it")
        self._next = 0

    def _take(self, missed: int) -> Any:
        if self._next == len(self._paths):
            if not self._loop:
                raise CameraLost(f"camera {self.name}: all {self._next} pictures shown; nothing to repair")
            self._next = 0
        path = self._paths[self._next]
        self._next += 1
        try:
            return _decode(path.read_bytes(), path.name, self.name, self._deep)
        except OSError as error:
            raise CameraLost(f"camera {self.name}: {error}; was the picture removed?") from error


class NewestPicture(PacedCamera):
    """Show the newest picture of a folder, as a camera shows what stands before it. Put pictures there by renaming."""

    def __init__(self, where: Source, clock: Callable[[], float]):
        super().__init__(where, FOLDER_FPS if where.fps is None else where.fps, clock)
        self._shown: tuple[int, str] | None = None
        self._pixels: Any = None
        self._look()  # an empty folder is a camera that cannot be opened

    def _take(self, missed: int) -> Any:
        self._look()
        return self._pixels

    def _look(self) -> None:
        for _ in range(RELIST_TRIES):
            try:
                newest = max(((path.stat().st_mtime_ns, path.name) for path in _pictures_in(self._path, self.name)),
                             default=None)
                if newest is None:
                    break
                if newest != self._shown:
                    self._pixels = _decode((self._path / newest[1]).read_bytes(), newest[1], self.name, self._deep)
                    self._shown = newest
                return
            except FileNotFoundError:
                continue  # replaced between looking and reading: look again
        raise CameraLost(f"camera {self.name}: no picture there; is whoever puts them there running?")


def _pictures_in(folder: Path, name: str) -> list[Path]:
    """Return the pictures of a folder; hidden files are pictures in the making."""
    try:
        return [p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and not p.name.startswith(".")]
    except OSError as error:
        raise CameraLost(f"camera {name}: {error.strerror}; check [camera] source") from error


def _decode(content: bytes, what: str, name: str, deep: bool) -> Any:
    import cv2
    import numpy as np

    how = cv2.IMREAD_UNCHANGED if deep else cv2.IMREAD_COLOR
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), how) if content else None
    if pixels is None:
        raise CameraLost(f"camera {name}: {what} is not a picture; remove it")
    return pixels
