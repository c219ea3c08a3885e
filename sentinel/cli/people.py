"""Keep the roster by hand: add people with pictures and consent, list, remove; its templates: see people_gallery."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from sentinel import clocks
from sentinel.cli import add_nouns, add_verb, people_archive, people_gallery, render
from sentinel.cli.people_gallery import one_of, one_thread
from sentinel.core.errors import UsageError
from sentinel.i18n import text
from sentinel.phrases import listing
from sentinel.settings import load

_ADD = """One object a line: {"name": …, "number": …, "pictures": ["/a.jpg"], "consent": {"ref": "paper 2026/17",
"by": "self", "on": "2026-11-20", "purpose": "opening this gate"}, "valid_until": "2027-12-31", "allowed": true}.
Needed are name and number; what is left out stays as it was for a member. A new person without pictures passes by
card. Up to five pictures that differ become templates. Pictures are kept only where the consent says
"keep_picture": true. An empty list of pictures removes the face templates. Or a CSV file with a folder of
pictures: --csv people.csv --folder pictures. All of it: docs/people.md."""


def add(subparsers: Any) -> None:
    """Add `people add`, `people list`, `people remove` and what keeps the templates."""
    nouns = add_nouns(subparsers, "people", summary="Keep the roster and its face templates.")
    adding = add_verb(
        nouns,
        "add",
        run_add,
        summary="Add people from JSON lines or a CSV file, with pictures where they agreed to a face template.",
        about=_ADD,
        example="sentinelctl people add --from residents.jsonl",
        exits="0 all added, 65 some lines were refused (the others are added), 77 no right,\n"
        "  78 models are missing or damaged (only the lines before are added)",
    )
    adding.add_argument("--from", dest="source", default="-", metavar="FILE", help="JSON lines; - is standard input")
    adding.add_argument("--csv", type=Path, metavar="FILE", help="a CSV file instead; its first line names the columns")
    adding.add_argument("--folder", type=Path, metavar="DIR", help="where its pictures are (default: beside the file)")
    adding.add_argument("--encoding", default="utf-8", help="of the CSV file (default utf-8; gb18030 for older sheets)")
    adding.add_argument("--camera", action="store_true", help="one line without pictures; the gate's camera takes them")
    adding.add_argument("--card", action="store_true", help="the same from the card's photograph; stop the gate first")
    adding.add_argument("--report", type=Path, metavar="FILE", help="write what was refused and why, as CSV")
    adding.add_argument("--dry-run", action="store_true", help="judge everything, record and change nothing")
    listing_verb = add_verb(
        nouns,
        "list",
        run_list,
        summary="List the roster, masked, with hints whom to enrol again.",
        example="sentinelctl people list --hints",
    )
    listing_verb.add_argument("--hints", action="store_true", help="only those with a hint")
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
    people_gallery.add(nouns)
    people_archive.add(nouns)


def run_add(args: argparse.Namespace) -> int:
    """Enrol in a process of its own: this one must never load what reads pictures."""
    load(args.config)  # a wrong setting is told here, in one line
    command = [sys.executable, "-m", "sentinel.enrol", "--config", str(args.config)]
    command += ["--dry-run"] if args.dry_run else []
    command += ["--json"] if args.json else []
    command += ["--report", str(args.report)] if args.report else []
    command += ["--camera"] if args.camera else []
    command += ["--card"] if args.card else []
    if sum((args.camera, args.card, args.csv is not None)) > 1:
        raise UsageError("--camera, --card and --csv exclude each other; give one line of JSON with --camera or --card")
    if args.csv is not None:
        folder = args.folder or args.csv.parent
        if not args.csv.is_file() or not folder.is_dir():
            raise UsageError(f"{args.csv} is no file or {folder} no folder; see: sentinelctl people add --help")
        command += ["--csv", str(args.csv), "--folder", str(folder), "--encoding", args.encoding]
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, env=one_thread()).returncode
    if args.source == "-":
        return subprocess.run(command, check=False, env=one_thread()).returncode
    source = Path(args.source)
    if not source.is_file():
        raise UsageError(f"{source} is no file; give a file of JSON lines, see: sentinelctl people add --help")
    with source.open("rb") as lines:
        return subprocess.run(command, stdin=lines, check=False, env=one_thread()).returncode


def run_list(args: argparse.Namespace) -> int:
    """Print every member: token, masked name, templates in use, until when, hints."""
    from sentinel import roster
    from sentinel.keyroom import open_vault

    settings = load(args.config)
    vault = open_vault(settings)
    members = roster.load_all(settings.paths.roster, vault, vectors=False)
    rows = [_row(member, clocks.today()) for member in members.values()]
    rows = [row for row in rows if row["hints"]] if args.hints else rows
    if args.json:
        print(json.dumps({"schema": "sentinel.people/1", "people": rows}, ensure_ascii=False))
    elif not args.quiet:
        print("\n".join(render.table([_cells(row, args.lang) for row in rows])))
        print(text("cli.people.count", args.lang, count=len(rows)), file=sys.stderr)
    return 0


def _row(member: Any, today: date) -> dict[str, Any]:
    from sentinel.core.citizen import mask_name, mask_number
    from sentinel.gallery_acts import hints

    used = [template for template in member.templates if template.holds_on(today)]
    expiries = [template.expires for template in used if template.expires]
    return {
        "token": member.token,
        "name": mask_name(member.name),
        "number": mask_number(member.number),
        "templates": len(used),
        "expired": len(member.templates) - len(used),
        "quarantined": len(member.quarantined),
        "expires": max(expiries).isoformat() if expiries else None,
        "models": sorted({template.model for template in used}),
        "allowed": member.allowed,
        "valid_until": member.valid_until.isoformat() if member.valid_until else None,
        "hints": list(hints(member, today)),
    }


def _cells(row: Mapping[str, Any], lang: str) -> tuple[str, ...]:
    said = listing((text(f"people.hint.{hint}", lang) for hint in row["hints"]), lang)
    return row["token"][:8], row["name"], row["number"], str(row["templates"]), row["expires"] or "-", said


def run_remove(args: argparse.Namespace) -> int:
    """Remove one person; the removal is in the ledger before the roster changes."""
    from sentinel import gallery_papers, roster, site_evidence
    from sentinel.keyroom import open_vault

    settings = load(args.config)
    vault = open_vault(settings)
    with roster.editing(settings.paths.roster):
        members = roster.load_all(settings.paths.roster, vault)
        member = one_of(members, args.token)
        if not args.yes and not _confirmed(member, args.lang):
            raise UsageError("nothing was removed; answer yes, or use --yes")
        bare = replace(member, templates=(), quarantined=())
        request = gallery_papers.consent_request(bare, act="removed", consent=args.token, model="")
        gallery_papers.keep(settings.paths.manual_socket, args.config, request)
        left = {k: m for k, m in members.items() if k != member.token}
        roster.publish(settings.paths.roster, left, vault)
        site_evidence.follow_roster(left.values(), settings)
    print(text("cli.people.removed", args.lang, token=member.token[:8]))
    return 0


def _confirmed(member: Any, lang: str) -> bool:
    from sentinel.core.citizen import mask_name

    if not sys.stdin.isatty():
        return False
    print(text("cli.people.confirm", lang, name=mask_name(member.name)), end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
