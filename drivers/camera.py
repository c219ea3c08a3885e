"""Deliver camera pictures, the newest only, from a device, a network camera, a video file or a folder.

    v4l2:///dev/video0                 a camera on this machine; ?format=y16 16-bit grey, as a thermal camera sends
    rtsp://user:password@host/stream   a camera on the local segment, over TCP
    file:///x/walk.mp4                 a recording, at its own speed; ?fps=0 as fast as it is read
    folder:///x/pictures?fps=5         pictures in the order of their names, once; &loop=1 over and over
    folder:///x/camera?newest=1&fps=10 the newest picture there, again and again: a simulated scene; &format=y16

Never https or rtsps: the OpenSSL inside OpenCV's wheel has been without updates since 2023. OpenCV is imported when a
camera is opened, so that settings can be checked without it. Native calls take no timeout: they run in a thread of
live.py, and a camera belongs into a process that may be killed.
"""

import abc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from drivers.errors import CameraLost, PortSettingsError
from drivers.readings import Frame

OPTIONS = {"v4l2": ("format",), "rtsp": (), "file": ("fps",), "folder": ("fps", "loop", "newest", "format")}
NATIVE = ("v4l2", "rtsp")  # read by native code that may hang or sicken; only a new process heals that
DEEP = "y16"
MOST_FPS = 240.0


class CameraAway(CameraLost):
    """The camera is not there; a cable heals it, and no new process does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A camera's address, understood. `shown` is safe to print: it holds no password."""

    scheme: str
    url: str
    path: Path
    fps: float | None
    loop: bool
    newest: bool
    deep: bool  # 16-bit grey pictures, uint16[height, width], instead of BGR
    shown: str

    @property
    def native(self) -> bool:
        """Whether native code reads it that may hang."""
        return self.scheme in NATIVE


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
        return Source(
            scheme="rtsp", url=source, path=Path(), fps=None, loop=False, newest=False, deep=False, shown=shown
        )
    if parts.netloc or not parts.path.startswith("/"):
        raise PortSettingsError(f"camera: {source} has no absolute path; write {parts.scheme}:///path, three slashes")
    options = _options(parts.scheme, parts.query, shown)
    numbers = {name: _number(name, text, shown) for name, text in options.items() if name != "format"}
    if options.get("format", DEEP) != DEEP:
        raise PortSettingsError(f"camera: {shown} has no format {options['format']!r}; leave it out or write {DEEP}")
    return Source(
        scheme=parts.scheme, url=source, path=Path(unquote(parts.path)), fps=numbers.get("fps"),
        loop=bool(numbers.get("loop")), newest=bool(numbers.get("newest")), deep="format" in options, shown=shown,
    )  # fmt: skip


def _options(scheme: str, query: str, shown: str) -> dict[str, str]:
    known = OPTIONS[scheme]
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in known:
            raise PortSettingsError(f"camera: {shown} has no option {name!r}; it has {', '.join(known) or 'none'}")
    return options


def _number(name: str, text: str, shown: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise PortSettingsError(f"camera: {shown} {name}={text!r} is not a number; write {name}=5") from error
    if not 0 <= number <= MOST_FPS:
        raise PortSettingsError(f"camera: {shown} {name}={text} is out of range; expected 0 to {MOST_FPS:.0f}")
    return number


class Camera(abc.ABC):
    """A source of pictures. `name` is for messages and holds no password."""

    name: str

    @abc.abstractmethod
    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest picture not yet returned, or None when none came in time.

        The pixels may be shared with later frames: read them, do not paint on them.
        Raises: CameraLost when no more will come.
        """

    @property
    def hangs(self) -> bool:
        """Whether native code did not come back when the camera was closed: only the end of the process frees it."""
        return False

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the source."""

    def __enter__(self) -> "Camera":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def open_camera(source: str, *, width: int, height: int, clock: Callable[[], float] = time.monotonic) -> Camera:
    """Open a camera by its address. Size is asked of a real camera; files and folders come as they are.

    A real camera is opened in its own thread: that it cannot be is then said by the first reads, within 5 s.
    Raises: PortSettingsError for an address that cannot be understood; CameraLost when it cannot be opened now.
    """
    where = check_source(source)
    if where.native:
        from drivers.live import open_live

        return open_live(where, width=width, height=height, clock=clock)
    from drivers.playback import NewestPicture, Pictures, Recording

    if where.scheme == "file":
        return Recording(where, clock)
    return NewestPicture(where, clock) if where.newest else Pictures(where, clock)
