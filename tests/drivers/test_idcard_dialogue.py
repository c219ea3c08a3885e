"""The rules of the dialogue with a card reader: what is asked when, what is told, how every fault shows and heals."""

from dataclasses import replace
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs import idcard, idcard_dialogue
from drivers.codecs.idcard import frame
from drivers.codecs.idcard_dialogue import IdCardDialect
from drivers.readings import CardKind, CardReading, Identity, Junk, Sign, Symptom, Trouble
from drivers.sim.idcard import CardData, SimIdCardReader, read_answer

unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failed rule, and the suite has 5 s

RESIDENT = CardData(
    name="样本甲",
    birth="19491231",
    address="某省某市样本路1号",
    number="11010519491231002X",
    valid_until="长期",
    later_addresses=("某市新路1号", "某市旧路2号"),
)
HMT = CardData(kind=CardKind.HMT_PERMIT, name="样本乙", birth="19900101", number="810000199001010027")


class Desk:
    """A dialect and a simulated reader face to face, with a clock that moves when told."""

    def __init__(self, dialect: IdCardDialect, reader: SimIdCardReader) -> None:
        self.dialect, self.reader, self.now = dialect, reader, 100.0
        self.asked: list[bytes] = []
        self.silent_longest_s = -1.0  # how far the dialect was past its own silence time, as the reader counts it
        self._valid_at = self.now

    def run(self, seconds: float, turn_s: float = 0.05) -> list:
        readings: list = []
        until = self.now + seconds
        while self.now < until:
            request = self.dialect.due(self.now)
            self.asked += [request] if request else []
            said = self.reader.answer(request, self.now) if request else b""
            self.now += turn_s
            fresh = self.dialect.feed(said + self.reader.due(self.now), self.now)
            self._valid_at = self.now if any(not isinstance(one, Junk) for one in fresh) else self._valid_at
            self.silent_longest_s = max(self.silent_longest_s, self.now - self._valid_at - self.dialect.silence_s)
            readings += fresh
        return readings


def desk(*, fingerprint: bool = False, later_addresses: bool = False, **reader) -> Desk:
    dialect = IdCardDialect(fingerprint=fingerprint, later_addresses=later_addresses)
    return Desk(dialect, SimIdCardReader(**reader))


def answer_frame(body: bytes) -> bytes:
    return frame(b"\0\0" + body)


def of(kind, readings):
    return [reading for reading in readings if isinstance(reading, kind)]


# --- the module -----------------------------------------------------------------------------------------------------


def test_status_and_number_come_first_and_then_find_is_polled_slowly_enough():
    table = desk()
    readings = table.run(2.9)
    assert table.asked[:2] == [idcard.status_request(), idcard.module_number_request()]
    assert set(table.asked[2:]) == {idcard.find_request()}
    assert 2 <= len(table.asked) <= 2.9 / idcard_dialogue.FIND_EVERY_S + 3
    assert [sign.detail for sign in of(Sign, readings)][:2] == ["status good", "no card"]
    assert [one.text for one in of(Identity, readings)] == ["module 05.03-20200101-0001234567-0087654321"]


def test_speeds_to_probe_are_the_published_ones_most_likely_first():
    assert IdCardDialect.SPEEDS == (115200, 57600, 38400, 19200, 9600)


def test_number_is_a_health_check_and_is_told_once():
    table = desk()
    readings = table.run(20.0)
    assert table.asked.count(idcard.module_number_request()) == table.asked.count(idcard.status_request()) >= 5
    assert len(of(Identity, readings)) == 1


