"""Judge what a thermal sensor says before anybody believes it: frozen, impossible, warming up, broken in single pixels.

A value is passed on or withheld. None is smoothed, guessed or taken from its neighbours.
Source: device-protocols 2.1 to 2.5, the failure signs of each sensor, and section 5.
"""

from collections import deque
from dataclasses import replace
from itertools import pairwise
from math import isnan, nan
from statistics import median

from drivers.readings import Impairment, Reading, Sign, Symptom, ThermalReading, Trouble

FIELD_FROZEN_S = 3.0  # 12 pictures of 768 noisy pixels at 4 Hz; two alike by chance do not happen
POINT_FROZEN_S = 4.0  # a point is two figures; four alike in a row at 1 Hz is rare, and costs one refusal
AMBIENT_CELSIUS = (-20.0, 60.0)  # no gate works there; a part with narrower limits gives its own
MOST_UNMEASURED_SHARE = 0.25
UNIFORM_OFF_CELSIUS = 15.0  # a field of one single value this far from the sensor's own is a dead one

WARM_UP_S = 4.0
WARM_UP_CELSIUS = 0.25  # in those 4 s: 3.75 K a minute, the first minutes after power; a door or the sun does a quarter

DEAD_FRAMES = 10  # 2.5 s at 4 Hz: nobody holds a glowing match that still
WELL_FRAMES = 20  # twice as long, so that a pixel stuck at skin warmth is not well again while somebody stands there
DEAD_OFF_CELSIUS = 15.0
CALM_CELSIUS = 5.0  # neighbours within this of each other: no edge of a face, of a cup or of a lamp
JUMP_CELSIUS = DEAD_OFF_CELSIUS - CALM_CELSIUS  # the least step beside such a pixel: only steps are looked at closely
MOST_NAMED = 8  # pixels in one message


class ThermalWatch:
    """Pass good readings on and replace the others by what is wrong. One watch belongs to one sensor."""

    def __init__(self, *, ambient_celsius: tuple[float, float] = AMBIENT_CELSIUS) -> None:
        self._ambient_celsius = ambient_celsius
        self._pixels = PixelWatch()
        self._last: ThermalReading | None = None
        self._same_since = 0.0
        self._ambients: deque[tuple[float, float]] = deque(maxlen=64)  # 8 Hz for 8 s; faster sensors: a shorter look

    def see(self, reading: ThermalReading, now: float) -> list[Reading]:
        """Return the reading, or the trouble in its place, and what there is to say of single pixels.

        The very same values again are only a sign of life: an old picture never counts as one of the next person.
        """
        repeated = self._last is not None and _same(self._last, reading)
        if not repeated:
            self._last, self._same_since = reading, now
        trouble = self._implausible(reading)
        if trouble:
            self._ambients.clear()
            return [Trouble(at_mono=now, symptom=Symptom.IMPLAUSIBLE, detail=trouble)]
        if repeated:
            return [self._repeated(reading, now)]
        news, reading = self._pixels.see(reading, now)
        moved = self._moved(reading.ambient_celsius, now)
        if moved > WARM_UP_CELSIUS:
            detail = f"the sensor's own temperature moved by {moved:.2f} K within {WARM_UP_S:.0f} s"
            return [*news, Trouble(at_mono=now, symptom=Symptom.WARMING_UP, detail=detail)]
        return [*news, reading]

    def _repeated(self, reading: ThermalReading, now: float) -> Reading:
        for_s = now - self._same_since
        if for_s < (POINT_FROZEN_S if reading.is_point else FIELD_FROZEN_S):
            return Sign(at_mono=now, detail="the same again")
        return Trouble(at_mono=now, symptom=Symptom.FROZEN, detail=f"the very same values for {for_s:.1f} s")

    def _implausible(self, reading: ThermalReading) -> str:
        """Return why these values cannot be true, "" when they can."""
        lowest, highest = self._ambient_celsius
        ambient = reading.ambient_celsius
        if not lowest <= ambient < highest:  # NaN too
            return f"sensor at {ambient:.2f} °C, expected {lowest:.0f} to {highest:.0f}"
        celsius = reading.celsius
        if isnan(sum(celsius)):
            unmeasured = sum(map(isnan, celsius))
            if unmeasured > MOST_UNMEASURED_SHARE * len(celsius):
                return f"{unmeasured} of {len(celsius)} pixels not measurable"
        uniform = not reading.is_point and celsius.count(celsius[0]) == len(celsius)
        if uniform and abs(celsius[0] - ambient) > UNIFORM_OFF_CELSIUS:
            return f"every pixel at {celsius[0]:.2f} °C, the sensor at {ambient:.2f} °C"
        return ""

    def _moved(self, ambient: float, now: float) -> float:
        """Return the widest change in the window: against its oldest value alone, up and down again would be none."""
        self._ambients.append((now, ambient))
        while now - self._ambients[0][0] > WARM_UP_S:
            self._ambients.popleft()
        seen = [celsius for _, celsius in self._ambients]
        return max(seen) - min(seen)


