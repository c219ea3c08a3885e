"""GPIO lines by libgpiod: found by name, taken without a glitch, felt by their edges, lost with their chip.

That the simulated module is like the real one: test_pins_gpiod_module.py.
"""

import errno
import os
import threading
from datetime import timedelta

import gpiod
import pytest

from drivers.barrier import Barrier, Pins, make_pin_factory
from drivers.errors import PortLost, PortSettingsError
from drivers.pins_gpiod import CONSUMER, GpiodFactory
from drivers.readings import BarrierEventKind, Symptom
from drivers.sim import gpiochip
from drivers.sim.gpiochip import SimGpio
from drivers.wiring import BOUNCE_S
from sentinel.hand import RETRY_S, Hand

CHIPS = {"gpiochip0": ["", "PASS", "FIRE", "TWIN"], "gpiochip1": ["RELAY1", "RELAY2", "GREEN", "DOOR", "TWIN"]}
PINS = Pins(factory="sentinel-gpiod", relay="RELAY1", relay_out="RELAY2", pass_sensor="PASS", fire="FIRE")
WAIT_S = 5.0
Kind = BarrierEventKind


class Board:
    """A machine with GPIO chips, and what a barrier on it tells."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.sim = SimGpio(folder, CHIPS, **options)
        self.told = []
        self.opened = []
        self.news = threading.Condition()
        for name in ("PASS", "FIRE"):
            self.sim.set_level(name, 1)

    def factory(self, chip=""):
        return GpiodFactory(chip, gpiod=self.sim, folder=self.folder)

    def open(self, pins=PINS, chip="", clock=lambda: 100.0):
        factory = self.factory(chip)
        self.opened.append(factory)
        barrier = Barrier(pins, passage_s=5.0, on_event=self.take, clock=clock, pin_factory=factory)
        self.opened.insert(0, barrier)
        return barrier

    def take(self, event):
        with self.news:
            self.told.append(event.kind)
            self.news.notify_all()

    def reaches(self, kinds):
        with self.news:
            assert self.news.wait_for(lambda: self.told == kinds, WAIT_S), f"told {self.told}, expected {kinds}"

    def line(self, name):
        return self.sim.find(name)


@pytest.fixture
def board(tmp_path):
    board = Board(tmp_path)
    yield board
    for opened in board.opened:
        opened.close()


# — which line —


def test_lines_are_found_by_name_on_whichever_chip_they_are(board):
    board.open()
    for name in ("RELAY1", "RELAY2", "PASS", "FIRE"):
        assert board.line(name).consumer == CONSUMER
    assert board.line("GREEN").consumer == board.line("DOOR").consumer == ""


@pytest.mark.parametrize(
    ("relay", "chip"),
    [("gpiochip1:0", ""), ("/dev/gpiochip1:0", ""), ("0", "gpiochip1"), (0, "gpiochip1"), (0, "/dev/gpiochip1")],
)
def test_a_line_may_be_called_by_its_place(board, relay, chip):
    board.open(Pins(factory="sentinel-gpiod", relay=relay), chip).pulse(3.0)
    assert board.line("RELAY1").driven[-1] == 1


@pytest.mark.parametrize(
    ("relay", "chip", "words"),
    [
        ("RELAY9", "", "no line is called RELAY9"),
        ("RELAY1", "gpiochip0", "no line is called RELAY1"),
        (17, "", "line 17 of which chip"),
        ("gpiochip1:5", "", "gpiochip1 has 5 lines, from gpiochip1:0 to gpiochip1:4"),
        ("TWIN", "", "there more than once, as gpiochip0:3 and gpiochip1:4"),
    ],
)
def test_a_line_that_cannot_be_found_is_a_settings_error(board, relay, chip, words):
    with pytest.raises(PortSettingsError, match=words):
        board.open(Pins(factory="sentinel-gpiod", relay=relay), chip)


@pytest.mark.parametrize(("relay", "chip"), [("gpiochip1:4", ""), ("TWIN", "gpiochip1")])
def test_of_two_lines_with_one_name_the_place_or_the_chip_chooses(board, relay, chip):
    board.open(Pins(factory="sentinel-gpiod", relay=relay), chip)
    first, second = board.sim.chips["gpiochip0"][3], board.sim.chips["gpiochip1"][4]
    assert (first.consumer, second.consumer) == ("", CONSUMER)


def test_a_link_to_a_chip_is_no_second_chip(board):
    """Raspberry Pi OS calls one chip gpiochip0 and, for old programs, gpiochip4."""
    (board.folder / "gpiochip4").symlink_to("gpiochip1")
    board.open().close()
    board.open(Pins(factory="sentinel-gpiod", relay="GREEN"), "gpiochip4")
    assert board.line("GREEN").consumer == CONSUMER


def test_one_line_under_two_names_is_told(board):
    with pytest.raises(PortLost, match="already in use"):
        board.open(Pins(factory="sentinel-gpiod", relay="RELAY1", green="gpiochip1:0"))
    assert board.line("RELAY1").consumer == "", "what was claimed is given back"


def test_a_line_of_another_program_is_told_by_the_name_of_its_user(board):
    board.line("FIRE").consumer = "gpiomon"
    with pytest.raises(PortLost, match="in use by 'gpiomon'"):
        board.open()
    assert board.line("RELAY1").consumer == "", "what was claimed is given back"
    board.line("FIRE").give_back()
    board.open().pulse(3.0)


@pytest.mark.parametrize("chip", ["", "gpiochip7"])
def test_chips_that_are_not_there_yet_are_waited_for(tmp_path, chip):
    factory = GpiodFactory(chip, gpiod=SimGpio(tmp_path, {}), folder=tmp_path)
    with pytest.raises(PortLost, match="no such GPIO chip"):
        Barrier(PINS, passage_s=5.0, on_event=print, pin_factory=factory)
    factory.close()


# — how it is taken —


@pytest.mark.parametrize(("active_high", "rest"), [(True, 0), (False, 1)])
def test_an_output_is_at_rest_from_its_first_moment(board, active_high, rest):
    barrier = board.open(Pins(factory="sentinel-gpiod", relay="RELAY1", relay_active_high=active_high))
    assert set(board.line("RELAY1").driven) == {rest}
    barrier.pulse(3.0)
    barrier.close()
    levels = board.line("RELAY1").driven
    assert [level for at, level in enumerate(levels) if level != levels[at - 1]] == [1 - rest, rest]


@pytest.mark.parametrize(("active_low", "bias"), [(True, gpiochip.Bias.PULL_UP), (False, gpiochip.Bias.PULL_DOWN)])
def test_an_input_has_its_pull_and_its_debouncing_when_it_is_taken(board, active_low, bias):
    board.open(Pins(factory="sentinel-gpiod", relay="RELAY1", door="DOOR", door_active_low=active_low))
    settings = board.line("DOOR").settings
    assert settings.direction is gpiochip.Direction.INPUT and settings.edge_detection is gpiochip.Edge.BOTH
    assert settings.bias is bias
    assert settings.debounce_period == timedelta(seconds=BOUNCE_S)


class Stubborn(gpiochip.Chip):
    """A chip that cannot pull, or cannot do anything, and says so in its own way."""

    def __init__(self, sim, path, error):
        super().__init__(sim, path)
        self._error = error

    def request_lines(self, config, consumer=None, event_buffer_size=None, output_values=None):
        (settings,) = config.values()
        if settings.direction is gpiochip.Direction.INPUT and settings.bias is not gpiochip.Bias.AS_IS:
            raise self._error
        return super().request_lines(config, consumer)


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError(errno.EOPNOTSUPP, "Operation not supported"),
        ValueError(errno.EINVAL, "Invalid argument"),
        OSError(524, "Unknown error 524"),
    ],
)
def test_a_line_without_a_pull_of_its_own_is_taken_without_one(board, error):
    board.sim.Chip = lambda path: Stubborn(board.sim, path, error)
    barrier = board.open()
    assert board.line("PASS").settings.bias is gpiochip.Bias.AS_IS
    barrier.pulse(3.0)
    board.sim.set_level("PASS", 0)
    board.reaches([Kind.PASSED])


@pytest.mark.parametrize("error", [PermissionError(errno.EPERM, "not allowed"), OSError(errno.ENXIO, "no interrupt")])
def test_any_other_refusal_is_told(board, error):
    board.sim.Chip = lambda path: Stubborn(board.sim, path, error)
    with pytest.raises(PortLost, match="pin 'PASS' cannot be had"):
        board.open(Pins(factory="sentinel-gpiod", relay="RELAY1", pass_sensor="PASS"))


# — edges —


def test_edges_reach_the_barrier(board):
    barrier = board.open()
    barrier.pulse(3.0)
    board.sim.set_level("PASS", 0)
    board.reaches([Kind.PASSED])
    board.sim.set_level("PASS", 1)
    board.sim.set_level("PASS", 0)
    board.reaches([Kind.PASSED, Kind.INTRUSION])
    board.sim.set_level("FIRE", 0)
    board.reaches([Kind.PASSED, Kind.INTRUSION, Kind.FIRE_ON])
    assert board.line("RELAY1").driven[-1] == board.line("RELAY2").driven[-1] == 1


def test_a_fire_from_before_the_start_has_no_edge_and_is_seen(board):
    board.sim.set_level("FIRE", 0)
    barrier = board.open()
    assert set(board.line("RELAY1").driven) == {0}, "nothing moves at construction"
    barrier.tick(100.0)
    assert board.told == [Kind.FIRE_ON]
    assert board.line("RELAY1").driven[-1] == board.line("RELAY2").driven[-1] == 1


def test_a_listener_that_falls_over_ends_no_other_line(board):
    factory = board.factory()
    board.opened.append(factory)
    felt = threading.Event()
    listeners = {"PASS": lambda ticks, state: 1 / 0, "FIRE": lambda ticks, state: felt.set()}
    for name, listener in listeners.items():
        pin = factory.pin(name)
        pin.function = "input"
        pin.when_changed = listener
    board.sim.set_level("PASS", 0)
    board.sim.set_level("FIRE", 0)
    assert felt.wait(WAIT_S)


# — the chip is pulled out —


def test_a_lost_chip_is_told_by_everything_that_needs_it(board):
    barrier = board.open()
    board.sim.unplug()
    with pytest.raises(PortLost, match="No such device"):
        barrier.tick(100.0)
    with pytest.raises(PortLost, match="relay did not move"):
        barrier.pulse(0.5)
    with pytest.raises(PortLost, match="input fire cannot be read"):
        _ = barrier.fire_active
    assert barrier.rights == 0
    assert board.told == [], "a lost line is no edge"


def test_a_chip_lost_in_mid_pulse_leaves_a_barrier_that_can_be_closed_and_taken_anew(board):
    lost = board.open()
    lost.pulse(3.0)
    board.sim.unplug()
    lost.close()
    lost.close()
    with pytest.raises(PortLost, match="cannot be had"):
        board.open()
    board.sim.plug()
    again = board.open()
    assert board.line("RELAY1").driven[-1] == 0, "the pulse of before is not taken up"
    again.pulse(3.0)
    board.sim.set_level("PASS", 0)
    board.reaches([Kind.PASSED])


def test_a_chip_that_is_back_is_no_longer_ours_until_it_is_taken_anew(board):
    barrier = board.open()
    board.sim.unplug()
    board.sim.plug()
    with pytest.raises(PortLost, match="No such device"):
        barrier.tick(100.0)


def test_the_gates_hand_takes_a_replugged_chip_again_and_a_fire_with_it(board):
    health = []
    hand = Hand(board.open, lambda symptom, _: health.append(symptom), clock=lambda: 100.1)
    hand.tick(100.0)
    board.sim.unplug()
    hand.tick(100.1)
    assert not hand.pulse(0.5) and not hand.there
    board.sim.set_level("FIRE", 0)
    board.sim.plug()
    hand.tick(100.1 + RETRY_S)
    assert health == [None, Symptom.LOST, None]
    hand.tick(100.2 + RETRY_S)
    assert hand.fire_active and board.told == [Kind.FIRE_ON]
    assert board.line("RELAY1").driven[-1] == board.line("RELAY2").driven[-1] == 1
    hand.close()


# — given back —


def test_closing_gives_every_line_back_and_twice_is_once(board):
    barrier = board.open()
    barrier.pulse(3.0)
    barrier.close()
    barrier.close()
    assert [line.name for lines in board.sim.chips.values() for line in lines if line.consumer] == []
    assert board.line("RELAY1").driven[-1] == 0


def test_a_closed_pin_takes_no_line_again(board):
    factory = board.factory()
    pin = factory.pin("PASS")
    pin.function = "input"
    assert pin.state == 1
    pin.close()
    with pytest.raises(OSError, match="not ours"):
        _ = pin.state
    assert board.line("PASS").consumer == ""
    factory.close()


def test_a_factory_leaves_neither_threads_nor_open_files(board):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        factory = board.factory()
        pins = [factory.pin(name) for name in ("PASS", "FIRE")]
        for pin in pins:
            pin.function = "input"
            pin.when_changed = print
        factory.close()
        factory.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert "gpio-edges" not in {thread.name for thread in threading.enumerate()}


# — the real module —


@pytest.mark.parametrize("argument", ["", ":/dev/gpiochip77"])
def test_gpiozero_finds_the_factory_by_its_entry_point(argument):
    with make_pin_factory("sentinel-gpiod" + argument) as factory:
        assert type(factory) is GpiodFactory
        assert factory.gpiod is gpiod


def test_where_there_is_no_chip_there_is_no_barrier_and_never_a_mock(tmp_path):
    with pytest.raises(PortLost, match=r"no such GPIO chip.*gpiochip77"):
        Barrier(Pins(factory="sentinel-gpiod:gpiochip77", relay="RELAY1"), passage_s=5.0, on_event=print)
    (tmp_path / "gpiochip0").touch()
    factory = GpiodFactory(folder=tmp_path)
    with pytest.raises(PortLost, match="cannot be had"):  # the real module on a file that is no chip
        Barrier(PINS, passage_s=5.0, on_event=print, pin_factory=factory)
    factory.close()
