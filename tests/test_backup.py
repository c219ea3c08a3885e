"""A backup is proved or it is none; the oldest go, what must be forgotten goes at once, and no older one is harmed."""

import json
import os
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backup_sample import CANARIES, Box, here, in_memory

from sentinel import backup
from sentinel.core.errors import DataError, Unavailable
from sync.entry import Draft, Stamp
from sync.errors import SyncError, VaultError
from sync.ledger import LedgerReader, LedgerWriter
from sync.sealed import new_recovery_key

HOUR_NS = 3600 * 10**9


@pytest.fixture
def box() -> Iterator[Box]:
    with in_memory() as folder:
        yield Box(folder)


def names(box: Box) -> list[str]:
    return sorted(path.name for path in box.place.iterdir())


def numbers(box: Box) -> list[int]:
    return [archive.number for archive in backup.archives_in(box.place, box.settings)]


def make(box: Box, **more) -> backup.State:
    state = backup.make(box.settings, elsewhere=here, **more)
    assert state is not None
    return state


def test_a_backup_holds_everything_and_says_when_it_was_proved(box):
    state = make(box)
    assert names(box) == ["330106-cuiyuan3-east-3-000001.sentinel"]
    assert state == backup.read_state(box.settings)
    assert state.proven_utc_s >= state.made_utc_s > 0
    assert (state.entries, state.problem) == (box.entries(), "")
    manifest, small = box.opened(1)
    assert (manifest.entries, manifest.people) == (box.entries(), 1)
    assert {"secrets/device.key", "secrets/site.key", "secrets/issuers/east.pub", "settings.toml"} <= small.keys()
    assert b"spooled-1" in small["spool.jsonl"]
    assert list(box.settings.paths.state_dir.glob("backup.work*")) == []


def test_nobody_is_found_in_its_bytes_nor_on_the_box(box):
    make(box)
    left = [path for path in (*box.place.rglob("*"), box.settings.paths.state_dir / "backup.json") if path.is_file()]
    assert left
    for path in left:
        data = path.read_bytes()
        for canary in (*CANARIES, (box.settings.paths.secrets_dir / "device.key").read_bytes()):
            assert canary not in data, path


def test_no_key_is_ever_written_to_the_disk_of_the_box(box):
    """What a file system keeps of a removed file would open again what retention has destroyed."""
    seen: set[str] = set()

    def watch(folder: Path) -> None:
        seen.update(path.name for path in folder.rglob("*"))

    with backup.work_folder(box.settings) as work:
        with (box.place / "a.sentinel").open("wb") as file:
            told = {"gate": "g", "number": 1, "made_utc_s": 1, "program": "0"}
            key = backup.backup_archive.write_archive(box.settings, file, box.public, told, work)
        watch(work)
        backup.open_archive(box.place / "a.sentinel", key, work)
        watch(work)
    assert seen == {"ledger.db", "roster.db"}


def test_only_the_newest_generations_stay(box):
    for _ in range(4):
        make(box)
    assert numbers(box) == [2, 3, 4]  # generations = 3


def test_another_gates_backups_in_the_same_place_are_left_alone(box):
    other = box.place / "330106-cuiyuan3-east-000001.sentinel"
    other.write_bytes(b"x")
    for _ in range(5):
        make(box)
    assert other.read_bytes() == b"x"


def test_destroying_overwrites_the_key_before_the_name_goes(box):
    make(box)
    archive = box.place / names(box)[0]
    twin = box.place.parent / "twin"
    os.link(archive, twin)
    backup.destroy(archive)
    assert not archive.exists()
    with pytest.raises(VaultError):
        backup.backup_archive.read_head(twin.open("rb"))


def test_what_was_destroyed_is_forgotten_by_every_backup(box):
    make(box)
    make(box)
    assert box.vault.destroy(box.day_key)
    state = backup.forget_before(box.settings, elsewhere=here)
    assert numbers(box) == [3]
    assert not state.must_forget
    _, small = box.opened(3)
    assert box.day_key not in backup.backup_archive.vault_in_memory(small).names()


def test_forgetting_waits_for_the_place_to_come_back_and_is_told(box):
    make(box)
    with pytest.raises(Unavailable, match="away"):
        backup.forget_before(box.settings, elsewhere=lambda *_: False)
    state = backup.read_state(box.settings)
    assert state.must_forget
    assert backup.is_due(box.settings, state, backup.now_stamp()), "the next run of the timer does it"
    assert not make(box).must_forget
    assert numbers(box) == [2]


def test_where_no_backup_was_ever_made_there_is_nothing_to_forget(box):
    wanted = replace(box.settings, backup=replace(box.settings.backup, folder=None))
    assert not backup.forget_before(wanted).must_forget
    make(box)
    with pytest.raises(Unavailable, match="no backup is wanted"):
        backup.forget_before(wanted)
    assert backup.read_state(box.settings).must_forget, "one was made: it holds what was destroyed"


def test_a_place_that_is_away_is_told_and_nothing_is_written_on_the_boxs_own_disk(box):
    make(box)
    for away in (lambda *_: False, backup.is_elsewhere):
        if away is backup.is_elsewhere:
            box.place.rename(box.place.with_name("unplugged"))
            box.place.mkdir()  # the folder of the medium, on the disk of the box
            box.use_place_under_state()
        with pytest.raises(Unavailable, match="away"):
            backup.make(box.settings, elsewhere=away)
        state = backup.read_state(box.settings)
        assert "away" in state.problem
        assert state.number == 1, "what is known of the last one stays known"
    assert list(box.settings.backup.folder.iterdir()) == []