def test_module_whose_status_is_good_and_whose_number_fails_is_told_and_comes_back():
    table = desk()
    table.reader.place(RESIDENT)
    table.run(2.0)
    table.reader.fault("number-fails")
    began = table.now
    readings = table.run(8.0)
    troubles = of(Trouble, readings)
    assert troubles[0].at_mono - began < 5.0
    assert {(trouble.symptom, "24" in trouble.detail) for trouble in troubles} == {(Symptom.SELF_TEST, True)}
    assert of(Sign, readings[readings.index(troubles[0]) :]) == []  # a good status in between is no recovery
    assert max(later.at_mono - earlier.at_mono for earlier, later in pairwise(troubles)) <= 1.0
    table.reader.heal()
    back = table.run(2.0)
    assert of(Trouble, back) == [] and of(CardReading, back) == []  # the card that stayed is told once
    assert "same card still there" in {sign.detail for sign in of(Sign, back)}


def test_module_that_keeps_quiet_about_its_number_is_told():
    dialect, now, troubles = IdCardDialect(), 0.0, []
    said = b""
    while now < 5.0:
        request = dialect.due(now)
        said = STATUS_GOOD if request == idcard.status_request() else b""
        now += 0.05
        troubles += of(Trouble, dialect.feed(said, now))
    assert {trouble.symptom for trouble in troubles} == {Symptom.SELF_TEST}
    assert max(later.at_mono - earlier.at_mono for earlier, later in pairwise(troubles)) <= 1.0


def test_old_reader_without_the_number_command_is_well():
    table = desk(lacks=(b"\x12\xff",))
    table.reader.place(RESIDENT)
    readings = table.run(10.0)
    assert of(Trouble, readings) == []
    assert [one.text for one in of(Identity, readings)] == ["module without a number"]
    assert len(of(CardReading, readings)) == 1


def test_status_is_asked_again_every_few_seconds():
    table = desk()
    table.run(10.0)
    assert 3 <= table.asked.count(idcard.status_request()) <= 5


# --- the card -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finds_again", [True, False], ids=["9F stays", "80 after reading"])
def test_card_that_stays_is_told_once_and_again_after_removal(finds_again):
    table = desk(finds_again=finds_again)
    table.reader.place(RESIDENT)
    readings = table.run(30.0)
    assert [card.number for card in of(CardReading, readings)] == [RESIDENT.number]
    assert of(Trouble, readings) == []
    table.reader.remove()
    assert of(CardReading, table.run(1.0)) == []
    table.reader.place(RESIDENT)
    assert len(of(CardReading, table.run(1.0))) == 1


def test_card_swapped_between_two_polls_is_noticed_after_the_hold_off():
    table = desk()
    table.reader.place(RESIDENT)
    table.run(1.0)
    table.reader.place(HMT)  # no 80 in between
    readings = table.run(idcard_dialogue.HOLD_OFF_S + 1.0)
    assert [card.number for card in of(CardReading, readings)] == [HMT.number]


def test_card_is_read_within_a_second():
    table = desk()
    table.run(1.0)
    table.reader.place(RESIDENT)
    assert len(of(CardReading, table.run(0.7))) == 1


def test_identifiers_instead_of_zeros_are_accepted():
    table = desk()
    table.reader.show_identifiers()
    table.reader.place(RESIDENT)
    assert len(of(CardReading, table.run(1.0))) == 1


@pytest.mark.parametrize("status", [0x41, 0x31, 0x32, 0x33, 0x40, 0x47, 0x91, 0x55, 0x21, 0x10, 0x11])
def test_card_that_cannot_be_read_is_told_once_until_it_is_removed(status):
    table = desk()
    table.reader.fail("read", *[status] * 100)
    table.reader.place(RESIDENT)
    (trouble,) = of(Trouble, table.run(20.0))
    assert trouble.symptom is Symptom.CARD_UNREADABLE
    assert f"{status:02X}" in trouble.detail
    table.reader.remove()
    assert of(Trouble, table.run(1.0)) == []
    table.reader.place(RESIDENT)
    assert len(of(Trouble, table.run(3.0))) == 1


