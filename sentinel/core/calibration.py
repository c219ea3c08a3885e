"""Work out a thermal sensor's offset from a black body or from paired clinical readings, or say why it cannot be.

Pure. A calibration is refused, never bent: too few figures, too wide a spread, or an offset that no offset should be.
Source: duties-and-pains (GB/T 19146 and JJF 1107: forehead 0.3 K, screener 0.4 K of maximum permissible error; a field
check by paired readings needs statistics, not one pair).
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

PERMISSIBLE_K = 0.3
OFFSET_MOST_K = 3.0  # as the setting has it
DUE_DAYS = 180
DUE_MOST_DAYS = 730


class Method(StrEnum):
    """By what the sensor was compared."""

    BLACK_BODY = "black-body"
    PAIRS = "pairs"


# A black body stands still, so its figures differ by the sensor's noise; people's skin differs from their temperature.
SAMPLES_LEAST = {Method.BLACK_BODY: 20, Method.PAIRS: 10}
SPREAD_MOST_K = {Method.BLACK_BODY: 0.2, Method.PAIRS: 0.5}


class Refusal(StrEnum):
    """Why nothing can be worked out from these figures."""

    TOO_FEW = "too-few"
    TOO_WIDE = "too-wide"
    TOO_LARGE = "too-large"
    AMBIENT = "ambient"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the sensor said and what was true, pair by pair. Unit: °C."""

    method: Method
    measured_celsius: tuple[float, ...]
    true_celsius: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The offset, and how well it fits. Unit: K. `spread_celsius` is the standard deviation of the differences."""

    offset_celsius: float
    spread_celsius: float
    residual_celsius: float  # half the width of the interval that holds the offset with 95 % confidence
    samples: int
    refused: Refusal | None = None

    @property
    def within_permissible(self) -> bool:
        """Whether offset and remaining doubt keep the sensor within its maximum permissible error."""
        return self.refused is None and self.residual_celsius <= PERMISSIBLE_K


def worked_out(comparison: Comparison) -> Outcome:
    """Return the offset that these figures ask for, or why they must not be used. The middle one of them decides."""
    differences = [
        true - measured
        for measured, true in zip(comparison.measured_celsius, comparison.true_celsius, strict=True)
    ]
    samples = len(differences)
    if samples < 2:
        return Outcome(offset_celsius=0, spread_celsius=0, residual_celsius=0, samples=samples, refused=Refusal.TOO_FEW)
    offset, spread = statistics.median(differences), statistics.stdev(differences)
    return Outcome(
        offset_celsius=round(offset, 2),
        spread_celsius=round(spread, 3),
        residual_celsius=round(2.0 * spread / samples**0.5, 3),  # 1.96 sigma of the mean, and a little for the median
        samples=samples,
        refused=_refused(comparison.method, samples, offset, spread),
    )


def _refused(method: Method, samples: int, offset: float, spread: float) -> Refusal | None:
    if samples < SAMPLES_LEAST[method]:
        return Refusal.TOO_FEW
    if spread > SPREAD_MOST_K[method]:
        return Refusal.TOO_WIDE
    return Refusal.TOO_LARGE if abs(offset) > OFFSET_MOST_K else None


def due_date(done: date, days: int) -> date:
    """Return when it should be done again."""
    return done + timedelta(days=days)


def black_body(measured_celsius: Sequence[float], reference_celsius: float) -> Comparison:
    """Return the comparison with a black body of a known temperature."""
    return Comparison(
        method=Method.BLACK_BODY,
        measured_celsius=tuple(measured_celsius),
        true_celsius=(reference_celsius,) * len(measured_celsius),
    )


def pairs(rows: Sequence[tuple[float, float]]) -> Comparison:
    """Return the comparison of pairs: what the module said, what a clinical thermometer said."""
    return Comparison(
        method=Method.PAIRS,
        measured_celsius=tuple(measured for measured, _ in rows),
        true_celsius=tuple(true for _, true in rows),
    )
