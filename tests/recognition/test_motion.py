"""What moves like a head is told from what moves like paper, from what does not move, and from what moves once more."""

import cv2
import numpy as np
import pytest

from drivers.sim.attacks import Attack
from drivers.sim.scene import Noise, Staged
from recognition.motion import MotionWatch, shape_of
from recognition.readings import FaceReading, LifeSigns, Motion
from sentinel.core.liveness import Verdict, Why, motion_finding

FPS = 5
BOXES = {
    "impostor_1": (0.38, 0.21, 0.23, 0.41),
    "person_a_1": (0.38, 0.2, 0.23, 0.42),
    "obama2": (0.43, 0.21, 0.18, 0.32),
}


def watched(faces_dir, name: str, attack: Attack | None, for_s: float, *, still: bool = False, seed: int = 0):
    """Return what is measured of a simulated person after so long."""
    staged = Staged(cv2.imread(str(faces_dir / f"{name}.jpg")), attack=attack, seed=seed)
    noise, watch, motion = Noise(seed=seed), MotionWatch(), None
    for look in range(int(for_s * FPS) + 1):
        frame = noise.over(staged.scene(None if still else look / FPS))
        motion = watch.see(frame, face_at(look / FPS, BOXES[name]))
    return motion


def face_at(at_mono: float, share, track: int = 1) -> FaceReading:
    box = (share[0] * 640, share[1] * 480, share[2] * 640, share[3] * 480)
    return FaceReading(at_mono=at_mono, track=track, box=box, frame_width=640, frame_height=480, confidence=0.9)


def said(motion: Motion | None):
    finding = motion_finding(LifeSigns(at_mono=1.0, track=1, motion=motion))
    assert finding is not None
    return finding.verdict, finding.why


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize(
    ("attack", "for_s", "expected"),
    [
        (None, 2.0, (Verdict.LIVE, Why.TURNS)),
        (None, 4.0, (Verdict.LIVE, Why.TURNS)),
        (Attack.PRINT, 2.0, (Verdict.NOT_LIVE, Why.PLANE)),
        (Attack.SCREEN, 2.0, (Verdict.NOT_LIVE, Why.PLANE)),
        (Attack.REPLAY, 4.2, (Verdict.NOT_LIVE, Why.REPEATS)),
    ],
)
def test_each_act_is_told_from_the_others(faces_dir, name, attack, for_s, expected):
    assert said(watched(faces_dir, name, attack, for_s)) == expected


def test_a_photograph_on_a_stand_does_not_move_and_is_not_live(faces_dir):
    assert said(watched(faces_dir, "impostor_1", None, 2.0, still=True)) == (Verdict.NOT_LIVE, Why.MOTIONLESS)


def test_a_worn_mask_moves_as_a_head_does_which_is_why_motion_is_not_required_alone(faces_dir):
    assert said(watched(faces_dir, "impostor_1", Attack.MASK, 2.0)) == (Verdict.LIVE, Why.TURNS)


def test_the_first_looks_say_nothing_and_another_track_begins_anew(faces_dir):
    picture = cv2.imread(str(faces_dir / "impostor_1.jpg"))
    frame, watch = Staged(picture).scene(), MotionWatch()
    seen = [watch.see(frame, face_at(look / FPS, BOXES["impostor_1"])) for look in range(8)]
    assert seen[0] is None
    assert seen[-1] is not None
    assert watch.see(frame, face_at(2.0, BOXES["impostor_1"], track=2)) is None


@pytest.mark.parametrize("pixels", [np.zeros((480, 640, 3), np.uint8), np.full((480, 640, 3), 255, np.uint8)])
def test_a_picture_without_anything_to_follow_gives_figures_and_no_error(pixels):
    watch = MotionWatch()
    for look in range(8):
        watch.see(pixels, face_at(look / FPS, (0.9, 0.9, 0.2, 0.3)))


def test_depth_is_what_no_flat_picture_explains():
    rng = np.random.default_rng(1)
    points = rng.uniform(-40, 40, (49, 2))
    depth = np.exp(-((points[:, 0] / 30) ** 2))
    turns = np.sin(np.linspace(0, 6, 20))
    flat = np.stack([points * [1 - 0.05 * turn**2, 1.0] + [turn, 0] for turn in turns])
    deep = np.stack([points + np.stack([2 * turn * depth, 0 * depth], axis=-1) for turn in turns])
    noise = rng.normal(0, 0.01, flat.shape)
    assert shape_of(flat + noise)[1] < 1.0
    assert shape_of(deep + noise)[1] > 3.0
    assert shape_of(flat + noise)[0] > 0.2, "a tilt changes the outline"
