"""Look through the cameras beside the main one, each in a thread of its own; and say when to try a lost camera again.

An infrared or a thermal camera is a device of its own: what it says and what it lacks never touches the main camera.
Readings wait here until the vision process sends them, so that one that hangs is not kept alive by its other eyes.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from drivers.camera import Camera, CameraAway, open_camera
from drivers.errors import CameraLost, DriverError, PortSettingsError
from drivers.lepton import LeptonWatch
from drivers.pictures import PictureWatch
from drivers.readings import Frame, InfraredReading, Reading, Symptom, Trouble
from sentinel.core.health import Component
from sentinel.events import DeviceFailed, FromDevice
from sentinel.settings import Settings
from sentinel.supervise import Worker

Told = FromDevice | DeviceFailed

INFRARED_S = 0.5
THERMAL_S = 0.25
READ_S = 0.5
KEPT = 32  # more than five seconds of both; when vision is so late, the oldest are dropped
LEPTON_PX = (160, 120)
LEPTON = "lepton"
SICK_EXIT = 75  # EX_TEMPFAIL: nothing is wrong with us, native state may be; a new process begins afresh

REMEDIES = {
    Symptom.DARK: "is it covered, or is there no light?",
    Symptom.OVEREXPOSED: "shade the lens or turn the camera from the light",
    Symptom.BLURRED: "wipe the lens; if that does not help, focus it",
    Symptom.BLOCKED: "take away what is before the lens",
    Symptom.FROZEN: "pull the camera's cable and plug it in again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What to do about a lost camera: wait so long and open it again, or let a new process do it."""

    wait_s: float = 0.0
    renew: bool = False


# From so many failures in a row on. A new process costs the models' loading, and heals only what native code forgot to
# release: so it comes once a minute, and at once only when a call hangs.
LADDER: tuple[tuple[int, Step], ...] = (
    (1, Step(wait_s=0.25)),  # a plug that was touched
    (2, Step(wait_s=0.5)),
    (3, Step(wait_s=1.0)),
    (4, Step(wait_s=2.0)),  # a camera that starts
    (30, Step(renew=True)),
)


class Ladder:
    """Count the failures of one camera since it worked last. `native`: it is read by native code that may sicken."""

    def __init__(self, *, native: bool) -> None:
        self._native = native
        self._failures = 0

    def worked(self) -> None:
        """A picture came: begin at the lowest step again."""
        self._failures = 0

    def failed(self, error: DriverError, *, hangs: bool = False) -> Step:
        """Return what to do after one more failure. A camera that is not there is no reason for a new process."""
        self._failures += 1
        if hangs:
            return Step(renew=True)
        step = next(step for least, step in reversed(LADDER) if self._failures >= least)
        if step.renew and (not self._native or isinstance(error, CameraAway | PortSettingsError)):
            return max((step for _, step in LADDER), key=lambda step: step.wait_s)
        return step


def symptom_of(error: BaseException) -> Symptom:
    """Return how a camera is that cannot be read."""
    return Symptom.MISCONFIGURED if isinstance(error, PortSettingsError) else Symptom.LOST


class Eye(Protocol):
    """What judges a side camera's pictures."""

    def see(self, frame: Frame) -> list[Reading]:
        """Return what one picture says."""

    def resume(self) -> None:
        """Go on with a camera that was opened again."""


class InfraredEye:
    """Judge the infrared camera's pictures. `somebody` says whether the main camera sees a face."""

    def __init__(self, somebody: Callable[[], bool]) -> None:
        self._watch = PictureWatch()
        self._somebody = somebody
        self.newest: Frame | None = None  # the last good picture, for who compares it with the main camera's

    def see(self, frame: Frame) -> list[Reading]:
        """Return how bright and how rich the picture is, or what is wrong with it."""
        symptom = self._watch.see(frame, somebody=self._somebody())
        self.newest = frame if symptom is None else None
        if symptom is not None:
            detail = f"{self._watch.detail}; {REMEDIES[symptom]}"
            return [Trouble(at_mono=frame.at_mono, symptom=symptom, detail=detail), *self._watch.news()]
        grey = cv2.cvtColor(frame.pixels, cv2.COLOR_BGR2GRAY) if frame.pixels.ndim == 3 else frame.pixels
        level, contrast = cv2.meanStdDev(grey)
        scale = 1 / 257 if grey.dtype == np.uint16 else 1.0  # 65535 is 255
        return [
            InfraredReading(
                at_mono=frame.at_mono, level=float(level[0, 0]) * scale, contrast=float(contrast[0, 0]) * scale
            ),
            *self._watch.news(),
        ]


    def resume(self) -> None:
        """Go on with a camera that was opened again."""
        self._watch.resume()


