"""A pass is read as it was written, by whoever knows its issuer's key; nothing else ever is a pass."""

import base64
import stat
from datetime import date

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.readings import CodeReading
from sentinel.core.admission import BACKDATED_S, COUNTED_S, LONGEST_S, PassBook, Scope, scope_of
from sentinel.core.errors import DataError, Unavailable, UsageError
from sentinel.core.model import Attempt, Decision, Outcome, Pass, PassKind, PassProblem, Policy, Profile, Reason
from sentinel.core.policy import decide
from sentinel.passes import (
    Issuers,
    PassDesk,
    issuers_mark,
    key_id,
    load_issuers,
    load_key,
    make_key,
    own_key_path,
    public_text,
    read_pass,
    shown_pass,
    write_pass,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEYS = {key_id(key.public_key()): key.public_key() for key in (KEY,)}
FROM, UNTIL = 1_795_329_000, 1_795_343_400
# Written once by this program with KEY and the pass id 0001020304050607; gates in the field must go on reading it.
CODE = (
    "SP1:AEAQAAICAMCAKBQHKZDVVJ27NMDZ4WINJKDWWAUL5BVQFRBIAGI6PH2GH5LZN6N7FKDTCMSWFUCYB4VZSLFDMIHK"
    "3Y4SBZK2QUSCVAW7UU6XMOMAENTOUAPNIGX6Y5Y6GD357LKXXPMEHBLFY2ZITAAP"
)
PASS = Pass(
    kind=PassKind.VISITOR,
    pass_id="0001020304050607",
    issuer="56475aa7",
    scope="5f6b079e590d4a87",
    valid_from_utc_s=FROM,
    valid_until_utc_s=UNTIL,
    uses=1,
)


def written(key: Ed25519PrivateKey = KEY, **other) -> bytes:
    how = {"kind": PASS.kind, "scope": PASS.scope, "valid_from_utc_s": FROM, "valid_until_utc_s": UNTIL, "uses": 1}
    return write_pass(key, **how | other).encode()


def test_a_pass_of_long_ago_is_still_read():
    assert read_pass(CODE.encode(), KEYS) == PASS


def test_a_pass_is_written_as_it_always_was():
    assert written(random_bytes=lambda count: bytes(range(count))) == CODE.encode()
    assert scope_of("330106", "cuiyuan3", "east-3") == PASS.scope


def test_a_pass_fits_the_alphanumeric_mode_of_a_small_code():
    assert len(CODE) <= 200
    assert set(CODE) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")


@given(
    st.sampled_from(PassKind), st.binary(min_size=8, max_size=8), st.integers(0, 255), st.integers(1, COUNTED_S),
    st.integers(0, 2**32 - 1 - COUNTED_S),
)  # fmt: skip
def test_what_is_written_is_read(kind, scope, uses, lasts_s, begins):
    code = written(kind=kind, scope=scope.hex(), uses=uses, valid_from_utc_s=begins, valid_until_utc_s=begins + lasts_s)
    found = read_pass(code, KEYS)
    assert isinstance(found, Pass)
    assert (found.kind, found.scope, found.uses) == (kind, scope.hex(), uses)
    assert (found.valid_from_utc_s, found.valid_until_utc_s) == (begins, begins + lasts_s)


def test_two_passes_are_never_the_same():
    assert len({written() for _ in range(20)}) == 20


@given(st.binary(max_size=400))
@example(b"")
@example(b"SP1:")
@example(b"SP1:" + b"A" * 152)
@example(b"SP1:" + b"=" * 152)
@example("SP1:访客".encode())
@example(b"SP1:\xff")
def test_any_bytes_are_answered_and_are_no_pass(content):
    for code in (content, b"SP1:" + content, CODE.encode()[:50] + content):
        assert isinstance(read_pass(code, KEYS), PassProblem)


@given(st.integers(0, len(CODE) - 1), st.integers(0, 255))
def test_a_pass_with_one_wrong_character_is_none(place, byte):
    code = bytearray(CODE.encode())
    code[place] = byte
    found = read_pass(bytes(code), KEYS)
    assert isinstance(found, PassProblem) or bytes(code).strip() == CODE.encode()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"https://example.com/menu", PassProblem.NOT_A_PASS),
        (b"6901234567892", PassProblem.NOT_A_PASS),
        (CODE.lower().encode(), PassProblem.NOT_A_PASS),
        (CODE[:-1].encode(), PassProblem.DAMAGED),
        (CODE.encode() + b"A", PassProblem.DAMAGED),
        (CODE.replace("7", "1").encode(), PassProblem.DAMAGED),
        (written(OTHER), PassProblem.UNKNOWN_ISSUER),
        (CODE[:-1].encode() + b"Q", PassProblem.BAD_SIGNATURE),
    ],
)
def test_what_is_no_pass_says_why(content, problem):
    assert read_pass(content, KEYS) == problem


