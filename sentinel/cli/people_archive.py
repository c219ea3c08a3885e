"""Move the roster between gates: write, check and take signed, encrypted archives."""

import argparse
import getpass
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentinel.cli import add_verb
from sentinel.cli.people_gallery import Book, book_of, one_thread
from sentinel.core.errors import DataError, UsageError
from sentinel.i18n import text
from sentinel.settings import load

_MOST_ARCHIVE_BYTES = 2**31
_PUBLISH_EVERY = 200  # people: so many consents may be in the ledger whose templates a power cut takes back


def add(nouns: Any) -> None:
    """Add `people signer`, `people export`, `people import`."""
    add_verb(
        nouns,
        "signer",
        run_signer,
        summary="Print the public key that signs this gate's archives.",
        example="sentinelctl people signer",
    )
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
    with book_of(args) as book:
        people = list(book.members.values())
        wanted = _picture_ids(people) if args.with_pictures else []
        pictures = dict(roster.pictures(book.settings.paths.roster, book.vault, wanted))
        key = gallery_archive.signing_key(book.settings.paths.secrets_dir)
        cipher, now = book.settings.vault.cipher, datetime.now(UTC)
        data = gallery_archive.write_archive(people, pictures, secret, key, made_at=now, cipher=cipher)
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
    one_thread()
    from sentinel import gallery_archive
    from sentinel.gallery_import import plan_import

    secret = _secret(args)
    with book_of(args) as book:
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


def _take(book: Book, archive: Any, plan: Any) -> None:
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
            if len(done) % _PUBLISH_EVERY == 0:
                book.publish(archive.pictures)
    finally:
        if done:
            ids = {one.id for member in done for one in (*member.templates, *member.quarantined)}
            pictures = {id_: data for id_, data in archive.pictures.items() if id_ in ids}
            signer = gallery_archive.signer_id(archive.signer)
            told = {"pictures": len(pictures), "sha256": archive.sha256, "signer": signer}
            book.publish(archive.pictures)
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
