"""The ledger's writer: durable before it says so, in order, once, whatever the disk does."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sickdisk import PATIENCE_S, SickDisk, io_error
from test_entry import json_values

from sync import ledger as ledger_module
from sync.entry import GENESIS, Draft, Key, Stamp, epoch_counter, epoch_text
from sync.errors import AppendLate, LedgerUnavailable, VaultError
from sync.ledger import LateAppend, LedgerReader, LedgerWriter, key_day
from sync.vault import Vault

WAIT_S = 30.0
STAMP = Stamp(wall_ns=1_795_320_000_000_000_000, boot_ns=1, boot_id="a-boot", clock_trusted=True)


def draft(number: int = 0, request: str | None = None, **personal: str) -> Draft:
    return Draft(kind="passage", version=1, body={"number": number}, personal=personal or None, request=request)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def disk(path: Path) -> SickDisk:
    LedgerWriter.open(path, vault=None).close("made")  # so that no test meets the making of tables
    return SickDisk()


@pytest.fixture
def writer(path: Path, disk: SickDisk) -> Iterator[LedgerWriter]:
    with LedgerWriter.open(path, vault=None, connect=disk.connect) as ready:
        yield ready
        disk.heal()


@pytest.fixture
def reader(path: Path) -> Iterator[LedgerReader]:
    with LedgerReader(path) as ready:
        yield ready


def assert_numbers(reader: LedgerReader, writer: LedgerWriter, expected: list[int]) -> None:
    """Check that this epoch holds exactly these passages, in order, without a hole, and that the chain holds."""
    entries = reader.range(writer.epoch, 1, 1 << 40)
    assert [entry.key.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry.data["number"] for entry in entries if entry.kind == "passage"] == expected
    report = reader.verify()
    assert report.ok, report.breaks


def in_background(count: int, act) -> list[threading.Thread]:
    threads = [threading.Thread(target=act, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


# -- what an append gives ------------------------------------------------------------------------------------------


def test_an_entry_is_there_for_others_when_append_returns(writer, reader):
    entry = writer.append(draft(1), WAIT_S)
    assert reader.get(entry.key) == entry
    assert entry.key == Key(writer.epoch, 2)
    assert entry.prev == reader.get(Key(writer.epoch, 1)).hash


@given(body=st.dictionaries(st.text(), json_values, max_size=4), personal=st.dictionaries(st.text(), st.text()))
def test_any_json_comes_back(lasting, body, personal):
    writer, reader, vault = lasting
    entry = writer.append(Draft(kind="k", version=2, body=body, personal=personal), WAIT_S)
    there = reader.get(entry.key)
    assert there.data == body and there == entry
    assert vault.unseal(there.personal_key, there.personal) == personal


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lasting")
    vault = Vault.open(folder / "secrets", create=True)
    with LedgerWriter.open(folder / "ledger.db", vault=vault) as writer, LedgerReader(folder / "ledger.db") as reader:
        yield writer, reader, vault


def test_an_entry_keeps_the_stamp_of_when_it_happened(writer):
    assert writer.append(draft(1), WAIT_S, stamp=STAMP).stamp == STAMP
    assert writer.append(draft(2), WAIT_S).stamp.boot_ns > STAMP.boot_ns


def test_each_owner_begins_an_epoch_that_says_where_the_last_one_ended(path):
    with LedgerWriter.open(path, vault=None, owner="gate", start_body={"version": "1"}, random32=lambda: 7) as first:
        first.append(draft(1), WAIT_S)
    with LedgerWriter.open(path, vault=None, owner="one-shot", random32=lambda: 7) as second:
        second.append(draft(2), WAIT_S)
    with LedgerReader(path) as reader:
        starts = [entry for entry in reader.after(None, 100) if entry.kind == "start"]
        assert starts[0].prev == GENESIS
        assert starts[0].data == {"version": "1", "owner": "gate", "previous_epoch": None, "previous_last_seq": None}
        assert starts[1].data == {
            "owner": "one-shot",
            "previous_epoch": epoch_text(first.epoch),
            "previous_last_seq": 3,  # start, passage, stop
        }
        assert starts[1].key == Key(second.epoch, 1)
        assert reader.verify().ok
    assert (epoch_counter(first.epoch), epoch_counter(second.epoch)) == (1, 2)


def test_an_epoch_never_comes_back_even_when_its_table_was_lost(path, disk):
    first = LedgerWriter.open(path, vault=None)
    first.close("end")
    connection = disk.connect(path, "rw")
    connection.execute("DELETE FROM epochs")
    connection.execute("DELETE FROM sqlite_sequence")
    connection.close()
    with LedgerWriter.open(path, vault=None) as second:
        assert epoch_counter(second.epoch) == epoch_counter(first.epoch) + 1


def test_close_writes_why_and_closing_twice_is_nothing(path, reader):
    writer = LedgerWriter.open(path, vault=None)
    assert writer.alive
    writer.close("an update")
    writer.close("again")
    assert not writer.alive
    assert [entry.data for entry in reader.newest(9, kind="stop")] == [{"reason": "an update"}]
    with pytest.raises(LedgerUnavailable, match="closed"):
        writer.append(draft(), WAIT_S)


# -- one request, one entry ----------------------------------------------------------------------------------------


def test_a_repeated_request_gets_the_entry_that_is_there(writer, reader):
    first = writer.append(draft(1, request="r"), WAIT_S)
    assert writer.append(draft(2, request="r"), WAIT_S) == first
    assert reader.by_request("r") == first
    assert_numbers(reader, writer, [1])


def test_a_request_is_remembered_by_the_next_owner(path):
    with LedgerWriter.open(path, vault=None, owner="one-shot") as one_shot:
        first = one_shot.append(draft(1, request="r"), WAIT_S)
    with LedgerWriter.open(path, vault=None) as gate:
        assert gate.append(draft(1, request="r"), WAIT_S) == first


def test_a_request_repeated_within_one_group_is_one_entry(writer, reader, disk):
    reached, let_go = disk.hang("COMMIT")
    blocker = in_background(1, lambda _: writer.append(draft(0), WAIT_S))
    assert reached.wait(PATIENCE_S)
    got = []
    threads = in_background(5, lambda number: got.append(writer.append(draft(number, request="r"), WAIT_S)))
    let_go.set()
    join(blocker + threads)
    assert len(got) == 5 and len({entry.key for entry in got}) == 1


# -- groups --------------------------------------------------------------------------------------------------------


def test_what_waits_together_is_committed_together(writer, disk):
    reached, let_go = disk.hang("COMMIT")
    blocker = in_background(1, lambda _: writer.append(draft(0), WAIT_S))
    assert reached.wait(PATIENCE_S)
    for number in range(2 * ledger_module.GROUP_ENTRIES):
        with pytest.raises(AppendLate):
            writer.append(draft(number), 0.0)
    disk.seen.clear()
    let_go.set()
    writer.append(draft(), WAIT_S)
    join(blocker)
    assert disk.seen.count("COMMIT") == 3, "100 waiting entries in two groups of 50, then the last one"


def test_many_callers_keep_one_chain(writer, reader):
    def keep(lane: int) -> None:
        for number in range(20):
            writer.append(draft(100 * lane + number), WAIT_S)

    join(in_background(8, keep))
    assert sorted(entry.data["number"] for entry in reader.newest(160)) == sorted(
        100 * lane + number for lane in range(8) for number in range(20)
    )
    assert reader.verify().ok
    assert writer.queued == 0


def test_a_full_queue_refuses_and_says_so(path, disk):
    with LedgerWriter.open(path, vault=None, connect=disk.connect, queue_entries=10) as writer:
        reached, let_go = disk.hang("COMMIT")
        blocker = in_background(1, lambda _: writer.append(draft(0), WAIT_S))
        assert reached.wait(PATIENCE_S)
        for number in range(10):
            with pytest.raises(AppendLate):
                writer.append(draft(number), 0.0)
        with pytest.raises(LedgerUnavailable, match=r"10 entries wait .* stands still"):
            writer.append(draft(), WAIT_S)
        let_go.set()
        join(blocker)


# -- lateness ------------------------------------------------------------------------------------------------------


def test_a_late_entry_becomes_durable_exactly_once(writer, reader, disk):
    reached, let_go = disk.hang("COMMIT")
    with pytest.raises(LateAppend, match="not durable after") as late:
        writer.append(draft(1), 0.01)
    assert reached.wait(PATIENCE_S)
    assert not late.value.pending.done and writer.late == 1
    assert reader.head() == Key(writer.epoch, 1), "nothing is shown before it is durable"
    with pytest.raises(AppendLate):
        late.value.pending.result(0.0)
    let_go.set()
    entry = late.value.pending.result(WAIT_S)
    assert reader.get(entry.key).data == {"number": 1}
    assert_numbers(reader, writer, [1])


def test_what_is_handed_over_waits_for_no_disk_and_becomes_durable_in_its_order(writer, reader, disk):
    reached, let_go = disk.hang("COMMIT")
    first = writer.hand_over(draft(1))
    assert reached.wait(PATIENCE_S)
    second = writer.hand_over(draft(2))  # returns although nothing moves
    assert not first.done and not second.done and writer.queued == 2
    let_go.set()
    assert first.result(WAIT_S).key < second.result(WAIT_S).key
    assert writer.late == 0, "nobody was told that it is late"
    assert_numbers(reader, writer, [1, 2])


def test_what_is_handed_over_outlives_a_failing_disk(writer, reader, disk):
    disk.fail("COMMIT", times=1)
    pending = writer.hand_over(draft(1))
    assert pending.result(WAIT_S).data == {"number": 1}
    assert_numbers(reader, writer, [1])


def test_a_closed_ledger_takes_nothing_over(path):
    writer = LedgerWriter.open(path, vault=None)
    writer.close("end of test")
    with pytest.raises(LedgerUnavailable, match="closed"):
        writer.hand_over(draft(1))


def test_a_late_entry_outlives_a_failing_disk(writer, reader, disk):
    reached, let_go = disk.hang("BEGIN")
    with pytest.raises(LateAppend) as late:
        writer.append(draft(1), 0.0)
    assert reached.wait(PATIENCE_S)
    disk.fail("INSERT INTO entries")
    let_go.set()
    with pytest.raises(LedgerUnavailable, match="disk I/O error"):
        writer.append(draft(2), WAIT_S)
    assert not late.value.pending.done, "its caller has left: it stays queued"
    disk.heal()
    writer.append(draft(3), WAIT_S)
    assert late.value.pending.result(WAIT_S).data == {"number": 1}
    assert_numbers(reader, writer, [1, 3])


def test_late_entries_are_tried_again_without_a_new_append(writer, reader, disk):
    reached, let_go = disk.hang("BEGIN")
    with pytest.raises(LateAppend) as late:
        writer.append(draft(1), 0.0)
    assert reached.wait(PATIENCE_S)
    disk.fail("COMMIT", times=1)
    let_go.set()
    late.value.pending.result(WAIT_S)
    assert_numbers(reader, writer, [1])


def test_a_late_entry_that_reached_the_disk_unnoticed_is_not_doubled(writer, reader, disk):
    reached, let_go = disk.hang("BEGIN")
    with pytest.raises(LateAppend) as late:
        writer.append(draft(1), 0.0)
    assert reached.wait(PATIENCE_S)
    disk.refuses_to_open = True  # it cannot even look whether the commit happened
    disk.fail("COMMIT", times=1, afterwards=True)
    let_go.set()
    with pytest.raises(LedgerUnavailable):
        writer.append(draft(2), WAIT_S)
    disk.heal()
    assert late.value.pending.result(WAIT_S).data == {"number": 1}
    assert_numbers(reader, writer, [1])


# -- sick disks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["BEGIN", "INSERT INTO entries", "COMMIT"])
def test_a_disk_error_refuses_the_entry_and_leaves_no_hole(writer, reader, disk, word):
    writer.append(draft(1), WAIT_S)
    disk.fail(word)
    for number in (2, 3):
        with pytest.raises(LedgerUnavailable, match=r"disk I/O error \(SQLITE_IOERR_WRITE\); .*kernel log"):
            writer.append(draft(number), WAIT_S)
    assert writer.alive
    disk.heal()
    writer.append(draft(4), WAIT_S)
    assert_numbers(reader, writer, [1, 4])


def test_a_full_disk_refuses_and_takes_entries_again_when_there_is_room(writer, reader, disk):
    pages = disk.connection.execute("PRAGMA page_count").fetchone()[0]
    disk.connection.execute(f"PRAGMA max_page_count = {pages}")
    kept, refused = [], []
    for number in range(40):
        try:
            writer.append(Draft(kind="passage", version=1, body={"number": number, "pad": "x" * 500}), WAIT_S)
            kept.append(number)
        except LedgerUnavailable as error:
            assert "SQLITE_FULL" in str(error) and "free some space" in str(error)
            refused.append(number)
    assert refused and 39 in refused
    disk.connection.execute("PRAGMA max_page_count = 1000000")
    writer.append(draft(40), WAIT_S)
    assert_numbers(reader, writer, [*kept, 40])


def test_a_commit_that_failed_only_in_name_is_found_on_the_disk(writer, reader, disk):
    disk.fail("COMMIT", times=1, afterwards=True)
    entry = writer.append(draft(1), WAIT_S)
    assert reader.get(entry.key) == entry
    writer.append(draft(2), WAIT_S)
    assert_numbers(reader, writer, [1, 2])


def test_a_disk_that_cannot_be_opened_again_refuses_until_it_can(writer, reader, disk):
    disk.refuses_to_open = True
    disk.fail("COMMIT", times=1)
    for number in (1, 2):
        with pytest.raises(LedgerUnavailable):
            writer.append(draft(number), WAIT_S)
    disk.heal()
    writer.append(draft(3), WAIT_S)
    assert_numbers(reader, writer, [3])


@pytest.mark.parametrize("deed", ["deleted", "replaced"])
def test_a_file_taken_from_under_its_owner_is_noticed(path, writer, disk, deed):
    writer.append(draft(1), WAIT_S)
    path.rename(path.with_suffix(".away"))
    Path(f"{path}-wal").rename(path.with_suffix(".away-wal"))
    if deed == "replaced":
        LedgerWriter.open(path, vault=None).close("the restored copy")
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match=r"replaced|deleted|unable to open"):
            writer.append(draft(2), WAIT_S)
    assert path.exists() == (deed == "replaced"), "an owner makes no second file in silence"


def forget_last(path: Path, count: int, writer: LedgerWriter) -> None:
    """Let the file lose its last entries, as a log with a bad block does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as card:
        for (name,) in card.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            card.execute(f"DROP TRIGGER {name}")
        last = card.execute("SELECT max(seq) FROM entries WHERE epoch = ?", (writer.epoch,)).fetchone()[0]
        card.execute("DELETE FROM entries WHERE epoch = ? AND seq > ?", (writer.epoch, last - count))


