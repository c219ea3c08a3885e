"""A Lepton's counts become temperatures, and pictures without temperatures are told, never guessed at."""

import numpy as np
import pytest

from drivers.lepton import LeptonWatch
from drivers.readings import Frame, Symptom, ThermalReading, Trouble

ROOM = 27315 + 2400  # 24.00 °C in hundredths of a kelvin
FACE = int.from_bytes(bytes.fromhex("C3 78"), "little")  # the reference's vector: 36.00 °C = 30915


def scene(width=160, height=120, rows=0, seed=1):
    counts = np.random.default_rng(seed).integers(ROOM - 5, ROOM + 6, (height + rows, width)).astype(np.uint16)
    counts[40:80, 60:100] = FACE if width == 160 else counts[40:80, 60:100]
    return counts


def frame(pixels, at_mono=0.0):
    return Frame(at_mono=at_mono, pixels=pixels)


@pytest.mark.parametrize("rows", [0, 2, 4])
def test_the_vector_is_36_degrees_whatever_telemetry_follows(rows):
    seen = LeptonWatch().see(frame(scene(rows=rows)))
    assert isinstance(seen, ThermalReading)
    assert (seen.width, seen.height) == (80, 60)
    assert seen.celsius[30 * 80 + 40] == pytest.approx(36.0, abs=0.001)
    assert seen.ambient_celsius == pytest.approx(24.0, abs=0.1)


def test_bytes_as_they_come_are_the_same_picture():
    counts = scene()
    seen = LeptonWatch().see(frame(counts.view(np.uint8)))
    assert seen == LeptonWatch().see(frame(counts))


@pytest.mark.parametrize(
    ("pixels", "symptom"),
    [
        (np.full((120, 160, 3), 90, np.uint8), Symptom.MISCONFIGURED),  # AGC
        (np.full((120, 160), 8000, np.uint16), Symptom.MISCONFIGURED),  # no TLinear
        (np.zeros((120, 160), np.uint16), Symptom.IMPLAUSIBLE),
        (np.full((10, 10), ROOM, np.uint16), Symptom.MISCONFIGURED),
    ],
)
def test_a_picture_without_temperatures_is_told(pixels, symptom):
    seen = LeptonWatch().see(frame(pixels))
    assert isinstance(seen, Trouble)
    assert seen.symptom is symptom


def test_the_shutters_pause_is_no_fault_and_a_frozen_picture_is():
    watch, still = LeptonWatch(), scene()
    assert isinstance(watch.see(frame(still, 0.0)), ThermalReading)
    assert watch.see(frame(still, 0.9)) is None
    assert watch.see(frame(still, 3.1)).symptom is Symptom.FROZEN
    assert isinstance(watch.see(frame(scene(seed=2), 3.3)), ThermalReading)