def test_select_that_fails_is_told_like_a_read_that_fails():
    table = desk()
    table.reader.fail("select", *[0x81] * 100)
    table.reader.place(RESIDENT)
    assert [trouble.symptom for trouble in of(Trouble, table.run(5.0))] == [Symptom.CARD_UNREADABLE]


def test_card_still_sliding_in_fails_once_and_is_not_told():
    table = desk()
    table.reader.fail("select", 0x81)
    table.reader.place(RESIDENT)
    readings = table.run(2.0)
    assert of(Trouble, readings) == []
    assert len(of(CardReading, readings)) == 1


def test_card_snatched_between_select_and_read_is_told():
    table = desk()
    table.reader.take_after_select()
    table.reader.place(RESIDENT)
    readings = table.run(2.0)
    assert [trouble.symptom for trouble in of(Trouble, readings)] == [Symptom.CARD_UNREADABLE]
    assert of(CardReading, readings) == []


@pytest.mark.parametrize("status", [0x60, 0x66])
def test_broken_module_says_so_and_comes_back(status):
    table = desk()
    table.run(1.0)
    table.reader.break_down(status)
    readings = table.run(10.0)
    troubles = of(Trouble, readings)
    assert {trouble.symptom for trouble in troubles} == {Symptom.SELF_TEST}
    gaps = [later.at_mono - earlier.at_mono for earlier, later in pairwise(troubles)]
    assert max(gaps) < table.dialect.silence_s  # broken is not silent
    table.reader.repair()
    table.reader.place(RESIDENT)
    assert len(of(CardReading, table.run(3.0))) == 1


@pytest.mark.parametrize("status", [0x10, 0x11, 0x21, 0x24])
def test_one_refused_request_is_a_spark_and_many_are_a_trouble(status):
    table = desk()
    table.reader.fail("find", status)
    assert of(Trouble, table.run(3.0)) == []
    table.reader.fail("find", *[status] * 50)
    readings = table.run(5.0)
    assert {trouble.symptom for trouble in of(Trouble, readings)} == {Symptom.REFUSED}
    first = readings.index(of(Trouble, readings)[0])
    assert of(Sign, readings[first:]) == []  # a good status in between must not make it look well


def test_slow_read_is_waited_for_and_is_no_silence():
    table = desk()
    table.reader.slow_read(4.8)
    table.reader.place(RESIDENT)
    readings = table.run(7.0)
    assert len(of(CardReading, readings)) == 1
    assert table.silent_longest_s <= 0


def test_read_answer_that_comes_after_its_time_belongs_to_nobody():
    table = desk()
    table.reader.slow_read(6.0)
    table.reader.place(RESIDENT)
    readings = table.run(6.0)
    table.reader.remove()
    table.reader.slow_read(0.0)
    table.reader.place(HMT)
    readings += table.run(8.0)
    assert [card.number for card in of(CardReading, readings)] == [HMT.number]
    assert [trouble.symptom for trouble in of(Trouble, readings)] == [Symptom.CARD_UNREADABLE]


STATUS_GOOD = bytes.fromhex("AAAAAA9669000400009094")
LATE = {
    "status": STATUS_GOOD,
    "find": bytes.fromhex("AAAAAA9669000800009F0000000097"),
    "select": bytes.fromhex("AAAAAA9669000C0000900000000000000000 9C"),
    "read": answer_frame(read_answer(RESIDENT)),
    "module number": bytes.fromhex("AAAAAA9669 0014 000090 05000300A53A340187D61200B17F3905 99"),
}
LATER = answer_frame(b"\x90" + bytes(140))


def after(*late: str) -> IdCardDialect:
    """Return a dialect that has heard these answers, each to its own request, and has something to ask."""
    dialect = IdCardDialect()
    for turn, step in enumerate(late):
        dialect.due(turn / 10)
        dialect.feed(LATE[step], turn / 10 + 0.05)
    return dialect


