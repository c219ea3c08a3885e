"""Measure with one thermal sensor as this site has set and calibrated it; keep its newest figure for a calibration."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from drivers.readings import ThermalReading
from sentinel.core.climate import Climate
from sentinel.core.heat import face_heat
from sentinel.core.liveness import Finding
from sentinel.core.model import SkinTemperature
from sentinel.core.thermometry import Box, Compensation, Limits, View, skin_temperature
from sentinel.settings import Settings


class Thermometer:
    """One sensor with its limits, its compensation, its place before the camera, and the air around it."""

    def __init__(
        self, *, limits: Limits, compensation: Compensation, climate: Climate, view: View | None = None
    ) -> None:
        self._limits = limits
        self._view = view
        self._climate = climate
        self.compensation = compensation
        self.newest: SkinTemperature | None = None
        self._due: date | None = None

    def measure(
        self, reading: ThermalReading, now: float, *, box: Box | None, distance_mm: int | None
    ) -> SkinTemperature:
        """Return the skin temperature in this reading; `box` is the face in shares of the camera's picture."""
        self.newest = skin_temperature(
            reading,
            limits=self._limits,
            compensation=self.compensation,
            view=self._view,
            box=box,
            distance_mm=distance_mm,
            conditions=self._climate.see(reading.ambient_celsius, now),
        )
        return self.newest

    def heat(self, reading: ThermalReading, *, box: Box, distance_mm: int | None) -> Finding:
        """Return what the heat in this reading says of the face in `box`, in shares of the camera's picture."""
        added = self.compensation.at(reading.ambient_celsius, distance_mm)
        least = self._limits.person_min_celsius - (added if math.isfinite(added) else 0.0)
        return face_heat(reading, skin_celsius=least, view=self._view, box=box)

    def lost(self, now: float) -> None:
        """Take notice that the sensor is away, perhaps without power."""
        self._climate.lost(now)

    def calibrate(self, offset_celsius: float, due: date) -> None:
        """Add this offset from now on, until it is due again."""
        self.compensation = replace(self.compensation, offset_celsius=offset_celsius)
        self._due = due

    def overdue(self, today: date, *, clock_trusted: bool) -> bool:
        """Whether the last calibration is due again; a clock that is not believed accuses nobody."""
        return clock_trusted and self._due is not None and today > self._due


def thermometer_of(settings: Settings, calibration: Mapping[str, Any] | None) -> Thermometer:
    """Return the thermometer of this site; the body of its last calibration goes before the offset in the settings."""
    chosen = settings.temperature
    thermometer = Thermometer(
        limits=Limits(
            person_min_celsius=chosen.min_valid_celsius,
            ambient_min_celsius=chosen.ambient_min_celsius,
            ambient_max_celsius=chosen.ambient_max_celsius,
        ),
        compensation=Compensation(
            offset_celsius=chosen.offset_celsius,
            ambient_coefficient=chosen.ambient_coefficient,
            distance_coefficient=chosen.distance_coefficient,
            reference_distance_m=chosen.reference_distance_m,
            most_celsius=chosen.compensation_max_celsius,
        ),
        climate=Climate(warm_up_s=chosen.warm_up_s, powered_for_s=_box_up_s()),
        view=View.parse(settings.thermal.view),
    )
    if calibration is not None:
        thermometer.calibrate(float(calibration["offset_celsius"]), date.fromisoformat(calibration["due"]))
    return thermometer


def _box_up_s() -> float:
    """Return how long the box has had power: the sensor hangs on the same supply."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
