"""Let a whole gate live through simulated days of people and mixed faults, and judge what it has left behind.

Real processes, real models, real MQTT; only the devices are simulated. Run by scripts/soak, which installs what this
needs. What is demanded, and what a compressed day can and cannot show, is in docs/soak.md.
"""

import argparse
import http.client
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from demo import CACHE, HERE, RESIDENTS, D
from soak_acts import Acts
from soak_books import Books, close_books
from soak_day import BUSY_SHARE, FIRST_HOUR, Hour, plan
from soak_processes import at_rest, processes_of
from soak_verdict import Mark, counts_table, grown, hours_table, left_behind, memory_table, strangers

from sentinel.core.errors import SentinelError
from sentinel.rehearsal import Rehearsal, broker_program, synthetic_person
from sentinel.settings import load
from sentinel.status import gather
from sync.entry import Entry

SEED = 20261122
NOT_FITTED = ("relay",)  # this gate has its barrier on its own pins; the relay board hangs on the bench unused
WELL_S, PASSAGE_S, RECEIPT_S = 90.0, 10.0, 90.0  # long, for a laden machine: nothing here is a demand on speed
TRIES = 3
# That a leaf is not jammed any more, or a relay moves, is known when it has moved again: see drivers/barrier.py.
NEXT_MOVEMENT = frozenset({"barrier:jammed", "barrier:not-moving"})
QUIET_S = 2.0  # after the last person: streams of viewers notice that nobody listens
POOL_S = 11.0  # the console's web server ends a thread of its pool at the first request after 10 s without work for it
END_S = 10.0
WARM_UP_MOST = 4  # hours
FASTER = {  # settings that let a fault be over sooner; their limits are in sentinel/device_settings.py
    "append_bound_s = 2.0": "append_bound_s = 2.0\npassage_s = 2.0\nheld_s = 2.0",
    'scanner.tty?baud=9600"': 'scanner.tty?baud=9600"\nsilence_s = 3.0',
    "repeat_s = 2.0": "repeat_s = 2.0\nwindow_s = 4.0",
    "resend_s = 2.0": "resend_s = 1.0\nkeepalive_s = 5",
}


