"""Questions and answers on a Modbus line: each in its turn, only the right answer believed, silence kept when due."""

import threading
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs import modbus
from drivers.codecs.modbus import Bits, Echo
from drivers.modbus_line import ANSWER_S, DRAIN_MOST, QUIET_S, USUAL_BAUD, ModbusLine
from drivers.readings import Symptom
from drivers.wiring import WireFault

ON, OFF = modbus.write_coil(1, 0, True), modbus.write_coil(1, 0, False)
READ = modbus.read_coils(1, 0, 8)
NONE_ON, FIRST_ON = modbus.frame(bytes([1, 1, 1, 0])), modbus.frame(bytes([1, 1, 1, 1]))
FRAME_S = len(ON) * 10 / USUAL_BAUD


class Wire:
    """A port in its own time: what is written is kept with its moment, and answers come when they were planned."""

    baud = USUAL_BAUD

    def __init__(self):
        self.now = 100.0
        self.said = []
        self.coming = []
        self.answers = {}
        self.while_reading = lambda: None

    def clock(self):
        return self.now

    def plan(self, delay_s, chunk):
        self.coming.append((self.now + delay_s, chunk))

    def write(self, data):
        self.said.append((self.now, data))
        for delay_s, chunk in self.answers.get(data, []):
            self.plan(delay_s, chunk)

    def read(self, timeout_s):
        act, self.while_reading = self.while_reading, lambda: None
        act()
        self.coming.sort(key=lambda planned: planned[0])
        if self.coming and self.coming[0][0] <= self.now + timeout_s:
            at, chunk = self.coming.pop(0)
            self.now = max(self.now, at)
            return chunk
        self.now += timeout_s
        return b""

    def close(self):
        self.closed = True


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def line(wire):
    return ModbusLine(wire, address=1, clock=wire.clock)


def symptom_of(ask, *args):
    with pytest.raises(WireFault) as told:
        ask(*args)
    return told.value.symptom


def test_an_answer_may_come_in_pieces(wire, line):
    wire.answers = {ON: [(0.01, ON[:3]), (0.02, ON[3:])], READ: [(0.1, FIRST_ON)]}
    assert line.ask(ON) == Echo(function=5)
    assert line.ask(READ) == Bits(function=1, values=(True,) + (False,) * 7)
    assert line.ask_bits(READ)[0] is True


def test_what_came_before_the_question_is_no_answer(wire, line):
    wire.plan(0.0, FIRST_ON)
    wire.answers = {READ: [(0.02, NONE_ON)]}
    assert line.ask_bits(READ) == (False,) * 8


@pytest.mark.parametrize(
    "stranger", [modbus.frame(bytes([2, 1, 1, 255])), OFF, modbus.frame(bytes([1, 2, 1, 255])), b"\x00\xff"]
)
def test_what_answers_another_question_is_no_answer(wire, line, stranger):
    wire.answers = {READ: [(0.01, stranger), (0.02, NONE_ON)]}
    assert line.ask_bits(READ) == (False,) * 8
    wire.answers = {READ: [(0.01, stranger)]}
    assert symptom_of(line.ask, READ) is Symptom.NOISE


def test_a_refusal_is_told_in_words(wire, line):
    wire.answers = {ON: [(0.01, modbus.frame(bytes([1, 0x85, 2])))]}
    with pytest.raises(WireFault, match="no such relay or input") as told:
        line.ask(ON)
    assert told.value.symptom is Symptom.REFUSED


def test_after_a_silence_nothing_is_asked_until_no_answer_can_come_any_more(wire, line):
    wire.answers = {READ: [(ANSWER_S + 1.0, FIRST_ON)]}
    assert symptom_of(line.ask, READ) is Symptom.SILENT
    wire.answers = {READ: [(0.02, NONE_ON)]}
    wire.now += QUIET_S - 0.1
    assert line.quiet and symptom_of(line.ask, READ) is Symptom.SILENT
    assert len(wire.said) == 1
    wire.now += 0.2
    assert line.ask_bits(READ) == (False,) * 8, "the late answer was taken for the new one"


def test_an_answer_that_came_while_the_host_was_busy_is_heard(wire, line):
    """A host that had no turn for longer than the answer may take finds it in the port."""
    wire.answers = {READ: [(0.02, FIRST_ON[:3]), (0.03, FIRST_ON[3:])]}

    def busy():
        wire.while_reading = lambda: setattr(wire, "now", wire.now + 2 * ANSWER_S)  # the first read is the drain's

    wire.while_reading = busy
    assert line.ask_bits(READ)[0] is True


def test_who_has_time_hears_an_answer_that_is_later_than_usual(wire, line):
    wire.answers = {READ: [(2 * ANSWER_S, FIRST_ON)]}
    assert line.ask_bits(READ, answer_s=3 * ANSWER_S)[0] is True
    assert not line.quiet


def test_who_waits_for_his_turn_behind_a_silence_asks_nothing(wire, line):
    told = []
    second = threading.Thread(target=lambda: told.append(symptom_of(line.ask, OFF)))
    wire.while_reading = second.start
    assert symptom_of(line.ask, READ) is Symptom.SILENT
    second.join()
    assert told == [Symptom.SILENT]
    assert [data for _, data in wire.said] == [READ]


def test_noise_is_no_silence_and_the_next_question_may_follow(wire, line):
    wire.answers = {READ: [(0.01, b"\x55\xaa")]}
    assert symptom_of(line.ask, READ) is Symptom.NOISE
    assert not line.quiet
    wire.answers = {READ: [(0.01, NONE_ON)]}
    assert line.ask_bits(READ) == (False,) * 8


def test_between_two_frames_lies_the_pause_that_boards_tell_them_apart_by(wire, line):
    """Two commands that nobody waits to hear answered would run into one, and be none."""
    for request in (OFF, modbus.write_coil(1, 1, False), READ):
        line.say(request)
    wire.answers = {READ: [(FRAME_S, NONE_ON)]}
    line.ask(READ)
    moments = [at for at, _ in wire.said]
    pauses = [later - earlier - FRAME_S for earlier, later in pairwise(moments)]
    assert len(pauses) == 3 and min(pauses) >= modbus.frame_gap_s(USUAL_BAUD)


def test_a_command_is_said_even_while_the_line_is_left_alone(wire, line):
    assert symptom_of(line.ask, READ) is Symptom.SILENT
    line.say(OFF)
    assert wire.said[-1][1] == OFF


def test_a_line_that_never_falls_silent_is_noise_and_ends(wire, line):
    for turn in range(10 * DRAIN_MOST):
        wire.plan(turn * 0.002, b"\x00")
    assert symptom_of(line.ask, READ) is Symptom.NOISE


@settings(max_examples=200)
@given(chunks=st.lists(st.tuples(st.floats(0.0, 0.5), st.binary(max_size=12) | st.sampled_from([NONE_ON, ON, OFF]))))
def test_whatever_comes_only_the_true_answer_is_believed(chunks):
    wire = Wire()
    line = ModbusLine(wire, address=1, clock=wire.clock)
    wire.answers = {READ: chunks}
    try:
        states = line.ask_bits(READ)
    except WireFault as error:
        assert error.symptom in (Symptom.SILENT, Symptom.NOISE, Symptom.REFUSED)
    else:
        heard = b"".join(chunk for _, chunk in sorted(chunks, key=lambda planned: planned[0]))
        assert modbus.frame(bytes([1, 1, 1]) + modbus.pack(states)) in heard
