"""Check what must hold: the settings are right, the chain is whole, the balance is even."""

import argparse
import json
import re
import sys
from itertools import combinations
from typing import Any
from urllib.parse import urlsplit

from sentinel.cli import add_nouns, add_verb, render
from sentinel.condition import Balance
from sentinel.core.errors import ConfigError, DataError
from sentinel.core.kinds import Deletion
from sentinel.device_settings import SERIAL_TABLES
from sentinel.i18n import text
from sentinel.settings import Settings, load

_MOST_DELETIONS = 100_000
_MOST_TOLD = 100


def add(subparsers: Any) -> None:
    """Add `check config` and `check ledger`."""
    nouns = add_nouns(subparsers, "check", summary="Check what must hold: config, ledger.")
    add_verb(
        nouns,
        "config",
        run_config,
        summary="Check the settings file, one line per mistake.",
        example="sentinelctl check config --config /etc/sentinel/gate.toml",
        exits="0 every setting is right, 78 one or more are wrong",
    )
    add_verb(
        nouns,
        "ledger",
        run_ledger,
        summary="Verify the whole hash chain and the balance of appended, receipted, refused and pending.",
        example="sentinelctl check ledger --json",
        exits="0 whole and even, 65 a break, an uneven balance, or a personal part that no deletion names is missing",
    )


def run_config(args: argparse.Namespace) -> int:
    """Print ok, or one line per mistake to standard error."""
    try:
        advice = port_advice(load(args.config))
    except ConfigError as error:
        mistakes = str(error).splitlines()
        if args.json:
            print(json.dumps({"schema": "sentinel.check/1", "ok": False, "mistakes": mistakes}, ensure_ascii=False))
        for mistake in mistakes:
            print(mistake, file=sys.stderr)
        return error.exit_code
    if args.json:
        print(json.dumps({"schema": "sentinel.check/1", "ok": True, "mistakes": [], "advice": advice}))
    elif not args.quiet:
        print("ok")
        for line in advice:
            print(line, file=sys.stderr)
    return 0


def port_advice(settings: Settings) -> list[str]:
    """Return what is right on paper and will not stay so on this box: names that change, one device named twice.

    Raises: ConfigError when two tables name one device by different names.
    """
    from drivers.identity import same_device, stable_name

    named = {name: getattr(settings, name) for name in SERIAL_TABLES}
    ports = {
        name: chosen.port
        for name, chosen in named.items()
        if chosen.kind != "none" and chosen.port and not chosen.port.startswith(("i2c:", "sim:"))
    }
    for one, other in combinations(ports, 2):
        if same_device(ports[one], ports[other]):
            raise ConfigError(f"{settings.source}: [{one}] and [{other}] name the same device; give each its own port")
    advice = []
    for name, port in ports.items():
        path = urlsplit(port).path
        lasting = stable_name(path) if re.match(r"/dev/tty(USB|ACM)\d+$", path) else None
        if lasting:
            advice.append(f"[{name}] {path} may get another number after a replug; write {lasting}")
    return advice


def run_ledger(args: argparse.Namespace) -> int:
    """Print what was verified, and name every break by its numbers."""
    from sentinel.erasure import PartsCheck
    from sentinel.keyroom import own_identity
    from sentinel.status import Sources, balance_of
    from sync.identity import Believed
    from sync.ledger import LedgerReader

    sources, settings = Sources(), load(args.config)
    paths, ours = settings.paths, own_identity(settings)
    with LedgerReader(paths.ledger) as reader:
        check = PartsCheck(reader.newest(_MOST_DELETIONS, Deletion.KIND), Believed([ours]).verify if ours else None)
        chain = reader.verify(check.look)
        balance = balance_of(reader, paths.uplink_db, sources, sources.wall_ns())
    even = balance.known and balance.holds
    if args.json:
        print(json.dumps(_document(chain, balance, check.parts), ensure_ascii=False))
    elif not args.quiet:
        print("\n".join(ledger_lines(chain, balance, args) + part_lines(check.parts, args, checked=ours is not None)))
    return 0 if chain.ok and even and check.parts.ok else DataError.exit_code


def part_lines(parts: Any, args: argparse.Namespace, *, checked: bool) -> list[str]:
    """Return in words what became of the personal parts."""
    style = render.terminal_style(sys.stdout, plain=args.plain)
    said = text("cli.check.parts", args.lang, present=parts.present, erased=parts.erased)
    lines = [f"{style.mark('ok' if parts.ok else 'fault')} {said}"]
    lines += [f"  {missing}" for missing in parts.missing[:_MOST_TOLD]]
    if parts.undone:
        lines.append(f"  {text('cli.check.parts_undone', args.lang, count=parts.undone)}")
    if parts.erased and not checked:
        lines.append(f"  {style.mark('warning')} {text('cli.check.unsigned', args.lang)}")
    return lines


def ledger_lines(chain: Any, balance: Balance, args: argparse.Namespace) -> list[str]:
    """Return the result in words: the chain, each break, the balance."""
    style = render.terminal_style(sys.stdout, plain=args.plain)
    said = text("cli.check.chain_ok" if chain.ok else "cli.check.chain_broken", args.lang, checked=chain.checked)
    lines = [f"{style.mark('ok' if chain.ok else 'fault')} {said}"]
    lines += [f"  {broken}" for broken in chain.breaks]
    if chain.pruned:
        lines.append(f"  {text('cli.check.pruned', args.lang, pruned=chain.pruned)}")
    lines += [f"  {style.mark('warning')} {text('cli.check.hole', args.lang, hole=hole)}" for hole in chain.holes]
    if not balance.known:
        unknown = text("status.balance.unknown", args.lang)
        return [*lines, f"{style.mark('warning')} {unknown} {balance.problem or ''}".rstrip()]
    sums = text(
        "status.balance.holds" if balance.holds else "status.balance.broken", args.lang, appended=balance.appended,
        receipted=balance.receipted, refused=balance.refused, pending=balance.pending,
    )  # fmt: skip
    return [*lines, f"{style.mark('ok' if balance.holds else 'fault')} {sums}"]


def _document(chain: Any, balance: Balance, parts: Any) -> dict[str, Any]:
    return {
        "schema": "sentinel.check/1",
        "ok": chain.ok and balance.known and balance.holds and parts.ok,
        "personal": {"present": parts.present, "erased": parts.erased, "undone": parts.undone,
                     "missing": parts.missing[:_MOST_TOLD]},
        "chain": {"ok": chain.ok, "checked": chain.checked, "breaks": list(chain.breaks),
                  "pruned": chain.pruned, "holes": [str(hole) for hole in chain.holes]},
        "balance": {
            "known": balance.known, "holds": balance.holds, "appended": balance.appended,
            "receipted": balance.receipted, "refused": balance.refused, "pending": balance.pending,
        },
    }  # fmt: skip
