"""Act by hand: register a person, open the barrier; with the gate alive, or with the gate dead."""

import argparse
import json
import sys
import uuid
from collections.abc import Mapping
from typing import Any

from sentinel.byhand import DOCUMENTS, REASONS
from sentinel.cli import add_verb
from sentinel.control import ask_manual, raise_refused
from sentinel.core.errors import UsageError
from sentinel.i18n import text
from sentinel.settings import load

PATIENCE_S = 12.0  # the one-shot itself gives up after 8 s and says why


def add(subparsers: Any) -> None:
    """Add `register` and `open`."""
    register = add_verb(
        subparsers,
        "register",
        run_register,
        summary="Register a person by hand and open the barrier.",
        about="Two lines are read from standard input, or asked for: the ID number and the name. Never from the\n"
        "command line, where every user of the machine could see them. With --document none: the name alone.\n"
        "Works when the gate is dead: then the one-shot opens by itself.",
        example="printf '11010519491231002X\\nLI MING\\n' | sentinelctl register --reason forgot-card --celsius 36.5",
        exits="0 registered, 64 something is wrong or missing, 69 the barrier cannot be had: use the key switch",
    )
    register.add_argument("--reason", choices=REASONS, help="why by hand (default with --after: held)")
    register.add_argument("--document", choices=DOCUMENTS, default="id-card", help="what was shown (default id-card)")
    register.add_argument("--celsius", type=float, metavar="C", help="skin temperature by a hand-held thermometer")
    register.add_argument("--after", metavar="KEY", help="the held passage that this answers")
    register.add_argument("--no-open", action="store_true", help="only register, do not open")
    register.add_argument("--request", help="an id of your own, to repeat a request without doubling it")
    opening = add_verb(
        subparsers,
        "open",
        run_open,
        summary="Open the barrier once by hand, without registering anybody.",
        example="sentinelctl open --reason delivery",
        exits="0 opened, 64 something is wrong or missing, 69 the barrier cannot be had: use the key switch",
    )
    opening.add_argument("--reason", required=True, choices=REASONS, help="why")
    opening.add_argument("--request", help="an id of your own, to repeat a request without doubling it")


def run_register(args: argparse.Namespace) -> int:
    """Send the registration and print what became of it."""
    reason = args.reason or ("held" if args.after else None)
    if reason is None:
        raise UsageError(f"say why by hand: --reason {{{','.join(REASONS)}}}, or --after KEY of a held passage")
    number = "" if args.document == "none" else _asked("ID number", "type it, or use --document none")
    name = _asked("Name", "type it as the second line")
    return _send(
        args,
        {
            "verb": "register",
            "name": name,
            "number": number,
            "document": args.document,
            "reason": reason,
            "skin_celsius": args.celsius,
            "after": args.after,
            "open": not args.no_open,
        },
    )


def run_open(args: argparse.Namespace) -> int:
    """Send the opening and print what became of it."""
    return _send(args, {"verb": "open", "reason": args.reason})


def _asked(what: str, remedy: str) -> str:
    if sys.stdin.isatty():
        print(f"{what}: ", end="", file=sys.stderr, flush=True)
    try:
        answer = sys.stdin.readline().strip()
        answer.encode()  # in the C locale Python lets through, as half characters, what is not UTF-8
    except UnicodeError as error:
        raise UsageError("what stands on standard input is not UTF-8; set the terminal to UTF-8") from error
    if not answer:
        raise UsageError(f"no {what} on standard input; {remedy}")
    return answer


def _send(args: argparse.Namespace, wanted: Mapping[str, Any]) -> int:
    settings = load(args.config)
    request = {"v": 1, "request": args.request or str(uuid.uuid4()), **wanted}
    answer = raise_refused(ask_manual(settings.paths.manual_socket, args.config, request, PATIENCE_S))
    if args.json:
        print(json.dumps(answer, ensure_ascii=False))
    elif not args.quiet:
        key = answer.get("key") or text("cli.act.no-key", args.lang)
        said = "cli.act.opened" if answer.get("opened") else "cli.act.registered"
        print(text(said, args.lang, entry=key, kept=text(f"cli.act.kept.{answer['kept']}", args.lang), by=answer["by"]))
    return 0
