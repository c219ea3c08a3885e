"""Forwarding: nothing is closed without a receipt, nothing waits behind what is bad, and everything arrives once."""

import json
import logging
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_entries import FIRST, SECOND, LedgerInMemory
from stepped_line import NAMES, OTHER, RESEND_S, Line, closed_all, plain

from sync.broker import LEAST_PACKET_BYTES, BrokerLost
from sync.cursor import Cursor, DeadLetter
from sync.entry import Key
from sync.errors import LedgerDamaged, LedgerUnavailable
from sync.forward import LONGEST_WAIT_S, UNANSWERED
from sync.outbox import Limits, Outbox
from sync.pack import ENCODING, ENCODINGS
from sync.runs import Run
from sync.wire import EpochReceipt, Receipt, Refused, decode_state, encode_receipt


def test_an_entry_is_closed_by_the_receipt_and_by_nothing_else():
    line = Line().connect()
    line.clock.now += 1
    line.forwarder.turn(0.0)
    line.forwarder.turn(0.0)  # the PUBACK is in, the street has not looked yet
    assert line.balance() == (1, 0, 0, 1)
    line.street_turns()
    assert line.balance() == (1, 0, 0, 1), "stored, and the receipt still travels"
    line.forwarder.turn(0.0)
    assert line.balance() == (1, 1, 0, 0)


def test_a_message_lost_after_its_puback_is_sent_again_until_the_receipt():
    line = Line()
    lost = iter([True, True, True])
    line.hub.faults.lose = lambda message: message.topic == NAMES.entries and next(lost, False)
    line.connect().steps(3)
    assert line.balance() == (1, 0, 0, 1)
    line.steps(8, seconds=LONGEST_WAIT_S)
    assert line.sequences() == [[1], [1], [1], [1]]
    assert closed_all(line)


def test_resends_wait_longer_each_time_up_to_the_cap():
    line = Line()
    line.hub.faults.lose = lambda message: message.topic == NAMES.entries
    line.connect()
    sent_at: list[float] = []
    for _ in range(800):
        before = len(line.batches())
        line.step(0.5)
        sent_at += [line.clock.now] * (len(line.batches()) - before)
    waits = [after - before for before, after in pairwise(sent_at)]
    assert len(waits) > 6
    for doubling, wait in zip([10, 20, 40, 60, 60, 60], waits, strict=False):
        assert doubling / 2 <= wait <= doubling + 1.0  # a step to hear the PUBACK, a step to see the time


def test_a_batch_without_puback_is_not_sent_again_but_the_connection_is_given_up():
    line = Line().connect()
    line.hub.faults.mute = True
    line.steps(5, seconds=9.0)
    assert line.batches() == []
    line.hub.faults.mute = False
    line.steps(1)
    with pytest.raises(BrokerLost, match="has not answered"):
        line.steps(60, seconds=9.0)


def test_live_goes_before_backlog_and_backlog_oldest_first():
    line = Line(batch_entries=2, window_batches=3)
    line.ledger.append(9)
    line.connect()
    line.forwarder.turn(0.0)
    line.ledger.append(1)  # somebody passes now
    line.forwarder.turn(0.0)
    line.steps(10)
    assert line.sequences()[:3] == [[1, 2], [3, 4], [11]], "backlog leaves a place in the window for the present"
    assert [seq for batch in line.sequences() for seq in batch if seq != 11] == list(range(1, 11))
    historical = {event["sequence"]: event.get("historical", False) for batch in line.batches() for event in batch}
    assert historical == {f"{seq:010d}": seq != 11 for seq in range(1, 12)}
    assert closed_all(line)


def test_the_window_obeys_the_broker():
    line = Line(batch_entries=1, window_batches=8)
    line.hub.receive_maximum = 2
    line.ledger.append(20)
    line.connect()
    line.hub.faults.hold = lambda message: message.topic == NAMES.receipt
    line.steps(10)
    assert len(line.batches()) == 1, "one for backlog, one kept free for the present"
    line.ledger.append(3)
    line.steps(10)
    assert len(line.batches()) == 2
    line.hub.faults.hold = lambda message: False
    line.hub.release()
    line.steps(40)
    assert closed_all(line)


