"""Issue visitor passes and staff badges as QR codes, revoke them, and make the key that signs them."""

import argparse
import json
import re
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentinel import clocks
from sentinel.cli import add_nouns, add_verb
from sentinel.control import ask_manual, raise_refused
from sentinel.core.admission import BACKDATED_S, scope_of
from sentinel.core.errors import Unavailable, UsageError
from sentinel.core.kinds import GRANT_REASONS, REVOKE_REASONS
from sentinel.core.model import Pass, PassKind
from sentinel.i18n import text
from sentinel.phrases import word
from sentinel.settings import load

PATIENCE_S = 12.0  # as for every act by hand, see sentinel/cli/act.py
_USUAL_USES = {PassKind.VISITOR: 1, PassKind.STAFF: 0}
_USUAL_HOURS = {PassKind.VISITOR: 4.0, PassKind.STAFF: 365 * 24.0}
_QUIET_ZONE_MODULES = 4  # the standard asks for it; without it scanners do not find the code
_PIXELS_PER_MODULE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a pass will hold. Without a gate: at every gate of the site."""

    street: str
    site: str
    gate: str | None

    @property
    def scope(self) -> str:
        return scope_of(self.street, self.site, self.gate)


def add(subparsers: Any) -> None:
    """Add `issue key`, `issue pass`, `issue revoke`."""
    nouns = add_nouns(subparsers, "issue", summary="Issue passes as QR codes: key, pass, revoke.")
    _add_key(nouns)
    _add_pass(nouns)
    revoke = add_verb(
        nouns,
        "revoke",
        run_revoke,
        summary="Revoke a pass at this gate; it is refused from now on.",
        about="A gate knows only what was revoked at it: revoke a pass for several gates at each of them.",
        example="sentinelctl issue revoke 0123456789abcdef --reason lost-pass",
        exits="0 revoked, 64 called wrongly, 69 the revocation could not be recorded",
    )
    revoke.add_argument("pass_id", metavar="PASSID", help="the 16 digits that were printed when it was issued")
    revoke.add_argument("--reason", choices=REVOKE_REASONS, default="other", help="why (default other)")


def _add_key(nouns: Any) -> None:
    key = add_verb(
        nouns,
        "key",
        run_key,
        summary="Make the key that signs passes, and print its public part.",
        about="The public part goes to every other gate that shall take these passes, as NAME.pub in its issuers_dir.",
        example="sentinelctl issue key --public > east-3.pub",
        exits="0 done, 64 there is a key already, 65 the file is no key, 69 it cannot be read or written",
    )
    key.add_argument("--key", type=Path, metavar="FILE", help="another file than this gate's, as at a street office")
    key.add_argument("--public", action="store_true", help="make nothing, print the public part of the key there is")
    key.add_argument("--replace", action="store_true", help="replace the key: gates will not know its passes any more")
    key.add_argument("--yes", action="store_true", help="do not ask before replacing")


def _add_pass(nouns: Any) -> None:
    issuing = add_verb(
        nouns,
        "pass",
        run_pass,
        summary="Issue a pass: print its text and draw its QR code.",
        about="At a gate the pass is recorded in the ledger first. With --key, as at a street office, nothing is\n"
        "recorded and --at says where it holds. There is nobody's name in a pass.",
        example="sentinelctl issue pass --kind visitor --hours 4 --uses 1 --png pass.png",
        exits="0 issued, 64 called wrongly, 65 the key is damaged, 69 no key, a wrong clock, or not recorded",
    )
    issuing.add_argument("--kind", type=PassKind, choices=tuple(PassKind), required=True, help="for whom")
    issuing.add_argument("--hours", type=float, metavar="H", help="valid so long (visitor 4, staff one year)")
    issuing.add_argument("--uses", type=int, metavar="N", help="opens so often, 0: any number (visitor 1, staff 0)")
    issuing.add_argument("--gate", choices=("this", "any"), default="this", help="this gate or any gate of the site")
    issuing.add_argument("--reason", choices=GRANT_REASONS, help="why (default: visitor or staff)")
    issuing.add_argument("--key", type=Path, metavar="FILE", help="sign with this key; nothing is recorded")
    issuing.add_argument("--at", metavar="PLACE", help="with --key: STREET/SITE or STREET/SITE/GATE")
    issuing.add_argument("--png", type=Path, metavar="FILE", help="write the code as a picture")
    issuing.add_argument("--svg", type=Path, metavar="FILE", help="write the code as a drawing for print")


def run_key(args: argparse.Namespace) -> int:
    """Make a key, or show the public part of the one there is."""
    from sentinel import passes

    path = args.key or passes.own_key_path(load(args.config).paths.secrets_dir)
    if args.public:
        key = passes.load_key(path)
    else:
        if args.replace and path.exists() and not args.yes and not _confirmed(path, args.lang):
            raise UsageError("nothing was replaced; answer yes, or use --yes")
        key = passes.make_key(path, replace=args.replace)
    name, public = passes.key_id(key.public_key()), passes.public_text(key.public_key())
    if args.json:
        print(json.dumps({"schema": "sentinel.key/1", "key": name, "path": str(path), "public": public}))
    elif not args.quiet:
        print(text("cli.issue.key", args.lang, name=name, path=path), file=sys.stderr)
        print(public, end="")
    return 0


def run_pass(args: argparse.Namespace) -> int:
    """Sign a pass, record it where there is a gate, then show it."""
    import segno  # half a megabyte that only this verb needs

    from sentinel import passes

    place = _place(args)
    for path in (args.png, args.svg):
        _check_writable(path)  # told before the pass is in the ledger
    key = passes.load_key(args.key or passes.own_key_path(load(args.config).paths.secrets_dir))
    uses = _USUAL_USES[args.kind] if args.uses is None else args.uses
    if (doubted := clocks.GateClock().doubted()) is not None:
        since = datetime.fromtimestamp(doubted.ns // 1_000_000_000, UTC).date()
        raise Unavailable(f"this box's clock is wrong, it is {since} or later; set it: timedatectl set-time")
    now = int(time.time())
    code = passes.write_pass(
        key,
        kind=args.kind,
        scope=place.scope,
        valid_from_utc_s=now - BACKDATED_S,
        valid_until_utc_s=now + _validity_s(args),
        uses=uses,
    )
    issued = passes.read_pass(code.encode(), {passes.key_id(key.public_key()): key.public_key()})
    if not isinstance(issued, Pass):
        raise AssertionError(f"a pass was written that reads as {issued}")
    if args.key is None:
        _ask(args, _grant(issued, place, args))
    drawn = segno.make_qr(code, error="m")
    _save(drawn, args)
    _show(code, drawn, issued, place, args)
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Record the revocation; the gate refuses the pass from then on."""
    pass_id = args.pass_id.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{16}", pass_id):
        raise UsageError(f"{args.pass_id!r} is no pass; it has 16 hexadecimal digits: sentinelctl list records")
    answer = _ask(args, {"verb": "revoke", "pass_id": pass_id, "reason": args.reason})
    if args.json:
        print(json.dumps(answer, ensure_ascii=False))
    elif not args.quiet:
        kept = text(f"cli.act.kept.{answer['kept']}", args.lang)
        print(text("cli.issue.revoked", args.lang, pass_id=pass_id, kept=kept))
    return 0


