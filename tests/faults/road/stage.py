"""Set one run of the road: a gate, its broker and its street, kept alive, broken by a scene's faults, then judged."""

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from sync.cursor import Cursor
from sync.entry import Key

from .card import Card
from .lives import Broker, Zygote
from .oracle import Account, holes_of, judge_gate, judge_report, judge_street
from .powercut import Disk
from .proxy import Proxy
from .town import Gate, Home, Street, memory_folder, pause, until

REVIVE_S = 0.2  # in life systemd waits 2 s
SETTLE_S = 150.0  # the longest wait of the uplink is 60 s, after a refusal that nothing told it is over
WRITERS_TO_SETTLE = 3  # what a writer can only spool while it ends, its next life brings home
NAME = "road"
CPU_LIMIT_US = 1_000


OVER = threading.Event()  # somebody ends the campaign: each run stops where it is and clears up


class Stage:
    """One run. What it needs beyond gate, broker and street is made by the scene that needs it."""

    def __init__(self, zygote: Zygote, seed: int, *, disks: bool = False, persistent: bool = False) -> None:
        self.chance = random.Random(seed)
        self.zygote = zygote
        self.clearing = ExitStack()
        self.base = Path(tempfile.mkdtemp(prefix="campaign-", dir=memory_folder()))
        self.disk_folder = Path(tempfile.mkdtemp(prefix="campaign-"))  # not in memory: our words must not be sick
        self.disks: list[Disk] = [self._disk(part) for part in ("gate", "street")] if disks else []
        places = [disk.place for disk in self.disks] or [self._folder("gate"), self._folder("street")]
        self.cards = [Card(self.base / f"card-{at}", place) for at, place in enumerate(places)] if zygote.sick else []
        self.broker = Broker(self.base, persistent=persistent)
        self.broker.start()
        self.clearing.callback(self.broker.end)
        self.url = f"mqtt://127.0.0.1:{self.broker.port}"
        self.gates = [self.gate(NAME, places[0])]
        self.street = Street(self.base, zygote, self.url, state=places[1], card=self.cards[1] if self.cards else None)
        self.down: set[str] = set()  # who is dead on purpose
        self.revived: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.twins = False
        self.refused = self.forgets = self.damages = False
        self.extra: dict[str, Any] = {}  # what a scene needs besides

    def gate(self, name: str, state: Path) -> Gate:
        """Return a gate with its things in this folder; the first is ours, a second one may bear its name."""
        base = self.base / f"home{len(list(self.base.glob('home*')))}"
        base.mkdir()
        gate = Gate(Home(name=name, state=state, base=base), self.zygote, self.url, card=next(iter(self.cards), None))
        gate.per_s = 60.0
        return gate

    def proxied(self) -> tuple[Proxy, Proxy]:
        """Put a proxy before the gate and one before the street; call before anything starts."""
        made = []
        for part in (self.gates[0], self.street):
            proxy = Proxy(("127.0.0.1", self.broker.port), self.chance.randrange(1 << 30))
            self.clearing.callback(proxy.close)
            part.url = f"mqtt://127.0.0.1:{proxy.port}"  # type: ignore[attr-defined]
            made.append(proxy)
        return made[0], made[1]

    def start(self) -> None:
        """Start all and wait until the first entries are receipted."""
        self.street.start()
        for role in ("writer", "uplink"):
            self.gates[0].start(role)
        if not until(lambda: self.gates[0].said().get("connected") is True, 30.0):
            raise RuntimeError(f"the road does not begin; see {self.base}")

    def wait(self, seconds: float) -> None:
        """Let time pass, and start again whatever ended by itself."""
        deadline = time.monotonic() + seconds
        while True:
            if OVER.is_set():
                raise InterruptedError("the campaign was ended")
            self._revive()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            pause(min(REVIVE_S, left_s))

    def kill(self, role: str, number: int = signal.SIGKILL) -> None:
        """End one of writer, uplink, street and broker, and keep it down."""
        self.down.add(role)
        if role == "broker":
            self.broker.end(number)
        elif role == "street":
            self.street.end(number)
        else:
            self.gates[0].end(role, number)

    def freeze(self, *roles: str) -> None:
        """Let these stand still: with the power that they are about to lose goes their processor's."""
        for role in roles:
            life = self.street.life if role == "street" else self.gates[0].lives.get(role)
            if life is not None:
                life.freeze()

    def start_again(self, *roles: str) -> None:
        """Start them again."""
        for role in roles:
            self.down.discard(role)
            if role == "broker":
                self.broker.start()
            elif role == "street":
                self.street.start()
            else:
                self.gates[0].start(role)

    def _revive(self) -> None:
        if "street" not in self.down and self.street.life is not None and not self.street.life.alive():
            self.revived["street"] += 1
            self.street.end()
            self.street.start()
        for gate in self.gates:
            for role, life in list(gate.lives.items()):
                if role not in self.down and not life.alive():
                    self.revived[role] += 1
                    gate.end(role)
                    gate.start(role)

    def settle(self, account: Account) -> float:
        """Stop the writers in order, wait until everything has its answer, end all; return how long it took."""
        for gate in self.gates:
            gate.quiet = True
        began = time.monotonic()
        self.wait(0.5)
        for _ in range(WRITERS_TO_SETTLE):
            if self._end_writers(account):
                break
        account.must(
            self._until(lambda: all(gate.settled() for gate in self.gates), SETTLE_S), "stuck: not all was receipted"
        )
        took_s = time.monotonic() - began
        for gate in self.gates:
            gate.end("uplink", signal.SIGTERM)
        self.street.end(signal.SIGTERM)
        return took_s

    def _end_writers(self, account: Account) -> bool:
        """End the writers in order; return whether nothing is left in a spool."""
        for gate in self.gates:
            if "writer" not in gate.lives:
                gate.start("writer")
        ledgers = [gate.home.state / "ledger.db" for gate in self.gates]
        spools = [gate.home.state / f"spool.jsonl{end}" for gate in self.gates for end in ("", ".importing")]
        self._until(lambda: all(ledger.exists() for ledger in ledgers), 30.0)  # a new twin's may have lived for no time
        self.wait(0.5)  # what was spooled comes home
        self._until(lambda: not any(spool.exists() for spool in spools), 30.0)
        for gate in self.gates:
            account.must(gate.end("writer", signal.SIGTERM), "stuck: the writer does not end")
        return not any(spool.exists() for spool in spools)

    def _until(self, holds: object, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not holds():  # type: ignore[operator]
            if time.monotonic() > deadline:
                return False
            self.wait(0.1)
        return True

    def judge(self, account: Account) -> None:
        """Close the books."""
        entries, dead = {}, set[Key]()
        home = self.gates[0].home
        holes = holes_of(home.state, self.street.store, home.device) if self.damages else []
        lives = [path for gate in self.gates for path in gate.words()]
        for gate in self.gates:
            mine = set(gate.words())
            others = [path for path in lives if path not in mine] if self.twins else []
            found = judge_gate(
                account, gate.home.state, mine, others=others, refused=self.refused, forgets=self.forgets, holes=holes
            )
            for entry in found:
                same = entries.setdefault((entry.key, entry.hash), entry)
                account.must(same.hash == entry.hash, f"one key for two: {entry.key}")
            with Cursor(gate.home.state / "uplink.db") as cursor:
                dead |= {one.key for one in cursor.dead_letters()}
        account.must(len({key for key, _ in entries}) == len(entries), "one key was given twice")
        judge_street(
            account, self.street.store, home.device, list(entries.values()), dead,
            lives=[path.stem for path in lives], holes=holes,
        )  # fmt: skip
        judge_report(account, self.street.store, breaks=self.twins or self.damages)
        slow = sum(us > CPU_LIMIT_US for us in account.cpu_us)
        account.must(slow <= max(1, len(account.cpu_us) // 100), f"slow: {slow} hand-overs took over 1 ms of processor")

    def close(self, *, keep: bool = False) -> None:
        """End and clear everything."""
        for gate in self.gates:
            for role in list(gate.lives):
                gate.end(role)
        self.street.end()
        self.clearing.close()
        if not keep:
            shutil.rmtree(self.base, ignore_errors=True)
            shutil.rmtree(self.disk_folder, ignore_errors=True)

    def _folder(self, part: str) -> Path:
        place = self.disk_folder / part
        place.mkdir()
        return place

    def _disk(self, part: str) -> Disk:
        disk = Disk(self._folder(part))
        self.clearing.callback(disk.end)
        if not disk.real:
            self.clearing.close()
            raise RuntimeError("no disk can be mounted here")
        return disk


def is_root() -> bool:
    """Whether disks may be mounted and links be taken down here."""
    return os.geteuid() == 0