def test_a_batch_is_bounded_in_entries_and_bytes():
    line = Line(batch_entries=5, batch_bytes=4_000)
    line.ledger.append(12)
    line.ledger.append(3, body={"text": "x" * 3_500})
    line.connect().steps(20)
    assert all(len(batch) <= 5 for batch in line.batches())
    assert all(len(m.payload) <= 5_000 for m in line.hub.published if m.topic == NAMES.entries)
    assert [seq for batch in line.sequences() for seq in batch] == list(range(1, 17))
    assert closed_all(line)


def test_a_street_that_says_so_gets_its_batches_compressed_and_any_other_does_not():
    line = Line(batch_entries=20)
    line.ledger.append(400)
    line.connect().steps(30)
    sent = [m for m in line.hub.published if m.topic == NAMES.entries]
    packed = [m for m in sent if dict(m.properties).get(ENCODING) == "zstd"]
    assert closed_all(line)
    assert 0 < len(packed) < len(sent), "the first ones go before the street has spoken"
    assert sum(len(m.payload) for m in packed) < 0.5 * sum(len(plain(m)) for m in packed)


def street_of_old(line: Line, refuses: str = "message: is not JSON") -> None:
    """Answer like a street that knows no compression: without `encodings`, and "*" for what it cannot read."""
    while line.street_broker.events:
        event = line.street_broker.poll(0.0)
        if getattr(event, "topic", "") != NAMES.entries:
            continue
        batch = dict(event.properties)["batch"]
        if ENCODING in dict(event.properties):
            no = Refused(key=None, reason=refuses)
            line.answer(Receipt(gate=str(NAMES.gate), epochs=(), refused=(no,), batch=batch))
            continue
        also = tuple(Run(int(one["sequence"]), int(one["sequence"])) for one in json.loads(event.payload))
        line.answer(Receipt(gate=str(NAMES.gate), epochs=(EpochReceipt(epoch=FIRST, upto=0, also=also),), batch=batch))


def test_a_street_put_back_to_an_old_version_gets_plain_json_again_and_nothing_is_set_aside():
    line = Line(batch_entries=4)
    line.ledger.append(3)
    line.connect()
    line.answer(Receipt(gate=str(NAMES.gate), epochs=(), encodings=ENCODINGS))
    line.street_broker.close()
    line.street_broker.connect(1.0)
    line.street_broker.subscribe(NAMES.entries)
    line.ledger.append(40)
    for _ in range(60):
        line.clock.now += 0.05
        line.forwarder.turn(0.0)
        street_of_old(line)
    assert any(ENCODING in dict(m.properties) for m in line.hub.published)
    assert closed_all(line)


def test_what_does_not_shrink_still_travels_in_small_messages():
    line = Line(batch_entries=200, batch_bytes=4_000)
    chance = random.Random(3)
    line.ledger.append(4)
    line.connect().steps(3)
    for _ in range(60):
        line.ledger.append(1, body={"noise": chance.randbytes(300).hex()})
    line.new_uplink()
    line.connect().steps(60)
    sent = [m for m in line.hub.published if m.topic == NAMES.entries]
    assert any(ENCODING in dict(m.properties) for m in sent)
    assert all(len(m.payload) <= 4_000 for m in sent)
    assert closed_all(line)


def test_backlog_keeps_to_its_rate_and_the_present_does_not_wait_for_it():
    line = Line(batch_entries=10, backlog_per_s=20)
    line.ledger.append(399)
    line.connect().steps(101, seconds=0.1)
    line.ledger.append(1)
    line.steps(2)
    live = [one for batch in line.batches() for one in batch if not one.get("historical")]
    waited = line.balance()[1] - len(live)
    assert [one["sequence"] for one in live] == ["0000000401"]
    assert 10 * 20 <= waited <= 10 * 20 + 2 * 20, "a second's worth at once, then twenty a second, whole batches"
    line.steps(300, seconds=0.1)
    assert closed_all(line)


def test_an_entry_larger_than_the_broker_takes_is_set_aside_and_others_go_on():
    line = Line()
    line.hub.max_packet_bytes = LEAST_PACKET_BYTES
    line.ledger.append(2)
    line.ledger.append(1, body={"text": "x" * 17_000})
    line.ledger.append(2)
    line.connect().steps(5)
    assert line.balance() == (6, 5, 1, 0)
    (letter,) = line.cursor.dead_letters()
    assert letter.key == Key(FIRST, 4)
    assert "too large" in letter.reason


