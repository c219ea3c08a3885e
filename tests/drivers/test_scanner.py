"""The rules of the code scanners: what is a code, what is an answer, and how each fault shows and ends."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs import gm65
from drivers.codecs.framing import Dropped
from drivers.codecs.gm65 import Answer, Code, Overlong, ScannerCodec, Unfinished, encode_answer
from drivers.codecs.scanner import Gm65Dialect, LineScannerDialect
from drivers.readings import CodeReading, Identity, Junk, Sign, Symptom, Trouble
from drivers.sim.scanner import NOT_UTF8, SimScanner

unhurried = settings(deadline=None, max_examples=60)  # a busy machine is no failed rule, and the suite has 5 s
TURN_S = 0.05
PASS = b"SG1.synthetic-pass-0001"
ACKNOWLEDGED = bytes.fromhex("02 00 00 01 00 33 31")
MODEL = encode_answer(b"\x04")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def codes(readings):
    return [reading.content for reading in readings if isinstance(reading, CodeReading)]


def troubles(readings):
    return [reading.symptom for reading in readings if isinstance(reading, Trouble)]


def junk_bytes(readings):
    return sum(reading.byte_count for reading in readings if isinstance(reading, Junk))


class Line:
    """A dialect in the hands of a reader that turns every 0.05 s, and perhaps a simulated unit at the other end."""

    def __init__(self, dialect, unit=None):
        self.dialect, self.unit, self.turn, self.readings, self.asked = dialect, unit, 0, [], []

    @property
    def now(self):
        return 100.0 + self.turn * TURN_S

    def run(self, seconds, *chunks):
        """Let turns go by, the chunks in the first of them, and return what was read meanwhile."""
        waiting, before = list(chunks), len(self.readings)
        for _ in range(max(round(seconds / TURN_S), len(waiting))):
            self.turn += 1
            asked = self.dialect.due(self.now)
            self.asked += [asked] if asked else []
            heard = waiting.pop(0) if waiting else b""
            if self.unit:
                heard += (self.unit.answer(asked, self.now) if asked else b"") + self.unit.due(self.now)
            self.readings += self.dialect.feed(heard, self.now)
        return self.readings[before:]


def plain(**options):
    """Return a plain scanner's line that has been open for a while."""
    line = Line(LineScannerDialect(**options))
    line.run(1.0)
    return line


def answering():
    line = Line(Gm65Dialect(), SimScanner())
    line.run(2.0)
    return line


# --- bytes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "hexadecimal"),
    [
        (gm65.start_scan_command(), "7E 00 08 01 00 02 01 02 DA"),
        (gm65.save_command(), "7E 00 09 01 00 00 00 DE C8"),
        (gm65.read_baud_command(), "7E 00 07 01 00 2A 02 D8 0F"),
        (gm65.baud_command(9600), "7E 00 08 02 00 2A 39 01 A7 EA"),
        (gm65.baud_command(115200), "7E 00 08 02 00 2A 1A 00 E4 7E"),
        (gm65.serial_output_command(), "7E 00 08 01 00 0D 00 02 C5"),
        (gm65.read_model_command(), "7E 00 07 01 00 E0 01 11 F3"),
    ],
)
def test_commands_are_the_published_bytes(command, hexadecimal):
    assert command == bytes.fromhex(hexadecimal)


@pytest.mark.parametrize(("baud", "register"), [(4800, "71 02"), (14400, "D0 00")])
def test_the_speed_register_is_little_endian(baud, register):
    assert gm65.baud_command(baud)[6:8] == bytes.fromhex(register)


def test_sleep_and_wake_write_the_same_register():
    assert gm65.sleep_command()[:7] == bytes.fromhex("7E 00 08 01 00 D9 A5")
    assert gm65.wake_command()[:7] == bytes.fromhex("7E 00 08 01 00 D9 00")


def test_the_simulated_unit_acknowledges_the_published_commands():
    unit = SimScanner()
    assert unit.answer(bytes.fromhex("7E 00 08 01 00 02 01 AB CD")) == ACKNOWLEDGED  # a CRC that is not checked
    assert unit.answer(gm65.save_command()) == ACKNOWLEDGED
    assert unit.answer(gm65.baud_command(9600)[:-1] + b"\x00") == b""
    assert unit.answer(gm65.read_baud_command()) == encode_answer(bytes.fromhex("39 01"))


