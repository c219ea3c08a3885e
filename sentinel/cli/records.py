"""List the newest entries of the ledger, one line each, nobody's name in any of them."""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from itertools import zip_longest
from typing import Any

from sentinel.cli import add_nouns, add_verb, render
from sentinel.cli.show import time_document
from sentinel.cli.words import line_cells
from sentinel.condition import Line
from sentinel.core.errors import UsageError
from sentinel.core.kinds import ALL
from sentinel.i18n import text
from sentinel.phrases import local, until_words
from sentinel.settings import load
from sync.dating import Dating
from sync.entry import Entry

_FIRST_LOOK = 200  # entries read first; the look is widened fourfold until enough match
_UNIT_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_SECOND_NS = 1_000_000_000


def add(subparsers: Any) -> None:
    """Add `list records`."""
    nouns = add_nouns(subparsers, "list", summary="List many things: records.")
    records = add_verb(
        nouns,
        "records",
        run_records,
        summary="List the newest entries of the ledger, the newest last.",
        about="Persons appear as r: and eight digits of their keyed token; details: sentinelctl show record KEY.",
        example="sentinelctl list records --kind passage --outcome hold --since 2h",
        exits="0 listed (even when nothing matches), 64 called wrongly, 70 the ledger cannot be read",
    )
    records.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default 20)")
    records.add_argument("--kind", choices=sorted(ALL), help="only entries of this kind")
    records.add_argument("--outcome", choices=("open", "hold", "refuse"), help="only passages with this outcome")
    records.add_argument("--person", metavar="TOKEN", help="only this person: r: and eight digits, or the token")
    records.add_argument("--since", metavar="WHEN", help="30min, 2h, 1d, or a local time as 2026-11-22T14:00")


def run_records(args: argparse.Namespace) -> int:
    """Print the entries that match, oldest first."""
    from sentinel.erasure import days_of, until_of
    from sentinel.status import line_of
    from sentinel.street_policy import overlaid
    from sync.dating import dating_of
    from sync.ledger import LedgerReader

    if args.limit < 1:
        raise UsageError("--limit must be 1 or more; leave it out for 20")
    now_ns = time.time_ns()
    since_ns = since(args.since, now_ns) if args.since else None
    kind = "passage" if args.outcome else args.kind
    if args.outcome and args.kind not in (None, "passage"):
        raise UsageError("--outcome belongs to passages; leave --kind out")
    settings = overlaid(load(args.config))
    with LedgerReader(settings.paths.ledger) as reader:
        entries = matching(
            lambda limit: reader.newest(limit, kind),
            wanted(args.outcome, args.person),
            since_ns,
            args.limit,
            lambda found: dating_of(reader, (entry.stamp for entry in found)),
        )
        began_after = cache(reader.began_after)
        untils = [until_of(entry, began_after, days_of(settings)) for entry in entries]
        dating = dating_of(reader, (entry.stamp for entry in entries))
    lines = [
        line_of(entry, dating.when(entry.stamp), until) for entry, until in zip(entries, untils, strict=True)
    ]
    if args.json:
        print(json.dumps(document(entries, dating, untils), ensure_ascii=False, indent=1))
    elif not args.quiet:
        _print_lines(lines, now_ns, args)
    return 0


def matching(
    newest: Callable[[int], Sequence[Entry]],
    want: Callable[[Entry], bool],
    since_ns: int | None,
    limit: int,
    dating: Callable[[Sequence[Entry]], Dating],
) -> list[Entry]:
    """Return the newest entries that match, oldest first, reading no further back than it must.

    The wall clock may have been wrong for a while, so `since_ns` picks entries, by their corrected times, and never
    ends the search: it ends when enough match or the ledger is read through.
    """
    look = _FIRST_LOOK
    while True:
        entries = sorted(newest(look), key=lambda entry: entry.key)
        found = [entry for entry in entries if want(entry)]
        if since_ns is not None:
            when = dating(entries).when
            found = [entry for entry in found if when(entry.stamp).wall_ns >= since_ns]
        if len(found) >= limit or len(entries) < look:
            return found[-limit:]
        look *= 4


def wanted(outcome: str | None, person: str | None) -> Callable[[Entry], bool]:
    """Return the test an entry must pass."""
    token = person.removeprefix("r:") if person else None

    def want(entry: Entry) -> bool:
        data = entry.data if outcome or token else {}
        if outcome and data.get("outcome") != outcome:
            return False
        return token is None or str(data.get("person", "")).startswith(token)

    return want


def since(when: str, now_ns: int) -> int:
    """Return the wall time meant by `2h` (ago) or `2026-11-22T14:00` (local).

    Raises: UsageError when it is neither.
    """
    ago = re.fullmatch(r"(\d+)\s*(s|min|h|d)", when)
    if ago:
        return now_ns - int(ago[1]) * _UNIT_S[ago[2]] * _SECOND_NS
    try:
        return int(datetime.fromisoformat(when).astimezone().timestamp()) * _SECOND_NS
    except ValueError as error:
        raise UsageError(f"--since {when!r} is no time; write 30min, 2h, 1d or 2026-11-22T14:00") from error


def document(entries: Sequence[Entry], dating: Dating, untils: Sequence[str | None] = ()) -> dict[str, Any]:
    """Return the entries as JSON values, without their personal parts; `at` is as stamped, `time` as worked out."""
    records = [
        {
            "key": str(entry.key),
            "kind": entry.kind,
            "at": local(entry.stamp.wall_ns).isoformat(timespec="milliseconds"),
            "clock_trusted": entry.stamp.clock_trusted,
            "time": time_document(dating.when(entry.stamp)),
            "body": entry.data,
            "personal_until": until,
        }
        for entry, until in zip_longest(entries, untils)
    ]
    return {"schema": "sentinel.records/1", "records": records}


def _print_lines(lines: Sequence[Line], now_ns: int, args: argparse.Namespace) -> None:
    if not lines:
        print(text("cli.no_records", args.lang), file=sys.stderr)
        return
    cells = [(line.key, *line_cells(line, now_ns, args.lang), until_words(line.until, args.lang)) for line in lines]
    for row in render.table(cells, most=None):
        print(render.ascii_only(row) if args.plain else row)
