"""The rules of the point modules: four dialects' bytes, and figures that are believed only while they can be true."""

from itertools import pairwise
from math import isnan

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import drivers
from drivers.codecs import point_frames
from drivers.codecs.framing import Dropped
from drivers.codecs.point_frames import (
    CHIP,
    CJ_BAUD_CODES,
    CJ_CONTINUOUS,
    CJ_QUERY,
    DATA,
    LONGEST_LINE_BYTES,
    LONGEST_REGISTER_BYTES,
    SHORT_BYTES,
    ChipFrame,
    CjMcu90614Codec,
    Gy614VCodec,
    GyMcu90614Codec,
    PointFrame,
    TextCodec,
)
from drivers.codecs.thermal_point import CjMcu90614Dialect, Gy614VDialect, GyMcu90614Dialect, TextDialect
from drivers.readings import Identity, Impairment, Junk, Sign, Symptom, ThermalReading, Trouble
from drivers.sim.thermal_point import (
    SimCjMcu90614,
    SimGy614V,
    SimGyMcu90614,
    SimText,
    cj_frame,
    gy_frame,
    register_frame,
)

unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failed rule, and the suite has 5 s
GY = bytes.fromhex("5A 5A 45 04 0E 10 0A 28 4D")
CJ = bytes.fromhex("66 66 01 04 0E 10 0A 28 21")
REGISTERS = bytes.fromhex("A4 03 07 07 5F 0D 7A 0A 28 0E 42 1D")
LINE = b"Ambient = 26.00*C  Object = 36.00*C\r\n"

# codec, its published frame, another one, the longest frame
CODECS = [
    pytest.param(GyMcu90614Codec, GY, gy_frame(34.21, 21.5), SHORT_BYTES, id="gy-mcu90614"),
    pytest.param(CjMcu90614Codec, CJ, cj_frame(34.21, 21.5), SHORT_BYTES, id="cjmcu-90614"),
    pytest.param(Gy614VCodec, REGISTERS, register_frame(34.21, 21.5, 36.6), LONGEST_REGISTER_BYTES, id="gy-614v"),
    pytest.param(TextCodec, LINE, b"Ambient = 21.50*C  Object = 34.21*C\r\n", LONGEST_LINE_BYTES, id="text"),
]
CHECKED = CODECS[:3]  # a line of text has no checksum
MODULES = [
    pytest.param(GyMcu90614Dialect, SimGyMcu90614, id="gy-mcu90614"),
    pytest.param(CjMcu90614Dialect, SimCjMcu90614, id="cjmcu-90614"),
    pytest.param(Gy614VDialect, SimGy614V, id="gy-614v"),
    pytest.param(TextDialect, SimText, id="text"),
]


def frames(events):
    return [event for event in events if isinstance(event, PointFrame)]


def figures(events):
    return [(event.object_celsius, event.ambient_celsius) for event in frames(events)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def started(codec_class):
    """Return a codec that has heard the end of a line before."""
    codec = codec_class()
    codec.feed(b"\r\n" if codec_class is TextCodec else b"")
    return codec


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("codec_class", "frame", "other", "longest"), CHECKED)
def test_published_frame_is_read(codec_class, frame, other, longest):
    expected = (34.5, 26.0) if frame == REGISTERS else (36.0, 26.0)
    assert figures(codec_class().feed(frame)) == [expected]
    assert figures(codec_class().feed(other)) == [(34.21, 21.5)]


def test_simulated_frames_are_the_published_ones():
    assert gy_frame(36.0, 26.0) == GY
    assert cj_frame(36.0, 26.0) == CJ
    assert register_frame(34.5, 26.0, 36.5) == REGISTERS


def test_the_figure_that_a_module_makes_up_is_kept_apart():
    (frame,) = Gy614VCodec().feed(REGISTERS)
    assert frame == PointFrame(object_celsius=34.5, ambient_celsius=26.0, body_celsius=36.5, emissivity=0.95)
    (reading, *_) = Gy614VDialect().feed(REGISTERS, 1.0)
    assert reading.celsius == (34.5,)


