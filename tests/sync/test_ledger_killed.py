"""Kill the owner of the ledger anywhere: what it said is durable is there, once, and the chain holds."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from graveyard import Graveyard, scratch

from sync.entry import Key, epoch_counter, parse_key
from sync.ledger import LedgerReader, LedgerWriter
from sync.vault import Vault

MOST_STEPS = 200  # no scene has as many; a scene that does not end is a failure, not a long test
KILLS = 25


@pytest.fixture(scope="module")
def graveyard() -> Iterator[Graveyard]:
    with Graveyard() as ready:
        yield ready


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch() as ready:
        yield ready


def assert_holds(folder: Path, kept: dict[str, Key]) -> None:
    """Check what must hold after any death: read as the survivors do, then as the next owner does."""
    with LedgerReader(folder / "ledger.db") as reader:
        entries = reader.after(None, 100_000)
        report = reader.verify()
    assert report.ok, report.breaks
    by_request = {entry.request: entry.key for entry in entries if entry.request}
    lost = {request: str(key) for request, key in kept.items() if by_request.get(request) != key}
    assert not lost, f"acknowledged and not there: {lost}"
    assert len(by_request) == sum(entry.request is not None for entry in entries), "a request has two entries"


def assert_next_owner_can_write(folder: Path) -> None:
    vault = Vault.open(folder / "secrets", create=True)
    with LedgerWriter.open(folder / "ledger.db", vault=vault) as writer, LedgerReader(folder / "ledger.db") as reader:
        epochs = [span.epoch for span in reader.epochs()]
        assert epochs[-1] == writer.epoch
        assert len({epoch_counter(epoch) for epoch in epochs}) == len(epochs), "an epoch came back"
        for entry in reader.newest(3, kind="passage"):
            assert vault.unseal(entry.personal_key, entry.personal) == {"name": "Somebody"}


def die_everywhere(graveyard: Graveyard, scene: str, folders: Iterator[Path]) -> int:
    """Run a scene again and again, dying one step later each time; return how many steps it has."""
    for step in range(1, MOST_STEPS):
        folder = next(folders)
        lived, words = graveyard.run(scene, folder, die_at=step, request=f"{scene}-{step}")
        kept = {word["kept"]: parse_key(word["key"]) for word in words if "kept" in word}
        if kept:
            assert_holds(folder, kept)
        assert_next_owner_can_write(folder)
        assert_holds(folder, kept)
        if lived:
            assert kept
            return step - 1
    raise AssertionError(f"{scene} has no end")


def test_first_start_may_die_at_any_step(graveyard: Graveyard, folder: Path) -> None:
    steps = die_everywhere(graveyard, "start", (folder / str(number) for number in range(MOST_STEPS)))
    assert steps > 30, "the scene should contain the making of vault and tables"


def test_later_start_may_die_at_any_step(graveyard: Graveyard, folder: Path) -> None:
    assert_next_owner_can_write(folder)
    steps = die_everywhere(graveyard, "start", iter([folder] * MOST_STEPS))
    assert steps > 15, "the scene should contain the epoch, the start and an append"


def test_append_may_die_at_any_step(graveyard: Graveyard, folder: Path) -> None:
    assert_next_owner_can_write(folder)
    steps = die_everywhere(graveyard, "append", iter([folder] * MOST_STEPS))
    assert steps >= 4, "the scene should contain begin, look-up, insert and commit"


def test_killed_at_random_moments_loses_nothing_acknowledged(graveyard: Graveyard, folder: Path) -> None:
    chance = random.Random(20261122)
    kept: dict[str, Key] = {}
    for life in range(KILLS):
        patience, pid = chance.randrange(40), 0
        graveyard.order("stream", folder, request=f"life-{life}")
        for word in graveyard.said():
            pid = word.get("pid", pid)
            if "kept" in word:
                assert word["kept"] not in kept
                kept[word["kept"]] = parse_key(word["key"])
                patience -= 1
            if pid and patience <= 0:
                os.kill(pid, signal.SIGKILL)
                pid = 0
                patience = 1 << 62
        assert_holds(folder, kept)
    assert len(set(kept.values())) == len(kept), "one key was given twice"
    assert_next_owner_can_write(folder)
    with LedgerReader(folder / "ledger.db") as reader:
        assert len(reader.epochs()) == KILLS + 1
