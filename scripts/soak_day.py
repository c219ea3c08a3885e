"""Plan the days of a soak: who comes in each hour, what breaks and when it heals. Pure: the same seed, the same plan.

Only the gaps between happenings are compressed. What takes its time by nature keeps it: a walk through the gate, a
pulse, a device's silence time, a reader that is opened again. So an hour has as many happenings as fit into its real
seconds, and the rest of the hour is left for healing and measuring.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FIRST_HOUR = 7  # o'clock: a short soak sees the morning rush, too
FAULTS_AN_HOUR = 9  # of devices; one of a process comes on top
FAULT_LASTS_S = (1.5, 8.0)  # real: from one that nobody notices to one that is told, waited for and told to be back
BUSY_SHARE = 0.55  # of an hour; then everything heals and is measured
LAST_START = 0.75  # of the busy time: what begins later has no time to show

# People in each hour of a day, from midnight on. An ordinary gate has ten times as many; twelve minutes have no room.
PEOPLE = (2, 2, 2, 2, 2, 3, 6, 9, 9, 7, 6, 7, 7, 6, 6, 6, 7, 9, 9, 8, 6, 4, 3, 2)
WHO = (  # who they are, each as often as it stands here
    *["resident by face"] * 6,
    *["resident from afar"] * 2,
    *["resident by card"] * 4,
    *["resident by card and face"] * 2,
    *["stranger"] * 2,
    "stranger with a borrowed card",
    "hot resident",
    "expired card",
    *["visitor with a pass"] * 2,
    "visitor with a used pass",
    "two at once",
)
CHORES = (  # what else happens in an hour, one of each draw
    "staff register", "staff open", "exit button", "key switch", "pages are looked at", "a page is left open",
    "roster changes", "pages are looked at", "a page is left open", "maintainer looks",
)  # fmt: skip
CHORES_AN_HOUR = 4
PROCESSES = ("broker killed", "street frozen", "uplink frozen", "link flaps")
OF_VISION = ("vision killed", "vision frozen")
VISION_SHARE = 1 / 3  # of the hours: afterwards one vision must live long enough to be judged for memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing to do, so many real seconds after its hour began."""

    at_s: float
    do: str
    what: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """What happens in one simulated hour, in order."""

    number: int
    o_clock: int
    happenings: tuple[Happening, ...]

    def count(self, do: str) -> int:
        """Return how often this is done in this hour."""
        return sum(happening.do == do for happening in self.happenings)


class Deck:
    """Deal things by chance so that each has come before any comes again."""

    def __init__(self, things: Sequence[Any], chance: random.Random) -> None:
        self._things, self._chance = list(things), chance
        self._left: list[Any] = []

    def deal(self) -> Any:
        """Return the next one."""
        if not self._left:
            self._left = self._chance.sample(self._things, len(self._things))
        return self._left.pop()


def plan(seed: int, hours: int, hour_s: float, known_faults: Mapping[str, Sequence[str]]) -> Iterator[Hour]:
    """Return so many hours, each of so many real seconds, in which each fault of each device comes in its turn."""
    chance = random.Random(seed)
    faults = Deck([(device, fault) for device, names in sorted(known_faults.items()) for fault in names], chance)
    processes, of_vision = Deck(PROCESSES, chance), Deck(OF_VISION, chance)
    people, chores = Deck(WHO, chance), Deck(CHORES, chance)
    busy_s = BUSY_SHARE * hour_s
    for number in range(hours):
        o_clock = (FIRST_HOUR + number) % 24
        broken = [faults.deal() for _ in range(FAULTS_AN_HOUR)]
        happenings = [
            *_broken(broken, busy_s, chance),
            Happening(at_s=chance.uniform(0.0, 0.5 * busy_s), do=processes.deal()),
            *_people([people.deal() for _ in range(PEOPLE[o_clock])], busy_s, chance),
            *(_sometime(chores.deal(), busy_s, chance) for _ in range(CHORES_AN_HOUR)),
        ]
        if number < max(1, hours * VISION_SHARE):
            happenings.append(_sometime(of_vision.deal(), LAST_START * busy_s, chance))
        yield Hour(
            number=number, o_clock=o_clock, happenings=tuple(sorted(happenings, key=lambda happening: happening.at_s))
        )


def _sometime(do: str, within_s: float, chance: random.Random) -> Happening:
    return Happening(at_s=chance.uniform(0.0, within_s), do=do)


def _people(who: Sequence[str], busy_s: float, chance: random.Random) -> Iterator[Happening]:
    """Let them come one after the other; some step away before the next comes, some are pushed on."""
    for place, one in enumerate(who):
        slot_s = busy_s / len(who)
        comes_s = (place + chance.uniform(0.0, 0.3)) * slot_s
        yield Happening(at_s=comes_s, do="person", what={"who": one, "skin_celsius": chance.choice((36.2, 36.4, 36.6))})
        if chance.random() < 0.6:
            yield Happening(at_s=comes_s + 0.6 * slot_s, do="leave")


def _broken(broken: Sequence[tuple[str, str]], busy_s: float, chance: random.Random) -> Iterator[Happening]:
    """Begin each fault by chance; a device heals when the last of its overlapping faults is over."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for device, fault in broken:
        begins_s = chance.uniform(0.0, LAST_START * busy_s)
        ends_s = min(begins_s + chance.uniform(*FAULT_LASTS_S), busy_s)
        spans.setdefault(device, []).append((begins_s, ends_s))
        yield Happening(at_s=begins_s, do="fault", what={"device": device, "fault": fault})
    for device, times in spans.items():
        for ends_s in merged_ends(times):
            yield Happening(at_s=ends_s, do="heal", what={"device": device})


def merged_ends(spans: Sequence[tuple[float, float]]) -> list[float]:
    """Return the ends of the spans after joining those that overlap."""
    ends: list[float] = []
    for begins_s, ends_s in sorted(spans):
        if ends and begins_s < ends[-1]:
            ends[-1] = max(ends[-1], ends_s)
        else:
            ends.append(ends_s)
    return ends
