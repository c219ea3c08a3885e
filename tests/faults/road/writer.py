"""Be the gate's writing half: the real keeper over the real ledger, spool, vault and storage, fed with entries.

What became of each entry is said in a line of JSON, written at once to a file in memory. Some entries are
kept as a decision is (the caller waits for the commit, up to a bound), some are handed over as news is (it does not).
"""

import argparse
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

from sentinel.core.keeping import Days
from sentinel.core.kinds import Barrier
from sentinel.keeper import Keeper
from sentinel.storage import Storage
from sentinel.supervise import take_turns_quickly
from sync.ledger import LedgerWriter
from sync.stamp import now_stamp
from sync.vault import Vault

BOUND_S = 0.4  # five times shorter than in life, so that a card that stands still shows more often
HUGE_BYTES = 400_000  # more than the road's broker takes
TURN_S = 0.1
CHECK_S = 2.0
CLOSE_S = 4.0


class Writer:
    """Keep entries until told to stop."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._words = os.open(args.words, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._chance = random.Random(args.life)
        self._stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())  # nothing stays half made
        state = Path(args.state)
        self._ledger = state / "ledger.db"
        vault = storage = None
        if args.whole:
            vault = Vault.open(state / "secrets", create=True)
            storage = Storage(self._ledger, state / "uplink.db", Days(passage=30, fault=365, audit=365))
        self._vault = vault
        self._keeper = Keeper(
            open_ledger=self._open, spool=state / "spool.jsonl", vault=vault, stamp=now_stamp,
            bound_s=BOUND_S, storage=storage,
        )  # fmt: skip

    def _open(self) -> LedgerWriter:
        return LedgerWriter.open(self._ledger, vault=self._vault, quota_bytes=256 << 20, check_s=CHECK_S)

    def run(self) -> None:
        """Keep entries until SIGTERM, then end in order and say so."""
        self._keeper.tend()
        home = threading.Thread(target=self._bring_home, daemon=True)
        home.start()
        tended = time.monotonic()
        number = 0
        while not self._stop.is_set():
            if not self._args.quiet:
                number += 1
                self._keep(number)
            if (now := time.monotonic()) - tended > TURN_S:
                tended = now
                self._keeper.tend()
            self._stop.wait(min(1.0, self._chance.expovariate(self._args.per_s)))
        home.join(CLOSE_S)
        self._keeper.close("end of the scene")
        self._say(ended=True)

    def _keep(self, number: int) -> None:
        token = f"{self._args.life}:{number}"
        big = self._chance.random() < self._args.huge
        entry = Barrier(event="passed", after=token + "x" * HUGE_BYTES if big else token)
        waits = self._chance.random() < self._args.waits
        personal = {"name": "样本"} if self._vault and waits else None
        wall_ns, cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        if waits:
            kept = self._keeper.keep(entry, personal=personal, request=token)
        else:
            kept = self._keeper.hand_over(entry, request=token)
        wall_ns, cpu_ns = time.perf_counter_ns() - wall_ns, time.thread_time_ns() - cpu_ns
        self._say(
            t=token, how=str(kept.how), key=kept.key, waits=waits, huge=big,
            wall_us=wall_ns // 1000, cpu_us=cpu_ns // 1000,
        )  # fmt: skip

    def _bring_home(self) -> None:
        while not self._stop.is_set():
            self._keeper.bring_home()
            self._stop.wait(TURN_S)

    def _say(self, **word: object) -> None:
        os.write(self._words, json.dumps(word).encode() + b"\n")


def main(argv: list[str]) -> None:
    """Run the writer of these arguments."""
    take_turns_quickly()  # as the gate does
    parser = argparse.ArgumentParser()
    for name in ("state", "words", "life"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--per-s", type=float, default=30.0)
    parser.add_argument("--waits", type=float, default=0.5)
    parser.add_argument("--huge", type=float, default=0.0)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    Writer(parser.parse_args(argv)).run()
