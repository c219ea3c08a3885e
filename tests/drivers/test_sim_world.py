"""The simulated street corner: people come, go, and walk through; devices break on command and heal."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from drivers.barrier import Barrier, Pins
from drivers.camera import open_camera
from drivers.errors import CameraLost, PortLost, PortSettingsError
from drivers.pictures import PictureWatch
from drivers.readings import BarrierEventKind, Frame, Leaf, Symptom
from drivers.sim.acting import LOOP_S
from drivers.sim.attacks import Attack
from drivers.sim.bench import Wiring
from drivers.sim.gatehouse import LeafState
from drivers.sim.scene import HEIGHT, WIDTH, CameraFolder, Noise, Staged, compose
from drivers.sim.wires import SimFactory
from drivers.sim.world import RequestError, World, client

WAIT_S = 5.0
CARD = {"number": "110101199003070038", "name": "样本", "valid_until": "长期"}
FIND = bytes.fromhex("AAAAAA9669 0003 2001 22")


def until(holds):
    """Wait for what other threads of the world bring about."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


@pytest.fixture(scope="module")
def one_world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("w"))
    yield world
    world.close()


@pytest.fixture
def world(one_world):
    """Give the street corner as it is in the morning: nobody there, all in order."""
    for device in ("card", "thermal", "camera", "barrier"):
        one_world.do({"do": "heal", "device": device})
    for request in ({"do": "leave"}, {"do": "walk", "on": True}, {"do": "fire", "on": False}):
        assert one_world.do(request)["ok"]
    one_world.bench.wires.set(27, 1)  # who walked in the test before may still stand in the light
    until(lambda: one_world.bench.house.state(Leaf.IN) is LeafState.CLOSED)
    return one_world


@pytest.fixture
def portrait(tmp_path):
    path = tmp_path / "portrait.png"
    cv2.imwrite(str(path), np.full((900, 600, 3), (40, 80, 250), np.uint8))
    return str(path)


@pytest.fixture
def ask(world):
    with client(world.directory) as talking:
        yield talking


def camera_of(world):
    return open_camera(f"folder://{world.directory}/camera?newest=1&fps=0", width=WIDTH, height=HEIGHT)


def redness(frame):
    """Tell how red the middle of the picture is: the portrait is red, the wall is grey."""
    blue, _, red = frame.pixels[200:280, 280:360].reshape(-1, 3).mean(axis=0)
    return red - blue


def find_card(world):
    """Ask the reader for a card, as the driver does; return its SW3 word."""
    return world.reader.answer(FIND)[9]


class Told:
    """Barrier events, to be waited for."""

    def __init__(self):
        self.kinds = []
        self._news = threading.Condition()

    def __call__(self, event):
        with self._news:
            self.kinds.append(event.kind)
            self._news.notify_all()

    def reach(self, *kinds):
        with self._news:
            assert self._news.wait_for(lambda: self.kinds == list(kinds), WAIT_S), f"told {self.kinds}"


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def barrier(world, told):
    yield from _barrier(world, told, passage_s=5.0)


@pytest.fixture
def hasty_barrier(world, told):
    """A barrier whose rights last hardly longer than the simulated people need to walk."""
    yield from _barrier(world, told, passage_s=0.6)


def _barrier(world, told, passage_s):
    pins = Pins(factory="sentinel-sim", relay=17, pass_sensor=27, fire=22, green=23, amber=24, red=25, buzzer=18)
    factory = SimFactory(str(world.directory / "wires.sock"))
    barrier = Barrier(pins, passage_s=passage_s, on_event=told, pin_factory=factory)
    yield barrier
    barrier.close()


# — people —


def test_a_person_who_arrives_is_seen_felt_and_has_a_card(world, ask, portrait):
    with camera_of(world) as camera:
        assert redness(camera.read(1.0)) < 20
        ask.do(do="arrive", picture=portrait, card=CARD, skin_celsius=36.4)
        assert redness(camera.read(1.0)) > 150
        state = ask.do(do="state")
        assert (state["present"], state["card"], state["skin_celsius"]) == (True, True, 36.4)
        assert find_card(world) == 0x9F
        ask.do(do="leave")
        assert redness(camera.read(1.0)) < 20
    state = ask.do(do="state")
    assert (state["present"], state["card"], state["skin_celsius"]) == (False, False, None)
    assert find_card(world) == 0x80


