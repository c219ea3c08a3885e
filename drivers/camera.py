"""Deliver camera pictures, the newest only, from a device, a network camera, a video file or a folder.

    v4l2:///dev/video0                 a camera on this machine
    rtsp://user:password@host/stream   a camera on the local segment
    file:///x/walk.mp4                 a recording, at its own speed; ?fps=0 as fast as it is read
    folder:///x/pictures?fps=5         pictures in the order of their names, once; &loop=1 over and over
    folder:///x/camera?newest=1&fps=10 the newest picture there, again and again: a simulated scene

Never https or rtsps: the OpenSSL inside OpenCV's wheel has been without updates since 2023. OpenCV is imported when a
camera is opened, so that settings can be checked without it. Native reads take no timeout: keep a camera in a process
that may be killed.
"""

import abc
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from drivers.errors import CameraLost, PortSettingsError
from drivers.readings import Frame, Symptom

log = logging.getLogger(__name__)

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
OPTIONS = {"v4l2": (), "rtsp": (), "file": ("fps",), "folder": ("fps", "loop", "newest")}
FOLDER_FPS = 10.0
VIDEO_FPS = 25.0  # for a recording that does not say its own
STALL_S = 5.0  # USB cameras need up to 2 s to start, network cameras up to 4 s between key frames
OPEN_MS = 5000
CLOSE_S = 1.0  # a grab that hangs longer is left to die with its process
RELIST_TRIES = 5  # each time the newest file was replaced between looking and reading; twice in a row is rare already
DARK_LEVEL = 16  # of 255; video black is 16, a lit street at night is above 30
DARK_SHARE = 0.99
FROZEN_S = 3.0  # sensors are noisy: 30 equal pictures at 10 per second do not happen
WATCH_STEP = 8  # every eighth pixel of every eighth row: 4800 of a 640x480 picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A camera's address, understood. `shown` is safe to print: it holds no password."""

    scheme: str
    url: str
    path: Path
    fps: float | None
    loop: bool
    newest: bool
    shown: str


def check_source(source: str) -> Source:
    """Return the address in parts.

    Raises: PortSettingsError when it cannot be understood or must not be opened.
    """
    try:
        parts = urlsplit(source)
    except ValueError as error:
        raise PortSettingsError(f"camera: the source is no address ({error}); write v4l2:///dev/video0") from error
    if parts.scheme in ("https", "rtsps", "http"):
        raise PortSettingsError(
            f"camera: {parts.scheme}:// is not opened (OpenCV carries an outdated OpenSSL); "
            "use rtsp:// on the local segment"
        )
    if parts.scheme not in OPTIONS:
        raise PortSettingsError(f"camera: unknown source {parts.scheme or source!r}; known are {', '.join(OPTIONS)}")
    shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    if parts.scheme == "rtsp":
        if not parts.hostname:
            raise PortSettingsError(f"camera: {shown} names no host; write rtsp://host/stream")
        return Source(scheme="rtsp", url=source, path=Path(), fps=None, loop=False, newest=False, shown=shown)
    if parts.netloc or not parts.path.startswith("/"):
        raise PortSettingsError(f"camera: {source} has no absolute path; write {parts.scheme}:///path, three slashes")
    options = _options(parts.scheme, parts.query, shown)
    return Source(
        scheme=parts.scheme, url=source, path=Path(unquote(parts.path)), fps=options.get("fps"),
        loop=bool(options.get("loop")), newest=bool(options.get("newest")), shown=shown,
    )


def _options(scheme: str, query: str, shown: str) -> dict[str, float]:
    options: dict[str, float] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        known = OPTIONS[scheme]
        if name not in known:
            raise PortSettingsError(f"camera: {shown} has no option {name!r}; it has {', '.join(known) or 'none'}")
        try:
            options[name] = float(text)
        except ValueError as error:
            raise PortSettingsError(f"camera: {shown} {name}={text!r} is not a number; write {name}=5") from error
        if not 0 <= options[name] <= 240:
            raise PortSettingsError(f"camera: {shown} {name}={text} is out of range; expected 0 to 240")
    return options