def test_a_broker_that_takes_next_to_nothing_is_at_fault_and_no_entry_is():
    line = Line()
    line.ledger.append(3)
    line.hub.max_packet_bytes = 1_200
    with pytest.raises(BrokerLost, match="1200 bytes at most; set its max_packet_size") as lost:
        line.connect()
    assert lost.value.layer == "mqtt"
    assert line.balance() == (4, 0, 0, 4)
    line.hub.max_packet_bytes = None
    line.connect().steps(5)
    assert closed_all(line)


def test_a_ledger_full_of_unsendable_entries_is_not_read_in_one_go():
    line = Line()
    line.ledger.append(50, body={"text": "x" * 2_000})
    outbox = Outbox(line.ledger, line.cursor, "gate")
    outbox.begin()
    parcel = outbox.backlog(Limits(entries=10, batch_bytes=64_000, packet_bytes=1_500))
    assert (len(parcel.keys), len(parcel.unsendable)) == (1, 9), "the epoch's start is small, the rest is not"
    assert [str(key) for key, _ in outbox.backlog(Limits(entries=1, batch_bytes=64_000, packet_bytes=1_500)).unsendable]


@pytest.mark.parametrize(
    "damage",
    [{"body": b'{"a":1'}, {"body": b'{"a": 1}'}, {"body": b"\xff"}, {"body": b"{}"}, {"kind": "other"}],
    ids=["torn", "not canonical", "not text", "another body", "another kind"],
)
def test_a_damaged_row_is_set_aside_and_told_and_its_neighbours_are_kept(damage, caplog):
    line = Line()
    _, bad, _ = line.ledger.append(3)
    for name, value in damage.items():
        object.__setattr__(bad, name, value)
    line.connect().steps(12)
    assert line.balance() == (4, 3, 1, 0)
    assert any(record.levelno == logging.ERROR and str(bad.key) in record.message for record in caplog.records)
    assert line.store.report()[0].epochs[0].missing == (Run(3, 3),), "and the street can say what it lacks"


def test_a_refused_entry_never_blocks_others_and_can_be_pardoned():
    line = Line(batch_entries=4)
    line.ledger.append(7)
    line.connect()
    line.street_broker.close()  # a street of our own, which refuses number 3
    line.street_broker.connect(1.0)
    line.street_broker.subscribe(NAMES.entries)
    line.forwarder.turn(0.0)
    dead = Refused(key=Key(FIRST, 3), reason="fork")
    held = EpochReceipt(epoch=FIRST, upto=2, also=(Run(4, 8),))
    line.answer(Receipt(gate=str(NAMES.gate), epochs=(held,), refused=(dead,), batch="x"))
    line.forwarder.turn(0.0)
    assert line.balance() == (8, 7, 1, 0)
    assert line.cursor.pardon() == 1
    assert line.balance() == (8, 7, 0, 1)
    line.new_uplink()
    line.new_street()
    line.connect().steps(5)
    assert closed_all(line)


def test_a_batch_that_the_street_cannot_read_is_halved_until_the_poison_stands_alone():
    line = Line(batch_entries=16)
    line.ledger.append(15)
    line.connect()
    line.street_broker.close()
    line.street_broker.connect(1.0)
    line.street_broker.subscribe(NAMES.entries)
    for _ in range(40):
        line.forwarder.turn(0.0)
        while line.street_broker.events:
            event = line.street_broker.poll(0.0)
            if getattr(event, "topic", "") != NAMES.entries:
                continue
            seqs = [int(one["sequence"]) for one in json.loads(plain(event))]
            batch = dict(event.properties)["batch"]
            if 11 in seqs:
                no = Refused(key=None, reason="not JSON")
                line.answer(Receipt(gate=str(NAMES.gate), epochs=(), refused=(no,), batch=batch))
            else:
                also = tuple(Run(seq, seq) for seq in seqs)
                held = EpochReceipt(epoch=FIRST, upto=0, also=also)
                line.answer(Receipt(gate=str(NAMES.gate), epochs=(held,), batch=batch))
    assert line.balance() == (16, 15, 1, 0)
    assert [letter.key for letter in line.cursor.dead_letters()] == [Key(FIRST, 11)]


def test_a_batch_that_is_never_answered_while_others_are_is_halved_and_set_aside_for_a_while():
    line = Line(batch_entries=4)
    line.ledger.append(7)
    line.hub.faults.lose = lambda message: b'"sequence":"0000000003"' in plain(message)
    line.connect()
    for _ in range(60):
        line.step(RESEND_S)
        if line.ledger.head().seq < 60:
            line.ledger.append(1)  # life goes on, and is answered
    appended = len(line.ledger.entries)
    assert line.balance() == (appended, appended - 1, 1, 0)
    assert [(letter.key.seq, letter.reason) for letter in line.cursor.dead_letters()] == [(3, UNANSWERED)]
    line.hub.faults.lose = lambda message: False
    line.steps(3, seconds=3_600.0).steps(3)
    assert closed_all(line), "silence is no verdict: it was tried again"


