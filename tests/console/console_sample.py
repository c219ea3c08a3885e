"""A well gate and ways to make it unwell, for the pages."""

from dataclasses import replace

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

NOW_NS = 1_795_329_118 * 1_000_000_000
KEY = "00000001000000ff-811"
TOKEN = "8c1e1234deadbeef8c1e1234deadbeef"
WELL = Process(
    alive=True, version="0.1.0", pid=812, up_s=9.0, mode="automatic",
    components=tuple(Component(name=name, state="ok") for name in ("card", "thermal", "vision", "barrier", "ledger")),
)  # fmt: skip


def status(process=WELL, uplink=None, waiting=(), last=()):
    uplink = uplink or Uplink(state="connected", since_s=60.0, age_s=1.0)
    balance = Balance(known=True, appended=9, receipted=7, pending=2)
    ledger = Ledger(readable=True, head=KEY, entries=9, epochs=1, chain="ok", chain_checked=9)
    findings = judge(process, uplink, balance, ledger)
    return Status(
        wall_ns=NOW_NS, verdict=verdict_of(findings), process=process, uplink=uplink, balance=balance, ledger=ledger,
        gate=GateName(street="330106", site="cuiyuan3", gate="east-3", lane="lane-1", direction="in"),
        today=Today(open=7, hold=1), waiting=waiting, last=last, findings=findings,
    )  # fmt: skip


def told(outcome, reason="accepted", at_s_ago=1.0, **process):
    screen = Screen(outcome=outcome, reason=reason, method="face", at_s_ago=at_s_ago)
    return status(replace(WELL, screen=screen, **process))


def of_profile(profile, now):
    """The same gate under another profile."""
    return replace(now, gate=replace(now.gate, profile=profile))


def without(*names, **process):
    """A gate some of whose components are broken."""
    components = tuple(
        replace(part, state="fault", symptom="lost", since_s=9.0) if part.name in names else part
        for part in WELL.components
    )
    return status(replace(WELL, components=components, **process))


HELD = Waiting(key=KEY, wall_ns=NOW_NS, age_s=0.0, reasons=("face-unknown", "temperature-high"), person=TOKEN)
LINE = Line(key=KEY, kind="passage", wall_ns=NOW_NS, clock_trusted=True, what="hold", codes=("face",), person=TOKEN)
