"""Make backups in a second place, prove each, keep so many, and destroy those that hold keys that are destroyed.

A process of its own (`sentinelctl backup make`, by sentinel-backup.timer): it works when the gate is dead, reads the
ledger and never writes it. What it knows is in `backup.json`, which status and doctor read. Names in the second place:

    STREET-SITE-GATE-000042.sentinel        whole, and proved by a restore before it got this name
    STREET-SITE-GATE-000042.sentinel.part   being written, or being destroyed; what a dead maker left goes at the next
"""

import fcntl
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO

from sentinel import __version__, backup_archive
from sentinel.backup_archive import Manifest
from sentinel.core.errors import DataError, NotPermitted, Unavailable
from sentinel.settings import Settings
from sync.disk import sync_folder, write_whole
from sync.entry import Stamp, canonical
from sync.errors import SyncError
from sync.sealed import KEY_BYTES, new_recovery_key, public_of
from sync.stamp import now_stamp

log = logging.getLogger(__name__)

SCHEMA = "sentinel.backup/1"
ENDING, PART = ".sentinel", ".part"
STALE_AFTER = 2.0  # intervals: one may fail, for the stick was just being exchanged
_SPARE_BYTES = 64 << 20  # beside a copy of the ledger: eight ballasts, so that no gate feels it
_HEAD_BYTES = 64 * 1024  # where the key of an archive stands: overwritten first, then its name goes
_HOUR_NS = 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of the backups: the newest, when it was proved, what went wrong since."""

    number: int = 0
    name: str = ""
    made_utc_s: int = 0
    proven_utc_s: int = 0
    clock_trusted: bool = False
    boot_id: str = ""
    boot_ns: int = 0
    entries: int = 0
    archive_bytes: int = 0
    took_s: float = 0.0
    problem: str = ""  # why the last try failed; "" after one that did not
    tried_utc_s: int = 0
    forget_upto: int = 0  # archives up to this number may hold keys that are destroyed: they must go
    forgotten_upto: int = 0  # and up to this one they went, in the place that was there

    @property
    def must_forget(self) -> bool:
        """Whether archives with destroyed keys are still there."""
        return self.forget_upto > self.forgotten_upto


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A whole backup in the second place."""

    number: int
    path: Path
    size: int


def state_path(settings: Settings) -> Path:
    """Return where the state of the backups stands."""
    return settings.paths.state_dir / "backup.json"


def read_state(settings: Settings) -> State:
    """Return what is known; nothing, when no backup was ever tried.

    Raises: DataError when the file cannot be read.
    """
    path = state_path(settings)
    try:
        said = json.loads(path.read_bytes())
        return State(**{one.name: said[one.name] for one in fields(State) if one.name in said})
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}); the next: sentinelctl backup make writes it anew") from error


def is_elsewhere(folder: Path, state_dir: Path) -> bool:
    """Tell whether a folder lies on a medium of its own: that of an unplugged stick lies on the box's own disk.

    By the device, not by the mount point: systemd mounts the folders that a unit may write over themselves.
    """
    return folder.stat().st_dev not in (Path("/").stat().st_dev, state_dir.stat().st_dev)


def place_of(settings: Settings, elsewhere: Callable[[Path, Path], bool] = is_elsewhere) -> Path:
    """Return the folder of the second place, which is there.

    Raises: Unavailable when it is not.
    """
    folder = settings.backup.folder
    if folder is None:
        raise Unavailable(f'{settings.source}: no backup is wanted; set e.g. [backup] folder = "/media/backup"')
    if not folder.is_dir() or not elsewhere(folder, settings.paths.state_dir):
        raise Unavailable(f"the second place {folder} is away; plug the medium in, or mount the share")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Unavailable(f"the second place {folder} cannot be written; check its owner, and whether it is read-only")
    return folder


