"""Notice a camera whose pictures cannot be used, or that looks elsewhere than it did; say so with what was measured.

*Dark, overexposed, frozen* need the pictures only. *Blurred* is a picture without an edge anywhere; *blocked* is one in
which nearly everything is flat that has edges when nobody is there; *moved* is the known place in another part of the
picture. The place is learnt from pictures without people, see scenery.py. People hide the place and bring edges of
their own: they are neither mist nor a hand before the lens.

Nothing is said before it has lasted a moment, nor over before: a hand that passes is no ticket.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from drivers.mask import Mask
from drivers.readings import Frame, Impairment, Symptom
from drivers.scenery import Grid, Look, Reference, doubtful, look, noise_between, sharpness_of, strengths

FROZEN_S = 3.0  # sensors are noisy: 30 equal pictures at 10 per second do not happen
WATCH_STEP = 8  # every eighth pixel of every eighth row: 4800 of a 640x480 picture
DARK_SHARE = 0.99
BURNT_SHARE = 0.80  # a face before the evening sky leaves less than that
EASIER = 0.95  # of a share: what was over its limit must fall this far below it, so that a verdict does not flap
# Sharpness is in per cent of the brightness. Staged scenes: an empty wall with a door and a notice 3.6, ten portraits
# from afar to face-filling 1.2 to 16; the same wall through a Gaussian of 1 % of the picture's width 0.7, of 1.5 % 0.3.
LEAST_SHARPNESS = 0.5
SHARPNESS_KEPT = 0.3  # of what the empty place has: mist takes more
ASKED_SHARPNESS = 1.0  # however sharp the place is, more is asked of no picture: a plain coat may hide it
CLEARLY = 1.3  # so much above the limit is sharp again
FLAT = 0.5  # a block with weaker edges is flat
STRUCTURED = 1.0  # and with stronger ones it has something that can be lost
LEAST_BLOCKS = 3  # a place with fewer such blocks cannot show that they are hidden
BLOCKED_SHARE = 0.75  # of all blocks flat, and of the structured ones lost: a face-filling portrait has 0.56 at most
FORMS_LEFT = 0.5  # likeness of large forms: mist leaves 0.9, a hand 0.1
LASTS_S: Mapping[Symptom, float] = MappingProxyType(
    {Symptom.DARK: 1.0, Symptom.OVEREXPOSED: 1.0, Symptom.BLURRED: 2.0, Symptom.BLOCKED: 2.0}
)
OVER_S = 1.0
AT_ONCE = frozenset({Symptom.DARK, Symptom.OVEREXPOSED})  # when the very first picture says so: nothing better was seen
NOISE_RISE = 1.2  # a picture; measured noise may rise because somebody walks by, real noise rises with the dusk
PLACE_S = 0.5  # how often the place is looked for: it is the dearest of the measures
ALONE_S = 1.0  # so long after the last face the picture counts as empty
MOVED_SHARE = 0.03  # of the width: 20 of 640 pixels; a mount that trembles stays below 1 %
HOME_SHARE = 0.015
CLEAR_AWAY, CLEAR_HOME = 0.25, 0.12  # of a correlation's peak: other scenes stay below 0.17, a shifted one is above 0.4
MOVED_LASTS_S = 2.0
ELSEWHERE_LIKENESS = 0.2  # of the outlines; the wall behind a person who hides half of it keeps 0.3
ELSEWHERE_S = 30.0  # somebody who stands with his back to the camera goes on after a while


class PictureWatch:
    """Judge one camera's pictures, one after the other. Not for several threads at once.

    `mask` is what the pictures were masked with: only what it leaves is judged. The empty place is learnt in
    the first seconds in which nobody is there.
    """

    def __init__(self, frozen_s: float = FROZEN_S, *, mask: Mask | None = None) -> None:
        self.symptom: Symptom | None = None
        self.detail = ""  # what was measured, for the symptom that was said last
        self._frozen_s = frozen_s
        self._mask = mask or Mask()
        self._sample: Any = None
        self._since_mono = 0.0  # when the picture changed last
        self._before: Look | None = None
        self._noise: float | None = None
        self._wanted: tuple[Symptom | None, float] | None = None  # what the pictures say, and since when
        self._place = _Place(Reference())

    def see(self, frame: Frame, somebody: bool = False, recognisable: bool = False) -> Symptom | None:
        """Return what is wrong as of this picture, or None.

        `somebody`: a face was found in it; `recognisable`: one that is fit to be compared, so nothing blurs or blocks.
        """
        pixels = frame.pixels[self._mask.frame(*frame.pixels.shape[:2])]
        if self._same(pixels, frame.at_mono):
            stood_s = frame.at_mono - self._since_mono
            if stood_s >= self._frozen_s:
                self.symptom = Symptom.FROZEN
                self.detail = f"the same picture for {stood_s:.1f} s, at most {self._frozen_s:.1f} s"
            return self.symptom
        if self.symptom is Symptom.FROZEN:  # a new picture is all the proof there can be
            self.symptom = None
        used = self._used(frame.pixels)
        seen, grid = look(pixels, used)
        self._measure_noise(seen, grid)
        symptom, detail = self._judge(seen, grid, somebody=somebody, recognisable=recognisable)
        self._settle(symptom, detail, frame.at_mono)
        calm = symptom is None and self.symptom is None
        self._place.see(seen, grid, frame.at_mono, empty=calm and not somebody)
        return self.symptom

    def news(self) -> list[Impairment]:
        """Return what began or ended since this was asked last: MOVED. It is told once at the start, either way."""
        told, self._place.told = self._place.told, []
        return told

    def resume(self) -> None:
        """Go on with a camera that was opened again: the place is the same, the last picture is not to be compared."""
        self._sample = self._before = None

    def _same(self, pixels: Any, now: float) -> bool:
        sample = pixels[::WATCH_STEP, ::WATCH_STEP]
        if self._sample is not None and np.array_equal(sample, self._sample):
            return True
        if self._sample is not None and sample.shape != self._sample.shape:
            self._before = None
        self._sample, self._since_mono = sample.copy(), now
        return False

    def _used(self, pixels: Any) -> Any | None:
        """Return which pixels within the mask's frame are used; None when all are, as with one rectangle."""
        if len(self._mask.rectangles) < 2:
            return None
        height, width = pixels.shape[:2]
        return self._mask.used(height, width)[self._mask.frame(height, width)]

    def _measure_noise(self, seen: Look, grid: Grid) -> None:
        if self._before is not None:
            noise = noise_between(seen, self._before, grid)
            self._noise = noise if self._noise is None else min(noise, max(self._noise, 1e-3) * NOISE_RISE)
        self._before = seen

    def _judge(self, seen: Look, grid: Grid, *, somebody: bool, recognisable: bool) -> tuple[Symptom | None, str]:
        dark = DARK_SHARE * (EASIER if self.symptom is Symptom.DARK else 1.0)
        if seen.dark_share >= dark:
            return Symptom.DARK, f"{seen.dark_share:.1%} of the picture is dark, at most {DARK_SHARE:.0%}"
        burnt = BURNT_SHARE * (EASIER if self.symptom is Symptom.OVEREXPOSED else 1.0)
        if seen.burnt_share >= burnt:
            return Symptom.OVEREXPOSED, f"{seen.burnt_share:.0%} of the picture is white, at most {BURNT_SHARE:.0%}"
        if recognisable or self._noise is None:
            return None, ""
        return self._without_edges(seen, grid, self._noise, somebody)

    def _without_edges(self, seen: Look, grid: Grid, noise: float, somebody: bool) -> tuple[Symptom | None, str]:
        edges = strengths(seen.edges, grid, noise=noise, level=seen.level)
        sharpness = sharpness_of(edges)
        doubt = doubtful(noise, seen.level)
        known = self._place.reference if self._place.reference.fits(seen) else None
        least = LEAST_SHARPNESS
        if known is not None:
            kept = SHARPNESS_KEPT * sharpness_of(known.strengths(grid))
            least = min(max(LEAST_SHARPNESS, kept), ASKED_SHARPNESS)
        if self.symptom in (Symptom.BLURRED, Symptom.BLOCKED):
            least *= CLEARLY
        if sharpness < least and doubt < least:  # in noise that could hide an edge nothing is said
            measured = f"sharpness {sharpness:.2f}, least {least:.2f}"
            if known is None or somebody or known.likeness(seen) >= FORMS_LEFT:
                return Symptom.BLURRED, measured
            return Symptom.BLOCKED, f"{measured}, and nothing of the place is left"
        if known is None or somebody:
            return None, ""
        return self._hidden(seen, edges, known.strengths(grid), max(FLAT, doubt), known)

    def _hidden(
        self, seen: Look, edges: Any, empty: Any, flat: float, known: Reference
    ) -> tuple[Symptom | None, str]:
        """Judge whether most of the picture is one thing without structure."""
        structured = empty >= max(STRUCTURED, 2 * flat)
        if np.count_nonzero(structured) < LEAST_BLOCKS or known.likeness(seen) >= FORMS_LEFT:
            return None, ""
        share = min(float(np.mean(edges < flat)), float(np.mean(edges[structured] < flat)))
        if share < BLOCKED_SHARE * (EASIER if self.symptom is Symptom.BLOCKED else 1.0):
            return None, ""
        return Symptom.BLOCKED, f"{share:.0%} of the picture has lost its structure, at most {BLOCKED_SHARE:.0%}"

    def _settle(self, symptom: Symptom | None, detail: str, now: float) -> None:
        """Believe what the pictures say once they have said it for long enough."""
        first = self._wanted is None
        if self._wanted is None or self._wanted[0] is not symptom:
            self._wanted = (symptom, now)
        lasts_s = OVER_S if symptom is None else LASTS_S[symptom]
        if symptom is self.symptom or now - self._wanted[1] >= lasts_s or (first and symptom in AT_ONCE):
            self.symptom = symptom
            self.detail = detail


