"""Signed receipts: only the street's own word closes, only its word lets go, and a street that forgot is helped."""

from dataclasses import replace

import pytest
from made_entries import FIRST, SECOND
from test_forward import NAMES, Line, closed_all

from sync.cursor import Cursor, Proof
from sync.errors import IdentityError
from sync.forward import Forwarder
from sync.identity import Believed, make_identity
from sync.receipts import MOST_PROOFS, Proofs, Signer, believe, proven
from sync.receive import Receiver
from sync.runs import Run
from sync.store import Store
from sync.wire import EpochReceipt, Receipt, decode_receipt, encode_receipt

GATE = str(NAMES.gate)


@pytest.fixture
def street(tmp_path):
    return make_identity(tmp_path / "street.key")


@pytest.fixture
def stranger(tmp_path):
    return make_identity(tmp_path / "stranger.key")


class SignedLine(Line):
    """A line whose gate believes one street, and whose street signs with an identity."""

    def __init__(self, believed, signs) -> None:
        self.believed, self.signs = Believed([believed.known]), signs
        super().__init__()

    def new_uplink(self) -> None:
        super().new_uplink()
        self.forwarder = Forwarder(
            self.ledger, self.cursor, self.gate_broker, NAMES, clock=self.clock, wall_ns=lambda: 7,
            chance=lambda: 0.5, believed=self.believed,
        )  # fmt: skip

    def new_street(self) -> None:
        super().new_street()
        signer = None if self.signs is None else Signer(self.signs)
        self.receiver = Receiver(self.store, self.street_broker, wall_ns=lambda: 7, signer=signer)


def signed(identity, receipt: Receipt) -> Proof:
    payload = encode_receipt(receipt)
    return believe(payload, Signer(identity).properties(payload), Believed([identity.known]))


def said(*parts: EpochReceipt, gate: str = GATE) -> Receipt:
    return Receipt(gate=gate, epochs=parts)


def test_receipts_of_the_believed_street_close(street):
    line = SignedLine(street, street).connect().steps(4)
    assert closed_all(line)
    assert line.forwarder.turn(0.0).alarms == 0


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_other_receipts_are_an_alarm_and_close_nothing(street, stranger, who):
    line = SignedLine(street, stranger if who == "stranger" else None).connect().steps(4)
    assert line.at_street() == [1], "it was stored there"
    assert line.balance() == (1, 0, 0, 1)
    assert line.forwarder.turn(0.0).alarms > 0
    assert "not believed" in line.forwarder.last_alarm


def test_a_gate_that_believes_nobody_in_particular_takes_signed_receipts_too(street):
    line = Line()
    line.receiver = Receiver(line.store, line.street_broker, wall_ns=lambda: 7, signer=Signer(street))
    assert closed_all(line.connect().steps(4))


def test_a_signature_is_for_one_payload_and_one_purpose(street):
    believed = Believed([street.known])
    payload = encode_receipt(said(EpochReceipt(epoch=FIRST, upto=3)))
    properties = Signer(street).properties(payload)
    assert believe(payload, properties, believed).payload == payload
    for wrong in (payload + b" ", encode_receipt(said(EpochReceipt(epoch=FIRST, upto=4)))):
        with pytest.raises(IdentityError):
            believe(wrong, properties, believed)
    for bad in ((), properties[:1], (properties[0], ("signature", "***")), (("signer", "0" * 16), properties[1])):
        with pytest.raises(IdentityError):
            believe(payload, bad, believed)


def test_what_is_kept_proves_what_was_closed_and_stays_small(street):
    line = SignedLine(street, street).connect()
    for _ in range(30):
        line.ledger.append(3)
        line.steps(3)
    assert closed_all(line)
    line.forwarder.close()
    assert list(proven(line.cursor.proofs(), GATE, line.believed)[FIRST]) == [Run(1, 91)]
    assert len(line.cursor.proofs()) == 1


def test_proofs_outlive_the_process(street, tmp_path):
    believed = Believed([street.known])
    with Cursor(tmp_path / "uplink.db", write=True) as cursor:
        proofs = Proofs(cursor, GATE, believed)
        proofs.add(signed(street, said(EpochReceipt(epoch=FIRST, upto=5))))
        proofs.save(0.0)
    with Cursor(tmp_path / "uplink.db") as cursor:
        assert list(proven(cursor.proofs(), GATE, believed)[FIRST]) == [Run(1, 5)]