@pytest.mark.parametrize(
    ("command", "hexadecimal"),
    [
        (point_frames.gy_continuous_command(), "A5 45 EA"),
        (point_frames.gy_single_command(), "A5 15 BA"),
        (point_frames.gy_baud_command(9600), "A5 AE 53"),
        (point_frames.gy_baud_command(115200), "A5 AF 54"),
        (point_frames.gy_power_on_command(send=True), "A5 51 F6"),
        (point_frames.gy_power_on_command(send=False), "A5 52 F7"),
        (point_frames.register_mode_command(continuous=False), "A4 06 03 01 AE"),
        (point_frames.register_baud_command(115200), "A4 06 01 06 B1"),
        (point_frames.register_read(DATA), "A4 03 07 07 B5"),
        (point_frames.register_save_command(), "A4 06 05 55 04"),
        (point_frames.register_rate_command(10), "A4 06 02 03 AF"),
        (point_frames.cj_command(CJ_CONTINUOUS), "66 66 01 56"),
        (point_frames.cj_command(CJ_QUERY), "66 66 02 56"),
        (point_frames.cj_command(CJ_BAUD_CODES[115200]), "66 66 13 56"),
    ],
)
def test_commands_are_the_published_bytes(command, hexadecimal):
    assert command == bytes.fromhex(hexadecimal)


@pytest.mark.parametrize(("codec_class", "frame", "other", "longest"), CHECKED)
def test_one_flipped_bit_loses_the_frame_and_not_the_next(codec_class, frame, other, longest):
    for bit in range(len(frame) * 8):
        spoilt = bytearray(frame)
        spoilt[bit // 8] ^= 1 << bit % 8
        assert figures(codec_class().feed(bytes(spoilt) + other)) == [(34.21, 21.5)]


@pytest.mark.parametrize(("codec_class", "frame", "other", "longest"), CODECS)
def test_frame_cut_by_the_next_lends_it_nothing(codec_class, frame, other, longest):
    for kept in range(len(frame.rstrip())):
        codec = started(codec_class)
        last = figures([*codec.feed(frame[:kept] + other), *codec.feed(other)])[-1]
        assert last == (34.21, 21.5)
        mixed = set(figures(started(codec_class).feed(frame[:kept] + other))) - {(34.21, 21.5)}
        assert mixed == set()


@pytest.mark.parametrize(("codec_class", "frame", "other", "longest"), CODECS)
@unhurried
@given(places=st.lists(st.integers(0, 200), max_size=12))
def test_torn_delivery_changes_nothing(codec_class, frame, other, longest, places):
    wire = frame + other + frame
    codec, whole = started(codec_class), started(codec_class)
    assert [event for chunk in cut(wire, places) for event in codec.feed(chunk)] == whole.feed(wire)


@pytest.mark.parametrize(("codec_class", "frame", "other", "longest"), CHECKED)
@unhurried
@given(junk=st.binary(max_size=60), places=st.lists(st.integers(0, 200), max_size=8))
def test_good_frame_is_found_after_any_junk_and_the_junk_is_counted(codec_class, frame, other, longest, junk, places):
    assume(frame[:1] not in junk)  # what looks like a head is the business of the tests above
    codec = codec_class()
    events = [event for chunk in cut(junk + other, places) for event in codec.feed(chunk)]
    assert figures(events) == [(34.21, 21.5)]
    assert sum(event.byte_count for event in events if isinstance(event, Dropped)) == len(junk)


@pytest.mark.parametrize(("codec_class", "frame", "other", "longest"), CODECS)
@unhurried
@given(data=st.data())
def test_any_bytes_never_raise_and_never_pile_up(codec_class, frame, other, longest, data):
    piece = st.one_of(st.binary(max_size=120), st.just(frame[:4]), st.just(frame), st.just(frame[:-2]))
    codec = codec_class()
    for chunk in data.draw(st.lists(piece, max_size=30)):
        codec.feed(chunk)
        assert codec.held_bytes <= longest
    for _ in range(2 + longest // len(other)):  # whatever is held is overrun by that many good frames
        last = codec.feed(other)
    assert figures(last)[-1:] == [(34.21, 21.5)]


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"26.00 36.00\n",
        b"Ta:26.00,To:36.00\r",
        b"T1= 26.00\xa1\xe6  T2= 36.00\xa1\xe6\r\n",  # the sign for degrees as modules print it
        b"  +26.00;+36.00 C\n",
    ],
)
def test_two_numbers_with_two_decimals_are_a_measurement_whatever_stands_around_them(line):
    assert figures(started(TextCodec).feed(line)) == [(36.0, 26.0)]


def test_frost_is_below_zero():
    assert figures(started(TextCodec).feed(b"-12.34 -0.50\n")) == [(-0.5, -12.34)]
    assert figures(GyMcu90614Codec().feed(gy_frame(-0.5, -12.34))) == [(-0.5, -12.34)]


@pytest.mark.parametrize(
    "line",
    [b"26.00\n", b"26.00 36.00 37.00\n", b"26.0 36.0\n", b"26.001 36.00\n", b"1.2.00 36.00\n", b"MLX90614 ready\n"],
)
def test_any_other_line_is_junk(line):
    assert started(TextCodec).feed(line) == [Dropped(byte_count=len(line) - 1)]