def test_a_medium_is_told_from_the_folder_it_hangs_in(tmp_path):
    assert backup.is_elsewhere(Path("/proc/self"), tmp_path)
    assert not backup.is_elsewhere(Path("/"), tmp_path)
    assert not backup.is_elsewhere(Path("/etc"), tmp_path), "as the folder of a stick that is not plugged in"
    (tmp_path / "media").mkdir()
    assert not backup.is_elsewhere(tmp_path / "media", tmp_path)


def test_without_a_recovery_key_nothing_is_made(box):
    (box.settings.paths.secrets_dir / "backup.pub").unlink()
    with pytest.raises(DataError, match="sentinelctl backup key"):
        backup.make(box.settings, elsewhere=here)
    assert names(box) == []


def test_a_recovery_key_is_not_replaced_by_accident(box):
    with pytest.raises(DataError, match="--replace"):
        backup.make_key(box.settings)
    other = backup.make_key(box.settings, replace_known=True)
    make(box)
    with pytest.raises(VaultError, match="recovery key"):
        box.opened(1)
    box.recovery = other
    assert box.opened(1)[0].entries == box.entries()


def test_a_wrong_key_opens_nothing(box):
    make(box)
    box.recovery = new_recovery_key()
    with pytest.raises(VaultError):
        box.opened(1)


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_or_cut_archive_is_found_out(box, seed):
    make(box)
    path = box.place / names(box)[0]
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    if seed % 2:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    else:
        del data[chance.randrange(len(data)) :]
    path.write_bytes(bytes(data))
    with pytest.raises((SyncError, DataError)):
        box.opened(1)


def test_a_ledger_that_does_not_chain_makes_no_backup_and_the_older_ones_stay(box):
    make(box)
    box.forge_an_entry()
    with pytest.raises(DataError, match="check ledger"):
        backup.make(box.settings, elsewhere=here)
    assert numbers(box) == [1]
    assert names(box) == ["330106-cuiyuan3-east-3-000001.sentinel"]
    assert "chain" in backup.read_state(box.settings).problem


def test_a_full_second_place_is_told_and_leaves_nothing_half(box):
    make(box)

    (box.settings.paths.secrets_dir / "issuers" / "large.pub").write_bytes(random.Random(1).randbytes(400_000))
    problem = box.run_with_file_limit(200_000)  # enough for the copy of the ledger on the box, too little there
    assert "room" in problem
    assert numbers(box) == [1]
    assert names(box) == ["330106-cuiyuan3-east-3-000001.sentinel"]


def test_a_box_without_room_for_a_copy_says_how_much_it_needs(box):
    with pytest.raises(Unavailable, match=r"needs 104\d\d\d\d MB free .*; make room"):
        backup.require_room(box.settings, spare_bytes=1 << 40)


def test_it_is_due_by_the_clock_that_never_jumps(box):
    now = Stamp(wall_ns=10**18, boot_ns=100 * HOUR_NS, boot_id="a", clock_trusted=True)
    made = backup.State(number=1, made_utc_s=10**9, clock_trusted=True, boot_id="a", boot_ns=100 * HOUR_NS)

    def due(state=made, **at) -> bool:
        return backup.is_due(box.settings, state, replace(now, **at))

    assert due(backup.State())
    assert not due(boot_ns=123 * HOUR_NS, wall_ns=0), "1970 is no reason"
    assert due(boot_ns=124 * HOUR_NS, wall_ns=0)
    assert not due(boot_id="b", boot_ns=1, wall_ns=10**18 + 23 * HOUR_NS)
    assert due(boot_id="b", boot_ns=1, wall_ns=10**18 + 24 * HOUR_NS)
    assert due(boot_id="b", boot_ns=1, clock_trusted=False), "nobody knows: once in this boot"


def test_one_that_is_not_due_is_not_made(box):
    make(box)
    assert backup.make(box.settings, elsewhere=here, only_if_due=True) is None
    assert numbers(box) == [1]


def test_a_broken_state_file_hides_no_backup(box):
    make(box)
    backup.state_path(box.settings).write_text("{")
    with pytest.raises(DataError, match="backup make"):
        backup.read_state(box.settings)
    assert make(box).number == 2


def test_the_writer_goes_on_while_the_ledger_is_copied(box):
    """Every append of the writer beside is durable within its bound, and the copy is of one moment."""
    stop = threading.Event()
    kept: list[str] = []
    with LedgerWriter.open(box.settings.paths.ledger, vault=box.vault) as writer:

        def append() -> None:
            while not stop.is_set():
                draft = Draft(kind="passage", version=1, body={"n": len(kept)}, request=f"busy-{len(kept)}")
                kept.append(str(writer.append(draft, 5.0).key))

        thread = threading.Thread(target=append)
        thread.start()
        try:
            for _ in range(3):
                make(box)
        finally:
            stop.set()
            thread.join()
        assert writer.late == 0
    assert kept
    assert numbers(box) == [1, 2, 3]
    with LedgerReader(box.settings.paths.ledger) as reader:
        assert reader.verify().ok
        assert {str(entry.key) for entry in reader.after(None, 10**6)} >= set(kept)


def test_the_state_is_for_the_group_to_read(box):
    make(box)
    path = backup.state_path(box.settings)
    assert path.stat().st_mode & 0o777 == 0o640 & ~_umask()
    assert json.loads(path.read_bytes())["schema"] == "sentinel.backup/1"


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

