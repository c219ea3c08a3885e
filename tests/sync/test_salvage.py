"""A destroyed page costs the entries on it and nothing else; the holes are named, and keys never come back."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from graveyard import Graveyard, scratch
from powercut import disk_in

from sync import salvage as salvaging
from sync.entry import Draft, Key
from sync.errors import LedgerDamaged
from sync.ledger import LedgerReader, LedgerWriter
from sync.prune import Stretch
from sync.salvage import salvage

WAIT_S = 30.0
PAGE = 2048
CHECK_S = 30.0
MOST_STEPS = 600


@pytest.fixture
def path() -> Iterator[Path]:
    with scratch() as folder:
        yield folder / "ledger.db"


@pytest.fixture(scope="module")
def graveyard() -> Iterator[Graveyard]:
    with Graveyard() as ready:
        yield ready


def make(path: Path, count: int = 400) -> dict[Key, bytes]:
    """Write three epochs; return every entry's hash by its key."""
    for owner in range(3):
        with LedgerWriter.open(path, vault=None) as writer:
            for number in range(count // 3):
                body = {"n": number, "text": "x" * (40 + number * 37 % 900)}
                if number % 50 == 7:
                    body["text"] = "large " * 1500  # lies on overflow pages
                writer.append(Draft(kind="passage", version=1, body=body, request=f"{owner}-{number}"), WAIT_S)
    with LedgerReader(path) as reader:
        return {entry.key: entry.hash for entry in reader.after(None, 100_000)}


def destroy(path: Path, page: int, with_what: bytes = b"\xa5" * PAGE) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(with_what)


def open_checked(path: Path) -> LedgerWriter:
    return LedgerWriter.open(path, vault=None, check_s=CHECK_S)


def assert_saved(path: Path, before: dict[Key, bytes], most_lost: int) -> None:
    with LedgerReader(path) as reader:
        after = {entry.key: entry.hash for entry in reader.after(None, 100_000)}
        report = reader.verify()
        damaged = {Key(gap.epoch, seq) for gap in reader.gaps().damaged() for seq in range(gap.first, gap.last + 1)}
    assert report.ok, report.breaks
    assert {key: hash_ for key, hash_ in after.items() if key in before} == {
        key: before[key] for key in before.keys() & after.keys()
    }, "what is there is what was written"
    lost = before.keys() - after.keys()
    assert len(lost) <= most_lost
    end = max(after.keys() & before.keys())
    assert {key for key in lost if key < end} <= damaged | {key for key in lost if key < min(after)}, "every hole named"


def pages_of(path: Path, kind: str) -> list[int]:
    """Return the numbers of the pages of the table's leaves, its inner pages, or its index."""
    want = {"leaf": (13, "entries"), "inner": (5, "entries"), "index": (10, "index")}[kind][0]
    data = path.read_bytes()
    return [at // PAGE + 1 for at in range(PAGE, len(data), PAGE) if data[at] == want]


@pytest.mark.parametrize("kind", ["leaf", "inner", "index"])
def test_a_destroyed_page_costs_its_own_rows(path, kind):
    before = make(path)
    pages = pages_of(path, kind)
    page = pages[len(pages) // 2]
    destroy(path, page)
    with pytest.raises(LedgerDamaged):
        open_checked(path)
    report = salvage(path)
    assert report["lost"] <= (8 if kind == "leaf" else 0)
    assert_saved(path, before, 8 if kind == "leaf" else 0)
    with open_checked(path) as writer:
        assert writer.epoch > max(key.epoch for key in before)
        assert writer.append(Draft(kind="passage", version=1, body={}, request="2-1"), WAIT_S).key in before


def test_the_first_page_may_be_gone_and_every_entry_is_saved(path):
    before = make(path)
    destroy(path, 1)
    with pytest.raises(LedgerDamaged):
        open_checked(path)
    assert salvage(path)["kept"] == len(before)
    assert_saved(path, before, 0)
    with open_checked(path) as writer:
        assert writer.epoch >> 32 > max(key.epoch for key in before) >> 32


@pytest.mark.parametrize("seed", range(6))
def test_random_damage_never_invents_an_entry(path, seed):
    before = make(path, 150)
    chance = random.Random(seed)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(chance.randint(1, 6)):
            file.seek(chance.randrange(size))
            file.write(chance.randbytes(chance.choice((1, 40, PAGE))))
    salvage(path)
    assert_saved(path, before, len(before))
    open_checked(path).close("it opens")


def test_what_is_only_in_the_log_is_saved(path):
    make(path, 30)
    writer = LedgerWriter.open(path, vault=None)
    fresh = writer.append(Draft(kind="passage", version=1, body={"fresh": True}), WAIT_S)
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    Path(f"{copy}-wal").write_bytes(Path(f"{path}-wal").read_bytes())
    writer.close("copied")
    destroy(copy, 1)
    salvage(copy)
    with LedgerReader(copy) as reader:
        assert reader.get(fresh.key).hash == fresh.hash


def test_a_changed_entry_is_no_entry(path):
    before = make(path, 60)
    with closing(sqlite3.connect(path, isolation_level=None)) as card:
        for (name,) in card.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            card.execute(f"DROP TRIGGER {name}")
        card.execute("UPDATE entries SET body = '{}' WHERE request = '2-3'")
    with pytest.raises(LedgerDamaged, match="does not give its hash"):
        open_checked(path)
    report = salvage(path)
    assert (report["lost"], report["refused_rows"]) == (1, 1)
    assert_saved(path, before, 1)


def test_what_was_pruned_stays_pruned(path):
    before = make(path, 200)
    epoch = min(before).epoch
    with LedgerWriter.open(path, vault=None) as writer:
        writer.prune([Stretch(epoch, 2, 40)])
    destroy(path, 1)
    salvage(path)
    with LedgerReader(path) as reader:
        assert reader.verify().ok
        assert reader.range(epoch, 2, 40) == []
        assert reader.gaps().damaged() == ()


def test_a_healthy_ledger_is_left_alone(path):
    make(path, 60)
    inode = path.stat().st_ino
    open_checked(path).close("well")
    assert path.stat().st_ino == inode
    assert not list(path.parent.glob("*.damaged*"))


def test_two_damages_are_kept_apart(path):
    make(path, 60)
    for _ in range(2):
        destroy(path, 1)
        salvage(path)
    names = {file.name for file in path.parent.glob("*.damaged-*")}
    assert {"ledger.db.damaged-1", "ledger.db.damaged-2"} <= names


def test_salvage_may_die_at_any_step(graveyard, path):
    before = make(path, 30)
    destroy(path, 1)
    broken = path.read_bytes()
    for step in range(1, MOST_STEPS):
        for file in path.parent.iterdir():
            if file.is_file():
                file.unlink()
        path.write_bytes(broken)
        lived, _words = graveyard.run("save", path.parent, die_at=step)
        try:
            writer = open_checked(path)
        except LedgerDamaged:
            salvage(path)
            writer = open_checked(path)
        writer.close("alive")
        assert_saved(path, before, 0)
        assert salvaging.report_of(path)["kept"] == len(before), "the report outlives a death"
        assert path.with_name("ledger.db.damaged-1").read_bytes() == broken
        if lived:
            assert step > 20, "the scene should contain the building and the renames"
            return
    raise AssertionError("the salvage has no end")


def test_pruning_may_die_at_any_step(graveyard, path):
    make(path, 60)
    good = path.read_bytes()
    for step in range(1, MOST_STEPS):
        for file in path.parent.iterdir():
            if file.is_file():
                file.unlink()
        path.write_bytes(good)
        lived, _words = graveyard.run("prune", path.parent, die_at=step)
        with LedgerReader(path) as reader:
            report = reader.verify()
            assert report.ok, (step, report.breaks)
            told = sum(entry.data["entries"] for entry in reader.newest(10, "pruned"))
            assert told == report.pruned, "dropped and told, or neither"
        if lived:
            assert report.pruned > 0
            assert step > 8
            return
    raise AssertionError("the pruning has no end")


@pytest.mark.parametrize("scene", ["save", "prune"])
def test_a_power_cut_anywhere_is_survived(graveyard, tmp_path, scene):
    """Die at a random step, and the disk forgets what was not synchronised: nothing that was durable is gone."""
    chance = random.Random(20261126)
    with disk_in(tmp_path) as disk:
        path = disk.place / "ledger.db"
        before = make(path, 30)
        if scene == "save":
            destroy(path, 1)
        ready = path.read_bytes()
        for _cut in range(12):
            for file in disk.place.iterdir():
                if file.is_file():
                    file.unlink()
            path.write_bytes(ready)
            disk.sync()
            graveyard.run(scene, disk.place, die_at=chance.randint(1, 110 if scene == "save" else 16))
            disk.cut()
            try:
                writer = open_checked(path)
            except LedgerDamaged:
                salvage(path)
                writer = open_checked(path)
            writer.close("alive")
            if scene == "save":
                assert_saved(path, before, 0)
                assert salvaging.report_of(path)["kept"] == len(before)
                continue
            with LedgerReader(path) as reader:
                report = reader.verify()
                assert report.ok, report.breaks
                assert sum(entry.data["entries"] for entry in reader.newest(10, "pruned")) == report.pruned
                assert reader.count() + report.pruned >= len(before)


def test_a_second_damage_hides_no_report_that_nobody_has_told_yet(path):
    before = make(path)
    told = []
    for share in (3, 2):
        leaves = pages_of(path, "leaf")
        destroy(path, leaves[len(leaves) // share])
        told.append(salvage(path))
    with LedgerReader(path) as reader:
        lost = before.keys() - {entry.key for entry in reader.after(None, 100_000)}
    assert sum(report["lost"] for report in told) == len(lost) > 0
    found = []
    while (report := salvaging.report_of(path)) is not None:
        found.append(report)
        salvaging.told(path)
    assert found == told


def test_a_lost_beginning_is_a_hole_as_well(path):
    before = make(path)
    with closing(sqlite3.connect(path)) as db:  # the leaves of an index of our own would be in the way
        first = db.execute("SELECT epoch, seq FROM entries ORDER BY epoch, seq LIMIT 3").fetchall()
        db.executemany("DELETE FROM entries WHERE epoch = ? AND seq = ?", first)
        db.commit()
    assert salvage(path)["holes"][0]["last"] == 3 or not before
    assert_saved(path, before, most_lost=3)