class Camera(abc.ABC):
    """A source of pictures. `name` is for messages and holds no password."""

    name: str

    @abc.abstractmethod
    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest picture not yet returned, or None when none came in time.

        The pixels may be shared with later frames: read them, do not paint on them.
        Raises: CameraLost when no more will come.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the source."""

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def open_camera(source: str, *, width: int, height: int, clock: Callable[[], float] = time.monotonic) -> Camera:
    """Open a camera by its address. Size is asked of a real camera; files and folders come as they are.

    Raises: PortSettingsError for an address that cannot be understood; CameraLost when it cannot be opened now.
    """
    where = check_source(source)
    if where.scheme == "folder":
        return NewestPicture(where, clock) if where.newest else Pictures(where, clock)
    if where.scheme == "file":
        return Recording(where, clock)
    return LiveCamera(_open_live(where, width, height), where.shown, clock)


def _open_live(where: Source, width: int, height: int) -> Any:
    import cv2

    if where.scheme == "v4l2":
        if not where.path.exists():
            raise CameraLost(f"camera {where.shown}: no such device; check the cable and [camera] source")
        capture = cv2.VideoCapture(str(where.path), cv2.CAP_V4L2)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    else:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, OPEN_MS]
        capture = cv2.VideoCapture(where.url, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        capture.release()
        raise CameraLost(f"camera {where.shown}: cannot be opened; is another program using it, or the address wrong?")
    return capture


class LiveCamera(Camera):
    """Grab from a camera in a thread of its own and keep the newest picture, so that a slow reader sees the present.

    `capture` is what cv2.VideoCapture is: `read() -> (ok, pixels)` and `release()`.
    """

    def __init__(self, capture: Any, name: str, clock: Callable[[], float] = time.monotonic):
        self.name = name
        self._capture = capture
        self._clock = clock
        self._news = threading.Condition()
        self._newest: Frame | None = None
        self._last_mono = clock()
        self._over = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._grab, name="camera", daemon=True)
        self._thread.start()

    def _grab(self) -> None:
        try:
            while not self._stop.is_set():
                good, pixels = self._capture.read()
                if not good:
                    return
                with self._news:
                    self._last_mono = self._clock()
                    self._newest = Frame(at_mono=self._last_mono, pixels=pixels)
                    self._news.notify_all()
        finally:
            self._capture.release()  # here, not in close(): releasing under a running read crashes
            with self._news:
                self._over = True
                self._news.notify_all()

    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest picture; a camera that sends nothing for STALL_S is lost."""
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or self._over, timeout_s)
            frame, self._newest = self._newest, None
            if frame is not None:
                return frame
            if self._over:
                raise CameraLost(f"camera {self.name}: no more pictures; check its cable and power")
            if self._clock() - self._last_mono > STALL_S:
                raise CameraLost(f"camera {self.name}: no picture for {STALL_S:.0f} s; check its cable and power")
        return None

    def close(self) -> None:
        """Stop grabbing; a grab that hangs is left behind, its process must end."""
        self._stop.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.warning("camera %s: a grab hangs; end this process to free the device", self.name)


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
            raise CameraLost(f"camera {where.shown}: no such file; check [camera] source")
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
            return _decode(path.read_bytes(), path.name, self.name)
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
                    self._pixels = _decode((self._path / newest[1]).read_bytes(), newest[1], self.name)
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


def _decode(content: bytes, what: str, name: str) -> Any:
    import cv2
    import numpy as np

    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if pixels is None:
        raise CameraLost(f"camera {name}: {what} is not a picture; remove it")
    return pixels


class PictureWatch:
    """Notice a camera that delivers pictures and shows nothing: covered, or stuck on one picture."""

    def __init__(self, frozen_s: float = FROZEN_S):
        self._frozen_s = frozen_s
        self._sample: Any = None
        self._since_mono = 0.0

    def see(self, frame: Frame) -> Symptom | None:
        """Return what is wrong as of this picture, or None."""
        sample = frame.pixels[::WATCH_STEP, ::WATCH_STEP]
        same = self._sample is not None and sample.shape == self._sample.shape and bool((sample == self._sample).all())
        if not same:
            self._sample = sample.copy()
            self._since_mono = frame.at_mono
        if (sample < DARK_LEVEL).mean() >= DARK_SHARE:
            return Symptom.DARK
        return Symptom.FROZEN if frame.at_mono - self._since_mono >= self._frozen_s else None