@pytest.mark.parametrize("late", ["find", "select", "read", "module number"])
def test_late_answer_is_not_taken_for_a_status(late):
    dialect = IdCardDialect()
    assert dialect.due(0.0) == idcard.status_request()
    assert [type(reading) for reading in dialect.feed(LATE[late], 0.1)] == [Junk]
    assert dialect.due(0.2) == b""  # still waiting for the answer to status
    assert [type(reading) for reading in dialect.feed(STATUS_GOOD, 0.3)] == [Sign]


@pytest.mark.parametrize(
    ("awaited", "heard"),
    [
        ("module number", ("status",)),
        ("find", ("status", "module number")),
        ("select", ("status", "module number", "find")),
        ("read", ("status", "module number", "find", "select")),
    ],
)
def test_late_answer_is_not_taken_for_another(awaited, heard):
    for late in LATE.keys() - {awaited}:
        dialect = after(*heard)
        assert dialect.due(1.0) != b""
        assert [type(reading) for reading in dialect.feed(LATE[late], 1.1)] == [Junk]
        assert [type(reading) for reading in dialect.feed(LATE[awaited], 1.2)] != [Junk]


def test_late_answer_is_not_taken_for_later_addresses():
    dialect = IdCardDialect(later_addresses=True)
    for turn, step in enumerate(("status", "module number", "find", "select", "read")):
        dialect.due(turn / 10)
        dialect.feed(LATE[step], turn / 10 + 0.05)
    assert dialect.due(0.6) == idcard.later_addresses_request()
    for late in LATE.values():
        assert [type(reading) for reading in dialect.feed(late, 0.65)] == [Junk]
    (card,) = dialect.feed(LATER, 0.7)
    assert (card.number, card.later_addresses) == (RESIDENT.number, ())  # two empty places


def test_late_answer_does_not_end_the_wait_for_the_right_one():
    dialect = after("status", "module number", "find", "select")
    dialect.due(1.0)
    assert [type(reading) for reading in dialect.feed(LATE["find"], 1.1)] == [Junk]
    assert dialect.feed(b"", 3.0) == []
    assert [type(reading) for reading in dialect.feed(LATE["read"], 3.1)] == [CardReading]


def test_half_an_answer_is_never_completed_by_the_next_one():
    dialect = IdCardDialect()
    dialect.due(0.0)
    dialect.feed(STATUS_GOOD[:6], 0.1)
    timed_out = dialect.feed(b"", 1.2)
    assert of(Junk, timed_out) == [Junk(at_mono=1.2, byte_count=6)]
    assert dialect.due(1.3) == idcard.status_request()
    assert [type(reading) for reading in dialect.feed(STATUS_GOOD, 1.4)] == [Sign]


def test_bytes_left_from_an_earlier_request_are_counted_as_junk():
    dialect = after("status")
    dialect.due(0.1)
    dialect.feed(LATE["module number"] + LATE["read"][:700], 0.15)
    assert dialect.due(0.2) == idcard.find_request()
    readings = dialect.feed(bytes.fromhex("AAAAAA9669000400008084"), 0.3)
    assert of(Junk, readings) == [Junk(at_mono=0.3, byte_count=700)]
    assert [sign.detail for sign in of(Sign, readings)] == ["no card"]


def test_module_that_never_answers_is_asked_again_and_gives_no_sign_of_life():
    dialect = IdCardDialect()
    asked = []
    for turn in range(100):
        asked += [request] if (request := dialect.due(turn / 10)) else []
        assert dialect.feed(b"", turn / 10 + 0.05) == []
    assert 8 <= len(asked) <= 11
    assert set(asked) == {idcard.status_request()}


@unhurried
@given(chunks=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([*LATE.values(), LATER])), max_size=30))
def test_any_bytes_in_any_state_never_raise(chunks):
    dialect = IdCardDialect(fingerprint=True, later_addresses=True)
    for turn, chunk in enumerate(chunks):
        dialect.due(turn / 3)
        dialect.feed(chunk, turn / 3 + 0.1)


