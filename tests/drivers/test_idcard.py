"""The rules of the card reader: its bytes, its cards, and the order of its dialogue."""

import hashlib
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs import idcard
from drivers.codecs.framing import Dropped
from drivers.codecs.idcard import Answer, IdCardCodec, IdCardDialect, card_of, frame
from drivers.codecs.idcard_text import TEXT_BYTES, check_digit_holds, read_text
from drivers.readings import CardKind, CardReading, Junk, Sign, Symptom, Trouble
from drivers.sim.idcard import CardData, SimIdCardReader, encode_text, read_answer

unhurried = settings(deadline=None, max_examples=50)  # a busy machine is no failed rule, and the suite has 5 s
GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = ("resident", "hmt-permit", "foreigner-2017", "foreigner-2023")

RESIDENT = CardData(
    name="样本甲",
    sex_code="1",
    ethnic_code="01",
    birth="19491231",
    address="某省某市样本路1号",
    number="11010519491231002X",
    authority="样本公安局",
    valid_from="20200101",
    valid_until="长期",
)
HMT = CardData(
    kind=CardKind.HMT_PERMIT,
    name="样本乙",
    sex_code="2",
    birth="19900101",
    address="某市样本大道2号",
    number="810000199001010027",
    authority="样本公安局",
    valid_from="20190101",
    valid_until="20240101",
    permit_number="H00000000",
    issue_count="01",
)
FOREIGNER_2017 = CardData(
    kind=CardKind.FOREIGNER_2017,
    name_latin="SAMPLE, ALICE",
    sex_code="2",
    number="SAU110090010101",
    nationality="SAU",
    name="样本丙",
    valid_from="20180101",
    valid_until="20280101",
    birth="19900101",
    version="01",
    authority="1500",
)
FOREIGNER_2023 = CardData(
    kind=CardKind.FOREIGNER_2023,
    name="样本丁",
    sex_code="1",
    issue_count="01",
    birth="19850101",
    name_latin="SAMPLE, BOB",
    number="932682198501010017",
    valid_from="20231201",
    valid_until="20331201",
    nationality="SAU",
)
VECTORS = (
    (RESIDENT, 0x29, "b73c1b0b55f1cf1e933c4ada8f8a6ed0"),
    (HMT, 0xBB, "d265c3e3eed2bb1d3181ab1cab252658"),
    (FOREIGNER_2017, 0xE7, "e54b8ff0c85f57e7babc20f35c301d26"),
    (FOREIGNER_2023, 0x8B, "de0803c904cda26e0c83e030cd2ebc67"),
)


def answer_frame(body: bytes) -> bytes:
    return frame(b"\0\0" + body)


def golden(kind: str) -> bytes:
    return (GOLDEN / f"idcard-sdt-synthetic-{kind}.bin").read_bytes()


def answers(events):
    return [event for event in events if isinstance(event, Answer)]


def cards(events):
    return [card for event in answers(events) if (card := card_of(event.data, at_mono=0.0))]


def read_card(card: CardData) -> CardReading:
    return read_text(encode_text(card), photo=b"", at_mono=0.0)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


class Desk:
    """A dialect and a simulated reader face to face, with a clock that moves when told."""

    def __init__(self, dialect: IdCardDialect, reader: SimIdCardReader) -> None:
        self.dialect, self.reader, self.now = dialect, reader, 100.0
        self.asked: list[bytes] = []

    def run(self, seconds: float, turn_s: float = 0.05) -> list:
        readings: list = []
        until = self.now + seconds
        while self.now < until:
            request = self.dialect.due(self.now)
            self.asked += [request] if request else []
            said = self.reader.answer(request, self.now) if request else b""
            self.now += turn_s
            readings += self.dialect.feed(said + self.reader.due(self.now), self.now)
        return readings


def desk(**reader) -> Desk:
    return Desk(IdCardDialect(), SimIdCardReader(**reader))