def archives_in(folder: Path, settings: Settings) -> list[Archive]:
    """Return this gate's backups in a folder, the oldest first; other gates may use the same one.

    Raises: OSError.
    """
    named = re.compile(re.escape(_prefix(settings)) + r"(\d{6,12})" + re.escape(ENDING))
    found = [(named.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted(
        (Archive(number=int(name[1]), path=path, size=path.stat().st_size) for name, path in found if name),
        key=lambda archive: archive.number,
    )


def is_due(settings: Settings, state: State, now: Stamp) -> bool:
    """Tell whether it is time: within one boot by the clock that never jumps, else by a wall clock that is trusted."""
    every_ns = settings.backup.interval_hours * _HOUR_NS
    if state.must_forget or not state.number:
        return True
    if state.boot_id == now.boot_id:
        return now.boot_ns - state.boot_ns >= every_ns
    if now.clock_trusted and state.clock_trusted:
        return now.wall_ns - state.made_utc_s * 1_000_000_000 >= every_ns or now.wall_ns < state.made_utc_s * 10**9
    return True  # nobody knows: once in this boot


def make_key(settings: Settings, *, replace_known: bool = False) -> bytes:
    """Return a new recovery key; only its public half stays here, in the secrets.

    Raises: DataError when there is one and it shall not be replaced, or it cannot be written.
    """
    require_owner(settings)
    path = _public_path(settings)
    if path.exists() and not replace_known:
        raise DataError(f"{path} is there: backups are sealed to its other half; with --replace new ones to another")
    key = new_recovery_key()
    try:
        write_whole(path, public_of(key), 0o640)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error}); check its folder") from error
    return key


