"""Compose what the simulated camera sees, and put it into the camera's folder picture by picture.

A person is a photograph standing before a softly lit wall. Every picture has fresh noise, as a sensor's has: so a
frozen camera is different from a person who stands still.
"""

import contextlib
import logging
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from drivers.errors import PortSettingsError

log = logging.getLogger(__name__)

WIDTH, HEIGHT = 640, 480
NOISE_SIGMA = 3.0  # of 255: a cheap sensor indoors
FADE_PX = 16  # the photograph's edges melt into the wall: a hard edge is a feature no real scene has
JPEG_QUALITY = 92
PICTURES_KEPT = 3  # whoever just looked up the newest has two more periods to read it
FACE_SHARE = 1.0


def compose(picture: Any | None, face_share: float = FACE_SHARE) -> Any:
    """Return a scene with the photograph before the wall, or the wall alone; without noise.

    `face_share` scales the photograph's height in scenes: 1.0 fills it exactly; below, there is wall above; beyond, the
    lower part is cut, as when a person steps nearer. Sides are cut or left to the wall.
    Shape: uint8[480, 640, 3], BGR.
    """
    scene = _wall()
    if picture is None:
        return scene
    person = _scaled(picture, round(HEIGHT * face_share))[:HEIGHT]
    height, width = person.shape[:2]
    top, left = HEIGHT - height, (WIDTH - width) // 2
    place = scene[top:, left : left + width]
    alpha = _fade(height, width, sides=width < WIDTH, top=height < HEIGHT)[:, :, None]
    place[:] = np.rint(person * alpha + place * (1.0 - alpha)).astype(np.uint8)
    return scene


def _scaled(picture: Any, height: int) -> Any:
    """Return the photograph at this height, its sides cut equally where it is wider than the scene."""
    keep = max(1, min(picture.shape[1], int(WIDTH * picture.shape[0] / height)))
    left = (picture.shape[1] - keep) // 2
    width = max(1, min(WIDTH, round(keep * height / picture.shape[0])))
    way = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(picture[:, left : left + keep], (width, height), interpolation=way)


def _wall() -> Any:
    """Return a wall, brighter toward the upper left, where the lamp is."""
    rows, columns = np.linspace(0.0, 1.0, HEIGHT)[:, None], np.linspace(0.0, 1.0, WIDTH)[None, :]
    light = 168.0 - 40.0 * rows - 22.0 * columns
    return np.stack([light * tint for tint in (0.98, 1.0, 1.02)], axis=2).astype(np.uint8)


def _fade(height: int, width: int, *, sides: bool, top: bool) -> Any:
    """Return how much of the photograph shows at each pixel, 0 to 1."""
    across = np.ones(width, np.float32)
    down = np.ones(height, np.float32)
    if sides:
        ramp = np.linspace(0.0, 1.0, min(FADE_PX, width // 2), dtype=np.float32)
        across[: len(ramp)], across[width - len(ramp) :] = ramp, ramp[::-1]
    if top:
        ramp = np.linspace(0.0, 1.0, min(FADE_PX, height), dtype=np.float32)
        down[: len(ramp)] = ramp
    return down[:, None] * across[None, :]


class Noise:
    """Add sensor noise; the same seed gives the same pictures. Made once and shifted: 1 ms a picture instead of 20."""

    SHIFT_PX = 32

    def __init__(self, sigma: float = NOISE_SIGMA, seed: int = 1):
        self._random = np.random.default_rng(seed)
        shape = (HEIGHT + self.SHIFT_PX, WIDTH + self.SHIFT_PX, 3)
        self._field = np.rint(self._random.normal(0.0, sigma, shape)).astype(np.int16)

    def over(self, scene: Any) -> Any:
        """Return the scene with fresh noise on it."""
        down, right = self._random.integers(0, self.SHIFT_PX, 2)
        return cv2.add(scene, self._field[down : down + HEIGHT, right : right + WIDTH], dtype=cv2.CV_8U)


def load_picture(path: Path) -> Any:
    """Return a photograph's pixels.

    Raises: PortSettingsError when the file is not there or not a picture.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if pixels is None:
        raise PortSettingsError(f"picture {path}: not there or not a picture; give the absolute path of a .jpg or .png")
    return pixels


class CameraFolder:
    """Write what the camera sees into a folder, `fps` pictures a second, each by an atomic rename."""

    def __init__(self, folder: Path, *, fps: float = 5.0):
        self.folder = folder
        self._away = folder.with_name(folder.name + ".unplugged")
        self._period_s = 1.0 / fps
        self._noise = Noise()
        self._turn = threading.Lock()
        self._scene = compose(None)
        self._faults: set[str] = set()
        self._written = 0
        self._stop = threading.Event()
        self._fresh = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():  # yesterday's scene is not what stands here now
            old.unlink()
        self.write()
        self._thread = threading.Thread(target=self._run, name="sim-camera", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Return how many pictures were written so far."""
        return self._written

    def show(self, picture: Any | None, face_share: float = FACE_SHARE) -> None:
        """Let a photograph stand before the camera, or nobody; the next picture shows it, written now."""
        scene = compose(picture, face_share)
        with self._turn:
            self._scene = scene
        self.write()

    def fault(self, name: str) -> None:
        """Let the camera be "unplug"ged, "dark" or "frozen"."""
        with self._turn:
            self._faults.add(name)
            if name == "unplug" and self.folder.exists():
                self.folder.rename(self._away)
        self.write()

    def heal(self) -> None:
        """End all faults."""
        with self._turn:
            self._faults.clear()
            if self._away.exists():
                self._away.rename(self.folder)
        self.write()

    def write(self) -> None:
        """Write one picture of what is there now, unless the camera cannot."""
        with self._turn:
            if self._faults & {"unplug", "frozen"}:
                return
            scene = np.zeros_like(self._scene) if "dark" in self._faults else self._scene
            _, content = cv2.imencode(".jpg", self._noise.over(scene), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            self._written += 1
            path = self.folder / f"{self._written:08d}.jpg"
            making = self.folder / f".{path.name}"
            making.write_bytes(content.tobytes())
            making.rename(path)
            (self.folder / f"{self._written - PICTURES_KEPT:08d}.jpg").unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self.write()
            except OSError as error:  # a full disk is a fault of the machine, not of the gate under test
                log.error("simulated camera: no picture written (%s)", error)

    def close(self) -> None:
        """Stop writing; the last pictures stay, as a closed world's camera is simply frozen."""
        self._stop.set()
        self._thread.join(2.0)
        with contextlib.suppress(OSError):
            self.heal()
