"""Simulate the gate's own controller: two leaves that open for a contact, let one person through, and close again.

    CLOSED → OPENING → OPEN → (pass → CLOSING | time-out → CLOSING) → CLOSED        fire, from any state → OPEN_HELD

It feels the edges of the relays and sets the inputs that the software feels: pass sensors, door contacts, tail-gating.
Source: device-protocols 3.5 and the row "gate" of section 5.
"""

import threading
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import ClassVar

from drivers.readings import Leaf

MOVE_S = 0.1  # a wing needs 0.3 to 0.8 s; the simulated one is quick, as its people are
STAYS_OPEN_S = 5.0  # the usual passage time inside a gate
PASS_S = 0.5  # gates send 100 to 500 ms; the longest, so that a machine that plays gates and people misses none
SECOND_PASS_S = 0.9  # the tail-gater of "double-pass" is one step behind


class LeafState(StrEnum):
    """Where a leaf is."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    OPEN_HELD = "open-held"


DOORS = {Leaf.IN: "door", Leaf.OUT: "door_out"}
PASS_SENSORS = {Leaf.IN: "pass_sensor", Leaf.OUT: "pass_sensor_out"}


class Gatehouse:
    """Play both leaves. `set_input(name, active)` closes a contact; `later(seconds, act)` calls back once.

    Every method may be called from any thread. A door contact is active while its leaf is closed.
    """

    FAULTS: ClassVar[tuple[str, ...]] = (
        "pass-without-open", "no-pass", "double-pass", "jam", "forced", "held-open", "tailgate", "fire-at-start",
        "sensor-stuck",
    )  # fmt: skip

    def __init__(
        self, set_input: Callable[[str, bool], None], later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self._set_input = set_input
        self._later = later
        self._lock = threading.RLock()
        self._states = dict.fromkeys(Leaf, LeafState.CLOSED)
        self._relays = dict.fromkeys(Leaf, False)
        self._moves = dict.fromkeys(Leaf, 0)  # counts movements: what was planned for an earlier one is void
        self._faults: frozenset[str] = frozenset()
        self._fire = False

    def state(self, leaf: Leaf) -> LeafState:
        """Return where a leaf is."""
        with self._lock:
            return self._states[leaf]

    def relay_edge(self, leaf: Leaf, on: bool) -> None:
        """Feel the contact of one leaf close or open. One that stays closed keeps the leaf open."""
        with self._lock:
            self._relays[leaf] = on
            if on and "jam" not in self._faults:
                self._begin_opening(leaf)
            elif self._states[leaf] is LeafState.OPEN_HELD and not self._is_held(leaf):
                self._begin_closing(leaf)

    def walk(self, leaf: Leaf) -> bool:
        """Let one person try to go through; return whether the leaf let them."""
        with self._lock:
            if self._states[leaf] not in (LeafState.OPENING, LeafState.OPEN, LeafState.OPEN_HELD):
                return False
            self._open(leaf)  # who pushes a leaf that is opening finds it open
            if "no-pass" not in self._faults:
                self._press(PASS_SENSORS[leaf])
            if "double-pass" in self._faults:
                self._later(SECOND_PASS_S, partial(self._press, PASS_SENSORS[leaf]))
            if "tailgate" in self._faults:
                self._press("tailgate")
            self._plan(leaf, MOVE_S, self._time_out)
            return True

    def fire(self, on: bool) -> None:
        """Let the fire alarm reach the gate, as its own wire does, and the software's input."""
        with self._lock:
            self._fire = on
            self._set_input("fire", on)
            for leaf in Leaf:
                if on:
                    self._open(leaf)
                elif self._states[leaf] is LeafState.OPEN_HELD and not self._is_held(leaf):
                    self._begin_closing(leaf)

    def fault(self, name: str) -> None:
        """Begin a fault. `forced`, `pass-without-open` and `sensor-stuck` happen at once, at the leaf that leads in.

        Raises: ValueError for an unknown name.
        """
        if name not in self.FAULTS:
            raise ValueError(f"unknown fault {name!r}; use one of: {', '.join(self.FAULTS)}")
        with self._lock:
            self._faults |= {name}
            if name == "pass-without-open":
                self._press(PASS_SENSORS[Leaf.IN])
            elif name == "forced":
                self._open(Leaf.IN)
            elif name == "sensor-stuck":
                self._set_input(PASS_SENSORS[Leaf.IN], True)
            elif name == "fire-at-start":
                self.fire(True)

    def heal(self) -> None:
        """End every fault; a leaf that nothing holds open any more closes, and every contact says how it is."""
        with self._lock:
            had, self._faults = self._faults, frozenset()
            if "fire-at-start" in had:
                self.fire(False)
            if "sensor-stuck" in had:
                self._set_input(PASS_SENSORS[Leaf.IN], False)
            for leaf in Leaf:
                if self._states[leaf] is LeafState.OPEN_HELD and not self._is_held(leaf):
                    self._begin_closing(leaf)
                self._set_input(DOORS[leaf], self._states[leaf] in (LeafState.CLOSED, LeafState.OPENING))

    # — how a leaf moves; the lock is held —

    def _is_held(self, leaf: Leaf) -> bool:
        forced = leaf is Leaf.IN and "forced" in self._faults
        return self._fire or self._relays[leaf] or forced or "held-open" in self._faults

    def _begin_opening(self, leaf: Leaf) -> None:
        if self._states[leaf] in (LeafState.CLOSED, LeafState.CLOSING):
            self._states[leaf] = LeafState.OPENING
            self._plan(leaf, MOVE_S, self._open)
        elif self._states[leaf] is LeafState.OPEN:
            self._plan(leaf, STAYS_OPEN_S, self._time_out)

    def _open(self, leaf: Leaf) -> None:
        self._states[leaf] = LeafState.OPEN
        self._set_input(DOORS[leaf], False)
        self._plan(leaf, STAYS_OPEN_S, self._time_out)
        if self._fire:
            self._states[leaf] = LeafState.OPEN_HELD

    def _time_out(self, leaf: Leaf) -> None:
        if self._is_held(leaf):
            self._states[leaf] = LeafState.OPEN_HELD
        else:
            self._begin_closing(leaf)

    def _begin_closing(self, leaf: Leaf) -> None:
        self._states[leaf] = LeafState.CLOSING
        self._plan(leaf, MOVE_S, self._closed)

    def _closed(self, leaf: Leaf) -> None:
        self._states[leaf] = LeafState.CLOSED
        self._set_input(DOORS[leaf], True)

    def _plan(self, leaf: Leaf, seconds: float, act: Callable[[Leaf], None]) -> None:
        self._moves[leaf] += 1
        move = self._moves[leaf]

        def run() -> None:
            with self._lock:
                if self._moves[leaf] == move:
                    act(leaf)

        self._later(seconds, run)

    def _press(self, name: str) -> None:
        with self._lock:
            if name == PASS_SENSORS[Leaf.IN] and "sensor-stuck" in self._faults:
                return  # it is pressed already, and stays so
            self._set_input(name, True)
            self._later(PASS_S, partial(self._release, name))

    def _release(self, name: str) -> None:
        with self._lock:
            if not (name == PASS_SENSORS[Leaf.IN] and "sensor-stuck" in self._faults):
                self._set_input(name, False)