@pytest.mark.parametrize("lost", [1, 2, 4])  # four: the whole epoch
def test_a_file_that_forgot_what_it_acknowledged_gives_no_number_twice(path, disk, lost):
    writer = LedgerWriter.open(path, vault=None, connect=disk.connect)
    known = {entry.key: entry.hash for entry in (writer.append(draft(number), WAIT_S) for number in range(3))}
    disk.fail("BEGIN", times=1)
    with pytest.raises(LedgerUnavailable, match="disk I/O error"):
        writer.append(draft(7), WAIT_S)
    forget_last(path, lost, writer)
    with pytest.raises(LedgerUnavailable, match=r"lost acknowledged entries .* a new epoch must begin"):
        writer.append(draft(8), WAIT_S)
    assert not writer.alive, "its owner must open a new one"
    with pytest.raises(LedgerUnavailable):
        writer.append(draft(9), WAIT_S)
    writer.close("lost")
    with LedgerWriter.open(path, vault=None) as following:
        entry = following.append(draft(10), WAIT_S)
    assert following.epoch != writer.epoch and entry.key not in known


def test_another_entry_under_the_last_number_is_noticed(path, disk):
    writer = LedgerWriter.open(path, vault=None, connect=disk.connect)
    writer.append(draft(1), WAIT_S)
    disk.fail("BEGIN", times=1)
    with pytest.raises(LedgerUnavailable):
        writer.append(draft(2), WAIT_S)
    forget_last(path, 0, writer)
    with closing(sqlite3.connect(path, isolation_level=None)) as card:
        card.execute("UPDATE entries SET hash = zeroblob(32) WHERE epoch = ? AND seq = 2", (writer.epoch,))
    with pytest.raises(LedgerUnavailable, match="lost acknowledged entries"):
        writer.append(draft(3), WAIT_S)
    assert not writer.alive
    writer.close("lost")