def test_a_card_may_be_laid_down_later_and_taken_up(world, ask):
    ask.do(do="arrive", picture=None, card=None, skin_celsius=None)
    assert find_card(world) == 0x80
    ask.do(do="card", card=CARD)
    assert find_card(world) == 0x9F
    ask.do(do="card", card=None)
    assert find_card(world) == 0x80


def test_state_names_nobody(ask):
    ask.do(do="arrive", card=CARD, picture=None, skin_celsius=36.0)
    assert CARD["number"] not in json.dumps(ask.do(do="state")) and CARD["name"] not in str(ask.do(do="state"))


def test_who_is_let_through_walks_through_and_is_gone(world, ask, barrier, told, portrait):
    ask.do(do="arrive", picture=portrait, card=CARD, skin_celsius=36.4)
    barrier.pulse(0.5)
    told.reach(BarrierEventKind.PASSED)
    assert [17, 1] in [[edge["pin"], edge["value"]] for edge in ask.do(do="edges")["edges"]]
    with camera_of(world) as camera:
        while redness(camera.read(1.0)) > 20:
            pass
    assert ask.do(do="state")["present"] is False


def test_who_walks_does_not_take_the_next_person_along(world, ask, barrier, told):
    ask.do(do="arrive", picture=None, card=CARD, skin_celsius=36.4)
    barrier.pulse(0.2)
    until(lambda: world.bench.house.state(Leaf.IN) is not LeafState.CLOSED)
    ask.do(do="arrive", picture=None, card=CARD, skin_celsius=36.6)
    told.reach(BarrierEventKind.PASSED)
    assert ask.do(do="state")["skin_celsius"] == 36.6


@pytest.mark.parametrize("reason", [{"do": "walk", "on": False}, {"do": "fault", "device": "barrier", "fault": "jam"}])
def test_nobody_walks_when_told_not_to_or_when_the_leaf_is_jammed(ask, hasty_barrier, told, reason):
    ask.do(**reason)
    ask.do(do="arrive", picture=None, card=CARD, skin_celsius=36.4)
    hasty_barrier.pulse(0.2)
    deadline = time.monotonic() + WAIT_S
    while not told.kinds and time.monotonic() < deadline:
        hasty_barrier.tick(time.monotonic())
        threading.Event().wait(0.02)
    told.reach(BarrierEventKind.TIMED_OUT)
    assert ask.do(do="state")["present"] is True


def test_a_tail_gater_is_an_intrusion(ask, barrier, told):
    ask.do(do="press")
    told.reach(BarrierEventKind.INTRUSION)


def test_fire_comes_and_goes(ask, barrier, told):
    ask.do(do="fire", on=True)
    told.reach(BarrierEventKind.FIRE_ON)
    assert ask.do(do="state")["fire"] is True
    ask.do(do="fire", on=False)
    told.reach(BarrierEventKind.FIRE_ON, BarrierEventKind.FIRE_OFF)


def test_lamps_are_seen(world, ask, barrier):
    barrier.show("amber")
    assert world.bench.wires.wait_for(24, 1, WAIT_S)
    outputs = ask.do(do="state")["outputs"]
    assert (outputs["green"], outputs["amber"], outputs["red"]) == (0, 1, 0)


# — faults —


def test_an_unplugged_reader_has_no_terminal_until_it_is_healed(world, ask):
    ask.do(do="fault", device="card", fault="unplug")
    assert not (world.directory / "card.tty").exists()
    assert ask.do(do="state")["faults"]["card"] == ["unplug"]
    ask.do(do="heal", device="card")
    assert (world.directory / "card.tty").is_char_device()
    assert ask.do(do="state")["faults"]["card"] == []