# --- torn answers ---------------------------------------------------------------------------------------------------


@unhurried
@given(kept=st.integers(7, 1294))
def test_torn_card_is_noticed_soon_and_lends_nothing_to_the_next_person(kept):
    dialect, now = after("status", "module number", "find", "select"), 1.0
    assert dialect.due(now) == idcard.read_request()
    readings = dialect.feed(LATE["read"][:kept], now)
    while dialect.due(now) != idcard.status_request():  # the card was given up
        now += 0.05
        readings += dialect.feed(b"", now)
        assert now < 1.0 + idcard_dialogue.STALLED_S + 0.2
    rest = dialect.feed(LATE["read"][kept:] + STATUS_GOOD, now + 0.05)
    assert of(CardReading, readings + rest) == []
    assert sum(junk.byte_count for junk in of(Junk, readings + rest)) == len(LATE["read"])


def test_answer_torn_once_is_read_again_without_a_word():
    table = desk()
    table.reader.fault("long-length")
    table.reader.place(RESIDENT)
    readings = []
    while not of(Junk, readings):
        readings += table.run(0.05)
    table.reader.heal()
    readings += table.run(1.0)
    assert [card.number for card in of(CardReading, readings)] == [RESIDENT.number]
    assert of(Trouble, readings) == []


def test_noise_before_a_slow_answer_does_not_end_the_wait():
    dialect = after("status", "module number", "find", "select")
    dialect.due(1.0)
    assert dialect.feed(b"\xaa\xaa\x00", 1.1) != []
    assert dialect.feed(b"", 3.0) == []
    assert len(of(CardReading, dialect.feed(LATE["read"], 3.1))) == 1


def test_long_answer_at_the_slowest_speed_is_waited_for():
    card = replace(RESIDENT, fingerprint=bytes(1024))
    wire = answer_frame(read_answer(card, fingerprint=True))
    dialect, now = after("status", "module number", "find", "select"), 1.0
    dialect.due(now)
    now += 4.5  # a slow card, too
    readings = []
    for start in range(0, len(wire), 48):  # 9600 baud
        now += 0.05
        readings += dialect.feed(wire[start : start + 48], now)
    assert [type(reading) for reading in readings] == [CardReading]


def test_junk_without_end_does_not_hold_the_dialogue():
    dialect, now = after("status", "module number", "find", "select"), 1.0
    dialect.due(now)
    asked = b""
    while not asked:
        now += 0.1
        dialect.feed(bytes.fromhex("AAAAAA9669 0508") if now < 1.15 else b"\x00", now)
        asked = dialect.due(now)
        assert now < 1.0 + 4.9 + 2.5 + 0.3
    assert asked == idcard.status_request()


# --- fingerprints and later addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 512, 1024])
def test_fingerprint_answers_are_read_and_the_templates_left_behind(size):
    table = desk(fingerprint=True)
    table.reader.place(replace(RESIDENT, fingerprint=bytes(size)))
    assert [card.number for card in of(CardReading, table.run(1.0))] == [RESIDENT.number]
    assert idcard.read_fingerprint_request() in table.asked
    assert idcard.read_request() not in table.asked


def test_old_reader_without_the_fingerprint_command_is_asked_once():
    table = desk(fingerprint=True, lacks=(b"\x30\x10",))
    for card in (RESIDENT, HMT):
        table.reader.place(card)
        readings = table.run(1.0)
        assert [one.number for one in of(CardReading, readings)] == [card.number]
        assert of(Trouble, readings) == []
        table.reader.remove()
        table.run(1.0)
    assert table.asked.count(idcard.read_fingerprint_request()) == 1
    assert table.asked.count(idcard.read_request()) == 2


