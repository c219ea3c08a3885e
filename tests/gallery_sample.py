"""Synthetic persons of the roster: unit vectors with known similarities, and members that hold them."""

from datetime import date

import numpy as np

from sentinel.core.citizen import check_digit
from sentinel.core.consent import ConsentGiven, Giver
from sentinel.roster import Figures, Member, Template

DIMENSIONS = 128
CONSENT = ConsentGiven(ref="paper 1", by=Giver.SELF, on=date(2026, 1, 2), purpose="opening this gate")


def axis(number: int) -> np.ndarray:
    """Return a unit vector that is like no other axis."""
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[number] = 1.0
    return vector


def face(person: int, look: int, like: float = 0.75) -> np.ndarray:
    """Return one look of a person: two different looks have this similarity, two persons none."""
    vector = np.sqrt(like) * axis(person) + np.sqrt(1 - like) * axis(64 + look)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def number_of(serial: int) -> str:
    """Return an ID number that is valid by check digit and of a region that does not exist."""
    first17 = f"99010119800101{serial:03d}"
    return first17 + check_digit(first17)


def template(vector: np.ndarray, id_: str, **changes: object) -> Template:
    """Return a template of this vector."""
    known = {
        "model": "m1",
        "vector": np.asarray(vector, "<f4").tobytes(),
        "consent": "paper 1",
        "made_at": "2026-11-22T00:00:00+00:00",
        "id": id_.rjust(12, "0"),
        "source": "picture",
        "quality": Figures(face_px=120.0, turn=0.1, sharpness=6.5, brightness=90.0, burnt=0.0),
        "expires": date(2029, 1, 1),
    }
    return Template(**{**known, **changes})


def member(serial: int, *templates: Template, **changes: object) -> Member:
    """Return a person with these templates; the token is made of the serial number."""
    known = {
        "token": f"{serial:032x}",
        "name": "样本甲",
        "number": number_of(serial),
        "templates": templates,
        "consent": CONSENT if templates else None,
    }
    return Member(**{**known, **changes})
