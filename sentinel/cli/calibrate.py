"""Calibrate the thermal sensor with a black body or paired clinical readings, and show the last calibration."""

import argparse
import csv
import json
import sys
import time
import uuid
from datetime import date
from pathlib import Path
from typing import Any

from sentinel import clocks
from sentinel.cli import add_nouns, add_verb
from sentinel.control import ask, ask_manual, raise_refused
from sentinel.core.calibration import (
    DUE_DAYS,
    DUE_MOST_DAYS,
    SAMPLES_LEAST,
    Comparison,
    Outcome,
    black_body,
    due_date,
    pairs,
    worked_out,
)
from sentinel.core.errors import DataError, Unavailable, UsageError
from sentinel.i18n import text
from sentinel.settings import Settings, load

PATIENCE_S = 12.0
ANSWER_S = 3.0
EVERY_S = 0.2  # the fastest sensors speak eight times a second
COLUMNS = ("module_celsius", "clinical_celsius")


def add(subparsers: Any) -> None:
    """Add `calibrate thermal` and `calibrate show`."""
    nouns = add_nouns(subparsers, "calibrate", summary="Calibrate the thermal sensor, or show when it was done.")
    thermal = add_verb(
        nouns,
        "thermal",
        run_thermal,
        summary="Find the thermal sensor's offset and, signed by an operator, use it from now on.",
        about="With a black body before the sensor, or with a CSV file of at least 10 pairs of readings, columns\n"
        f"{','.join(COLUMNS)}. Without --confirm nothing is changed. The offset holds at once and is\n"
        "in the ledger with the day when it is due again.",
        example="sentinelctl calibrate thermal --black-body 37.0 --operator 'LI MING' --confirm",
        exits="0 done or previewed, 64 called wrongly, 65 the figures do not allow it, 69 the gate or sensor is away",
    )
    how = thermal.add_mutually_exclusive_group(required=True)
    how.add_argument("--black-body", type=float, metavar="C", help="the temperature of the black body")
    how.add_argument("--pairs", type=Path, metavar="FILE", help="a CSV file of paired readings")
    thermal.add_argument("--seconds", type=float, default=10.0, help="how long to look (default %(default)s)")
    thermal.add_argument("--due-days", type=int, default=DUE_DAYS, help="due again after so many (default %(default)s)")
    thermal.add_argument("--operator", help="who signs for it")
    thermal.add_argument("--confirm", action="store_true", help="use the offset, not only show it")
    add_verb(
        nouns,
        "show",
        run_show,
        summary="Show the last calibration and when it is due again.",
        example="sentinelctl calibrate show --json",
        exits="0 shown, 65 it is overdue, 69 there is none",
    )


def run_thermal(args: argparse.Namespace) -> int:
    """Compare, show what comes of it, and record it when an operator signs."""
    settings = load(args.config)
    _check(args)
    comparison, ambient = _compared(args, settings)
    found = worked_out(comparison)
    _tell(found, ambient, args)
    if found.refused is not None:
        least = SAMPLES_LEAST[comparison.method]
        raise DataError(text(f"cli.calibrate.{found.refused}", args.lang, samples=found.samples, least=least))
    if not args.confirm:
        return 0
    request = {
        "v": 1, "verb": "calibrate", "request": str(uuid.uuid4()), "signed_by": args.operator,
        "method": comparison.method, "samples": found.samples, "offset_celsius": found.offset_celsius,
        "spread_celsius": found.spread_celsius, "residual_celsius": found.residual_celsius,
        "reference_celsius": args.black_body, "ambient_celsius": ambient,
        "due": due_date(clocks.today(), args.due_days).isoformat(),
    }  # fmt: skip
    answer = raise_refused(ask_manual(settings.paths.manual_socket, args.config, request, PATIENCE_S))
    if not args.quiet and not args.json:
        print(text("cli.calibrate.kept", args.lang, entry=answer.get("key") or "-", due=request["due"]))
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.confirm and not (args.operator or "").strip():
        raise UsageError("a calibration is signed; name who does it with --operator")
    if not 1 <= args.due_days <= DUE_MOST_DAYS:
        raise UsageError(f"--due-days is 1 to {DUE_MOST_DAYS}")
    if args.black_body is not None and not 30.0 <= args.black_body <= 42.0:
        raise UsageError("--black-body is the temperature of a body like skin, 30 to 42 °C")
    if not 4.0 <= args.seconds <= 120.0:
        raise UsageError("--seconds is 4 to 120")


