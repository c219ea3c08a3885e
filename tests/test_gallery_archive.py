"""An archive: opened by its secret, believed by its signer, taken whole or not at all."""

import dataclasses
from datetime import UTC, date, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gallery_sample import CONSENT, DIMENSIONS, face, member, number_of, template
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.core.errors import DataError, UsageError
from sentinel.gallery_archive import Secret, public_hex, read_archive, signing_key, write_archive
from sentinel.gallery_import import plan_import

KEY = Secret(key=bytes(range(32)))
PHRASE = Secret(passphrase="korrekt horse battery")
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
US = public_hex(SIGNER.public_key())
MADE_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEEPS = dataclasses.replace(CONSENT, keep_picture=True)
PEOPLE = (
    member(1, template(face(1, 0), "1a"), template(face(1, 1), "1b"), valid_until=date(2027, 1, 1)),
    member(2, template(face(2, 0), "2a", has_picture=True), consent=KEEPS, allowed=False),
    member(3, quarantined=(template(face(3, 0), "3a", why="not-me"),)),
    member(4),
)
PICTURES = {"00000000002a": b"\xff\xd8 a picture"}


def packed(people=PEOPLE, pictures=PICTURES, secret=KEY):
    return write_archive(people, pictures, secret, SIGNER, made_at=MADE_AT)


def without_tokens(people):
    return tuple(dataclasses.replace(one, token="") for one in people)


@pytest.mark.parametrize("secret", [KEY, PHRASE], ids=["key-file", "passphrase"])
def test_what_is_packed_is_what_is_read(secret):
    archive = read_archive(packed(secret=secret), secret, [US])
    assert archive.members == without_tokens(PEOPLE)
    assert archive.pictures == PICTURES
    assert archive.signer == US


@pytest.mark.parametrize(("cipher", "told"), [("auto", "AES-256-GCM"), ("sm4-gcm", "SM4-GCM")])
def test_the_site_says_what_encrypts_and_every_box_reads_it(cipher, told):
    data = write_archive(PEOPLE, {}, KEY, SIGNER, made_at=MADE_AT, cipher=cipher)
    assert f'"cipher":"{told}"'.encode() in data
    assert read_archive(data, KEY, [US]).members == read_archive(packed(PEOPLE, {}), KEY, [US]).members


def test_the_file_names_nobody_and_shows_no_template():
    data = packed()
    for secret in ("样本甲".encode(), number_of(1).encode(), PEOPLE[0].templates[0].vector, b"a picture", b'"m1"'):
        assert secret not in data


DATA = packed()


@given(at=st.integers(0, len(DATA) - 1), flip=st.integers(1, 255))
@settings(max_examples=200)
def test_a_changed_byte_anywhere_refuses_the_whole(at, flip):
    changed = bytearray(DATA)
    changed[at] ^= flip
    with pytest.raises(DataError):
        read_archive(bytes(changed), KEY, [US])


@given(st.integers(0, len(DATA) - 1))
@settings(max_examples=50)
def test_an_archive_cut_short_is_refused(length):
    with pytest.raises(DataError):
        read_archive(DATA[:length], KEY, [US])


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_any_other_file_is_refused(data):
    for whole in (data, b"sentinel gallery 1\n" + data):
        with pytest.raises(DataError):
            read_archive(whole, KEY, [US])


def test_an_unknown_signer_is_named_and_not_believed():
    with pytest.raises(DataError, match=US):
        read_archive(DATA, KEY, [])
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    with pytest.raises(DataError, match="--signer"):
        read_archive(write_archive(PEOPLE, {}, KEY, stranger, made_at=MADE_AT), KEY, [US])


@pytest.mark.parametrize("secret", [Secret(key=bytes(32)), PHRASE], ids=["another key", "another kind"])
def test_another_secret_opens_nothing(secret):
    with pytest.raises(DataError):
        read_archive(DATA, secret, [US])


def test_a_weak_secret_is_refused_before_anything_is_locked_with_it():
    for weak in ({"passphrase": "elevenchars"}, {"passphrase": None}, {"key": b"short"}):
        with pytest.raises(UsageError):
            Secret(**weak)