def of(kind, readings):
    return [reading for reading in readings if isinstance(reading, kind)]


# --- bytes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "hexadecimal"),
    [
        (idcard.reset_request(), "AA AA AA 96 69 00 03 10 FF EC"),
        (idcard.status_request(), "AA AA AA 96 69 00 03 11 FF ED"),
        (idcard.module_number_request(), "AA AA AA 96 69 00 03 12 FF EE"),
        (idcard.find_request(), "AA AA AA 96 69 00 03 20 01 22"),
        (idcard.select_request(), "AA AA AA 96 69 00 03 20 02 21"),
        (idcard.read_request(), "AA AA AA 96 69 00 03 30 01 32"),
    ],
)
def test_requests_are_the_published_bytes(request_bytes, hexadecimal):
    assert request_bytes == bytes.fromhex(hexadecimal)


@pytest.mark.parametrize(
    ("status", "checksum"),
    [
        (0x80, 0x84), (0x81, 0x85), (0x41, 0x45), (0x91, 0x95), (0x60, 0x64), (0x66, 0x62), (0x10, 0x14), (0x11, 0x15),
        (0x21, 0x25), (0x24, 0x20), (0x31, 0x35), (0x32, 0x36), (0x33, 0x37), (0x40, 0x44), (0x47, 0x43),
    ],
)  # fmt: skip
def test_every_error_answer_is_understood(status, checksum):
    wire = bytes.fromhex("AA AA AA 96 69 00 04 00 00") + bytes([status, checksum])
    assert IdCardCodec().feed(wire) == [Answer(card_status=0, status=status, data=b"")]


@pytest.mark.parametrize(("card", "checksum", "digest"), VECTORS, ids=KINDS)
def test_simulated_cards_are_the_published_vectors(card, checksum, digest):
    wire = answer_frame(read_answer(card))
    assert len(wire) == 1295
    assert wire[-1] == checksum
    assert hashlib.sha256(wire).hexdigest().startswith(digest)
    assert wire == golden(card.kind)


def test_fingerprint_answers_have_the_published_checksums():
    with_fingers = answer_frame(read_answer(replace(RESIDENT, fingerprint=bytes(1024)), fingerprint=True))
    without = answer_frame(read_answer(RESIDENT, fingerprint=True))
    assert (len(with_fingers), with_fingers[-1]) == (2321, 0x23)
    assert (len(without), without[-1]) == (1297, 0x2B)
    assert cards(IdCardCodec().feed(with_fingers + without)) == cards(IdCardCodec().feed(golden("resident"))) * 2


def test_module_number_is_printed_as_makers_print_it():
    wire = bytes.fromhex("AAAAAA9669 0014 000090 05000300A53A340187D61200B17F3905 99")
    (answer,) = IdCardCodec().feed(wire)
    assert idcard.module_number_text(answer.data) == "05.03-20200101-0001234567-0087654321"


def test_published_dialogue_is_read_whole():
    events = IdCardCodec().feed(golden("dialogue"))
    assert [event.status for event in events] == [0x90, 0x90, 0x80, 0x9F, 0x90, 0x90]
    assert [card.number for card in cards(events)] == ["11010519491231002X"]


# --- cards ---------------------------------------------------------------------------------------------------------


def test_resident_card():
    (card,) = cards(IdCardCodec().feed(golden("resident")))
    assert card == CardReading(
        at_mono=0.0,
        kind=CardKind.RESIDENT,
        number="11010519491231002X",
        number_ok=True,
        name="样本甲",
        sex_code="1",
        ethnic_code="01",
        birth=date(1949, 12, 31),
        address="某省某市样本路1号",
        authority="样本公安局",
        valid_from=date(2020, 1, 1),
        valid_until=None,
        long_term=True,
        photo=bytes(1024),
    )