def test_late_entries_are_told_when_the_file_forgot_its_past(path, disk):
    """They are the spool's now: a writer that may not write must not keep them."""
    writer = LedgerWriter.open(path, vault=None, connect=disk.connect)
    writer.append(draft(1), WAIT_S)
    reached, let_go = threading.Event(), threading.Event()

    def stand_still_and_fail(sql: str) -> None:
        if sql.startswith("COMMIT"):
            reached.set()
            assert let_go.wait(PATIENCE_S)
            raise io_error()

    disk.before, disk.refuses_to_open = stand_still_and_fail, True
    with pytest.raises(LateAppend) as late:
        writer.append(draft(2), 0.0)
    with pytest.raises(LateAppend) as later:
        writer.append(draft(3), 0.0)
    assert reached.wait(PATIENCE_S)  # else a writer that was slow commits on the connection from before the loss
    let_go.set()
    forget_last(path, 1, writer)
    disk.heal()
    for one in (late, later):
        with pytest.raises(LedgerUnavailable):
            one.value.pending.result(WAIT_S)
    assert not writer.alive
    writer.close("lost")


def test_closing_on_a_dead_disk_ends_and_tells_who_waits(path, disk, caplog):
    writer = LedgerWriter.open(path, vault=None, connect=disk.connect)
    reached, let_go = disk.hang("BEGIN")
    with pytest.raises(LateAppend) as late:
        writer.append(draft(1), 0.0)
    assert reached.wait(PATIENCE_S)
    disk.fail("INSERT INTO entries")
    let_go.set()
    writer.close("the end", wait_s=WAIT_S)
    with pytest.raises(LedgerUnavailable):
        late.value.pending.result(WAIT_S)
    assert "not recorded" in caplog.text


