"""The street: each entry once, a receipt only for what is stored, and every gap, fork and break by its numbers."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_entries import FIRST, SECOND, LedgerInMemory, made

from sync.entry import GENESIS, Key, entry_hash
from sync.errors import LedgerFromTheFuture, LedgerUnavailable
from sync.gaps import read_report
from sync.memory_broker import MemoryBroker, MemoryHub
from sync.receive import GROUP_MESSAGES, Heard, Receiver
from sync.runs import Run
from sync.store import Store
from sync.wire import (
    MAX_RUNS,
    Arrival,
    Batch,
    EpochReceipt,
    Gate,
    KnownEpoch,
    State,
    decode_receipt,
    encode_batch,
    encode_entry,
    encode_receipt,
    encode_state,
    topics,
)

EAST = Gate(street="330106", site="cuiyuan3", gate="east-3")
WEST = Gate(street="330106", site="cuiyuan3", gate="west-1")
NAMES = topics("330106", "cuiyuan3", "east-3")


def batch(entries, name="b-1"):
    return Batch(id=name, arrivals=tuple(Arrival(entry=entry) for entry in entries))


def ledger(count, epoch=FIRST):
    made_here = LedgerInMemory()
    made_here.start(epoch)
    made_here.append(count - 1)
    return made_here


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request):
    where = ":memory:" if request.param == "sqlite" else request.getfixturevalue("postgresql")()
    with Store(where) as opened:
        yield opened


def test_a_receipt_says_what_is_held(store):
    entries = ledger(9).range(FIRST, 1, 9)
    receipt = store.accept(EAST, batch(entries[:3] + entries[5:7]), now_ns=1)
    assert receipt.epochs == (EpochReceipt(epoch=FIRST, upto=3, also=(Run(6, 7),)),)
    assert (receipt.gate, receipt.batch, receipt.refused) == (str(EAST), "b-1", ())
    assert store.accept(EAST, batch(entries[3:5]), now_ns=2).epochs == (EpochReceipt(epoch=FIRST, upto=7),)


def test_a_duplicate_changes_nothing_and_is_receipted_again(store):
    entries = ledger(5).range(FIRST, 1, 5)
    first = store.accept(EAST, batch(entries + entries), now_ns=1)
    assert store.accept(EAST, batch(entries), now_ns=2) == first
    (gate,) = store.report()
    assert (gate.entries, gate.missing, gate.forks, gate.refused) == (5, 0, (), 0)


def test_two_gates_may_use_the_same_key(store):
    entries = ledger(2).range(FIRST, 1, 2)
    assert store.accept(EAST, batch(entries), now_ns=1).epochs == store.accept(WEST, batch(entries), now_ns=1).epochs
    assert [gate.entries for gate in store.report()] == [2, 2]


def test_a_fork_is_kept_aside_reported_and_never_receipted(store):
    entries = ledger(3).range(FIRST, 1, 3)
    store.accept(EAST, batch(entries), now_ns=1)
    other = made(Key(FIRST, 2), prev=entries[0].hash, body={"outcome": "refuse"})
    receipt = store.accept(EAST, batch([other]), now_ns=2)
    assert [(refused.key, refused.reason) for refused in receipt.refused] == [(Key(FIRST, 2), "fork")]
    assert receipt.epochs == (EpochReceipt(epoch=FIRST, upto=1, also=(Run(3, 3),)),)
    (gate,) = store.report()
    assert (gate.entries, gate.forks, gate.refused) == (3, (Key(FIRST, 2),), 1)


def test_a_fork_inside_one_batch_is_seen_too(store):
    one, other = made(Key(FIRST, 1)), made(Key(FIRST, 1), body={"outcome": "refuse"})
    receipt = store.accept(EAST, batch([one, other]), now_ns=1)
    assert [refused.key for refused in receipt.refused] == [Key(FIRST, 1)]
    assert store.report()[0].entries == 1


def test_gaps_are_named_by_their_numbers(store):
    whole = ledger(10)
    store.accept(EAST, batch(whole.range(FIRST, 1, 2) + whole.range(FIRST, 5, 5) + whole.range(FIRST, 9, 10)), now_ns=1)
    (gate,) = store.report()
    assert gate.epochs[0].missing == (Run(3, 4), Run(6, 8))
    assert gate.missing == 5


def test_the_end_of_an_epoch_is_known_from_the_start_of_the_next(store):
    whole = ledger(6)
    whole.start(SECOND)
    store.accept(EAST, batch(whole.range(FIRST, 1, 4) + whole.range(SECOND, 1, 1)), now_ns=1)
    assert [epoch.missing for epoch in store.report()[0].epochs] == [(Run(5, 6),), ()]
    store.accept(EAST, batch(whole.range(FIRST, 5, 6)), now_ns=1)
    assert store.report()[0].missing == 0


def test_an_epoch_that_never_came_is_known_from_the_start_of_the_next(store):
    whole = ledger(6)
    whole.start(SECOND)
    store.accept(EAST, batch(whole.range(SECOND, 1, 1)), now_ns=1)
    assert [(epoch.entries, epoch.missing) for epoch in store.report()[0].epochs] == [(0, (Run(1, 6),)), (1, ())]


def test_what_a_gate_announces_and_does_not_send_is_missing(store):
    state = State(online=True, epochs=(KnownEpoch(epoch=FIRST, first=1, last=4),))
    assert store.note_state(EAST, state, now_ns=1).epochs == ()
    (gate,) = store.report()
    assert (gate.online, gate.epochs[0].missing) == (True, (Run(1, 4),))


def test_a_state_is_answered_with_what_is_held(store):
    store.accept(EAST, batch(ledger(3).range(FIRST, 1, 3)), now_ns=1)
    state = State(online=True, epochs=(KnownEpoch(epoch=FIRST, first=1, last=9),))
    assert store.note_state(EAST, state, now_ns=1).epochs == (EpochReceipt(epoch=FIRST, upto=3),)


@pytest.mark.parametrize("order", [(2, 3), (3, 2)])
def test_a_broken_chain_is_found_in_whatever_order_it_comes(store, order):
    first, second, third = ledger(3).range(FIRST, 1, 3)
    third = replace(third, prev=b"\x11" * 32)
    third = replace(third, hash=entry_hash(third))
    by_seq = {2: second, 3: third}
    for seq in (1, *order):
        store.accept(EAST, batch([by_seq.get(seq, first)]), now_ns=1)
    (gate,) = store.report()
    assert gate.breaks == (Key(FIRST, 3),)
    assert gate.entries == 3, "it is evidence: it is kept"


def test_a_start_that_does_not_follow_its_former_epoch_is_a_break(store):
    whole = ledger(3)
    start = whole.start(SECOND)
    torn = replace(start, prev=GENESIS)
    torn = replace(torn, hash=entry_hash(torn))
    store.accept(EAST, batch([*whole.range(FIRST, 1, 3), torn]), now_ns=1)
    assert store.report()[0].breaks == (Key(SECOND, 1),)


def test_a_gate_that_forgot_what_it_sent_is_found_out(store):
    whole = ledger(5)
    store.accept(EAST, batch(whole.range(FIRST, 1, 5)), now_ns=1)
    for seq in (4, 5):
        del whole.entries[Key(FIRST, seq)]
    start = whole.start(SECOND)
    store.accept(EAST, batch([start]), now_ns=1)
    assert store.report()[0].forgotten == (Key(FIRST, 4), Key(FIRST, 5))


@given(order=st.permutations(list(range(1, 13))), sizes=st.lists(st.integers(1, 4), min_size=12, max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_order_in_any_batches_ends_in_the_same_store(order, sizes):
    entries = ledger(12).range(FIRST, 1, 12)
    with Store(":memory:") as store:
        said = None
        while order:
            size = sizes.pop()
            said = store.accept(EAST, batch([entries[seq - 1] for seq in order[:size]]), now_ns=1)
            order = order[size:]
        assert said.epochs == (EpochReceipt(epoch=FIRST, upto=12),)
        (gate,) = store.report()
        assert (gate.entries, gate.missing, gate.breaks, gate.forks) == (12, 0, (), ())


def test_a_sieve_of_an_epoch_gives_a_receipt_that_a_gate_can_read(store):
    seqs = list(range(2, 2 * MAX_RUNS + 200, 2))
    store.accept(EAST, batch([made(Key(FIRST, seq)) for seq in seqs[:-5]]), now_ns=1)
    receipt = store.accept(EAST, batch([made(Key(FIRST, seq)) for seq in seqs[-5:]]), now_ns=1)
    assert decode_receipt(encode_receipt(receipt)).epochs[0].also == tuple(Run(seq, seq) for seq in seqs[-5:])


def test_a_batch_of_many_short_epochs_gives_a_receipt_that_a_gate_can_read(store):
    entries = [made(Key(epoch << 32, 1), kind="start") for epoch in range(1, 201)]
    receipt = store.accept(EAST, batch(entries), now_ns=1)
    assert len(decode_receipt(encode_receipt(receipt)).epochs) == 200


def test_the_store_remembers_and_can_be_read_beside_its_owner(tmp_path: Path):
    path = tmp_path / "street.db"
    with Store(path) as store:
        store.accept(EAST, batch(ledger(3).range(FIRST, 1, 3)), now_ns=1)
        assert read_report(path) == store.report()
    with Store(path) as store:
        assert store.report()[0].entries == 3


def test_a_store_of_the_future_and_no_store_are_named(tmp_path: Path):
    path = tmp_path / "street.db"
    with Store(path) as store:
        store._engine._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerFromTheFuture):
        Store(path)
    with pytest.raises(LedgerUnavailable, match="no such file"):
        read_report(tmp_path / "other.db")


class Desk:
    """A receiver and a client that plays the gate."""

    def __init__(self, store) -> None:
        self.hub = MemoryHub()
        self.street, self.gate = MemoryBroker(self.hub), MemoryBroker(self.hub)
        self.receiver = Receiver(store, self.street, wall_ns=lambda: 7)
        self.gate.connect(1.0)
        self.gate.subscribe(NAMES.receipt)

    def open(self):
        self.receiver.connect(1.0)
        return self

    def send(self, topic, payload, name="b-1", retain=False):
        self.gate.publish(topic, payload, properties=(("batch", name),), retain=retain)
        heard = None
        while self.street.events:
            heard = self.receiver.turn(0.0)
        return heard

    def receipts(self):
        return [decode_receipt(m.payload) for m in self.hub.published if m.topic == NAMES.receipt]


def message(*entries):
    return encode_batch([encode_entry(entry, EAST.source, historical=False) for entry in entries])


def test_the_broker_may_forget_a_batch_only_after_commit_and_receipt(store):
    desk = Desk(store).open()
    desk.send(NAMES.entries, message(made(Key(FIRST, 1))))
    assert [m.topic for m in desk.street.acked] == [NAMES.entries]
    store.close()
    with pytest.raises(Exception, match="closed"):
        desk.send(NAMES.entries, message(made(Key(FIRST, 2))))
    assert len(desk.street.acked) == 1
    assert len(desk.receipts()) == 1


def test_what_comes_together_is_stored_in_one_commit_and_each_batch_has_its_receipt(store):
    desk = Desk(store).open()
    for seq in (1, 2, 3):
        desk.gate.publish(NAMES.entries, message(made(Key(FIRST, seq))), properties=(("batch", f"b-{seq}"),))
    desk.gate.publish(NAMES.entries, b"no JSON", properties=(("batch", "b-4"),))
    assert desk.receiver.turn(0.0) == Heard(entries=3, refused=1)
    assert [receipt.batch for receipt in desk.receipts()] == ["b-1", "b-2", "b-3", "b-4"]
    assert [[one.key for one in receipt.refused] for receipt in desk.receipts()] == [[], [], [], [None]]
    assert len(desk.street.acked) == 4


def test_when_a_commit_fails_nothing_of_its_group_is_receipted_or_forgotten_by_the_broker(tmp_path: Path):
    path = tmp_path / "street.db"
    with Store(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        store._engine._connection.execute("PRAGMA busy_timeout = 0")
        desk = Desk(store).open()
        for seq in (1, 2):
            desk.gate.publish(NAMES.entries, message(made(Key(FIRST, seq))), properties=(("batch", f"b-{seq}"),))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable):
            desk.receiver.turn(0.0)
        assert (desk.receipts(), desk.street.acked) == ([], [])
        other.execute("ROLLBACK")
        assert store.report() == ()


def test_a_flood_is_taken_in_groups_that_end(store):
    desk = Desk(store).open()
    for seq in range(1, 2 * GROUP_MESSAGES):
        desk.gate.publish(NAMES.entries, message(made(Key(FIRST, seq))), properties=(("batch", str(seq)),))
    assert desk.receiver.turn(0.0).entries == GROUP_MESSAGES
    assert desk.receiver.turn(0.0).entries == GROUP_MESSAGES - 1


GROUPS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=6)


@given(groups=GROUPS, forked=st.sets(st.integers(1, 9), max_size=2))
@settings(max_examples=60, deadline=None)
def test_batches_in_one_commit_end_as_batches_in_their_own(groups, forked):
    entries = {seq: [made(Key(FIRST, seq)), made(Key(FIRST, seq), body={"other": seq})] for seq in range(1, 10)}
    batches = [
        (EAST, batch([entries[seq][seq in forked and at % 2] for seq in group], f"b-{at}"))
        for at, group in enumerate(groups)
    ]
    with Store(":memory:") as together, Store(":memory:") as alone:
        receipts = together.accept_all(batches, now_ns=1)
        said = [alone.accept(gate, one, now_ns=1) for gate, one in batches]
        assert together.report() == alone.report()
        assert [receipt.refused for receipt in receipts] == [receipt.refused for receipt in said]
        assert receipts[-1] == said[-1]


def test_what_cannot_be_read_is_answered_so_that_the_gate_can_isolate_it(store):
    desk = Desk(store).open()
    desk.send(NAMES.entries, b"no JSON at all", name="b-7")
    (receipt,) = desk.receipts()
    assert (receipt.batch, [refused.key for refused in receipt.refused]) == ("b-7", [None])


def test_an_entry_of_another_gate_on_this_topic_is_refused(store):
    foreign = encode_batch([encode_entry(made(Key(FIRST, 1)), WEST.source, historical=False)])
    desk = Desk(store).open()
    desk.send(NAMES.entries, foreign)
    assert "source" in desk.receipts()[0].refused[0].reason
    assert store.report()[0].entries == 0


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"v":1,"online":"yes"}', b"\xff"])
def test_a_strange_state_is_counted_and_passed_over(store, payload):
    desk = Desk(store).open()
    heard = desk.send(NAMES.state, payload)
    assert heard is not None
    assert heard.strange == 1
    assert len(desk.street.acked) == 1


def test_a_street_that_comes_back_tells_each_gate_what_it_holds(store):
    desk = Desk(store)
    store.accept(EAST, batch(ledger(3).range(FIRST, 1, 3)), now_ns=1)
    online = State(online=True, epochs=(KnownEpoch(epoch=FIRST, first=1, last=9),))
    desk.gate.publish(NAMES.state, encode_state(online), retain=True)
    desk.open()
    while desk.street.events:
        desk.receiver.turn(0.0)
    (receipt,) = desk.receipts()
    assert (receipt.batch, receipt.epochs) == (None, (EpochReceipt(epoch=FIRST, upto=3),))


def test_a_gate_that_is_offline_is_not_answered(store):
    desk = Desk(store).open()
    desk.send(NAMES.state, encode_state(State(online=False)), retain=True)
    assert desk.receipts() == []
    assert store.report()[0].online is False


@given(payload=st.binary(max_size=80) | st.text(max_size=40).map(lambda text: json.dumps([{"id": text}]).encode()))
@settings(max_examples=40, deadline=None)
def test_no_bytes_stop_the_receiver(payload):
    with Store(":memory:") as store:
        desk = Desk(store).open()
        for topic in (NAMES.entries, NAMES.state):
            desk.send(topic, payload)
        desk.send(NAMES.entries, message(made(Key(FIRST, 1))))
        assert store.report()[0].entries == 1
