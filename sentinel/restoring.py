"""Put a backup in the place of what is there, which is set aside and never deleted; whole, or not at all.

    restore.draft/      what was unpacked, and proved; killed here, nothing has happened
    restore.ready/      the same, durable: from its rename on, whoever holds the barrier lock next ends the change
    before-restore-1/   what was there, under the same names; the next restore makes before-restore-2

The ledger that comes back begins an epoch of its own before it has its place. Its counter leaps over all that the box
may have begun since the backup, and its 32 random bits are new: no key of an entry is ever given twice. The street's
receipts (`uplink.db`) stay as they are: each is true whatever the ledger holds. What a new box has not, the street says
again when it gets the same entries again, which it knows by their keys.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel import __version__, backup_archive
from sentinel.backup import open_archive, require_owner
from sentinel.backup_archive import ALIKE, ISSUERS, LEDGER, ROSTER, SECRETS, SETTINGS, SPOOL, Manifest
from sentinel.core.errors import DataError, Unavailable
from sentinel.settings import Settings
from sync import schema
from sync.cursor import Cursor
from sync.disk import sync_folder, write_whole
from sync.entry import canonical, epoch_counter
from sync.errors import SyncError
from sync.ledger import LedgerReader, LedgerWriter
from sync.sealed import key_of, read_head

log = logging.getLogger(__name__)

OWNER = "restore"
COUNTER_LEAP = 1 << 20  # starts: twelve days of a gate that starts anew each second; room for 2,000 restores
_PLAN = "plan.json"
_IMPORTING = f"{SPOOL}.importing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came back, and what is newer than it: at the street by its receipts, and in what was set aside."""

    manifest: Manifest
    aside: Path
    newer_at_street: int
    newer_here: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a restore would bring back, and what is newer than that."""

    manifest: Manifest
    newer_at_street: int
    newer_here: int


def restore(
    settings: Settings, archive: Path, recovery_key: bytes, agreed: Callable[[Preview], bool] = lambda _preview: True
) -> Restored | None:
    """Restore a gate from an archive; None when the preview was not agreed to. Call it only with the barrier lock held.

    Raises: DataError, SyncError when the archive is not whole: nothing has changed then. Unavailable, NotPermitted.
    """
    require_owner(settings)
    state = settings.paths.state_dir
    try:
        finish(settings)
        _require_one_disk(settings)
        draft = state / "restore.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        try:
            return _restore(settings, archive, recovery_key, draft, agreed)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise Unavailable(f"the restore did not end: {error}; make room, then the same command again") from error


def finish(settings: Settings) -> None:
    """End a restore that somebody died over; do nothing when there is none. Call it with the barrier lock held.

    Raises: OSError.
    """
    ready = settings.paths.restoring
    if not ready.exists():
        return
    plan = ready / _PLAN
    if plan.exists():  # it goes last: without it only the empty folder was left
        aside = settings.paths.state_dir / str(json.loads(plan.read_bytes())["aside"])
        aside.mkdir(mode=0o700, exist_ok=True)
        for name, target in _targets(settings, ready):
            _exchange(ready / name, target, aside / name)
        plan.unlink()
    shutil.rmtree(ready)
    sync_folder(settings.paths.state_dir)
    log.warning("a backup was restored; what was there before is in before-restore-*")


def newer(settings: Settings, ledger: Path) -> tuple[int, int, int]:
    """Return how many entries the street holds that this ledger lacks, how many the box, and the highest counter.

    What cannot be read says nothing: both counts are "at least".
    """
    with LedgerReader(ledger) as reader:
        spans = reader.epochs()
    counter = max((epoch_counter(span.epoch) for span in spans), default=0)
    at_street = here = 0
    with suppress(SyncError), Cursor(settings.paths.uplink_db) as cursor:
        at_street, highest = cursor.beyond(spans)
        counter = max(counter, epoch_counter(highest))
    with suppress(SyncError), LedgerReader(settings.paths.ledger) as reader:
        ends = {span.epoch: span.last_seq for span in spans}
        ours = reader.epochs()
        here = sum(max(0, span.last_seq - max(span.first_seq - 1, ends.get(span.epoch, 0))) for span in ours)
        counter = max([counter, *(epoch_counter(span.epoch) for span in ours)])
    return at_street, here, counter


def _restore(
    settings: Settings, archive: Path, recovery_key: bytes, draft: Path, agreed: Callable[[Preview], bool]
) -> Restored | None:
    with archive.open("rb") as file:
        key = key_of(read_head(file), recovery_key)
    manifest, small = open_archive(archive, key, draft)
    at_street, here, counter = newer(settings, draft / LEDGER)
    if not agreed(Preview(manifest=manifest, newer_at_street=at_street, newer_here=here)):
        return None
    _begin_epoch(draft / LEDGER, counter)
    _write_small(settings, draft, small)
    aside = _free(settings.paths.state_dir)
    write_whole(draft / _PLAN, canonical({"aside": aside.name}))
    _make_durable(draft)
    os.rename(draft, settings.paths.restoring)
    sync_folder(settings.paths.state_dir)
    finish(settings)
    return Restored(manifest=manifest, aside=aside, newer_at_street=at_street, newer_here=here)


def _require_one_disk(settings: Settings) -> None:
    """Refuse what cannot be exchanged by renaming: half of it would be left when that is found out."""
    state = settings.paths.state_dir
    for folder in (settings.paths.secrets_dir, settings.passes.issuers_dir or state):
        there = next(one for one in (folder, *folder.parents) if one.exists())
        if there.stat().st_dev != state.stat().st_dev:
            raise Unavailable(f"{folder} is on another disk than {state}; name one on the same disk in the settings")


def _begin_epoch(ledger: Path, counter: int) -> None:
    with closing(schema.connect(ledger, "rw")) as database:
        database.execute("BEGIN IMMEDIATE")
        known = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'epochs'").fetchone()
        leap = max(counter, known[0] if known else 0) + COUNTER_LEAP
        database.execute("DELETE FROM sqlite_sequence WHERE name = 'epochs'")
        database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('epochs', ?)", (leap,))
        database.execute("COMMIT")
    LedgerWriter.open(ledger, vault=None, owner=OWNER, start_body={"version": __version__}).close("restored")
    if Path(f"{ledger}-wal").exists():
        raise DataError(f"{ledger} kept a log; try again")


def _write_small(settings: Settings, draft: Path, small: dict[str, bytes]) -> None:
    """Write the keys and the rest beside the ledger, for their owner alone."""
    (draft / ISSUERS).mkdir(mode=0o700, parents=True)
    importing = Path(f"{settings.paths.spool}.importing")
    # The spool of this box stays where it is; what was spooled twice comes home once, by its request.
    spooled = b"\n".join(filter(None, (small.get(SPOOL), importing.read_bytes() if importing.exists() else b"")))
    named = {name: data for name, data in small.items() if name not in (backup_archive.MANIFEST, SPOOL)}
    for name, data in {**named, _IMPORTING: spooled}.items():
        if data or name not in (_IMPORTING, ALIKE):
            write_whole(draft / name, data)
    with suppress(FileNotFoundError):
        os.chmod(draft / ROSTER, 0o640)
    os.chmod(draft / LEDGER, 0o640)


def _targets(settings: Settings, ready: Path) -> Iterable[tuple[str, Path]]:
    """Yield what stands ready and where it goes; the keys before what they open."""
    paths = settings.paths
    for path in sorted((ready / ISSUERS).glob("*")):
        yield f"{ISSUERS}/{path.name}", (settings.passes.issuers_dir or paths.secrets_dir / "issuers") / path.name
    for path in sorted((ready / SECRETS).glob("*")):
        if path.is_file():
            yield f"{SECRETS}/{path.name}", paths.secrets_dir / path.name
    places: dict[str, Any] = {ROSTER: paths.roster, ALIKE: paths.alike, LEDGER: paths.ledger,
                              _IMPORTING: Path(f"{paths.spool}.importing"),
                              SETTINGS: paths.state_dir / "restored-settings.toml"}  # fmt: skip
    for name, target in places.items():
        if (ready / name).exists():
            yield name, target


def _exchange(fresh: Path, target: Path, aside: Path) -> None:
    """Set aside what is there with its logs, then move the fresh file in. A fresh file still there is not moved yet."""
    aside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while aside.exists():  # killed here, and somebody published another since
        aside = aside.with_name(f"{aside.name}+")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for ending in ("-wal", "-journal", ""):  # the logs first: beside the new file they would be taken for its own
        with suppress(FileNotFoundError):
            _move(Path(f"{target}{ending}"), Path(f"{aside}{ending}"))
    Path(f"{target}-shm").unlink(missing_ok=True)
    _move(fresh, target)


def _move(path: Path, to: Path) -> None:
    os.rename(path, to)
    sync_folder(to.parent)
    sync_folder(path.parent)


def _make_durable(folder: Path) -> None:
    for path in [folder, *sorted(folder.rglob("*"))]:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _free(state: Path) -> Path:
    number = 1
    while (state / f"before-restore-{number}").exists():
        number += 1
    return state / f"before-restore-{number}"
