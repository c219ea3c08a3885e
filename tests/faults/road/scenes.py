"""The families of faults between a gate's card and the street's store: each makes a stage, and breaks it by chance."""

import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from .stage import NAME, Stage

EIO, ENOSPC = 5, 28
PAGE_BYTES = 2048
CARD_PAUSE_US = 264_000  # what a flash card was seen to pause for while it tidies up
DAY_S = 86_400

Fault = Callable[[Stage], Iterator[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One family. A fault is begun, held for a while, and ended: a generator that yields once."""

    faults: tuple[Fault, ...]
    needs_root: bool = False
    needs_card: bool = False  # the preloaded library, and so a compiler
    disks: bool = False
    persistent: bool = False
    prepare: Callable[[Stage], None] = lambda _stage: None
    longest_s: float = 0.6


@contextmanager
def fault(scene: Scene, stage: Stage) -> Iterator[None]:
    """Let one fault of the scene be while the body runs."""
    chosen = stage.chance.choice(scene.faults)
    stage.done[chosen.__name__] += 1
    running = chosen(stage)
    next(running)
    try:
        yield
    finally:
        with suppress(StopIteration):
            next(running)


# — processes —


def kill_9(stage: Stage) -> Iterator[None]:
    role = stage.chance.choice(("writer", "uplink", "street", "broker"))
    stage.kill(role)
    yield
    stage.start_again(role)


def broker_restart(stage: Stage) -> Iterator[None]:
    stage.kill("broker", stage.chance.choice((signal.SIGTERM, signal.SIGKILL)))
    if stage.chance.random() < 0.5:
        stage.broker.forget()
    yield
    stage.start_again("broker")


def broker_restart_at_once(stage: Stage) -> Iterator[None]:
    stage.kill("broker", signal.SIGKILL)
    stage.start_again("broker")
    yield


def street_stands_still(stage: Stage) -> Iterator[None]:
    _signal_street(stage, signal.SIGSTOP)
    yield
    _signal_street(stage, signal.SIGCONT)


def street_on_a_slow_disk(stage: Stage) -> Iterator[None]:
    _sick(stage, 1, pause_us=CARD_PAUSE_US, every=1)
    yield
    _well(stage, 1)


def _signal_street(stage: Stage, number: int) -> None:
    if stage.street.life is not None:
        stage.street.life.send(number)


# — disks —


def power_cut(stage: Stage) -> Iterator[None]:
    side, roles = _side(stage)
    stage.forgets = True
    stage.down |= set(roles)
    stage.freeze(*roles)
    stage.disks[side].shut_down()
    for role in roles:
        stage.kill(role)
    yield
    stage.disks[side].mount_again()
    if stage.cards:
        stage.cards[side].is_on(stage.disks[side].place)
    stage.start_again(*roles)


def _side(stage: Stage) -> tuple[int, tuple[str, ...]]:
    return (1, ("street",)) if stage.chance.random() < 0.3 else (0, ("writer", "uplink"))


def full_disk(stage: Stage) -> Iterator[None]:
    side, _ = _side(stage)
    filler = stage.disks[side].place / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    yield
    filler.unlink()


def read_only(stage: Stage) -> Iterator[None]:
    side, roles = _side(stage)
    stage.forgets = True  # what cannot be kept is counted in memory only there, and then we kill the counter
    for role in roles:
        stage.kill(role, stage.chance.choice((signal.SIGTERM, signal.SIGKILL)))
    agreed = stage.disks[side].remount("ro")
    stage.start_again(*roles)
    yield
    for role in roles:
        stage.kill(role)
    assert stage.disks[side].remount("rw") or not agreed
    stage.start_again(*roles)


def slow_card(stage: Stage) -> Iterator[None]:
    pause_us = stage.chance.choice((8_000, CARD_PAUSE_US, CARD_PAUSE_US))
    _sick(stage, stage.chance.choice((0, 0, 1)), pause_us=pause_us, every=stage.chance.choice((1, 2, 5)))
    yield
    _well(stage, 0)
    _well(stage, 1)


def write_errors(stage: Stage) -> Iterator[None]:
    _sick(stage, stage.chance.choice((0, 0, 1)), write_errno=EIO, permille=stage.chance.choice((30, 300, 1000)))
    yield
    _well(stage, 0)
    _well(stage, 1)


def sync_errors(stage: Stage) -> Iterator[None]:
    _sick(stage, stage.chance.choice((0, 0, 1)), sync_errno=EIO, permille=stage.chance.choice((30, 300, 1000)))
    yield
    _well(stage, 0)
    _well(stage, 1)


def no_space(stage: Stage) -> Iterator[None]:
    _sick(stage, stage.chance.choice((0, 0, 1)), write_errno=ENOSPC, permille=1000)
    yield
    _well(stage, 0)
    _well(stage, 1)


def _sick(stage: Stage, side: int, **how: int) -> None:
    if stage.cards:
        stage.cards[side].be(**how)


def _well(stage: Stage, side: int) -> None:
    if stage.cards:
        stage.cards[side].heal()


def dead_page(stage: Stage) -> Iterator[None]:
    stage.damages = True
    stage.kill("writer")
    ledger = stage.gates[0].home.state / "ledger.db"
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{ledger}?mode=rw", uri=True)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # or the log would hide the page
    with suppress(FileNotFoundError), ledger.open("r+b") as file:  # the writer may have died in a salvage's renames
        pages = max(1, ledger.stat().st_size // PAGE_BYTES)
        file.seek(stage.chance.randrange(pages) * PAGE_BYTES)
        file.write(stage.chance.randbytes(PAGE_BYTES))
    stage.start_again("writer")
    yield


def _busy(stage: Stage) -> None:
    """Let many entries come: a page of a file of ten pages would be a tenth of all, and no page's loss is like that."""
    stage.gates[0].per_s = 400.0


# — the clock —


def clock_jump(stage: Stage) -> Iterator[None]:
    import time

    to_1970 = 100 - int(time.time())
    jump_s = stage.chance.choice((to_1970, -DAY_S, -3600, -7, 7, 3600, DAY_S, 400 * DAY_S))
    _sick(stage, stage.chance.choice((0, 0, 0, 1)), clock_ns=jump_s * 1_000_000_000)
    if stage.chance.random() < 0.4:  # a start in that time
        role = stage.chance.choice(("writer", "uplink", "street"))
        stage.kill(role)
        stage.start_again(role)
    yield
    if stage.chance.random() < 0.5:
        for card in stage.cards:
            card.be(clock_ns=0)


# — two of one name —


def twin(stage: Stage) -> Iterator[None]:
    """Another device with our name: a new one, or one from an image of our card."""
    stage.twins = True
    if len(stage.gates) == 1:
        state = stage.disk_folder / "twin"
        state.mkdir()
        if stage.chance.random() < 0.5:
            for role in ("writer", "uplink"):
                stage.kill(role)
            shutil.copytree(stage.gates[0].home.state, state, dirs_exist_ok=True)
            stage.start_again("writer", "uplink")
        stage.gates.append(stage.gate(NAME, state))
    _twins_live(stage)
    yield
    for role in ("writer", "uplink") if stage.chance.random() < 0.7 else ():
        stage.gates[1].end(role, stage.chance.choice((signal.SIGTERM, signal.SIGKILL)))


def _twins_live(stage: Stage) -> None:
    """Before the books are closed, both live: what one of them has not sent only it can send."""
    for gate in stage.gates[1:]:
        for role in ("writer", "uplink"):
            if role not in gate.lives:
                gate.start(role)


FINALLY: Mapping[str, Callable[[Stage], None]] = {"twins": _twins_live}

ON_DISKS: dict[str, Scene] = {
    "kill-9": Scene(faults=(kill_9,), persistent=True),
    "power-cut": Scene(faults=(power_cut,), needs_root=True, disks=True),
    "full-disk": Scene(faults=(full_disk,), needs_root=True, disks=True),
    "no-space": Scene(faults=(no_space,), needs_card=True),
    "read-only": Scene(faults=(read_only,), needs_root=True, disks=True),
    "slow-card": Scene(faults=(slow_card,), needs_card=True, longest_s=1.2),
    "io-error": Scene(faults=(write_errors, sync_errors), needs_card=True),
    "dead-page": Scene(faults=(dead_page,), prepare=_busy, longest_s=1.5),
    "broker-restart": Scene(faults=(broker_restart, broker_restart_at_once), persistent=True),
    "slow-street": Scene(faults=(street_stands_still, street_on_a_slow_disk), longest_s=2.0),
    "clock": Scene(faults=(clock_jump,), needs_card=True),
    "twins": Scene(faults=(twin,), longest_s=1.5),
}