class Soak:
    """One soak: the stage, its people, the marks that were taken and what went wrong on the way."""

    def __init__(self, stage: Rehearsal, faces: Path, *, hour_s: float, seed: int) -> None:
        self.stage = stage
        self.hour_s = hour_s
        self.acts = Acts(stage, faces, seed)
        self.marks: list[Mark] = []
        self.wrong: list[str] = []
        self.o_clock: dict[int, int] = {}
        self._pause = threading.Event()  # never set: it is only waited for

    def begin(self) -> None:
        """Take the first mark, when everything works and somebody has passed in each way."""
        self.acts.look_at_pages()
        self._rest(0, (FIRST_HOUR - 1) % 24)

    def live(self, hour: Hour, *, last: bool) -> None:
        """Let one hour happen, heal everything, and take its mark; before the last mark even pools may come to rest."""
        began = time.monotonic()
        for happening in hour.happenings:
            self._until(began + happening.at_s)
            try:
                self.acts.act(happening)
            except (SentinelError, OSError, http.client.HTTPException, subprocess.TimeoutExpired) as error:
                self._fail(f"hour {hour.number + 1}: {happening.do} {dict(happening.what)}: {error!r}")
        self._until(began + BUSY_SHARE * self.hour_s)
        self.acts.heal_all()
        if last:
            self._pause.wait(POOL_S)
            self.acts.look_at_pages()
        self._rest(hour.number + 1, hour.o_clock)
        self._until(began + self.hour_s)

    def _until(self, at_mono: float) -> None:
        """Wait until then, undoing meanwhile what is due."""
        while (now := time.monotonic()) < at_mono:
            due = self.acts.next_due()
            self._pause.wait(max(0.0, min(at_mono, due or at_mono) - now))
            self.acts.do_due(time.monotonic())

    # -- at rest ------------------------------------------------------------------------------------------------------

    def _rest(self, number: int, o_clock: int) -> None:
        self.o_clock[number] = o_clock
        self._expect(number, "the gate is not well again", lambda: self._lacking() <= NEXT_MOVEMENT, WELL_S)
        self._prove_all(number)
        self._expect(number, "the gate is not well after a passage", lambda: not self._lacking(), WELL_S)
        self._expect(number, "the street has not receipted everything", self._receipted, RECEIPT_S)
        self._pause.wait(QUIET_S)
        mark = Mark(hour=number, looks=at_rest(self.stage.directory, self._pause.wait))
        self.marks.append(mark)
        shown = "  ".join(
            f"{role} {look.own_kb / 1024:.1f} MB {look.threads} thr {sum(look.files.values())} fd"
            for role, look in mark.looks.items()
            if role not in ("world", "broker", "resource tracker")
        )
        print(f"hour {number:2d} ({o_clock:02d}:00)  {shown}", flush=True)

    def _prove_all(self, number: int) -> None:
        """Let a resident in by face, one in by card, and somebody out: the gate does its work, and both leaves move."""
        self._prove(number, "let in by face", partial(self.acts.come, picture="obama2.jpg"), partial(_let_in, "face"))
        self._prove(number, "let in by card", partial(self.acts.come, card=D.card()), partial(_let_in, "card"))
        self._prove(number, "let out", partial(self.stage.world, "press", input="exit_button"), _went_out)

    def _prove(self, number: int, what: str, act: Callable[[], Any], sought: Callable[[Entry], bool]) -> None:
        """Do something and wait for the entry that it should bring; who has no luck steps away and comes again."""
        with self.stage.reader() as reader:
            for _ in range(TRIES):
                newest = reader.newest(1)
                seen = newest[0].key if newest else None
                act()
                try:
                    self.stage.wait(lambda seen=seen: any(map(sought, reader.after(seen, 500))) or None, PASSAGE_S)
                    return
                except SentinelError:
                    self.acts.done[f"came again to be {what}"] += 1
                finally:
                    self.stage.leave()
        self._fail(f"hour {number}: nobody was {what}, {TRIES} times")

    def _expect(self, number: int, what: str, holds: Any, timeout_s: float) -> None:
        try:
            self.stage.wait(lambda: holds() or None, timeout_s)
        except SentinelError:
            self._fail(f"hour {number}: {what} after {timeout_s:.0f} s {' '.join(sorted(self._lacking()))}".rstrip())

    def _fail(self, what: str) -> None:
        self.wrong.append(what)
        print(f"  ✘ {what}", flush=True)

    def _lacking(self) -> frozenset[str]:
        """Return what is not well, each as `component:symptom`."""
        status = self.stage.status()
        if status is None:
            return frozenset({"gate:hung"})
        ill = [part for part in status["components"] if part["state"] != "ok"]
        return frozenset(f"{part['name']}:{part['symptom'] or part['state']}" for part in ill)

    def _receipted(self) -> bool:
        balance = gather(load(self.stage.config)).balance
        return balance.known and balance.pending == 0

    # -- the end ------------------------------------------------------------------------------------------------------

    def end(self) -> Books:
        """Stop the gate in order, close the books, stop everything, and look whether anything of it is left."""
        self.stage.stop("gate")
        self._expect(len(self.marks) - 1, "the street has not receipted everything", self._receipted, RECEIPT_S)
        books = close_books(self.stage)
        self.stage.stop_all()
        try:
            self.stage.wait(lambda: True if not processes_of(self.stage.directory) else None, END_S)
        except SentinelError:
            for process in processes_of(self.stage.directory):
                self._fail(f"left after the end: {process.role}, process {process.pid}, parent {process.parent}")
        return books


def _let_in(method: str, entry: Entry) -> bool:
    return entry.kind == "passage" and (entry.data["outcome"], entry.data["method"]) == ("open", method)


def _went_out(entry: Entry) -> bool:
    return entry.kind == "barrier" and (entry.data["event"], entry.data["leaf"]) == ("passed", "out")


# -- the account ------------------------------------------------------------------------------------------------------


def account(soak: Soak, books: Books, wrong: Sequence[str], args: argparse.Namespace, took_s: float) -> list[str]:
    """Return the run as Markdown."""
    hours = len(soak.marks) - 1
    done, told = soak.acts.done, sum(books.tickets.values())
    by_device = Counter(device for device, _ in books.tickets.elements())
    machine = f"{os.cpu_count()} x {platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    return [
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {machine}; seed {args.seed}, {hours} simulated hours in"
        f" {took_s / 60:.1f} minutes (planned {hours * soak.hour_s / 60:.1f}); broker {broker_program() or 'iotcore'}.",
        "",
        f"Scheduled and done: {done['fault']} faults of devices, "
        + listed({name: done[name] for name in sorted(done) if name not in ("fault", "heal", "leave")})
        + ".",
        f"In the ledger: {books.appended} entries, {listed(books.entries)}; passages {listed(books.outcomes)}; "
        f"{told} fault tickets ({listed(by_device)}); on the barrier's wires {listed(books.barrier)}.",
        f"Balance: {books.appended} appended = {books.receipted} receipted + {books.pending} pending; the street has "
        f"{books.at_street}. The leaves' contacts closed {books.openings} times, {books.in_fire} of them for fire.",
        "",
        *memory_table(soak.marks, args.warm_up),
        "",
        *counts_table(soak.marks),
        "",
        *hours_table(soak.marks, soak.o_clock),
        "",
        f"Verdict: {'every demand was met.' if not wrong else f'{len(wrong)} demands were not met:'}",
        *(f"- {line}" for line in wrong),
    ]


