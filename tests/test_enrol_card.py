"""Enrolling from the card's own photograph: of the line's holder only, marked as what it is, and nothing of it kept."""

import ctypes
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest
from gallery_sample import CONSENT, face, member, number_of, template

from drivers.errors import PortSettingsError
from drivers.photo import HEIGHT, WIDTH, PhotoDecoder, PhotoDecoderUnavailable
from drivers.reader import SilentDevice
from drivers.sim.idcard import CardData, SimIdCardReader
from recognition.errors import FaceUnusable
from sentinel import enrol, roster
from sentinel.core.errors import DataError, Unavailable
from sentinel.device_settings import Card
from sentinel.enrol_card import PATIENCE_S, check_no_better, decoder_of, photo_template, take_photo
from sentinel.enrol_lines import RosterLine
from sentinel.enroller import Enroller
from sentinel.roster import CARD_PHOTO
from sentinel.settings import load
from sync.vault import Vault

EXAMPLE = Path(__file__).resolve().parent.parent / "config" / "gate.toml"
NUMBER = "11010519491231002X"
HOLDER = CardData(number=NUMBER, name="样本甲", birth="19491231", photo=bytes(range(256)) * 4)
PICTURE = np.arange(WIDTH * HEIGHT * 3, dtype=np.uint32).astype(np.uint8).reshape(HEIGHT, WIDTH, 3)
READER = Card(port="tcp://127.0.0.1:1")


class Line:
    """A line to a simulated reader; its clock moves only while somebody waits for bytes."""

    url, baud = READER.port, None

    def __init__(self, reader: SimIdCardReader | None) -> None:
        self.reader, self.now, self.said, self.closed = reader, 50.0, b"", False

    def clock(self) -> float:
        return self.now

    def read(self, timeout_s: float) -> bytes:
        self.now += timeout_s
        said, self.said = self.said, b""
        return said + (self.reader.due(self.now) if self.reader else b"")

    def write(self, data: bytes) -> None:
        self.said += self.reader.answer(data, self.now) if self.reader else b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True


class Unpack:
    """The function of a decoder's library, as ctypes calls it."""

    def __init__(self, picture: np.ndarray | None) -> None:
        self.picture, self.argtypes, self.restype = picture, None, None

    def __call__(self, photo, target, _flag) -> int:
        assert photo.raw == HOLDER.photo
        if self.picture is None:
            return -1
        ctypes.memmove(target, self.picture.tobytes(), self.picture.nbytes)
        return 1


def decoder(picture: np.ndarray | None = PICTURE) -> PhotoDecoder:
    library = type("Library", (), {"unpack": Unpack(picture)})()
    return PhotoDecoder(Path("/opt/decoder.so"), load=lambda _: library)


def laid(card: CardData | None, *, number: str = NUMBER, picture: np.ndarray | None = PICTURE) -> np.ndarray:
    reader = SimIdCardReader()
    if card is not None:
        reader.place(card)
    line = Line(reader)
    try:
        return take_photo(READER, number, decoder(picture), str, clock=line.clock, open_port=lambda _: line)
    finally:
        assert line.closed


def test_the_holders_photograph_is_taken_from_the_card():
    assert (laid(HOLDER) == PICTURE).all()


def test_the_card_of_another_number_gives_no_photograph():
    with pytest.raises(DataError, match="another number"):
        laid(HOLDER, number=number_of(1))


def test_a_card_whose_number_fails_gives_no_photograph():
    wrong = replace(HOLDER, number="110105194912310021")
    with pytest.raises(DataError, match="genuine"):
        laid(wrong, number=wrong.number)


@pytest.mark.parametrize("card", [HOLDER, replace(HOLDER, photo=b"")], ids=["refused by the decoder", "no photograph"])
def test_a_photograph_that_cannot_be_decoded_is_told(card):
    with pytest.raises(DataError, match="cannot be decoded"):
        laid(card, picture=None)


def test_without_a_card_it_ends_in_time_and_without_a_reader_at_once():
    with pytest.raises(Unavailable, match="no card could be read"):
        laid(None)
    line = Line(None)
    with pytest.raises(SilentDevice):
        take_photo(READER, NUMBER, decoder(), str, clock=line.clock, open_port=lambda _: line)
    assert line.now - 50.0 < PATIENCE_S


