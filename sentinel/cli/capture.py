"""Record what a device says, with the people taken out of it, for the maker of a codec and for a golden file."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from sentinel.cli import add_verb
from sentinel.core.errors import UsageError
from sentinel.i18n import text
from sentinel.settings import load

DEVICES = ("card", "thermal", "scanner", "distance", "presence")
MOST_SECONDS = 600.0


def add(subparsers: Any) -> None:
    """Add `capture`."""
    capture = add_verb(
        subparsers,
        "capture",
        run_capture,
        summary="Record a device's bytes into a file, with personal data replaced before anything is written.",
        about="Cards become the published specimens without photograph, codes become x of the same length.\n"
        "Stop the gate first: a port has one owner. Name the file device-firmware-what.bin, as in tests/golden.",
        example="sentinelctl capture card --to idcard-sdt-fw3-resident.bin --seconds 30",
        exits="0 recorded, 64 called wrongly, 69 the port is not free or nothing of that kind came, 78 wrong settings",
    )
    capture.add_argument("device", choices=DEVICES)
    capture.add_argument("--port", metavar="URL", help="its address (default: by the settings)")
    capture.add_argument("--kind", help="its kind (default: by the settings)")
    capture.add_argument("--to", type=Path, required=True, metavar="FILE", help="a new file")
    capture.add_argument("--seconds", type=float, default=30.0, help="how long (default %(default)s)")


def run_capture(args: argparse.Namespace) -> int:
    """Record, write the file, and say what is in it."""
    from drivers.recording import record

    if not 0 < args.seconds <= MOST_SECONDS:
        raise UsageError(f"--seconds is more than 0 and at most {MOST_SECONDS:g}")
    if args.to.exists():
        raise UsageError(f"{args.to} is there already; name a new file")
    port, kind = _which(args)
    if not args.quiet:
        print(text(f"capture.{args.device}", args.lang, seconds=f"{args.seconds:g}"), file=sys.stderr)
    recording = record(port, kind, args.seconds)
    try:
        with args.to.open("xb") as file:
            file.write(recording.content)
    except OSError as error:
        raise UsageError(f"{args.to}: {error.strerror}; name a file in a folder that you may write to") from error
    said = {
        "file": str(args.to), "kind": kind, "bytes": len(recording.content), "readings": recording.readings,
        "junk_bytes": recording.junk_bytes,
    }  # fmt: skip
    if args.json:
        print(json.dumps({"schema": "sentinel.capture/1", **said}, ensure_ascii=False))
    elif not args.quiet:
        print(text("capture.done", args.lang, **said))
    return 0


def _which(args: argparse.Namespace) -> tuple[str, str]:
    """Return port and kind, by the command line or else by the settings."""
    from drivers.probe import SETTINGS_TABLES

    port, kind = args.port, args.kind
    if port is None or kind is None:
        chosen = getattr(load(args.config), args.device)
        port, kind = port or chosen.port, kind or chosen.kind
    if SETTINGS_TABLES.get(kind) != args.device:
        known = ", ".join(name for name, table in SETTINGS_TABLES.items() if table == args.device)
        raise UsageError(f"a {args.device} of kind {kind!r} says no bytes that could be recorded; --kind is {known}")
    return port, kind