class _Place:
    """Learn the empty place, and notice when it lies elsewhere in the picture."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.told: list[Impairment] = []
        self._moved: bool | None = None  # None until it was told
        self._crowded_mono: float | None = None
        self._looked_mono: float | None = None
        self._wanted: tuple[bool | None, float] | None = None

    def see(self, seen: Look, grid: Grid, now: float, *, empty: bool) -> None:
        """Take a picture; only those without people and without a fault say anything about the place."""
        if not empty:
            self._crowded_mono, self._wanted, self._looked_mono = now, None, None
            return
        if self._crowded_mono is not None and now - self._crowded_mono < ALONE_S:
            return
        if self._looked_mono is None:
            self._looked_mono = now
        passed_s = now - self._looked_mono
        if passed_s < PLACE_S:
            return
        self._looked_mono = now
        passed_s = min(passed_s, 2 * PLACE_S)  # a gap in the pictures is nothing that was seen
        if not self.reference.fits(seen):
            self.reference.learn(seen, passed_s)
            return
        away, lasts_s, detail = self._compare(seen, grid)
        if self._wanted is None or self._wanted[0] is not away:
            self._wanted = (away, now)
        if away is False:
            self.reference.learn(seen, passed_s)
        if now - self._wanted[1] >= lasts_s and away is not None and away is not self._moved:
            self._moved = away
            self.told.append(Impairment(at_mono=now, symptom=Symptom.MOVED, detail=detail, over=not away))

    def _compare(self, seen: Look, grid: Grid) -> tuple[bool | None, float, str]:
        """Return whether the place is elsewhere, None when it cannot be told; and how long that must last."""
        right, down, clear = self.reference.shift(seen, grid)
        distance = float(np.hypot(right, down))
        limit = HOME_SHARE if self._moved else MOVED_SHARE
        if clear >= CLEAR_AWAY and distance > limit:
            detail = (
                f"the place lies {right:+.1%} to the right and {down:+.1%} down of where it was, "
                f"in shares of the picture's width, at most {MOVED_SHARE:.0%}"
            )
            return True, MOVED_LASTS_S, detail
        if clear >= CLEAR_HOME and distance <= limit:
            return False, MOVED_LASTS_S, ""
        likeness = self.reference.outline_likeness(seen, grid)
        if likeness < ELSEWHERE_LIKENESS:
            detail = f"nothing of the place is where it was: likeness {likeness:.2f}, least {ELSEWHERE_LIKENESS}"
            return True, ELSEWHERE_S, detail
        return None, MOVED_LASTS_S, ""
