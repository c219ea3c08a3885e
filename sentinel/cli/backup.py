"""Make backups, look at them, prove them with the recovery key, and put one back."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sentinel.cli import add_nouns, add_verb, render
from sentinel.core.errors import DataError, Unavailable, UsageError
from sentinel.i18n import text
from sentinel.phrases import local, span
from sentinel.settings import load

_SCHEMA = "sentinel.backup/1"


def add(subparsers: Any) -> None:
    """Add `backup key`, `make`, `list`, `verify` and `restore`."""
    nouns = add_nouns(subparsers, "backup", summary="Make, prove and restore encrypted backups: key, make, list.")
    key = add_verb(
        nouns,
        "key",
        run_key,
        summary="Make the recovery key that opens this gate's backups; keep it somewhere else.",
        about="Without FILE it is shown once and kept nowhere. The gate keeps its public half only: it can make\n"
        "backups and open none. Whoever has the key and a backup has everything; whoever lost it has nothing.",
        example="sentinelctl backup key /media/office/east-3.key",
        exits="0 made, 64 the file is there already, 65 there is a key and --replace was not given",
    )
    key.add_argument("file", type=Path, nargs="?", metavar="FILE", help="write it here instead of showing it")
    key.add_argument("--replace", action="store_true", help="make another; older backups open with the older key")
    make = add_verb(
        nouns,
        "make",
        run_make,
        summary="Make a backup in the second place, prove it by a test restore, destroy the oldest.",
        about="The timer sentinel-backup.timer runs it each hour with --if-due; it works with the gate dead.",
        example="sudo -u sentinel sentinelctl backup make",
        exits="0 made and proved, or not due, 65 what was made proved nothing, 69 the second place is away or full",
    )
    make.add_argument("--if-due", action="store_true", help="only when [backup] interval_hours are over")
    add_verb(
        nouns,
        "list",
        run_list,
        summary="List the backups in the second place, and what is known of the newest.",
        example="sentinelctl backup list",
        exits="0 listed, 69 the second place is away",
    )
    _add_readers(nouns)


def _add_readers(nouns: Any) -> None:
    verify = add_verb(
        nouns,
        "verify",
        run_verify,
        summary="Prove a backup with the recovery key, as a restore would, and change nothing.",
        about="The one test that shows that the key is still to hand: do it when a stick is exchanged.",
        example="sudo -u sentinel sentinelctl backup verify /media/backup/330106-cuiyuan3-east-3-000042.sentinel \\\n"
        "    --key-file east-3.key",
        exits="0 whole, 65 damaged, or another key",
    )
    restore = add_verb(
        nouns,
        "restore",
        run_restore,
        summary="Put a backup in the place of what is here, which is set aside and not deleted.",
        about="The gate must be stopped. The ledger goes on in a new epoch: no key of an entry is given twice.",
        example="sudo systemctl stop sentinel-gate\n"
        "  sudo -u sentinel sentinelctl backup restore BACKUP --key-file east-3.key",
        exits="0 restored, 64 not agreed to, 65 damaged, or another key; nothing was changed, 69 the gate is running",
    )
    restore.add_argument("--yes", action="store_true", help="do not ask")
    for parser in (verify, restore):
        parser.add_argument("backup", type=Path, metavar="BACKUP")
        parser.add_argument("--key-file", type=Path, metavar="FILE", help="the recovery key (asked for otherwise)")


def run_key(args: argparse.Namespace) -> int:
    """Make the key, show it or write it, and keep its public half."""
    from sentinel import backup
    from sync.disk import write_whole
    from sync.sealed import key_id, public_of

    if args.file is not None and args.file.exists():
        raise UsageError(f"{args.file} is there already; give another name")
    key = backup.make_key(load(args.config), replace_known=args.replace)
    name = key_id(public_of(key))
    if args.file is not None:
        try:
            write_whole(args.file, f"{_grouped(key)}\n".encode())
        except OSError as error:
            raise DataError(f"{args.file}: {error.strerror}; nobody has this key: again with --replace") from error
    shown = None if args.file is not None else _grouped(key)
    if args.json:
        print(json.dumps({"schema": "sentinel.recovery-key/1", "id": name, "key": shown}))
        return 0
    if shown:
        print(shown)
    print(text("backup.key", args.lang, name=name), file=sys.stderr)
    return 0


def run_make(args: argparse.Namespace) -> int:
    """Make one, unless it is not due or not wanted."""
    from sentinel import backup

    settings = load(args.config)
    if args.if_due and settings.backup.folder is None:
        return 0
    if not args.quiet and not args.json and not args.if_due:
        print(text("backup.making", args.lang), file=sys.stderr)
    state = backup.make(settings, only_if_due=args.if_due)
    if args.json:
        print(json.dumps({"schema": _SCHEMA, "made": state is not None, **(asdict(state) if state else {})}))
    elif state is not None and not args.quiet:
        print(text("backup.made", args.lang, name=state.name, entries=state.entries, size=_size(state.archive_bytes),
                   took=span(state.took_s, args.lang)))  # fmt: skip
    return 0


def run_list(args: argparse.Namespace) -> int:
    """Print one line for each backup that is there."""
    from sentinel import backup

    settings = load(args.config)
    state = backup.read_state(settings)
    try:
        archives = backup.archives_in(backup.place_of(settings), settings)
    except OSError as error:
        raise Unavailable(f"the second place cannot be read ({error}); plug the medium in again") from error
    rows = [(archive.path, archive.size, *_told(archive.path)) for archive in archives]
    if args.json:
        listed = [{"path": str(path), "bytes": size, "made_utc_s": made, "recovery_key": key}
                  for path, size, made, key in rows]  # fmt: skip
        print(json.dumps({"schema": _SCHEMA, "backups": listed, "state": asdict(state)}, ensure_ascii=False))
    elif not args.quiet:
        cells = [(path.name, _size(size), _when(made), key) for path, size, made, key in rows]
        print("\n".join(render.table(cells)) or text("backup.none", args.lang))
        if state.number:
            print(text("backup.proven", args.lang, name=state.name, when=_when(state.proven_utc_s)))
        if state.problem:
            print(state.problem, file=sys.stderr)
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Unpack a backup into a work folder, prove it, and throw it away."""
    from sentinel import backup
    from sync.sealed import key_of, read_head

    settings = load(args.config)
    backup.require_owner(settings)
    key = _key(args)
    with _read(args.backup), args.backup.open("rb") as file:
        opens = key_of(read_head(file), key)
    with _read(args.backup), backup.work_folder(settings) as work:
        manifest, _ = backup.open_archive(args.backup, opens, work)
    _say_manifest(manifest, args)
    return 0


