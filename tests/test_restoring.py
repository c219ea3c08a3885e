"""A restore brings back a gate whole, sets aside what was there, and never gives a key of an entry twice."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from backup_sample import NAME, NUMBER, Box, here, in_memory
from mortal_fork import dies, steps_of

from sentinel import backup, manual, restoring, roster
from sentinel.core.errors import DataError, Unavailable
from sync.cursor import Cursor
from sync.entry import Entry, epoch_counter
from sync.errors import SyncError, VaultError
from sync.ledger import LedgerReader, LedgerWriter
from sync.runs import Run
from sync.sealed import key_of, new_recovery_key, read_head
from sync.spool import import_spool
from sync.store import Store
from sync.topics import Gate
from sync.vault import Vault
from sync.wire import Arrival, Batch

GATE = Gate(street="330106", site="cuiyuan3", gate="east-3")
KILLS = 10  # of each campaign, at other steps for each seed


@pytest.fixture
def box() -> Iterator[Box]:
    with in_memory() as folder:
        box = Box(folder / "old")
        backup.make(box.settings, elsewhere=here)
        yield box


def restore(box: Box, from_box: Box | None = None, **more) -> restoring.Restored | None:
    source = from_box or box
    return restoring.restore(box.settings, source.archive(1), source.recovery, **more)


def entries_of(box: Box) -> list[Entry]:
    with LedgerReader(box.settings.paths.ledger) as reader:
        return reader.after(None, 10**6)


def test_a_new_box_has_everything_the_dead_one_had(box, tmp_path):
    new = Box(tmp_path / "new", box.place, fresh=True)
    before = box.keys()
    done = restore(new, box)
    assert done.newer_at_street == done.newer_here == 0
    after = new.keys()
    assert {key: after[key] for key in before} == before
    vault = Vault.open(new.settings.paths.secrets_dir)
    [member] = roster.load_all(new.settings.paths.roster, vault).values()
    assert (member.name, member.number) == (NAME, NUMBER)
    opened = [vault.unseal(one.personal_key, one.personal) for one in entries_of(new) if one.personal]
    assert opened == [{"name": NAME, "number": NUMBER}] * 12
    with LedgerWriter.open(new.settings.paths.ledger, vault=vault) as writer:
        assert import_spool(new.settings.paths.spool, writer).kept == 1
    assert (new.settings.paths.secrets_dir / "issuers" / "east.pub").read_bytes() == b"a public key"
    told = new.settings.paths.state_dir / "restored-settings.toml"
    assert told.read_text() == box.config.read_text(), "beside the settings in force, never over them"


def test_no_key_is_given_twice_whoever_goes_on_writing(box, tmp_path):
    """The old box and its restored image both go on: to the street they are one device without a fork."""
    box.append(5, "old-goes-on")
    box.append(5, "and-on")
    new = Box(tmp_path / "new", box.place, fresh=True)
    common = {str(entry.key) for entry in entries_of(box)}
    restore(new, box)
    new.vault = Vault.open(new.settings.paths.secrets_dir)
    new.append(5, "new")
    box.append(5, "old-goes-on-still")
    old_entries, new_entries = entries_of(box), entries_of(new)
    both = {str(entry.key): entry.hash for entry in old_entries}
    assert all(both.get(str(one.key), one.hash) == one.hash for one in new_entries), "no key with two contents"
    shared = {str(one.key) for one in new_entries} & both.keys()
    assert shared < common
    newest = max(epoch_counter(entry.key.epoch) for entry in old_entries)
    fresh = {epoch_counter(one.key.epoch) for one in new_entries if str(one.key) not in both}
    assert min(fresh) > newest, "a counter beyond all that the old one began since"
    with Store(tmp_path / "street.db") as street:
        for entries in (old_entries, new_entries):
            arrivals = tuple(Arrival(entry=one, historical=False) for one in entries)
            receipt = street.accept(GATE, Batch(id="b", arrivals=arrivals), now_ns=1)
            assert receipt.refused == ()
        [report] = street.report()
    assert report.forks == ()


def test_the_random_half_of_an_epoch_is_new_at_each_restore(box, tmp_path):
    epochs = set()
    for number in range(3):
        new = Box(tmp_path / f"new-{number}", box.place, fresh=True)
        restore(new, box)
        epochs.add(entries_of(new)[-1].key.epoch)
    assert len(epochs) == 3


def test_what_was_there_is_set_aside_under_its_names(box):
    state = box.settings.paths.state_dir
    box.append(3, "since")
    before, device = box.keys(), (box.settings.paths.secrets_dir / "device.key").read_bytes()
    done = restore(box)
    assert done.newer_here == 5  # a start, three passages, a stop
    assert done.aside == state / "before-restore-1"
    with LedgerReader(done.aside / "ledger.db") as reader:
        assert {str(one.key): one.hash for one in reader.after(None, 10**6)} == before
    assert (done.aside / "secrets" / "device.key").read_bytes() == device
    assert restore(box).aside == state / "before-restore-2"


def test_the_spool_of_the_box_comes_home_too(box):
    box.spool("spooled-since")
    restore(box)
    with LedgerWriter.open(box.settings.paths.ledger, vault=box.vault) as writer:
        assert import_spool(box.settings.paths.spool, writer).kept == 3  # one of them twice, and then it is one entry
    requests = [one.request for one in entries_of(box) if one.request and one.request.startswith("spooled")]
    assert sorted(requests) == ["spooled-1", "spooled-since"]


def test_receipts_stay_true_and_every_other_entry_is_sent(box):
    """The cursor of the box knows more than the backup: nothing that is there is claimed wrongly, or forgotten."""
    box.append(4, "since")
    receipted = entries_of(box)
    runs: dict[int, list[Run]] = {}
    for one in receipted:
        runs.setdefault(one.key.epoch, []).append(Run(one.key.seq, one.key.seq))
    with Cursor(box.settings.paths.uplink_db, write=True) as cursor:
        cursor.settle(runs)
    done = restore(box)
    assert done.newer_at_street == 6
    box.append(2, "after")
    known = {one.key for one in receipted}
    with Cursor(box.settings.paths.uplink_db) as cursor, LedgerReader(box.settings.paths.ledger) as reader:
        assert all(cursor.is_receipted(one.key) == (one.key in known) for one in entries_of(box))
        balance = cursor.pending(reader)
    assert balance.holds
    assert balance.pending == sum(one.key not in known for one in entries_of(box)) == 6


def test_a_new_boxs_cursor_claims_nothing(box, tmp_path):
    new = Box(tmp_path / "new", box.place, fresh=True)
    restore(new, box)
    with Cursor(new.settings.paths.uplink_db) as cursor, LedgerReader(new.settings.paths.ledger) as reader:
        balance = cursor.pending(reader)
    assert balance.holds
    assert balance.pending == balance.appended == new.entries()


def test_a_preview_that_is_not_agreed_to_changes_nothing(box):
    before = tree(box.settings.paths.state_dir)
    seen = []
    assert restore(box, agreed=lambda preview: bool(seen.append(preview))) is None
    assert seen[0].manifest.entries == box.entries()
    assert tree(box.settings.paths.state_dir) == before


def test_a_wrong_key_or_a_damaged_archive_changes_nothing(box):
    before = tree(box.settings.paths.state_dir)
    with pytest.raises(VaultError, match="recovery key"):
        restoring.restore(box.settings, box.archive(1), new_recovery_key())
    data = bytearray(box.archive(1).read_bytes())
    for damaged in (data[: len(data) // 2], data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]):
        box.archive(1).write_bytes(bytes(damaged))
        with pytest.raises((SyncError, DataError)):
            restore(box)
    assert tree(box.settings.paths.state_dir) == before


def test_secrets_on_another_disk_are_told_before_anything_moves(box):
    paths = replace(box.settings.paths, secrets_dir=Path("/proc/1"))
    with pytest.raises(Unavailable, match="another disk"):
        restoring.restore(replace(box.settings, paths=paths), box.archive(1), box.recovery)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def some(steps: int, seed: int) -> list[int]:
    """Return which of the steps are tried: spread over all, others for each seed."""
    return list(range(1 + seed, steps + 1, max(1, steps // KILLS)))


@pytest.mark.parametrize("seed", range(3))
def test_a_maker_killed_at_any_step_leaves_whole_backups_only(box, seed):
    def act() -> None:
        backup.make(box.settings, elsewhere=here)

    state, deaths = box.settings.paths.state_dir, 0
    for step in some(steps_of(act), seed):
        before = {archive.number for archive in backup.archives_in(box.place, box.settings)}
        deaths += dies(act, step)
        there = backup.archives_in(box.place, box.settings)
        assert max(before) in {archive.number for archive in there}
        for archive in there:
            box.opened(archive.number)
        backup.read_state(box.settings)
    assert deaths >= KILLS - 2, "the last steps are of rotation, which not every run has"
    act()
    assert not list(box.place.glob("*.part"))
    assert not (state / "backup.work").exists()
    assert len(backup.archives_in(box.place, box.settings)) == box.settings.backup.generations
    assert box.keys()


@pytest.mark.parametrize("seed", range(3))
def test_a_restore_killed_at_any_step_is_done_or_never_began(box, seed):
    box.append(3, "since")
    state = box.settings.paths.state_dir
    saved = state.with_name("saved")
    shutil.copytree(state, saved)
    backed_up = {key: hash_ for key, hash_ in box.keys().items() if key in archived(box)}
    old = box.keys()

    def act() -> None:
        restore(box)

    seen = set()
    for step in some(steps_of(act), seed):
        shutil.rmtree(state)
        shutil.copytree(saved, state)
        assert dies(act, step)
        began = box.settings.paths.restoring.exists() or (state / "before-restore-1").exists()
        restoring.finish(box.settings)
        seen.add(began)
        if not began:
            assert box.keys() == old
            assert not box.settings.paths.restoring.exists()
        else:
            now = box.keys()
            assert {key: hash_ for key, hash_ in now.items() if key in backed_up} == backed_up
            assert len(now) == len(backed_up) + 2
            with LedgerReader(state / "before-restore-1" / "ledger.db") as reader:
                assert reader.count() == len(old), "what was there is set aside whole"
        vault = Vault.open(box.settings.paths.secrets_dir)
        assert all(vault.unseal(one.personal_key, one.personal) for one in entries_of(box) if one.personal)
        assert roster.load_all(box.settings.paths.roster, vault)
    assert seen == {False, True}


def archived(box: Box) -> set[str]:
    """Return the keys in the first backup."""
    with backup.work_folder(box.settings) as work:
        with box.archive(1).open("rb") as file:
            key = key_of(read_head(file), box.recovery)
        backup.open_archive(box.archive(1), key, work)
        with LedgerReader(work / "ledger.db") as reader:
            return {str(one.key) for one in reader.after(None, 10**6)}



def test_whoever_holds_the_barrier_next_ends_a_restore(box):
    """The one-shot that opens for staff with everything dead finds a restore half done: it ends it, then opens."""
    assert dies(lambda: restore(box), "/state/ledger.db"), "between setting the old one aside and moving the new one in"
    assert box.settings.paths.restoring.exists()
    assert not box.settings.paths.ledger.exists()
    manual._end_restore(box.settings)
    assert not box.settings.paths.restoring.exists()
    assert box.keys()
