"""Weigh what several layers say about whether a living face stands there.

Each layer gives a `Finding`: live, not live, unsure, or not measured, with one figure and a word that says why. One
layer that says *not live* is enough; *not measured* never counts as a pass. Where the site requires it, every layer it
names must say *live*, else the face opens nothing and the person is asked for another credential: a card, or staff.
Nobody is locked out by it.

Source: ISO/IEC 30107-1 for several mechanisms side by side, 30107-3 for how they are measured
(`scripts/bench/liveness`).
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from recognition.readings import LifeSigns

_KEPT = 64  # of each layer; eight seconds of an 8 Hz sensor; the oldest is dropped
SURE_S = 2.0  # of nothing but "not live" are believed ahead of the window: people come nearer, and turn


class Layer(StrEnum):
    """What can tell a face from its picture. In this order the first that speaks against it is named."""

    HEAT = "heat"
    INFRARED = "infrared"
    CLASSIFIER = "classifier"
    MOTION = "motion"


class Verdict(StrEnum):
    """What a layer, or all of them, say."""

    LIVE = "live"
    NOT_LIVE = "not-live"
    UNSURE = "unsure"
    NOT_MEASURED = "not-measured"


class Mode(StrEnum):
    """What the site makes of it."""

    OFF = "off"
    RECORD = "record"  # into the entry, and nothing else
    REQUIRE = "require"  # a face that is not shown to live opens nothing


class Why(StrEnum):
    """The word beside a verdict. Each has words for staff in `sentinel/i18n/`."""

    SHAPED = "shaped"  # as warm as skin, warmer than what is around it, warmest in the middle
    WHOLE_FIELD = "whole-field"  # the same, somewhere in the sensor's field: the weak form, without a calibrated view
    POINT = "point"  # one warm point: the weakest form
    COLD = "cold"
    COOL = "cool"  # warmer than the room and colder than skin: somebody in from the cold, or a warmed thing
    FLAT = "flat"  # as warm at its edge as in its middle: a screen, a heated plate
    COVERED = "covered"  # colder in its middle than around: something is worn before the face
    TOO_HOT = "too-hot"
    WARM_BACKGROUND = "warm-background"  # the surroundings are as warm as skin: heat tells nothing today
    OUTSIDE = "outside"  # the face is not where the sensor looks
    SENSOR = "sensor"  # the layer's sensor gives nothing that may be used
    TURNS = "turns"  # what moves has depth
    PLANE = "plane"  # it turned, and stayed as flat as paper
    MOTIONLESS = "motionless"  # nobody stands so still
    REPEATS = "repeats"  # the same movement again, to the pixel
    TOO_LITTLE = "too-little"  # not enough was seen to tell
    SEEN = "seen"  # the infrared camera sees the same face in the same place
    NOT_SEEN = "not-seen"  # it sees none there: a screen is black to it
    PALE = "pale"  # it sees one without contrast: ink is transparent to it
    UNLIT = "unlit"
    ABOVE = "above"  # the classifier's figure is above, between or below its limits
    BETWEEN = "between"
    BELOW = "below"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one layer says of one moment. `figure` is the one number that it stands on, in the layer's own unit."""

    at_mono: float
    layer: Layer
    verdict: Verdict
    why: Why
    figure: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the site asks for. `layers` are those that decide under `REQUIRE`; the others are recorded."""

    mode: Mode
    layers: tuple[Layer, ...] = ()


UNASKED = Rule(mode=Mode.OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """What all layers together say of one attempt, and which of them decided."""

    verdict: Verdict
    required: bool
    layer: Layer | None = None
    why: Why | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def opens(self) -> bool:
        """Whether a face may open, as far as this goes."""
        return not self.required or self.verdict is Verdict.LIVE


def weigh(findings: Iterable[Finding], rule: Rule) -> Liveness:
    """Return what these findings, at most one of each layer, mean under the site's rule."""
    found = {finding.layer: finding for finding in findings}
    required = rule.mode is Mode.REQUIRE
    asked = [layer for layer in Layer if (layer in rule.layers if required else layer in found)]
    for verdict in (Verdict.NOT_LIVE, *((Verdict.UNSURE, Verdict.NOT_MEASURED) if required else ())):
        for layer in asked:
            if (found[layer].verdict if layer in found else Verdict.NOT_MEASURED) is verdict:
                return _decided(layer, found, required)
    for verdict in (Verdict.LIVE, Verdict.UNSURE):
        for layer in asked:
            if layer in found and found[layer].verdict is verdict:
                return _decided(layer, found, required)
    return Liveness(verdict=Verdict.NOT_MEASURED, required=required, findings=_in_order(found))


def _decided(layer: Layer, found: dict[Layer, Finding], required: bool) -> Liveness:
    finding = found.get(layer)
    verdict = finding.verdict if finding else Verdict.NOT_MEASURED
    return Liveness(
        # A required layer that did not measure has not said "live": a card or staff, as when it is unsure.
        verdict=Verdict.UNSURE if verdict is Verdict.NOT_MEASURED and required else verdict,
        required=required,
        layer=layer,
        why=finding.why if finding else Why.SENSOR,
        findings=_in_order(found),
    )


def _in_order(found: dict[Layer, Finding]) -> tuple[Finding, ...]:
    return tuple(found[layer] for layer in Layer if layer in found)


