"""A power cut at any step of a restore: it is done, or it never began, and what was there is whole somewhere."""

import random
import shutil

import pytest
from backup_sample import Box, here
from mortal_fork import dies
from powercut import disk_in

from sentinel import backup, restoring
from sync.ledger import LedgerReader
from sync.vault import Vault

CUTS = 4
STEPS = 174  # of a restore, and a few more in which it lives


@pytest.mark.parametrize("seed", [20261126])
def test_a_power_cut_anywhere_in_a_restore_is_survived(tmp_path, seed):
    chance = random.Random(seed)
    with disk_in(tmp_path) as disk:
        made = Box(tmp_path / "made", tmp_path / "stick")  # the small disk has no room to make it there
        backup.make(made.settings, elsewhere=here)
        box = Box(disk.place, tmp_path / "stick", fresh=True)
        box.recovery = made.recovery
        shutil.rmtree(box.settings.paths.state_dir)
        shutil.copytree(made.settings.paths.state_dir, box.settings.paths.state_dir)
        box.vault = Vault.open(box.settings.paths.secrets_dir)
        backed_up = set(box.keys())
        box.append(3, "since")
        old = box.keys()
        state, saved = box.settings.paths.state_dir, tmp_path / "saved"
        shutil.copytree(state, saved)
        for _cut in range(CUTS):
            shutil.rmtree(state)
            shutil.copytree(saved, state)
            disk.sync()
            dies(lambda: restoring.restore(box.settings, box.archive(1), box.recovery), chance.randint(1, STEPS))
            disk.cut()
            restoring.finish(box.settings)
            now = box.keys()
            if (state / "before-restore-1").exists():
                assert backed_up < now.keys()
                with LedgerReader(state / "before-restore-1" / "ledger.db") as reader:
                    assert reader.count() == len(old)
            else:
                assert now == old
            vault = Vault.open(box.settings.paths.secrets_dir)
            with LedgerReader(box.settings.paths.ledger) as reader:
                assert all(vault.unseal(one.personal_key, one.personal) for one in reader.newest(100) if one.personal)
