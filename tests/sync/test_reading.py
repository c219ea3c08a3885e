"""The ledger's reader: right whoever writes, dies, or puts another file in place; and no trace left behind."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from graveyard import Graveyard, scratch

from sync.entry import Draft, Key, Stamp
from sync.errors import LedgerUnavailable
from sync.ledger import EpochSpan, LedgerReader, LedgerWriter

WAIT_S = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def reader(path: Path) -> Iterator[LedgerReader]:
    with LedgerReader(path) as ready:
        yield ready


def passages(writer: LedgerWriter, count: int, kind: str = "passage", outcome: str = "open", **more) -> None:
    for number in range(count):
        writer.append(Draft(kind=kind, version=1, body={"number": number, "outcome": outcome}), WAIT_S, **more)


def at(wall_ns: int, trusted: bool = True) -> Stamp:
    return Stamp(wall_ns=wall_ns, boot_ns=1, boot_id="a-boot", clock_trusted=trusted)


def files(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir())


# -- whoever owns the file -----------------------------------------------------------------------------------------


def test_a_ledger_that_is_not_there_yet_is_unavailable_until_it_is(path, reader):
    with pytest.raises(LedgerUnavailable, match="does not exist yet; start the gate"):
        reader.head()
    with LedgerWriter.open(path, vault=None) as writer:
        assert reader.head() == Key(writer.epoch, 1)


def test_a_half_made_ledger_is_unavailable(path, reader):
    path.touch()
    with pytest.raises(LedgerUnavailable, match="schema 0"):
        reader.head()
    with LedgerWriter.open(path, vault=None) as writer:
        assert reader.head() == Key(writer.epoch, 1)


def test_a_reader_sees_each_entry_of_a_living_owner(path, reader):
    with LedgerWriter.open(path, vault=None) as writer:
        for seq in range(2, 6):
            passages(writer, 1)
            assert reader.head() == Key(writer.epoch, seq)


def test_a_reader_of_a_closed_ledger_leaves_no_trace(path, reader):
    LedgerWriter.open(path, vault=None).close("end")
    before = files(path), path.stat()
    assert reader.count() == 2 and reader.verify().ok
    assert (files(path), path.stat()) == before == (["ledger.db"], path.stat())


def test_a_reader_follows_owners_that_come_and_go(path, reader):
    LedgerWriter.open(path, vault=None).close("one")
    for owners in range(2, 6):
        assert reader.count() == 2 * (owners - 1)
        with LedgerWriter.open(path, vault=None) as writer:
            assert reader.head() == Key(writer.epoch, 1)
        assert reader.count() == 2 * owners


def test_a_reader_follows_a_file_that_was_replaced(path, reader, tmp_path):
    copy = tmp_path / "copy.db"
    with LedgerWriter.open(path, vault=None) as writer:
        passages(writer, 5)
    with LedgerWriter.open(copy, vault=None) as writer:
        passages(writer, 2)
    assert reader.count() == 7
    os.replace(copy, path)
    assert reader.count() == 4
    assert reader.epochs()[0].epoch == writer.epoch


def test_a_file_that_vanished_is_unavailable(path, reader):
    LedgerWriter.open(path, vault=None).close("end")
    assert reader.count() == 2
    path.unlink()
    with pytest.raises(LedgerUnavailable, match="does not exist"):
        reader.count()


def test_changed_says_yes_once_per_change(path, reader):
    with LedgerWriter.open(path, vault=None) as writer:
        assert reader.changed()
        assert not reader.changed()
        passages(writer, 1)
        assert reader.changed()
        assert not reader.changed()
    reader.changed()
    assert not reader.changed()
    LedgerWriter.open(path, vault=None).close("another")
    assert reader.changed()


@pytest.mark.parametrize("log", ["left by a kill", "closed"])
def test_a_user_who_may_write_nothing_can_read(log):
    with scratch() as folder, Graveyard() as graveyard:
        graveyard.run("start", folder, request="r")
        if log == "closed":
            LedgerWriter.open(folder / "ledger.db", vault=None).close("end")
        assert (folder / "ledger.db-wal").exists() == (log != "closed")
        folder.chmod(0o555)
        assert graveyard.run("read_as_nobody", folder)[1] == [{"count": 2 if log != "closed" else 4, "ok": True}]
        folder.chmod(0o755)


# -- what can be asked ---------------------------------------------------------------------------------------------


def test_entries_come_in_order_and_in_portions(path, reader):
    with LedgerWriter.open(path, vault=None) as first:
        passages(first, 3)
    with LedgerWriter.open(path, vault=None) as second:
        passages(second, 2)
    everything = reader.after(None, 100)
    assert [(entry.key.epoch, entry.key.seq) for entry in everything] == [
        *((first.epoch, seq) for seq in range(1, 6)),
        *((second.epoch, seq) for seq in range(1, 5)),
    ]
    portions, key = [], None
    while portion := reader.after(key, 2):
        portions += portion
        key = portion[-1].key
    assert portions == everything
    assert reader.range(first.epoch, 2, 4) == everything[1:4]
    assert reader.newest(3) == everything[:-4:-1]
    assert [entry.key.seq for entry in reader.newest(2, kind="passage")] == [3, 2]
    assert reader.get(everything[4].key) == everything[4]
    assert reader.get(Key(first.epoch, 99)) is None and reader.by_request("nobody") is None


def test_a_portion_keeps_its_size_but_is_never_empty(path, reader):
    with LedgerWriter.open(path, vault=None) as writer:
        passages(writer, 10)
        start = Key(writer.epoch, 1)
        assert len(reader.after(start, 100, max_bytes=1)) == 1
        assert 2 <= len(reader.after(start, 100, max_bytes=2000)) <= 5
        assert len(reader.after(start, 100, max_bytes=1_000_000)) == 10


def test_an_empty_epoch_is_no_epoch(path, reader):
    LedgerWriter.open(path, vault=None).close("end")
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM entries")
    connection.commit()
    connection.close()
    assert (reader.epochs(), reader.count(), reader.head(), reader.after(None, 10)) == ([], 0, None, [])
    assert reader.verify().ok


def test_the_count_of_each_epoch_stays_right_while_it_grows_shrinks_and_has_holes(path, reader):
    with LedgerWriter.open(path, vault=None) as first:
        passages(first, 3)
    with LedgerWriter.open(path, vault=None) as second:
        passages(second, 2)

        def spans(*numbers: tuple[int, int, int]) -> list[EpochSpan]:
            return [
                EpochSpan(epoch=owner.epoch, first_seq=low, last_seq=high, count=count)
                for owner, (low, high, count) in zip((first, second), numbers, strict=True)
            ]

        assert reader.epochs() == spans((1, 5, 5), (1, 3, 3))
        passages(second, 4)
        assert reader.epochs() == spans((1, 5, 5), (1, 7, 7))
        connection = sqlite3.connect(path)
        connection.execute("DELETE FROM entries WHERE epoch = ? AND seq < 3", (first.epoch,))
        connection.commit()
        assert reader.epochs() == spans((3, 5, 3), (1, 7, 7))
        connection.execute("DELETE FROM entries WHERE epoch = ? AND seq = 4", (second.epoch,))
        connection.commit()
        connection.close()
        with LedgerReader(path) as fresh:
            assert fresh.epochs() == spans((3, 5, 3), (1, 7, 6))


def test_counts_are_of_one_kind_since_one_time_by_one_field(path, reader):
    with LedgerWriter.open(path, vault=None) as writer:
        passages(writer, 2, stamp=at(100))
        passages(writer, 3, stamp=at(200))
        passages(writer, 1, outcome="hold", stamp=at(300))
        passages(writer, 1, kind="fault", stamp=at(300))
        assert reader.counts_since("passage", 150) == {"passage": 4}
        assert reader.counts_since("passage", 150, by="outcome") == {"open": 3, "hold": 1}
        assert reader.counts_since("passage", 10**18, by="outcome") == {}
        assert reader.counts_since("registration", 0) == {}


def test_an_entry_stamped_by_a_lost_clock_does_not_hide_those_before_it(path, reader):
    with LedgerWriter.open(path, vault=None) as writer:
        passages(writer, 2, stamp=at(200))
        passages(writer, 1, stamp=at(5, trusted=False))
        passages(writer, 1, stamp=at(300))
        assert reader.counts_since("passage", 150) == {"passage": 3}


# -- the chain -----------------------------------------------------------------------------------------------------


@pytest.fixture
def tampered(path: Path):
    """Return a ledger of 1 start, 6 passages, 1 stop, and a way to change it behind its back."""
    writer = LedgerWriter.open(path, vault=None)
    passages(writer, 6)
    writer.close("end")

    def change(sql: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute("DROP TRIGGER entries_are_final")
        connection.execute(sql)
        connection.commit()
        connection.close()

    return change


@pytest.mark.parametrize(
    "change",
    [
        'body = \'{"number":3,"outcome":"held"}\'',
        "kind = 'opening'",
        "version = 2",
        "wall_ns = wall_ns + 1",
        "boot_ns = boot_ns + 1",
        "boot_id = 'other'",
        "trusted = 1 - trusted",
        "personal_sha256 = zeroblob(32)",
        "prev = zeroblob(32)",
        "hash = zeroblob(32)",
    ],
)
def test_a_changed_entry_is_named(reader, tampered, change):
    tampered(f"UPDATE entries SET {change} WHERE seq = 4")
    report = reader.verify()
    assert not report.ok and report.checked == 8
    assert any("-4: its content does not give its hash" in line for line in report.breaks), report.breaks


def test_a_missing_entry_is_named_by_its_number(reader, tampered):
    tampered("DELETE FROM entries WHERE seq IN (3, 4)")
    (line,) = reader.verify().breaks
    assert line.endswith("entries 3 to 4 are missing")


def test_the_missing_end_of_an_epoch_shows_when_the_next_one_begins(path, reader, tampered):
    tampered("DELETE FROM entries WHERE seq > 5")
    assert reader.verify().ok, "an end that is missing leaves no mark in the file itself"
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM entries WHERE seq > 4")
    connection.commit()
    with LedgerWriter.open(path, vault=None) as writer:
        connection.execute("DELETE FROM entries WHERE seq = 4")
        connection.commit()
        connection.close()
        (line,) = reader.verify().breaks
        assert f"{Key(writer.epoch, 1)}: does not follow" in line


def test_pruning_from_the_oldest_on_is_no_break(reader, tampered):
    tampered("DELETE FROM entries WHERE seq < 4")
    report = reader.verify()
    assert report.ok and report.checked == 5


def test_a_swapped_personal_part_is_named(path, reader):
    with LedgerWriter.open(path, vault=None) as writer:
        passages(writer, 1)
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER personal_parts_only_vanish")
    connection.execute("UPDATE entries SET personal = x'0102' WHERE seq = 2")
    connection.commit()
    connection.close()
    assert any("personal part" in line for line in reader.verify().breaks)
