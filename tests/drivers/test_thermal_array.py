"""The rules of the thermal array: its bytes, its orientation, and what it says of pixels it could not measure."""

import struct
from itertools import pairwise
from math import isnan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs import thermal_array
from drivers.codecs.framing import Dropped
from drivers.codecs.thermal_array import (
    FIELD_BYTES,
    FIELD_HEAD,
    HEIGHT,
    WIDTH,
    Emissivity,
    FieldFrame,
    GyMcu90640Dialect,
    ThermalArrayCodec,
)
from drivers.readings import Impairment, Junk, Sign, Symptom, ThermalReading, Trouble
from drivers.sim.thermal_array import SimThermalArray, encode_field

unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failed rule, and the suite has 5 s
GOLDEN = (Path(__file__).parents[1] / "golden" / "gy-mcu90640-synthetic-36.00.bin").read_bytes()
PIXELS = WIDTH * HEIGHT
OTHER = encode_field([20 + place / 100 for place in range(PIXELS)], 25.5)


def fields(events):
    return [event for event in events if isinstance(event, FieldFrame)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def seen(dialect: GyMcu90640Dialect, wire: bytes) -> ThermalReading:
    (field,) = dialect.feed(wire, 7.0)
    assert isinstance(field, ThermalReading)
    return field


# --- bytes ---------------------------------------------------------------------------------------------------------


def test_published_frame_is_read():
    assert GOLDEN[-2:] == bytes.fromhex("84 9A")
    assert ThermalArrayCodec().feed(GOLDEN) == [FieldFrame(celsius=(36.0,) * PIXELS, ambient_celsius=26.0)]


def test_simulated_frame_is_the_published_one():
    assert encode_field([36.0] * PIXELS, 26.0) == GOLDEN


@pytest.mark.parametrize(
    ("command", "hexadecimal"),
    [
        (thermal_array.baud_command(9600), "A5 15 01 BB"),
        (thermal_array.baud_command(115200), "A5 15 02 BC"),
        (thermal_array.baud_command(460800), "A5 15 03 BD"),
        (thermal_array.rate_command(0.5), "A5 25 00 CA"),
        (thermal_array.rate_command(1), "A5 25 01 CB"),
        (thermal_array.rate_command(2), "A5 25 02 CC"),
        (thermal_array.rate_command(4), "A5 25 03 CD"),
        (thermal_array.rate_command(8), "A5 25 04 CE"),
        (thermal_array.query_command(), "A5 35 01 DB"),
        (thermal_array.automatic_command(), "A5 35 02 DC"),
        (thermal_array.set_emissivity_command(0.95), "A5 45 5F 49"),
        (thermal_array.ask_emissivity_command(), "A5 55 01 FB"),
        (thermal_array.save_command(), "A5 65 01 0B"),
    ],
)
def test_commands_are_the_published_bytes(command, hexadecimal):
    assert command == bytes.fromhex(hexadecimal)


@pytest.mark.parametrize("emissivity", [0.0, 1.01, -0.5])
def test_impossible_emissivity_is_refused(emissivity):
    with pytest.raises(ValueError, match="expected"):
        thermal_array.set_emissivity_command(emissivity)


def test_emissivity_answer_between_frames_is_recognised():
    wire = OTHER + bytes.fromhex("5A 5A 5F 13") + GOLDEN
    events = ThermalArrayCodec().feed(wire)
    assert [type(event) for event in events] == [FieldFrame, Emissivity, FieldFrame]
    assert events[1] == Emissivity(emissivity=0.95)


def test_wrong_checksum_is_no_frame():
    spoilt = GOLDEN[:-1] + bytes([GOLDEN[-1] ^ 1])
    assert fields(ThermalArrayCodec().feed(spoilt + OTHER)) == fields(ThermalArrayCodec().feed(OTHER))


@unhurried
@given(bit=st.integers(0, FIELD_BYTES * 8 - 1))
def test_one_flipped_bit_loses_the_frame_and_not_the_next(bit):
    spoilt = bytearray(GOLDEN)
    spoilt[bit // 8] ^= 1 << bit % 8
    assert fields(ThermalArrayCodec().feed(bytes(spoilt) + OTHER)) == fields(ThermalArrayCodec().feed(OTHER))


@unhurried
@given(places=st.lists(st.integers(0, 5000), max_size=30))
def test_torn_delivery_changes_nothing(places):
    wire = GOLDEN + bytes.fromhex("5A 5A 5F 13") + OTHER
    codec = ThermalArrayCodec()
    assert [event for chunk in cut(wire, places) for event in codec.feed(chunk)] == ThermalArrayCodec().feed(wire)


@unhurried
@given(junk=st.binary(max_size=300), places=st.lists(st.integers(0, 2000), max_size=8))
def test_good_frame_is_found_after_any_junk_and_the_junk_is_counted(junk, places):
    codec = ThermalArrayCodec()
    events = [event for chunk in cut(junk + OTHER, places) for event in codec.feed(chunk)]
    assert fields(events)[-1:] == fields(ThermalArrayCodec().feed(OTHER))
    dropped = sum(event.byte_count for event in events if isinstance(event, Dropped))
    answered = sum(4 for event in events if isinstance(event, Emissivity))
    assert dropped + answered == len(junk)


@unhurried
@given(kept=st.integers(0, FIELD_BYTES - 1), places=st.lists(st.integers(0, 3000), max_size=6))
def test_frame_cut_by_the_next_never_mixes_with_it(kept, places):
    codec = ThermalArrayCodec()
    found = fields(event for chunk in cut(GOLDEN[:kept] + OTHER, places) for event in codec.feed(chunk))
    assert found == fields(ThermalArrayCodec().feed(OTHER))


def test_frame_with_another_head_inside_is_the_remains_of_two_even_when_its_sum_fits():
    pixels = [36.0] * PIXELS
    pixels[300:302] = [0x5A5A / 100, 0x0602 / 100]
    assert fields(ThermalArrayCodec().feed(encode_field(pixels, 26.0))) == []


@pytest.mark.parametrize("prelude", ["5A", "5A 5A", "5A 5A 5A", "5A 5A 02", "5A 5A 02 06", "5A 5A 02 06 5A"])
def test_bad_heads_before_a_frame_cost_nothing_but_themselves(prelude):
    events = ThermalArrayCodec().feed(bytes.fromhex(prelude) + GOLDEN)
    assert events == [Dropped(byte_count=len(bytes.fromhex(prelude))), *ThermalArrayCodec().feed(GOLDEN)]


@unhurried
@given(chunks=st.lists(st.one_of(st.binary(max_size=200), st.just(FIELD_HEAD), st.just(GOLDEN[:800]))))
def test_any_bytes_never_raise_and_never_pile_up(chunks):
    codec = ThermalArrayCodec()
    for chunk in chunks:
        codec.feed(chunk)
        assert codec.held_bytes <= FIELD_BYTES


# --- pixels ---------------------------------------------------------------------------------------------------------


def test_first_pixel_on_the_wire_is_the_upper_right_of_the_scene():
    celsius = [float(place % WIDTH) for place in range(PIXELS)]
    wire = encode_field(celsius, 20.0)
    field = seen(GyMcu90640Dialect(), wire)
    assert (field.width, field.height) == (WIDTH, HEIGHT)
    assert field.celsius[:WIDTH] == tuple(float(column) for column in reversed(range(WIDTH)))
    assert seen(GyMcu90640Dialect(mirror=False), wire).celsius == tuple(celsius)


def test_frost_is_below_zero():
    assert set(seen(GyMcu90640Dialect(), encode_field([-12.34] * PIXELS, -10.0)).celsius) == {-12.34}


@pytest.mark.parametrize("impossible", [-273.15, -40.01, 300.0, 327.67])
def test_pixel_that_was_not_measured_is_not_a_number(impossible):
    field = seen(GyMcu90640Dialect(mirror=False), encode_field([impossible, *[30.0] * (PIXELS - 1)], 20.0))
    assert isnan(field.celsius[0])
    assert set(field.celsius[1:]) == {30.0}


# --- dialogue -------------------------------------------------------------------------------------------------------


def test_automatic_output_is_asked_for_at_the_start_and_after_a_pause():
    dialect = GyMcu90640Dialect()
    assert dialect.due(10.0) == thermal_array.automatic_command()
    assert dialect.due(10.1) == b""
    dialect.feed(GOLDEN, 11.0)
    assert dialect.due(12.9) == b""
    assert dialect.due(13.1) == thermal_array.automatic_command()


def test_readings_carry_the_time_of_their_last_byte():
    dialect = GyMcu90640Dialect()
    assert dialect.feed(GOLDEN[:900], 1.0) == []
    (field,) = dialect.feed(GOLDEN[900:], 1.2)
    assert field.at_mono == 1.2


def test_emissivity_is_a_sign_of_life_and_junk_is_counted():
    readings = GyMcu90640Dialect().feed(b"noise" + bytes.fromhex("5A 5A 5F 13"), 2.0)
    assert readings == [Junk(at_mono=2.0, byte_count=5), Sign(at_mono=2.0, detail="emissivity 0.95")]


# --- simulator ------------------------------------------------------------------------------------------------------


def test_empty_room_is_at_room_temperature():
    field = seen(GyMcu90640Dialect(), SimThermalArray(ambient_celsius=22.0).frame())
    assert all(abs(celsius - 22.0) <= 0.06 for celsius in field.celsius)
    assert field.ambient_celsius == 22.0


def test_person_shows_as_a_warm_face_where_he_stands():
    module = SimThermalArray()
    module.show(36.4, centre=(8.0, 10.0))
    celsius = seen(GyMcu90640Dialect(), module.frame()).celsius
    warm = [place for place, value in enumerate(celsius) if value > 30.0]
    assert 50 <= len(warm) <= 80  # an ellipse of 8 x 10 pixels
    assert {place % WIDTH for place in warm} == set(range(4, 12))
    assert {place // WIDTH for place in warm} == set(range(5, 15))
    assert max(celsius) == pytest.approx(36.4, abs=0.06)
    module.show(None)
    assert max(seen(GyMcu90640Dialect(), module.frame()).celsius) < 25


def test_module_sends_four_frames_a_second_until_it_is_put_into_query_mode():
    module = SimThermalArray()
    assert sum(bool(module.due(turn / 50)) for turn in range(100)) in (8, 9)
    module.answer(thermal_array.query_command()[:2], 2.0)
    assert len(module.answer(thermal_array.query_command()[2:], 2.0)) == FIELD_BYTES
    assert module.due(9.0) == b""
    module.answer(thermal_array.automatic_command(), 9.0)
    assert len(module.due(9.0)) == FIELD_BYTES


def test_module_answers_for_its_emissivity():
    module = SimThermalArray()
    assert module.answer(thermal_array.ask_emissivity_command()) == bytes.fromhex("5A 5A 5F 13")
    module.answer(thermal_array.set_emissivity_command(0.98))
    assert ThermalArrayCodec().feed(module.answer(thermal_array.ask_emissivity_command())) == [
        Emissivity(emissivity=0.98)
    ]


def test_simulated_faults_and_their_end():
    module = SimThermalArray()
    module.freeze()
    assert module.frame() == module.frame()
    module.heal()
    assert module.frame() != module.frame()
    module.spoil_checksum()
    assert fields(ThermalArrayCodec().feed(module.frame())) == []
    module.heal()
    module.kill_pixel(WIDTH + 3)
    module.drift(1.5)
    celsius = seen(GyMcu90640Dialect(), module.frame()).celsius
    assert isnan(celsius[WIDTH + 3])
    assert celsius[0] == pytest.approx(25.5, abs=0.06)


def test_checksum_is_the_sum_of_the_words_before_it():
    words = struct.unpack("<772H", OTHER)
    assert sum(words[:771]) & 0xFFFF == words[771]


# --- faults ---------------------------------------------------------------------------------------------------------

STEP_S = 0.05
WITHIN_S, BACK_WITHIN_S = 5.0, 10.0


class Joined:
    """A simulated module and its dialect on one wire, and a clock that steps."""

    def __init__(self) -> None:
        self.module, self.dialect, self.now = SimThermalArray(), GyMcu90640Dialect(), 1000.0
        self.module.show(36.4)

    def run(self, for_s: float) -> list:
        readings = []
        for _ in range(round(for_s / STEP_S)):
            self.now += STEP_S
            answered = self.module.answer(self.dialect.due(self.now), self.now)
            readings += self.dialect.feed(answered + self.module.due(self.now), self.now)
        return readings


def of(kind, readings):
    return [reading for reading in readings if isinstance(reading, kind)]


def healed(joined: Joined) -> list:
    """End the faults; return what is said from the tenth second on, which must be measurements and nothing else."""
    joined.module.heal()
    recovering = joined.run(BACK_WITHIN_S)
    steady = joined.run(3.0)
    assert len(of(ThermalReading, steady)) >= 9
    assert not of((Trouble, Impairment, Junk), steady)
    return recovering


def test_a_healthy_module_says_nothing_but_pictures():
    assert {type(reading) for reading in Joined().run(20.0)} == {ThermalReading}


@pytest.mark.parametrize(
    ("fault", "symptom"),
    [("stale", Symptom.FROZEN), ("drift", Symptom.WARMING_UP), ("ambient-60", Symptom.IMPLAUSIBLE)],
)
def test_fault_is_a_trouble_within_five_seconds_and_no_picture_is_believed_while_it_lasts(fault, symptom):
    joined = Joined()
    joined.run(6.0)
    joined.module.fault(fault)
    joined.run(WITHIN_S)
    lasting = joined.run(5.0)
    assert {reading.symptom for reading in of(Trouble, lasting)} == {symptom}
    assert len(lasting) >= 15 and not of(ThermalReading, lasting)
    healed(joined)


@pytest.mark.parametrize("fault", ["dead-pixel-cold", "dead-pixel-hot", "minus-273"])
def test_dead_pixel_is_an_impairment_within_five_seconds_and_the_pictures_go_on_without_it(fault):
    joined = Joined()
    joined.run(6.0)
    joined.module.fault(fault)
    readings = joined.run(WITHIN_S)
    assert [(news.symptom, news.over) for news in of(Impairment, readings)] == [(Symptom.DEAD_PIXELS, False)]
    assert len(of(ThermalReading, readings)) >= 15
    assert sum(map(isnan, readings[-1].celsius)) == 1
    assert [(news.symptom, news.over) for news in of(Impairment, healed(joined))] == [(Symptom.DEAD_PIXELS, True)]


def test_wrong_checksums_are_junk_and_no_picture_is_made_of_them():
    joined = Joined()
    joined.run(2.0)
    joined.module.fault("checksum")
    readings = joined.run(WITHIN_S)
    assert {type(reading) for reading in readings} == {Junk}
    assert sum(junk.byte_count for junk in readings) >= 15 * FIELD_BYTES
    healed(joined)


def test_frames_cut_by_the_next_are_junk_and_the_whole_ones_are_read():
    joined = Joined()
    joined.module.fault("cut-by-next")
    readings = joined.run(WITHIN_S)
    assert len(of(ThermalReading, readings)) >= 15
    assert len(of(Junk, readings)) >= 15
    healed(joined)


def test_every_fault_of_the_module_has_a_test_here():
    tested = {"stale", "drift", "ambient-60", "dead-pixel-cold", "dead-pixel-hot", "minus-273", "checksum"}
    assert set(SimThermalArray.FAULTS) == tested | {"cut-by-next"}
    with pytest.raises(ValueError, match="unknown fault 'on-fire'"):
        SimThermalArray().fault("on-fire")


def test_speeds_are_the_three_that_modules_leave_the_works_with():
    assert GyMcu90640Dialect.SPEEDS == (115200, 460800, 9600)