def test_hong_kong_macao_taiwan_permit():
    (card,) = cards(IdCardCodec().feed(golden("hmt-permit")))
    assert (card.kind, card.name, card.number, card.number_ok) == (
        CardKind.HMT_PERMIT, "样本乙", "810000199001010027", True,
    )  # fmt: skip
    assert (card.birth, card.valid_until, card.ethnic_code) == (date(1990, 1, 1), date(2024, 1, 1), "")


def test_foreigner_card_of_2017_has_no_published_check_digit():
    (card,) = cards(IdCardCodec().feed(golden("foreigner-2017")))
    assert (card.kind, card.number, card.number_ok) == (CardKind.FOREIGNER_2017, "SAU110090010101", True)
    assert (card.name, card.name_latin, card.nationality) == ("样本丙", "SAMPLE, ALICE", "SAU")
    assert (card.birth, card.valid_from, card.authority) == (date(1990, 1, 1), date(2018, 1, 1), "1500")


def test_foreigner_card_of_2023():
    (card,) = cards(IdCardCodec().feed(golden("foreigner-2023")))
    assert (card.kind, card.number, card.number_ok) == (CardKind.FOREIGNER_2023, "932682198501010017", True)
    assert (card.name, card.name_latin, card.nationality) == ("样本丁", "SAMPLE, BOB", "SAU")
    assert (card.birth, card.valid_until) == (date(1985, 1, 1), date(2033, 12, 1))


def test_long_english_name_continues_in_its_second_place():
    long_name = "SAMPLE-EXAMPLE, BARTHOLOMEW MAXIMILIAN JR"
    assert read_card(replace(FOREIGNER_2023, name_latin=long_name)).name_latin == long_name


def test_foreigner_without_a_chinese_name_is_called_by_the_english_one():
    assert read_card(replace(FOREIGNER_2017, name="")).name == "SAMPLE, ALICE"


def test_unknown_letter_is_shown_and_never_refused():
    card = read_card(replace(RESIDENT, letter="Q"))
    assert (card.kind, card.number, card.name) == (CardKind.UNKNOWN, "11010519491231002X", "样本甲")


@pytest.mark.parametrize("card", [vector[0] for vector in VECTORS], ids=KINDS)
def test_zero_fill_reads_like_spaces(card):
    assert read_card(replace(card, fill="\0")) == read_card(card)


def test_lone_surrogate_in_a_name_becomes_a_replacement_mark():
    card = read_card(replace(RESIDENT, name="样\ud842甲"))
    assert card.name.startswith("样") and "\ufffd" in card.name
    assert card.number == "11010519491231002X"
    card.name.encode("utf-8")  # can be stored and printed


def test_rare_characters_stay_and_control_characters_do_not():
    assert read_card(replace(RESIDENT, name="样\ue863𠮷")).name == "样\ue863𠮷"
    assert read_card(replace(RESIDENT, name="样\x1b[2J")).name == "样\ufffd[2J"


@pytest.mark.parametrize("text", ["20230229", "19901301", "00000000", "1990011", "١٩٩٠٠١٠١", "", "长期"])
def test_impossible_birth_date_is_none(text):
    assert read_card(replace(RESIDENT, birth=text)).birth is None


def test_unreadable_end_of_validity_is_neither_a_date_nor_long_term():
    card = read_card(replace(RESIDENT, valid_until="2040????"))
    assert (card.valid_until, card.long_term) == (None, False)


@pytest.mark.parametrize(
    "number", ["11010519491231002X", "932682198501010017", "911124198108030024", "810000199001010027"]
)
def test_published_numbers_satisfy_the_check_digit(number):
    assert check_digit_holds(number)


@unhurried
@given(place=st.integers(0, 16), step=st.integers(1, 9))
def test_one_wrong_digit_is_noticed(place, step):
    number = "11010519491231002X"
    wrong = number[:place] + str((int(number[place]) + step) % 10) + number[place + 1 :]
    assert not read_card(replace(RESIDENT, number=wrong)).number_ok


