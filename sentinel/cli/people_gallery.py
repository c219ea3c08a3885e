"""Keep the face templates by hand: quarantine, "this was not me", a look at all of them, a changed model."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentinel.cli import add_verb, render
from sentinel.core.errors import UsageError
from sentinel.i18n import text
from sentinel.phrases import word
from sentinel.settings import Settings, load

_SHORTEST_TOKEN = 6  # digits


def add(nouns: Any) -> None:
    """Add the verbs of `sentinelctl people` that keep the templates."""
    add_verb(
        nouns,
        "quarantine",
        run_quarantine,
        summary="List the templates that are kept and not used, and why.",
        example="sentinelctl people quarantine",
    )
    for name, run, summary in (
        ("release", run_release, "Use templates of the quarantine again: somebody looked, it is this person."),
        ("drop", run_drop, "Delete templates of the quarantine."),
    ):
        verb = add_verb(nouns, name, run, summary=summary, example=f"sentinelctl people {name} 8c1e5f20", exits=_EXITS)
        verb.add_argument("token", help="the person's token, or its first digits")
        verb.add_argument("template", nargs="*", help="ids of templates; without one, all of the person's quarantine")
    look = add_verb(
        nouns,
        "check",
        run_check,
        summary="Look for templates in use that are closer to somebody else than to their own person.",
        about="With --yes they are set aside. Enrolment looks at new ones only; this looks at all, of both sides.",
        example="sentinelctl people check",
        exits="0 none found, 1 some found (and with --yes set aside), 69 it could not be recorded",
    )
    look.add_argument("--yes", action="store_true", help="set them aside; without it only list them")
    denied = add_verb(
        nouns,
        "not-me",
        run_not_me,
        summary="Set aside what may have taken somebody else for this person in a passage, and record it.",
        about="The template that the passage names, or else every template of its model that was there by then.",
        example="sentinelctl people not-me 00000001c0ffee01-3",
        exits=_EXITS,
    )
    denied.add_argument("record", help="the key of the passage, as in: sentinelctl list records")
    _add_model(nouns)


_EXITS = "0 done, 64 nobody or nothing is meant by this, 69 it could not be recorded and nothing was changed"


def _add_model(nouns: Any) -> None:
    again = add_verb(
        nouns,
        "re-embed",
        run_re_embed,
        summary="After a change of model: make templates anew from kept pictures, and list whom to enrol again.",
        example="sentinelctl people re-embed --yes",
        exits="0 done or shown, 78 models are missing or damaged",
    )
    again.add_argument("--yes", action="store_true", help="do it; without it only show what would be done")


@dataclass(slots=True)
class Book:
    """The roster under one's hands: read whole, published when it is said so."""

    settings: Settings
    config: Path
    vault: Any
    members: dict[str, Any]

    def keep(self, request: Mapping[str, Any]) -> None:
        """Keep an entry. Raises: SentinelError when it cannot be kept."""
        from sentinel import gallery_papers

        gallery_papers.keep(self.settings.paths.manual_socket, self.config, request)

    def publish(self, pictures: Mapping[str, bytes] | None = None) -> None:
        """Publish the roster as it is now."""
        from sentinel import roster, site_evidence

        roster.publish(self.settings.paths.roster, self.members, self.vault, pictures)
        site_evidence.follow_roster(self.members.values(), self.settings)


@contextmanager
def book_of(args: argparse.Namespace) -> Iterator[Book]:
    """Give the roster to one editor at a time."""
    from sentinel import roster
    from sentinel.keyroom import open_vault

    settings = load(args.config)
    vault = open_vault(settings)
    with roster.editing(settings.paths.roster):
        yield Book(settings, args.config, vault, roster.load_all(settings.paths.roster, vault))


def one_of(members: Mapping[str, Any], token: str) -> Any:
    """Return the one member whose token begins so.

    Raises: UsageError when there is nobody or more than one.
    """
    start = token.removeprefix("r:")
    found = [member for key, member in members.items() if key.startswith(start) and len(start) >= _SHORTEST_TOKEN]
    if len(found) != 1:
        raise UsageError(f"{len(found)} people have a token beginning with {token!r}; give 6 or more digits of one")
    return found[0]


def run_quarantine(args: argparse.Namespace) -> int:
    """Print every template that stands in quarantine."""
    from sentinel import roster
    from sentinel.keyroom import open_vault

    settings = load(args.config)
    vault = open_vault(settings)
    members = roster.load_all(settings.paths.roster, vault, vectors=False)
    rows: list[dict[str, Any]] = [
        {"token": member.token, "template": one.id, "why": one.why, "other": one.other or None, "made_at": one.made_at}
        for member in members.values()
        for one in member.quarantined
    ]
    if args.json:
        print(json.dumps({"schema": "sentinel.quarantine/1", "templates": rows}, ensure_ascii=False))
    elif not args.quiet:
        cells = [
            (row["token"][:8], row["template"], word("status.code", row["why"], args.lang), (row["other"] or "-")[:8])
            for row in rows
        ]
        print("\n".join(render.table(cells)))
        print(text("people.quarantine.count", args.lang, count=len(rows)), file=sys.stderr)
    return 0


