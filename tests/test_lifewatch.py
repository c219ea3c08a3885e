"""What the vision child tells of the face in view: figures of each layer that is there, nothing of the others."""

import cv2
import numpy as np
import pytest

from drivers.readings import Frame
from drivers.sim.attacks import Attack
from drivers.sim.scene import Noise, Staged
from recognition.detect import Face
from recognition.readings import FaceReading
from sentinel.core.liveness import Verdict, Why, infrared_finding
from sentinel.core.thermometry import View
from sentinel.lifewatch import PAIR_S, TELL_S, LifeWatch

SHARE = (0.38, 0.21, 0.23, 0.41)
BOX = (SHARE[0] * 640, SHARE[1] * 480, SHARE[2] * 640, SHARE[3] * 480)


class Finds:
    """A detector that finds the faces it was given, in the pixels of the infrared picture."""

    def __init__(self, *boxes) -> None:
        self._faces = [
            Face(x=x, y=y, width=width, height=height, confidence=0.9, landmarks=np.zeros((5, 2), np.float32))
            for x, y, width, height in boxes
        ]

    def detect(self, pixels):
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        return self._faces

    def refine(self, pixels, face):
        return face


def face(at_mono: float = 10.0) -> FaceReading:
    return FaceReading(at_mono=at_mono, track=1, box=BOX, frame_width=640, frame_height=480, confidence=0.9)


def pair(faces_dir, attack: Attack | None) -> np.ndarray:
    picture = cv2.imread(str(faces_dir / "impostor_1.jpg"))
    return Noise(seed=3).over(Staged(picture, attack=attack, infrared=True).scene(0.0))


def told(pixels: np.ndarray, detector: Finds, *, taken: float = 9.8, view: View | None = None):
    held = Frame(at_mono=taken, pixels=pixels)
    watch = LifeWatch(detector, infrared=lambda: held, **({"view": view} if view else {}))
    signs = watch.see(Frame(at_mono=10.0, pixels=np.zeros((480, 640, 3), np.uint8)), face())
    assert signs is not None
    return signs


@pytest.mark.parametrize(
    ("attack", "boxes", "expected"),
    [
        (None, [BOX], (Verdict.LIVE, Why.SEEN)),
        (None, [], (Verdict.NOT_LIVE, Why.NOT_SEEN)),
        (None, [(10.0, 10.0, 90.0, 90.0)], (Verdict.NOT_LIVE, Why.NOT_SEEN)),
        (Attack.PRINT, [BOX], (Verdict.NOT_LIVE, Why.PALE)),
        (Attack.MASK, [BOX], (Verdict.NOT_LIVE, Why.PALE)),
        (Attack.SCREEN, [], (Verdict.NOT_LIVE, Why.NOT_SEEN)),
        (Attack.REPLAY, [], (Verdict.NOT_LIVE, Why.NOT_SEEN)),
    ],
)
def test_the_infrared_pair_sees_a_face_and_no_picture_of_one(faces_dir, attack, boxes, expected):
    finding = infrared_finding(told(pair(faces_dir, attack), Finds(*boxes)))
    assert finding is not None
    assert (finding.verdict, finding.why) == expected


def test_a_dark_infrared_picture_and_an_old_one_say_nothing(faces_dir):
    dark = infrared_finding(told(np.zeros((480, 640, 3), np.uint8), Finds()))
    assert dark is not None
    assert dark.verdict is Verdict.NOT_MEASURED
    assert told(pair(faces_dir, None), Finds(BOX), taken=10.0 - 2 * PAIR_S).infrared is None


def test_the_infrared_picture_may_be_grey_of_sixteen_bits_and_lie_elsewhere(faces_dir):
    grey = cv2.cvtColor(pair(faces_dir, None), cv2.COLOR_BGR2GRAY)
    wide = np.full((480, 1280), 128, np.uint8)
    wide[:, 640:] = grey
    shifted = View(x=-1.0, y=0.0, width=2.0, height=1.0)  # it reaches a whole picture farther to the left
    signs = told(wide.astype(np.uint16) * 257, Finds((BOX[0] + 640, *BOX[1:])), view=shifted)
    finding = infrared_finding(signs)
    assert finding is not None
    assert finding.verdict is Verdict.LIVE


def test_nothing_is_told_of_nobody_nor_too_often_nor_where_it_is_off():
    frame = Frame(at_mono=10.0, pixels=np.zeros((480, 640, 3), np.uint8))
    watch = LifeWatch(Finds())
    assert watch.see(frame, None) is None
    assert watch.see(frame, face()) is not None
    soon = Frame(at_mono=10.0 + TELL_S / 2, pixels=frame.pixels)
    assert watch.see(soon, face(soon.at_mono)) is None
    assert LifeWatch(Finds(), on=False).see(frame, face()) is None
