"""One gate's folder, its processes and their street: what kills, power cuts and all other scenes are played upon."""

import json
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sync.cursor import Cursor
from sync.errors import SyncError
from sync.ledger import LedgerReader
from sync.topics import topics

from .card import Card
from .lives import Life, Zygote

STREET, SITE = "330106", "road"
SETTINGS = """
[gate]
street = "{street}"
site = "{site}"
gate = "{name}"
profile = "card"
temperature = false
[paths]
state_dir = "{state}"
run_dir = "{run}"
secrets_dir = "{state}/secrets"
models_dir = "{state}/models"
[faults]
response_hours = 2
recovery_hours = 24
[retention]
passage_days = 30
fault_days = 365
audit_days = 365
[card]
port = "serial:///dev/ttyS3?baud=115200"
[thermal]
kind = "none"
[camera]
source = ""
[barrier]
factory = "mock"
relay = 17
[uplink]
broker = "{url}"
keepalive_s = 5
resend_s = 1.0
{more}
"""


def pause(seconds: float) -> None:
    """Let time pass: it is what faults are made of."""
    if seconds > 0:
        select.select([], [], [], seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where one gate keeps its things: `state` on the disk that may fail, `base` in memory, for words and logs."""

    name: str
    state: Path
    base: Path

    @property
    def device(self) -> str:
        """The gate's name at the street."""
        return str(topics(STREET, SITE, self.name).gate)


class Gate:
    """One gate: the writer and the uplink over one folder."""

    def __init__(self, home: Home, zygote: Zygote, url: str, *, card: Card | None = None, whole: bool = True) -> None:
        self.home, self.url, self.card, self.whole = home, url, card, whole
        self.netns: str | None = None
        self.more = ""  # settings of [uplink]
        self.per_s, self.waits, self.huge = 30.0, 0.5, 0.0
        self.quiet = False
        self._zygote = zygote
        self._born = 0
        self.lives: dict[str, Life] = {}

    def start(self, role: str, die_at: int = 0) -> None:
        """Start the writer or the uplink; there is one of each."""
        assert role not in self.lives, f"{role} lives already"
        more: dict[str, object] = {"die_at": die_at, "card": str(self.card.path) if self.card else None}
        if role == "writer":
            self._born += 1
            life = f"{self.home.base.name}.{self._born}"
            words = self.home.base / "words" / f"{life}.jsonl"
            words.parent.mkdir(exist_ok=True)
            argv = ["--state", str(self.home.state), "--words", str(words), "--life", life]
            argv += ["--per-s", str(self.per_s), "--waits", str(self.waits), "--huge", str(self.huge)]
            argv += ["--whole"] * self.whole + ["--quiet"] * self.quiet
        else:
            config = self.home.base / "gate.toml"
            config.write_text(
                SETTINGS.format(
                    street=STREET, site=SITE, name=self.home.name, state=self.home.state,
                    run=self.home.base / "run", url=self.url, more=self.more,
                )
            )  # fmt: skip
            argv = ["--config", str(config)]
            more["netns"] = self.netns
        self.lives[role] = self._zygote.spawn(role, argv, self.home.base / f"{role}.log", **more)

    def end(self, role: str, number: int = signal.SIGKILL) -> bool:
        """End the writer or the uplink; return whether it obeyed."""
        life = self.lives.pop(role, None)
        return life is None or life.end(number)

    def words(self) -> list[Path]:
        """Return the files in which the writers of this gate have spoken."""
        return sorted((self.home.base / "words").glob("*.jsonl"))

    def settled(self) -> bool:
        """Tell whether every entry has its answer from the street; for what a damaged page took there is none."""
        try:
            with Cursor(self.home.state / "uplink.db") as cursor, LedgerReader(self.home.state / "ledger.db") as reader:
                lost = {(gap.epoch, seq) for gap in reader.gaps().damaged() for seq in range(gap.first, gap.last + 1)}
                return all(
                    (span.epoch, seq) in lost
                    for span in reader.epochs()
                    for run in cursor.open_runs(span.epoch, span.first_seq, span.last_seq)
                    for seq in range(run.first, run.last + 1)
                )
        except SyncError:
            return False

    def said(self) -> dict[str, object]:
        """Return what the uplink says of itself."""
        try:
            return json.loads((self.home.base / "run" / "uplink.json").read_text())
        except (OSError, ValueError):
            return {}


class Street:
    """The street's receiver and its store."""

    def __init__(self, base: Path, zygote: Zygote, url: str, *, state: Path | None = None, card: Card | None = None):
        self.base, self.url, self.card = base, url, card
        self.store = (state or base) / "street.db"
        self.more: list[str] = []
        self.life: Life | None = None
        self._zygote = zygote

    def start(self, die_at: int = 0) -> None:
        """Start it."""
        card = str(self.card.path) if self.card else None
        argv = ["--broker", self.url, "--store", str(self.store), *self.more]
        self.life = self._zygote.spawn("street", argv, self.base / "street.log", die_at=die_at, card=card)

    def end(self, number: int = signal.SIGKILL) -> bool:
        """End it; return whether it obeyed."""
        life, self.life = self.life, None
        return life is None or life.end(number)


def until(holds: Callable[[], bool], seconds: float, every_s: float = 0.05) -> bool:
    """Wait until it holds; return whether it does."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        pause(every_s)
    return True


def memory_folder() -> Path:
    """Return a folder in memory, where there is one: words must outlive their speaker, and no disk is needed for it."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else Path(os.environ.get("TMPDIR", "/tmp"))
