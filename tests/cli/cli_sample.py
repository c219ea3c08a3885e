"""Statuses of an invented gate at a fixed moment, and a ledger with one of everything."""

from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

from sentinel.condition import (
    Balance,
    Component,
    GateName,
    Ledger,
    Line,
    Process,
    Screen,
    Status,
    Today,
    Uplink,
    Waiting,
    judge,
    verdict_of,
)
from sync.entry import Draft, Stamp
from sync.ledger import LedgerWriter
from sync.vault import Vault

NOW_NS = 1_795_329_118 * 1_000_000_000  # 2026-11-22 14:31:58 in Shanghai
EPOCH = "00000001000000ff"
TOKEN = "8c1e1234deadbeef8c1e1234deadbeef"

GATE = GateName(street="330106", site="cuiyuan3", gate="east-3", lane="lane-1", direction="in")
WELL = Process(
    alive=True, version="0.1.0", pid=812, up_s=530_000.0, mode="automatic", screen=Screen(outcome="none"),
    components=(
        Component(name="card", state="ok", last_good_s_ago=0.3),
        Component(name="thermal", state="ok", last_good_s_ago=0.1),
        Component(name="vision", state="ok", last_good_s_ago=0.1),
        Component(name="barrier", state="ok"),
        Component(name="ledger", state="ok"),
    ),
)  # fmt: skip
FAULTY = replace(
    WELL, mode="assisted", because=("card:silent",),
    components=(
        Component(name="card", state="fault", symptom="silent", detail="nothing valid for 3 s", last_good_s_ago=1740.0),
        *WELL.components[1:],
    ),
)  # fmt: skip
CONNECTED = Uplink(state="connected", since_s=11_520.0, age_s=1.0)
OFFLINE = Uplink(state="offline", since_s=1860.0, last_error="Connection refused", layer="tcp", age_s=1.0)
EVEN = Balance(known=True, appended=812, receipted=812)
BEHIND = Balance(known=True, appended=812, receipted=768, refused=2, pending=42, oldest_pending_s=1860.0)
LEDGER = Ledger(readable=True, head=f"{EPOCH}-812", entries=812, epochs=1, chain="ok", chain_checked=200)


def line(seq, seconds_ago, kind, what, codes=(), person=None, trusted=True):
    return Line(
        key=f"{EPOCH}-{seq}", kind=kind, wall_ns=NOW_NS - int(seconds_ago * 1e9), clock_trusted=trusted,
        what=what, codes=codes, person=person,
    )  # fmt: skip


LAST = (
    line(812, 0, "passage", "open", ("card+face", "accepted"), TOKEN),
    line(811, 38, "passage", "hold", ("face", "face-unknown")),
    line(810, 90, "barrier", "timed-out"),
    line(809, 95, "registration", "opened", ("forgot-card",), "0" * 32),
    line(808, 1740, "mode", "assisted", ("card:silent",)),
    line(807, 1740, "fault", "card", ("silent",)),
    line(806, 90_000, "start", "gate", ("0.1.0",), trusted=False),
)
HELD = Waiting(key=f"{EPOCH}-811", wall_ns=NOW_NS - 38 * 10**9, age_s=38.0, reasons=("face-unknown",))


def status(process=WELL, uplink=CONNECTED, balance=EVEN, ledger=LEDGER, waiting=(), last=LAST):
    findings = judge(process, uplink, balance, ledger)
    return Status(
        wall_ns=NOW_NS, verdict=verdict_of(findings), gate=GATE, process=process, uplink=uplink, balance=balance,
        today=Today(open=791, hold=12, refuse=5, manual=21), ledger=ledger, waiting=waiting, last=last,
        findings=findings,
    )  # fmt: skip


GOOD = status()
BAD = status(process=FAULTY, uplink=OFFLINE, balance=BEHIND, waiting=(HELD,))
DEAD = status(process=Process(alive=False, silence="not-running"), uplink=OFFLINE, balance=BEHIND)


def passage(outcome="open", reasons=("accepted",), person=TOKEN, **more):
    body = {
        "outcome": outcome, "method": "card", "reasons": list(reasons), "lane": "lane-1", "direction": "in",
        "mode": "automatic", "person": person, **more,
    }  # fmt: skip
    return Draft(kind="passage", version=1, body=body)


def write_ledger(base: Path, drafts, wall_ns=NOW_NS):
    """Write a ledger of these drafts, one second apart, the last one at `wall_ns`; return the entries."""
    walls = chain(range(wall_ns - len(drafts) * 10**9, wall_ns, 10**9), repeat(wall_ns))

    def stamp():
        return Stamp(wall_ns=next(walls), boot_ns=1, boot_id="b" * 32, clock_trusted=True)

    vault = Vault.open(base / "secrets", create=True)
    writer = LedgerWriter.open(base / "ledger.db", vault=vault, stamp=stamp, random32=lambda: 255)
    try:
        return [writer.append(draft, 5.0) for draft in drafts]
    finally:
        writer.close("told to stop")
