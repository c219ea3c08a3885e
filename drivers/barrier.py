"""Move the barrier: bounded pulses out, one right to pass each; passages, doors, switches and fire in.

The rules, from device-protocols 3.5: one request gives at most one pulse and one right; nothing is pulsed at start; and
while the fire input is active both leaves are held open and nobody passing is an intruder. How long a contact closes is
drivers/contact.py, what happens at a leaf drivers/leaf.py, where the wires are drivers/wiring.py.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from types import MappingProxyType
from typing import Any

from gpiozero import DigitalInputDevice

from drivers.contact import GAP_S, MAX_PULSE_S, OVERDUE_S, Contact
from drivers.errors import DriverError, PortLost, PortSettingsError
from drivers.lamps import Lamps
from drivers.leaf import LeafWatch
from drivers.lock import BarrierLock
from drivers.readings import BarrierEvent, BarrierEventKind, Leaf, Symptom, Trouble
from drivers.wiring import Lines, NotMoved, Pins, WireFault, make_pin_factory, told_as

__all__ = [
    "GAP_S", "MAX_PULSE_S", "OVERDUE_S", "STUCK_S", "Barrier", "BarrierLock", "NotMoved", "Pins", "WireFault",
    "make_pin_factory",
]  # fmt: skip

log = logging.getLogger(__name__)

STUCK_S = 60.0  # gates send a pass signal of 0.1 to 0.5 s, and nobody leans on a button for a minute
HELD_S = 10.0

# input → the flag that says how it is wired
INPUTS: Mapping[str, str] = MappingProxyType(
    {
        "fire": "fire_active_low",
        "key_switch": "key_switch_active_low",
        "door": "door_active_low",
        "door_out": "door_out_active_low",
        "pass_sensor": "pass_active_low",
        "pass_sensor_out": "pass_out_active_low",
        "tailgate": "tailgate_active_low",
        "exit_button": "exit_button_active_low",
    }
)
DOORS = {"door": Leaf.IN, "door_out": Leaf.OUT}
PASS_SENSORS = {"pass_sensor": Leaf.IN, "pass_sensor_out": Leaf.OUT}
SIGNALS = {
    "tailgate": BarrierEventKind.TAILGATE,
    "key_switch": BarrierEventKind.KEY_SWITCH,
    "exit_button": BarrierEventKind.EXIT_BUTTON,
}
SHORT_SIGNALS = ("pass_sensor", "pass_sensor_out", "tailgate", "exit_button")  # these are never active for long


class Barrier:
    """Pulse the barrier and report what happens on its wires.

    `on_event` is called from the pins' threads and from `tick`, never while a lock is held. Not a pin moves at
    construction. Whoever makes a Barrier holds the BarrierLock.

    Raises: PortSettingsError for an unknown factory or pin; PortLost for pins that cannot be had now.
    """

    def __init__(
        self,
        pins: Pins,
        *,
        passage_s: float,
        held_s: float = HELD_S,
        on_event: Callable[[BarrierEvent], None],
        clock: Callable[[], float] = time.monotonic,
        pin_factory: Any = None,
    ):
        self._passage_s = passage_s
        self._on_event = on_event
        self._clock = clock
        self._lock = threading.RLock()
        self._watches = {leaf: LeafWatch(leaf, passage_s=passage_s, held_s=held_s) for leaf in Leaf}
        self._untold: list[BarrierEvent] = []
        self._fire = self._closing = False
        self._key_until = -inf  # so long a passage by the key switch is no intrusion
        self._active_since: dict[str, float] = {}
        self._looked_at = -inf
        self._unmoved: dict[Leaf, Trouble] = {}
        self._lines = Lines(pins.factory, pin_factory)
        try:
            self._claim(pins)
        except DriverError:
            self.close()  # half-claimed pins would be busy for the next try
            raise

    def _claim(self, pins: Pins) -> None:
        if self._lines.leased and not pins.relay_active_high:
            raise PortSettingsError(
                "barrier: the board's own pulse ends by switching off, which would open an active-low relay; "
                "set relay_active_high = true, or leave pulse= out of the factory"
            )
        relays = {leaf: pin for leaf, pin in ((Leaf.IN, pins.relay), (Leaf.OUT, pins.relay_out)) if pin is not None}
        self._contacts = {
            leaf: Contact(
                self._lines.output(pin, active_high=pins.relay_active_high, latched=False), clock=self._clock
            )
            for leaf, pin in relays.items()
        }
        self._lamps = Lamps(self._lines, pins)
        self._inputs: dict[str, DigitalInputDevice] = {}
        for name, flag in INPUTS.items():
            pin = getattr(pins, name)
            if pin is not None:
                active_low = getattr(pins, flag)
                self._inputs[name] = self._lines.input(pin, active_low=active_low, on_change=partial(self._felt, name))

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Return the leaves that can be opened."""
        return tuple(self._contacts)

    @property
    def rights(self) -> int:
        """Return how many people may still pass, in or out."""
        with self._lock:
            return sum(watch.rights for watch in self._watches.values())

    @property
    def fire_active(self) -> bool:
        """Tell whether the fire input is active now; False where none is wired.

        Raises: PortLost when the input cannot be read.
        """
        return self._is_active("fire")

    @property
    def trouble(self) -> Trouble | None:
        """Return what is wrong at the barrier though its wires can be felt: not moving, jammed, held open, stuck.

        Each ends by itself; what is only proven by a movement ends with the next one.
        """
        with self._lock:
            leaves = [watch.trouble for watch in self._watches.values()]
            found = [*self._unmoved.values(), *(trouble for trouble in leaves if trouble is not None)]
            return found[0] if found else self._stuck()

    def pulse(self, seconds: float, leaf: Leaf = Leaf.IN) -> None:
        """Close the contact for so long, at most MAX_PULSE_S, and give one right to pass; return at once.

        A pulse during a pulse extends it without a gap, but a contact never stays closed for more than MAX_PULSE_S:
        then it is open for GAP_S, and a pulse that comes meanwhile has its right at once and its contact from `tick`.
        Raises: ValueError for a length that is not positive, or a leaf that is not fitted; PortLost when the relay did
        not move (no right is given).
        """
        if not seconds > 0:
            raise ValueError(f"a pulse lasts more than 0 s, not {seconds!r}")
        if leaf not in self._contacts:
            raise ValueError(f"no leaf {leaf} is fitted; there is {', '.join(self._contacts)}")
        with self._lock:
            now = self._clock()
            self._move(leaf, lambda _leaf, contact: contact.pulse(now, seconds), now)
            self._watches[leaf].give(self._clock())  # a board on a line takes its time, and that is not theirs

    def _move(self, leaf: Leaf, act: Callable[[Leaf, Contact], bool], now: float) -> None:
        """Close a contact in one way or another, and keep in mind whether it obeyed."""
        try:
            closed = act(leaf, self._contacts[leaf])
        except NotMoved as error:
            self._unmoved[leaf] = Trouble(at_mono=now, symptom=error.symptom, detail=f"leaf {leaf}: {error}")
            raise
        except PortLost:
            self._watches[leaf].doubt(self._clock())
            raise
        if closed:
            self._unmoved.pop(leaf, None)
            self._watches[leaf].moved(now)

    def show(self, light: str, buzz: int = 0) -> None:
        """Show a pattern of drivers.lamps.PATTERNS, and give so many short beeps. In a fire the lamps show fire.

        Raises: ValueError for a pattern there is no word for; PortLost when a lamp cannot be driven.
        """
        with self._lock:  # a fire that begins meanwhile has the lamps afterwards
            self._lamps.show(light, buzz)

    def tick(self, now: float) -> None:
        """Lapse rights, tell of fire and doors, open a contact that should be open, close a delayed one.

        Call it often.
        Raises: PortLost when the pins cannot be felt: the gate is then not controllable, which is not "closed".
        """
        try:
            with self._lock:
                for watch in self._watches.values():
                    self._untold += watch.lapse(now)
                _all_of((self._tick_contacts, self._look_at_fire, self._look_at_inputs), now)
        finally:
            self._tell()

    def _felt(self, name: str, active: bool) -> None:
        """Take one change of one input, in the thread of the pins."""
        now = self._clock()  # before the lock: a pulse on a slow line may hold it for longer than a right lasts
        try:
            with self._lock:
                if not self._closing:
                    self._take(name, active, now)
        except DriverError as error:
            log.debug("barrier: %s; the next tick tells", error)
        finally:
            self._tell()

    def _take(self, name: str, active: bool, now: float) -> None:
        if name == "fire":
            self._look_at_fire(now)
        elif name in DOORS:
            self._untold += self._watches[DOORS[name]].door(now, closed=active, excused=self._excused(now))
        elif active and name in PASS_SENSORS:
            self._untold += self._watches[PASS_SENSORS[name]].passed(now, excused=self._excused(now))
        elif name in SIGNALS:
            if name == "key_switch":
                self._key_until = now + self._passage_s
            if active:
                self._untold.append(BarrierEvent(at_mono=now, kind=SIGNALS[name]))

    def _excused(self, now: float) -> bool:
        return self._fire or now < self._key_until

    def _look_at_fire(self, now: float) -> None:
        active = self.fire_active
        changed, self._fire = active != self._fire, active
        if changed:
            kind = BarrierEventKind.FIRE_ON if active else BarrierEventKind.FIRE_OFF
            self._untold.append(BarrierEvent(at_mono=now, kind=kind))
        acts: list[Callable[[float], None]] = []
        if active:
            acts += self._closing_all(lambda _leaf, contact: contact.hold(now))
        elif changed:
            acts += [contact.let_go for contact in self._contacts.values()]
        if changed:
            acts.append(lambda _now: self._lamps.fire(active))
        _all_of(acts, now)

    def _closing_all(self, act: Callable[[Leaf, Contact], bool]) -> list[Callable[[float], None]]:
        return [partial(self._move, leaf, act) for leaf in self._contacts]

    def _tick_contacts(self, now: float) -> None:
        owed = self._closing_all(lambda leaf, contact: contact.close_owed(now, wanted=self._watches[leaf].rights > 0))
        _all_of([*(contact.open_overdue for contact in self._contacts.values()), *owed], now)

    def _look_at_inputs(self, now: float) -> None:
        """Look at what lasts: a door that was open at the start has no edge, and an edge may be lost."""
        if self._is_active("key_switch"):
            self._key_until = now + self._passage_s
        for name, leaf in DOORS.items():
            if name in self._inputs:
                closed = self._is_active(name)
                self._untold += self._watches[leaf].door(now, closed=closed, excused=self._excused(now))
        for name in SHORT_SIGNALS:
            if self._is_active(name):
                self._active_since.setdefault(name, now)
            else:
                self._active_since.pop(name, None)
        self._looked_at = now

    def _is_active(self, name: str) -> bool:
        if name not in self._inputs:
            return False
        with told_as(f"the input {name} cannot be read"):
            return bool(self._inputs[name].is_active)

    def _stuck(self) -> Trouble | None:
        for name, since in self._active_since.items():
            if self._looked_at - since > STUCK_S:
                detail = f"input {name} is active for more than {STUCK_S:.0f} s"
                return Trouble(at_mono=since + STUCK_S, symptom=Symptom.STUCK, detail=detail)
        return None

    def _tell(self) -> None:
        with self._lock:
            events, self._untold = self._untold, []
        for event in events:
            self._on_event(event)

    def close(self) -> None:
        """Open the contacts, put the lamps out, and give the pins back; harmless when done twice."""
        with self._lock:
            self._closing = True  # an edge that comes now must not close a contact again
        self._lines.close()

    def __enter__(self) -> "Barrier":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _all_of(acts: Iterable[Callable[[float], None]], now: float) -> None:
    """Do them all, also when one fails: a jammed relay must not hide a fire. Raises: PortLost, the first of them."""
    failed: PortLost | None = None
    for act in acts:
        try:
            act(now)
        except PortLost as error:
            failed = failed or error
    if failed is not None:
        raise failed