def test_every_serial_fault_can_be_given_and_healed(world, ask):
    for device in ("card", "thermal"):
        for fault in ("noise", "silence", "torn", "flip", "half", "prelude", "unplug"):
            ask.do(do="fault", device=device, fault=fault)
        ask.do(do="heal", device=device)
    ask.do(do="fault", device="card", fault="code-60")
    assert find_card(world) == 0x60
    ask.do(do="heal", device="card")
    assert find_card(world) == 0x80


def test_a_dark_camera_is_dark_and_heals(world, ask):
    with camera_of(world) as camera:
        ask.do(do="fault", device="camera", fault="dark")
        assert PictureWatch().see(camera.read(1.0)) is Symptom.DARK
        ask.do(do="heal", device="camera")
        assert PictureWatch().see(camera.read(1.0)) is None


def test_a_frozen_camera_writes_nothing_and_is_noticed(world, ask):
    with camera_of(world) as camera:
        ask.do(do="fault", device="camera", fault="frozen")
        watch, first = PictureWatch(), camera.read(1.0)
        later = Frame(at_mono=first.at_mono + 10.0, pixels=camera.read(1.0).pixels)
        assert [watch.see(first), watch.see(later)] == [None, Symptom.FROZEN]


def test_an_unplugged_camera_is_lost_and_returns(world, ask):
    with camera_of(world) as camera:
        ask.do(do="fault", device="camera", fault="unplug")
        with pytest.raises(CameraLost):
            camera.read(1.0)
        ask.do(do="heal", device="camera")
        assert camera.read(1.0) is not None


def test_an_unplugged_barrier_is_not_controllable_until_healed(world, ask, told):
    pins = Pins(factory="sentinel-sim", relay=17)
    socket_path = str(world.directory / "wires.sock")
    ask.do(do="fault", device="barrier", fault="unplug")
    with pytest.raises(PortLost):
        SimFactory(socket_path)
    ask.do(do="heal", device="barrier")
    Barrier(pins, passage_s=5.0, on_event=told, pin_factory=SimFactory(socket_path)).close()


# — requests —


@pytest.mark.parametrize(
    ("request_fields", "why"),
    [
        ({"do": "dance"}, "unknown request 'dance'; known are arrive"),
        ({}, "unknown request None"),
        ({"do": ["leave"]}, "unhashable"),
        ({"do": "fault", "device": "card", "fault": "dark"}, "device card has no fault 'dark'; it has unplug"),
        ({"do": "fault", "device": "door", "fault": "jam"}, "unknown device 'door'"),
        ({"do": "heal"}, "unknown device None"),
        ({"do": "fire"}, "on is not true or false"),
        ({"do": "arrive", "skin_celsius": "hot"}, "skin_celsius is not a number from 20"),
        ({"do": "arrive", "picture": "/nowhere.jpg"}, "not there or not a picture"),
        ({"do": "arrive", "picture": 7}, "expected str"),
        ({"do": "card", "card": {"number": "1", "nmae": "x"}}, "card has no field 'nmae'"),
        ({"do": "card", "card": {"number": "1"}}, "name"),
        ({"do": "card", "card": {"number": 1, "name": "x"}}, "'number' is not text"),
        ({"do": "card", "card": {"number": "1", "name": "x" * 99}}, "does not fit"),
        ({"do": "card", "card": {"number": "1", "name": "x", "kind": "library"}}, "library"),
        ({"do": "card", "card": "mine"}, "not an object"),
    ],
)
def test_a_wrong_request_is_answered_and_changes_nothing(world, ask, request_fields, why):
    ask.do(do="arrive", picture=None, card=CARD, skin_celsius=36.4)
    before = ask.do(do="state") | {"pictures": 0}
    with pytest.raises(RequestError, match=why):
        ask.do(**request_fields)
    assert ask.do(do="state") | {"pictures": 0} == before


