"""The rules of the distance sensor: its bytes, which distances are believed, and how each fault shows and ends."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs import distance
from drivers.codecs.distance import FRAME_BYTES, Answer, DistanceCodec, Frame, TfLunaDialect, encode_frame
from drivers.codecs.framing import Dropped
from drivers.readings import DistanceReading, Identity, Junk, Sign, Symptom, Trouble
from drivers.sim.distance import SimDistance

unhurried = settings(deadline=None, max_examples=60)  # a busy machine is no failed rule, and the suite has 5 s
TURN_S = 0.05
GOLDEN = bytes.fromhex("59 59 64 00 E8 03 20 09 2A")  # 100 cm, strength 1000, 36.0 °C
OTHER = encode_frame(89, 0x5959)  # 59 59 59 00 59 59 ...
VERSION_ANSWER = bytes.fromhex("5A 07 01 01 02 03 68")


def frames(events):
    return [event for event in events if isinstance(event, Frame)]


def dropped(events):
    return sum(event.byte_count for event in events if isinstance(event, Dropped))


def distances(readings):
    return [reading.distance_mm for reading in readings if isinstance(reading, DistanceReading)]


def troubles(readings):
    return [reading.symptom for reading in readings if isinstance(reading, Trouble)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


class Line:
    """A dialect in the hands of a reader that turns every 0.05 s, and a simulated sensor at the other end."""

    def __init__(self, dialect=None, sensor=None):
        self.dialect, self.sensor = dialect or TfLunaDialect(), sensor or SimDistance()
        self.turn, self.readings, self.asked = 0, [], []

    def run(self, seconds):
        """Let turns go by and return what was read meanwhile."""
        before = len(self.readings)
        for _ in range(round(seconds / TURN_S)):
            self.turn += 1
            now = 100.0 + self.turn * TURN_S
            asked = self.dialect.due(now)
            self.asked += [asked] if asked else []
            heard = self.sensor.answer(asked, now) + self.sensor.due(now)
            self.readings += self.dialect.feed(heard, now)
        return self.readings[before:]


# --- bytes ---------------------------------------------------------------------------------------------------------


def test_published_frame_is_read_and_written():
    assert DistanceCodec().feed(GOLDEN) == [Frame(distance=100, strength=1000)]
    assert encode_frame(100, 1000, celsius=36.0) == GOLDEN


@pytest.mark.parametrize(
    ("command", "hexadecimal"),
    [
        (distance.version_command(), "5A 04 01 5F"),
        (distance.rate_command(100), "5A 06 03 64 00 C7"),
        (distance.rate_command(0), "5A 06 03 00 00 63"),
        (distance.measure_command(), "5A 04 04 62"),
        (distance.unit_command("cm"), "5A 05 05 01 65"),
        (distance.unit_command("mm"), "5A 05 05 06 6A"),
        (distance.output_command(False), "5A 05 07 00 66"),
        (distance.output_command(True), "5A 05 07 01 67"),
        (distance.baud_command(115200), "5A 08 06 00 C2 01 00 2B"),
        (distance.factory_command(), "5A 04 10 6E"),
        (distance.save_command(), "5A 04 11 6F"),
    ],
)
def test_commands_are_the_published_bytes(command, hexadecimal):
    assert command == bytes.fromhex(hexadecimal)


def test_an_impossible_rate_is_refused():
    with pytest.raises(ValueError, match="expected"):
        distance.rate_command(-1)


def test_an_answer_between_frames_is_recognised():
    events = DistanceCodec().feed(GOLDEN + VERSION_ANSWER + OTHER)
    assert events[1] == Answer(number=1, data=bytes([1, 2, 3]))
    assert frames(events) == [Frame(distance=100, strength=1000), Frame(distance=89, strength=0x5959)]


@unhurried
@given(values=st.lists(st.tuples(st.sampled_from([0x59, 0x5900, 0x5959, 0x5A59]), st.integers(0, 65535)), min_size=1))
def test_distance_bytes_that_look_like_the_head_cost_nothing(values):
    wire = b"".join(encode_frame(*value) for value in values)
    expected = [Frame(distance=far, strength=strength) for far, strength in values]
    assert DistanceCodec().feed(wire) == expected


@unhurried
@given(kept=st.integers(0, FRAME_BYTES - 1))
def test_frames_of_59_only_are_found_again_after_a_cut(kept):
    all_59 = encode_frame(0x5959, 0x5959, celsius=0x5959 / 8 - 256)
    assert all_59 == b"\x59" * 8 + b"\xc8"
    found = DistanceCodec().feed(all_59[kept:] + all_59 * 3)
    assert frames(found)[-3:] == [Frame(distance=0x5959, strength=0x5959)] * 3


@pytest.mark.parametrize("bit", range(FRAME_BYTES * 8))
def test_one_flipped_bit_loses_the_frame_and_not_the_next(bit):
    spoilt = bytearray(GOLDEN)
    spoilt[bit // 8] ^= 1 << bit % 8
    assert frames(DistanceCodec().feed(bytes(spoilt) + OTHER)) == [Frame(distance=89, strength=0x5959)]


@unhurried
@given(places=st.lists(st.integers(0, 100), max_size=20))
def test_torn_delivery_changes_nothing(places):
    wire = GOLDEN + OTHER + VERSION_ANSWER + GOLDEN
    codec = DistanceCodec()
    assert [event for chunk in cut(wire, places) for event in codec.feed(chunk)] == DistanceCodec().feed(wire)


@unhurried
@given(junk=st.binary(max_size=200), places=st.lists(st.integers(0, 300), max_size=8))
def test_the_second_good_frame_is_found_after_any_junk_and_all_bytes_are_counted(junk, places):
    codec = DistanceCodec()
    events = [event for chunk in cut(junk + GOLDEN * 2, places) for event in codec.feed(chunk)]
    assert frames(events)[-1:] == [Frame(distance=100, strength=1000)]
    answered = sum(len(event.data) + 4 for event in events if isinstance(event, Answer))
    assert dropped(events) + answered + len(frames(events)) * FRAME_BYTES == len(junk) + 2 * FRAME_BYTES


@unhurried
@given(chunks=st.lists(st.one_of(st.binary(max_size=60), st.just(b"\x59" * 30), st.just(b"\x5a\x08" * 9))))
def test_any_bytes_never_raise_and_never_pile_up(chunks):
    codec, dialect = DistanceCodec(), TfLunaDialect()
    for turn, chunk in enumerate(chunks):
        codec.feed(chunk)
        assert codec.held_bytes <= FRAME_BYTES
        dialect.due(turn * TURN_S)
        dialect.feed(chunk, turn * TURN_S)


# --- dialogue -------------------------------------------------------------------------------------------------------


def test_ten_readings_a_second_of_a_hundred_frames():
    line = Line()
    line.sensor.show(500)
    line.run(1.0)
    readings = line.run(2.0)
    assert len(distances(readings)) in (20, 21)
    assert {type(reading) for reading in readings} == {DistanceReading, Sign}


def test_the_newest_frame_is_the_reading():
    (reading,) = TfLunaDialect().feed(encode_frame(100, 900) + encode_frame(120, 800), 7.0)
    assert reading == DistanceReading(at_mono=7.0, distance_mm=1200, strength=800)


def test_millimetres_are_read_where_they_are_sent():
    assert distances(TfLunaDialect(unit="mm").feed(encode_frame(1234, 900), 7.0)) == [1234]


@pytest.mark.parametrize(
    ("far", "strength"),
    [(100, 99), (100, 0), (100, 0xFFFF), (0, 900), (0xFFFF, 900), (0xFFFE, 900), (0xFFFC, 900), (1201, 900)],
)
def test_a_distance_that_cannot_be_trusted_is_none(far, strength):
    (reading,) = TfLunaDialect().feed(encode_frame(far, strength), 7.0)
    assert reading == DistanceReading(at_mono=7.0, distance_mm=None, strength=strength)


def test_the_version_is_asked_for_at_the_start_and_told_once():
    line = Line()
    line.run(3.0)
    assert line.asked == [distance.version_command()]
    assert [reading.text for reading in line.readings if isinstance(reading, Identity)] == ["TF series, version 3.2.1"]


def test_a_first_tfmini_that_knows_no_version_is_not_asked_for_ever():
    dialect = TfLunaDialect()
    asked = []
    for turn in range(200):
        asked.append(dialect.due(turn * TURN_S))
        dialect.feed(GOLDEN, turn * TURN_S)
    assert len([one for one in asked if one]) == 3


def test_an_answer_that_nobody_asked_for_says_nothing():
    assert TfLunaDialect().feed(VERSION_ANSWER, 7.0) == []


def test_a_sensor_whose_output_is_off_is_switched_on():
    sensor = SimDistance()
    sensor.answer(distance.output_command(False))
    line = Line(sensor=sensor)
    line.run(2.0)
    assert distances(line.run(1.0)) != []


def test_a_sensor_that_answers_and_sends_nothing_is_misconfigured():
    line = Line(sensor=SimDistance(rate_hz=0))
    line.run(2.0)
    assert len(troubles(line.run(3.0))) == 3
    assert set(troubles(line.readings)) == {Symptom.MISCONFIGURED}
    line.sensor.answer(distance.rate_command(100))
    assert distances(line.run(1.0)) != []
    assert troubles(line.run(2.0)) == []


def test_junk_is_counted():
    readings = TfLunaDialect().feed(b"noise" + GOLDEN, 2.0)
    assert readings[0] == Junk(at_mono=2.0, byte_count=5)


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "symptom"),
    [
        ("strength-0", Symptom.BLOCKED),
        ("saturated", Symptom.OVEREXPOSED),
        ("error-distance", Symptom.IMPLAUSIBLE),
        ("all-59", Symptom.IMPLAUSIBLE),
    ],
)
def test_each_fault_is_told_within_five_seconds_and_ends(fault, symptom):
    line = Line()
    line.sensor.show(500)
    line.run(2.0)
    line.sensor.fault(fault)
    during = line.run(5.0)
    assert set(troubles(during)) == {symptom}
    assert set(distances(during)) == {None}
    lasting = line.run(5.0)
    assert {type(reading) for reading in lasting} == {Trouble}  # nothing makes it look well
    assert len(lasting) >= 5
    line.sensor.heal()
    after = line.run(10.0)
    assert distances(after[:5]) != []
    assert set(distances(after)) == {500}
    assert troubles(after) == []


def test_a_moment_of_any_of_them_is_no_trouble():
    line = Line()
    line.sensor.show(500)
    for fault in SimDistance.FAULTS * 3:
        line.sensor.fault(fault)
        line.run(1.0)
        line.sensor.heal()
        line.run(1.0)
    assert troubles(line.readings) == []


def test_an_empty_room_is_no_trouble():
    line = Line()
    assert set(distances(line.run(10.0))) == {None}
    assert troubles(line.readings) == []


def test_every_fault_is_tested_and_no_other_is_known():
    assert set(SimDistance.FAULTS) == {"strength-0", "saturated", "error-distance", "all-59"}
    with pytest.raises(ValueError, match="all-59"):
        SimDistance().fault("on-fire")