def run_release(args: argparse.Namespace) -> int:
    """Put templates back into use."""
    from sentinel.gallery_acts import released

    return _changed(args, "released", lambda member: released(member, args.template))


def run_drop(args: argparse.Namespace) -> int:
    """Delete templates of the quarantine."""
    from sentinel.gallery_acts import dropped

    return _changed(args, "dropped", lambda member: dropped(member, args.template))


def _changed(args: argparse.Namespace, act: str, change_of: Callable[[Any], Any]) -> int:
    with book_of(args) as book:
        _apply(book, change_of(one_of(book.members, args.token)), args, act=act, reason="by-staff")
    return 0


def _apply(
    book: Book, change: Any, args: argparse.Namespace, *, act: str, reason: str, after: str | None = None
) -> None:
    """Record the change, make it, tell it."""
    from sentinel import gallery_papers

    member = change.member
    book.keep(gallery_papers.template_request(member, change.about, act=act, reason=reason, after=after))
    book.members[member.token] = member
    book.publish()
    counts = {"count": len(change.about), "left": len(member.templates)}
    if args.json:
        print(json.dumps({"schema": "sentinel.templates/1", "token": member.token, "act": act, **counts}))
    elif not args.quiet:
        print(text(f"people.{act}", args.lang, token=member.token[:8], **counts))


def run_not_me(args: argparse.Namespace) -> int:
    """Set aside what may have matched in this passage."""
    from sentinel.gallery_acts import not_me
    from sync.entry import parse_key
    from sync.ledger import LedgerReader

    try:
        key = parse_key(args.record)
    except ValueError as error:
        raise UsageError(f"{error}; copy the key from: sentinelctl list records --json") from error
    with book_of(args) as book:
        with LedgerReader(book.settings.paths.ledger) as reader:
            entry = reader.get(key)
        if entry is None or entry.kind != "passage" or not entry.data.get("person"):
            raise UsageError(f"{key} is no passage of anybody known; see: sentinelctl list records --kind passage")
        member = one_of(book.members, entry.data["person"])
        at = datetime.fromtimestamp(entry.stamp.wall_ns / 1e9, UTC) if entry.stamp.clock_trusted else None
        change = not_me(member, entry.data, at)
        _apply(book, change, args, act="quarantined", reason="not-me", after=str(key))
    return 0


def one_thread() -> dict[str, str]:
    """Return the environment with numpy's products kept to one thread, here too when it is not loaded yet.

    On two cores that others use as well, OpenBLAS's waiting threads made such a look fifteen times slower.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return dict(os.environ)


def run_check(args: argparse.Namespace) -> int:
    """List the templates that belong to somebody else more than to their person; with a yes, set them aside."""
    one_thread()
    from sentinel import gallery_papers
    from sentinel.enrol_check import suspects_of_all
    from sentinel.gallery_acts import set_aside

    with book_of(args) as book:
        found = suspects_of_all(book.members.values(), book.settings.face.similarity_one_to_many)
        for suspect in found if args.yes else ():
            change = set_aside(book.members[suspect.token], [suspect.template], suspect.why, suspect.other)
            request = gallery_papers.template_request(
                change.member, change.about, act="quarantined", reason=suspect.why
            )
            book.keep(request)
            book.members[suspect.token] = change.member
            book.publish()
    rows = [{"token": one.token, "template": one.template, "why": one.why, "other": one.other} for one in found]
    if args.json:
        print(json.dumps({"schema": "sentinel.check-people/1", "set_aside": args.yes, "templates": rows}))
    elif not args.quiet:
        cells = [(one.token[:8], one.template, word("status.code", one.why, args.lang), one.other[:8]) for one in found]
        print("\n".join(render.table(cells)))
        print(text("people.check.count", args.lang, count=len(found)), file=sys.stderr)
    return 1 if found else 0


def run_re_embed(args: argparse.Namespace) -> int:
    """Make templates anew in a process of its own, which may load what reads pictures."""
    load(args.config)
    command = [sys.executable, "-m", "sentinel.enrol", "--config", str(args.config), "--re-embed"]
    command += [] if args.yes else ["--dry-run"]
    command += ["--json"] if args.json else []
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, env=one_thread()).returncode
