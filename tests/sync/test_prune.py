"""Receipted entries may go, the chain and the counts still hold; what was not chosen is never touched."""

import sqlite3
from pathlib import Path

import pytest
from made_entries import NOON_NS

from sync.cursor import Cursor
from sync.entry import Draft, Entry, Key, Stamp
from sync.errors import LedgerUnavailable
from sync.ledger import LedgerReader, LedgerWriter
from sync.outbox import Limits, Outbox
from sync.prune import Stretch, choose
from sync.runs import Run

WAIT_S = 30.0
UNTRUSTED = Stamp(wall_ns=5, boot_ns=5, boot_id="dead-clock", clock_trusted=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def fill(writer: LedgerWriter, count: int, kind: str = "passage") -> list[Key]:
    return [writer.append(Draft(kind=kind, version=1, body={"n": n}), WAIT_S).key for n in range(count)]


def numbers(path: Path) -> list[tuple[int, int]]:
    with LedgerReader(path) as reader:
        return [(entry.key.epoch, entry.key.seq) for entry in reader.after(None, 100_000)]


def test_the_chain_holds_over_what_was_dropped(path):
    with LedgerWriter.open(path, vault=None) as writer:
        epoch = writer.epoch
        fill(writer, 20)
        writer.prune([Stretch(epoch, 3, 6), Stretch(epoch, 9, 9)])
        writer.prune([Stretch(epoch, 7, 8), Stretch(epoch, 12, 13)])
    with LedgerReader(path) as reader:
        report = reader.verify()
        assert report.ok, report.breaks
        assert report.pruned == 9
        assert [(gap.first, gap.last) for gap in reader.gaps()] == [(3, 9), (12, 13)], "gaps that touch are one"
        assert reader.newest(1, "pruned")[0].data["runs"] == [[f"{epoch:016x}", 7, 8], [f"{epoch:016x}", 12, 13]]


def test_the_chain_holds_over_whole_epochs_that_are_gone(path):
    epochs = []
    for _ in range(4):
        with LedgerWriter.open(path, vault=None) as writer:
            epochs.append(writer.epoch)
            fill(writer, 3)
    with LedgerWriter.open(path, vault=None) as writer:
        writer.prune([Stretch(epochs[0], 3, 5), Stretch(epochs[1], 1, 5), Stretch(epochs[2], 1, 5)])
    with LedgerReader(path) as reader:
        assert reader.verify().ok
        assert [span.epoch for span in reader.epochs()] == [epochs[0], epochs[3], writer.epoch]


@pytest.mark.parametrize(
    "crime",
    [
        "DELETE FROM entries WHERE seq = 4",
        "DELETE FROM gaps",
        "UPDATE gaps SET last = last - 1",
        "UPDATE gaps SET hash = zeroblob(32)",
        "UPDATE gaps SET prev = zeroblob(32)",
    ],
)
def test_what_vanished_without_a_true_gap_is_still_a_break(path, crime):
    with LedgerWriter.open(path, vault=None) as writer:
        fill(writer, 20)
        writer.prune([Stretch(writer.epoch, 8, 12)])
    card = sqlite3.connect(path)
    card.execute(crime)
    card.commit()
    card.close()
    with LedgerReader(path) as reader:
        assert not reader.verify().ok


def test_the_balance_and_the_counts_stay_even(path, tmp_path):
    with LedgerWriter.open(path, vault=None) as writer, LedgerReader(path) as reader:
        fill(writer, 30)
        with Cursor(tmp_path / "uplink.db", write=True) as cursor:
            cursor.settle({writer.epoch: [Run(1, 25)]})
            before = cursor.balance(reader.epochs())
            writer.prune([Stretch(writer.epoch, 5, 14)])
            after = cursor.balance(reader.epochs())
            fresh = cursor.balance(LedgerReader(path).epochs())
            assert before.holds
            assert after.holds
            assert fresh == after, "counted anew it is the same"
            assert after.pending == before.pending + 1, "the entry that says what was dropped"
            writer.prune([Stretch(writer.epoch, 1, 4)])
            assert cursor.balance(reader.epochs()).holds
        assert reader.count() == 31 + 2 - 14


@pytest.mark.parametrize("cursor_was_lost", [False, True])
def test_the_uplink_walks_past_what_was_dropped(path, tmp_path, cursor_was_lost):
    """All that is there and open is sent, nothing else is; a lost cursor is refilled by the street's receipts."""
    with LedgerWriter.open(path, vault=None) as writer, LedgerReader(path) as reader:
        fill(writer, 30)
        writer.prune([Stretch(writer.epoch, 1, 9), Stretch(writer.epoch, 12, 14)])
        with Cursor(tmp_path / "uplink.db", write=True) as cursor:
            if not cursor_was_lost:
                cursor.settle({writer.epoch: [Run(1, 25)]})
            outbox = Outbox(reader, cursor, "/gates/s/s/g")
            outbox.begin()
            sent = []
            while (parcel := outbox.backlog(Limits(entries=7, batch_bytes=64_000, packet_bytes=64_000))).count:
                sent += [key.seq for key in parcel.keys]
            assert sent == [*(() if not cursor_was_lost else (10, 11, *range(15, 26))), *range(26, 33)]
            cursor.settle({writer.epoch: [Run(1, 32)]})
            assert outbox.balance().holds
            assert outbox.balance().pending == 0


def test_a_wrong_order_drops_nothing(path):
    with LedgerWriter.open(path, vault=None) as writer:
        fill(writer, 5)
        before = numbers(path)
        for wrong in (Stretch(writer.epoch, 2, 99), Stretch(writer.epoch, 6, 6), Stretch(writer.epoch - 1, 1, 2)):
            with pytest.raises(LedgerUnavailable):
                writer.prune([Stretch(writer.epoch, 2, 3), wrong])
            assert numbers(path) == before
        fill(writer, 1)
        assert len(numbers(path)) == len(before) + 1, "and the next entry is taken"


def test_a_dead_clock_does_not_make_an_entry_old(path):
    """Who was stamped in 1970 is as young as the next start that knew the time; the newest entry always stays."""
    asked: dict[Key, int | None] = {}

    def ask(entry: Entry, latest_ns: int | None) -> bool:
        asked[entry.key] = latest_ns
        return True

    with LedgerWriter.open(path, vault=None, stamp=lambda: UNTRUSTED) as writer:
        lost = fill(writer, 1)[0]
    with LedgerReader(path) as reader:
        choose(reader, None, ask)
        assert asked[lost] is None, "nobody can tell yet"
    good = Stamp(wall_ns=NOON_NS, boot_ns=5, boot_id="b", clock_trusted=True)
    with LedgerWriter.open(path, vault=None, stamp=lambda: good) as writer, LedgerReader(path) as reader:
        stretches, _ = choose(reader, None, ask)
        assert asked[lost] == NOON_NS
        assert stretches == [Stretch(lost.epoch, 1, 3)], "the start of today is the newest"


def test_a_small_quota_is_never_a_one_way_street(path):
    """Full by its quota, the ledger can still drop, and takes entries again."""
    quota = 512 * 1024
    with LedgerWriter.open(path, vault=None, quota_bytes=quota) as writer, LedgerReader(path) as reader:
        with pytest.raises(LedgerUnavailable, match="full"):
            while True:
                writer.append(Draft(kind="passage", version=1, body={"x": "y" * 900}), WAIT_S)
        assert writer.room().fill > 1.0
        chosen, _ = choose(reader, None, lambda *_: True)
        writer.prune(chosen[:1])
        assert writer.room().fill < 0.9
        fill(writer, 20)
        assert path.stat().st_size <= quota * 1.06
        assert reader.verify().ok