def test_opening_on_a_sick_disk_says_so(path, disk):
    disk.fail("INSERT INTO entries")
    with pytest.raises(LedgerUnavailable, match="disk I/O error"):
        LedgerWriter.open(path, vault=None, connect=disk.connect)
    disk.fail("INSERT INTO epochs")
    with pytest.raises(LedgerUnavailable, match="begin an epoch"):
        LedgerWriter.open(path, vault=None, connect=disk.connect)
    disk.heal()
    LedgerWriter.open(path, vault=None, connect=disk.connect).close("healed")
    with LedgerReader(path) as reader:
        assert reader.verify().ok


# -- personal parts ------------------------------------------------------------------------------------------------


class SickVault:
    """A vault that can make no keys."""

    def seal_bytes(self, plain: bytes, class_: str, day: str) -> tuple[str, bytes]:
        raise VaultError("no key can be made")

    def seal_for_spool(self, mapping):
        raise VaultError("no key can be made")

    def unseal(self, key_name, ciphertext):
        raise VaultError("there is no key")


def test_a_personal_part_is_on_the_disk_only_as_ciphertext(path, tmp_path):
    vault = Vault.open(tmp_path / "secrets", create=True)
    writer = LedgerWriter.open(path, vault=vault, stamp=lambda: STAMP)
    entry = writer.append(draft(1, name="Ms Secret"), WAIT_S)
    on_disk = b"".join(file.read_bytes() for file in path.parent.glob("ledger.db*"))
    writer.close("end")
    assert b"Secret" not in on_disk and b"Secret" not in repr(entry).encode()
    assert entry.personal_key == "passage/2026-11-22"
    assert vault.unseal(entry.personal_key, entry.personal) == {"name": "Ms Secret"}


