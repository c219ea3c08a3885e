"""A drill breaks a device of the simulated world or attacks its camera, and says what there is."""

import json

import pytest

from drivers.sim.world import World
from sentinel.cli import main


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    built = World(tmp_path_factory.mktemp("w"), walk=False)
    yield built
    built.close()


def drill(world, *args: str) -> int:
    return main(["drill", *args, "--world", str(world.directory)])


def test_the_list_names_devices_and_attacks(world, capsys):
    assert main(["--json", "drill", "list", "--world", str(world.directory)]) == 0
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert "unplug" in faults["card"]
    assert faults["attack"] == ["print", "screen", "mask", "replay", "off"]


@pytest.mark.parametrize("kind", ["print", "screen", "mask", "replay"])
def test_an_attack_holds_a_picture_before_the_camera_until_it_is_off(world, faces_dir, kind):
    assert drill(world, "attack", kind, "--picture", str(faces_dir / "obama2.jpg")) == 0
    assert world.do({"do": "state"})["present"]
    assert drill(world, "attack", "off") == 0
    assert not world.do({"do": "state"})["present"]


@pytest.mark.parametrize(
    ("args", "told"), [(("attack", "print"), "--picture FILE"), (("attack", "statue"), "no attack 'statue'")]
)
def test_what_cannot_be_done_says_what_can(world, capsys, args, told):
    assert drill(world, *args) == 64
    assert told in capsys.readouterr().err
