"""Keep the face templates by hand: quarantine, "this was not me", a changed model, archives."""

import argparse
import getpass
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentinel.cli import add_verb, render
from sentinel.core.errors import DataError, UsageError
from sentinel.i18n import text
from sentinel.phrases import word
from sentinel.settings import Settings, load

_SHORTEST_TOKEN = 6  # digits
_MOST_ARCHIVE_BYTES = 2**31


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
    _add_archives(nouns)


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
    add_verb(
        nouns,
        "signer",
        run_signer,
        summary="Print the public key that signs this gate's archives.",
        example="sentinelctl people signer",
    )


def _add_archives(nouns: Any) -> None:
    out = add_verb(
        nouns,
        "export",
        run_export,
        summary="Write everybody with their templates into a signed, encrypted archive, and record it.",
        example="sentinelctl people export gallery.sga --passphrase-file phrase.txt",
        exits="0 written, 64 called wrongly, 69 the export could not be recorded and nothing was written",
    )
    out.add_argument("archive", type=Path, metavar="FILE")
    out.add_argument("--with-pictures", action="store_true", help="also the pictures that are kept by consent")
    into = add_verb(
        nouns,
        "import",
        run_import,
        summary="Check an archive whole and show what it would change; with --yes, change it.",
        example="sentinelctl people import gallery.sga --passphrase-file phrase.txt --signer 3b6a… --yes",
        exits="0 shown or taken, 64 called wrongly, 65 the archive cannot be taken and nothing was changed,\n"
        "  69 something could not be recorded (only the people before are taken)",
    )
    into.add_argument("archive", type=Path, metavar="FILE")
    into.add_argument(
        "--signer", action="append", default=[], metavar="HEX", help="a public key to trust, besides ours"
    )
    into.add_argument("--replace", action="store_true", help="also replace people who are here already")
    into.add_argument("--yes", action="store_true", help="take it; without it only show what would change")
    for verb in (out, into):
        verb.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line (asked for otherwise)")
        verb.add_argument("--key-file", type=Path, metavar="FILE", help="32 random bytes instead of a passphrase")


@dataclass(slots=True)
class _Book:
    """The roster under one's hands: read whole, published when it is said so."""

    settings: Settings
    config: Path
    vault: Any
    members: dict[str, Any]

    def keep(self, request: Mapping[str, Any]) -> None:
        from sentinel import gallery_papers

        gallery_papers.keep(self.settings.paths.manual_socket, self.config, request)

    def publish(self, pictures: Mapping[str, bytes] | None = None) -> None:
        from sentinel import roster

        roster.publish(self.settings.paths.roster, self.members, self.vault, pictures)


@contextmanager
def _book(args: argparse.Namespace) -> Any:
    from sentinel import roster
    from sync.vault import Vault

    settings = load(args.config)
    vault = Vault.open(settings.paths.secrets_dir, create=False)
    with roster.editing(settings.paths.roster):
        yield _Book(settings, args.config, vault, roster.load_all(settings.paths.roster, vault))


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
    from sync.vault import Vault

    settings = load(args.config)
    vault = Vault.open(settings.paths.secrets_dir, create=False)
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
    with _book(args) as book:
        _apply(book, change_of(one_of(book.members, args.token)), args, act=act, reason="by-staff")
    return 0


