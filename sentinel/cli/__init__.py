"""Serve `sentinelctl <verb> [noun]`: data to standard output, the story to standard error, documented exit codes.

Each family of verbs is one module of this package with `add(subparsers)`. A family imports what is heavy when its verb
runs, not when its help is shown: `sentinelctl show status` must answer in a blink on a small box.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sentinel.cli import render
from sentinel.core.errors import UsageError, exit_code_of, is_expected
from sentinel.settings import find_config

# family (one module each) → its verbs
FAMILIES = {
    "show": ("show",),
    "records": ("list",),
    "check": ("check",),
    "act": ("register", "open"),
    "models": ("models",),
    "people": ("people",),
    "faces": ("faces",),
    "issue": ("issue",),
    "stick": ("stick",),
    "probe": ("probe",),
    "capture": ("capture",),
    "calibrate": ("calibrate",),
    "drill": ("drill",),
    "retention": ("retention",),
    "vault": ("vault",),
    "backup": ("backup",),
    "doctor": ("doctor",),
}
EXIT_CODES = """exit codes:
  0 ok   1 warning   2 critical   3 gate not running, state unknown   (show status)
  64 called wrongly   65 damaged data   69 not available now   70 fault of ours
  77 not permitted   78 wrong settings"""
_BROKEN_PIPE = 141  # what a shell shows for a program that the reader of its output left (128 + SIGPIPE)


class Parser(argparse.ArgumentParser):
    """A parser whose every verb takes the options common to all, and whose mistakes end with exit code 64."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= {
            "formatter_class": argparse.RawDescriptionHelpFormatter,
            "allow_abbrev": False,  # --per must not start to mean another option when one is added
            "conflict_handler": "resolve",
        }
        super().__init__(*args, **kwargs)
        common = self.add_argument_group("options of every verb")
        # SUPPRESS: an option given before the verb must not be undone by the verb's own default.
        for names, words in _COMMON:
            common.add_argument(*names, default=argparse.SUPPRESS, **words)

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong in one line, and where the help is."""
        raise UsageError(f"{message}; see: {self.prog} --help")


_COMMON: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (("--config",), {"type": Path, "metavar": "FILE", "help": "the gate's settings (or $SENTINEL_CONFIG)"}),
    (("--json",), {"action": "store_true", "help": "print exactly one JSON document"}),
    (("--lang",), {"choices": ("zh", "en"), "help": "language of the output (by $LANG)"}),
    (("--plain",), {"action": "store_true", "help": "no colour and no signs beyond ASCII"}),
    (("-q", "--quiet"), {"action": "store_true", "help": "print nothing, the exit code says it"}),
    (("--debug",), {"action": "store_true", "help": "show where in the program an error arose"}),
)


def add_verb(
    subparsers: Any, name: str, run: Any, *, summary: str, example: str, exits: str = "0 done", about: str = ""
) -> argparse.ArgumentParser:
    """Add one verb or noun with its sentence, its example and its exit codes, and return its parser."""
    description = "\n".join(part for part in (summary, about) if part)
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=summary, description=description, epilog=f"example:\n  {example}\n\nexit codes:\n  {exits}"
    )
    parser.set_defaults(run=run)
    return parser


def add_nouns(subparsers: Any, verb: str, *, summary: str) -> Any:
    """Add a verb that needs a noun, and return where its nouns go."""
    parser = subparsers.add_parser(verb, help=summary, description=summary)
    return parser.add_subparsers(dest="noun", metavar="NOUN", required=True)


def asked_families(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the families whose verbs are among the words, or all: half of the start-up time is theirs."""
    asked = tuple(family for family, verbs in FAMILIES.items() if any(verb in argv for verb in verbs))
    return asked or tuple(FAMILIES)


def build_parser(families: Sequence[str] = tuple(FAMILIES)) -> Parser:
    """Return the command line of these families of verbs."""
    parser = Parser(
        prog="sentinelctl",
        description="Look at a sentinel gate, and act at it by hand.",
        epilog=f"example:\n  sentinelctl show status\n\n{EXIT_CODES}",
    )
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for family in families:
        importlib.import_module(f"sentinel.cli.{family}").add(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = argparse.Namespace(
        config=find_config(),
        json="--json" in argv,  # so that a line that cannot be parsed is answered in JSON too
        lang=render.language(os.environ),
        plain=False,
        quiet=False,
        debug="--debug" in argv,
    )
    try:
        args = build_parser(asked_families(argv)).parse_args(argv, args)
        return int(args.run(args))
    except BrokenPipeError:
        # The reader has gone (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if args.debug:
            raise
        return _failed(error, as_json=args.json)


def _failed(error: Exception, *, as_json: bool) -> int:
    code = exit_code_of(error)
    # Of a surprise only the type: what it holds may be the ID number or the name that it stumbled over.
    surprise = f"a fault of ours, {type(error).__name__}; report it with what --debug shows"
    message = str(error) if is_expected(error) else surprise
    for line in message.splitlines():
        print(f"sentinelctl: {line}", file=sys.stderr)
    if as_json:
        print(json.dumps({"schema": "sentinel.error/1", "error": message, "exit_code": code}, ensure_ascii=False))
    return code