def test_a_silent_street_makes_nothing_poison():
    line = Line(batch_entries=2)
    line.ledger.append(9)
    line.connect()
    line.hub.faults.lose = lambda message: message.topic == NAMES.entries
    line.steps(200, seconds=RESEND_S)
    assert line.balance() == (10, 0, 0, 10)
    line.hub.faults.lose = lambda message: False
    line.steps(20, seconds=LONGEST_WAIT_S)
    assert closed_all(line)


def test_with_nobody_listening_one_batch_knocks_and_the_returning_street_wakes_the_rest():
    line = Line(batch_entries=2)
    line.ledger.append(59)
    line.street_broker.close()
    line.forwarder.connect(1.0)
    line.steps(3)
    sent = len(line.batches())
    line.steps(20, seconds=1.0)
    assert len(line.batches()) == sent < 15, "PUBACK 0x10: slow down"
    line.new_street()
    line.receiver.connect(1.0)  # it hears the retained state of the gate and says what it holds: nothing
    line.street_turns()
    line.steps(20)
    assert closed_all(line), "at once, not after the longest wait"


def test_a_broker_that_refuses_our_entries_is_an_alarm_and_loses_nothing(caplog):
    line = Line()
    line.hub.faults.refuse = lambda topic: 0x87 if topic == NAMES.entries else 0
    line.connect().steps(10, seconds=LONGEST_WAIT_S)
    assert line.balance() == (1, 0, 0, 1)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1, "said once, counted always"
    assert line.forwarder.turn(0.0).alarms > 1
    line.hub.faults.refuse = lambda topic: 0
    line.steps(3, seconds=LONGEST_WAIT_S)
    assert closed_all(line)


def test_a_subscription_that_the_broker_refuses_is_an_alarm():
    line = Line()
    line.hub.faults.deaf = lambda topic: 0x87 if topic == NAMES.receipt else 0
    line.connect().steps(2)
    assert "no receipts" in line.forwarder.last_alarm


HOSTILE = [
    b"",
    b"not JSON",
    b"[]",
    b"[" * 50_000,
    b'{"v":1,"gate":"330106/cuiyuan3/east-3","epochs":[{"epoch":"zz","upto":1}]}',
    encode_receipt(Receipt(gate=str(OTHER.gate), epochs=(EpochReceipt(epoch=FIRST, upto=3),))),
    encode_receipt(Receipt(gate=str(NAMES.gate), epochs=(EpochReceipt(epoch=SECOND, upto=1),))),
    encode_receipt(Receipt(gate=str(NAMES.gate), epochs=(EpochReceipt(epoch=FIRST, upto=0, also=(Run(4, 10**9),)),))),
    encode_receipt(Receipt(gate=str(NAMES.gate), epochs=(), refused=(Refused(key=Key(SECOND, 1), reason="no"),))),
    encode_receipt(Receipt(gate=str(NAMES.gate), epochs=(), refused=(Refused(key=None, reason="no"),), batch="other")),
]


@pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
def test_a_nonsense_receipt_closes_nothing(payload):
    line = Line()
    line.hub.faults.lose = lambda message: message.topic == NAMES.entries
    line.connect()
    line.ledger.append(2)
    line.steps(2)
    line.answer(payload)
    line.steps(2)
    assert line.balance() == (3, 0, 0, 3)


@given(payload=st.binary(max_size=60))
@settings(max_examples=30)
def test_no_bytes_in_a_receipt_stop_the_uplink(payload):
    line = Line().connect()
    line.answer(payload)
    line.steps(3)
    assert closed_all(line)


def test_a_receipt_above_the_head_is_an_alarm():
    line = Line().connect()
    line.answer(Receipt(gate=str(NAMES.gate), epochs=(EpochReceipt(epoch=FIRST, upto=99),)))
    line.forwarder.turn(0.0)
    assert "does not hold" in line.forwarder.last_alarm