def _same(one: ThermalReading, other: ThermalReading) -> bool:
    """Tell whether the values are the very same. NaN compares by identity inside a tuple: all codecs use `math.nan`."""
    return one.celsius == other.celsius and one.ambient_celsius == other.ambient_celsius


class PixelWatch:
    """Find broken pixels and blank them: such a pixel becomes NaN, and is never filled from its neighbours.

    Broken is a pixel without a value, or far from all its neighbours while these agree. Two hot pixels side by side
    are a thing in the scene: neither has neighbours that agree.
    """

    def __init__(self) -> None:
        self._odd_frames: dict[int, int] = {}  # pixel → in how many frames in a row it was odd; not yet dead
        self._well_frames: dict[int, int] = {}  # dead pixel → in how many frames in a row it was well
        self._told = False

    def see(self, reading: ThermalReading, now: float) -> tuple[list[Reading], ThermalReading]:
        """Return the news of broken pixels, and the reading without their values."""
        if reading.is_point:
            return [], reading
        self._count(reading)
        news = self._news(reading.width, now)
        if not self._well_frames:
            return news, reading
        celsius = list(reading.celsius)
        for index in self._well_frames:
            celsius[index] = nan
        return news, replace(reading, celsius=tuple(celsius))

    def _count(self, reading: ThermalReading) -> None:
        watched = {*self._odd_frames, *self._well_frames}
        for index in watched.union(_steps(reading)):
            calm, odd = _look(reading, index)
            if not calm:
                continue  # an edge lies here: this frame says nothing about the pixel
            if index in self._well_frames:
                self._well_frames[index] = 0 if odd else self._well_frames[index] + 1
                if self._well_frames[index] >= WELL_FRAMES:
                    del self._well_frames[index]
            elif not odd:
                self._odd_frames.pop(index, None)
            else:
                self._odd_frames[index] = self._odd_frames.get(index, 0) + 1
                if self._odd_frames[index] >= DEAD_FRAMES:
                    del self._odd_frames[index]
                    self._well_frames[index] = 0

    def _news(self, width: int, now: float) -> list[Reading]:
        if bool(self._well_frames) == self._told:
            return []
        self._told = not self._told
        named = ", ".join(f"{index % width}/{index // width}" for index in sorted(self._well_frames)[:MOST_NAMED])
        detail = f"{len(self._well_frames)} at column/row {named}" if named else ""
        return [Impairment(at_mono=now, symptom=Symptom.DEAD_PIXELS, detail=detail, over=not self._told)]


def _steps(reading: ThermalReading) -> list[int]:
    """Return the pixels left and right of each step from column to column; a broken pixel is always beside one."""
    celsius = reading.celsius
    found = []
    for index, step in enumerate([left - right for left, right in pairwise(celsius)]):
        if not -JUMP_CELSIUS <= step <= JUMP_CELSIUS:  # NaN too
            found += [index, index + 1]
    return found


def _look(reading: ThermalReading, index: int) -> tuple[bool, bool]:
    """Return whether one can tell anything of this pixel here, and whether it is odd."""
    value = reading.celsius[index]
    if isnan(value):
        return True, True
    beside = [other for other in _beside(reading, index) if not isnan(other)]
    calm = len(beside) >= 3 and max(beside) - min(beside) <= CALM_CELSIUS  # three: a corner has no more
    return calm, calm and abs(value - median(beside)) > DEAD_OFF_CELSIUS


def _beside(reading: ThermalReading, index: int) -> list[float]:
    """Return the up to eight values around a pixel."""
    width, celsius = reading.width, reading.celsius
    column, row = index % width, index // width
    left, right = max(0, column - 1), min(width, column + 2)
    found: list[float] = []
    for start in range(max(0, row - 1) * width, min(reading.height, row + 2) * width, width):
        found += celsius[start + left : start + right]
    own = (row - max(0, row - 1)) * (right - left) + column - left
    del found[own]
    return found