class ThermalEye:
    """Judge the thermal camera's pictures."""

    def __init__(self) -> None:
        self._watch = LeptonWatch()

    def resume(self) -> None:
        """Go on with a camera that was opened again."""
        self._watch.resume()

    def see(self, frame: Frame) -> list[Reading]:
        """Return the temperatures, or what is wrong; nothing while the shutter is closed."""
        reading = self._watch.see(frame)
        return [] if reading is None else [reading]


class SideCamera:
    """Read one camera every `period_s` in a worker, and keep what it says until it is taken."""

    def __init__(
        self,
        device: str,
        open_source: Callable[[], Camera],
        eye: Eye,
        *,
        period_s: float,
    ) -> None:
        self._device = device
        self._open_source = open_source
        self._eye = eye
        self._period_s = period_s
        self._told: deque[Told] = deque(maxlen=KEPT)
        self._hung: Camera | None = None
        self._worker = Worker(device, self._look, on_failure=self._failed)

    def start(self) -> None:
        """Begin to look."""
        self._worker.start()

    def stop(self) -> None:
        """Stop looking."""
        self._worker.stop()

    def take(self) -> list[Told]:
        """Return what was said since the last call."""
        told = []
        while self._told:
            told.append(self._told.popleft())
        return told

    def _look(self, stop: threading.Event) -> None:
        if self._hung is not None and self._hung.hangs:
            raise CameraLost(f"camera {self._hung.name}: a read does not come back; replug its cable")
        self._hung = None
        camera = self._open_source()
        self._eye.resume()
        try:
            while not stop.wait(self._period_s):
                frame = camera.read(READ_S)
                for reading in [] if frame is None else self._eye.see(frame):
                    self._told.append(FromDevice(self._device, reading))
        finally:
            camera.close()
            self._hung = camera

    def _failed(self, error: BaseException) -> None:
        detail = str(error) if isinstance(error, DriverError) else f"a surprise: {type(error).__name__}"
        self._told.append(DeviceFailed(self._device, symptom_of(error), detail))


class Eyes:
    """The cameras that a gate has beside the main one."""

    def __init__(self, settings: Settings) -> None:
        self.somebody = False  # whether the main camera sees a face
        self._cameras: list[SideCamera] = []
        self._infrared: InfraredEye | None = None
        if settings.infrared.source:
            eye = self._infrared = InfraredEye(lambda: self.somebody)
            size = (settings.camera.width, settings.camera.height)
            self._add(Component.INFRARED, settings.infrared.source, size, eye, INFRARED_S)
        if settings.thermal.kind == LEPTON:
            self._add(Component.THERMAL, settings.thermal.source, LEPTON_PX, ThermalEye(), THERMAL_S)

    def _add(self, device: Component, source: str, size: tuple[int, int], eye: Eye, period_s: float) -> None:
        def open_source() -> Camera:
            return open_camera(source, width=size[0], height=size[1])

        self._cameras.append(SideCamera(str(device), open_source, eye, period_s=period_s))

    @property
    def infrared(self) -> Frame | None:
        """The infrared camera's last good picture; None where there is none."""
        return self._infrared.newest if self._infrared is not None else None

    def start(self) -> "Eyes":
        """Open them all."""
        for camera in self._cameras:
            camera.start()
        return self

    def stop(self) -> None:
        """Close them all."""
        for camera in self._cameras:
            camera.stop()

    def take(self) -> list[Any]:
        """Return what they said since the last call, ready for the gate."""
        return [told for camera in self._cameras for told in camera.take()]
