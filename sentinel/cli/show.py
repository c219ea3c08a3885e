"""Show one thing whole: the gate's status on one screen, one record, the settings in force, the street's contract."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentinel.cli import add_nouns, add_verb, render
from sentinel.cli.words import line_cells
from sentinel.condition import Component, Finding, Status, as_json
from sentinel.core.errors import DataError, NotPermitted, UsageError
from sentinel.i18n import text
from sentinel.phrases import (
    because,
    clock,
    code,
    component_state,
    finding_next,
    finding_words,
    listing,
    local,
    span,
    time_mark,
    word,
)
from sentinel.settings import Settings, explain, load

EXIT_OF_VERDICT = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
_MARK_WORDS = (("~", "cli.time.corrected"), (">", "cli.time.bounds"), ("?", "cli.untrusted"))
_MOST_COMPONENTS = 7
_MOST_WAITING = 3


def add(subparsers: Any) -> None:
    """Add `show status`, `show record`, `show config`, `show policy`, `show contract` and `show identity`."""
    nouns = add_nouns(subparsers, "show", summary="Show one thing whole: status, record, config, contract …")
    _add_contract(nouns)
    _add_for_street(nouns)
    add_verb(
        nouns,
        "status",
        run_status,
        summary="Show on one screen whether the gate works and whether anything is lost.",
        about="Works when the gate is dead, and says so in its first line. With -q it is a monitoring plugin.",
        example="sentinelctl show status --json",
        exits="0 ok, 1 warning, 2 critical, 3 gate not running or its state unknown",
    )
    record = add_verb(
        nouns,
        "record",
        run_record,
        summary="Show one entry of the ledger with its stamps.",
        about="The personal part stays closed unless --reveal asks for it and the reader may read the secrets.",
        example="sentinelctl show record 0000000100abcdef-42",
        exits="0 shown, 64 no such key, 77 not permitted, 78 the key of the personal part is gone",
    )
    record.add_argument("key", metavar="KEY", help="as `list records` prints it")
    record.add_argument("--reveal", action="store_true", help="open the personal part as well")
    add_verb(
        nouns,
        "config",
        run_config,
        summary="Show every setting in force and where it came from.",
        example="sentinelctl show config --config /etc/sentinel/gate.toml",
        exits="0 shown, 78 the settings are wrong",
    )


def _add_contract(nouns: Any) -> None:
    contract = add_verb(
        nouns,
        "contract",
        run_contract,
        summary="Show the contract between gate and street as an AsyncAPI 3 document in JSON.",
        about="For who writes a receiver of their own; the prose is docs/messages.md. Needs no gate, no settings.",
        example="sentinelctl show contract --schema > sentinel.schema.json",
        exits="0 shown",
    )
    contract.add_argument("--schema", action="store_true", help="only the JSON Schemas of messages and entries")


def _add_for_street(nouns: Any) -> None:
    add_verb(
        nouns,
        "policy",
        run_config,
        summary="Show what the street may set here, and whether it did: street, file or default.",
        about="What it has set since the last start of the gate is in force from the next one.",
        example="sentinelctl show policy",
        exits="0 shown, 78 the settings are wrong",
    )
    add_verb(
        nouns,
        "identity",
        run_identity,
        summary="Show the gate's public keys, for the street: what is sent down is sealed for them.",
        example="sentinelctl show identity > east-3.pub",
        exits="0 shown, made when there was none, 65 the key is damaged or may not be read",
    )


def run_identity(args: argparse.Namespace) -> int:
    """Print the public half of `secrets_dir/gate.key`; the first time it is made."""
    from sync.identity import make_identity

    known = make_identity(load(args.config).paths.secrets_dir / "gate.key").known
    if args.json:
        print(json.dumps({"schema": "sentinel.identity/1", "id": known.id, "pem": known.text()}))
    else:
        print(known.text(), end="")
    return 0


def run_contract(args: argparse.Namespace) -> int:
    """Print the contract for programs."""
    from sentinel.contract import asyncapi, schemas

    if not args.quiet:
        print(json.dumps(schemas() if args.schema else asyncapi(), ensure_ascii=False, indent=1))
    return 0


def run_status(args: argparse.Namespace) -> int:
    """Print the status and return the exit code of its verdict."""
    from sentinel.status import gather

    status = gather(load(args.config))
    if args.json and not args.quiet:
        print(json.dumps(as_json(status), ensure_ascii=False, indent=1))
    elif not args.quiet:
        style = render.terminal_style(sys.stdout, plain=args.plain)
        print("\n".join(status_screen(status, args.lang, style)))
    return EXIT_OF_VERDICT[status.verdict]


def status_screen(status: Status, lang: str, style: render.Style) -> list[str]:
    """Return the status in at most 24 lines of 80 columns; the last entries fill what the rest leaves free."""
    top = _head(status, lang, style) + _devices(status, lang, style) + _street(status, lang) + _ledger(status, lang)
    top += _waiting(status, lang, style)
    bottom = _findings(status, lang, style, render.LINES - len(top))
    room = render.LINES - len(top) - len(bottom) - 1
    last = [line_cells(line, status.wall_ns, lang) for line in reversed(status.last[: max(room, 0)])]
    rows = [f"  {row}" for row in render.table(last, most=render.COLUMNS - 2)]
    marks = {time_mark(line) for line in status.last}
    legend = [text(key, lang) for mark, key in _MARK_WORDS if mark in marks]
    head = _title("last", lang) + "".join(f"   {words}" for words in legend)
    lines = top + ([head, *rows] if rows else []) + bottom
    return [render.ascii_only(line) for line in lines] if style.plain else lines


def _where(status: Status, lang: str) -> str:
    gate = status.gate
    return f"{gate.street}/{gate.site}/{gate.gate}  {gate.lane} {word('status.direction', gate.direction, lang)}"


def _title(name: str, lang: str) -> str:
    return f" {text(f'cli.title.{name}', lang)}"


def _head(status: Status, lang: str, style: render.Style) -> list[str]:
    process = status.process
    if process.alive:
        causes = because(process.because, lang)
        mode = word("status.mode", process.mode, lang) + (f" ({causes})" if causes else "")
        up = span(process.up_s or 0, lang)
        facts = text("cli.process", lang, version=process.version or "?", pid=process.pid or "?", up=up)
        second = f"{_where(status, lang)}  {facts}"
    else:
        silence = text(f"status.silence.{process.silence}", lang)
        mode, second = text("cli.headline", lang, silence=silence), _where(status, lang)
    verdict = style.paint(f"{style.dot} {text(f'status.verdict.{status.verdict}', lang)}", status.verdict)
    room = render.COLUMNS - render.width(f"* {text(f'status.verdict.{status.verdict}', lang)}  ")
    return [f"{verdict}  {render.cut(mode, room)}", "  " + render.cut(second, render.COLUMNS - 2)]


def _devices(status: Status, lang: str, style: render.Style) -> list[str]:
    components = sorted(status.process.components, key=lambda part: part.state == "ok")[:_MOST_COMPONENTS]
    if not components:
        return []
    rows = render.table([_component_cells(part, lang) for part in components], most=render.COLUMNS - 5)
    marks = [style.mark(part.state) for part in components]
    return [_title("devices", lang), *(f"  {mark} {row}" for mark, row in zip(marks, rows, strict=True))]


def _component_cells(part: Component, lang: str) -> tuple[str, str, str, str]:
    good = "" if part.last_good_s_ago is None else text("cli.last_good", lang, ago=span(part.last_good_s_ago, lang))
    state = component_state(part.state, part.symptom, lang)
    return word("component", part.name, lang), state, good, render.cut(part.detail or part.identity, 30)


def _street(status: Status, lang: str) -> list[str]:
    uplink, balance = status.uplink, status.balance
    state = text(f"status.uplink.{uplink.state}", lang)
    since = "" if uplink.since_s is None or uplink.state == "dead" else "  " + span(uplink.since_s, lang)
    error = ""
    if uplink.state != "connected" and uplink.last_error:
        error = "  " + text("cli.last_error", lang, error=render.printable(uplink.last_error))
    lines = [render.cut(f"{_title('street', lang)}  {state}{since}{error}", render.COLUMNS)]
    if not balance.known:
        return [*lines, render.cut(f"  {text('status.balance.unknown', lang)} {balance.problem or ''}", render.COLUMNS)]
    sums = text(
        "status.balance.holds" if balance.holds else "status.balance.broken", lang, appended=balance.appended,
        receipted=balance.receipted, refused=balance.refused, pending=balance.pending,
    )  # fmt: skip
    if balance.pending and balance.oldest_pending_s is not None:
        sums += "  " + text("cli.balance.oldest", lang, ago=span(balance.oldest_pending_s, lang))
    return [*lines, render.cut("  " + sums, render.COLUMNS)]


def _ledger(status: Status, lang: str) -> list[str]:
    ledger, today, process = status.ledger, status.today, status.process
    if not ledger.readable:
        return [render.cut(f"{_title('ledger', lang)}  {ledger.problem}", render.COLUMNS)]
    chain = text(f"status.chain.{ledger.chain}", lang, checked=ledger.chain_checked)
    facts = text("cli.ledger", lang, entries=ledger.entries, head=ledger.head or "-", chain=chain)
    if process.late or process.queued:
        facts += "  " + text("cli.late", lang, late=process.late, queued=process.queued)
    if process.ledger_fill:
        facts += "  " + text("cli.room", lang, percent=round(process.ledger_fill * 100))
    counts = text("cli.today", lang, open=today.open, hold=today.hold, refuse=today.refuse, manual=today.manual)
    return [
        render.cut(f"{_title('ledger', lang)}  {facts}", render.COLUMNS),
        f"{_title('today', lang)}  {counts}",
    ]


def _waiting(status: Status, lang: str, style: render.Style) -> list[str]:
    lines = []
    for held in status.waiting[:_MOST_WAITING]:
        why = listing((code(reason, lang) for reason in held.reasons), lang)
        command = f"  {style.arrow} sentinelctl register --after {held.key}"
        room = render.COLUMNS - 2 - render.width(command)
        lines.append("  " + render.cut(f"{clock(held.wall_ns, status.wall_ns)} {why}", room) + command)
    if not lines:
        return []
    return [f"{_title('waiting', lang)}  {len(status.waiting)}", *lines]


def _findings(status: Status, lang: str, style: render.Style, room: int) -> list[str]:
    lines = [line for finding in status.findings for line in _finding_lines(finding, lang, style)]
    return [_title("problems", lang), *lines[: room - 1]] if lines and room > 1 else []


def _finding_lines(finding: Finding, lang: str, style: render.Style) -> list[str]:
    """Return one line, or two where what to do next does not fit beside what was found. A mode is in the first line."""
    if finding.id.startswith("mode-"):
        return []
    said = f"  {style.mark(finding.severity)} {finding_words(finding, lang)}"
    remedy = f"{style.arrow} {finding_next(finding, lang)}"
    if render.width(finding_words(finding, lang)) + render.width(remedy) + 8 <= render.COLUMNS:
        return [f"{said}  {remedy}"]
    return [said, render.cut(f"    {remedy}", render.COLUMNS)]


def run_record(args: argparse.Namespace) -> int:
    """Print one entry, and its personal part where that is asked for and allowed."""
    from sentinel.erasure import days_of, until_of
    from sentinel.street_policy import overlaid
    from sync.dating import dating_of
    from sync.entry import parse_key
    from sync.ledger import LedgerReader

    settings = overlaid(load(args.config))
    try:
        key = parse_key(args.key)
    except ValueError as error:
        raise UsageError(f"{error}; find keys with: sentinelctl list records") from error
    with LedgerReader(settings.paths.ledger) as reader:
        entry = reader.get(key)
        if entry is None:
            raise UsageError(f"the ledger has no entry {key}; find keys with: sentinelctl list records")
        until = until_of(entry, reader.began_after, days_of(settings))
        dated = dating_of(reader, [entry.stamp], always=True).when(entry.stamp)
    revealed = _revealed(entry, settings) if args.reveal else None
    document = record_document(entry, revealed, dated, until)
    if args.json:
        print(json.dumps(document, ensure_ascii=False, indent=1))
    elif not args.quiet:
        print("\n".join(record_lines(document)))
    return 0


def record_document(
    entry: Any, revealed: dict[str, Any] | None, dated: Any = None, until: str | None = None
) -> dict[str, Any]:
    """Return an entry as JSON values; the personal part only when it was opened, and until which day it is kept."""
    stamp = entry.stamp
    personal: dict[str, Any] = {
        "state": "none" if entry.personal_sha256 is None else "erased" if entry.personal is None else "sealed",
        "key": entry.personal_key,
        "until": until,
    }
    if revealed is not None:
        personal |= {"state": "revealed", "content": revealed}
    return {
        "schema": "sentinel.record/1",
        "key": str(entry.key),
        "uuid": str(entry.uuid),
        "kind": entry.kind,
        "version": entry.version,
        "request": entry.request,
        "stamp": {
            "local": local(stamp.wall_ns).isoformat(timespec="milliseconds"),
            "utc": datetime.fromtimestamp(stamp.wall_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
            "wall_ns": stamp.wall_ns,
            "boot_ns": stamp.boot_ns,
            "boot_id": stamp.boot_id,
            "clock_trusted": stamp.clock_trusted,
        },
        **({"time": time_document(dated)} if dated is not None else {}),
        "body": entry.data,
        "personal": personal,
        "prev": entry.prev.hex(),
        "hash": entry.hash.hex(),
    }


def time_document(dated: Any) -> dict[str, Any]:
    """Return when an entry was made and what that stands on, as JSON values; `sync.dating.Dated` says what is what."""
    bounds = {"not_before": dated.earliest_ns, "not_after": dated.latest_ns}
    return {
        "quality": str(dated.quality),
        "at": local(dated.wall_ns).isoformat(timespec="milliseconds"),
        **{name: local(ns).isoformat(timespec="milliseconds") for name, ns in bounds.items() if ns is not None},
    }


def record_lines(document: dict[str, Any]) -> list[str]:
    """Return the document as one `name  value` per line, nested names with dots."""
    rows = [(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for name, value in _flat(document) if name != "schema"]  # fmt: skip
    return render.table(rows, most=None)


def _flat(values: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        rows += _flat(value, f"{before}{name}.") if isinstance(value, dict) else [(before + name, value)]
    return rows


def _revealed(entry: Any, settings: Settings) -> dict[str, Any]:
    from sentinel.keyroom import open_vault

    secrets_dir = settings.paths.secrets_dir
    if entry.personal is None or entry.personal_key is None:
        raise DataError(f"entry {entry.key} holds no personal part, or it was erased; show it without --reveal")
    if secrets_dir.is_dir() and not os.access(secrets_dir, os.R_OK | os.X_OK):
        raise NotPermitted(f"this user may not read {secrets_dir}; ask somebody who may, or leave --reveal out")
    print("sentinelctl: personal data follows; show it to nobody who need not see it", file=sys.stderr)
    vault = open_vault(settings)
    return dict(vault.unseal(entry.personal_key, entry.personal))


def run_config(args: argparse.Namespace) -> int:
    """Print every setting, or what the street may set: its value and its origin."""
    from sentinel.street_policy import SETTABLE, overlaid

    rows = explain(overlaid(load(args.config)))
    if args.noun == "policy":
        rows = [row for row in rows if (row.table, row.key) in SETTABLE.values()]
    if args.json:
        settings = [{**asdict(row), "value": _plain(row.value)} for row in rows]
        print(json.dumps({"schema": "sentinel.config/1", "settings": settings}, ensure_ascii=False, indent=1))
    elif not args.quiet:
        cells = [(f"[{row.table}]", row.key, _value_text(row.value), row.unit, row.origin) for row in rows]
        print("\n".join(render.table(cells, most=None)))
    return 0


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _value_text(value: Any) -> str:
    return "-" if value is None else json.dumps(_plain(value), ensure_ascii=False)
