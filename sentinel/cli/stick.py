"""Carry the backlog to the street office on a stick, and the street's receipts back, where there is no network."""

import argparse
import json
import os
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sentinel.cli import add_nouns, add_verb
from sentinel.core.errors import DataError, UsageError
from sentinel.i18n import text
from sentinel.settings import Settings, load

_NAME = "%Y%m%d-%H%M%S"


def add(subparsers: Any) -> None:
    """Add `stick export`, `stick import`."""
    nouns = add_nouns(subparsers, "stick", summary="Carry the backlog to the street on a stick: export, import.")
    out = add_verb(
        nouns,
        "export",
        run_export,
        summary="Write every entry that the street has not receipted into one encrypted file.",
        about="Only the street whose keys stand in [uplink] street_keys can open it. Nothing is marked as sent:\n"
        "the street's receipts do that. Exporting twice is harmless.",
        example="sentinelctl stick export /media/stick",
        exits="0 written (or nothing waits), 64 called wrongly, 65 the stick cannot be written, 70 no ledger",
    )
    out.add_argument("target", type=Path, metavar="PATH", help="the stick's folder, or the name of a new file on it")
    into = add_verb(
        nouns,
        "import",
        run_import,
        summary="Read the street's receipts from a stick, so that what it holds is marked as delivered.",
        example="sentinelctl stick import /media/stick/330106-cuiyuan3-east-3-20261126-090000.receipts",
        exits="0 handed to the uplink, 64 called wrongly, 65 it is no such file, or not for this gate, or not signed",
    )
    into.add_argument("receipts", type=Path, metavar="FILE")


def run_export(args: argparse.Namespace) -> int:
    """Write the stick and say what is on it and what to do with it."""
    from sync import stick
    from sync.cursor import Cursor
    from sync.identity import make_identity
    from sync.outbox import Limits, Outbox
    from sync.pack import MOST_PLAIN_BYTES
    from sync.reading import LedgerReader
    from sync.wire import utc_text

    settings = load(args.config)
    street, gate = _street(settings), _gate(settings)
    unsendable: list[Any] = []
    with LedgerReader(settings.paths.ledger) as reader, Cursor(settings.paths.uplink_db) as cursor:
        outbox = Outbox(reader, cursor, gate.source)
        waiting = cursor.pending(reader).pending
        limits = Limits(entries=1_000, batch_bytes=MOST_PLAIN_BYTES // 2, packet_bytes=MOST_PLAIN_BYTES)
        if not waiting:
            print(text("stick.nothing", args.lang), file=sys.stderr)
            return 0
        target = _target(args.target, settings)
        batches = _told(stick.backlog_of(outbox, limits, unsendable), waiting, args)
        ours = make_identity(settings.paths.secrets_dir / "gate.key")
        at = utc_text(time.time_ns())
        try:
            written = stick.write_stick(target, gate, batches, street, ours, at=at)
        except OSError as error:
            raise DataError(f"{target} cannot be written: {error.strerror}; look at the stick and its room") from error
    for key, reason in unsendable:
        print(f"sentinelctl: {key}: {reason}", file=sys.stderr)
    told = {"path": str(target), "entries": written.entries, "bytes": written.file_bytes, "signer": written.signer}
    _tell(args, "sentinel.stick/1", {**told, "unsendable": len(unsendable)}, text("stick.written", args.lang, **told))
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Check the receipts and lay them where the uplink takes them; it alone writes what is receipted."""
    from sync import stick
    from sync.disk import write_whole

    settings = load(args.config)
    try:
        receipts = stick.read_receipts(args.receipts, _gate(settings), _street(settings))
        data = args.receipts.read_bytes()
    except OSError as error:
        raise DataError(f"{args.receipts} cannot be read: {error.strerror}; name the file on the stick") from error
    folder = settings.paths.receipts_in
    try:
        folder.mkdir(exist_ok=True)
        path = folder / f"{datetime.now():{_NAME}}-{os.getpid()}.receipts"
        write_whole(path, data, 0o640)
        with suppress(PermissionError):  # as root: the file is for the uplink's user
            os.chown(path, folder.parent.stat().st_uid, folder.parent.stat().st_gid)
            os.chown(folder, folder.parent.stat().st_uid, folder.parent.stat().st_gid)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror}; run this as root") from error
    refused = sum(len(receipt.refused) for receipt in receipts)
    _tell(
        args,
        "sentinel.stick-receipts/1",
        {"path": str(path), "refused": refused},
        text("stick.taken", args.lang, refused=refused),
    )
    return 0


def _tell(args: argparse.Namespace, schema: str, told: dict[str, Any], words: str) -> None:
    if args.json:
        print(json.dumps({"schema": schema, **told}, ensure_ascii=False))
    elif not args.quiet:
        print(words)


def _told(batches: Any, waiting: int, args: argparse.Namespace) -> Any:
    """Pass the batches on, and say twice a second how far it is: a year's backlog takes half a minute."""
    done, told_at = 0, time.monotonic()
    for events in batches:
        yield events
        done += len(events)
        if not args.quiet and time.monotonic() - told_at > 0.5:
            told_at = time.monotonic()
            print(text("stick.progress", args.lang, done=done, waiting=waiting), file=sys.stderr)


def _street(settings: Settings) -> Any:
    from sync.identity import load_believed

    if settings.uplink.street_keys is None:
        raise UsageError(
            f"{settings.source}: [uplink] street_keys is not set; ask the street office for: sentinel-street keys"
        )
    return load_believed(settings.uplink.street_keys)


def _gate(settings: Settings) -> Any:
    from sync.topics import Gate

    here = settings.gate
    return Gate(street=here.street, site=here.site, gate=here.gate)


def _target(target: Path, settings: Settings) -> Path:
    here = settings.gate
    if target.is_dir():
        target = target / f"{here.street}-{here.site}-{here.gate}-{datetime.now():{_NAME}}.stick"
    if target.exists():
        raise UsageError(f"{target} is there already; give another name")
    return target
