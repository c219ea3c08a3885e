"""Let people come to a gate whose device has a fault: what they do, and how to know that the device works."""

import time
from functools import partial
from itertools import count
from typing import Any, ClassVar, Protocol

from drivers.leaf import LEAVE_S
from drivers.readings import CardReading, DistanceReading, Leaf, PresenceReading, Sign, ThermalReading
from drivers.sim.gatehouse import LeafState
from drivers.sim.idcard import CardData
from sync.entry import Entry

from .cases import Case, Where
from .rig import Gate, number_of

SHOWN_AGAIN_S = 1.5
PART_S = 1.0  # while it has the fault it may never be so
STEP_ASIDE_S = 0.7  # longer than the pass sensor's signal, so that two people give two

_SERIALS = count()
_MEASURED = count()


class Actor(Protocol):
    """What is done at one device, whose name on the bench is `name`."""

    name: str

    def ready(self, case: Case) -> None:
        """Do what must have been done before this fault begins."""

    def meet(self, case: Case) -> None:
        """Do what makes this fault show, after it has begun."""

    def part(self, within_s: float = PART_S) -> None:
        """Go away from the device, and wait so long at most until it is as if nobody had been there."""

    def works(self, seconds: float) -> bool:
        """Use the device as people do; return whether it did its work within this time."""


def _said(entry: Entry) -> str:
    return f"{entry.data['outcome']}:{entry.data['reasons'][0]}"


def passages(entries: list[Entry]) -> list[str]:
    """Return the passages among these entries, each as `outcome:reason`."""
    return [_said(entry) for entry in entries if entry.kind == "passage"]


class _Base:
    def __init__(self, gate: Gate, name: str) -> None:
        self.gate = gate
        self.name = name

    @property
    def model(self) -> Any:
        return self.gate.bench.models[self.name]

    def ready(self, case: Case) -> None:
        """Do nothing: it may begin at any time."""

    def meet(self, case: Case) -> None:
        """Do nothing: the fault shows by itself."""

    def part(self, within_s: float = PART_S) -> None:
        """Do nothing: nobody is there."""

    def _let_in(self, seen: int, seconds: float) -> bool:
        return bool(self.gate.until(lambda: "open:accepted" in passages(self.gate.entries(seen)), seconds))


class CardHolder(_Base):
    """Lays a card on the reader, a new one each time; all are of residents."""

    def meet(self, case: Case) -> None:
        """Lay a card down where the fault is one of cards."""
        if case.where in (Where.PASSAGE, Where.UNTOLD):
            self._place()

    def part(self, within_s: float = PART_S) -> None:
        """Take the card away, and wait until the reader has noticed."""
        self.model.remove()
        since = time.monotonic()

        def noticed() -> bool:
            sign = self.gate.newest("card", Sign, since)
            return sign is not None and sign.detail == "no card"

        self.gate.until(noticed, max(within_s, 2.0))

    def works(self, seconds: float) -> bool:
        """Be let in by a card, once."""
        since, seen = time.monotonic(), len(self.gate.entries())
        self._place()
        read = self.gate.until(lambda: self.gate.newest("card", CardReading, since), seconds)
        return bool(read) and self._let_in(seen, seconds)

    def _place(self) -> None:
        self.model.place(CardData(number=number_of(next(_SERIALS)), name="样本", birth="19800101"))


class Visitor(_Base):
    """Holds a pass before the scanner, a new one each time."""

    def meet(self, case: Case) -> None:
        """Show a code; where codes have no end, a second one, for one alone is a cut code and no setting."""
        if case.where is Where.PASSAGE:
            self.model.scan(self.gate.fresh_pass())
        if case.fault == "no-terminator":
            for _ in range(2):
                self.model.scan(self.gate.fresh_pass())
                self.gate.until(lambda: False, SHOWN_AGAIN_S)

    def works(self, seconds: float) -> bool:
        """Be let in by a pass; a code that is shown while the port is away is lost, so try again."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            since, seen = time.monotonic(), len(self.gate.entries())
            self.gate.until(lambda since=since: self.gate.newest("scanner", Sign, since), min(1.5, left_s))
            self.model.scan(self.gate.fresh_pass())
            if self._let_in(seen, 2.0):
                return True
        return False


class Bystander(_Base):
    """Stands before a sensor and lets himself be measured."""

    KINDS: ClassVar[dict[str, type]] = {
        "thermal": ThermalReading,
        "distance": DistanceReading,
        "presence": PresenceReading,
    }

    def works(self, seconds: float) -> bool:
        """Be measured, each time as somebody else: what was measured before may still be on its way."""
        since, turn = time.monotonic(), next(_MEASURED)
        distance_mm, celsius = 500 + 10 * (turn % 50), (34.0, 36.0, 38.0)[turn % 3]
        if self.name == "distance":
            self.model.show(distance_mm)
        elif self.name == "presence":
            self.model.show(moving=True, still=False, distance_mm=distance_mm)
        else:
            self.model.show(celsius)
        return bool(self.gate.until(lambda: self._measured(since, distance_mm, celsius), seconds))

    def part(self, within_s: float = PART_S) -> None:
        """Go away again."""
        if self.name == "presence":
            self.model.show(moving=False, still=False)
        else:
            self.model.show(None)

    def _measured(self, since: float, distance_mm: int, celsius: float) -> bool:
        reading = self.gate.newest(self.name, self.KINDS[self.name], since)
        if reading is None:
            return False
        if self.name == "thermal":
            return abs(max(reading.celsius) - celsius) < 1.0
        return reading.distance_mm == distance_mm


class Walker(_Base):
    """Is let in by staff and goes through."""

    ASKS = ("no-echo", "unchanged", "jam")
    WALKS = ("double-pass", "no-pass", "tailgate", "held-open")

    def ready(self, case: Case) -> None:
        """Wait before a leaf is forced: right after a passage it may move by itself."""
        if case.fault == "forced":
            self.gate.until(lambda: False, LEAVE_S)

    def meet(self, case: Case) -> None:
        """Ask to be let in, and go through where that is what goes wrong."""
        if case.fault in self.WALKS and self.gate.ask_to_open()["ok"]:
            self._walk()
        elif case.fault in self.ASKS:
            self.gate.ask_to_open()

    def works(self, seconds: float) -> bool:
        """Be let in by staff, go through, and be recorded with the right that was used."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            seen = len(self.gate.entries())
            answer = self.gate.ask_to_open()
            if answer["ok"]:
                passed = partial(self._passed, seen, answer["key"])
                return self._walk() and bool(self.gate.until(passed, left_s))
            self.gate.until(lambda: False, 0.25)
        return False

    def part(self, within_s: float = PART_S) -> None:
        """Wait until the leaf is closed and nobody stands in it: one that stands open cannot jam, nor be forced."""
        self.gate.until(lambda: self.gate.bench.house.state(Leaf.IN) is LeafState.CLOSED, within_s)
        self.gate.until(lambda: False, STEP_ASIDE_S)

    def _walk(self) -> bool:
        return bool(self.gate.until(lambda: self.gate.bench.house.walk(Leaf.IN), 1.0))

    def _passed(self, seen: int, key: str) -> bool:
        events = [entry.data for entry in self.gate.entries(seen) if entry.kind == "barrier"]
        return any(event["event"] == "passed" and event.get("after") == key for event in events)


ACTORS = {"card": CardHolder, "scanner": Visitor, "relay": Walker, "barrier": Walker}


def actor_at(gate: Gate, name: str) -> Actor:
    """Return who uses this device of the bench."""
    return ACTORS.get(name, Bystander)(gate, name)
