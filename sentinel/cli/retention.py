"""Delete what the law wants gone: show what is kept until when, preview, run, and erase one person; then prove it."""

import argparse
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from sentinel.cli import add_nouns, add_verb, render
from sentinel.cli.retention_proof import Proof
from sentinel.core.errors import DataError, SentinelError, Unavailable, UsageError
from sentinel.i18n import text
from sentinel.phrases import word
from sentinel.settings import Settings, load

_CARRY_OUT_S = 120.0  # a full ledger is walked in some ten seconds on a slow card
_LOOK_S = 0.2
_TELL_S = 2.0

_CLOCK = """Retention is never counted by a clock that nobody trusts: without time from the network or a good clock,
nothing is due. What was written under such a clock is kept until a later start knew the time."""


def add(subparsers: Any) -> None:
    """Add `retention show`, `retention preview`, `retention run`, `retention erase`."""
    nouns = add_nouns(subparsers, "retention", summary="Show until when personal data is kept, and delete it.")
    add_verb(
        nouns,
        "show",
        run_show,
        summary="Show for each class of personal data: days, how many parts, the oldest, what is due.",
        about=_CLOCK,
        example="sentinelctl retention show",
    )
    add_verb(
        nouns,
        "preview",
        run_preview,
        summary="List exactly which keys, and how many parts with them, `retention run` would destroy now.",
        about=_CLOCK,
        example="sentinelctl retention preview --json",
        exits="0 nothing is due, 1 something is due, 69 nobody knows the time",
    )
    run = add_verb(
        nouns,
        "run",
        run_run,
        summary="Destroy the keys of all that is due, record it signed, and check that nothing opens any more.",
        about="There is no way back: older backups hold the keys, so a new one is made and they are destroyed.",
        example="sentinelctl retention run",
        exits="0 done or nothing due, 64 not confirmed, 65 something still opens, 69 not recorded, nothing destroyed",
    )
    run.add_argument("--yes", action="store_true", help="do not ask (for a timer)")
    _add_erase(nouns)


def _add_erase(nouns: Any) -> None:
    erase = add_verb(
        nouns,
        "erase",
        run_erase,
        summary="Erase one person at their wish: roster, templates, and the personal part of each of their entries.",
        about=(
            "The entries stay, without a name. A day's key serves everybody of that day, so it lives on until its own\n"
            "days are over: until then an earlier copy of this disk still holds what it seals."
        ),
        example="sentinelctl retention erase --number 110105194912310021",
        exits="0 erased or nothing there, 64 not confirmed, 65 something still opens, 69 not recorded, nothing erased",
    )
    who = erase.add_mutually_exclusive_group(required=True)
    who.add_argument("--person", metavar="TOKEN", help="the keyed token, whole or from the roster its first digits")
    who.add_argument("--number", metavar="N", help="the ID number; - asks for it, so that no history keeps it")
    erase.add_argument("--yes", action="store_true", help="do not ask")


@dataclass(slots=True)
class Office:
    """What a deletion needs: the settings, the vault, and the ledger, read only."""

    settings: Settings
    config: Path
    vault: Any
    reader: Any
    today: date | None
    lang: str
    quiet: bool

    def rows(self) -> list[Any]:
        """Return every key of a day with what lies under it."""
        from sentinel.erasure import counted, days_of, survey

        return survey(self.reader, self.vault.names(), days_of(self.settings), self.today, counted(self.reader))

    def tell(self, key: str, **values: Any) -> None:
        """Say something to whoever waits."""
        if not self.quiet:
            print(text(f"retention.{key}", self.lang, **values), file=sys.stderr)


@contextmanager
def office_of(args: argparse.Namespace) -> Any:
    """Open the vault and the ledger. `args.stamp` gives another clock, for tests."""
    from sentinel.erasure import today_of
    from sentinel.keyroom import open_vault
    from sentinel.street_policy import overlaid
    from sync.ledger import LedgerReader
    from sync.stamp import now_stamp

    settings = overlaid(load(args.config))
    stamp: Callable[[], Any] = getattr(args, "stamp", now_stamp)
    vault = open_vault(settings)
    with LedgerReader(settings.paths.ledger) as reader:
        today = today_of(stamp(), reader)
        yield Office(settings, args.config, vault, reader, today, args.lang, args.quiet)