def listed(counts: Any) -> str:
    """Return counts in words."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def judged(soak: Soak, books: Books, *, limit_mb: float, warm_up: int) -> list[str]:
    """Return a line for each demand that was not met."""
    return [
        *soak.wrong,
        *grown(soak.marks, limit_mb * 1024, warm_up),
        *left_behind(soak.marks),
        *strangers(soak.marks),
        *books.wrong,
    ]


def keep(out: Path, soak: Soak, lines: Iterable[str]) -> None:
    """Write the account, the marks behind it, and every log."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    marks = [asdict(mark) for mark in soak.marks]
    (out / "marks.json").write_text(json.dumps(marks, indent=1) + "\n", encoding="utf-8")
    for name in Rehearsal.ORDER:
        shutil.copy(soak.stage.log_of(name), out)
    shutil.copy(soak.stage.directory / "wires.jsonl", out)


def run(args: argparse.Namespace, faces: Path, models: Path) -> int:
    """Set the stage, live through the hours, judge; return the exit code."""
    directory, began = Path(tempfile.mkdtemp(prefix="soak-")), time.monotonic()
    with Rehearsal(directory, models_dir=models, settings=FASTER) as stage:
        stage.start("world", "broker", "street", "gate")
        stage.enrol(synthetic_person(who.name, who.number, [faces / one for one in who.enrolled]) for who in RESIDENTS)
        stage.start("uplink", "console")
        stage.ctl("issue", "key")
        soak = Soak(stage, faces, hour_s=3600.0 / args.compress, seed=args.seed)
        soak.begin()
        faults = {name: found for name, found in stage.world("faults")["faults"].items() if name not in NOT_FITTED}
        for hour in plan(args.seed, args.hours, soak.hour_s, faults):
            soak.live(hour, last=hour.number == args.hours - 1)
        books = soak.end()
        wrong = judged(soak, books, limit_mb=args.limit_mb, warm_up=args.warm_up)
        lines = account(soak, books, wrong, args, time.monotonic() - began)
        keep(args.out, soak, lines)
    print("\n" + "\n".join(lines), flush=True)
    print(f"\nsoak: the account, the marks and the logs are in {args.out}", flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    return 1 if wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: scripts/soak --hours 24 --compress 120 --seed 7 --out /tmp/soak\n"
        "Exit codes: 0 every demand was met, 1 not (each is named), 69 the stage could not be set.",
    )  # fmt: skip
    parser.add_argument("--hours", type=int, default=24, help="simulated hours (default: %(default)s)")
    parser.add_argument("--compress", type=float, default=120.0, help="hours pass so much faster (default: 120)")
    parser.add_argument("--seed", type=int, default=SEED, help="of all chance; the same seed plans the same day")
    parser.add_argument("--limit-mb", type=float, default=5.0, help="how much a process may grow (default: 5)")
    parser.add_argument("--warm-up", type=int, help="hours of each life that are not judged (default: a sixth, ≤ 4)")
    parser.add_argument("--out", type=Path, default=Path("soak-out"), help="folder for the account (default: soak-out)")
    args = parser.parse_args()
    if args.hours < 2 or args.compress <= 0:  # vision is struck in the first hour, and wants two marks after that
        parser.error("--hours is at least 2, and --compress more than 0")
    if args.warm_up is None:
        args.warm_up = min(WARM_UP_MOST, args.hours // 6)
    return args


def main() -> int:
    """Fetch what is needed and run the soak."""
    args = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside, the stage is cleared all the same
    faces = Path(os.environ.get("SENTINEL_FACES_DIR") or CACHE / "faces")
    models = Path(os.environ.get("SENTINEL_MODELS_DIR") or CACHE / "models")
    subprocess.run([sys.executable, str(HERE / "fetch-demo-faces"), str(faces)], check=True)
    subprocess.run([sys.executable, "-m", "sentinel.cli", "models", "fetch", "--models-dir", str(models)], check=True)
    try:
        return run(args, faces, models)
    except SentinelError as error:
        print(f"soak: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # everything was ended in order on the way here
