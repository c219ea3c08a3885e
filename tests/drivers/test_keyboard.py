"""The rules of the keyboard scanner: what keys write, where a code ends, and how each fault shows and ends."""

import math
import random
import string
import struct
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs.framing import Dropped
from drivers.codecs.keyboard import (
    DOWN,
    EVENT_BYTES,
    EVENTS_LOST,
    KEY,
    SYNCHRONISE,
    UP,
    KeyboardCodec,
    KeyboardScannerDialect,
    Typed,
    encode_event,
)
from drivers.readings import CodeReading, Junk, Sign, Symptom, Trouble
from drivers.sim.keyboard import SimKeyboard, encode_keys

unhurried = settings(deadline=None, max_examples=60)  # a busy machine is no failed rule, and the suite has 5 s
TURN_S = 0.05
PASS = b"SG1.Synthetic-pass_0001"
WRITABLE = (string.ascii_letters + string.digits + string.punctuation + " \t").encode()


def typed(events):
    return b"".join(event.text for event in events if isinstance(event, Typed))


def codes(readings):
    return [reading.content for reading in readings if isinstance(reading, CodeReading)]


def troubles(readings):
    return [reading.symptom for reading in readings if isinstance(reading, Trouble)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


class Line:
    """A dialect in the hands of a reader that turns every 0.05 s, and a simulated scanner before it."""

    def __init__(self):
        self.dialect, self.unit, self.turn, self.readings = KeyboardScannerDialect(), SimKeyboard(), 0, []
        self.run(1.0)

    def run(self, seconds):
        """Let turns go by and return what was read meanwhile."""
        before = len(self.readings)
        for _ in range(round(seconds / TURN_S)):
            self.turn += 1
            now = 100.0 + self.turn * TURN_S
            assert self.dialect.due(now) == b""
            self.readings += self.dialect.feed(self.unit.due(now), now)
        return self.readings[before:]

    def shown(self, seconds):
        """Return what is read while somebody shows a new code every second."""
        before = len(self.readings)
        for number in range(seconds):
            self.unit.scan(f"code-{self.turn}-{number}".encode())
            self.run(1.0)
        return self.readings[before:]


# --- bytes ----------------------------------------


def test_an_event_is_the_kernels_struct():
    assert encode_event(KEY, 30, DOWN, at=2.5) == struct.pack("llHHi", 2, 500_000, 1, 30, 1)
    assert EVENT_BYTES == 24


@pytest.mark.parametrize(
    ("code", "plain", "shifted"),
    [
        (2, b"1", b"!"),
        (11, b"0", b")"),
        (16, b"q", b"Q"),
        (30, b"a", b"A"),
        (44, b"z", b"Z"),
        (53, b"/", b"?"),
        (41, b"`", b"~"),
        (43, b"\\", b"|"),
        (57, b" ", b" "),
        (28, b"\r", b"\r"),
        (96, b"\r", b"\r"),
        (79, b"1", b"1"),
    ],
)
def test_keys_write_what_the_us_layout_says(code, plain, shifted):
    down = encode_event(KEY, code, DOWN)
    codec = KeyboardCodec()
    assert typed(codec.feed(down)) == plain
    assert typed(codec.feed(encode_event(KEY, 54, DOWN) + down)) == shifted
    assert typed(codec.feed(encode_event(KEY, 54, UP) + down)) == plain


def test_every_printable_character_can_be_typed():
    assert typed(KeyboardCodec().feed(encode_keys(WRITABLE))) == WRITABLE


def test_a_key_that_is_released_or_held_writes_nothing():
    assert KeyboardCodec().feed(encode_event(KEY, 30, UP) + encode_event(KEY, 30, 2)) == []


@pytest.mark.parametrize("kept", range(1, EVENT_BYTES))
def test_events_that_begin_in_the_middle_are_found_again(kept):
    assert typed(KeyboardCodec().feed(encode_event(KEY, 30, UP)[kept:] + encode_keys(PASS))).endswith(PASS[1:])


def test_locks_and_scan_codes_write_nothing():
    assert KeyboardCodec().feed(encode_event(KEY, 69, DOWN) + encode_event(4, 4, 458756)) == []


@pytest.mark.parametrize("keys", [(29, 30), (56, 30), (59,), (103,)])
def test_other_keys_are_no_text(keys):
    assert typed(KeyboardCodec().feed(b"".join(encode_event(KEY, key, DOWN) for key in keys))) == b"\x1a"


@unhurried
@given(places=st.lists(st.integers(0, 5000), max_size=30))
def test_torn_delivery_changes_nothing(places):
    codec = KeyboardCodec()
    wire = encode_keys(PASS + b"\r", at=1.7e9)
    assert typed(event for chunk in cut(wire, places) for event in codec.feed(chunk)) == PASS + b"\r"


@unhurried
@given(junk=st.binary(min_size=1, max_size=200).map(lambda junk: junk + b"\xff" * EVENT_BYTES))
def test_events_are_found_after_any_junk(junk):
    events = KeyboardCodec().feed(junk + encode_keys(PASS, at=1.7e9))
    assert typed(events).endswith(PASS)
    assert sum(event.byte_count for event in events if isinstance(event, Dropped)) >= EVENT_BYTES


@unhurried
@given(chunks=st.lists(st.binary(max_size=200)))
def test_any_bytes_never_raise_and_never_pile_up(chunks):
    codec, dialect = KeyboardCodec(), KeyboardScannerDialect()
    for turn, chunk in enumerate(chunks):
        codec.feed(chunk)
        assert codec.held_bytes <= EVENT_BYTES
        dialect.feed(chunk, turn * TURN_S)


# --- dialogue ----------------------------------------


def test_a_keyboard_has_no_speed_and_no_silence():
    line = Line()
    assert line.dialect.SPEEDS == ()
    assert line.dialect.silence_s == math.inf
    assert [type(reading) for reading in line.readings] == [Sign]


def test_a_code_is_what_was_typed_before_enter():
    line = Line()
    line.unit.scan(PASS)
    assert codes(line.run(0.1)) == [PASS]
    line.unit.scan(b"another")
    assert codes(line.run(0.1)) == [b"another"]


def test_bytes_that_are_no_events_are_counted():
    readings = KeyboardScannerDialect().feed(b"\xff" * 48, 1.0)
    assert sum(reading.byte_count for reading in readings if isinstance(reading, Junk)) == 48 - EVENT_BYTES + 1


def test_noise_never_becomes_a_code():
    line, noise = Line(), random.Random(7)
    for _ in range(100):
        line.turn += 1
        line.readings += line.dialect.feed(noise.randbytes(240), 100.0 + line.turn * TURN_S)
    assert codes(line.readings) == []


# --- faults ----------------------------------------


@pytest.mark.parametrize(
    ("fault", "symptom"),
    [
        ("no-terminator", Symptom.MISCONFIGURED),
        ("huge-code", Symptom.CODE_UNREADABLE),
        ("lost-keys", Symptom.CODE_UNREADABLE),
    ],
)
def test_a_fault_that_loses_codes_is_told_within_five_seconds_and_ends(fault, symptom):
    line = Line()
    line.unit.fault(fault)
    during = line.shown(5)
    assert symptom in troubles(during)
    assert codes(during) == []
    line.unit.heal()
    after = line.shown(10)
    assert len(codes(after)) >= 8
    assert troubles(after[-5:]) == []


def test_a_code_that_is_typed_three_times_is_one_reading():
    line = Line()
    line.unit.fault("duplicates")
    line.unit.scan(PASS)
    assert codes(line.run(2.0)) == [PASS]
    line.unit.heal()
    assert len(codes(line.shown(3))) == 3


def test_lost_events_end_the_shift_key():
    codec = KeyboardCodec()
    codec.feed(encode_event(KEY, 42, DOWN) + encode_event(SYNCHRONISE, EVENTS_LOST, 0))
    assert typed(codec.feed(encode_event(KEY, 30, DOWN))) == b"a"


def test_every_fault_is_tested_and_no_other_is_known():
    assert set(SimKeyboard.FAULTS) == {"no-terminator", "huge-code", "duplicates", "lost-keys"}
    with pytest.raises(ValueError, match="lost-keys"):
        SimKeyboard().fault("on-fire")


def test_what_a_keyboard_cannot_write_is_refused_at_once():
    with pytest.raises(KeyError):
        SimKeyboard().scan("访客码".encode())
