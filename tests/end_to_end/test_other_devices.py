"""The same people pass through gates with other devices: a thermal camera, an I2C sensor, a relay board, infrared."""

import pytest

from sentinel.rehearsal import Rehearsal

from .conftest import CARD_PERSON, enrol_two, until_mode
from .test_whole_gate import BACK_S, come, component, entries

pytestmark = [pytest.mark.models, pytest.mark.broker, pytest.mark.timeout(240)]

GATES = [
    {"thermal": "lepton", "infrared": "camera", "barrier": "modbus"},
    {"thermal": "mlx90614-i2c"},
    {"thermal": "gy-614v"},
]


@pytest.fixture(params=GATES, ids=lambda devices: "-".join(devices.values()))
def other(request, tmp_path_factory, models_dir, faces_dir):
    with Rehearsal(tmp_path_factory.mktemp("o"), models_dir=models_dir, devices=request.param) as built:
        built.start("world", "gate")
        enrol_two(built, faces_dir)
        until_mode(built, "automatic", 60.0)
        yield built


def test_people_are_measured_and_pass_and_a_broken_sensor_is_told_and_heals(other, faces_dir):
    by_face = come(other, picture=str(faces_dir / "obama2.jpg"))
    assert (by_face["outcome"], by_face["method"]) == ("open", "face")
    assert by_face["skin_celsius"] == pytest.approx(36.4, abs=0.5)
    hot = come(other, card=CARD_PERSON, skin_celsius=39.0)
    assert (hot["outcome"], hot["temperature"]) == ("hold", "high")
    assert come(other, card=CARD_PERSON)["outcome"] == "open"
    other.world("fault", device="thermal", fault="unplug")
    until_mode(other, "assisted", 10.0)
    other.world("heal", device="thermal")
    until_mode(other, "automatic", 2 * BACK_S)
    parts = {part["name"]: part["state"] for part in other.status()["components"]}
    assert set(parts.values()) <= {"ok", "impaired"}, parts
    passed = [entry.data for entry in entries(other, "barrier") if entry.data["event"] == "passed"]
    assert len(passed) == 2
    assert component(other.status(), "thermal")["state"] == "ok"