def _place(args: argparse.Namespace) -> _Place:
    if args.key is None:
        if args.at is not None:
            raise UsageError("--at belongs to --key; at a gate use --gate this or --gate any")
        here = load(args.config).gate
        return _Place(street=here.street, site=here.site, gate=here.gate if args.gate == "this" else None)
    found = re.fullmatch(r"([a-z0-9-]{1,32})/([a-z0-9-]{1,32})(?:/([a-z0-9-]{1,32}))?", args.at or "")
    if found is None:
        raise UsageError("with --key say where the pass holds: --at STREET/SITE or --at STREET/SITE/GATE")
    return _Place(street=found[1], site=found[2], gate=found[3])


def _validity_s(args: argparse.Namespace) -> int:
    hours = _USUAL_HOURS[args.kind] if args.hours is None else args.hours
    if not 0 < hours < float("inf"):
        raise UsageError(f"--hours must be more than 0, not {hours}; leave it out for the usual time")
    return round(hours * 3600)


def _grant(issued: Pass, place: _Place, args: argparse.Namespace) -> dict[str, Any]:
    return {
        "verb": "grant",
        "reason": args.reason or str(args.kind),
        "pass_id": issued.pass_id,
        "pass_kind": issued.kind,
        "issuer": issued.issuer,
        "gate": place.gate or "any",
        "valid_from_utc_s": issued.valid_from_utc_s,
        "valid_until_utc_s": issued.valid_until_utc_s,
        "uses": issued.uses,
    }


def _ask(args: argparse.Namespace, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    request = {"v": 1, "request": str(uuid.uuid4()), **wanted}
    return raise_refused(ask_manual(load(args.config).paths.manual_socket, args.config, request, PATIENCE_S))


def _show(code: str, drawn: Any, issued: Pass, place: _Place, args: argparse.Namespace) -> None:
    if args.json:
        document = {"schema": "sentinel.pass/1", "code": code, **_grant(issued, place, args)}
        print(json.dumps({name: value for name, value in document.items() if name != "verb"}))
        return
    if args.quiet:
        return
    print(code)
    if not args.plain:
        drawn.terminal(sys.stderr, border=_QUIET_ZONE_MODULES, compact=True)
    words = text(
        "cli.issue.issued", args.lang, kind=word("pass-kind", issued.kind, args.lang), pass_id=issued.pass_id,
        since=_local(issued.valid_from_utc_s), until=_local(issued.valid_until_utc_s),
        uses=issued.uses or text("cli.issue.any-number", args.lang),
    )  # fmt: skip
    print(words, file=sys.stderr)
    if issued.uses and place.gate is None:
        print(text("cli.issue.several-gates", args.lang, uses=issued.uses), file=sys.stderr)


def _local(at_utc_s: int) -> str:
    return datetime.fromtimestamp(at_utc_s).astimezone().isoformat(" ", "minutes")


def _check_writable(path: Path | None) -> None:
    try:
        if path is not None:
            path.open("ab").close()
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}; nothing was issued; give another file") from error


def _save(drawn: Any, args: argparse.Namespace) -> None:
    for path, kind in ((args.png, "png"), (args.svg, "svg")):
        if path is not None:
            drawn.save(str(path), kind=kind, scale=_PIXELS_PER_MODULE, border=_QUIET_ZONE_MODULES)


def _confirmed(path: Path, lang: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(text("cli.issue.confirm", lang, name=path), end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