def test_the_line_in_whose_middle_the_listening_began_is_dropped():
    assert figures(TextCodec().feed(b"6.00 36.00\n26.00 36.00\n")) == [(36.0, 26.0)]


WORDED = b"Ambient = 26.00*C  Object = 36.00*C\r\n"


def worded() -> TextCodec:
    codec = started(TextCodec)
    assert figures(codec.feed(WORDED * 2)) == [(36.0, 26.0)] * 2
    return codec


@pytest.mark.parametrize("place", [index for index, byte in enumerate(WORDED[:-2]) if bytes([byte]).isalpha()])
def test_a_line_whose_words_are_damaged_is_no_measurement(place):
    spoilt = bytearray(WORDED)
    spoilt[place] ^= 1
    codec = worded()
    assert codec.feed(bytes(spoilt)) == [Dropped(byte_count=len(WORDED) - 2)]
    assert figures(codec.feed(WORDED)) == [(36.0, 26.0)]


def test_junk_before_a_line_is_counted_and_the_line_is_read():
    junk, frame = worded().feed(b"\x81\xf3~" + WORDED)
    assert junk == Dropped(byte_count=3)
    assert figures([frame]) == [(36.0, 26.0)]


def test_a_module_that_words_its_lines_anew_is_understood_from_its_second_line_on():
    assert figures(worded().feed(b"To 26.10 36.10\r\n" * 3)) == [(36.1, 26.1)] * 2


@pytest.mark.parametrize(
    "junk",
    [
        b"To 26.10 36.10\r\n" * 2,  # another wording that became the usual one
        b"To 26.10 36.10\r\n" * 2 + b"12.34 ",
        b"To 26.10 36.10\r\n" * 2 + b"x" * 60,
        b"To 26.10 36.10\r\n" * 2 + b"\xff\xfe",
    ],
)
def test_after_any_junk_the_second_good_line_is_found(junk):
    codec = worded()
    codec.feed(junk)
    codec.feed(WORDED)
    assert figures(codec.feed(WORDED)) == [(36.0, 26.0)]


def test_a_line_without_end_is_dropped_and_the_next_is_read():
    codec = started(TextCodec)
    endless = codec.feed(b"26.00 36.00 " * 50)
    assert sum(event.byte_count for event in endless) + codec.held_bytes == 600
    assert figures(codec.feed(b"\n" + LINE)) == [(36.0, 26.0)]


def test_which_number_is_the_object_can_be_told():
    dialect = TextDialect(object_first=True)
    readings = dialect.feed(b"\n36.00 26.00\n36.02 26.00\n", 1.0)
    assert [(reading.celsius, reading.ambient_celsius) for reading in readings[1:]] == [((36.02,), 26.0)]


def test_a_figure_of_text_counts_when_the_next_line_confirms_it():
    dialect = TextDialect()
    readings = dialect.feed(b"\n24.00 36.10\n24.00 76.10\n24.00 36.12\n24.00 36.14\n", 1.0)
    assert [type(reading) for reading in readings] == [Sign, Sign, Sign, ThermalReading]
    assert readings[-1].celsius == (36.14,)


# --- dialogue ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "frame", "command"),
    [
        (GyMcu90614Dialect(), GY, point_frames.gy_continuous_command()),
        (CjMcu90614Dialect(), CJ, point_frames.cj_command(CJ_CONTINUOUS)),
    ],
)
def test_continuous_output_is_asked_for_at_the_start_and_after_a_pause(dialect, frame, command):
    assert dialect.due(10.0) == command
    assert dialect.due(10.1) == b""
    dialect.feed(frame, 11.0)
    assert dialect.due(12.9) == b""
    assert dialect.due(13.1) == command


def test_a_register_module_that_does_not_talk_is_read_twice_a_second():
    module, dialect = SimGy614V(), Gy614VDialect()
    module.answer(point_frames.register_mode_command(continuous=False))
    joined = Joined(dialect, module)
    readings = joined.run(5.0)
    assert 8 <= len(of(ThermalReading, readings)) <= 11
    assert [reading.text for reading in of(Identity, readings)] == ["GY-614V chip 14 firmware 03"]


def test_a_text_module_is_never_spoken_to():
    assert {TextDialect().due(now) for now in (0.0, 1.0, 100.0)} == {b""}


def test_chip_is_told_from_figures():
    module = SimGy614V()
    assert Gy614VCodec().feed(module.answer(point_frames.register_read(CHIP))) == [ChipFrame(chip=0x14, firmware=3)]
    assert module.answer(point_frames.register_read((0x00, 3))) == b""


