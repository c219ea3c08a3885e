"""What comes down from the street is one signed, whole document for this gate, newer than the last, or nothing."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sync import snapshot
from sync.errors import WireError
from sync.identity import Believed, Identity
from sync.snapshot import DocumentRefused, Heading, Refusal, Type, gathered, open_content, read_document

GOLDEN = Path(__file__).parents[1] / "golden" / "messages"
GATE = "330106/cuiyuan3/east-3"
NOW = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)


def identity(seed: int) -> Identity:
    raw = bytes([seed]) * 32
    return Identity(signer=Ed25519PrivateKey.from_private_bytes(raw), opener=X25519PrivateKey.from_private_bytes(raw))


STREET, OURS, STRANGER = identity(1), identity(2), identity(3)
BELIEVED = Believed([STREET.known])
HEADING = Heading(type=Type.ROSTER, gate=GATE, serial=7, made_at=NOW)


def written(plain: bytes = b'{"exclusive":false}\n', signer: Identity = STREET, **changes) -> list[bytes]:
    return snapshot.write_documents(replace(HEADING, **changes), plain, signer, OURS.known)


def refusal(data: bytes, newest: int = 6, now: datetime | None = NOW) -> Refusal:
    with pytest.raises(DocumentRefused) as caught:
        read_document(data, BELIEVED, GATE, {Type.ROSTER: newest}, now)
    return caught.value.reason


def forged(header_changes: dict) -> bytes:
    """Return a document that the street itself signed, with another header than we would write."""
    (data,) = written()
    header = snapshot.header_of(data) | header_changes
    content = data[data.index(b"}") + 1 : -64]
    return snapshot._signed(header, content, STREET)


DOCUMENT = written(b"whoever may pass")[0]


def test_what_the_street_signed_for_us_is_read_and_opened():
    document = read_document(DOCUMENT, BELIEVED, GATE, {})
    assert (document.type, document.serial, document.made_at) == (Type.ROSTER, 7, NOW)
    assert open_content([document], OURS) == b"whoever may pass"


@given(place=st.integers(0, len(DOCUMENT) - 1), change=st.integers(1, 255))
def test_a_document_with_any_byte_changed_is_refused(place, change):
    torn = bytearray(DOCUMENT)
    torn[place] ^= change
    assert refusal(bytes(torn), newest=0) in (Refusal.NOT_SIGNED, Refusal.UNKNOWN_SIGNER, Refusal.DAMAGED)


@given(end=st.integers(0, len(DOCUMENT) - 1))
def test_a_document_with_its_end_missing_is_refused(end):
    assert refusal(DOCUMENT[:end], newest=0) in (Refusal.NOT_SIGNED, Refusal.DAMAGED)


@given(junk=st.binary(max_size=300))
def test_anything_at_all_is_refused_and_never_an_error_of_ours(junk):
    assert refusal(junk) is Refusal.NOT_SIGNED
    assert refusal(b"sentinel down 1\n" + junk) in Refusal


def test_every_other_reason_is_told():
    assert refusal(written(signer=STRANGER)[0]) is Refusal.UNKNOWN_SIGNER
    assert refusal(written(gate="330106/cuiyuan3/west-1")[0]) is Refusal.OTHER_GATE
    assert refusal(DOCUMENT, newest=7) is Refusal.OLD
    assert refusal(DOCUMENT, newest=8) is Refusal.OLD
    assert refusal(written(expires=NOW)[0]) is Refusal.EXPIRED
    assert refusal(DOCUMENT + b"x" * snapshot.MOST_DOCUMENT_BYTES) is Refusal.TOO_BIG
    assert refusal(forged({"v": 2})) is Refusal.NOT_UNDERSTOOD
    assert refusal(forged({"encoding": "rot13"})) is Refusal.NOT_UNDERSTOOD
    assert refusal(forged({"serial": 7.5})) is Refusal.NOT_UNDERSTOOD
    assert refusal(forged({"part": 2})) is Refusal.NOT_UNDERSTOOD
    assert refusal(forged({"made_at": "yesterday"})) is Refusal.NOT_UNDERSTOOD
    assert refusal(forged({"type": "receipt"})) is Refusal.NOT_UNDERSTOOD


def test_a_roster_is_not_taken_for_a_command_though_the_street_signed_it():
    (data,) = written()
    header = snapshot.header_of(data) | {"type": "command"}
    moved = data.replace(json.dumps(snapshot.header_of(data)["type"]).encode(), b'"command"')
    assert header["type"] == "command"
    assert refusal(moved) is Refusal.DAMAGED


def test_nothing_expires_while_no_clock_can_be_trusted():
    (data,) = written(expires=NOW - timedelta(days=400))
    assert read_document(data, BELIEVED, GATE, {}, None).serial == 7
    assert refusal(data) is Refusal.EXPIRED


def noise(size: int) -> bytes:
    import random

    return random.Random(5).randbytes(size)


LONG = written(noise(2_500_000))


@given(order=st.permutations(range(3)), twice=st.integers(0, 2))
def test_parts_make_a_whole_in_any_order_and_only_when_all_are_there(order, twice):
    parts = [read_document(LONG[at], BELIEVED, GATE, {}) for at in (*order, twice)]
    assert gathered(parts[:2]) is None
    whole = gathered(parts)
    assert whole is not None
    assert [part.part for part in whole] == [1, 2, 3]


def test_the_whole_is_what_was_sent_and_parts_of_two_documents_do_not_mix():
    parts = [read_document(data, BELIEVED, GATE, {}) for data in LONG]
    assert open_content(parts, OURS) == noise(2_500_000)
    other = read_document(written(noise(2_500_001))[1], BELIEVED, GATE, {})
    for torn in ([parts[0], other, parts[2]], parts[:2], parts[::-1]):
        with pytest.raises(DocumentRefused) as caught:
            open_content(torn, OURS)
        assert caught.value.reason is Refusal.DAMAGED


def test_what_was_sealed_for_another_gate_cannot_be_opened():
    document = read_document(DOCUMENT, BELIEVED, GATE, {})
    with pytest.raises(DocumentRefused) as caught:
        open_content([document], STRANGER)
    assert caught.value.reason is Refusal.DAMAGED


def test_a_bomb_is_refused_unopened_and_not_written_either():
    bomb = bytes(snapshot.MOST_OPENED_BYTES + 1)
    with pytest.raises(WireError):
        written(bomb)
    content = OURS.known.seal("roster", snapshot.pack_whole(bomb))
    document = replace(
        read_document(DOCUMENT, BELIEVED, GATE, {}),
        content=content, size=len(content), sha256=snapshot.hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    with pytest.raises(DocumentRefused) as caught:
        open_content([document], OURS)
    assert caught.value.reason is Refusal.TOO_BIG


@pytest.mark.parametrize("leaf", Type)
def test_what_streets_send_already_is_understood(leaf):
    document = read_document((GOLDEN / f"{leaf}.down").read_bytes(), BELIEVED, GATE, {})
    assert document.type is leaf
    assert json.loads(open_content([document], OURS).splitlines()[0])
