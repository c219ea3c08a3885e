"""Run scenes of the ledger in child processes that die where they are told: a program of its own, for the tests.

Started once per test module, it imports everything and then forks a child per scene, so that a death costs some
milliseconds. Orders come as JSON lines on stdin; what a child has done is said on stdout, each line written at once.

A child may be told to die at its n-th *step*: a step is the beginning of an SQL statement, or a file being opened,
locked, renamed or removed. `die_at` of 0 means to live. It dies by SIGKILL: nothing is flushed, closed or unwound.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import sqlite_utils.migrations  # noqa: F401  imported once here, not once per child

from sync import schema
from sync.entry import Draft, Stamp
from sync.ledger import LedgerReader, LedgerWriter
from sync.prune import choose
from sync.salvage import salvage
from sync.spool import import_spool, spool_append
from sync.vault import Vault

STAMP = Stamp(wall_ns=1_795_320_000_000_000_000, boot_ns=1, boot_id="a-boot", clock_trusted=True)
FILE_STEPS = ("open", "os.rename", "os.remove", "os.link", "fcntl.flock")


class Fate:
    """Counts the steps of a child from `arm` on, and ends it at the one that was told."""

    def __init__(self, die_at: int):
        self._die_at = die_at
        self._steps = 0
        self._armed = False

    def arm(self) -> None:
        self._armed = True

    def step(self, _what: object = None) -> None:
        self._steps += self._armed
        if self._armed and self._steps == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, _args: object) -> None:
        if event in FILE_STEPS:
            self.step()

    def connect(self, path: Path, mode: str):
        connection = schema.connect(path, mode)
        connection.set_trace_callback(self.step)
        return connection

    def traced(self, plain: Callable[[Path, str], object]) -> Callable[[Path, str], object]:
        """Return `connect` for a part that names no seam: this child lives for one scene."""

        def connect(path: Path, mode: str):
            connection = plain(path, mode)
            connection.set_trace_callback(self.step)
            return connection

        return connect


def say(**what: object) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def passage(request: str) -> Draft:
    return Draft(kind="passage", version=1, body={"outcome": "open"}, personal={"name": "Somebody"}, request=request)


def open_all(folder: Path, fate: Fate) -> LedgerWriter:
    vault = Vault.open(folder / "secrets", create=True, connect=fate.connect)
    return LedgerWriter.open(folder / "ledger.db", vault=vault, stamp=lambda: STAMP, connect=fate.connect)


def keep(writer: LedgerWriter, request: str) -> None:
    entry = writer.append(passage(request), 10)
    say(kept=request, key=str(entry.key))


def start(folder: Path, fate: Fate, order: dict) -> None:
    """Open everything from nothing or from what the last owner left, and keep one entry."""
    fate.arm()
    writer = open_all(folder, fate)
    keep(writer, order["request"])


def append(folder: Path, fate: Fate, order: dict) -> None:
    """Keep one entry in an open ledger; only the steps of the append count."""
    writer = open_all(folder, fate)
    fate.arm()
    keep(writer, order["request"])


def stream(folder: Path, fate: Fate, order: dict) -> None:
    """Keep entries in four threads until killed."""
    writer = open_all(folder, fate)
    say(pid=os.getpid())

    def run(lane: int) -> None:
        number = 0
        while True:
            keep(writer, f"{order['request']}-{lane}-{number}")
            number += 1

    threads = [threading.Thread(target=run, args=(lane,)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def spool(folder: Path, fate: Fate, order: dict) -> None:
    """Spool one entry."""
    vault = Vault.open(folder / "secrets", create=True)
    sys.addaudithook(fate.audit)
    fate.arm()
    spool_append(folder / "spool.jsonl", passage(order["request"]), STAMP, vault)
    say(kept=order["request"])


def bring_home(folder: Path, fate: Fate, _order: dict) -> None:
    """Import the spool."""
    writer = open_all(folder, fate)
    sys.addaudithook(fate.audit)
    fate.arm()
    report = import_spool(folder / "spool.jsonl", writer)
    say(imported=report.kept, damaged=list(report.damaged))


def prune(folder: Path, fate: Fate, _order: dict) -> None:
    """Drop the oldest entries of a ledger; only the steps of the dropping count."""
    writer = open_all(folder, fate)
    with LedgerReader(folder / "ledger.db") as reader:
        stretches, _ = choose(reader, None, lambda entry, _latest: entry.kind == "passage" and entry.key.seq % 4 != 0)
    fate.arm()
    entry = writer.prune(stretches[:3])
    say(pruned=entry.data["entries"])


def save(folder: Path, fate: Fate, _order: dict) -> None:
    """Salvage a damaged ledger; steps are those of files and of SQLite."""
    sys.addaudithook(fate.audit)
    schema.connect = fate.traced(schema.connect)
    fate.arm()
    report = salvage(folder / "ledger.db")
    say(saved=report["kept"], lost=report["lost"])


def read_as_nobody(folder: Path, _fate: Fate, _order: dict) -> None:
    """Read the ledger as a user who may write neither the file nor its folder."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    with LedgerReader(folder / "ledger.db") as reader:
        say(count=reader.count(), ok=reader.verify().ok)


SCENES: dict[str, Callable[[Path, Fate, dict], None]] = {
    scene.__name__: scene for scene in (start, append, stream, spool, bring_home, prune, save, read_as_nobody)
}


def main() -> None:
    """Serve orders until stdin ends."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                SCENES[order["scene"]](Path(order["folder"]), Fate(order["die_at"]), order)
                code = 0
            finally:
                os._exit(code)  # no closing either: an owner that ends without a word is as good as killed
        _, status = os.waitpid(child, 0)
        say(ended=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
