"""Fold what the parts of the gate report into faults, repairs and the mode the gate works in.

The ladder: *automatic* when all that the profile needs is well; *assisted* when people can still be judged by one
credential and staff do the rest by eye and hand; *manual* when staff register everybody. A device that works and is
not quite well (`drivers.readings.WORKING`) keeps its place on the ladder; each such impairment is a ticket of its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from sentinel.core.model import Profile

STARTING = "starting"  # before the first report: not well, and no fault until somebody says so


class Component(StrEnum):
    """The parts of a gate. The first six decide its mode; the others are fitted or not."""

    CARD = "card"
    THERMAL = "thermal"
    VISION = "vision"  # the camera, the models and the process around them: to the gate they are one eye
    BARRIER = "barrier"
    LEDGER = "ledger"
    ROSTER = "roster"  # who may pass; one that cannot be read leaves the one before in use
    SCANNER = "scanner"  # of visitor passes and staff badges
    DISTANCE = "distance"
    PRESENCE = "presence"  # the radar; while it is away, everybody is thought to be near
    INFRARED = "infrared"


ALWAYS_THERE = (
    Component.CARD, Component.THERMAL, Component.VISION, Component.BARRIER, Component.LEDGER, Component.ROSTER,
)  # fmt: skip


class Mode(StrEnum):
    """How the gate works now."""

    AUTOMATIC = "automatic"
    ASSISTED = "assisted"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentState:
    """How one component is. `symptom` is None when it works; `impaired` then says what is not right about it."""

    component: Component
    symptom: str | None
    detail: str
    since_mono: float | None  # when it became so; None before the first report
    impaired: tuple[tuple[str, str], ...] = ()  # symptom and detail, the oldest first

    @property
    def well(self) -> bool:
        """Whether the component does its work."""
        return self.symptom is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A fault opened, or, when `lasted_s` is given, a fault closed. `symptom` is the one the fault opened with."""

    component: Component
    symptom: str
    detail: str
    lasted_s: float | None = None

    @property
    def opened(self) -> bool:
        """Whether a fault began; otherwise it ended."""
        return self.lasted_s is None


class Standing(NamedTuple):
    """The mode, and the components that keep it from being better, each as `component:symptom`."""

    mode: Mode
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    symptom: str
    detail: str
    since_mono: float


def needed(profile: Profile, temperature: bool) -> frozenset[Component]:
    """Return what must be well for the gate to work by itself. A card is accepted in every profile."""
    parts = {Component.CARD, Component.BARRIER, Component.LEDGER, Component.ROSTER}
    if profile is not Profile.CARD:
        parts.add(Component.VISION)
    if temperature:
        parts.add(Component.THERMAL)
    return frozenset(parts)


class Health:
    """Remember how each component is. Time comes as an argument. `fitted` names the optional devices this gate has."""

    def __init__(self, fitted: Iterable[Component] = ()) -> None:
        parts = {*ALWAYS_THERE, *fitted}
        self._states = {
            part: ComponentState(component=part, symptom=STARTING, detail="", since_mono=None)
            for part in Component
            if part in parts
        }
        self._faults: dict[Component, _Fault] = {}
        self._impaired: dict[Component, dict[str, _Fault]] = {}

    def report(self, component: Component, symptom: str | None, detail: str, now: float) -> Change | None:
        """Take one report (`symptom` None means well) and return the fault it opens or closes, if any.

        A fault that changes its symptom stays one fault, or an unplugged cable would fill the ledger with tickets.
        """
        component = Component(component)
        before = self._states[component]
        since = before.since_mono if before.symptom == symptom else now
        self._states[component] = ComponentState(
            component=component, symptom=symptom, detail=detail, since_mono=now if since is None else since
        )
        if symptom is None:
            return self._close(component, now)
        if component in self._faults:
            return None
        self._faults[component] = _Fault(symptom=symptom, detail=detail, since_mono=now)
        return Change(component=component, symptom=symptom, detail=detail)

    def impair(self, component: Component, symptom: str, detail: str, now: float, *, over: bool) -> Change | None:
        """Take in that a working component is not quite well, or is again; return the ticket it opens or closes."""
        tickets = self._impaired.setdefault(Component(component), {})
        if over:
            ended = tickets.pop(symptom, None)
            return None if ended is None else _closing(component, ended, now)
        if symptom in tickets:
            tickets[symptom] = _Fault(symptom=symptom, detail=detail, since_mono=tickets[symptom].since_mono)
            return None
        tickets[symptom] = _Fault(symptom=symptom, detail=detail, since_mono=now)
        return Change(component=Component(component), symptom=symptom, detail=detail)

    def has(self, component: Component) -> bool:
        """Tell whether this gate has such a component."""
        return component in self._states

    def state(self, component: Component) -> ComponentState:
        """Return how one component is."""
        component = Component(component)
        tickets = self._impaired.get(component, {}).values()
        return replace(self._states[component], impaired=tuple((one.symptom, one.detail) for one in tickets))

    def states(self) -> tuple[ComponentState, ...]:
        """Return how every component is, in the order of the enum."""
        return tuple(self.state(part) for part in self._states)

    def mode(self, profile: Profile, temperature: bool) -> Standing:
        """Return the mode this gate can work in now, and why it is not a better one."""
        ill = [part for part in Component if part in needed(profile, temperature) and not self._states[part].well]
        because = tuple(f"{part}:{self._states[part].symptom}" for part in ill)
        if not ill:
            return Standing(Mode.AUTOMATIC, ())
        return Standing(Mode.ASSISTED if self._some_way_in(profile) else Mode.MANUAL, because)

    def _some_way_in(self, profile: Profile) -> bool:
        def well(part: Component) -> bool:
            return self._states[part].well

        credential = well(Component.CARD) or (profile is Profile.FACE and well(Component.VISION))
        return credential and well(Component.BARRIER) and well(Component.LEDGER)

    def _close(self, component: Component, now: float) -> Change | None:
        fault = self._faults.pop(component, None)
        return None if fault is None else _closing(component, fault, now)


def _closing(component: Component, fault: _Fault, now: float) -> Change:
    return Change(
        component=component, symptom=fault.symptom, detail=fault.detail, lasted_s=max(0.0, now - fault.since_mono)
    )