def test_a_gate_without_reader_or_decoder_asks_for_no_card(tmp_path):
    for card in (replace(READER, kind="none"), READER):
        with pytest.raises(PortSettingsError):
            decoder_of(card)
    with pytest.raises(PhotoDecoderUnavailable):
        decoder_of(replace(READER, photo_decoder=tmp_path / "none.so"))


def test_a_cards_photograph_never_takes_the_place_of_better_pictures():
    picture = template(face(1, 0), "1a")
    with pytest.raises(DataError, match="better pictures"):
        check_no_better(member(1, picture), "m1")
    check_no_better(None, "m1")
    check_no_better(member(1), "m1")
    check_no_better(member(1, replace(picture, source=CARD_PHOTO)), "m1")
    check_no_better(member(1, replace(picture, model="m0")), "m1")
    check_no_better(member(1, replace(picture, expires=date(2020, 1, 1))), "m1")


# -- with the models ------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path, models_dir):
    known = load(EXAMPLE)
    paths = replace(known.paths, models_dir=models_dir, secrets_dir=tmp_path / "secrets")
    return replace(known, paths=paths)


@pytest.fixture
def enroller(settings):
    return Enroller(settings, Vault.open(settings.paths.secrets_dir, create=True), {}, dry_run=True)


def chip_picture(path: Path) -> np.ndarray:
    """Return a portrait as a card holds it: 102 by 126 pixels, of a harsh codec."""
    picture = cv2.imread(str(path))
    height, width = picture.shape[:2]
    used = min(width, height * WIDTH // HEIGHT)
    left = (width - used) // 2
    portrait = picture[: used * HEIGHT // WIDTH, left : left + used]
    small = cv2.resize(portrait, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


def line_with_consent(**consent) -> RosterLine:
    return RosterLine(name="样本甲", number=NUMBER, pictures=("card",), consent=replace(CONSENT, **consent))


@pytest.mark.models
def test_the_template_says_that_it_is_of_a_card_and_its_photograph_is_not_kept(enroller, faces_dir):
    enroller.shots, enroller.shots_source = {"card": chip_picture(faces_dir / "person_a_1.jpg")}, CARD_PHOTO
    enrolled = enroller.member(line_with_consent(keep_picture=True), {})
    (made,) = enrolled.member.templates
    assert (made.source, made.has_picture, dict(enrolled.pictures)) == (CARD_PHOTO, False, {})
    assert made.consent == CONSENT.ref
    assert enrolled.member.person.step_up, "the face alone opens nothing"
    assert made.expires is not None
    vector = np.frombuffer(made.vector, "<f4")
    of = {
        name: float(vector @ enroller.ready().template(cv2.imread(str(faces_dir / f"{name}.jpg"))).vector)
        for name in ("person_a_2", "person_b_1")
    }
    one_to_one = load(EXAMPLE).face.similarity_one_to_one
    assert of["person_a_2"] >= one_to_one > of["person_b_1"]


@pytest.mark.models
def test_a_photograph_without_a_face_enrols_nobody(enroller):
    with pytest.raises(FaceUnusable, match="no face"):
        photo_template(PICTURE, enroller.ready())


@pytest.mark.models
def test_nobody_is_asked_for_a_card_that_could_not_be_used(settings, enroller):
    desk = enrol.Desk(settings=settings, vault=Vault.open(settings.paths.secrets_dir, create=True), members={})
    told = {"name": "样本甲", "number": NUMBER}
    agreed = {"ref": "paper 1", "by": "self", "on": "2026-01-02", "purpose": "opening this gate"}
    token = desk.vault.token(NUMBER)
    better = template(face(1, 0), "1a", model=enroller.ready().model)
    known = roster.Member(token=token, name="样本甲", number=NUMBER, templates=(better,))
    for line, members, says in (
        (told, {}, "consent"),
        ({**told, "consent": agreed, "pictures": ["/a.jpg"]}, {}, "--card"),
        ({**told, "consent": agreed}, {token: known}, "better pictures"),
        ({**told, "consent": agreed}, {}, "photo_decoder"),
    ):
        desk.members = members
        with pytest.raises((DataError, PortSettingsError), match=says):
            enrol.line_with_card(desk, enroller, json.dumps(line).encode())
