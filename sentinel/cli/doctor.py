"""Examine a gate: one line for everything that must hold, and the next thing to try where it does not."""

import argparse
import json
import sys
from typing import Any

from sentinel.cli import add_verb, render
from sentinel.cli.show import EXIT_OF_VERDICT
from sentinel.condition import Finding, verdict_of
from sentinel.core.errors import ConfigError
from sentinel.i18n import has_text, text
from sentinel.phrases import local, span
from sentinel.settings import load

_SCHEMA = "sentinel.doctor/1"


def add(subparsers: Any) -> None:
    """Add `doctor`."""
    add_verb(
        subparsers,
        "doctor",
        run_doctor,
        summary="Examine everything that must hold, one line each, with the next thing to try.",
        about="Works when the gate is dead or half of its files are gone. The whole chain is for: check ledger.",
        example="sentinelctl doctor --lang zh",
        exits="0 all well, 1 warning, 2 critical, 3 gate not running or something could not be looked at,\n"
        "  78 the settings are wrong, and nothing else can be looked at",
    )


def run_doctor(args: argparse.Namespace) -> int:
    """Print the lines and return the exit code of the worst."""
    from sentinel.doctor import Found, Here, Line, examine

    try:
        settings = load(args.config)
    except ConfigError as error:
        found = Found(level="critical", code="wrong", values={"problem": str(error).splitlines()[0]})
        _tell([Line(name="settings", found=found)], args)
        return error.exit_code
    lines = [Line(name="settings", found=Found(level="ok", code="ok")), *examine(Here(settings))]
    _tell(lines, args)
    worst = verdict_of([Finding(id=line.name, severity=line.found.level) for line in lines])
    return EXIT_OF_VERDICT[worst]


def _tell(lines: Any, args: argparse.Namespace) -> None:
    if args.json:
        looks = [{"name": line.name, "level": line.found.level, "code": line.found.code, **line.found.values}
                 for line in lines]  # fmt: skip
        print(json.dumps({"schema": _SCHEMA, "looks": looks}, ensure_ascii=False))
    elif not args.quiet:
        style = render.terminal_style(sys.stdout, plain=args.plain)
        printed = [said for line in lines for said in _said(line, args.lang, style)]
        print("\n".join(render.ascii_only(one) if style.plain else one for one in printed))


def _said(line: Any, lang: str, style: render.Style) -> list[str]:
    found = line.found
    values = dict(found.values)
    if "age_s" in values:
        values |= {"age": span(values["age_s"], lang)}
        values |= {"when": local(values["proven_utc_s"] * 10**9).strftime("%Y-%m-%d %H:%M")}
    key = "failed-look" if found.code == "failed-look" else f"{line.name}.{found.code}"
    title = render.pad(text(f"doctor.title.{line.name}", lang), 14)
    words = render.printable(text(f"doctor.{key}", lang, **values))
    said = [f"{style.mark(found.level)} {title}{words}"]
    if found.level != "ok" and has_text(f"doctor.next.{key}"):
        said.append(f"  {render.pad('', 14)}{style.arrow} {text(f'doctor.next.{key}', lang, **values)}")
    return said
