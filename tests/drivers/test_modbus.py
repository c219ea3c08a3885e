"""The rules of Modbus RTU and of the relay board: its bytes, which answer belongs to which request, and its faults."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs import modbus
from drivers.codecs.framing import Dropped
from drivers.codecs.modbus import Bits, Echo, ModbusCodec, Refusal, RequestCodec
from drivers.sim.relay_board import LATE_S, SimRelayBoard

unhurried = settings(deadline=None, max_examples=60)  # a busy machine is no failed rule, and the suite has 5 s
ON_0 = bytes.fromhex("01 05 00 00 FF 00 8C 3A")
OFF_0 = bytes.fromhex("01 05 00 00 00 00 CD CA")
READ_8 = bytes.fromhex("01 01 00 00 00 08 3D CC")
ALL_ON = bytes.fromhex("01 01 01 FF 11 C8")
INPUTS_8 = bytes.fromhex("01 02 00 00 00 08 79 CC")
REFUSED = modbus.frame(bytes.fromhex("01 81 04"))


def answers(events):
    return [event for event in events if not isinstance(event, Dropped)]


def dropped(events):
    return sum(event.byte_count for event in events if isinstance(event, Dropped))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def expecting(request: bytes) -> ModbusCodec:
    codec = ModbusCodec()
    codec.expect(request)
    return codec


def asked(board: SimRelayBoard, request: bytes, *, at: float, wait_s: float = 0.1):
    """Return what the host makes of the board's answer, waiting so long."""
    codec = expecting(request)
    events = codec.feed(board.answer(request, at))
    for turn in range(1, round(wait_s / 0.01) + 1):
        events += codec.feed(board.due(at + turn * 0.01))
    return answers(events)


# --- bytes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "hexadecimal"),
    [
        (modbus.write_coil(1, 0, True), "01 05 00 00 FF 00 8C 3A"),
        (modbus.write_coil(1, 0, False), "01 05 00 00 00 00 CD CA"),
        (modbus.write_coils(1, 0, [True] * 8), "01 0F 00 00 00 08 01 FF BE D5"),
        (modbus.write_coils(1, 0, [False] * 8), "01 0F 00 00 00 08 01 00 FE 95"),
        (modbus.read_coils(1, 0, 8), "01 01 00 00 00 08 3D CC"),
        (modbus.read_inputs(1, 0, 8), "01 02 00 00 00 08 79 CC"),
        (modbus.pulse_coil(1, 0, 0.7), "01 05 02 00 00 07 8D B0"),
        (modbus.pulse_coil(1, 0, 0.7, base=modbus.PULSE_OFF), "01 05 04 00 00 07 8D 38"),
        (
            modbus.frame(bytes([1, modbus.WRITE_COIL, 0, 0]) + modbus.TOGGLE.to_bytes(2, "big")),
            "01 05 00 00 55 00 F2 9A",
        ),
    ],
)
def test_requests_are_the_published_bytes(request_, hexadecimal):
    assert request_ == bytes.fromhex(hexadecimal)


@pytest.mark.parametrize(
    ("request_", "answer", "event"),
    [
        (ON_0, "01 05 00 00 FF 00 8C 3A", Echo(function=5)),
        (modbus.write_coils(1, 0, [True] * 8), "01 0F 00 00 00 08 54 0D", Echo(function=15)),
        (READ_8, "01 01 01 FF 11 C8", Bits(function=1, values=(True,) * 8)),
        (INPUTS_8, "01 02 01 00 A1 88", Bits(function=2, values=(False,) * 8)),
        (INPUTS_8, "01 02 01 01 60 48", Bits(function=2, values=(True,) + (False,) * 7)),
        (modbus.read_inputs(1, 0, 3), "01 02 01 01 60 48", Bits(function=2, values=(True, False, False))),
    ],
)
def test_published_answers_are_read(request_, answer, event):
    assert expecting(request_).feed(bytes.fromhex(answer)) == [event]


@pytest.mark.parametrize(
    ("request_", "head", "code", "words"),
    [
        (READ_8, "01 81 05", 5, "exception 05: unknown"),
        (ON_0, "01 85 02", 2, "exception 02: no such relay or input"),
        (ON_0, "01 85 04", 4, "exception 04: device failure"),
    ],
)
def test_exceptions_are_named(request_, head, code, words):
    (refusal,) = expecting(request_).feed(modbus.frame(bytes.fromhex(head)))
    assert refusal == Refusal(function=request_[1], code=code)
    assert refusal.words == words


@pytest.mark.parametrize(
    "build",
    [
        lambda: modbus.write_coil(0, 0, True),
        lambda: modbus.write_coil(248, 0, True),
        lambda: modbus.write_coil(1, 65536, True),
        lambda: modbus.read_coils(1, 0, 0),
        lambda: modbus.read_inputs(1, 0, 2001),
        lambda: modbus.write_coils(1, 0, []),
        lambda: modbus.pulse_coil(1, 0, 0.05),
        lambda: modbus.pulse_coil(1, 0, 6554),
    ],
)
def test_impossible_requests_are_refused(build):
    with pytest.raises(ValueError, match="expected"):
        build()