# --- codes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_a_code_ends_with_its_terminator(end):
    codec = ScannerCodec()
    events = codec.feed(PASS + end + b"second" + end)
    assert events == [Code(content=PASS), Code(content=b"second")]
    assert not codec.busy


def test_the_strict_terminator_is_the_pair_only():
    assert ScannerCodec(terminator="crlf").feed(b"one\rtwo\nthree\r\n") == [Code(content=b"one\rtwo\nthree")]


def test_an_unknown_terminator_is_refused():
    with pytest.raises(ValueError, match="expected one of"):
        ScannerCodec(terminator="tab")


@pytest.mark.parametrize(
    "content", [b"~tilde", b"a\x02b", b"\x7e\x00\x07", b"\x02\x00", "访客码".encode(), b"\xff\xfe"]
)
def test_a_code_may_hold_any_byte_but_its_end(content):
    assert ScannerCodec().feed(content + b"\r") == [Code(content=content)]
    awaiting = ScannerCodec()
    awaiting.expect()
    assert awaiting.feed(content + b"\r") + awaiting.forget() == [Code(content=content)]


@unhurried
@given(places=st.lists(st.integers(0, 200), max_size=20))
def test_torn_delivery_changes_nothing(places):
    wire = PASS + b"\r\n" + MODEL + "第二码".encode() + b"\r\n"
    codec = ScannerCodec()
    codec.expect()
    events = [event for chunk in cut(wire, places) for event in codec.feed(chunk)]
    assert events == [Code(content=PASS), Answer(result=0, value=4), Code(content="第二码".encode())]


@pytest.mark.parametrize("size", [513, 519, 1024, 2048, 5000])
@pytest.mark.parametrize("step", [1, 7, 512, 5000])
def test_a_code_that_is_too_long_is_dropped_whole_and_its_tail_is_no_code(size, step):
    codec = ScannerCodec()
    wire = b"x" * size + b"\r" + PASS + b"\r"
    events = [event for start in range(0, len(wire), step) for event in codec.feed(wire[start : start + step])]
    assert events == [Overlong(byte_count=size), Code(content=PASS)]


def test_the_longest_code_is_read():
    assert ScannerCodec().feed(b"x" * 512 + b"\r") == [Code(content=b"x" * 512)]


def test_quiet_ends_what_has_no_terminator_and_the_next_code_stands_alone():
    codec = ScannerCodec()
    assert codec.feed(b"first") == []
    assert codec.quiet() == [Unfinished(content=b"first")]
    assert codec.feed(b"second\r") == [Code(content=b"second")]


def test_where_quiet_is_the_terminator_it_ends_the_code():
    codec = ScannerCodec(terminator="none")
    assert codec.feed(b"line\nbreak") == []
    assert codec.quiet() == [Code(content=b"line\nbreak")]


# --- answers ---------------------------------------------------------------------------------------------------------


def test_no_answer_is_seen_while_none_is_awaited():
    assert ScannerCodec().feed(MODEL + PASS + b"\r") == [Dropped(byte_count=7), Code(content=PASS)]


def test_an_answer_with_a_line_end_inside_is_whole():
    codec = ScannerCodec()
    codec.expect()
    answer = encode_answer(b"\x0d")
    assert codec.feed(answer[:5]) == []
    assert codec.feed(answer[5:] + PASS + b"\r") == [Answer(result=0, value=13), Code(content=PASS)]


def test_an_answer_with_a_wrong_check_is_no_answer():
    codec = ScannerCodec()
    codec.expect()
    assert not [event for event in codec.feed(MODEL[:-1] + b"\x00\r") if isinstance(event, Answer)]


def test_a_code_without_terminator_is_not_joined_with_the_next_over_an_answer():
    codec = ScannerCodec()
    codec.expect()
    events = codec.feed(b"first" + MODEL + b"second\r")
    assert events == [Dropped(byte_count=5), Answer(result=0, value=4), Code(content=b"second")]


def test_one_question_has_one_answer():
    codec = ScannerCodec()
    codec.expect()
    assert codec.feed(MODEL + MODEL + PASS + b"\r") == [
        Answer(result=0, value=4), Dropped(byte_count=7), Code(content=PASS),
    ]  # fmt: skip