def _compared(args: argparse.Namespace, settings: Settings) -> tuple[Comparison, float | None]:
    if args.pairs is not None:
        return pairs(_rows(args.pairs)), None
    measured, ambient = _looked(settings, args)
    return black_body(measured, args.black_body), ambient


def _rows(path: Path) -> list[tuple[float, float]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                raise DataError(f"{path}: expected the columns {','.join(COLUMNS)} in the first line")
            return [_pair(row, f"{path}:{reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); name a CSV file") from error


def _pair(row: dict[str, str], where: str) -> tuple[float, float]:
    try:
        module, clinical = (float(row[name]) for name in COLUMNS)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: not two numbers; write for example 35.4,36.6") from error
    if not (25.0 <= module <= 45.0 and 34.0 <= clinical <= 43.0):
        raise DataError(f"{where}: {module}, {clinical} is no reading of a living person; strike this line")
    return module, clinical


def _looked(settings: Settings, args: argparse.Namespace) -> tuple[list[float], float | None]:
    """Ask the gate for its newest raw figure until the time is over; each figure counts once."""
    figures: dict[float, float] = {}
    ambient = None
    until = time.monotonic() + args.seconds
    while time.monotonic() < until:
        answer = raise_refused(ask(settings.paths.control_socket, {"v": 1, "verb": "thermal"}, ANSWER_S))
        figures[answer["at_mono"]] = answer["raw_celsius"]
        ambient = answer["ambient_celsius"]
        if not (args.quiet or args.json):
            left_s = max(0.0, until - time.monotonic())
            print(f"\r{len(figures)}  {answer['raw_celsius']:.2f} °C  {left_s:.0f} s ", end="", file=sys.stderr)
        time.sleep(EVERY_S)
    if not (args.quiet or args.json):
        print(file=sys.stderr)
    return list(figures.values()), ambient


def _tell(found: Outcome, ambient: float | None, args: argparse.Namespace) -> None:
    if args.json:
        document = {
            "schema": "sentinel.calibration/1", "offset_celsius": found.offset_celsius, "samples": found.samples,
            "spread_celsius": found.spread_celsius, "residual_celsius": found.residual_celsius,
            "ambient_celsius": ambient, "refused": found.refused, "within_permissible": found.within_permissible,
            "confirmed": bool(args.confirm and found.refused is None),
        }  # fmt: skip
        print(json.dumps(document, ensure_ascii=False))
    elif not args.quiet and found.refused is None:
        figures = {
            "offset": f"{found.offset_celsius:+.2f}", "spread": f"{found.spread_celsius:.2f}",
            "residual": f"{found.residual_celsius:.2f}", "samples": found.samples,
        }  # fmt: skip
        print(text("cli.calibrate.found", args.lang, **figures))
        if not found.within_permissible:
            print(text("cli.calibrate.doubtful", args.lang))
        if not args.confirm:
            print(text("cli.calibrate.preview", args.lang))


def run_show(args: argparse.Namespace) -> int:
    """Print the last calibration."""
    from sync.ledger import LedgerReader

    with LedgerReader(load(args.config).paths.ledger) as reader:
        newest = reader.newest(1, "calibration")
    if not newest:
        raise Unavailable(text("cli.calibrate.none", args.lang))
    body = newest[0].data
    overdue = clocks.today() > date.fromisoformat(body["due"])
    if args.json:
        shown = {"schema": "sentinel.calibration/1", "key": str(newest[0].key), **body, "overdue": overdue}
        print(json.dumps(shown, ensure_ascii=False))
    elif not args.quiet:
        key = "cli.calibrate.overdue" if overdue else "cli.calibrate.last"
        print(text(key, args.lang, entry=newest[0].key, offset=f"{body['offset_celsius']:+.2f}",
                   method=text(f"cli.calibrate.method.{body['method']}", args.lang), samples=body["samples"],
                   operator=body["signed_by"], due=body["due"]))  # fmt: skip
    return DataError.exit_code if overdue else 0