def test_nothing_is_proven_by_a_forged_a_changed_or_another_gates_receipt(street, stranger):
    whole = EpochReceipt(epoch=FIRST, upto=9)
    true = signed(street, said(whole))
    forged = replace(signed(stranger, said(whole)), signer=true.signer)
    changed = replace(true, payload=true.payload.replace(b'"upto":9', b'"upto":8'))
    other = signed(street, said(whole, gate="330106/cuiyuan3/west-1"))
    assert changed.payload != true.payload
    assert proven([forged, changed, other], GATE, Believed([street.known])) == {}


def test_a_sieve_of_receipts_is_kept_within_bounds_and_one_whole_receipt_replaces_it(street):
    cursor = Cursor(":memory:", write=True)
    proofs = Proofs(cursor, GATE, Believed([street.known]))
    for seq in range(2, 2 * MOST_PROOFS + 40, 2):
        proofs.add(signed(street, said(EpochReceipt(epoch=FIRST, upto=0, also=(Run(seq, seq),)))))
    proofs.save(0.0)
    assert len(cursor.proofs()) == MOST_PROOFS
    proofs.add(signed(street, said(EpochReceipt(epoch=FIRST, upto=1_000))))
    proofs.save(0.0, force=True)
    assert len(cursor.proofs()) == 1


def test_epochs_that_nothing_proves_are_asked_for(street):
    line = Line()
    for number in range(2, 14):
        line.ledger.start(FIRST + (number << 32))
    line.connect().steps(4)
    assert closed_all(line)
    asking = SignedLine(street, street)  # street_keys is set today; what was closed before has no proof
    asking.ledger, asking.cursor, asking.store = line.ledger, line.cursor, line.store
    asking.new_uplink()
    asking.new_street()
    asking.connect().steps(4)
    asking.forwarder.close()
    assert len(proven(asking.cursor.proofs(), GATE, asking.believed)) == 13


# A street restored from an old backup


def restored(line: Line, upto: int) -> None:
    """Put a store in the street's place that holds the first entries only."""
    old = Store(":memory:")
    line.store, fresh = old, Line()
    fresh.ledger.entries = {key: one for key, one in line.ledger.entries.items() if key.seq <= upto}
    fresh.store = old
    fresh.new_street()
    fresh.connect().steps(4)
    line.new_street()
    line.receiver.connect(1.0)  # the gate's retained state comes first


def test_a_restored_street_gets_back_what_it_had_confirmed():
    line = Line().connect()
    line.ledger.append(9)
    line.steps(6)
    assert closed_all(line)
    line.forwarder.connect(1.0)  # its state names all ten now
    line.steps(3)
    restored(line, upto=4)
    assert line.at_street() == [4]
    line.street_turns()
    line.steps(8)
    assert line.at_street() == [10]
    assert closed_all(line)
    assert "has lost 6 entries" in line.forwarder.last_alarm


def test_an_empty_street_gets_everything_that_is_still_here():
    line = Line().connect()
    line.ledger.append(4)
    line.steps(4)
    line.ledger.start(SECOND)
    line.steps(4)
    line.forwarder.connect(1.0)
    line.steps(3)
    restored(line, upto=0)
    line.street_turns()
    line.steps(8)
    assert sum(line.at_street()) == 6
    assert closed_all(line)


@pytest.mark.parametrize("answers", [None, "another", "00000000-1"])
def test_no_old_or_foreign_receipt_takes_one_back(answers):
    line = Line().connect().steps(4)
    line.answer(Receipt(gate=GATE, epochs=(EpochReceipt(epoch=FIRST, upto=0, whole=True),), answers=answers))
    line.steps(2)
    assert closed_all(line)
    assert line.sequences() == [[1]]


def test_a_second_copy_of_the_answer_sends_nothing_twice():
    line = Line().connect().steps(4)
    line.forwarder.connect(1.0)
    line.steps(4)
    restored(line, upto=0)
    line.street_turns()
    (answer,) = [m.payload for m in line.hub.published if m.topic == NAMES.receipt][-1:]
    assert decode_receipt(answer).answers is not None
    line.steps(6)
    sent = len(line.batches())
    for _ in range(3):
        line.answer(answer)
        line.steps(2)
    assert closed_all(line)
    assert len(line.batches()) == sent
