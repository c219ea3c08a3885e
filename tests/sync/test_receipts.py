"""A receipt is the street's own signed word, or it closes nothing; and a street that forgot is told again."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from made_entries import FIRST
from stepped_line import NAMES, Line, closed_all

from sync.broker import Message
from sync.cursor import Cursor
from sync.entry import Key
from sync.errors import IdentityError
from sync.identity import Believed, Identity, make_identity
from sync.receipts import Proved, believe, signed_properties
from sync.runs import Run, Runs
from sync.store import Store
from sync.wire import EpochReceipt, Receipt, encode_receipt


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("street") / "street.key")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("stranger") / "street.key")


def receipt(upto: int, gate: str = str(NAMES.gate), **more: object) -> bytes:
    return encode_receipt(Receipt(gate=gate, epochs=(EpochReceipt(epoch=FIRST, upto=upto),), **more))  # type: ignore[arg-type]


def test_a_street_that_signs_closes_everything(street: Identity) -> None:
    line = Line(identity=street, street=Believed([street.known]))
    line.ledger.append(20)
    line.connect().steps(4)
    assert closed_all(line)


def test_a_gate_without_keys_takes_signed_receipts_as_any_other(street: Identity) -> None:
    line = Line(identity=street)
    line.ledger.append(5)
    line.connect().steps(4)
    assert closed_all(line)
    assert line.cursor.proofs() == []


def test_what_the_street_did_not_sign_closes_nothing(street: Identity, stranger: Identity) -> None:
    for identity in (None, stranger):
        line = Line(identity=identity, street=Believed([street.known]))
        line.ledger.append(5)
        line.connect().steps(4)
        assert line.balance() == (6, 0, 0, 6)
        assert "not believed" in line.forwarder.last_alarm


@given(changed=some.integers(min_value=0))
def test_a_receipt_that_was_changed_on_the_way_is_none(street: Identity, changed: int) -> None:
    payload = receipt(5)
    properties = signed_properties(payload, street)
    damaged = bytearray(payload)
    damaged[changed % len(payload)] ^= 1
    believe(Message(topic="", payload=payload, properties=properties), NAMES.gate, Believed([street.known]))
    with pytest.raises(IdentityError):
        believe(
            Message(topic="", payload=bytes(damaged), properties=properties), NAMES.gate, Believed([street.known])
        )


def test_only_what_the_street_signed_is_proved_whoever_wrote_the_cursor(
    street: Identity, stranger: Identity, tmp_path: Path
) -> None:
    path = tmp_path / "uplink.db"
    with Cursor(path, write=True) as cursor:
        for upto, signer in ((7, street), (5, street), (9, stranger)):
            payload = receipt(upto)
            message = Message(topic="", payload=payload, properties=signed_properties(payload, signer))
            _, proofs = believe(message, NAMES.gate, Believed([signer.known]))
            cursor.settle({FIRST: [Run(1, upto)]}, proofs=proofs)
        cursor.settle({FIRST: [Run(1, 100)]})  # a lie: no receipt says so
    with Cursor(path) as cursor:
        assert cursor.is_receipted(Key(FIRST, 100))
        proved = Proved(cursor.proofs(), str(NAMES.gate), Believed([street.known]))
        assert proved.doubted == 1, "the stranger's has taken the place of ours, and proves nothing"
        assert not proved.holds(Key(FIRST, 1))
        everybody = Proved(cursor.proofs(), str(NAMES.gate), Believed([stranger.known]))
        assert (everybody.holds(Key(FIRST, 9)), everybody.holds(Key(FIRST, 10))) == (True, False)
        assert not Proved(cursor.proofs(), "330106/cuiyuan3/west-1", Believed([stranger.known])).holds(Key(FIRST, 1))


def test_a_cursor_of_the_version_before_is_taken_over_and_proved_by_the_next_answer(
    street: Identity, tmp_path: Path
) -> None:
    line = Line(identity=street)
    line.ledger.append(5)
    line.connect().steps(4)  # by an uplink that knew no keys
    line.street = Believed([street.known])
    line.new_uplink()
    line.connect().steps(2)
    assert Proved(line.cursor.proofs(), str(NAMES.gate), line.street).holds(Key(FIRST, 6))


def test_a_street_restored_from_a_copy_gets_back_what_it_lost() -> None:
    line = Line()
    line.ledger.append(30)
    line.connect().steps(4)
    copy = Store(":memory:")
    line.store._engine._connection.backup(copy._engine._connection)
    line.ledger.append(40)
    line.steps(6)
    assert closed_all(line)
    line.store = copy
    line.new_street()
    line.receiver.connect(1.0)
    line.steps(12)
    assert closed_all(line)
    (gate,) = line.store.report()
    assert (gate.entries, gate.missing, gate.forks, gate.breaks) == (71, 0, (), ())


def test_only_an_answer_to_the_present_question_opens_anything_again() -> None:
    line = Line()
    line.ledger.append(9)
    line.connect().steps(4)
    for old in (None, "another-1", "00000000-1"):
        line.answer(receipt(2, answers=old))
    line.answer(receipt(2, batch="x"))
    line.steps(2)
    assert closed_all(line)


def test_an_answer_that_leaves_runs_out_opens_nothing_of_that_epoch() -> None:
    line = Line()
    line.ledger.append(9)
    line.connect().steps(4)
    word = line.forwarder._teller.question.word
    part = Receipt(gate=str(NAMES.gate), epochs=(EpochReceipt(epoch=FIRST, upto=2, part=True),), answers=word)
    line.answer(part)
    line.steps(1)
    assert closed_all(line)


def test_what_the_ledger_has_dropped_is_not_waited_for_again() -> None:
    line = Line()
    line.ledger.append(30)
    line.connect().steps(4)
    for seq in range(5, 15):
        del line.ledger.entries[Key(FIRST, seq)]
    line.store = Store(":memory:")  # a street that lost everything
    line.new_street()
    line.receiver.connect(1.0)
    line.steps(8)
    assert line.cursor.balance(line.ledger.epochs()).pending == 0
    (gate,) = line.store.report()
    assert gate.epochs[0].missing == (Run(5, 14),), "and the street can say what it will never have"


@given(runs=some.lists(some.tuples(some.integers(1, 40), some.integers(0, 9)), max_size=6), cut=some.tuples(
    some.integers(1, 40), some.integers(0, 15)))  # fmt: skip
def test_numbers_are_taken_out_of_runs(runs: list[tuple[int, int]], cut: tuple[int, int]) -> None:
    held = Runs()
    for first, more in runs:
        held.add(first, first + more)
    expected = {n for run in held for n in range(run.first, run.last + 1)} - set(range(cut[0], sum(cut) + 1))
    held.remove(cut[0], sum(cut))
    assert {n for run in held for n in range(run.first, run.last + 1)} == expected


def test_a_signature_is_64_bytes_in_base64(street: Identity) -> None:
    signature = dict(signed_properties(b"{}", street))["signature"]
    assert len(base64.b64decode(signature, validate=True)) == 64
