"""Kill the writer, the uplink and the street again and again, or cut the power of their disks; judge after each round.

Half of the lives are told a step to die at: an SQL statement or a change of a file, counted from their start. The other
half die at a moment of chance. Each round has a ledger, a cursor and a store of its own, and a broker of its own.
"""

import random
import select
import shutil
import signal
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sync.cursor import Cursor

from .lives import Broker, Life, Zygote
from .oracle import Account, judge_gate, judge_report, judge_street
from .powercut import Disk
from .town import Gate, Home, Street, memory_folder, pause, until

ROUND = 200  # deaths with one ledger; some thousand entries, read once whole
LONGEST_LIFE_S = 0.25
MOST_STEPS = 200
CUT_AFTER_S = 0.5
SETTLE_S = 90.0
ROLES = ("writer", "uplink", "street")


@dataclass(slots=True, kw_only=True)
class Toll:
    """What a campaign of deaths has come to."""

    deaths: Counter[str] = field(default_factory=Counter)
    account: Account = field(default_factory=Account)
    rounds: int = 0


class Round:
    """One gate and one street, to be killed."""

    def __init__(self, zygote: Zygote, base: Path, name: str, chance: random.Random, *, disks: ExitStack | None):
        self.base, self.chance = base, chance
        self.broker = Broker(base)
        self.broker.start()
        url = f"mqtt://127.0.0.1:{self.broker.port}"
        self.disks = [_disk(base / part, disks) for part in ("gate-disk", "street-disk")] if disks else []
        state = self.disks[0].place if self.disks else base / "state"
        state.mkdir(exist_ok=True)
        self.gate = Gate(Home(name=name, state=state, base=base), zygote, url, whole=bool(disks))
        self.gate.per_s = 150.0
        self.street = Street(base, zygote, url, state=self.disks[1].place if self.disks else None)

    def life(self, role: str) -> Life | None:
        """Return the running process of this role."""
        return self.street.life if role == "street" else self.gate.lives.get(role)

    def start(self, role: str, die_at: int = 0) -> None:
        """Start one."""
        self.street.start(die_at) if role == "street" else self.gate.start(role, die_at)

    def end(self, role: str) -> None:
        """Kill one."""
        self.street.end() if role == "street" else self.gate.end(role)

    def kill(self, deaths: int, toll: Toll) -> None:
        """Let so many processes die, each begun anew at once."""
        due = dict.fromkeys(ROLES, 0.0)
        for role in ROLES:
            due[role] = self._begin(role)
        for _ in range(deaths):
            role, how = self._next_death(due)
            toll.deaths[f"{role} {how}"] += 1
            self.end(role)
            due[role] = self._begin(role)

    def _begin(self, role: str) -> float:
        """Start one with a fate; return when it must be killed at the latest."""
        doomed = self.chance.random() < 0.5
        self.start(role, self.chance.randint(1, MOST_STEPS) if doomed else 0)
        return time.monotonic() + (4 * LONGEST_LIFE_S if doomed else self.chance.uniform(0.0, LONGEST_LIFE_S))

    def _next_death(self, due: dict[str, float]) -> tuple[str, str]:
        fds = {life.pidfd: role for role in ROLES if (life := self.life(role)) is not None and life.pidfd >= 0}
        dead = [role for role in ROLES if (life := self.life(role)) is None or life.pidfd < 0]
        if dead:
            return dead[0], "at a step"
        role = min(due, key=lambda one: due[one])
        ready, _, _ = select.select(list(fds), [], [], max(0.0, due[role] - time.monotonic()))
        return (fds[ready[0]], "at a step") if ready else (role, "at a moment")

    def cut(self, cuts: int, toll: Toll) -> None:
        """Cut the power of the gate's disk or of the street's so many times."""
        for role in ROLES:
            self.start(role)
        for _ in range(cuts):
            pause(self.chance.uniform(0.0, CUT_AFTER_S))
            side = self.chance.choice((0, 0, 1))  # the gate's twice as often: it has two files
            roles = ROLES[:2] if side == 0 else ROLES[2:]
            # Nobody runs on without power. A process that did could be told by a synchronisation under way that all
            # is well, and acknowledge what is gone: 4 times in 500 before this line was here.
            for role in roles:
                if (life := self.life(role)) is not None:
                    life.freeze()
            self.disks[side].shut_down()
            for role in roles:
                self.end(role)
            self.disks[side].mount_again()
            toll.deaths[("gate", "street")[side]] += 1
            for role in roles:
                self.start(role)

    def judge(self, toll: Toll) -> None:
        """Let all live until everything is answered for, end them in order, and close the books."""
        account = toll.account
        self.gate.quiet = True
        for role in ROLES:
            self.end(role)
            self.start(role)
        pause(0.3)
        until(self.gate.settled, SETTLE_S)
        account.must(self.gate.end("writer", signal.SIGTERM), "the writer does not end")
        account.must(until(self.gate.settled, SETTLE_S), "stuck: not everything was receipted")
        for role in ROLES:
            self.end(role)
        entries = judge_gate(account, self.gate.home.state, self.gate.words(), forgets=bool(self.disks))
        with Cursor(self.gate.home.state / "uplink.db") as cursor:
            dead = {one.key for one in cursor.dead_letters()}
        lives = [path.stem for path in self.gate.words()]
        judge_street(account, self.street.store, self.gate.home.device, entries, dead, lives=lives)
        judge_report(account, self.street.store)
        toll.rounds += 1

    def close(self) -> None:
        """End everything."""
        for role in ROLES:
            self.end(role)
        self.broker.end()


def _disk(base: Path, disks: ExitStack) -> Disk:
    base.mkdir()
    disk = Disk(base)
    disks.callback(disk.end)
    return disk


def campaign(deaths: int, seed: int, *, cuts: bool, say: bool = True) -> Toll:
    """Play so many deaths, or power cuts, and return what came of them."""
    toll, chance = Toll(), random.Random(seed)
    began = time.monotonic()
    with Zygote(sick=False) as zygote:
        done = 0
        while done < deaths:
            count = min(ROUND // 4 if cuts else ROUND, deaths - done)
            base = Path(tempfile.mkdtemp(prefix=f"campaign-{seed}-{done}-", dir=None if cuts else memory_folder()))
            wrong = len(toll.account.wrong)
            with ExitStack() as disks:
                scene = Round(zygote, base, f"g{done}", chance, disks=disks if cuts else None)
                try:
                    (scene.cut if cuts else scene.kill)(count, toll)
                    scene.judge(toll)
                finally:
                    scene.close()
            done += count
            if len(toll.account.wrong) == wrong:
                shutil.rmtree(base, ignore_errors=True)
            if say:
                more = toll.account.wrong[wrong:]
                told = f"; WRONG, kept in {base}: {more[:5]}" if more else ""
                counts = toll.account.counts
                print(
                    f"{done:6} {'cuts' if cuts else 'kills'}  {time.monotonic() - began:6.0f} s  entries"
                    f" {counts['entries']}  at the street {counts['at street']}{told}",
                    flush=True,
                )
    return toll