def unfit(**changes):
    return (dataclasses.replace(PEOPLE[0], **changes),)


GOOD = PEOPLE[0].templates[0]


@pytest.mark.parametrize(
    "people",
    [
        unfit(number="990101198001010010"),  # no such check digit
        unfit(number=""),
        unfit(name=""),
        unfit(templates=(dataclasses.replace(GOOD, vector=b"\0" * 4 * DIMENSIONS),)),
        unfit(templates=(dataclasses.replace(GOOD, vector=b"\0\0\xc0\x7f" * DIMENSIONS),)),  # not a number
        unfit(templates=(dataclasses.replace(GOOD, vector=GOOD.vector[:-1]),)),
        unfit(templates=(dataclasses.replace(GOOD, id="../../etc"),)),
        unfit(templates=(dataclasses.replace(GOOD, consent=""),)),
        unfit(templates=(dataclasses.replace(GOOD, made_at="yesterday"),)),
        unfit(templates=(GOOD, GOOD)),
        (PEOPLE[0], PEOPLE[0]),
        (PEOPLE[0], member(5, template(face(5, 0)[:64] / float((face(5, 0)[:64] ** 2).sum()) ** 0.5, "5a"))),
    ],
)  # fmt: skip
def test_a_signed_archive_with_unfit_content_is_refused_whole(people):
    with pytest.raises(DataError):
        read_archive(packed(people, {}), KEY, [US])


def test_a_picture_without_a_consent_to_keep_it_is_refused():
    bare = (dataclasses.replace(PEOPLE[1], consent=CONSENT),)
    with pytest.raises(DataError, match="consented"):
        read_archive(packed(bare), KEY, [US])


def test_a_box_signs_with_one_key_for_its_owner_alone(tmp_path):
    first = signing_key(tmp_path)
    assert public_hex(signing_key(tmp_path).public_key()) == public_hex(first.public_key())
    assert (tmp_path / "gallery.key").stat().st_mode & 0o077 == 0


def token_of(number):
    return f"{int(number[14:17]):032x}"


def planned(people, here=(), **options):
    archive = read_archive(packed(people, {}), KEY, [US])
    options = {"replace_known": False, **options}
    return plan_import(archive, {one.token: one for one in here}, token_of, **options)


def test_people_get_the_tokens_of_the_site_that_reads():
    plan = planned(PEOPLE[2:])
    assert [taken.member.token for taken in plan.taken] == [f"{3:032x}", f"{4:032x}"]
    assert all(taken.new for taken in plan.taken)


def test_who_is_here_stays_unless_told_otherwise():
    here = (member(1, template(face(1, 5), "99")),)
    plan = planned(PEOPLE[:1], here)
    assert (plan.taken, plan.known) == ((), (here[0].token,))
    (taken,) = planned(PEOPLE[:1], here, replace_known=True).taken
    assert not taken.new
    assert taken.member.templates == PEOPLE[0].templates


def test_a_template_like_somebody_here_or_earlier_in_the_archive_is_set_aside():
    here = (member(9, template(face(1, 3), "9a"), template(face(1, 4), "9b")),)
    (taken,) = planned(PEOPLE[:1], here).taken
    assert {one.other for one in taken.aside} == {here[0].token}
    assert taken.member.templates == ()
    first, second = planned((PEOPLE[0], member(8, template(face(1, 6), "8a")))).taken
    assert (len(first.aside), len(second.aside)) == (0, 1)


def test_what_stood_in_quarantine_comes_into_quarantine():
    (taken,) = planned(PEOPLE[2:3]).taken
    assert taken.member.templates == ()
    assert [one.why for one in taken.member.quarantined] == ["not-me"]


def test_an_archive_that_clashes_with_somebody_here_changes_nothing():
    here = (member(9, template(face(9, 0), "1a")),)
    with pytest.raises(DataError, match="somebody else"):
        planned(PEOPLE[:1], here)


@given(st.permutations(range(4)))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=5)
def test_the_order_of_people_is_kept(order):
    people = tuple(PEOPLE[place] for place in order)
    assert read_archive(packed(people), KEY, [US]).members == without_tokens(people)