def run_show(args: argparse.Namespace) -> int:
    """Print one line per class."""
    from sentinel.core.retention import kept_days
    from sentinel.erasure import days_of

    with office_of(args) as office:
        rows, days, names = office.rows(), days_of(office.settings), office.vault.names()
    classes = sorted({row.class_ for row in rows} | {"passage", "registration"})
    shown = [_class_row(name, [row for row in rows if row.class_ == name], kept_days(name, days)) for name in classes]
    people = {name.split("/")[0] for name in names} - set(classes)
    persons = {kind: sum(name.startswith(f"{kind}/") for name in names) for kind in sorted(people)}
    if args.json:
        print(json.dumps({"schema": "sentinel.retention/1", "today": _iso(office.today), "classes": shown,
                          "persons": persons}))  # fmt: skip
    elif not args.quiet:
        head = tuple(text(f"retention.head.{name}", args.lang) for name in ("class", "days", "parts", "oldest", "due"))
        cells = [(word("kind", row["class"], args.lang), str(row["days"]), str(row["parts"]), row["oldest"] or "-",
                  str(row["due_parts"])) for row in shown]  # fmt: skip
        print("\n".join(render.table([head, *cells])))
        for kind, count in persons.items():
            print(text("retention.persons", args.lang, kind=kind, count=count))
        if office.today is None:
            office.tell("no-clock")
    return 0


def _class_row(name: str, rows: Sequence[Any], days: int) -> dict[str, Any]:
    known = [row.day for row in rows if row.day is not None]
    return {
        "class": name, "days": days, "keys": len(rows), "parts": sum(row.parts for row in rows),
        "oldest": _iso(min(known, default=None)), "due_keys": sum(row.due for row in rows),
        "due_parts": sum(row.parts for row in rows if row.due),
        "undated_parts": sum(row.parts for row in rows if row.day is None),
    }  # fmt: skip


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def run_preview(args: argparse.Namespace) -> int:
    """Print the keys that are due."""
    with office_of(args) as office:
        due = _due(office)
    _print_rows(due, args)
    return 1 if due else 0


def _due(office: Office) -> list[Any]:
    if office.today is None:
        raise Unavailable(text("retention.no-clock", office.lang))
    return [row for row in office.rows() if row.due]


def _print_rows(rows: Sequence[Any], args: argparse.Namespace, done: bool = False) -> None:
    if args.json:
        keys = [{"key": row.name, "parts": row.parts, "until": _iso(row.until)} for row in rows]
        print(json.dumps({"schema": "sentinel.retention-due/1", "destroyed": done, "keys": keys,
                          "parts": sum(row.parts for row in rows)}))  # fmt: skip
    elif not args.quiet:
        cells = [(row.name, str(row.parts), text("retention.until", args.lang, day=_iso(row.until))) for row in rows]
        print("\n".join(render.table(cells)) if rows else text("retention.nothing", args.lang))


def run_run(args: argparse.Namespace) -> int:
    """Preview, ask, record and destroy, prove."""
    from sentinel.erasure import deletions_due

    with office_of(args) as office:
        due = _due(office)
        if not due:
            _print_rows(due, args)
            return 0
        if not args.json:
            _print_rows(due, args)
        _confirm(office, args, "confirm-run", keys=len(due), parts=sum(row.parts for row in due))
        names = {row.name for row in due}
        proof = Proof.before(office, names, lambda part: part.personal_key in names)
        for said in deletions_due(due):
            _ask(office, said)
        _until_done(office, lambda: not names & set(office.vault.names()) and not proof.left(office))
        proof.after(office)
        _forget_backups(office)
    if args.json:
        _print_rows(due, args, done=True)
    return 0