def test_one_refusal_does_not_make_a_reader_old():
    table = desk(fingerprint=True)
    table.reader.fail("read", 0x21, 0x21)  # out of order: the plain read is refused as well
    table.reader.place(RESIDENT)
    assert len(of(CardReading, table.run(2.0))) == 1
    assert table.asked.count(idcard.read_fingerprint_request()) == 2


def test_later_addresses_come_with_the_card_and_the_printed_one_stays():
    table = desk(later_addresses=True)
    table.reader.place(RESIDENT)
    (card,) = of(CardReading, table.run(10.0))
    assert card.later_addresses == ("某市新路1号", "某市旧路2号")
    assert card.address == RESIDENT.address
    assert table.asked.count(idcard.later_addresses_request()) == 1  # the card that stays is not asked again


def test_card_without_later_addresses_is_told_all_the_same():
    table = desk(later_addresses=True)
    table.reader.place(HMT)
    (card,) = of(CardReading, table.run(1.0))
    assert card.later_addresses == ()


@pytest.mark.parametrize("status", [0x41, 0x21, 0x60])
def test_later_addresses_that_fail_cost_no_card(status):
    dialect = IdCardDialect(later_addresses=True)
    for turn, step in enumerate(("status", "module number", "find", "select", "read")):
        dialect.due(turn / 10)
        dialect.feed(LATE[step], turn / 10 + 0.05)
    assert dialect.due(0.6) == idcard.later_addresses_request()
    readings = dialect.feed(answer_frame(bytes([status])), 0.7)
    assert [card.number for card in of(CardReading, readings)] == [RESIDENT.number]
    assert [one.symptom for one in of(Trouble, readings)] == ([Symptom.SELF_TEST] if status == 0x60 else [])


def test_card_waits_no_longer_than_a_moment_for_its_later_addresses():
    dialect = IdCardDialect(later_addresses=True)
    for turn, step in enumerate(("status", "module number", "find", "select", "read")):
        dialect.due(turn / 10)
        assert of(CardReading, dialect.feed(LATE[step], turn / 10 + 0.05)) == []
    dialect.due(0.6)
    assert dialect.feed(b"", 0.85) == []
    assert [card.number for card in of(CardReading, dialect.feed(b"", 0.95))] == [RESIDENT.number]
    assert dialect.due(1.0) == idcard.status_request()  # an answer that comes now fits no status
    assert of(CardReading, dialect.feed(answer_frame(b"\x90" + bytes(70)), 1.05)) == []


def test_without_later_addresses_the_card_is_told_with_its_last_byte():
    dialect = after("status", "module number", "find", "select")
    dialect.due(1.0)
    assert dialect.feed(LATE["read"][:-1], 1.1) == []
    assert [type(reading) for reading in dialect.feed(LATE["read"][-1:], 1.15)] == [CardReading]


# --- every fault of the reference, and its end ----------------------------------------------------------------------

UNREADABLE = (
    "code-81", "code-31", "code-32", "code-33", "code-40", "code-41", "code-47", "code-91", "long-length",
    "taken-after-select",
)  # fmt: skip
TROUBLED = (
    {name: Symptom.CARD_UNREADABLE for name in UNREADABLE}
    | {name: Symptom.REFUSED for name in ("code-10", "code-11", "code-21", "code-24")}
    | {name: Symptom.SELF_TEST for name in ("code-60", "code-66", "number-fails")}
)
STRANGE = {  # the card is told with what is strange about it
    "unknown-letter": lambda card: (card.kind, card.letter) == (CardKind.UNKNOWN, "Q"),
    "nul-fill": lambda card: (card.name, card.address) == (RESIDENT.name, RESIDENT.address),
    "surrogate-name": lambda card: card.name == "样\ufffd甲",
    "wrong-check-digit": lambda card: (card.number_ok, card.birth_ok) == (False, True),
    "wrong-birth": lambda card: (card.number_ok, card.birth_ok) == (True, False),
    "expired": lambda card: (card.valid_until, card.long_term) == (date(2020, 1, 1), False),
    "long-term": lambda card: (card.valid_until, card.long_term) == (None, True),
}
HARMLESS = ("stays-found", "stays-hidden", "identifiers", "slow-read")  # both ways of readers, none is a fault to us
UNSEEN = ("code-80",)  # a reader that sees no card is a reader without one