def test_a_pass_signed_by_another_in_the_issuers_name_is_forged():
    names_the_issuer = {key_id(OTHER.public_key()): KEY.public_key()}
    assert read_pass(written(OTHER), names_the_issuer) == PassProblem.BAD_SIGNATURE


@pytest.mark.parametrize(("place", "byte"), [(0, 2), (1, 0), (1, 3)])
def test_a_version_or_kind_of_a_later_program_is_no_pass_here(place, byte):
    fields = bytearray(base64.b32decode(CODE[4:])[:31])
    fields[place] = byte
    code = b"SP1:" + base64.b32encode(bytes(fields) + KEY.sign(b"SP1:" + fields))
    assert read_pass(code, KEYS) == PassProblem.DAMAGED


def test_a_scanner_may_add_white_space():
    assert read_pass(b" " + CODE.encode() + b"\r\n", KEYS) == PASS


@pytest.mark.parametrize(
    "wrong",
    [
        {"uses": 256},
        {"uses": -1},
        {"valid_until_utc_s": FROM},
        {"valid_until_utc_s": FROM + COUNTED_S + BACKDATED_S + 1},
        {"uses": 0, "valid_until_utc_s": FROM + LONGEST_S + BACKDATED_S + 1},
        {"valid_from_utc_s": 2**32 - 10, "valid_until_utc_s": 2**32},
        {"valid_from_utc_s": -10, "valid_until_utc_s": 10},
    ],
)
def test_a_pass_that_no_gate_could_judge_is_not_written(wrong):
    with pytest.raises(UsageError):
        written(**wrong)


def test_the_same_code_has_the_same_mark_and_the_mark_tells_nothing():
    codes = [CODE.encode(), CODE.encode() + b"\r", written(), b"a shop's code"]
    shown = [shown_pass(CodeReading(at_mono=10.0, content=code), KEYS) for code in codes]
    assert shown[0].mark == shown[1].mark
    assert len({one.mark for one in shown}) == 3
    assert [one.readable for one in shown] == [True, True, True, False]
    assert not any(one.mark.encode() in code for one, code in zip(shown, codes, strict=True))


# The desk


class Desk:
    """A gate's desk whose clock can be set, and the decision it leads to."""

    def __init__(self) -> None:
        self.now, self.trusted = FROM + 60.0, True
        self.desk = PassDesk(
            scope=Scope.of("330106", "cuiyuan3", "east-3"),
            issuers=Issuers(keys=KEYS),
            book=PassBook(),
            now_utc_s=lambda: self.now,
            clock_trusted=lambda: self.trusted,
        )

    def attempt(self, code: str = CODE, **parts) -> Attempt:
        shown = self.desk.read(CodeReading(at_mono=10.0, content=code.encode()))
        return Attempt(started_mono=10.0, closed_mono=10.0, shown=shown, **parts)

    def decide(self, attempt: Attempt, *, fire: bool = False, limit: float | None = None) -> Decision:
        policy = Policy(profile=Profile.CARD_AND_FACE, temperature_limit_celsius=limit, fire_active=fire)
        asked = self.desk.objections(attempt)
        return decide(attempt, policy, today=date(2026, 11, 22), clock_trusted=self.trusted, pass_objections=asked)

    def show(self, code: str = CODE, **how) -> Decision:
        """Decide about a shown code, and keep the decision."""
        attempt = self.attempt(code)
        decision = self.decide(attempt, **how)
        self.desk.note_kept(attempt, decision)
        return decision


