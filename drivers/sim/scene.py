"""Compose what the simulated cameras see, and put it into a camera's folder picture by picture.

A person is a photograph standing before a softly lit wall with a door, a notice and a skirting board. Every picture
has fresh noise, as a sensor's has: so a frozen camera is different from a person who stands still. A thermal camera
sees a warm blob in a cool room, as 16-bit pictures.
"""

import abc
import contextlib
import logging
import threading
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from drivers.errors import PortSettingsError
from drivers.sim.acting import Act
from drivers.sim.attacks import Attack, celsius_at

log = logging.getLogger(__name__)

WIDTH, HEIGHT = 640, 480
NOISE_SIGMA = 3.0  # of 255: a cheap sensor indoors
FADE_PX = 16  # the photograph's edges melt into the wall: a hard edge is a feature no real scene has
JPEG_QUALITY = 92
PICTURES_KEPT = 3  # whoever just looked up the newest has two more periods to read it
FACE_SHARE = 1.0
OPTICS_SIGMA_PX = 1.0  # a cheap lens, well focused
MISTED_SIGMA_PX = 9.0  # the same lens with breath on it
BURNT_GAIN = 6.0  # the lowest sun in the lens
HAND_BGR = (96, 112, 150)  # a palm so near that it has no lines
HAND_SHARE = 0.92  # what it leaves free is a strip at the right
PUSHED_PX = (64, 24)  # to the right and down: somebody leant a ladder on the camera


def compose(picture: Any | None, face_share: float = FACE_SHARE) -> Any:
    """Return a scene with the photograph before the wall, or the wall alone; without noise.

    `face_share` scales the photograph's height in scenes: 1.0 fills it exactly; below, there is wall above; beyond, the
    lower part is cut, as when a person steps nearer. Sides are cut or left to the wall.
    Shape: uint8[480, 640, 3], BGR.
    """
    return _wall().copy() if picture is None else Staged(picture, face_share).scene()


