"""A relay board's inputs, its neighbours on the line, its cable, and addresses and pins that make no sense."""

import threading

import pytest
from relay_stand import FIRE, IN, OUT, PASS, PULSE, Board, Bus, Stand

from drivers.barrier import Barrier, Pins, WireFault, make_pin_factory
from drivers.codecs import modbus
from drivers.codecs.modbus import RequestCodec
from drivers.contact import MAX_PULSE_S
from drivers.errors import PortSettingsError
from drivers.pins_modbus import KNOWN_S, ModbusFactory
from drivers.readings import BarrierEventKind, Symptom
from sentinel.hand import RETRY_S, Hand

Kind = BarrierEventKind


@pytest.fixture
def stand(tmp_path):
    stand = Stand(tmp_path)
    yield stand
    stand.close()


# — inputs, addresses, ports —


def test_inputs_have_edges(stand):
    barrier = stand.open()
    barrier.pulse(MAX_PULSE_S)
    stand.board.set_input(PASS, True)
    stand.reaches([Kind.PASSED])
    stand.board.set_input(FIRE, True)
    stand.reaches([Kind.PASSED, Kind.FIRE_ON])
    stand.board.until(lambda: stand.board.relays[: OUT + 1] == (True, True))
    stand.board.set_input(FIRE, False)
    stand.reaches([Kind.PASSED, Kind.FIRE_ON, Kind.FIRE_OFF])
    stand.board.until(lambda: stand.board.relays[: OUT + 1] == (False, False))


def test_a_fire_from_before_the_start_is_seen(stand):
    stand.board.set_input(FIRE, True)
    barrier = stand.open()
    assert not any(stand.board.relays)
    barrier.tick(stand.clock())
    assert stand.told == [Kind.FIRE_ON] and stand.board.relays[: OUT + 1] == (True, True)


def test_a_change_during_a_silence_is_told_when_it_is_over(stand):
    barrier = stand.open()
    stand.line.silence()
    with pytest.raises(WireFault):
        barrier.pulse(0.5)
    stand.board.set_input(FIRE, True)
    stand.heal(barrier)
    stand.reaches([Kind.FIRE_ON])


def test_two_boards_on_one_line_each_hear_their_own_address(tmp_path):
    boards = [Board(address=1), Board(address=7)]
    stand = Stand(tmp_path, Bus(*boards))
    barrier = stand.open("address=7", PULSE)
    boards[0].set_input(FIRE, True)
    barrier.pulse(MAX_PULSE_S)
    assert boards[1].relays[IN] and not any(boards[0].relays)
    assert not barrier.fire_active
    boards[1].set_input(FIRE, True)
    stand.reaches([Kind.FIRE_ON])
    stand.close()


def test_what_another_board_says_is_not_believed(tmp_path):
    """Both answer to every question, the stranger first: as when two masters share a line."""
    board, stranger = Board(address=1), Board(address=2)

    class Echoed(Bus):
        def answer(self, chunk, now):
            for request in RequestCodec().feed(chunk):
                stranger.answer(modbus.frame(bytes([2]) + request.frame[1:-2]), now)
            return super().answer(chunk, now)

    stranger.answer(modbus.write_coil(2, OUT, True))
    stand = Stand(tmp_path, Echoed(stranger, board))
    stand.open(pins=Pins(factory="sentinel-modbus", relay="relay0")).pulse(MAX_PULSE_S)
    assert board.relays[: OUT + 1] == (True, False)
    stand.close()


def test_nobody_at_the_address_is_a_port_that_is_lost_for_now(stand):
    with pytest.raises(WireFault, match="relay board 9: no answer") as told:
        stand.factory("address=9")
    assert told.value.symptom is Symptom.SILENT
    stand.factory("address=1")  # the port was given back


def test_a_pulled_cable_is_told_and_the_gates_hand_takes_the_board_again(stand):
    health, now = [], stand.clock
    hand = Hand(lambda: stand.open(PULSE), lambda symptom, _: health.append(symptom), clock=now)
    hand.tick(now())
    assert hand.pulse(MAX_PULSE_S)
    stand.line.unplug()
    now.skip(KNOWN_S)  # what was read back before is not believed for longer
    assert not hand.pulse(0.5)
    assert not hand.there and health == [None, Symptom.LOST]
    stand.line.plug()
    now.skip(RETRY_S)
    hand.tick(now())
    assert health == [None, Symptom.LOST, None] and not stand.board.relays[IN]
    assert hand.pulse(0.5)
    hand.close()


def test_gpiozero_finds_the_factory_by_its_entry_point(stand):
    with make_pin_factory("sentinel-modbus:" + stand.url("baud=9600", "address=1", PULSE)) as factory:
        assert type(factory) is ModbusFactory and factory.leased


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("address=0", "address=0: expected 1 to 247"),
        ("relays=65", "relays=65: expected 1 to 64"),
        ("pulse=yes", "pulse=yes: expected"),
        ("address", "write sentinel-modbus:serial:"),
        ("colour=red", "colour"),
    ],
)
def test_an_option_that_cannot_be_understood_is_a_settings_error(options, words):
    with pytest.raises(PortSettingsError, match=words):
        make_pin_factory(f"sentinel-modbus:serial:///dev/null?{options}")


@pytest.mark.parametrize("pin", ["relay8", "input8", "relay07", "relay-1", "GPIO17", 3, "relay"])
def test_a_pin_that_the_board_has_not_is_a_settings_error(stand, pin):
    with pytest.raises(PortSettingsError, match=f"no pin {pin!r}"):
        stand.open(pins=Pins(factory="sentinel-modbus", relay=pin))


def test_a_relay_cannot_feel_and_an_input_cannot_switch(stand):
    factory = stand.factory()
    for pins in (Pins(factory="m", relay="input0"), Pins(factory="m", relay="relay0", fire="relay1")):
        with pytest.raises(PortSettingsError, match=r"is an (in|out)put"):
            Barrier(pins, passage_s=5.0, on_event=print, pin_factory=factory)


def test_closing_opens_what_is_closed_and_gives_the_port_back_and_twice_is_once(stand):
    barrier = stand.open()
    barrier.show("green")
    barrier.pulse(MAX_PULSE_S)
    for opened in (*stand.opened, *stand.opened):
        opened.close()
    assert not any(stand.board.relays)
    assert "relay-board" not in {thread.name for thread in threading.enumerate()}
    stand.open()