def test_a_card_that_forgot_its_last_entries_still_closes_the_others():
    line = Line()
    line.hub.faults.lose = lambda message: message.topic == NAMES.receipt
    line.ledger.append(7)
    line.connect().steps(5)
    for seq in (7, 8):
        del line.ledger.entries[Key(FIRST, seq)]
    line.ledger.start(SECOND)
    line.hub.faults.lose = lambda _message: False
    line.new_uplink()
    line.connect().steps(5)
    assert "does not hold" in line.forwarder.last_alarm
    assert closed_all(line)


def test_after_a_restart_the_cursor_says_where_to_go_on():
    line = Line(batch_entries=5)
    line.ledger.append(9)
    line.connect().steps(5)
    line.ledger.append(3)
    line.new_uplink()
    sent = len(line.batches())
    line.connect().steps(5)
    assert line.sequences()[sent:] == [[11, 12, 13]]
    assert closed_all(line)


def test_a_lost_cursor_is_filled_by_the_street_without_sending_again():
    line = Line()
    line.ledger.append(50)
    line.connect().steps(5)
    line.cursor = Cursor(":memory:", write=True)
    line.new_uplink()
    line.hub.faults.hold = lambda message: message.topic == NAMES.entries  # what it sends meanwhile does not matter
    line.connect().steps(3)
    assert closed_all(line)


def test_duplicates_are_stored_once_and_receipted_again():
    line = Line(batch_entries=3)
    line.hub.faults.twice = lambda message: True
    line.ledger.append(10)
    line.connect().steps(10)
    assert closed_all(line)
    assert line.at_street() == [11]
    assert line.store.report()[0].forks == ()


def test_the_state_tells_the_street_which_entries_exist():
    line = Line()
    line.ledger.append(4)
    line.ledger.start(SECOND)
    line.connect()
    state = decode_state(line.hub.retained[NAMES.state].payload)
    assert [(known.epoch, known.first, known.last) for known in state.epochs] == [(FIRST, 1, 5), (SECOND, 1, 1)]
    line.gate_broker.break_off("cable")
    assert decode_state(line.hub.retained[NAMES.state].payload).online is False
    line.forwarder.connect(1.0)
    line.forwarder.close()
    assert decode_state(line.hub.retained[NAMES.state].payload).online is False


def test_a_new_epoch_is_announced_and_sent_while_connected():
    line = Line().connect().steps(2)
    line.ledger.start(SECOND)
    line.ledger.append(2)
    line.steps(4)
    assert [known.epoch for known in decode_state(line.hub.retained[NAMES.state].payload).epochs] == [FIRST, SECOND]
    assert closed_all(line)


def test_the_health_tells_the_balance():
    line = Line()
    line.ledger.append(2)
    line.connect().steps(5)
    line.step(61.0)
    said = json.loads(line.hub.retained[NAMES.health].payload)
    assert (said["v"], said["appended"], said["receipted"], said["refused"], said["pending"]) == (1, 3, 3, 0, 0)


def test_a_ledger_put_back_from_the_past_is_walked_again():
    line = Line()
    line.ledger.start(SECOND)
    line.connect().steps(3)
    line.ledger.entries = {key: entry for key, entry in line.ledger.entries.items() if key.epoch == FIRST}
    line.ledger.append(2)
    line.steps(5)
    assert closed_all(line)


def test_a_line_that_breaks_in_every_large_message_gets_smaller_ones():
    line = Line(batch_entries=64)
    line.ledger.append(127)

    def cut_in_the_middle(message):
        large = message.topic == NAMES.entries and len(message.payload) > 8_000
        if large:
            line.gate_broker.break_off("cut")
        return large

    line.hub.faults.lose = cut_in_the_middle
    for _ in range(60):
        if line.gate_broker not in line.hub.clients:
            line.connect()
        try:
            line.step()
        except BrokerLost:
            continue
    assert closed_all(line)


ACTS = ["append", "start", "gate", "street", "step", "wait", "cut", "uplink", "lose", "heal", "twice", "hold", "mix"]
STORMS = st.lists(st.sampled_from(ACTS), max_size=60)