def test_lines_that_are_no_requests_are_answered_too(world):
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(world.directory / "world.sock"))
        answers = wire.makefile("r")
        for line in (b"hello\n", b"[]\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b'{"do": "state"}\n'):
            wire.sendall(line)
            assert json.loads(answers.readline())["ok"] is (b"state" in line)


def test_several_clients_are_served_at_once(world):
    with client(world.directory) as first, client(world.directory) as second:
        first.do(do="arrive", picture=None, card=None, skin_celsius=36.0)
        assert second.do(do="state")["present"] is True
        assert first.do(do="leave")["ok"] is True


def test_a_folder_without_a_world_says_how_to_start_one(tmp_path):
    with pytest.raises(PortLost, match=r"start python -m drivers\.sim --dir DIR"):
        client(tmp_path)


def test_two_worlds_do_not_share_a_folder(world):
    with pytest.raises(PortSettingsError, match="is a world running there already"):
        World(world.directory)


def test_a_wiring_uses_each_pin_once():
    with pytest.raises(PortSettingsError, match="uses a pin twice"):
        Wiring(relay=17, fire=17)


def test_the_world_runs_as_a_process_and_ends_when_told(tmp_path):
    directory = tmp_path / "w"
    with subprocess.Popen(
        [sys.executable, "-m", "drivers.sim", "--dir", str(directory), "--no-walk"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().decode() == f"world ready in {directory}\n"
        with client(directory) as talking:
            assert talking.do(do="state")["walk"] is False
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    assert not (directory / "world.sock").exists()


# — scenes —


def test_a_scene_is_the_wall_where_nobody_stands():
    empty = compose(None)
    assert empty.shape == (HEIGHT, WIDTH, 3) and empty.min() > 90


@pytest.mark.parametrize("size", [(1, 1), (900, 600), (480, 640), (100, 2000), (2000, 100), (112, 112)])
@pytest.mark.parametrize("share", [0.1, 0.6, 1.0, 3.0])
def test_any_photograph_makes_a_scene(size, share):
    scene = compose(np.full((*size, 3), 255, np.uint8), share)
    assert scene.shape == (HEIGHT, WIDTH, 3) and scene.dtype == np.uint8


def test_a_share_above_one_is_a_step_nearer():
    photograph = np.full((900, 600, 3), 255, np.uint8)
    photograph[:90, 270:330] = 0  # a head, small and far up
    far, near = (int((compose(photograph, share) < 60).sum()) for share in (1.0, 2.0))
    assert near > 3.5 * far


def test_noise_differs_each_time_and_has_its_strength():
    noise, scene = Noise(sigma=3.0), compose(None)
    first, second = noise.over(scene), noise.over(scene)
    assert (first != second).any()
    assert 2.5 < (first.astype(float) - scene).std() < 3.5


def test_a_camera_folder_keeps_the_newest_few_pictures(tmp_path):
    folder = CameraFolder(tmp_path / "camera", fps=0.01)
    for _ in range(10):
        folder.write()
    names = sorted(path.name for path in (tmp_path / "camera").iterdir())
    folder.close()
    assert names == ["00000009.jpg", "00000010.jpg", "00000011.jpg"]


def test_people_move_and_what_attackers_hold_is_another_thing_to_each_sense(one_world, faces_dir):
    picture = str(faces_dir / "impostor_1.jpg")
    with client(one_world.directory) as world:
        assert {"print", "screen", "mask", "replay"} == set(world.do(do="faults")["attacks"])
        world.do(do="arrive", picture=picture, skin_celsius=36.4)
        assert one_world.bench.models["thermal"]._true_celsius_at(16, 12) == pytest.approx(36.4)
        world.do(do="arrive", picture=picture, skin_celsius=36.4, attack="print")
        assert one_world.bench.models["thermal"]._true_celsius_at(16, 12) == pytest.approx(24.0)
        with pytest.raises(RequestError):
            world.do(do="arrive", picture=picture, attack="statue")
        world.do(do="leave")


def test_a_simulated_person_never_stands_quite_still_and_a_video_comes_round(faces_dir):
    picture = cv2.imread(str(faces_dir / "impostor_1.jpg"))
    person, video = Staged(picture), Staged(picture, attack=Attack.REPLAY)
    assert (person.scene(0.0) != person.scene(0.4)).any()
    assert (video.scene(0.3) == video.scene(0.3 + LOOP_S)).all()
    assert (person.scene(0.3) != person.scene(0.3 + LOOP_S)).any()
