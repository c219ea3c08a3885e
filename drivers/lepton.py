"""Turn the 16-bit pictures of a FLIR Lepton behind a PureThermal board into thermal readings.

Lepton 3.x sends 160 × 120, 2.x 80 × 60, nine times a second; rows of telemetry may follow and are cut off. With TLinear
in high gain a value is a hundredth of a kelvin: 36.00 °C = 30915, bytes C3 78. The larger picture is reduced to 80 × 60
by the mean of 2 × 2 pixels: a face at half a metre still covers 25 across, and a mean is steadier than a pixel.

The camera does not tell the room's temperature, its own housing is warmer. The lower fifth of the scene stands for it:
walls have the room's temperature, and nobody fills four fifths of the picture.
"""

import math
from typing import Any

import numpy as np

from drivers.readings import Frame, Symptom, ThermalReading, Trouble

SHAPES = ((160, 120), (80, 60))  # width, height
TELEMETRY_ROWS = 4  # 3.x sends two, 2.x three
MOST_WIDTH = 80
KELVIN_AT_ZERO = 27315  # in hundredths
LEAST_TLINEAR = 16384  # 14 bits: what the sensor counts without TLinear; with it, this would be -109 °C
LEAST_CELSIUS, MOST_CELSIUS = -40.0, 150.0  # the sensor's range in high gain with a little room
LOST_SHARE = 0.5  # of the pixels outside that range: not a scene
AMBIENT_QUANTILE = 0.2
FROZEN_S = 3.0  # the shutter holds the picture for up to 1 s, every few minutes


class LeptonWatch:
    """Judge a Lepton's pictures, one after the other."""

    def __init__(self, frozen_s: float = FROZEN_S) -> None:
        self._frozen_s = frozen_s
        self._last: Any = None
        self._since_mono = 0.0

    def resume(self) -> None:
        """Go on with a camera that was opened again: the last picture is not to be compared."""
        self._last = None

    def see(self, frame: Frame) -> ThermalReading | Trouble | None:
        """Return what was measured, what is wrong, or None while the shutter holds the picture."""
        raw = counts(frame.pixels)
        if raw is None:
            shape = "×".join(str(size) for size in frame.pixels.shape[1::-1])
            return _trouble(
                frame, Symptom.MISCONFIGURED,
                f"pictures of {frame.pixels.dtype} {shape} hold no temperatures; write ?format=y16 at the source and "
                "switch the camera from AGC to TLinear",
            )  # fmt: skip
        if self._last is None or not np.array_equal(raw, self._last):
            self._last, self._since_mono = raw.copy(), frame.at_mono
            return _judge(raw, frame)
        stood_s = frame.at_mono - self._since_mono
        if not raw.any():
            return _judge(raw, frame)
        if stood_s <= self._frozen_s:
            return None
        detail = f"the same picture for {stood_s:.1f} s, at most {self._frozen_s:.1f} s"
        return _trouble(frame, Symptom.FROZEN, detail)


def counts(pixels: Any) -> Any | None:
    """Return the raw values without telemetry, or None for pictures that are not a Lepton's.

    Shape: uint16[120, 160] or uint16[60, 80]. Some OpenCV builds deliver the bytes as they come: uint8, twice as many.
    """
    if pixels.dtype == np.uint8:
        flat = np.ascontiguousarray(pixels).reshape(-1)
        values = flat.view("<u2") if flat.size % 2 == 0 else flat[:0]
    elif pixels.dtype == np.uint16:
        values = pixels.reshape(-1)
    else:
        return None
    for width, height in SHAPES:
        if values.size % width == 0 and height <= values.size // width <= height + TELEMETRY_ROWS:
            return values[: width * height].reshape(height, width).astype(np.uint16)
    return None


def _judge(raw: Any, frame: Frame) -> ThermalReading | Trouble:
    if not raw.any():
        detail = "every pixel is zero, as after the board was found anew; unplug the camera and plug it in again"
        return _trouble(frame, Symptom.IMPLAUSIBLE, detail)
    middle = int(np.median(raw))
    if middle < LEAST_TLINEAR:
        why = "AGC is on" if int(raw.max()) <= 255 else "TLinear is off, gain is low, or the part has no radiometry"
        detail = f"the middle value is {middle}, at least {LEAST_TLINEAR} expected: {why}; set TLinear and high gain"
        return _trouble(frame, Symptom.MISCONFIGURED, detail)
    celsius = (raw.astype(np.float64) - KELVIN_AT_ZERO) / 100
    lost = (celsius < LEAST_CELSIUS) | (celsius > MOST_CELSIUS)
    if lost.mean() > LOST_SHARE:
        detail = f"{lost.mean():.0%} of the pixels are outside {LEAST_CELSIUS:.0f} to {MOST_CELSIUS:.0f} °C"
        return _trouble(frame, Symptom.IMPLAUSIBLE, detail)
    celsius[lost] = math.nan
    return _reading(_reduced(celsius), frame)


def _reading(celsius: Any, frame: Frame) -> ThermalReading:
    height, width = celsius.shape
    return ThermalReading(
        at_mono=frame.at_mono,
        width=width,
        height=height,
        celsius=tuple(celsius.reshape(-1).tolist()),
        ambient_celsius=float(np.nanquantile(celsius, AMBIENT_QUANTILE)),
    )


def _reduced(celsius: Any) -> Any:
    """Return the means of 2 × 2 pixels of a large picture; one with a lost pixel is lost as a whole."""
    height, width = celsius.shape
    if width <= MOST_WIDTH:
        return celsius
    return celsius.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))


def _trouble(frame: Frame, symptom: Symptom, detail: str) -> Trouble:
    return Trouble(at_mono=frame.at_mono, symptom=symptom, detail=detail)