@given(storm=STORMS, seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_whatever_happens_nothing_is_closed_unstored_and_everything_arrives_once(storm, seed):
    chance = random.Random(seed)
    line = Line(batch_entries=3, window_batches=3)
    epochs = iter(range(2, 200))
    acts = {
        "append": lambda: line.ledger.append(chance.randint(1, 5)),
        "start": lambda: line.ledger.start(next(epochs) << 32 | chance.getrandbits(32)),
        "gate": lambda: line.forwarder.turn(0.0),
        "street": line.street_turns,
        "wait": lambda: setattr(line.clock, "now", line.clock.now + 30.0),
        "cut": lambda: line.hub.disconnect_all(),
        "uplink": line.new_uplink,
        "lose": lambda: setattr(line.hub.faults, "lose", lambda _: chance.random() < 0.5),
        "twice": lambda: setattr(line.hub.faults, "twice", lambda _: chance.random() < 0.5),
        "hold": lambda: setattr(line.hub.faults, "hold", lambda _: chance.random() < 0.5),
        "mix": lambda: line.hub.release(lambda held: chance.sample(held, len(held))),
        "heal": lambda: line.hub.release() or _heal(line),
        "step": line.step,
    }
    for act in storm:
        _connected(line, acts[act])
        _nothing_closed_unstored(line)
    _heal(line)
    line.hub.release()
    for _ in range(60):
        _connected(line, lambda: line.step(LONGEST_WAIT_S))
    assert closed_all(line)
    (gate,) = line.store.report()
    assert (gate.entries, gate.missing, gate.forks, gate.breaks) == (len(line.ledger.entries), 0, (), ())


def _heal(line):
    line.hub.faults.lose = line.hub.faults.twice = line.hub.faults.hold = lambda _: False


def _connected(line, act):
    try:
        if line.gate_broker not in line.hub.clients and not line.gate_broker.events:
            line.forwarder.connect(1.0)
        if line.street_broker not in line.hub.clients and not line.street_broker.events:
            line.receiver.connect(1.0)
        act()
    except BrokerLost:
        return


def _nothing_closed_unstored(line):
    stored = {epoch.epoch: epoch for gate in line.store.report() for epoch in gate.epochs}
    for key in line.ledger.entries:
        if line.cursor.is_closed(key):
            assert not any(run.first <= key.seq <= run.last for run in stored[key.epoch].missing), f"{key} was lost"


# --- the cursor -------------------------------------------------------------------------------------------------


def test_the_cursor_remembers_over_a_restart(tmp_path: Path):
    path = tmp_path / "uplink.db"
    with Cursor(path, write=True) as cursor:
        cursor.settle({FIRST: [Run(1, 5), Run(8, 9)]}, [DeadLetter(key=Key(FIRST, 7), reason="fork", wall_ns=3)])
    with Cursor(path) as seen:
        assert list(seen.open_runs(FIRST, 1, 12)) == [Run(6, 6), Run(10, 12)]
        assert seen.dead_letters() == (DeadLetter(key=Key(FIRST, 7), reason="fork", wall_ns=3),)
        with pytest.raises(LedgerUnavailable, match="reading only"):
            seen.pardon()


def test_before_the_first_uplink_everything_is_pending(tmp_path: Path):
    ledger = LedgerInMemory()
    ledger.start(FIRST)
    with Cursor(tmp_path / "uplink.db") as cursor:
        assert cursor.pending(ledger).pending == 1
    assert list(tmp_path.iterdir()) == [], "a look leaves nothing behind"


def test_a_file_that_is_no_database_is_named_as_damaged(tmp_path: Path):
    path = tmp_path / "uplink.db"
    path.write_bytes(b"once upon a time" * 100)
    for write in (False, True):
        with pytest.raises(LedgerDamaged, match=r"uplink\.db"):
            Cursor(path, write=write)


def test_a_later_receipt_wins_over_an_earlier_refusal_and_a_refusal_over_its_own_receipt():
    with Cursor(":memory:", write=True) as cursor:
        letter = DeadLetter(key=Key(FIRST, 2), reason="fork")
        assert cursor.settle({FIRST: [Run(1, 3)]}, [letter]) == 2
        assert cursor.dead_letters() == (letter,)
        assert cursor.settle({FIRST: [Run(2, 2)]}) == 1
        assert cursor.dead_letters() == ()
        cursor.settle({}, [letter])
        assert list(cursor.open_runs(FIRST, 1, 4)) == [Run(4, 4)]
        assert cursor.pardon() == 1
        assert list(cursor.open_runs(FIRST, 1, 4)) == [Run(2, 2), Run(4, 4)]


def test_a_row_that_the_ledger_lost_breaks_the_balance():
    ledger = LedgerInMemory()
    ledger.start(FIRST)
    ledger.append(4)
    del ledger.entries[Key(FIRST, 3)]
    with Cursor(":memory:", write=True) as cursor:
        cursor.settle({FIRST: [Run(1, 2)]})
        assert not cursor.pending(ledger).holds
