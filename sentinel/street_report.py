"""Print what a street holds and lacks of each gate, for people and for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sync.dating import Dated
from sync.entry import Key, epoch_text
from sync.gaps import GateReport, Rows, report
from sync.street_times import dates_in
from sync.wire import utc_text


def print_report(rows: Rows, *, gate: str | None, only_trouble: bool, as_document: bool) -> int:
    """Print the gates and their sum; return 1 when something is missing, forked, broken or forgotten."""
    gates = list(report(rows, gate))
    told = [one for one in gates if one.trouble or not only_trouble]
    if as_document:
        documents = [as_json(one, dates_in(rows, one.device)) for one in told]
        json.dump({"v": 1, "gates": documents, "total": total_of(gates)}, sys.stdout, ensure_ascii=False, indent=1)
        print()
    else:
        for one in told:
            print("\n".join(as_lines(one)))
        print(total_line(total_of(gates), gate))
    return int(any(one.trouble for one in gates))


def total_of(gates: Sequence[GateReport]) -> dict[str, int]:
    """Return the sums over gates, whether or not they are all printed."""
    return {
        "gates": len(gates),
        "in_trouble": sum(gate.trouble for gate in gates),
        "entries": sum(gate.entries for gate in gates),
        "missing": sum(gate.missing for gate in gates),
        "forks": sum(len(gate.forks) for gate in gates),
        "breaks": sum(len(gate.breaks) for gate in gates),
        "forgotten": sum(len(gate.forgotten) for gate in gates),
        "refused": sum(gate.refused for gate in gates),
    }


def total_line(total: Mapping[str, int], gate: str | None) -> str:
    """Return the sums as one line."""
    if not total["gates"]:
        return f"no gate named {gate} has sent anything" if gate else "no gate has sent anything yet"
    sums = ", ".join(f"{total[name]} {name}" for name in ("missing", "forks", "breaks", "forgotten", "refused"))
    return f"total  {total['gates']} gates, {total['in_trouble']} in trouble, {total['entries']} entries, {sums}"


def as_json(gate: GateReport, dates: Mapping[Key, Dated]) -> dict[str, Any]:
    """Return one gate's report as plain JSON values; `dates` are of the first and last entry held of each epoch."""
    return {
        "device": gate.device,
        "entries": gate.entries,
        "missing": gate.missing,
        "refused": gate.refused,
        "online": gate.online,
        "last_seen": utc_text(gate.seen_ns),
        "epochs": [
            {
                "epoch": epoch_text(epoch.epoch),
                "entries": epoch.entries,
                "last": epoch.last,
                "gaps": [[run.first, run.last] for run in epoch.missing],
                "times": [time_of(key, dates[key]) for key in sorted(dates) if key.epoch == epoch.epoch],
            }
            for epoch in gate.epochs
        ],
        "forks": [str(key) for key in gate.forks],
        "breaks": [str(key) for key in gate.breaks],
        "forgotten": [str(key) for key in gate.forgotten],
    }


def time_of(key: Key, dated: Dated) -> dict[str, Any]:
    """Return when an entry was made, corrected, as plain JSON values; see docs/messages.md, "Time"."""
    bounds = {"not_before": dated.earliest_ns, "not_after": dated.latest_ns}
    return {
        "sequence": key.seq,
        "at": utc_text(dated.wall_ns),
        "quality": str(dated.quality),
        **{name: utc_text(ns) for name, ns in bounds.items() if ns is not None},
    }


def as_lines(gate: GateReport) -> Sequence[str]:
    """Return one gate's report as lines for people."""
    online = {True: "online", False: "offline", None: "never announced"}[gate.online]
    lines = [
        f"{gate.device}  {online}  last seen {utc_text(gate.seen_ns)}",
        f"  {gate.entries} entries in {len(gate.epochs)} epochs, {gate.missing} missing, {gate.refused} refused",
    ]
    for epoch in gate.epochs:
        for run in epoch.missing:
            lines.append(f"  GAP    {epoch_text(epoch.epoch)}  {run.first}-{run.last} ({run.count} entries)")
    for word, keys in (("FORK", gate.forks), ("BREAK", gate.breaks), ("FORGOT", gate.forgotten)):
        lines += [f"  {word:6} {key}" for key in keys]
    return lines