class Signs:
    """Keep the findings of the last seconds, and say what they mean for the person of a stretch of time."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._kept: dict[Layer, deque[Finding]] = {layer: deque(maxlen=_KEPT) for layer in Layer}

    def take(self, findings: Iterable[Finding]) -> None:
        """Take what layers say."""
        for finding in findings if self._rule.mode is not Mode.OFF else ():
            self._kept[finding.layer].append(finding)

    def settled(self, since_mono: float, until_mono: float) -> bool:
        """Whether waiting longer changes nothing: all that must say "live" do, or one is sure of the opposite."""
        if self._rule.mode is not Mode.REQUIRE:
            return True
        own = {layer: self._own(layer, since_mono, until_mono) for layer in self._rule.layers}
        if any(_sure_of_an_attack(findings) for findings in own.values()):
            return True
        return all(findings and findings[-1].verdict is Verdict.LIVE for findings in own.values())

    def weighed(self, since_mono: float, until_mono: float) -> Liveness | None:
        """Return what the newest finding of each layer means, None where the site has switched liveness off."""
        if self._rule.mode is Mode.OFF:
            return None
        newest = [own[-1] for layer in Layer if (own := self._own(layer, since_mono, until_mono))]
        return weigh(newest, self._rule)

    def _own(self, layer: Layer, since_mono: float, until_mono: float) -> list[Finding]:
        return [one for one in self._kept[layer] if since_mono <= one.at_mono < until_mono]


def _sure_of_an_attack(findings: Sequence[Finding]) -> bool:
    since = None
    for one in findings:
        since = None if one.verdict is not Verdict.NOT_LIVE else one.at_mono if since is None else since
    return since is not None and findings[-1].at_mono - since >= SURE_S


# -- what the camera's figures mean -----------------------------------------------------------------------------------

WATCHED_S = 1.5  # a person sways several millimetres in that time
STILL = 0.0008  # travel in face widths: a tenth of a pixel on a face of 120, the error of following a point
TURNED = 0.003  # change of shape in face widths: a print tilted in a hand shows twice this
DEEP = 1.4  # times the error of following points: what no flat picture explains
FLAT = 1.0
REPEATED = 0.8  # share of the last looks that are equal to earlier ones


def _said(at_mono: float, layer: Layer, digits: int, verdict: Verdict, why: Why, figure: float) -> Finding:
    return Finding(at_mono=at_mono, layer=layer, verdict=verdict, why=why, figure=round(figure, digits))


def motion_finding(signs: LifeSigns) -> Finding | None:
    """Return what the movement of the face says, None when nothing was measured."""
    motion = signs.motion
    if motion is None:
        return None
    said = partial(_said, signs.at_mono, Layer.MOTION, 4)
    if motion.watched_s < WATCHED_S:
        return said(Verdict.UNSURE, Why.TOO_LITTLE, motion.watched_s)
    if motion.travel < STILL:
        return said(Verdict.NOT_LIVE, Why.MOTIONLESS, motion.travel)
    if motion.repeats >= REPEATED:
        return said(Verdict.NOT_LIVE, Why.REPEATS, motion.repeats)
    if motion.depth >= DEEP:
        return said(Verdict.LIVE, Why.TURNS, motion.depth)
    if motion.turning >= TURNED and motion.depth < FLAT:
        return said(Verdict.NOT_LIVE, Why.PLANE, motion.depth)
    return said(Verdict.UNSURE, Why.TOO_LITTLE, motion.depth)


LEAST_OVERLAP = 0.3  # of the two boxes, as for a face between two frames
LEAST_CONTRAST = 18.0  # grey levels over the face; skin, eyes and hair under 850 nm have 30 and more
LEAST_LIT = 12.0  # grey levels: below, the lamp is off and black means nothing


def infrared_finding(signs: LifeSigns) -> Finding | None:
    """Return what the infrared camera says of the same place, None when there is none."""
    pair = signs.infrared
    if pair is None:
        return None
    said = partial(_said, signs.at_mono, Layer.INFRARED, 2)
    if pair.lit_level < LEAST_LIT:
        return said(Verdict.NOT_MEASURED, Why.UNLIT, pair.lit_level)
    if pair.contrast < LEAST_CONTRAST:
        return said(Verdict.NOT_LIVE, Why.PALE if pair.level >= LEAST_LIT else Why.NOT_SEEN, pair.contrast)
    if pair.overlap < LEAST_OVERLAP:
        return said(Verdict.NOT_LIVE, Why.NOT_SEEN, pair.overlap)
    return said(Verdict.LIVE, Why.SEEN, pair.overlap)


def classifier_finding(signs: LifeSigns) -> Finding | None:
    """Return what the classifier says, None when none is installed."""
    judged = signs.classified
    if judged is None:
        return None
    verdict, why = Verdict.UNSURE, Why.BETWEEN
    if judged.liveness >= judged.live_from:
        verdict, why = Verdict.LIVE, Why.ABOVE
    elif judged.liveness < judged.attack_below:
        verdict, why = Verdict.NOT_LIVE, Why.BELOW
    return Finding(
        at_mono=signs.at_mono, layer=Layer.CLASSIFIER, verdict=verdict, why=why, figure=round(judged.liveness, 4)
    )


def camera_findings(signs: LifeSigns) -> list[Finding]:
    """Return what the layers of the vision child say."""
    told = (motion_finding(signs), infrared_finding(signs), classifier_finding(signs))
    return [finding for finding in told if finding is not None]
