"""The rules of the card reader's bytes and of the cards in them."""

import hashlib
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs import idcard, idcard_codes
from drivers.codecs.framing import Dropped
from drivers.codecs.idcard import Answer, IdCardCodec, card_of, frame, later_addresses_of
from drivers.codecs.idcard_text import TEXT_BYTES, check_digit_holds, read_text
from drivers.readings import CardKind, CardReading
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
        (idcard.read_fingerprint_request(), "AA AA AA 96 69 00 03 30 10 23"),
        (idcard.later_addresses_request(), "AA AA AA 96 69 00 03 30 03 30"),
        (idcard.chip_data_request(), "AA AA AA 96 69 00 03 30 05 36"),
        (idcard.speed_request(115200), "AA AA AA 96 69 00 03 60 00 63"),
        (idcard.speed_request(57600), "AA AA AA 96 69 00 03 60 01 62"),
        (idcard.speed_request(38400), "AA AA AA 96 69 00 03 60 02 61"),
        (idcard.speed_request(19200), "AA AA AA 96 69 00 03 60 03 60"),
        (idcard.speed_request(9600), "AA AA AA 96 69 00 03 60 04 67"),
        (idcard.radio_packet_request(0x50), "AA AA AA 96 69 00 04 61 FF 50 CA"),
        (idcard.radio_packet_request(0x58), "AA AA AA 96 69 00 04 61 FF 58 C2"),
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


def test_resident_text_block_is_the_published_one():
    head = bytes.fromhex("37682C6732752000200020002000200020002000200020002000200020003100")
    tail = bytes.fromhex("7F95 1F67") + b"\x20\x00" * 24
    block = encode_text(RESIDENT)
    assert (len(block), block[:32], block[204:]) == (TEXT_BYTES, head, tail)
    assert block[32:52] == bytes.fromhex("3000310031003900340039003100320033003100")


@pytest.mark.parametrize(
    ("fingers", "length_hex", "size"), [(0, "050A", 1297), (512, "070A", 1809), (1024, "090A", 2321)]
)
def test_the_three_lengths_with_fingerprints_hold_the_same_card(fingers, length_hex, size):
    wire = answer_frame(read_answer(replace(RESIDENT, fingerprint=bytes(fingers)), fingerprint=True))
    assert (len(wire), wire[5:7].hex().upper()) == (size, length_hex)
    assert cards(IdCardCodec().feed(wire)) == cards(IdCardCodec().feed(golden("resident")))


def test_fingerprint_length_that_no_reader_sends_makes_no_card():
    data = bytes.fromhex("0100 0400 0001") + encode_text(RESIDENT) + bytes(1024) + b"\0"
    assert card_of(data, at_mono=0.0) is None


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


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_any_number_of_later_addresses_is_read_newest_first(count):
    places = [f"某市新路{number}号".encode("utf-16-le").ljust(70, b"\0") for number in range(count)]
    (answer,) = IdCardCodec().feed(answer_frame(b"\x90" + b"".join(places)))
    assert later_addresses_of(answer) == tuple(f"某市新路{number}号" for number in range(count))


def test_empty_places_and_no_later_address_at_all_are_none():
    (blank,) = IdCardCodec().feed(answer_frame(b"\x90" + b"\x20\x00" * 70))
    (empty,) = IdCardCodec().feed(bytes.fromhex("AAAAAA9669000400009195"))
    (uneven,) = IdCardCodec().feed(answer_frame(b"\x90" + "某".encode("utf-16-le") * 36))
    assert [later_addresses_of(answer) for answer in (blank, empty, uneven)] == [(), (), ()]


def test_words_of_the_card_itself_are_told_to_the_maintainer():
    (answer,) = IdCardCodec().feed(frame(bytes.fromhex("6A82 41")))
    assert idcard.words_of(answer, idcard.CARD_REFUSED) == "SW3 41: reading failed (card says 6A82)"


def test_simulated_reader_gives_the_published_transcript():
    reader = SimIdCardReader()
    assert reader.answer(idcard.find_request()) == bytes.fromhex("AAAAAA9669000400008084")
    reader.place(RESIDENT)
    for asked, answered in (
        (idcard.status_request(), "AAAAAA9669000400009094"),
        (idcard.radio_packet_request(0x50), "AAAAAA9669000400009094"),
        (idcard.find_request(), "AAAAAA9669000800009F0000000097"),
        (idcard.select_request(), "AAAAAA9669000C00009000000000000000009C"),
        (idcard.read_request(), golden("resident").hex()),
        (idcard.later_addresses_request(), "AAAAAA9669000400009195"),
        (idcard.speed_request(38400), "AAAAAA9669000400009094"),
    ):
        assert reader.answer(asked).hex().upper() == answered.upper()


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
    assert (card.kind, card.letter, card.number, card.name) == (CardKind.UNKNOWN, "Q", "11010519491231002X", "样本甲")


def test_fields_that_only_some_kinds_have():
    hmt, of_2017 = read_card(HMT), read_card(FOREIGNER_2017)
    of_2023 = read_card(replace(FOREIGNER_2023, earlier_link="017"))
    assert (hmt.letter, hmt.permit_number, hmt.issue_count) == ("J", "H00000000", "01")
    assert (of_2017.letter, of_2017.version, of_2017.authority) == ("I", "01", "1500")
    assert (of_2023.letter, of_2023.issue_count, of_2023.earlier_link) == ("Y", "01", "017")
    assert read_card(RESIDENT).letter == ""


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
    assert read_card(replace(RESIDENT, name="样\u202e本\u2028甲")).name == "样\ufffd本\ufffd甲"


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


@pytest.mark.parametrize("card", [RESIDENT, HMT, FOREIGNER_2023], ids=["resident", "hmt-permit", "foreigner-2023"])
def test_birth_date_must_be_the_one_inside_the_number(card):
    assert read_card(card).birth_ok
    assert not read_card(replace(card, birth="19700101")).birth_ok


def test_birth_date_is_not_compared_where_there_are_not_two():
    assert read_card(replace(FOREIGNER_2017, birth="19700101")).birth_ok
    assert read_card(replace(RESIDENT, birth="")).birth_ok
    assert read_card(replace(RESIDENT, number="1")).birth_ok


def test_impossible_date_inside_the_number_is_not_the_birth_date():
    assert not read_card(replace(RESIDENT, number="110105194913310026")).birth_ok


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


# --- codes ----------------------------------------------------------------------------------------------------------


def test_sex_codes_have_names_and_unknown_ones_are_shown():
    assert [idcard_codes.sex_name(code) for code in ("0", "1", "2", "9", "7", "")] == [
        "未知", "男", "女", "未说明", "7", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "name"),
    [("01", "汉"), ("08", "壮"), ("16", "哈尼"), ("24", "拉祜"), ("32", "仫佬"), ("40", "普米"), ("46", "德昂"),
     ("48", "裕固"), ("56", "基诺"), ("97", "其他"), ("98", "外国血统中国籍人士")],
)  # fmt: skip
def test_ethnic_codes_have_the_published_names(code, name):
    assert idcard_codes.ethnic_name(code) == name


@pytest.mark.parametrize("code", ["57", "59", "96", "00", "?9", ""])
def test_unknown_ethnic_code_is_shown_as_its_number(code):
    assert idcard_codes.ethnic_name(code) == code
    assert read_card(replace(RESIDENT, ethnic_code=code)).ethnic_code == code


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