@unhurried
@given(
    chunks=st.lists(st.one_of(st.binary(max_size=700), st.just(MODEL), st.just(MODEL[:5]), st.just(b"\x02" * 600))),
    acts=st.lists(st.sampled_from(["expect", "forget", "quiet", "skip"])),
    terminator=st.sampled_from(["cr", "crlf", "none"]),
)
def test_any_bytes_never_raise_and_never_pile_up(chunks, acts, terminator):
    codec = ScannerCodec(terminator=terminator)
    for place, chunk in enumerate(chunks):
        codec.feed(chunk)
        assert codec.held_bytes <= gm65.LONGEST_BYTES
        if place < len(acts):
            getattr(codec, acts[place])()
            assert codec.held_bytes <= gm65.LONGEST_BYTES


@unhurried
@given(junk=st.binary(max_size=900), places=st.lists(st.integers(0, 900), max_size=8))
def test_a_code_is_read_after_any_junk_and_a_rest(junk, places):
    line = plain()
    line.run(0, *cut(junk, places))
    line.run(4.0)
    assert codes(line.run(0.5, PASS + b"\r")) == [PASS]


# --- dialogue --------------------------------------------------------------------------------------------------------


def test_the_model_is_asked_for_at_once_and_every_second():
    line = answering()
    assert set(line.asked) == {gm65.read_model_command()}
    assert len(line.asked) in (2, 3)
    assert [reading.text for reading in line.readings if isinstance(reading, Identity)] == ["GM65 family, model 04"]
    assert troubles(line.readings) == []


def test_no_question_is_sent_into_a_code_that_is_arriving():
    line = answering()
    line.run(1.5)
    before = len(line.asked)
    chunks = [bytes([byte]) for byte in PASS * 2]
    assert codes(line.run(0, *chunks, b"\r")) == [PASS * 2]
    assert len(line.asked) - before <= 1
    assert len(chunks) * TURN_S > 2 * 1.0


def test_a_unit_that_does_not_answer_gives_no_sign_of_life():
    line = Line(Gm65Dialect())
    assert line.run(5.0) == []
    assert line.dialect.silence_s < 4.0


def test_noise_on_a_line_whose_unit_does_not_answer_is_junk_and_nothing_else():
    noise = random.Random(5)
    line = Line(Gm65Dialect())
    readings = line.run(0, *(noise.randbytes(120) for _ in range(100)))
    assert {type(reading) for reading in readings} == {Junk}


def test_a_refused_question_is_told_when_it_is_refused_again():
    line = Line(Gm65Dialect())
    refused = encode_answer(b"\x00", result=1)
    first = line.run(0.5, refused)
    assert troubles(first) == []
    line.run(0.5)
    assert troubles(line.run(0.1, b"", refused)) == [Symptom.REFUSED]


def test_the_same_code_within_a_second_is_one_reading():
    line = answering()
    for _ in range(5):
        line.run(0.9, PASS + b"\r")
    assert codes(line.readings) == [PASS]
    line.run(1.1)
    assert codes(line.run(0.5, PASS + b"\r")) == [PASS]


def test_two_codes_in_turns_are_two_readings():
    line = answering()
    for _ in range(4):
        line.run(0.2, PASS + b"\r")
        line.run(0.2, b"another-code\r")
    assert codes(line.readings) == [PASS, b"another-code"]


@pytest.mark.parametrize("content", [b"\x00", b"a\x02b", b"\x1b[2J", b"del\x7f"])
def test_control_characters_make_a_code_unreadable(content):
    readings = answering().run(0.1, content + b"\r")
    assert codes(readings) == []
    assert troubles(readings) == [Symptom.CODE_UNREADABLE]


def test_a_tab_is_text():
    assert codes(answering().run(0.1, b"one\ttwo\r")) == [b"one\ttwo"]


def test_what_arrives_while_the_port_is_opened_may_be_the_rest_of_a_code():
    line = Line(LineScannerDialect())
    assert codes(line.run(0.5, b"12345678\r")) == []
    assert codes(line.run(0.5, PASS + b"\r")) == [PASS]


def test_the_rest_of_a_code_that_stalled_is_no_code():
    line = plain()
    readings = line.run(0.5, b"badge-1234") + line.run(1.0, b"5678\r")
    assert codes(readings) == []
    assert codes(line.run(0.5, PASS + b"\r")) == [PASS]


