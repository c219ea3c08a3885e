"""The rules of a recording: no person is in it, however the bytes came, and a codec can still be tested with it."""

import struct
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import drivers
from drivers.anonymise import NoRule, anonymiser_for
from drivers.codecs.gm65 import read_model_command
from drivers.codecs.idcard import Answer, IdCardCodec, card_of, frame, later_addresses_of
from drivers.codecs.keyboard import EVENT
from drivers.codecs.scanner import LineScannerDialect
from drivers.errors import PortLost
from drivers.identity import Machine
from drivers.readings import CardKind, CodeReading
from drivers.recording import NothingRecorded, record
from drivers.sim.idcard import CardData, SimIdCardReader, read_answer
from drivers.sim.pty import PtyDevice
from drivers.sim.specimens import SPECIMENS
from drivers.sim.thermal_array import SimThermalArray

WINDOW_BYTES = 6
# Persons who do not exist, and whose data shares as little as can be with the specimens'.
PEOPLE = {
    CardKind.RESIDENT: CardData(
        number="990703196807254380", name="虚构赵钱孙", birth="19680725", address="无名县无名镇虚构巷七十六号",
        authority="无名县测试分局", valid_from="20170726", valid_until="20370726", photo=bytes(range(1, 129)) * 8,
        later_addresses=("虚构新村三十八幢", "虚构旧里五十四弄"), fingerprint=b"\x5e\x37" * 512,
    ),
    CardKind.HMT_PERMIT: CardData(
        kind=CardKind.HMT_PERMIT, number="830000196807254387", name="虚构周吴", birth="19680725",
        address="无名县虚构街", permit_number="T76543876", issue_count="37",
    ),
    CardKind.FOREIGNER_2017: CardData(
        kind=CardKind.FOREIGNER_2017, number="ZZZ376807254387", name="虚构郑王", name_latin="NEMO, ULYSSES",
        birth="19680725", nationality="ZZZ", authority="3700",
    ),
    CardKind.FOREIGNER_2023: CardData(
        kind=CardKind.FOREIGNER_2023, number="976543196807254387", name="虚构冯陈", name_latin="NEMO, ULYSSES",
        birth="19680725", nationality="ZZZ", earlier_link="387",
    ),
}  # fmt: skip
PERSONAL = ("number", "name", "name_latin", "birth", "address", "permit_number", "earlier_link")


def windows(content: bytes) -> set[bytes]:
    return {content[at : at + WINDOW_BYTES] for at in range(len(content) - WINDOW_BYTES + 1)}


def of_person(card: CardData) -> set[bytes]:
    """Return every piece of the person's data as it is on the chip, but those that the specimen has too."""
    texts = [*(getattr(card, name) for name in PERSONAL), *card.later_addresses]
    found = set().union(*(windows(text.encode("utf-16-le")) | windows(text.encode()) for text in texts))
    found |= {piece for blob in (card.photo, card.fingerprint) for piece in windows(blob) if any(piece)}
    specimen = set().union(*(windows(_answer(each)) for each in SPECIMENS.values()))
    return found - specimen


def _answer(card: CardData, *, fingerprint: bool = False) -> bytes:
    return frame(b"\0\0" + read_answer(card, fingerprint=fingerprint))


def conversation(card: CardData) -> bytes:
    later = b"".join(address.ljust(35).encode("utf-16-le") for address in card.later_addresses)
    return (
        frame(b"\0\0\x9f" + card.number.encode()[:4]) + frame(b"\0\0\x90" + card.number.encode()[:8])
        + _answer(card) + _answer(card, fingerprint=True)
        + (frame(b"\0\0\x90" + later) if later else b"")
        + frame(b"\0\0\x90" + card.number.encode().ljust(28, b"7"))
    )  # fmt: skip


def recorded(kind: str, chunks) -> bytes:
    anonymiser = anonymiser_for(kind)
    return b"".join([*(anonymiser.feed(chunk) for chunk in chunks), anonymiser.close()])


@st.composite
def deliveries(draw):
    """Return a card's conversation cut into chunks, perhaps with bytes lost or noise between."""
    card = draw(st.sampled_from(list(PEOPLE.values())))
    content = conversation(card)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        lost = draw(st.integers(0, 200))
        content = content[:at] + draw(st.binary(max_size=12)) + content[at + lost :]
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=8)))
    return card, [content[a:b] for a, b in pairwise([0, *cuts, len(content)])]


@given(deliveries())
def test_no_piece_of_a_person_survives_any_delivery(delivery):
    card, chunks = delivery
    written = recorded("idcard-sdt", chunks)
    assert not windows(written) & of_person(card)
    assert len(written) == sum(map(len, chunks))


def test_the_search_for_a_person_would_find_one():
    for card in PEOPLE.values():
        assert len(windows(_answer(card)) & of_person(card)) > 30


@pytest.mark.parametrize("kind", PEOPLE)
def test_card_becomes_a_whole_specimen_of_the_same_kind(kind):
    written = recorded("idcard-sdt", [_answer(PEOPLE[kind])])
    (answer,) = IdCardCodec().feed(written)
    card = card_of(answer.data, at_mono=0.0)
    assert (card.kind, card.number, card.name) == (kind, SPECIMENS[kind].number, SPECIMENS[kind].name)
    assert card.number_ok and card.birth_ok
    assert card.photo == bytes(1024)


def test_unknown_letter_stays_and_its_person_does_not():
    stranger = CardData(**{
        **{field.name: getattr(PEOPLE[CardKind.RESIDENT], field.name) for field in fields(CardData)}, "letter": "Q",
    })  # fmt: skip
    (answer,) = IdCardCodec().feed(recorded("idcard-sdt", [_answer(stranger)]))
    card = card_of(answer.data, at_mono=0.0)
    assert (card.letter, card.number) == ("Q", SPECIMENS[CardKind.RESIDENT].number)