def test_every_fault_has_its_rule():
    ruled = (*TROUBLED, *STRANGE, *HARMLESS, *UNSEEN)
    assert sorted(ruled) == sorted(SimIdCardReader.FAULTS)


def test_unknown_fault_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown fault 'code-99'"):
        SimIdCardReader().fault("code-99")


@pytest.mark.parametrize("fault", TROUBLED)
def test_fault_is_told_within_five_seconds_and_readings_are_back_within_ten(fault):
    table = desk()
    table.run(3.0)
    table.reader.fault(fault)
    table.reader.place(RESIDENT)
    began = table.now
    readings = table.run(12.0)
    troubles = of(Trouble, readings)
    assert troubles[0].at_mono - began <= 5.0
    assert {trouble.symptom for trouble in troubles} == {TROUBLED[fault]}
    if TROUBLED[fault] is not Symptom.CARD_UNREADABLE:  # that one is news about a card, not a state of the reader
        assert max(later.at_mono - earlier.at_mono for earlier, later in pairwise(troubles)) <= 1.0
        assert of(Sign, readings[readings.index(troubles[0]) :]) == []
    table.reader.heal()
    table.reader.place(RESIDENT)
    back = table.run(10.0)
    assert [card.number for card in of(CardReading, readings + back)] == [RESIDENT.number]
    assert of(Sign, back) != []
    assert table.silent_longest_s <= 0


@pytest.mark.parametrize("fault", STRANGE)
def test_strange_card_is_shown_as_it_is_and_never_refused(fault):
    table = desk()
    card = replace(RESIDENT, valid_until="20400101")
    table.reader.fault(fault)
    table.reader.place(card)
    readings = table.run(5.0)
    (shown,) = of(CardReading, readings)
    assert STRANGE[fault](shown)
    assert of(Trouble, readings) == []
    table.reader.remove()
    table.run(1.0)
    table.reader.heal()
    table.reader.place(card)
    (well,) = of(CardReading, table.run(5.0))
    assert (well.kind, well.name, well.number_ok, well.birth_ok) == (CardKind.RESIDENT, "样本甲", True, True)
    assert well.valid_until == date(2040, 1, 1)


@pytest.mark.parametrize("fault", HARMLESS)
def test_way_of_a_reader_is_no_fault(fault):
    table = desk(finds_again=fault == "stays-hidden")
    table.reader.fault(fault)
    table.reader.place(RESIDENT)
    readings = table.run(20.0)
    assert [card.number for card in of(CardReading, readings)] == [RESIDENT.number]
    assert of(Trouble, readings) == []
    assert table.silent_longest_s <= 0


def test_reader_that_sees_no_card_is_well_and_reads_when_it_sees_again():
    table = desk()
    table.reader.fault("code-80")
    table.reader.place(RESIDENT)
    assert {type(reading) for reading in table.run(10.0)} == {Sign, Identity}
    table.reader.heal()
    assert len(of(CardReading, table.run(2.0))) == 1


@unhurried
@given(faults=st.lists(st.sampled_from(SimIdCardReader.FAULTS), max_size=6), turns=st.integers(1, 120))
def test_any_mixture_of_faults_heals_without_a_new_dialogue(faults, turns):
    table = desk()
    for fault in faults:
        table.reader.fault(fault)
    table.reader.place(RESIDENT)
    table.run(turns / 20)
    table.reader.remove()
    table.reader.heal()
    table.run(5.0)  # a read under way is waited for
    table.reader.place(HMT)
    assert [card.number for card in of(CardReading, table.run(5.0))] == [HMT.number]
