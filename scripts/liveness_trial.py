"""Let simulated people and attackers come before the real classes of the gate, and count who gets through.

Shared by scripts/bench/liveness and the tests. What is simulated ends at the devices: a thermal field as bytes on the
wire, pictures of the cameras. From there on everything is the product's: dialect, senses, thermometer, heat, movement,
infrared pair, fuser, policy. Time is counted, not waited for.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from drivers.codecs.thermal_array import GyMcu90640Dialect
from drivers.readings import Frame, ThermalReading
from drivers.sim.attacks import Attack
from drivers.sim.scene import Noise, Staged
from drivers.sim.thermal_array import SimThermalArray
from recognition.detect import Detector
from recognition.readings import FaceReading, NoFace
from sentinel.core.climate import Climate
from sentinel.core.fusion import Fuser
from sentinel.core.liveness import Rule, Verdict, camera_findings
from sentinel.core.model import Outcome, Person, Policy, Profile
from sentinel.core.policy import decide
from sentinel.core.thermometry import Compensation, Limits, View
from sentinel.lifewatch import LifeWatch
from sentinel.senses import Senses
from sentinel.thermometer import Thermometer

CAMERA_S, THERMAL_S = 0.2, 0.25
AMBIENT_CELSIUS, SKIN_CELSIUS = (15.0, 30.0), (33.0, 37.2)
FIELD_PX = (32, 24)
OFF_PX = 1.5  # so far may the face be from where the calibrated view has it, in pixels of the thermal field

Look = Callable[[Any, float], FaceReading | NoFace]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What is fitted at the gate, and what it asks."""

    rule: Rule
    thermal: bool = True
    infrared: bool = False
    view: bool = True  # whether the thermal view is calibrated
    pictures: bool = True  # whether they are rendered; heat alone needs to know only where the face is
    window_s: float = 6.0  # the shipped [fusion] window_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """What became of one presentation."""

    attack: Attack | None
    opened: bool
    reason: str
    verdict: Verdict
    layer: str
    why: str
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A photograph, how it is looked at, and where the face is in it: shares of the 640×480 scene."""

    picture: Any
    look: Look
    box: tuple[float, float, float, float]
    person: Person


def present(subject: Subject, attack: Attack | None, kit: Kit, detector: Detector, seed: int) -> Outcomes:
    """Return what the gate decides when this person, or this attacker, stands before it."""
    chance = random.Random(seed)
    senses = Senses(thermometer=_thermometer(kit))
    fuser = Fuser(Profile.FACE, False, window_s=kit.window_s, repeat_s=5.0, liveness=kit.rule)
    scenes = _scenes(subject, attack, seed, infrared=False) if kit.pictures else lambda _at_s: None
    infrared = _scenes(subject, attack, seed, infrared=True) if kit.infrared else scenes
    newest: list[Frame] = []
    watch = LifeWatch(detector, infrared=lambda: newest[-1] if newest else None, on=kit.pictures)
    field = _field(subject, attack, chance)
    for at_s, device in _events(kit):
        if device == "thermal":
            fuser.see_life(senses.heat(_seen(field, at_s), at_s))
        elif device == "infrared":
            newest[:] = [Frame(at_mono=at_s, pixels=infrared(at_s))]
        else:
            frame = Frame(at_mono=at_s, pixels=scenes(at_s))
            found = subject.look(frame.pixels, at_s)
            if isinstance(found, FaceReading):
                senses.see_face(found)
                fuser.see_face(found, subject.person if found.identified else None, at_s)
            signs = watch.see(frame, found if isinstance(found, FaceReading) else None)
            fuser.see_life(camera_findings(signs) if signs else [])
        attempt = fuser.due(at_s)
        if attempt is not None:
            break
    else:
        return Outcomes(
            attack=attack, opened=False, reason="no-attempt", verdict=Verdict.NOT_MEASURED, layer="", why="",
            waited_s=at_s,
        )  # fmt: skip
    policy = Policy(profile=Profile.FACE, temperature_limit_celsius=None)
    decision = decide(attempt, policy, today=date(2026, 11, 22), clock_trusted=True)
    life = attempt.liveness
    return Outcomes(
        attack=attack,
        opened=decision.outcome is Outcome.OPEN,
        reason=decision.reasons[0],
        verdict=life.verdict if life else Verdict.NOT_MEASURED,
        layer=(life.layer or "") if life else "",
        why=(life.why or "") if life else "",
        waited_s=at_s,
    )


def _thermometer(kit: Kit) -> Thermometer:
    return Thermometer(
        limits=Limits(ambient_min_celsius=15.0, ambient_max_celsius=35.0),
        compensation=Compensation(),
        climate=Climate(warm_up_s=0.0),
        view=View(x=0.0, y=0.0, width=1.0, height=1.0) if kit.view else None,
    )


def _scenes(subject: Subject, attack: Attack | None, seed: int, *, infrared: bool) -> Callable[[float], Any]:
    staged, noise = Staged(subject.picture, attack=attack, seed=seed, infrared=infrared), Noise(seed=seed)
    return lambda at_s: noise.over(staged.scene(at_s))


def _field(subject: Subject, attack: Attack | None, chance: random.Random) -> SimThermalArray:
    module = SimThermalArray(ambient_celsius=chance.uniform(*AMBIENT_CELSIUS), seed=chance.randrange(1 << 30))
    x, y, width, height = subject.box
    centre = [
        (low + size / 2) * pixels + chance.uniform(-OFF_PX, OFF_PX)
        for low, size, pixels in zip((x, y), (width, height), FIELD_PX, strict=True)
    ]
    module.show(chance.uniform(*SKIN_CELSIUS), centre=(centre[0], centre[1]), attack=attack)
    return module


def _seen(module: SimThermalArray, at_s: float) -> ThermalReading:
    [reading] = GyMcu90640Dialect().feed(module.frame(), at_s)
    assert isinstance(reading, ThermalReading)
    return reading


def _events(kit: Kit) -> Iterator[tuple[float, str]]:
    """Yield when each device speaks, in order, as long as an attempt may last."""
    times = [(look * CAMERA_S, "camera") for look in range(int(2 * kit.window_s / CAMERA_S))]
    if kit.thermal:
        times += [(0.13 + look * THERMAL_S, "thermal") for look in range(int(2 * kit.window_s / THERMAL_S))]
    if kit.infrared:
        times += [(look * 0.5, "infrared") for look in range(int(4 * kit.window_s))]
    yield from sorted(times, key=lambda event: (event[0], event[1] == "camera"))


# -- in the terms of ISO/IEC 30107-3 ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of errors with its exact 95 % interval. Source: Clopper and Pearson 1934."""

    errors: int
    of: int

    @property
    def share(self) -> float:
        """The errors found among all."""
        return self.errors / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """What the true share lies between, with 95 % confidence."""
        low = _where(lambda p: 1 - _below(self.errors - 1, self.of, p), 0.025) if self.errors else 0.0
        high = _where(lambda p: 1 - _below(self.errors, self.of, p), 0.975) if self.errors < self.of else 1.0
        return low, high

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.share:.2f} % [{100 * low:.2f}, {100 * high:.2f}]"


def _below(most: int, of: int, share: float) -> float:
    """Return the chance of at most so many errors."""
    if share <= 0 or share >= 1:
        return 1.0 if share <= 0 or most >= of else 0.0
    logs = (
        math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * math.log(share)
        + (of - k) * math.log1p(-share)
        for k in range(most + 1)
    )  # fmt: skip
    return min(1.0, sum(math.exp(log) for log in logs))


def _where(rises: Callable[[float], float], level: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < level else (low, middle)
    return (low + high) / 2


def apcer(outcomes: Sequence[Outcomes], attack: Attack) -> Rate:
    """Return the share of presentations of one attack kind that were taken for a living face."""
    own = [one for one in outcomes if one.attack is attack]
    return Rate(errors=sum(one.opened for one in own), of=len(own))


def bpcer(outcomes: Sequence[Outcomes]) -> Rate:
    """Return the share of living people who were not let through by their face."""
    own = [one for one in outcomes if one.attack is None]
    return Rate(errors=sum(not one.opened for one in own), of=len(own))