def run_restore(args: argparse.Namespace) -> int:
    """Hold the barrier, show what would come back, and with a yes exchange it."""
    from drivers.errors import BarrierBusy
    from drivers.lock import BarrierLock
    from sentinel import backup, restoring

    settings = load(args.config)
    backup.require_owner(settings)  # before the lock: one that another user made would keep the gate out
    key = _key(args)
    lock = BarrierLock(settings.paths.barrier_lock)
    try:
        lock.acquire()
    except BarrierBusy as busy:
        raise Unavailable(f"{busy}: sudo systemctl stop sentinel-gate") from busy
    with _read(args.backup):
        try:
            done = restoring.restore(settings, args.backup, key, agreed=lambda seen: _agreed(seen, args))
        finally:
            lock.release()
    if done is None:
        raise UsageError("nothing was restored; answer yes, or use --yes")
    if args.json:
        newer = {"newer_at_street": done.newer_at_street, "newer_here": done.newer_here}
        print(json.dumps({"schema": "sentinel.restore/1", **asdict(done.manifest), "aside": str(done.aside), **newer}))
    elif not args.quiet:
        print(text("backup.restored", args.lang, entries=done.manifest.entries, aside=done.aside))
        print(text("backup.restored.next", args.lang, when=_when(done.manifest.made_utc_s)))
    return 0


def _agreed(seen: Any, args: argparse.Namespace) -> bool:
    if args.yes:
        return True
    manifest = seen.manifest
    values = {"gate": manifest.gate, "when": _when(manifest.made_utc_s), "entries": manifest.entries,
              "people": manifest.people, "street": seen.newer_at_street, "here": seen.newer_here}  # fmt: skip
    print(text("backup.restore.preview", args.lang, **values), file=sys.stderr)
    print(text("backup.restore.sure", args.lang), file=sys.stderr, end=" ", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say_manifest(manifest: Any, args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps({"schema": "sentinel.backup-proof/1", "whole": True, **asdict(manifest)}))
    elif not args.quiet:
        print(text("backup.whole", args.lang, gate=manifest.gate, when=_when(manifest.made_utc_s),
                   entries=manifest.entries, people=manifest.people, keys=manifest.keys))  # fmt: skip


def _key(args: argparse.Namespace) -> bytes:
    if args.key_file is not None:
        try:
            said = args.key_file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{args.key_file} is no recovery key ({error}); give what `backup key` made") from error
    elif sys.stdin.isatty():
        import getpass

        said = getpass.getpass(text("backup.key.ask", args.lang) + " ")
    else:
        raise UsageError("a backup needs --key-file where nobody can be asked")
    try:
        return bytes.fromhex("".join(said.replace("-", "").split()))
    except ValueError:
        raise UsageError("a recovery key is 64 hexadecimal digits; look whether one was missed") from None


@contextmanager
def _read(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{path} cannot be read ({error.strerror or error}); plug the medium in again") from error


def _told(path: Path) -> tuple[int, str]:
    from sync.errors import SyncError
    from sync.sealed import read_head

    try:
        with path.open("rb") as file:
            head = read_head(file)
        return int(head.told["made_utc_s"]), head.recipient
    except (OSError, SyncError, KeyError, TypeError, ValueError):
        return 0, "?"


def _grouped(key: bytes) -> str:
    digits = key.hex()
    return " ".join(digits[at : at + 8] for at in range(0, len(digits), 8))


def _when(utc_s: int) -> str:
    return local(utc_s * 10**9).strftime("%Y-%m-%d %H:%M") if utc_s else "?"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