def test_a_pulse_is_never_longer_than_was_asked():
    assert modbus.pulse_coil(1, 0, 0.79) == modbus.pulse_coil(1, 0, 0.7)


def test_the_line_rests_for_three_and_a_half_characters():
    assert modbus.frame_gap_s(9600) == pytest.approx(0.00401, abs=1e-5)
    assert modbus.frame_gap_s(115200) == 0.00175


# --- which answer belongs to which request ---------------------------------------------------------------------------


def test_nothing_is_an_answer_while_nothing_is_asked():
    assert ModbusCodec().feed(ON_0) == [Dropped(byte_count=8)]


def test_one_request_has_one_answer():
    codec = expecting(READ_8)
    assert codec.feed(ALL_ON + ALL_ON) == [Bits(function=1, values=(True,) * 8), Dropped(byte_count=6)]
    assert codec.feed(ALL_ON) == [Dropped(byte_count=6)]


@pytest.mark.parametrize(
    "late",
    [
        OFF_0,  # the echo of the command before
        modbus.write_coil(1, 1, True),  # of another relay
        modbus.write_coil(2, 0, True),  # of another board
        bytes.fromhex("01 02 01 00 A1 88"),
        modbus.frame(bytes.fromhex("01 82 02")),
    ],
)
def test_late_and_foreign_answers_are_dropped(late):
    events = expecting(ON_0).feed(late + ON_0)
    assert events == [Dropped(byte_count=len(late)), Echo(function=5)]


def test_what_is_held_of_an_earlier_answer_never_completes_the_next():
    codec = expecting(READ_8)
    assert codec.feed(ALL_ON[:4]) == []
    codec.expect(READ_8)
    assert codec.feed(ALL_ON[4:]) == [Dropped(byte_count=6)]
    assert answers(codec.feed(ALL_ON)) == [Bits(function=1, values=(True,) * 8)]


def test_a_read_that_comes_back_by_itself_is_no_answer():
    assert answers(expecting(READ_8).feed(READ_8)) == []  # an adapter that hears itself
    assert answers(expecting(READ_8).feed(READ_8 + ALL_ON)) == [Bits(function=1, values=(True,) * 8)]


def test_an_answer_behind_a_false_start_is_found_when_the_time_is_up():
    codec = expecting(modbus.read_coils(1, 0, 2000))
    assert codec.feed(bytes([1, 1, 250]) + REFUSED) == []
    assert codec.give_up() == [Dropped(byte_count=3), Refusal(function=1, code=4)]
    assert codec.held_bytes == 0


