"""Say what is held before the gate instead of a face, and how warm it is. Standard library only.

A person's own face is `None`. Temperatures are those of a room, of paper, of a tablet that has run for a while, and of
a face behind paper; source: face-pipeline F, "thermal camera".
"""

import math
from enum import StrEnum


class Attack(StrEnum):
    """What simulated attackers bring."""

    PRINT = "print"  # a printed photograph, as cold as the room
    SCREEN = "screen"  # a telephone's bright, hardly warm screen with a photograph
    MASK = "mask"  # a printed face of paper worn before the own one: partly warm
    REPLAY = "replay"  # a video of the person, again and again, on a tablet that has become warm


FOREHEAD_PART = 0.6  # of the face's radius that is at full skin temperature; the rest cools toward hair and collar
EDGE_COOLING_K = 2.0
PHONE_K, TABLET_K = 1.2, 6.5  # above the room
PHONE_HALF, TABLET_HALF = (0.9, 1.3), (1.4, 1.5)  # half width and height, in radii of a face
MASK_PART = 0.75  # of the face's radius that the paper covers
MASK_COOLING_K = 7.0  # what a centimetre of air and a sheet of paper take from skin
EYE_HOLE, EYE_AT = 0.11, (0.32, -0.2)
FINGERS = (0.85, 1.05, 1.0, 1.25)  # from, to across and from, to down: they hold the paper's lower edge
FINGERS_K = 3.0  # colder than the face


def celsius_at(
    across: float, down: float, *, skin_celsius: float, ambient_celsius: float, attack: Attack | None
) -> float:
    """Return how warm the scene is at a place. Unit: radii of the face from its middle, to the right and down."""
    radius = math.hypot(across, down)
    face = _face(radius, skin_celsius, ambient_celsius)
    if attack is None:
        return face
    if attack is Attack.MASK:
        eye = math.hypot(abs(across) - EYE_AT[0], down - EYE_AT[1]) <= EYE_HOLE
        if radius > MASK_PART or eye:
            return face
        return max(ambient_celsius, skin_celsius - MASK_COOLING_K)
    if attack is Attack.PRINT:
        left, right, top, bottom = FINGERS
        holds = left <= abs(across) <= right and top <= down <= bottom
        return skin_celsius - FINGERS_K if holds else ambient_celsius
    half, warmer = (PHONE_HALF, PHONE_K) if attack is Attack.SCREEN else (TABLET_HALF, TABLET_K)
    return ambient_celsius + (warmer if abs(across) <= half[0] and abs(down) <= half[1] else 0.0)


def _face(radius: float, skin_celsius: float, ambient_celsius: float) -> float:
    if radius > 1:
        return ambient_celsius
    cooling = max(0.0, radius - FOREHEAD_PART) / (1 - FOREHEAD_PART) * EDGE_COOLING_K
    return skin_celsius - cooling


def middle_celsius(skin_celsius: float | None, ambient_celsius: float, attack: Attack | None) -> float | None:
    """Return what a sensor of one point sees: the middle; None for an empty room."""
    if skin_celsius is None or attack is None:
        return skin_celsius
    return celsius_at(0.0, 0.0, skin_celsius=skin_celsius, ambient_celsius=ambient_celsius, attack=attack)
