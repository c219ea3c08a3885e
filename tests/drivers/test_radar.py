"""The rules of the presence radar: its bytes, its configuration, and how each fault shows and ends."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs import radar
from drivers.codecs.framing import Dropped
from drivers.codecs.radar import Answer, Ld2410Dialect, RadarCodec, Report, encode_answer, encode_report
from drivers.readings import Identity, Junk, PresenceReading, Sign, Symptom, Trouble
from drivers.sim.radar import GATES_VALUE, PHANTOM_CM, SimRadar

unhurried = settings(deadline=None, max_examples=60)  # a busy machine is no failed rule, and the suite has 5 s
TURN_S = 0.05
STILL = bytes.fromhex("F4 F3 F2 F1 0D 00 02 AA 02 51 00 00 00 00 3B 00 00 55 00 F8 F7 F6 F5")
MOVING = bytes.fromhex("F4 F3 F2 F1 0D 00 02 AA 01 46 00 50 00 00 00 46 00 55 00 F8 F7 F6 F5")
ENGINEERING = bytes.fromhex(
    "F4 F3 F2 F1 23 00 01 AA 03 46 00 50 55 00 3C 46 00 08 08 32 4B 50 28 14 0A 0A 05 05 00 00 50 46 3C 1E 14 0A 05 80"
    "01 55 00 F8 F7 F6 F5"
)
ENTERED = bytes.fromhex("FD FC FB FA 08 00 FF 01 00 00 01 00 40 00 04 03 02 01")


def reports(events):
    return [event for event in events if isinstance(event, Report)]


def presences(readings):
    return [reading for reading in readings if isinstance(reading, PresenceReading)]


def troubles(readings):
    return [reading.symptom for reading in readings if isinstance(reading, Trouble)]


def junk_bytes(readings):
    return sum(reading.byte_count for reading in readings if isinstance(reading, Junk))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


class Line:
    """A dialect in the hands of a reader that turns every 0.05 s, and a simulated radar at the other end."""

    def __init__(self, unit=None):
        self.dialect, self.unit, self.turn, self.readings, self.asked = Ld2410Dialect(), unit or SimRadar(), 0, [], []

    def run(self, seconds):
        """Let turns go by and return what was read meanwhile."""
        before = len(self.readings)
        for _ in range(round(seconds / TURN_S)):
            self.turn += 1
            now = 100.0 + self.turn * TURN_S
            asked = self.dialect.due(now)
            self.asked += [asked] if asked else []
            self.readings += self.dialect.feed(self.unit.answer(asked, now) + self.unit.due(now), now)
        return self.readings[before:]


def seen(wire: bytes) -> PresenceReading:
    (presence,) = Ld2410Dialect().feed(wire, 7.0)
    assert isinstance(presence, PresenceReading)
    return presence


# --- bytes ---------------------------------------------------------------------------------------------------------


def test_published_reports_are_read():
    assert RadarCodec().feed(STILL + MOVING + ENGINEERING) == [
        Report(state=2, moving_cm=81, moving_percent=0, still_cm=0, still_percent=59, detection_cm=0),
        Report(state=1, moving_cm=70, moving_percent=80, still_cm=0, still_percent=0, detection_cm=70),
        Report(
            state=3, moving_cm=70, moving_percent=80, still_cm=85, still_percent=60, detection_cm=70,
            gates=ENGINEERING[17:-6],
        ),
    ]  # fmt: skip


def test_written_reports_are_the_published_ones():
    assert encode_report(1, moving_cm=70, moving_percent=80, detection_cm=70) == MOVING
    assert encode_report(2, moving_cm=81, still_percent=59) == STILL


def test_opening_the_configuration_is_the_published_dialogue():
    assert radar.enter_command() == bytes.fromhex("FD FC FB FA 04 00 FF 00 01 00 04 03 02 01")
    assert RadarCodec().feed(ENTERED) == [Answer(code=0xFF, status=0, value=bytes.fromhex("01 00 40 00"))]
    assert SimRadar().answer(radar.enter_command()) == ENTERED


@pytest.mark.parametrize(
    ("command", "hexadecimal"),
    [
        (radar.leave_command(), "02 00 FE 00"),
        (radar.firmware_command(), "02 00 A0 00"),
        (radar.parameters_command(), "02 00 61 00"),
        (radar.engineering_command(True), "02 00 62 00"),
        (radar.engineering_command(False), "02 00 63 00"),
        (radar.restart_command(), "02 00 A3 00"),
        (radar.baud_command(256000), "04 00 A1 00 07 00"),
        (radar.range_command(8, 6, 5), "14 00 60 00 00 00 08 00 00 00 01 00 06 00 00 00 02 00 05 00 00 00"),
        (
            radar.sensitivity_command(0xFFFF, 40, 30),
            "14 00 64 00 00 00 FF FF 00 00 01 00 28 00 00 00 02 00 1E 00 00 00",
        ),
    ],
)
def test_commands_have_length_code_and_value(command, hexadecimal):
    assert command == bytes.fromhex(f"FD FC FB FA {hexadecimal} 04 03 02 01")


def test_our_own_commands_are_no_answers():
    assert RadarCodec().feed(radar.enter_command()) == [Dropped(byte_count=14)]


@pytest.mark.parametrize("place", [0, 4, 6, 7, 17, 18, 19, 22])
def test_a_report_with_a_wrong_mark_is_junk(place):
    spoilt = bytearray(MOVING)
    spoilt[place] ^= 0x40
    events = RadarCodec().feed(bytes(spoilt) + STILL)
    assert reports(events) == RadarCodec().feed(STILL)


@unhurried
@given(places=st.lists(st.integers(0, 200), max_size=30))
def test_torn_delivery_changes_nothing(places):
    wire = STILL + ENTERED + ENGINEERING + MOVING
    codec = RadarCodec()
    assert [event for chunk in cut(wire, places) for event in codec.feed(chunk)] == RadarCodec().feed(wire)


@unhurried
@given(kept=st.integers(0, len(ENGINEERING) - 1), places=st.lists(st.integers(0, 100), max_size=6))
def test_report_cut_by_the_next_never_mixes_with_it(kept, places):
    codec = RadarCodec()
    events = [event for chunk in cut(ENGINEERING[:kept] + MOVING, places) for event in codec.feed(chunk)]
    assert reports(events) == RadarCodec().feed(MOVING)


@unhurried
@given(junk=st.binary(max_size=200), places=st.lists(st.integers(0, 300), max_size=8))
def test_good_report_is_found_after_any_junk_and_the_junk_is_counted(junk, places):
    codec = RadarCodec()
    events = [event for chunk in cut(junk + MOVING, places) for event in codec.feed(chunk)]
    assert reports(events)[-1:] == RadarCodec().feed(MOVING)
    assert sum(event.byte_count for event in events if isinstance(event, Dropped)) == len(junk)


@unhurried
@given(
    chunks=st.lists(
        st.one_of(st.binary(max_size=200), st.just(ENGINEERING[:30]), st.just(ENTERED[:9]), st.just(STILL[:-4]))
    )
)
def test_any_bytes_never_raise_and_never_pile_up(chunks):
    codec, dialect = RadarCodec(), Ld2410Dialect()
    for turn, chunk in enumerate(chunks):
        codec.feed(chunk)
        assert codec.held_bytes <= radar.LONGEST_BYTES
        dialect.due(turn * TURN_S)
        dialect.feed(chunk, turn * TURN_S)


# --- readings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "moving", "still", "distance_mm"),
    [
        (STILL, False, True, 810),  # the maker's sample, with the distance in the other place
        (MOVING, True, False, 700),
        (ENGINEERING, True, True, 700),
        (encode_report(3, moving_cm=200, still_cm=90, detection_cm=200), True, True, 900),
        (encode_report(2, moving_cm=50, still_cm=300, detection_cm=300), False, True, 3000),
        (encode_report(0, moving_cm=70, still_cm=80), False, False, None),
        (encode_report(1), True, False, None),
    ],
)
def test_who_is_felt_and_how_far_away(wire, moving, still, distance_mm):
    assert seen(wire) == PresenceReading(at_mono=7.0, moving=moving, still=still, distance_mm=distance_mm)


@pytest.mark.parametrize("state", [4, 5, 6])
def test_a_radar_that_learns_the_room_is_alive_and_says_nothing_of_anybody(state):
    assert Ld2410Dialect().feed(encode_report(state), 7.0) == [Sign(at_mono=7.0, detail="learns the empty room")]


def test_an_unknown_state_is_no_reading():
    assert troubles(Ld2410Dialect().feed(encode_report(9), 7.0)) == [Symptom.IMPLAUSIBLE]


# --- dialogue -------------------------------------------------------------------------------------------------------


def test_the_firmware_is_asked_for_once_and_the_configuration_closed_again():
    line = Line()
    line.unit.show(True, False, 700)
    line.run(5.0)
    assert line.asked == [radar.enter_command(), radar.firmware_command(), radar.leave_command()]
    assert [reading.text for reading in line.readings if isinstance(reading, Identity)] == ["LD2410 V1.02.22062416"]
    assert len(presences(line.run(1.0))) == 10
    assert troubles(line.readings) == []


def test_a_radar_that_answers_nothing_is_listened_to_all_the_same():
    dialect = Ld2410Dialect()
    asked = []
    for turn in range(1, 600):
        asked.append(dialect.due(turn * TURN_S))
        assert len(presences(dialect.feed(MOVING, turn * TURN_S))) == 1
    assert [one for one in asked if one] == [radar.enter_command(), radar.leave_command()] * 3


def test_a_configuration_that_was_left_open_is_closed():
    unit = SimRadar()
    unit.answer(radar.enter_command())
    line = Line(unit)
    line.run(2.0)
    assert len(presences(line.run(1.0))) == 10


def test_an_answer_that_nobody_asked_for_says_nothing():
    assert Ld2410Dialect().feed(encode_answer(radar.FIRMWARE, value=bytes(8)), 7.0) == []


def test_engineering_reports_are_read_as_well():
    line = Line()
    line.unit.show(False, True, 900)
    line.unit.answer(radar.enter_command() + radar.engineering_command(True) + radar.leave_command())
    assert encode_report(2, still_cm=90, still_percent=60, detection_cm=90, gates=GATES_VALUE) in line.unit.due(0.0)
    line.run(2.0)
    assert {presence.distance_mm for presence in presences(line.readings)} == {900}


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "symptom"), [("no-tail", Symptom.NOISE), ("stuck-in-config", Symptom.MISCONFIGURED)])
def test_a_radar_that_reports_no_more_is_told_within_five_seconds_and_heals(fault, symptom):
    line = Line()
    line.run(3.0)
    line.unit.fault(fault)
    during = line.run(5.0)
    assert set(troubles(during)) == {symptom}
    lasting = line.run(5.0)
    assert presences(lasting) == []
    assert len(troubles(lasting)) >= 4  # again and again
    assert {type(reading) for reading in lasting} <= {Trouble, Junk}  # nothing makes it look well
    line.unit.heal()
    after = line.run(10.0)
    assert len(presences(after[:40])) > 30
    assert troubles(after[10:]) == []


def test_reports_without_tail_are_counted_as_junk():
    line = Line()
    line.run(3.0)
    line.unit.fault("no-tail")
    assert junk_bytes(line.run(2.0)) > 10 * 19


def test_reports_while_the_configuration_is_open_are_not_believed():
    unit = SimRadar()
    unit.fault("report-in-config")
    line = Line(unit)
    line.run(1.0)
    assert junk_bytes(line.readings) >= len(MOVING)
    assert troubles(line.readings) == []
    line.run(3.0)
    unit.heal()  # the configuration stays open, and now nothing comes
    line.run(2.0)
    assert len(presences(line.run(8.0))) > 70


def test_a_phantom_is_a_person_to_the_radar():
    line = Line()
    line.run(1.0)
    line.unit.fault("phantom")
    assert {(one.still, one.distance_mm) for one in presences(line.run(3.0))} == {(True, PHANTOM_CM * 10)}
    line.unit.heal()
    assert not any(one.somebody for one in presences(line.run(3.0)))


def test_every_fault_is_tested_and_no_other_is_known():
    assert set(SimRadar.FAULTS) == {"phantom", "no-tail", "stuck-in-config", "report-in-config"}
    with pytest.raises(ValueError, match="phantom"):
        SimRadar().fault("on-fire")