class Staged:
    """A photograph before the wall, that acts as a person does or as what an attacker holds."""

    def __init__(
        self,
        picture: Any,
        face_share: float = FACE_SHARE,
        *,
        attack: Attack | None = None,
        infrared: bool = False,
        seed: int = 0,
    ):
        self._wall = _wall()
        self._person = _scaled(picture, round(HEIGHT * face_share))[:HEIGHT]
        self._act = Act(self._person, attack, infrared=infrared, seed=seed)
        height, width = self._person.shape[:2]
        self._alpha = _fade(height, width, sides=width < WIDTH, top=height < HEIGHT)[:, :, None]

    def scene(self, at_s: float | None = None) -> Any:
        """Return the scene at a moment of the act, or with everybody at rest. Shape: uint8[480, 640, 3], BGR."""
        scene, alpha = self._wall.copy(), self._alpha
        person = self._person if at_s is None else self._act.at(at_s)
        height, width = person.shape[:2]
        place = scene[HEIGHT - height :, (WIDTH - width) // 2 : (WIDTH - width) // 2 + width]
        place[:] = np.rint(person * alpha + place * (1.0 - alpha)).astype(np.uint8)
        return scene


def _scaled(picture: Any, height: int) -> Any:
    """Return the photograph at this height, its sides cut equally where it is wider than the scene."""
    keep = max(1, min(picture.shape[1], int(WIDTH * picture.shape[0] / height)))
    left = (picture.shape[1] - keep) // 2
    width = max(1, min(WIDTH, round(keep * height / picture.shape[0])))
    way = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(picture[:, left : left + keep], (width, height), interpolation=way)


@cache
def _wall() -> Any:
    """Return a wall, brighter toward the upper left, where the lamp is, with what hangs and stands there."""
    rows, columns = np.linspace(0.0, 1.0, HEIGHT)[:, None], np.linspace(0.0, 1.0, WIDTH)[None, :]
    light = 168.0 - 40.0 * rows - 22.0 * columns
    things = np.ones((HEIGHT, WIDTH))
    things[60:430, 24:34] = things[60:430, 120:130] = things[60:70, 24:130] = 0.88  # a door frame
    things[240:256, 104:116] = 1.3  # its handle
    things[430:442] = 0.9  # the skirting board
    things[70:230, 500:616] = 1.25  # a notice
    for line in range(90, 215, 18):
        things[line : line + 7, 516 : 590 + line % 5 * 4] = 0.9  # what is written on it
    light = light * cv2.GaussianBlur(things, (0, 0), OPTICS_SIGMA_PX)
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


class PictureFolder(abc.ABC):
    """Write what a camera sees into a folder, `fps` pictures a second, each by an atomic rename."""

    FAULTS: ClassVar[tuple[str, ...]]
    SUFFIX: ClassVar[str]

    def __init__(self, folder: Path, *, fps: float):
        self.folder = folder
        self._away = folder.with_name(folder.name + ".unplugged")
        self._period_s = 1.0 / fps
        self._turn = threading.Lock()
        self._faults: set[str] = set()
        self._written = 0
        self._stop = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():  # yesterday's scene is not what stands here now
            old.unlink()
        self.write()
        self._thread = threading.Thread(target=self._run, name=f"sim-{folder.name}", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Return how many pictures were written so far."""
        return self._written

    def fault(self, name: str) -> None:
        """Begin one of `FAULTS`. Raises: ValueError for any other."""
        if name not in self.FAULTS:
            raise ValueError(f"a camera has no fault {name!r}; it has {', '.join(self.FAULTS)}")
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
            self._written += 1
            path = self.folder / f"{self._written:08d}{self.SUFFIX}"
            making = self.folder / f".{path.name}"
            making.write_bytes(self._picture())
            making.rename(path)
            (self.folder / f"{self._written - PICTURES_KEPT:08d}{self.SUFFIX}").unlink(missing_ok=True)

    @abc.abstractmethod
    def _picture(self) -> bytes:
        """Return the content of the next file. Called with the lock held."""

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self.write()
            except OSError as error:  # a full disk is a fault of the machine, not of the gate under test
                log.error("simulated %s: no picture written (%s)", self.folder.name, error)

    def close(self) -> None:
        """Stop writing; the last pictures stay, as a closed world's camera is simply frozen."""
        self._stop.set()
        self._thread.join(2.0)
        with contextlib.suppress(OSError):
            self.heal()


class CameraFolder(PictureFolder):
    """Be a camera that looks at the place before the gate. Another seed gives another camera's noise."""

    FAULTS: ClassVar[tuple[str, ...]] = ("unplug", "dark", "frozen", "overexposed", "blurred", "blocked", "moved")
    SUFFIX: ClassVar[str] = ".jpg"

    def __init__(self, folder: Path, *, fps: float = 5.0, seed: int = 1, infrared: bool = False):
        self._noise = Noise(seed=seed)
        self._wall = compose(None)
        self._staged: Staged | None = None
        self._infrared = infrared
        super().__init__(folder, fps=fps)

    def show(self, picture: Any | None, face_share: float = FACE_SHARE, *, attack: Attack | None = None) -> None:
        """Let a person stand before the camera, nobody, or what is held there; the next picture shows it, written now.

        The person is a photograph that moves as people do.
        """
        staged = None if picture is None else Staged(picture, face_share, attack=attack, infrared=self._infrared)
        with self._turn:
            self._staged = staged
        self.write()

    def _picture(self) -> bytes:
        scene = self._wall if self._staged is None else self._staged.scene(self._written * self._period_s)
        seen = self._noise.over(spoilt(scene, self._faults))
        return cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def spoilt(scene: Any, faults: set[str] | frozenset[str]) -> Any:
    """Return the scene as a camera with these faults of `CameraFolder` sees it; before the sensor's noise."""
    if "dark" in faults:
        return np.zeros_like(scene)
    if "moved" in faults:
        shift = np.array([[1, 0, PUSHED_PX[0]], [0, 1, PUSHED_PX[1]]], np.float32)
        scene = cv2.warpAffine(scene, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    if "blocked" in faults:
        scene = scene.copy()
        scene[:, : round(WIDTH * HAND_SHARE)] = HAND_BGR
        scene = cv2.GaussianBlur(scene, (0, 0), MISTED_SIGMA_PX)
    if "blurred" in faults:
        scene = cv2.GaussianBlur(scene, (0, 0), MISTED_SIGMA_PX)
    if "overexposed" in faults:
        scene = cv2.convertScaleAbs(scene, alpha=BURNT_GAIN)
    return scene


class ThermalFolder(PictureFolder):
    """Be a Lepton 3.x on a PureThermal board: 160 × 120 pictures of 16-bit hundredths of a kelvin, four a second."""

    SEES_SHAPES: ClassVar[bool] = True
    FAULTS: ClassVar[tuple[str, ...]] = ("unplug", "agc", "zero", "frozen")
    SUFFIX: ClassVar[str] = ".png"
    WIDTH_PX, HEIGHT_PX = 160, 120
    FACE_RADIUS_PX = 26.0  # a face at half a metre
    NOISE_CELSIUS = 0.05

    def __init__(self, folder: Path, *, fps: float = 4.0, ambient_celsius: float = 24.0, seed: int = 1):
        self._random = np.random.default_rng(seed)
        self._ambient_celsius = ambient_celsius
        self._skin_celsius: float | None = None
        self._attack: Attack | None = None
        super().__init__(folder, fps=fps)

    def show(self, skin_celsius: float | None, *, attack: Attack | None = None) -> None:
        """Let a face of this temperature stand in the middle, nobody, or what is held there; written now."""
        with self._turn:
            self._skin_celsius, self._attack = skin_celsius, attack
        self.write()

    def _picture(self) -> bytes:
        raw = self._hundredths_kelvin()
        if "zero" in self._faults:
            raw = np.zeros_like(raw)
        if "agc" in self._faults:  # what the board shows when nobody asked for temperatures: a pretty 8-bit picture
            raw = np.interp(raw, (raw.min(), raw.max()), (0, 255)).astype(np.uint8)
        return cv2.imencode(self.SUFFIX, raw)[1].tobytes()

    def _hundredths_kelvin(self) -> Any:
        celsius = np.full((self.HEIGHT_PX, self.WIDTH_PX), self._ambient_celsius)
        if self._skin_celsius is not None:
            half = round(1.6 * self.FACE_RADIUS_PX)  # what is farther away is the room
            for down in range(-half, half):
                for across in range(-half, half):
                    celsius[self.HEIGHT_PX // 2 + down, self.WIDTH_PX // 2 + across] = celsius_at(
                        across / self.FACE_RADIUS_PX, down / self.FACE_RADIUS_PX, skin_celsius=self._skin_celsius,
                        ambient_celsius=self._ambient_celsius, attack=self._attack,
                    )  # fmt: skip
        celsius += self._random.normal(0.0, self.NOISE_CELSIUS, celsius.shape)
        return np.rint(celsius * 100 + 27315).astype(np.uint16)