@unhurried
@given(block=st.binary(min_size=TEXT_BYTES, max_size=TEXT_BYTES))
def test_any_text_block_is_a_card_of_some_kind(block):
    card = read_text(block, photo=b"", at_mono=0.0)
    card.name.encode("utf-8")


def test_repr_of_an_answer_and_a_card_shows_no_person():
    (answer,) = IdCardCodec().feed(golden("resident"))
    shown = repr(answer) + repr(card_of(answer.data, at_mono=0.0)) + repr(RESIDENT)
    assert "样本甲" not in shown and "11010519491231002X" not in shown


@unhurried
@given(data=st.binary(max_size=3000))
def test_any_read_data_is_a_card_or_nothing(data):
    card_of(data, at_mono=0.0)


# --- torn, dirty and cut bytes --------------------------------------------------------------------------------------


@unhurried
@given(chunks=st.lists(st.one_of(st.binary(max_size=200), st.just(idcard.PREAMBLE), st.just(b"\x05\x08"))))
def test_any_bytes_never_raise_and_never_pile_up(chunks):
    codec = IdCardCodec()
    for chunk in chunks:
        codec.feed(chunk)
        assert codec.held_bytes <= idcard.LONGEST_FRAME_BYTES


@unhurried
@given(places=st.lists(st.integers(0, 5000), max_size=40))
def test_torn_delivery_changes_nothing(places):
    wire = golden("dialogue")
    codec = IdCardCodec()
    assert [event for chunk in cut(wire, places) for event in codec.feed(chunk)] == IdCardCodec().feed(wire)


def test_one_byte_at_a_time_changes_nothing():
    wire = golden("dialogue")
    codec = IdCardCodec()
    assert [event for byte in wire for event in codec.feed(bytes([byte]))] == IdCardCodec().feed(wire)


@unhurried
@given(junk=st.binary(max_size=300), places=st.lists(st.integers(0, 2000), max_size=8))
def test_good_frame_is_found_after_any_junk_and_the_junk_is_counted(junk, places):
    codec = IdCardCodec()
    wire = junk + golden("resident")
    events = [event for chunk in cut(wire, places) for event in codec.feed(chunk)]
    assert answers(events)[-1:] == answers(IdCardCodec().feed(golden("resident")))
    assert sum(event.byte_count for event in events if isinstance(event, Dropped)) == len(junk)


@pytest.mark.parametrize("prelude", ["AA", "AAAAAA", "AAAAAA00", "AAAAAA9669", "AAAAAA96690508", "AAAAAA9669FFFF"])
def test_bad_heads_before_a_frame_cost_nothing_but_themselves(prelude):
    events = IdCardCodec().feed(bytes.fromhex(prelude) + bytes.fromhex("AAAAAA9669000400008084"))
    assert [event.status for event in answers(events)] == [0x80]