def test_a_pass_for_one_use_opens_once():
    desk = Desk()
    assert desk.show().outcome is Outcome.OPEN
    assert (desk.show().outcome, desk.show().reasons) == (Outcome.REFUSE, (Reason.PASS_USED,))


@pytest.mark.parametrize("how", [{"limit": 37.3}, {"fire": True}])
def test_a_pass_that_did_not_open_is_not_used_up(how):
    desk = Desk()
    assert desk.show(**how).reasons != (Reason.ACCEPTED,)
    assert desk.show().reasons == (Reason.ACCEPTED,)


def test_a_decision_that_was_not_kept_uses_nothing_up():
    desk = Desk()
    assert desk.decide(desk.attempt()).outcome is Outcome.OPEN
    assert desk.show().outcome is Outcome.OPEN


def test_the_clock_of_the_decision_counts():
    desk = Desk()
    desk.now = float(UNTIL)
    assert desk.show().reasons == (Reason.PASS_EXPIRED,)
    desk.trusted = False
    assert desk.show().reasons == (Reason.CLOCK_UNTRUSTED,)


def test_a_shops_code_is_held():
    assert Desk().show("https://example.com/menu").outcome is Outcome.HOLD


# Keys


def test_a_key_is_made_for_its_owner_alone_and_read_back(tmp_path):
    path = own_key_path(tmp_path / "secrets")
    made = make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert public_text(load_key(path).public_key()) == public_text(made.public_key())
    assert [file.name for file in path.parent.iterdir()] == ["pass.key"]


def test_a_key_is_never_overwritten_unless_told(tmp_path):
    path = tmp_path / "pass.key"
    make_key(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="--replace"):
        make_key(path)
    assert path.read_bytes() == before
    make_key(path, replace=True)
    assert path.read_bytes() != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "mode", "error"),
    [(None, 0o600, Unavailable), (b"no key", 0o600, DataError), (b"", 0o600, DataError)],
)
def test_a_key_that_cannot_be_used_says_what_to_do(tmp_path, content, mode, error):
    path = tmp_path / "pass.key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(error, match=";"):
        load_key(path)


def test_a_key_that_everybody_can_read_signs_nothing(tmp_path):
    path = tmp_path / "pass.key"
    make_key(path)
    path.chmod(0o644)
    with pytest.raises(DataError, match="chmod 600"):
        load_key(path)


def test_passes_of_the_own_key_and_of_every_public_key_in_the_folder_are_taken(tmp_path):
    own = make_key(own_key_path(tmp_path))
    (tmp_path / "issuers").mkdir()
    (tmp_path / "issuers" / "street.pub").write_text(public_text(OTHER.public_key()))
    issuers = load_issuers(tmp_path, None)
    assert issuers.problems == ()
    assert isinstance(read_pass(written(own), issuers.keys), Pass)
    assert isinstance(read_pass(written(OTHER), issuers.keys), Pass)
    assert read_pass(written(KEY), issuers.keys) == PassProblem.UNKNOWN_ISSUER


def test_a_bad_key_file_costs_only_its_own_passes(tmp_path):
    own_key_path(tmp_path).write_bytes(b"torn")
    own_key_path(tmp_path).chmod(0o600)
    (tmp_path / "a.pub").write_bytes(b"-----BEGIN nothing")
    (tmp_path / "b.pub").mkdir()
    (tmp_path / "c.pub").write_text(public_text(OTHER.public_key()))
    issuers = load_issuers(tmp_path, tmp_path)
    assert list(issuers.keys) == [key_id(OTHER.public_key())]
    assert len(issuers.problems) == 3


def test_no_key_at_all_knows_no_issuer(tmp_path):
    issuers = load_issuers(tmp_path / "none", None)
    assert (issuers.keys, issuers.problems) == ({}, ())
    assert read_pass(CODE.encode(), issuers.keys) == PassProblem.UNKNOWN_ISSUER


def test_a_new_key_file_changes_the_mark(tmp_path):
    before = issuers_mark(tmp_path, tmp_path)
    make_key(own_key_path(tmp_path))
    with_own = issuers_mark(tmp_path, tmp_path)
    (tmp_path / "street.pub").write_text(public_text(OTHER.public_key()))
    assert len({before, with_own, issuers_mark(tmp_path, tmp_path)}) == 3
