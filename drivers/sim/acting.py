"""Let photographs move: as a person does who stands before a gate, or as a thing does that somebody holds there.

A person sways, and turns and nods a little: the nose goes farther than the ears. A print or a telephone in a hand moves
and tilts as one plane. A replayed video shows the person's movement again and again. What infrared light shows of
each is here as well: ink is transparent to it, a screen is black.
"""

import math
from typing import Any

import cv2
import numpy as np

from drivers.sim.attacks import Attack

LOOP_S = 2.0  # of the replayed video
SWAY_PX, SWAY_HZ = (2.6, 1.2), (0.37, 0.29)
TURN_PX, TURN_HZ = (5.0, 2.5), (0.26, 0.41)  # by which the nose goes farther than the ears
HAND_PX, HAND_HZ = (3.0, 2.2), (0.9, 0.7)
HAND_TURN, HAND_TILT = 0.012, 0.05  # radians; share by which a tilted plane is foreshortened
NOSE_REACH = 0.16  # so far from the middle, in shares of the photograph's height, what turns is half as near
BRIGHT_GAIN, BRIGHT_LIFT = 1.12, 14
PAPER_GREY, PAPER_CONTRAST = 190.0, 0.08  # of a print under 850 nm
BLACK_GREY = 6.0


class Act:
    """Move one photograph, scaled to the scene already. Shape: uint8[h, w, 3] BGR; the same `seed`, the same act."""

    def __init__(self, person: Any, attack: Attack | None, *, infrared: bool = False, seed: int = 0) -> None:
        self._person = _as_lit(person, attack) if not infrared else _in_infrared(person, attack)
        self._attack = attack
        self._phases = np.random.default_rng(seed).uniform(0.0, 2 * math.pi, 8)
        height, width = person.shape[:2]
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        off = (columns - width / 2) / (NOSE_REACH * height)  # a head and a neck are upright and round
        self._nearer = np.exp(-(off**2)).astype(np.float32)
        self._rows, self._columns = rows, columns

    def at(self, at_s: float) -> Any:
        """Return the photograph at a moment of the act."""
        if self._attack in (Attack.PRINT, Attack.SCREEN):
            return self._held(at_s)
        return self._alive(at_s % LOOP_S if self._attack is Attack.REPLAY else at_s)

    def _swing(self, index: int, hertz: float, at_s: float) -> float:
        return math.sin(2 * math.pi * hertz * at_s + self._phases[index])

    def _alive(self, at_s: float) -> Any:
        right = SWAY_PX[0] * self._swing(0, SWAY_HZ[0], at_s)
        down = SWAY_PX[1] * self._swing(1, SWAY_HZ[1], at_s)
        turn = TURN_PX[0] * self._swing(2, TURN_HZ[0], at_s)
        nod = TURN_PX[1] * self._swing(3, TURN_HZ[1], at_s)
        across = self._columns - right - turn * self._nearer
        along = self._rows - down - nod * self._nearer
        return cv2.remap(self._person, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _held(self, at_s: float) -> Any:
        height, width = self._person.shape[:2]
        angle = HAND_TURN * self._swing(2, HAND_HZ[1], at_s)
        narrow, low = (1 - HAND_TILT * (1 + self._swing(axis, HAND_HZ[axis - 3], at_s)) / 2 for axis in (3, 4))
        plane = np.array([[math.cos(angle) * narrow, -math.sin(angle)], [math.sin(angle), math.cos(angle) * low]])
        middle = np.array([width / 2, height / 2])
        moved = [HAND_PX[axis] * self._swing(axis, HAND_HZ[axis], at_s) for axis in (0, 1)]
        shift = middle - plane @ middle + np.array(moved)
        return cv2.warpAffine(
            self._person, np.column_stack([plane, shift]), (width, height), borderMode=cv2.BORDER_REPLICATE
        )


def _as_lit(person: Any, attack: Attack | None) -> Any:
    if attack in (Attack.SCREEN, Attack.REPLAY):
        return cv2.convertScaleAbs(person, alpha=BRIGHT_GAIN, beta=BRIGHT_LIFT)
    return person


def _in_infrared(person: Any, attack: Attack | None) -> Any:
    grey = cv2.cvtColor(person, cv2.COLOR_BGR2GRAY)
    if attack in (Attack.SCREEN, Attack.REPLAY):
        grey = np.full_like(grey, BLACK_GREY)
    elif attack is not None:
        grey = np.rint(PAPER_GREY + PAPER_CONTRAST * (grey.astype(np.float32) - 128)).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