@unhurried
@given(bit=st.integers(0, 1295 * 8 - 1))
def test_one_flipped_bit_loses_the_frame_and_not_the_next(bit):
    spoilt = bytearray(golden("resident"))
    spoilt[bit // 8] ^= 1 << bit % 8
    events = IdCardCodec().feed(bytes(spoilt) + golden("hmt-permit"))
    assert [card.number for card in cards(events)] == ["810000199001010027"]


@unhurried
@given(kept=st.integers(0, 1294), places=st.lists(st.integers(0, 3000), max_size=6))
def test_truncated_card_never_lends_its_digits_to_the_next_person(kept, places):
    codec = IdCardCodec()
    wire = golden("resident")[:kept] + golden("hmt-permit") + golden("foreigner-2023")
    found = cards(event for chunk in cut(wire, places) for event in codec.feed(chunk))
    whole = {(card.name, card.number, card.birth) for kind in KINDS for card in cards(IdCardCodec().feed(golden(kind)))}
    assert {(card.name, card.number, card.birth) for card in found} <= whole
    assert found[-1].name == "样本丁"


def test_overdue_frame_is_given_up_and_what_it_hid_is_found():
    codec = IdCardCodec()
    assert codec.feed(bytes.fromhex("AAAAAA9669 0508 00") + bytes(40)) == []
    assert codec.give_up() == [Dropped(byte_count=48)]
    assert codec.held_bytes == 0


# --- dialogue -------------------------------------------------------------------------------------------------------


def test_status_comes_first_and_then_find_is_polled_slowly_enough():
    table = desk()
    signs = of(Sign, table.run(2.9))
    assert table.asked[0] == idcard.status_request()
    assert set(table.asked[1:]) == {idcard.find_request()}
    assert 2 <= len(table.asked) <= 2.9 / idcard.FIND_EVERY_S + 2
    assert {sign.detail for sign in signs} == {"status good", "no card"}


def test_status_is_asked_again_every_few_seconds():
    table = desk()
    table.run(10.0)
    assert 3 <= table.asked.count(idcard.status_request()) <= 5


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
    readings = table.run(idcard.HOLD_OFF_S + 1.0)
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
    assert {trouble.symptom for trouble in of(Trouble, readings)} == {Symptom.NOISE}
    first = readings.index(of(Trouble, readings)[0])
    assert of(Sign, readings[first:]) == []  # a good status in between must not make it look well


def test_slow_read_is_waited_for_and_is_no_silence():
    table = desk()
    table.reader.slow_read(4.8)
    table.reader.place(RESIDENT)
    readings = []
    longest = 0.0
    valid_at = table.now
    for _ in range(140):
        fresh = table.run(0.05)
        readings += fresh
        valid_at = table.now if any(not isinstance(reading, Junk) for reading in fresh) else valid_at
        longest = max(longest, table.now - valid_at - table.dialect.silence_s)
    assert len(of(CardReading, readings)) == 1
    assert longest <= 0


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
    "read": golden("resident"),
}


@pytest.mark.parametrize("late", ["find", "select", "read"])
def test_late_answer_is_not_taken_for_a_status(late):
    dialect = IdCardDialect()
    assert dialect.due(0.0) == idcard.status_request()
    assert [type(reading) for reading in dialect.feed(LATE[late], 0.1)] == [Junk]
    assert dialect.due(0.2) == b""  # still waiting for the answer to status
    assert [type(reading) for reading in dialect.feed(STATUS_GOOD, 0.3)] == [Sign]


@pytest.mark.parametrize("late", ["status", "select", "read"])
def test_late_answer_is_not_taken_for_a_find(late):
    dialect = IdCardDialect()
    dialect.due(0.0)
    dialect.feed(STATUS_GOOD, 0.1)
    assert dialect.due(0.2) == idcard.find_request()
    assert [type(reading) for reading in dialect.feed(LATE[late], 0.3)] == [Junk]


def test_half_an_answer_is_never_completed_by_the_next_one():
    dialect = IdCardDialect()
    dialect.due(0.0)
    dialect.feed(STATUS_GOOD[:6], 0.1)
    timed_out = dialect.feed(b"", 1.2)
    assert of(Junk, timed_out) == [Junk(at_mono=1.2, byte_count=6)]
    assert dialect.due(1.3) == idcard.status_request()
    assert [type(reading) for reading in dialect.feed(STATUS_GOOD, 1.4)] == [Sign]


def test_bytes_left_from_an_earlier_request_are_counted_as_junk():
    dialect = IdCardDialect()
    dialect.due(0.0)
    dialect.feed(STATUS_GOOD + golden("resident")[:700], 0.1)
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
@given(chunks=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(list(LATE.values()))), max_size=30))
def test_any_bytes_in_any_state_never_raise(chunks):
    dialect = IdCardDialect()
    for turn, chunk in enumerate(chunks):
        dialect.due(turn / 3)
        dialect.feed(chunk, turn / 3 + 0.1)
