"""Pictures, screens, masks and videos of a resident open nothing; the resident does, and a card remains a way in."""

import pytest

from drivers.sim.attacks import Attack
from sentinel.rehearsal import Rehearsal

from .conftest import CARD_PERSON, enrol_two, until_mode
from .test_whole_gate import come, relay_rises

pytestmark = [pytest.mark.models, pytest.mark.broker, pytest.mark.timeout(240)]


@pytest.fixture(params=[{}, {"thermal": "lepton", "infrared": "camera"}], ids=["array", "lepton-infrared"])
def gate(request, tmp_path_factory, models_dir, faces_dir):
    with Rehearsal(tmp_path_factory.mktemp("a"), models_dir=models_dir, devices=request.param) as built:
        built.start("world", "gate")
        enrol_two(built, faces_dir)
        until_mode(built, "automatic", 60.0)
        yield built


def layers(passage: dict) -> dict[str, str]:
    return {said["layer"]: said["verdict"] for said in passage["liveness_layers"]}


def test_no_attack_opens_the_person_does_and_the_entry_says_which_layer_decided(gate, faces_dir):
    picture = str(faces_dir / "obama2.jpg")
    live = come(gate, picture=picture)
    assert (live["outcome"], live["method"]) == ("open", "face"), live
    assert (live["liveness"], live["liveness_layer"]) == ("live", "heat")
    for attack in Attack:
        passage = come(gate, picture=picture, attack=attack)
        assert passage["outcome"] == "hold", passage
        assert passage["reasons"][0] == "face-not-live", passage
        assert passage["liveness_layer"] == "heat", passage
        said = layers(passage)
        assert said["heat"] == "not-live"
        if "infrared" in said:
            assert said["infrared"] == "not-live", passage
    assert relay_rises(gate) == 1
    stepped_up = come(gate, picture=picture, attack=Attack.PRINT, card=CARD_PERSON)
    assert stepped_up["outcome"] == "hold", "another's picture beside one's own card is for staff"
    assert come(gate, card=CARD_PERSON)["outcome"] == "open"