def test_later_addresses_status_words_and_sizes_stay():
    person = PEOPLE[CardKind.RESIDENT]
    events = IdCardCodec().feed(recorded("idcard-sdt", [conversation(person), frame(b"\x63\x00\x41")]))
    assert all(isinstance(event, Answer) for event in events)
    assert [event.status for event in events] == [0x9F, 0x90, 0x90, 0x90, 0x90, 0x90, 0x41]
    assert [len(event.data) for event in events] == [4, 8, 1284, 2310, 140, 28, 0]
    assert later_addresses_of(events[4]) == (SPECIMENS[CardKind.RESIDENT].address,) * 2
    assert events[6].card_status == 0x6300


@given(st.text(min_size=3, max_size=40), st.lists(st.integers(1, 5), max_size=20), st.booleans())
def test_codes_become_placeholders_of_the_same_length(content, sizes, answered):
    code = content.replace("\r", "-").replace("\n", "-").encode()
    acknowledgement = bytes.fromhex("02000001003331")
    said = (acknowledgement if answered else b"") + code + b"\r\n"
    cuts = sorted({min(sum(sizes[: count + 1]), len(said)) for count in range(len(sizes))})
    written = recorded("gm65", [said[a:b] for a, b in pairwise([0, *cuts, len(said)])])
    assert written == (acknowledgement if answered else b"") + b"x" * len(code) + b"\r\n"


def test_code_that_imitates_an_answer_hides_nothing():
    long_answer = bytes.fromhex("0200 00 06") + b"secret" + bytes(2)
    assert b"secret" not in recorded("gm65", [long_answer])
    assert recorded("line-scanner", [b"\x02\x00\x00"]) == b"xxx"
    assert read_model_command() not in recorded("gm65", [read_model_command()])


def test_recorded_codes_still_are_codes():
    dialect = LineScannerDialect()
    dialect.feed(b"", 0.0)
    readings = dialect.feed(recorded("line-scanner", [b"visitor pass 12\r"]), 5.0)
    assert [reading.content for reading in readings if isinstance(reading, CodeReading)] == [b"x" * 15]


@given(st.integers(1, 40))
def test_keys_become_the_x_and_enter_stays(cut):
    typed = [(4, 4, 458784), (1, 42, 1), (1, 30, 1), (1, 30, 0), (0, 0, 0), (1, 28, 1)]
    said = b"".join(EVENT.pack(7, 8, *event) for event in typed)
    written = recorded("keyboard-scanner", [said[:cut], said[cut:], b"\x1e"])
    events = [event[2:] for event in EVENT.iter_unpack(written[: len(said)])]
    assert events == [(4, 0, 0), (1, 42, 1), (1, 45, 1), (1, 45, 0), (0, 0, 0), (1, 28, 1)]
    assert written[len(said) :] == b"\0"
    assert struct.pack("<H", 30) not in written


@pytest.mark.parametrize("kind", sorted(drivers.TABLE))
def test_every_kind_has_its_rule(kind):
    assert anonymiser_for(kind).feed(b"") == b""


def test_kind_without_a_rule_is_not_recorded():
    with pytest.raises(NoRule, match="what is personal"):
        anonymiser_for("fingerprint-reader")


# --- recording ------------------------------------------------------------------------------------------------------


def test_card_on_a_live_line_is_recorded_as_a_specimen(tmp_path: Path):
    device = SimIdCardReader()
    device.place(PEOPLE[CardKind.RESIDENT])
    with PtyDevice(tmp_path / "card.tty", device, baud=115200):
        recording = record(f"serial://{tmp_path}/card.tty?baud=auto", "idcard-sdt", 0.8)
    cards = [card_of(event.data, at_mono=0.0) for event in IdCardCodec().feed(recording.content)]
    assert [card.number for card in cards if card] == [SPECIMENS[CardKind.RESIDENT].number]
    assert not windows(recording.content) & of_person(PEOPLE[CardKind.RESIDENT])


def test_device_of_another_kind_is_not_recorded(tmp_path: Path):
    """A scanner that is taken for a thermometer would be kept as it is."""

    class Scanner:
        def answer(self, chunk, now):
            return b""

        def due(self, now):
            return b"NAME;NUMBER\r"

    with PtyDevice(tmp_path / "x.tty", Scanner()), pytest.raises(NothingRecorded, match="sentinelctl probe"):
        record(f"serial://{tmp_path}/x.tty", "gy-mcu90640", 0.3)


def test_recording_ends_when_its_time_is_over_or_it_is_long_enough(tmp_path: Path):
    with PtyDevice(tmp_path / "t.tty", SimThermalArray(rate_hz=50.0)):
        recording = record(f"serial://{tmp_path}/t.tty", "gy-mcu90640", 0.3)
    assert 1 <= recording.readings <= 30
    assert len(recording.content) >= 1544 and recording.junk_bytes == 0


def test_port_that_somebody_has_is_named_with_who_has_it(tmp_path: Path):
    machine = Machine(sys=tmp_path / "sys", dev=tmp_path / "dev", proc=tmp_path / "proc")
    (machine.proc / "41/fd").mkdir(parents=True)
    (machine.proc / "41/fd/5").symlink_to(tmp_path / "ttyS0")
    (machine.proc / "41/comm").write_text("sentinel-gate\n")
    with pytest.raises(PortLost, match=r"41 \(sentinel-gate\); stop it first"):
        record(f"serial://{tmp_path}/ttyS0", "idcard-sdt", 1.0, machine=machine)