@unhurried
@given(bit=st.integers(0, len(ALL_ON) * 8 - 1))
def test_one_flipped_bit_is_no_answer(bit):
    spoilt = bytearray(ALL_ON)
    spoilt[bit // 8] ^= 1 << bit % 8
    codec = expecting(READ_8)
    assert answers([*codec.feed(bytes(spoilt)), *codec.give_up()]) == []


@unhurried
@given(junk=st.binary(max_size=300), places=st.lists(st.integers(0, 400), max_size=12))
def test_the_answer_is_found_after_any_junk_in_any_pieces_and_the_junk_is_counted(junk, places):
    codec = expecting(READ_8)
    events = [event for chunk in cut(junk + ALL_ON, places) for event in codec.feed(chunk)]
    assert answers(events) == [Bits(function=1, values=(True,) * 8)]
    assert dropped(events) == len(junk)


@unhurried
@given(chunks=st.lists(st.one_of(st.binary(max_size=400), st.just(READ_8), st.just(bytes([1, 1, 250])))))
def test_any_bytes_never_raise_and_never_pile_up(chunks):
    host, board = expecting(modbus.read_coils(1, 0, 2000)), RequestCodec()
    for chunk in chunks:
        host.feed(chunk)
        board.feed(chunk)
        assert host.held_bytes <= modbus.LONGEST_BYTES
        assert board.held_bytes <= modbus.LONGEST_BYTES


# --- the board ------------------------------------------------------------------------------------------------------


def test_the_board_switches_and_tells_its_relays():
    edges = []
    board = SimRelayBoard(on_relay=lambda *edge: edges.append(edge))
    assert asked(board, ON_0, at=1.0) == [Echo(function=5)]
    assert board.relays == (True,) + (False,) * 7
    assert asked(board, READ_8, at=2.0) == [Bits(function=1, values=board.relays)]
    assert asked(board, modbus.write_coils(1, 1, [True, True]), at=3.0) == [Echo(function=15)]
    assert asked(board, OFF_0, at=4.0) == [Echo(function=5)]
    assert board.relays == (False, True, True) + (False,) * 5
    assert edges == [(0, True, 1.0), (1, True, 3.0), (2, True, 3.0), (0, False, 4.0)]


def test_the_board_tells_its_inputs():
    board = SimRelayBoard()
    board.set_input(2, True)
    assert asked(board, INPUTS_8, at=1.0) == [Bits(function=2, values=(False, False, True) + (False,) * 5)]


def test_the_board_ends_a_pulse_by_itself():
    edges = []
    board = SimRelayBoard(on_relay=lambda *edge: edges.append(edge))
    assert asked(board, modbus.pulse_coil(1, 3, 0.7), at=1.0) == [Echo(function=5)]
    board.due(1.69)
    assert board.relays[3]
    board.due(1.71)
    assert not board.relays[3]
    assert edges == [(3, True, 1.0), (3, False, 1.71)]


def test_a_pulse_off_is_the_other_way_round():
    board = SimRelayBoard()
    board.answer(ON_0, 1.0)
    board.answer(modbus.pulse_coil(1, 0, 0.3, base=modbus.PULSE_OFF), 2.0)
    assert not board.relays[0]
    board.due(2.4)
    assert board.relays[0]


def test_a_plain_command_overrules_a_pulse():
    board = SimRelayBoard()
    board.answer(modbus.pulse_coil(1, 0, 0.5), 1.0)
    board.answer(ON_0, 1.2)
    board.due(9.0)
    assert board.relays[0]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("01 03 00 00 00 01", 1),
        ("01 05 00 08 FF 00", 2),
        ("01 01 00 00 00 09", 2),
        ("01 05 00 00 12 34", 3),
        ("01 05 02 00 00 00", 3),
        ("01 01 00 00 00 00", 3),
        ("01 0F 00 00 00 08 02 FF FF", 3),
    ],
)
def test_the_board_refuses_what_it_cannot_do(body, code):
    board = SimRelayBoard()
    request = modbus.frame(bytes.fromhex(body))
    assert asked(board, request, at=1.0) == [Refusal(function=request[1], code=code)]
    assert not any(board.relays)


def test_the_board_is_silent_for_others_and_for_damaged_requests():
    board = SimRelayBoard(address=2)
    assert asked(board, ON_0, at=1.0) == []
    assert asked(board, modbus.write_coil(2, 0, True)[:-1] + b"\x00", at=2.0) == []
    assert not any(board.relays)


def test_the_board_takes_a_pause_for_the_end_of_a_frame():
    board = SimRelayBoard()
    board.answer(bytes.fromhex("01 0F 00 00 00 08 F0"), 1.0)  # the head of a very long request, and then nothing
    assert asked(board, READ_8, at=2.0) == [Bits(function=1, values=(False,) * 8)]


def test_nothing_is_locked_while_an_edge_is_told():
    board = SimRelayBoard(on_relay=lambda index, on, _now: board.set_input(index, on))  # the gate's door follows
    board.answer(ON_0, 1.0)
    assert asked(board, INPUTS_8, at=2.0) == [Bits(function=2, values=(True,) + (False,) * 7)]


@pytest.mark.parametrize(
    ("fault", "heard", "moved"),
    [
        ("no-echo", [], True),
        ("exception-02", [Refusal(function=5, code=2)], False),
        ("exception-04", [Refusal(function=5, code=4)], False),
        ("unchanged", [Echo(function=5)], False),
        ("late", [], True),
    ],
)
def test_each_fault_shows_at_the_first_command_and_ends_when_healed(fault, heard, moved):
    board = SimRelayBoard()
    board.fault(fault)
    assert asked(board, ON_0, at=1.0) == heard
    assert board.relays[0] is moved
    board.heal()
    board.due(1.0 + LATE_S)
    assert asked(board, OFF_0, at=5.0) == [Echo(function=5)]
    assert asked(board, READ_8, at=6.0) == [Bits(function=1, values=(False,) * 8)]


def test_a_late_answer_is_not_taken_for_the_answer_to_the_next_request():
    board = SimRelayBoard()
    board.fault("late")
    board.answer(ON_0, 1.0)
    board.heal()
    codec = expecting(OFF_0)
    events = codec.feed(board.answer(OFF_0, 1.0 + LATE_S - 0.001) + board.due(1.0 + LATE_S))
    assert events == [Dropped(byte_count=8)]
    assert answers(codec.feed(board.due(1.0 + LATE_S + 0.1))) == [Echo(function=5)]


def test_every_fault_is_tested_and_no_other_is_known():
    assert set(SimRelayBoard.FAULTS) == {"no-echo", "exception-02", "exception-04", "unchanged", "late"}
    with pytest.raises(ValueError, match="unchanged"):
        SimRelayBoard().fault("on-fire")