def _confirm(office: Office, args: argparse.Namespace, key: str, **values: Any) -> None:
    if args.yes:
        return
    if sys.stdin.isatty():
        print(text(f"retention.{key}", office.lang, **values), end=" ", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise UsageError("nothing was deleted; answer yes, or use --yes")


def _ask(office: Office, said: Mapping[str, Any]) -> None:
    from sentinel import gallery_papers

    request = {"v": 1, "verb": "delete", "request": str(uuid.uuid4()), **said}
    gallery_papers.keep(office.settings.paths.manual_socket, office.config, request)


def _until_done(office: Office, done: Callable[[], bool]) -> None:
    began = time.monotonic()
    said = False
    while not done():
        waited = time.monotonic() - began
        if waited > _CARRY_OUT_S:
            raise DataError(f"recorded, and not carried out in {_CARRY_OUT_S:.0f} s; see the log, then run it again")
        if waited > _TELL_S and not said:
            office.tell("waiting")
            said = True
        time.sleep(_LOOK_S)


def _forget_backups(office: Office) -> None:
    """Let every older backup go, for it holds the keys too; where the second place is away, the next backup does it."""
    from sentinel.backup import forget_before
    from sync.errors import SyncError

    try:
        forget_before(office.settings)
    except (SentinelError, SyncError, OSError) as error:
        office.tell("backups-stay", why=error)


def run_erase(args: argparse.Namespace) -> int:
    """Find the person's parts, ask, take them out of the roster, record and empty, prove."""
    with office_of(args) as office:
        token = _token(office, args)
        mine = {part.key for part in office.reader.sealed_parts() if _is_of(office.vault, part, token)}
        in_roster = _roster_keys(office, token)
        if not mine and not in_roster:
            print(text("retention.nobody", args.lang))
            return 0
        _confirm(office, args, "confirm-erase", parts=len(mine), keys=len(in_roster))
        proof = Proof.before(office, in_roster, lambda part: part.key in mine, keys_die=False)
        last = _last_day(office, {name for name, _ in proof.parts})
        if in_roster:
            _leave_roster(args, token)
        for said in _erasures(office, token, mine, in_roster):
            _ask(office, said)
        _until_done(office, lambda: not proof.left(office) and not _log_holds(office, proof))
        proof.after(office)
        _forget_backups(office)
    if args.json:
        print(json.dumps({"schema": "sentinel.erased/1", "person": token, "parts": len(mine), "keys": in_roster,
                          "day_keys_until": _iso(last)}))  # fmt: skip
    elif not args.quiet:
        print(text("retention.erased", args.lang, token=token[:8], parts=len(mine), keys=len(in_roster)))
        if mine:
            print(text("retention.remains", args.lang, day=_iso(last) or "?"))
    return 0


def _log_holds(office: Office, proof: Proof) -> bool:
    """Tell whether the write-ahead log still has a copy: it is cut when no reader is in the way."""
    log = office.settings.paths.ledger.with_name(f"{office.settings.paths.ledger.name}-wal")
    office.reader.close()  # we are such a reader
    try:
        held = log.read_bytes()
    except FileNotFoundError:
        return False
    return any(part in held for _, part in proof.parts)


def _token(office: Office, args: argparse.Namespace) -> str:
    if args.person:
        start = args.person.removeprefix("r:")
        if len(start) == 32:
            return start
        from sentinel import roster
        from sentinel.cli.people_gallery import one_of

        return str(one_of(roster.load_all(office.settings.paths.roster, office.vault, vectors=False), start).token)
    number = args.number
    if number == "-":
        import getpass

        number = getpass.getpass("ID number: ") if sys.stdin.isatty() else sys.stdin.readline()
    return str(office.vault.token(number))


def _is_of(vault: Any, part: Any, token: str) -> bool:
    """Tell whose part it is: by the token beside it, or by the number in it, for who is in no roster has no token."""
    from sync.errors import VaultError

    if part.person is not None:
        return bool(part.person == token)
    try:
        number = vault.unseal(part.personal_key, part.personal).get("number")
    except VaultError:
        return False
    return bool(number) and vault.token(number) == token


def _roster_keys(office: Office, token: str) -> list[str]:
    from sentinel.roster_file import CLASSES

    return sorted({f"{kind}/{token}" for kind in CLASSES} & set(office.vault.names()))


def _leave_roster(args: argparse.Namespace, token: str) -> None:
    from sentinel import gallery_papers
    from sentinel.cli.people_gallery import book_of

    with book_of(args) as book:
        if token in book.members:
            bare = replace(book.members[token], templates=(), quarantined=())
            book.keep(gallery_papers.consent_request(bare, act="removed", consent=token, model=""))
            del book.members[token]
        book.publish()


def _erasures(office: Office, token: str, mine: set[Any], in_roster: list[str]) -> Iterable[dict[str, Any]]:
    from sentinel.erasure import MOST_RUNS, runs_of

    kinds: dict[str, int] = {}
    for key in mine:
        kind = office.reader.get(key).kind
        kinds[kind] = kinds.get(kind, 0) + 1
    runs = runs_of(mine)
    for at in range(0, max(len(runs), 1), MOST_RUNS // 2):
        first = at == 0
        yield {"reason": "person", "person": token, "keys": in_roster if first else [], "parts": kinds if first else {},
               "runs": runs[at : at + MOST_RUNS // 2]}  # fmt: skip


def _last_day(office: Office, names: set[str]) -> date | None:
    return max((row.until for row in office.rows() if row.name in names and row.until), default=None)