def test_a_day_from_an_untrusted_clock_has_a_key_of_its_own():
    lost = Stamp(wall_ns=0, boot_ns=1, boot_id="a-boot", clock_trusted=False)
    assert key_day(STAMP, 0x300C0FFEE) == "2026-11-22"
    assert key_day(lost, 0x300C0FFEE) == "1970-01-01~0000000300c0ffee"


@pytest.mark.parametrize("vault", [None, SickVault()], ids=["none", "sick"])
def test_a_part_that_cannot_be_sealed_is_the_callers_choice(path, vault):
    with LedgerWriter.open(path, vault=vault) as writer:
        with pytest.raises(VaultError):
            writer.append(draft(1, name="Ms Secret"), WAIT_S)
        assert writer.append(draft(1), WAIT_S).key == Key(writer.epoch, 2)


def test_a_late_entry_is_kept_without_the_part_that_cannot_be_sealed(path, disk, reader):
    with LedgerWriter.open(path, vault=SickVault(), connect=disk.connect) as writer:
        reached, let_go = disk.hang("COMMIT")
        blocker = in_background(1, lambda _: writer.append(draft(0), WAIT_S))
        assert reached.wait(PATIENCE_S)
        with pytest.raises(LateAppend) as late:
            writer.append(draft(1, name="Ms Secret"), 0.0)
        let_go.set()
        assert late.value.pending.result(WAIT_S).personal is None
        join(blocker)


