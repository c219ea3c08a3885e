"""Fold what the parts of the gate report into faults, repairs and the mode the gate works in.

The ladder: *automatic* when all that the profile needs is well; *assisted* when people can still be judged by one
credential and staff do the rest by eye and hand; *manual* when staff register everybody.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sentinel.core.model import Profile

STARTING = "starting"  # before the first report: not well, and no fault until somebody says so


class Component(StrEnum):
    """The parts of a gate whose health decides its mode."""

    CARD = "card"
    THERMAL = "thermal"
    VISION = "vision"  # the camera, the models and the process around them: to the gate they are one eye
    BARRIER = "barrier"
    LEDGER = "ledger"
    ROSTER = "roster"  # who may pass; one that cannot be read leaves the one before in use


class Mode(StrEnum):
    """How the gate works now."""

    AUTOMATIC = "automatic"
    ASSISTED = "assisted"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentState:
    """How one component is. `symptom` is None when it is well."""

    component: Component
    symptom: str | None
    detail: str
    since_mono: float | None  # when it became so; None before the first report

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
    """Remember how each component is. Time comes as an argument."""

    def __init__(self) -> None:
        self._states = {
            part: ComponentState(component=part, symptom=STARTING, detail="", since_mono=None) for part in Component
        }
        self._faults: dict[Component, _Fault] = {}

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

    def state(self, component: Component) -> ComponentState:
        """Return how one component is."""
        return self._states[Component(component)]

    def states(self) -> tuple[ComponentState, ...]:
        """Return how every component is, in the order of the enum."""
        return tuple(self._states.values())

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
        if fault is None:
            return None
        return Change(
            component=component, symptom=fault.symptom, detail=fault.detail, lasted_s=max(0.0, now - fault.since_mono)
        )
