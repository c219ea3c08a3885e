"""Keep the roster by hand: add a person with pictures and consent, list, block, remove."""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from sentinel.cli import add_nouns, add_verb, render
from sentinel.control import ask_manual, raise_refused
from sentinel.core.errors import UsageError
from sentinel.i18n import text
from sentinel.settings import load


def add(subparsers: Any) -> None:
    """Add `people add`, `people list`, `people remove`."""
    nouns = add_nouns(subparsers, "people", summary="Keep the roster: add, list, remove.")
    adding = add_verb(
        nouns,
        "add",
        run_add,
        summary="Add people from a file of JSON lines, with pictures where they agreed to a face template.",
        about='One object a line: {"name": …, "number": …, "pictures": ["/a.jpg"], "consent": "paper 2026/17",\n'
        '"valid_until": "2027-12-31", "allowed": true}. Needed are name and number; what is left out stays as it was\n'
        "for a member. A new person without pictures passes by card. Pictures are not kept. An empty list of pictures\n"
        "removes the face templates, and the removal is recorded.",
        example="sentinelctl people add --from residents.jsonl",
        exits="0 all added, 65 some lines were refused (the others are added), 77 no right,\n"
        "  78 models are missing or damaged (only the lines before are added)",
    )
    adding.add_argument("--from", dest="source", default="-", metavar="FILE", help="JSON lines; - is standard input")
    add_verb(nouns, "list", run_list, summary="List the roster, masked.", example="sentinelctl people list")
    removing = add_verb(
        nouns,
        "remove",
        run_remove,
        summary="Remove a person with every face template, and record the removal.",
        example="sentinelctl people remove 8c1e5f20 --yes",
        exits="0 removed, 64 nobody or several people have this token, 69 the removal could not be recorded",
    )
    removing.add_argument("token", help="the token, or its first digits, as in: sentinelctl people list")
    removing.add_argument("--yes", action="store_true", help="do not ask")


def run_add(args: argparse.Namespace) -> int:
    """Enrol in a process of its own: this one must never load what reads pictures."""
    load(args.config)  # a wrong setting is told here, in one line
    command = [sys.executable, "-m", "sentinel.enrol", "--config", str(args.config)]
    if args.source == "-":
        return subprocess.run(command, check=False).returncode
    source = Path(args.source)
    if not source.is_file():
        raise UsageError(f"{source} is no file; give a file of JSON lines, see: sentinelctl people add --help")
    with source.open("rb") as lines:
        return subprocess.run(command, stdin=lines, check=False).returncode


def run_list(args: argparse.Namespace) -> int:
    """Print every member: token, masked name, whether by face, until when."""
    from sentinel import roster
    from sentinel.core.citizen import mask_name, mask_number
    from sync.vault import Vault

    settings = load(args.config)
    members = roster.load(settings.paths.roster, Vault.open(settings.paths.secrets_dir, create=False))
    rows: list[dict[str, Any]] = [
        {
            "token": member.token,
            "name": mask_name(member.name),
            "number": mask_number(member.number),
            "templates": len(member.templates),
            "allowed": member.allowed,
            "valid_until": member.valid_until.isoformat() if member.valid_until else None,
        }
        for member in members.values()
    ]
    if args.json:
        print(json.dumps({"schema": "sentinel.people/1", "people": rows}, ensure_ascii=False))
    elif not args.quiet:
        cells = [(row["token"][:8], row["name"], row["number"], str(row["templates"])) for row in rows]
        print("\n".join(render.table(cells)))
        print(text("cli.people.count", args.lang, count=len(rows)), file=sys.stderr)
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Remove one person; the removal is in the ledger before the roster changes."""
    from sentinel import roster
    from sync.vault import Vault

    settings = load(args.config)
    vault = Vault.open(settings.paths.secrets_dir, create=False)
    with roster.editing(settings.paths.roster):
        members = roster.load(settings.paths.roster, vault)
        member = _one(members, args.token)
        if not args.yes and not _confirmed(member, args.lang):
            raise UsageError("nothing was removed; answer yes, or use --yes")
        entry = replace(member, templates=())
        request = roster.consent_request(entry, act="removed", consent=args.token, model="")
        raise_refused(ask_manual(settings.paths.manual_socket, args.config, request, 12.0))
        roster.publish(settings.paths.roster, {k: m for k, m in members.items() if k != member.token}, vault)
    print(text("cli.people.removed", args.lang, token=member.token[:8]))
    return 0


def _one(members: Any, token: str) -> Any:
    found = [member for key, member in members.items() if key.startswith(token) and len(token) >= 6]
    if len(found) != 1:
        raise UsageError(f"{len(found)} people have a token beginning with {token!r}; give 6 or more digits of one")
    return found[0]


def _confirmed(member: Any, lang: str) -> bool:
    from sentinel.core.citizen import mask_name

    if not sys.stdin.isatty():
        return False
    print(text("cli.people.confirm", lang, name=mask_name(member.name)), end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