class BrokenVault(SickVault):
    """A vault with a bug."""

    def seal_bytes(self, plain: bytes, class_: str, day: str) -> tuple[str, bytes]:
        raise RuntimeError("a bug")


@pytest.fixture
def surprises() -> Iterator[list[type[BaseException]]]:
    """What ended a thread of this test, instead of a warning."""
    before, seen = threading.excepthook, []
    threading.excepthook = lambda args: seen.append(args.exc_type)
    yield seen
    threading.excepthook = before


def test_a_bug_in_the_writers_thread_is_loud_and_leaves_nobody_waiting(path, surprises):
    writer = LedgerWriter.open(path, vault=BrokenVault())
    with pytest.raises(LedgerUnavailable, match="write it to the spool"):
        writer.append(draft(1, name="Ms Secret"), WAIT_S)
    with pytest.raises(LedgerUnavailable, match="closed"):
        writer.append(draft(2), WAIT_S)
    writer.close("after a bug")
    assert surprises == [RuntimeError]
    assert not writer.alive, "the owner must see that it has to start again"


# -- callers' mistakes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        Draft(kind="k", version=1, body={"celsius": float("nan")}),
        Draft(kind="k", version=1, body={"text": "\ud800"}),
        Draft(kind="k", version=1, body={}, personal={"name": "\ud800"}),
        Draft(kind="k", version=1, body={}, request="\ud800"),
    ],
    ids=["nan", "surrogate", "personal", "request"],
)
def test_what_is_no_json_is_the_callers_error_and_nobody_elses(writer, wrong):
    with pytest.raises(ValueError):
        writer.append(wrong, WAIT_S)
    assert writer.append(draft(1), WAIT_S).key == Key(writer.epoch, 2)