def test_a_reader_that_stood_still_joins_nothing():
    line = plain()
    line.run(0, b"badge-1")
    line.turn += 40  # two seconds in which nobody listened
    assert codes(line.run(0.5, b"badge-2\r")) == []
    assert codes(line.run(0.5, PASS + b"\r")) == [PASS]


def test_where_quiet_is_the_terminator_the_code_comes_after_a_tenth_of_a_second():
    line = plain(terminator="none")
    assert codes(line.run(0, PASS[:5], PASS[5:], b"")) == []
    assert codes(line.run(0.1)) == [PASS]


# --- a plain scanner -------------------------------------------------------------------------------------------------


def test_a_plain_scanner_is_never_silent_and_never_spoken_to():
    line = plain()
    assert line.dialect.silence_s == math.inf
    assert line.asked == []
    assert [type(reading) for reading in line.readings] == [Sign]


def test_noise_on_a_plain_line_is_told_within_five_seconds_and_its_end_too():
    line, noise = plain(), random.Random(6)
    readings = line.run(0, *(noise.randbytes(120) for _ in range(100)))
    assert Symptom.NOISE in troubles(readings)
    assert Symptom.NOISE in troubles(line.readings[-20:])  # repeated while it lasts
    readings = line.run(10.0)
    assert [type(reading) for reading in readings][-1:] == [Sign]


# --- faults ----------------------------------------------------------------------------------------------------------


def shown(line, seconds):
    """Return what is read while somebody shows a new code every second."""
    before = len(line.readings)
    for number in range(round(seconds)):
        line.unit.scan(f"code-{line.turn}-{number}".encode())
        line.run(1.0)
    return line.readings[before:]


@pytest.mark.parametrize(
    ("fault", "symptom"), [("no-terminator", Symptom.MISCONFIGURED), ("huge-code", Symptom.CODE_UNREADABLE)]
)
def test_a_fault_that_loses_codes_is_told_within_five_seconds_and_ends(fault, symptom):
    line = answering()
    line.unit.fault(fault)
    during = shown(line, 5)
    assert symptom in troubles(during)
    assert codes(during) == []
    assert junk_bytes(during) > 0
    line.unit.heal()
    after = shown(line, 10)
    assert len(codes(after)) >= 8
    assert troubles(after[-10:]) == []
    assert Sign in {type(reading) for reading in after[-10:]}


def test_while_codes_come_without_terminator_no_answer_makes_the_scanner_look_well():
    line = answering()
    line.unit.fault("no-terminator")
    shown(line, 4)
    during = shown(line, 5)
    assert not [reading for reading in during if isinstance(reading, Sign)]
    assert troubles(during).count(Symptom.MISCONFIGURED) >= 4


def test_a_glued_acknowledgement_is_removed_and_counted():
    line = answering()
    line.unit.fault("glued-ack")
    line.unit.scan(PASS)
    readings = line.run(1.0)
    assert codes(readings) == [PASS]
    assert junk_bytes(readings) == len(ACKNOWLEDGED)


def test_a_code_that_is_read_three_times_is_one_reading():
    line = answering()
    line.unit.fault("duplicates")
    line.unit.scan(PASS)
    assert codes(line.run(2.0)) == [PASS]
    line.unit.heal()
    assert len(codes(shown(line, 3))) == 3


def test_bytes_that_are_no_utf8_pass_as_bytes():
    line = answering()
    line.unit.fault("not-utf8")
    line.unit.scan(PASS)
    assert codes(line.run(1.0)) == [PASS + NOT_UTF8]
    line.unit.heal()
    assert len(codes(shown(line, 3))) == 3


def test_every_fault_is_tested_and_no_other_is_known():
    assert set(SimScanner.FAULTS) == {"glued-ack", "no-terminator", "huge-code", "duplicates", "not-utf8"}
    with pytest.raises(ValueError, match="glued-ack"):
        SimScanner().fault("on-fire")


def test_a_code_is_not_shown_where_it_could_be_logged():
    (reading,) = [reading for reading in answering().run(0.1, PASS + b"\r") if isinstance(reading, CodeReading)]
    assert "synthetic" not in repr(reading) + repr(Code(content=PASS)) + repr(Unfinished(content=PASS))