def make(
    settings: Settings,
    *,
    elsewhere: Callable[[Path, Path], bool] = is_elsewhere,
    stamp: Callable[[], Stamp] = now_stamp,
    only_if_due: bool = False,
) -> State | None:
    """Make a backup, prove it, give it its name, and let the oldest go; None when it is not due.

    Raises: Unavailable when the second place is away, DataError or SyncError when what was written proves nothing: then
    every older backup is as it was, and the state says why.
    """
    require_owner(settings)
    with _alone(settings):
        state = _known(settings)
        if only_if_due and not is_due(settings, state, stamp()):
            return None
        try:
            folder = place_of(settings, elsewhere)
            made = _make(settings, state, folder, stamp)
            _keep(settings, made)
        except (OSError, SyncError, DataError, Unavailable) as error:
            _keep(settings, replace(state, problem=str(error), tried_utc_s=stamp().wall_ns // 10**9))
            if isinstance(error, OSError):
                raise Unavailable(f"no backup was made: {error}; check the second place and its room") from error
            raise
        return _let_go(settings, made, folder)


def forget_before(
    settings: Settings,
    *,
    elsewhere: Callable[[Path, Path], bool] = is_elsewhere,
    stamp: Callable[[], Stamp] = now_stamp,
) -> State:
    """Destroy every backup that was made before this call, once a new one is proved: for who has destroyed keys.

    Where none was ever made it does nothing. It is remembered first: where this fails or is killed, each later `make`
    takes it up, and doctor says so until then.
    Raises: what `make` raises.
    """
    require_owner(settings)
    with _alone(settings):
        state = _known(settings)
        last = state.number
        if not last and settings.backup.folder is None:
            return state  # no backup was ever made
        with suppress(OSError, Unavailable):
            last = max([last, *(one.number for one in archives_in(place_of(settings, elsewhere), settings))])
        if last:
            _keep(settings, replace(state, forget_upto=max(last, state.forget_upto)))
    made = make(settings, elsewhere=elsewhere, stamp=stamp)
    assert made is not None
    return made


def destroy(path: Path) -> None:
    """Overwrite the key of an archive, then remove it: what a medium may keep of the rest opens with nothing.

    Its name goes first, so that nobody takes the rest for a backup; killed here, the next maker ends it.
    Raises: OSError.
    """
    if not path.name.endswith(PART):
        path = path.rename(f"{path}{PART}")
        _sync(path.parent)
    with path.open("r+b") as file:
        file.write(bytes(min(_HEAD_BYTES, path.stat().st_size)))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    _sync(path.parent)


def open_archive(path: Path, key: bytes, work: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Unpack an archive into an empty folder and prove it; return what it is, and what is small in it.

    Raises: DataError, SyncError. OSError.
    """
    with path.open("rb") as file:
        _forget_cached(file)
        small = backup_archive.unpack(file, key, work)
    return backup_archive.prove(work, small), small


@contextmanager
def work_folder(settings: Settings) -> Iterator[Path]:
    """Give an empty folder for copies of the ledger, on the gate's own disk, and empty it again."""
    work = settings.paths.state_dir / "backup.work"
    shutil.rmtree(work, ignore_errors=True)  # of one that was killed; it holds nothing that the ledger does not
    work.mkdir(mode=0o700)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _make(settings: Settings, state: State, folder: Path, stamp: Callable[[], Stamp]) -> State:
    public = _public(settings)
    _sweep(settings, folder)
    require_room(settings)
    number = max([state.number, *(one.number for one in archives_in(folder, settings))]) + 1
    final = folder / f"{_prefix(settings)}{number:06}{ENDING}"
    part = Path(f"{final}{PART}")
    began = stamp()
    made_utc_s = began.wall_ns // 10**9
    told = {"gate": _prefix(settings)[:-1], "number": number, "made_utc_s": made_utc_s, "program": __version__}
    try:
        with work_folder(settings) as work:
            with part.open("xb") as file:
                key = backup_archive.write_archive(settings, file, public, told, work)
                file.flush()
                os.fsync(file.fileno())
            manifest, _ = open_archive(part, key, work)
        os.rename(part, final)
        _sync(folder)
    except BaseException:
        with suppress(OSError):
            destroy(part)
        raise
    ended = stamp()
    return replace(
        state, number=number, name=final.name, made_utc_s=made_utc_s, proven_utc_s=ended.wall_ns // 10**9,
        clock_trusted=began.clock_trusted, boot_id=began.boot_id, boot_ns=began.boot_ns, entries=manifest.entries,
        archive_bytes=final.stat().st_size, took_s=round((ended.boot_ns - began.boot_ns) / 1e9, 1),
        problem="", tried_utc_s=ended.wall_ns // 10**9,
    )  # fmt: skip


def _let_go(settings: Settings, state: State, folder: Path) -> State:
    """Destroy what is beyond the generations, and what must be forgotten; a newer one is proved by now."""
    try:
        there = archives_in(folder, settings)
        kept = there[-settings.backup.generations :]
        for archive in there:
            if archive not in kept or archive.number <= state.forget_upto:
                destroy(archive.path)
        state = replace(state, forgotten_upto=state.forget_upto)
    except OSError as error:
        log.warning("an old backup cannot be destroyed: %s; the next run tries again", error)
        state = replace(state, problem=f"an old backup cannot be destroyed: {error}; check the second place")
    _keep(settings, state)
    return state


def _sweep(settings: Settings, folder: Path) -> None:
    for path in folder.glob(f"{_prefix(settings)}*{ENDING}{PART}"):
        destroy(path)


def require_room(settings: Settings, spare_bytes: int = _SPARE_BYTES) -> None:
    """Refuse to copy the ledger where that would leave the gate short of room.

    Raises: Unavailable.
    """
    ledger = settings.paths.ledger
    size = sum(path.stat().st_size for path in (ledger, Path(f"{ledger}-wal"), settings.paths.roster) if path.exists())
    free = shutil.disk_usage(ledger.parent).free
    if free < size + spare_bytes:
        raise Unavailable(f"a backup needs {(size + spare_bytes) >> 20} MB free on the disk of {ledger}, there are "
                          f"{free >> 20}; make room")  # fmt: skip


def _public_path(settings: Settings) -> Path:
    return settings.paths.secrets_dir / "backup.pub"


def _public(settings: Settings) -> bytes:
    path = _public_path(settings)
    try:
        public = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make a key once: sentinelctl backup key") from error
    if len(public) != KEY_BYTES:
        raise DataError(f"{path} is damaged; make another key: sentinelctl backup key --replace")
    return public


def _known(settings: Settings) -> State:
    try:
        return read_state(settings)
    except DataError as error:
        log.error("%s", error)
        return State()


def _keep(settings: Settings, state: State) -> None:
    write_whole(state_path(settings), canonical({"schema": SCHEMA, **asdict(state)}), 0o640)


def require_owner(settings: Settings) -> None:
    """Refuse another user: files of its own beside the ledger would lock the gate out.

    Raises: NotPermitted. Unavailable when there is no state to belong to anybody.
    """
    folder = settings.paths.state_dir
    try:
        owner = folder.stat().st_uid
    except OSError as error:
        raise Unavailable(f"{folder} is not there ({error.strerror}); check [paths] state_dir") from error
    if os.geteuid() != owner:
        raise NotPermitted(f"{folder} belongs to another user; run it as that one: sudo -u sentinel sentinelctl …")


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    with (settings.paths.state_dir / "backup.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prefix(settings: Settings) -> str:
    gate = settings.gate
    return f"{gate.street}-{gate.site}-{gate.gate}-"


def _sync(folder: Path) -> None:
    with suppress(OSError):  # some shares cannot synchronise a folder; a name that is lost is a backup made again
        sync_folder(folder)


def _forget_cached(file: IO[bytes]) -> None:
    """Let the kernel forget what it has of the file: what is read then comes from the medium."""
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