def _apply(
    book: _Book, change: Any, args: argparse.Namespace, *, act: str, reason: str, after: str | None = None
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
    with _book(args) as book:
        with LedgerReader(book.settings.paths.ledger) as reader:
            entry = reader.get(key)
        if entry is None or entry.kind != "passage" or not entry.data.get("person"):
            raise UsageError(f"{key} is no passage of anybody known; see: sentinelctl list records --kind passage")
        member = one_of(book.members, entry.data["person"])
        at = datetime.fromtimestamp(entry.stamp.wall_ns / 1e9, UTC) if entry.stamp.clock_trusted else None
        change = not_me(member, entry.data, at)
        _apply(book, change, args, act="quarantined", reason="not-me", after=str(key))
    return 0


def run_re_embed(args: argparse.Namespace) -> int:
    """Make templates anew in a process of its own, which may load what reads pictures."""
    load(args.config)
    command = [sys.executable, "-m", "sentinel.enrol", "--config", str(args.config), "--re-embed"]
    command += [] if args.yes else ["--dry-run"]
    command += ["--json"] if args.json else []
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode


def run_signer(args: argparse.Namespace) -> int:
    """Print our public key."""
    from sentinel import gallery_archive

    key = gallery_archive.signing_key(load(args.config).paths.secrets_dir)
    signer = gallery_archive.public_hex(key.public_key())
    print(json.dumps({"schema": "sentinel.signer/1", "signer": signer}) if args.json else signer)
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Write the archive beside, record it, give it its name."""
    from sentinel import gallery_archive, gallery_papers, roster
    from sync.disk import write_whole

    if args.archive.exists():
        raise UsageError(f"{args.archive} is there already; give another name")
    secret = _secret(args)
    with _book(args) as book:
        people = list(book.members.values())
        wanted = _picture_ids(people) if args.with_pictures else []
        pictures = dict(roster.pictures(book.settings.paths.roster, book.vault, wanted))
        key = gallery_archive.signing_key(book.settings.paths.secrets_dir)
        data = gallery_archive.write_archive(people, pictures, secret, key, made_at=datetime.now(UTC))
        told = gallery_archive.told_of(data, key.public_key())
        book.keep(gallery_papers.gallery_request(people, act="exported", pictures=len(pictures), **told))
    try:
        write_whole(args.archive, data)
    except OSError as error:
        raise DataError(f"{args.archive} cannot be written ({error.strerror}); the ledger says it was") from error
    print(text("people.exported", args.lang, count=len(people), pictures=len(pictures)), file=sys.stderr)
    return 0


def _picture_ids(people: list[Any]) -> list[str]:
    return [
        one.id
        for member in people
        if member.consent is not None and member.consent.keep_picture
        for one in (*member.templates, *member.quarantined)
        if one.has_picture
    ]


def run_import(args: argparse.Namespace) -> int:
    """Check the archive whole, show the plan, and with a yes take it."""
    from sentinel import gallery_archive
    from sentinel.gallery_import import plan_import

    secret = _secret(args)
    with _book(args) as book:
        ours = gallery_archive.public_hex(gallery_archive.signing_key(book.settings.paths.secrets_dir).public_key())
        archive = gallery_archive.read_archive(_file(args.archive), secret, [ours, *args.signer])
        plan = plan_import(
            archive,
            book.members,
            book.vault.token,
            replace_known=args.replace,
            one_to_many=book.settings.face.similarity_one_to_many,
        )
        if args.yes:
            _take(book, archive, plan)
    _tell_plan(plan, args)
    return 0


def _take(book: _Book, archive: Any, plan: Any) -> None:
    """Record each person and publish; when a record fails, who was recorded before is in the roster."""
    from sentinel import gallery_archive, gallery_papers

    done: list[Any] = []
    try:
        for taken in plan.taken:
            member = taken.member
            known = [*member.templates, *member.quarantined]
            if known:
                model = known[0].model
                request = gallery_papers.consent_request(member, act="imported", consent=known[0].consent, model=model)
                book.keep(request)
            for why in sorted({one.why for one in taken.aside}):
                some = [one for one in taken.aside if one.why == why]
                book.keep(gallery_papers.template_request(member, some, act="quarantined", reason=why))
            book.members[member.token] = member
            done.append(member)
    finally:
        if done:
            ids = {one.id for member in done for one in (*member.templates, *member.quarantined)}
            pictures = {id_: data for id_, data in archive.pictures.items() if id_ in ids}
            signer = gallery_archive.signer_id(archive.signer)
            told = {"pictures": len(pictures), "sha256": archive.sha256, "signer": signer}
            book.publish(pictures)
            book.keep(gallery_papers.gallery_request(done, act="imported", **told))


def _tell_plan(plan: Any, args: argparse.Namespace) -> None:
    counts = {
        "new": sum(taken.new for taken in plan.taken),
        "replaced": sum(not taken.new for taken in plan.taken),
        "known": len(plan.known),
        "aside": sum(len(taken.aside) for taken in plan.taken),
    }
    if args.json:
        print(json.dumps({"schema": "sentinel.import/1", "dry_run": not args.yes, **counts}))
    elif not args.quiet:
        print(text("people.imported" if args.yes else "people.would-import", args.lang, **counts))


def _secret(args: argparse.Namespace) -> Any:
    from sentinel.gallery_archive import Secret

    if args.key_file and args.passphrase_file:
        raise UsageError("--key-file and --passphrase-file exclude each other; give one")
    if args.key_file:
        return Secret(key=_file(args.key_file))
    if args.passphrase_file:
        try:
            lines = _file(args.passphrase_file).decode().splitlines()
        except UnicodeDecodeError as error:
            raise UsageError(f"{args.passphrase_file} is not UTF-8; for random bytes use --key-file") from error
        return Secret(passphrase=lines[0] if lines else "")
    if not sys.stdin.isatty():
        raise UsageError("an archive needs --passphrase-file or --key-file where nobody can be asked")
    return Secret(passphrase=getpass.getpass(text("people.passphrase", args.lang) + " "))


def _file(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_ARCHIVE_BYTES:
            raise UsageError(f"{path} is larger than any archive of ours; give the right file")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check the name and its permissions") from error
