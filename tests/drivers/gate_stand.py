"""A gate's own controller on one side, the gate's hand on its barrier on the other, in a time that only we move."""

import threading
from collections import Counter, deque

from gpiozero.pins.mock import MockFactory, MockPin

from drivers.barrier import Barrier, Pins
from drivers.errors import PortLost
from drivers.readings import BarrierEventKind, Leaf
from drivers.sim.gatehouse import Gatehouse
from sentinel.hand import Hand

WIRED = {
    "relay": 17, "relay_out": 5, "pass_sensor": 27, "pass_sensor_out": 6, "door": 13, "door_out": 19, "tailgate": 26,
    "key_switch": 20, "exit_button": 21, "fire": 22, "green": 23, "amber": 24, "red": 25,
}  # fmt: skip
RELAYS = {Leaf.IN: "relay", Leaf.OUT: "relay_out"}
PASS_SENSORS = {Leaf.IN: "pass_sensor", Leaf.OUT: "pass_sensor_out"}
SWITCHES = ("pass_sensor", "pass_sensor_out", "tailgate", "key_switch", "exit_button", "fire")
PASSAGE_S, HELD_S, STEP_S = 5.0, 10.0, 0.05


class WorldPin(MockPin):
    """A pin whose other end was there before us: claiming it as input changes nothing of its level."""

    def _change_state(self, value):
        changed = super()._change_state(value)
        if changed and self._function == "output":
            self.factory.moved.append((self.info.name, bool(value)))
        return changed

    def _set_state(self, value):
        self.factory.check()
        super()._set_state(value)

    def _get_state(self):
        self.factory.check()
        return super()._get_state()

    def _set_pull(self, value):
        super()._set_pull(value)
        self.feel()

    def feel(self):
        """Have the level that the world gives this line, if it gives one."""
        level = self.factory.levels.get(self.info.name)
        if level is not None and self._function == "input":
            self._state = not level  # without an edge of its own, when this is the first look
            self.drive_high() if level else self.drive_low()


class WorldFactory(MockFactory):
    """Pins of one board, which may be pulled out."""

    def __init__(self, levels, moved):
        super().__init__(pin_class=WorldPin)
        self.levels, self.moved, self.gone = levels, moved, False

    def check(self):
        if self.gone:
            raise OSError("no such device")


class GateStand:
    """Both ends of the wires. `before` says how the gate is when the software starts."""

    def __init__(self, before=lambda stand: None, pins=None):
        self.now = 100.0
        self.told, self.health, self.edges = [], [], []
        self.levels, self.moved = {}, deque()
        self._later, self._lock = [], threading.Lock()
        self._pins = pins or Pins(factory="mock", **WIRED)
        self.factory, self.gone = None, False
        self.barrier = None
        self.house = Gatehouse(self.set_input, self.later)
        for name in SWITCHES:
            self.set_input(name, False)
        self.house.heal()
        before(self)
        self.hand = Hand(self._open, lambda symptom, _: self.health.append(symptom), clock=lambda: self.now)
        self.hand.tick(self.now)

    def _open(self):
        if self.gone:
            raise PortLost("the board is not there")
        self.factory = WorldFactory(self.levels, self.moved)
        self.barrier = Barrier(
            self._pins, passage_s=PASSAGE_S, held_s=HELD_S, on_event=self.told.append, clock=lambda: self.now,
            pin_factory=self.factory,
        )  # fmt: skip
        return self.barrier

    def pin(self, name):
        return self.factory.pin(WIRED[name])

    def set_input(self, name, active):
        self.levels[f"GPIO{WIRED[name]}"] = not active
        if self.factory is not None:
            pin = self.pin(name)
            if pin._function == "input":
                pin.drive_low() if active else pin.drive_high()

    def press(self, name):
        self.set_input(name, True)
        self.run(0.2)
        self.set_input(name, False)

    def later(self, seconds, act):
        self._later.append((self.now + seconds, act))

    def run(self, seconds):
        """Let the time pass in steps, as the gate's deciding thread does, and let the gate feel its relays."""
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self._feel_relays()
            ready = [act for at, act in self._later if at <= self.now]
            self._later = [(at, act) for at, act in self._later if at > self.now]
            for act in ready:
                act()
            self.hand.tick(self.now)

    def _feel_relays(self):
        while self.moved:
            name, on = self.moved.popleft()
            for leaf, relay in RELAYS.items():
                if name == f"GPIO{WIRED[relay]}":
                    self.edges.append((self.now, leaf, on))
                    self.house.relay_edge(leaf, on)

    def unplug(self):
        """Pull the board out: what it drove falls, and nobody can have its pins."""
        self.factory.gone = self.gone = True
        for leaf, relay in RELAYS.items():
            if self.pin(relay)._state:
                self.house.relay_edge(leaf, False)

    def plug(self):
        self.gone = False

    def closed_contacts(self):
        return [leaf for leaf, relay in RELAYS.items() if self.pin(relay)._state]

    def let_through(self, leaf=Leaf.IN):
        """Open for one person, who goes through."""
        assert self.hand.pulse(0.5, leaf)
        self.run(0.5)
        self.house.walk(leaf)
        self.run(1.0)

    @property
    def kinds(self):
        return [event.kind for event in self.told]

    def count(self, kind: BarrierEventKind, leaf: Leaf) -> int:
        return Counter((event.kind, event.leaf) for event in self.told)[kind, leaf]

    def close(self):
        self.hand.close()