def test_modules_asked_for_one_value_give_one():
    assert figures(GyMcu90614Codec().feed(SimGyMcu90614().answer(point_frames.gy_single_command())))
    module = SimCjMcu90614()
    assert figures(CjMcu90614Codec().feed(module.answer(point_frames.cj_command(CJ_QUERY))))
    assert module.due(9.0) == b""
    module.answer(point_frames.cj_command(CJ_CONTINUOUS))
    assert len(module.due(9.0)) == SHORT_BYTES


def test_the_table_names_all_four():
    assert drivers.load("gy-mcu90614") is GyMcu90614Dialect
    assert drivers.load("gy-614v") is Gy614VDialect
    assert drivers.load("cjmcu-90614") is CjMcu90614Dialect
    assert drivers.load("mlx90614-text") is TextDialect


# --- faults -----------------------------------------------------------------------------------------------------------

STEP_S = 0.05
WITHIN_S, BACK_WITHIN_S = 5.0, 10.0


class Joined:
    """A simulated module and its dialect on one wire, and a clock that steps."""

    def __init__(self, dialect, module) -> None:
        self.dialect, self.module, self.now = dialect, module, 1000.0
        module.show(36.4)

    def run(self, for_s: float) -> list:
        readings = []
        for _ in range(round(for_s / STEP_S)):
            self.now += STEP_S
            answered = self.module.answer(self.dialect.due(self.now), self.now)
            readings += self.dialect.feed(answered + self.module.due(self.now), self.now)
        return readings


def of(kind, readings):
    return [reading for reading in readings if isinstance(reading, kind)]


def healed(joined: Joined) -> None:
    """End the faults; from the tenth second on there must be measurements and nothing wrong."""
    joined.module.heal()
    joined.run(BACK_WITHIN_S)
    steady = joined.run(3.0)
    assert len(of(ThermalReading, steady)) >= 9
    assert not of((Trouble, Impairment, Junk), steady)


@pytest.mark.parametrize(("dialect_class", "module_class"), MODULES)
def test_a_person_before_a_healthy_module_is_measured(dialect_class, module_class):
    joined = Joined(dialect_class(), module_class())
    readings = joined.run(20.0)
    assert len(of(ThermalReading, readings)) >= 70
    assert not of(Trouble, readings)
    for reading in of(ThermalReading, readings):
        assert reading.is_point
        assert reading.celsius[0] == pytest.approx(36.4, abs=0.09)
        assert reading.ambient_celsius == pytest.approx(24.0, abs=0.09)
    joined.module.show(None)
    joined.run(1.0)
    assert of(ThermalReading, joined.run(1.0))[-1].celsius[0] == pytest.approx(24.0, abs=0.09)


@pytest.mark.parametrize(
    ("fault", "symptom"),
    [("stale", Symptom.FROZEN), ("bit15", Symptom.IMPLAUSIBLE), ("ambient-60", Symptom.IMPLAUSIBLE)],
)
@pytest.mark.parametrize(("dialect_class", "module_class"), MODULES)
def test_fault_is_a_trouble_within_five_seconds_and_nothing_is_believed_while_it_lasts(
    dialect_class, module_class, fault, symptom
):
    joined = Joined(dialect_class(), module_class())
    joined.run(3.0)
    joined.module.fault(fault)
    joined.run(WITHIN_S)
    lasting = joined.run(3.0)
    assert {reading.symptom for reading in of(Trouble, lasting)} == {symptom}
    assert len(of(Trouble, lasting)) >= 11 and not of(ThermalReading, lasting)
    healed(joined)


@pytest.mark.parametrize(("dialect_class", "module_class"), MODULES)
def test_wrong_checksums_are_junk_and_no_figure_is_made_of_them(dialect_class, module_class):
    joined = Joined(dialect_class(), module_class())
    joined.run(3.0)
    joined.module.fault("checksum")
    readings = joined.run(WITHIN_S)
    assert {type(reading) for reading in of((Junk, ThermalReading, Trouble), readings)} == {Junk}
    healed(joined)


@pytest.mark.parametrize(("dialect_class", "module_class"), MODULES)
def test_every_fault_of_a_module_has_a_test_here(dialect_class, module_class):
    assert set(module_class.FAULTS) == {"checksum", "stale", "bit15", "ambient-60"}
    with pytest.raises(ValueError, match="unknown fault 'on-fire'"):
        module_class().fault("on-fire")


@pytest.mark.parametrize("beyond", [-70.01, 300.0, 327.67])
def test_figure_beyond_the_sensor_is_not_a_number(beyond):
    (frame,) = GyMcu90614Codec().feed(gy_frame(beyond, 24.0))
    assert isnan(frame.object_celsius)
