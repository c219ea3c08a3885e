"""Read a real camera in a thread of its own, so that neither a slow nor a hanging one holds up its reader.

Opening and reading are native calls without a timeout. A camera whose call does not come back is lost, and its thread
is left to die with the process.
"""

import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from drivers.camera import Camera, CameraAway, Source
from drivers.errors import CameraLost
from drivers.readings import Frame

log = logging.getLogger(__name__)

START_S = 5.0  # to open, and to the first picture: USB cameras need up to 2 s, network cameras 4 s to a key frame
STALL_S = 4.0  # pictures that came before do not take so long; with a read's wait it is still told within 5 s
NETWORK_MS = 4500  # FFmpeg gives up by itself within STALL_S and CLOSE_S: a cut network is no hanging process
CLOSE_S = 1.0  # a grab that hangs longer is left to die with its process
# Without loss, and nothing kept back: a picture of a second ago shows somebody who has left.
FFMPEG_OPTIONS = "rtsp_transport;tcp|fflags;nobuffer|flags;low_delay"


def open_live(where: Source, *, width: int, height: int, clock: Callable[[], float]) -> "LiveCamera":
    """Begin to open a real camera.

    Raises: CameraAway when its device is not there.
    """
    if where.scheme == "v4l2":
        if not where.path.exists():
            raise CameraAway(f"camera {where.shown}: no such device; check the cable and [camera] source")
        return LiveCamera(partial(_open_device, where, width, height), where.shown, clock)
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", FFMPEG_OPTIONS)
    return LiveCamera(partial(_open_stream, where), where.shown, clock)


def _open_device(where: Source, width: int, height: int) -> Any:
    import cv2

    capture = cv2.VideoCapture(str(where.path), cv2.CAP_V4L2)
    if where.deep:  # before the size: each format has sizes of its own
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"Y16 "))
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _open_stream(where: Source) -> Any:
    import cv2

    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NETWORK_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, NETWORK_MS]
    return cv2.VideoCapture(where.url, cv2.CAP_FFMPEG, limits)


class LiveCamera(Camera):
    """Open a camera and grab from it in a thread; keep the newest picture, so that a slow reader sees the present.

    `open_capture` returns what cv2.VideoCapture is: `isOpened()`, `read() -> (ok, pixels)` and `release()`.
    """

    def __init__(self, open_capture: Callable[[], Any], name: str, clock: Callable[[], float]):
        self.name = name
        self._open_capture = open_capture
        self._clock = clock
        self._news = threading.Condition()
        self._newest: Frame | None = None
        self._last_mono = clock()
        self._opened = self._seen = False
        self._over = ""  # why no more pictures come
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    @property
    def hangs(self) -> bool:
        """Whether a native call still runs."""
        return self._thread.is_alive()

    def read(self, timeout_s: float) -> Frame | None:
        """Return the newest picture; a camera that sends nothing for STALL_S, or START_S at the start, is lost."""
        with self._news:
            self._news.wait_for(lambda: self._newest is not None or bool(self._over), timeout_s)
            frame, self._newest = self._newest, None
            if frame is not None:
                return frame
            if self._over:
                raise CameraLost(f"camera {self.name}: {self._over}")
            waited_s = self._clock() - self._last_mono
            if waited_s > (STALL_S if self._seen else START_S):
                what = f"no picture for {waited_s:.0f} s" if self._opened else f"not open after {waited_s:.0f} s"
                raise CameraLost(f"camera {self.name}: {what}; check its cable and power")
        return None

    def close(self) -> None:
        """Stop grabbing; a call that hangs is left behind, its process must end."""
        self._stop.set()
        self._thread.join(CLOSE_S)
        if self.hangs:
            log.warning("camera %s: a native call hangs; end this process to free the device", self.name)

    def _run(self) -> None:
        capture, why = None, "its driver failed; check its cable and power"  # said of an exception, which ends us
        try:
            capture = self._open_capture()
            why = self._grab(capture)
        finally:
            if capture is not None:
                capture.release()  # here, not in close(): releasing under a running read crashes
            with self._news:
                self._over = why
                self._news.notify_all()

    def _grab(self, capture: Any) -> str:
        """Grab until told to stop or until no more comes; return why."""
        if not capture.isOpened():
            return "cannot be opened; is another program using it, or the address wrong?"
        with self._news:
            self._opened, self._last_mono = True, self._clock()
        while not self._stop.is_set():
            good, pixels = capture.read()
            if not good:
                return "no more pictures; check its cable and power"
            with self._news:
                self._last_mono, self._seen = self._clock(), True
                self._newest = Frame(at_mono=self._last_mono, pixels=pixels)
                self._news.notify_all()
        return "closed"
