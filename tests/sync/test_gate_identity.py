"""Whom to believe, and who alone may open."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from sync.errors import IdentityError
from sync.identity import Believed, Identity, load_believed, load_identity, make_identity


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("street") / "street.key")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("stranger") / "street.key")


def test_what_a_known_street_signed_is_believed(street: Identity) -> None:
    signature = street.sign("receipt", b"{}")
    assert Believed([street.known]).verify("receipt", b"{}", street.known.id, signature) == street.known


@pytest.mark.parametrize(("purpose", "payload"), [("command", b"{}"), ("receipt", b"{ }"), ("receip", b"t\0{}")])
def test_a_signature_holds_for_one_purpose_and_one_payload(street: Identity, purpose: str, payload: bytes) -> None:
    with pytest.raises(IdentityError, match="does not fit"):
        Believed([street.known]).verify(purpose, payload, street.known.id, street.sign("receipt", b"{}"))


def test_a_stranger_is_not_believed_under_either_name(street: Identity, stranger: Identity) -> None:
    signature = stranger.sign("receipt", b"{}")
    for name, reason in ((stranger.known.id, "do not know"), (street.known.id, "does not fit")):
        with pytest.raises(IdentityError, match=reason):
            Believed([street.known]).verify("receipt", b"{}", name, signature)


@given(plain=some.binary(max_size=200), flipped=some.integers(min_value=0))
def test_only_its_reader_opens_a_sealed_part_and_only_unchanged(
    street: Identity, stranger: Identity, plain: bytes, flipped: int
) -> None:
    sealed = street.known.seal("id-number", plain)
    assert street.unseal("id-number", sealed) == plain
    changed = bytearray(sealed)
    changed[flipped % len(sealed)] ^= 1
    for reader, purpose, data in (
        (stranger, "id-number", sealed),
        (street, "another", sealed),
        (street, "id-number", bytes(changed)),
        (street, "id-number", sealed[: flipped % len(sealed)]),
    ):
        with pytest.raises(IdentityError):
            reader.unseal(purpose, data)


def test_an_identity_is_made_once_and_shown_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "street.key"
    first = make_identity(path)
    assert make_identity(path).known == first.known == load_identity(path).known
    assert path.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(first)
    path.chmod(0o644)
    with pytest.raises(IdentityError, match="everybody"):
        load_identity(path)


def test_a_file_of_two_streets_believes_both(tmp_path: Path, street: Identity, stranger: Identity) -> None:
    path = tmp_path / "streets.pub"
    path.write_text(f"the old one\n{street.known.text()}# the new one\n{stranger.known.text()}")
    assert [known.id for known in load_believed(path)] == [street.known.id, stranger.known.id]


@pytest.mark.parametrize("damage", ["", "nothing of ours", "half", "swapped", "garbled"])
def test_a_damaged_public_file_is_refused_by_name(tmp_path: Path, street: Identity, damage: str) -> None:
    verifier, sealer = street.known.text().split("-----END PUBLIC KEY-----\n")[:2]
    end = "-----END PUBLIC KEY-----\n"
    path = tmp_path / "street.pub"
    path.write_text(
        {
            "half": verifier + end,
            "swapped": sealer + end + verifier + end,
            "garbled": street.known.text().replace("MC", "AA"),
        }.get(damage, damage)
    )
    with pytest.raises(IdentityError, match=r"street\.pub"):
        load_believed(path)


def test_a_private_file_must_be_whole(tmp_path: Path) -> None:
    path = tmp_path / "street.key"
    make_identity(path)
    text = path.read_text()
    for damaged in ("", text[: len(text) // 2], text[len(text) // 2 :], text.replace("MC", "AA")):
        path.write_text(damaged)
        with pytest.raises(IdentityError, match=r"street\.key"):
            load_identity(path)
    with pytest.raises(IdentityError, match="restore it, or make a new one"):
        load_identity(tmp_path / "none.key")
