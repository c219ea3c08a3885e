"""Show the gate at work: real processes, real models, real MQTT, synthetic persons, simulated devices that misbehave.

Run by scripts/demo, which installs what this needs. Every line about a passage comes from the ledger, not from here.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo_cast import EXPIRED, NEARER, RESIDENTS, A, D, number_of

from sentinel.cli import render
from sentinel.core.errors import SentinelError
from sentinel.i18n import text
from sentinel.rehearsal import Rehearsal, broker_program, synthetic_person
from sync.entry import Entry, Key
from sync.ledger import LedgerReader

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache"
PASSAGE_S = 15.0  # to wait for one outcome; the gate itself takes about a second, a laden demo machine more
OUTAGE_PEOPLE = 3


class Demo:
    """One showing: the acts, the lines that tell them, and what did not go as it should."""

    def __init__(self, stage: Rehearsal, faces: Path, lang: str) -> None:
        self.stage = stage
        self.faces = faces
        self.lang = lang
        self.wrong: list[str] = []
        self._seen: Key | None = None
        self._reader = stage.reader()
        self._style = render.terminal_style(sys.stdout, plain=False)

    # -- telling ------------------------------------------------------------------------------------------------------

    def say(self, line: str = "") -> None:
        """Print one line of the story."""
        print(line, flush=True)

    def scene(self, key: str, **values: object) -> None:
        """Print what happens next."""
        self.say(self._style.paint(f"\n-- {text(f'demo.{key}', self.lang, **values)}", "bold"))

    def show_new(self) -> list[Entry]:
        """Print every entry of the ledger that was not printed yet, one line each, and return them."""
        from sentinel.cli.words import line_cells
        from sentinel.status import line_of

        entries = self._reader.after(self._seen, 500)
        for entry in entries:
            self._seen = entry.key
            if entry.kind in ("start", "stop", "consent"):
                continue
            cells = (*line_cells(line_of(entry), time.time_ns(), self.lang), figures(entry.data))
            self.say("   " + "  ".join(cell for cell in cells if cell))
        return entries

    def expect(self, what: str, want: Callable[[Entry], bool], timeout_s: float = PASSAGE_S) -> Entry | None:
        """Wait for the entry that should come; when it does not, remember that something is wrong."""
        came: list[Entry] = []

        def look() -> Entry | None:
            came.extend(self.show_new())
            return next((entry for entry in came if want(entry)), None)

        try:
            return self.stage.wait(look, timeout_s)
        except SentinelError:
            self.fail(what)
            return None

    def fail(self, what: str) -> None:
        """Remember and print that something did not go as it should."""
        self.wrong.append(what)
        self.say(self._style.paint(f"   ✘ {what}", "critical"))

    # -- acting -------------------------------------------------------------------------------------------------------

    def person(
        self,
        picture: str | None,
        outcome: str,
        reason: str,
        *,
        skin: float = 36.4,
        card: dict[str, str] | None = None,
        attack: str | None = None,
    ) -> Entry | None:
        """Let a person come, and wait for the outcome that the rules demand."""
        path = str(self.faces / picture) if picture else None
        nearer = {"face_share": NEARER[picture]} if picture in NEARER else {}
        self.stage.world("arrive", picture=path, skin_celsius=skin, card=card, attack=attack, **nearer)

        def want(entry: Entry) -> bool:
            return entry.kind == "passage" and entry.data["outcome"] == outcome and reason in entry.data["reasons"]

        entry = self.expect(f"{picture or 'card'}: expected {outcome} because of {reason}", want)
        if outcome == "open" and entry is not None:
            self.expect("nobody walked through", lambda e: e.kind == "barrier" and e.data["event"] == "passed")
        self.leave()
        return entry

    def leave(self) -> None:
        """Let whoever stands there go away."""
        self.stage.leave()
        self.show_new()

    def register(self, name: str, serial: int, reason: str, *extra: str) -> None:
        """Register a person by hand, as staff do."""
        number = number_of(serial)
        done = self.stage.ctl("register", "--reason", reason, *extra, stdin=f"{number}\n{name}\n")
        self.say(f"   $ sentinelctl register --reason {reason} {' '.join(extra)}")
        for line in (done.stdout + done.stderr).splitlines():
            self.say(f"     {line}")
        if done.returncode:
            self.fail(f"registration by hand ended with {done.returncode}")
        self.expect("the registration is not in the ledger", lambda e: e.kind == "registration")

    def until_mode(self, mode: str, timeout_s: float = 20.0) -> None:
        """Wait until the gate works in this mode."""

        def look() -> bool | None:
            self.show_new()
            status = self.stage.status()
            return True if status and status["mode"] == mode else None

        try:
            self.stage.wait(look, timeout_s)
        except SentinelError:
            self.fail(f"the gate did not come to mode {mode} within {timeout_s:.0f} s")

    def pending(self) -> int:
        """Return how many entries the street has not receipted yet."""
        return int(self.stage.ctl_json("show", "status")["balance"]["pending"])

    # -- the acts -----------------------------------------------------------------------------------------------------

    def round(self) -> None:
        """Play every act once."""
        self.residents()
        self.stranger()
        self.attackers()
        self.hot_person()
        self.expired_card()
        self.visitor()
        self.broken_reader()
        self.dead_gate()
        self.broker_outage()

    def residents(self) -> None:
        """Two different photographs of one resident, one years later, one by card."""
        self.scene("residents")
        self.person("obama2.jpg", "open", "accepted")
        self.person("obama3.jpg", "open", "accepted")
        self.person("person_a_1.jpg", "open", "accepted")
        self.person(None, "open", "accepted", card=D.card())

    def stranger(self) -> None:
        """Unknown is unknown; a borrowed card does not help; staff register the visitor."""
        self.scene("stranger")
        held = self.person("impostor_2.jpg", "hold", "face-unknown")
        self.person("impostor_2.jpg", "hold", "face-mismatch", card=A.card())
        if held is not None:
            self.register("样本己", 11, "visitor", "--after", str(held.key), "--celsius", "36.5")

    def attackers(self) -> None:
        """A resident's printed face worn as a mask, and her video on a tablet, open nothing."""
        self.scene("attackers")
        self.person("obama2.jpg", "hold", "face-not-live", attack="mask")
        self.person("obama2.jpg", "hold", "face-not-live", attack="replay")

    def hot_person(self) -> None:
        """A high skin temperature is held for staff, who measure again."""
        self.scene("hot")
        self.person("person_b_2.jpg", "hold", "temperature-high", skin=38.4)

    def expired_card(self) -> None:
        """An expired card is refused, and the reason is told to staff."""
        self.scene("expired")
        self.person(None, "refuse", "card-expired", card=EXPIRED.card(valid_from="20000101", valid_until="20200101"))

    def visitor(self) -> None:
        """A visitor shows the code that staff issued: it opens once, and the second time it does not."""
        self.scene("visitor")
        self.stage.ctl("issue", "key")
        issued = self.stage.ctl_json("issue", "pass", "--kind", "visitor", "--hours", "4", "--uses", "1")
        self.say("   $ sentinelctl issue pass --kind visitor --hours 4 --uses 1")
        self.scan(issued["code"], "open", "accepted")
        self.person("obama2.jpg", "open", "accepted")  # meanwhile; the same code at once would be the same showing
        self.scan(issued["code"], "refuse", "pass-used")

    def scan(self, code: str, outcome: str, reason: str) -> None:
        """Let a person come who holds a code before the scanner."""
        self.stage.world("arrive", picture=None, skin_celsius=36.5)
        self.stage.world("scan", content=code)
        self.expect(
            f"a pass: expected {outcome} because of {reason}",
            lambda e: e.kind == "passage" and e.data["outcome"] == outcome and reason in e.data["reasons"],
        )
        self.leave()

    def broken_reader(self) -> None:
        """The reader's cable is pulled: the gate goes on assisted, staff register by hand, the reader comes back."""
        self.scene("reader")
        self.stage.world("fault", device="card", fault="unplug")
        self.until_mode("assisted")
        self.person("obama2.jpg", "open", "accepted")
        self.register(D.name, D.serial, "device-fault", "--celsius", "36.4")
        self.stage.world("heal", device="card")
        self.until_mode("automatic")

    def dead_gate(self) -> None:
        """The gate process is killed: staff open through the one-shot; the gate comes back."""
        self.scene("dead")
        self.stage.kill("gate")
        self.register(D.name, D.serial, "device-fault")
        self.stage.start("gate")
        self.until_mode("automatic", 40.0)

    def broker_outage(self) -> None:
        """The broker dies: people pass, entries wait; it comes back: the street receipts them all."""
        self.scene("outage")
        self.stage.kill("broker")
        for picture in ("obama3.jpg", "person_a_1.jpg", "impostor_2.jpg")[:OUTAGE_PEOPLE]:
            known = picture != "impostor_2.jpg"
            self.person(picture, "open" if known else "hold", "accepted" if known else "face-unknown")
        waiting = self.pending()
        self.say("   " + text("demo.waiting", self.lang, count=waiting))
        if waiting < OUTAGE_PEOPLE:
            self.fail(f"only {waiting} entries wait for the street during the outage")
        self.stage.start("broker")
        with contextlib.suppress(SentinelError):
            self.stage.wait(lambda: True if self.pending() == 0 else None, 60.0)

    # -- the end ------------------------------------------------------------------------------------------------------

    def close_books(self) -> None:
        """Print the balance, verify the chain, and hold every movement of the barrier against the ledger."""
        self.scene("books")
        with contextlib.suppress(SentinelError):
            self.stage.wait(lambda: True if self.pending() == 0 else None, 30.0)
        self.show_new()
        for command in (("check", "ledger"), ("show", "status")):
            done = self.stage.ctl("--lang", self.lang, *command)
            self.say(f"   $ sentinelctl {' '.join(command)}")
            for line in (done.stdout + done.stderr).splitlines():
                self.say(f"     {line}")
            if command[0] == "check" and done.returncode:
                self.fail("sentinelctl check ledger did not pass")
        self._balance()
        self._edges()

    def _balance(self) -> None:
        balance = self.stage.ctl_json("show", "status")["balance"]
        report = subprocess.run(
            [sys.executable, "-m", "sentinel.street", "report", "--store", str(self.stage.store), "--json"],
            capture_output=True, text=True, check=False, env=self.stage.environment(),
        )
        at_street = street_count(report.stdout)
        self.say("   " + text("demo.balance", self.lang, street=at_street, **{
            name: balance[name] for name in ("appended", "receipted", "pending")
        }))
        if balance["appended"] != balance["receipted"] + balance["pending"] or balance["pending"]:
            self.fail("the balance does not hold")
        if at_street != balance["appended"]:
            self.fail(f"the street has {at_street} entries, the gate appended {balance['appended']}")

    def _edges(self) -> None:
        rises = [edge for edge in self.stage.world("edges")["edges"] if edge["value"] == 1]
        opened = [entry for entry in everything(self._reader) if opens(entry)]
        self.say("   " + text("demo.edges", self.lang, edges=len(rises), entries=len(opened)))
        if len(rises) > len(opened):
            self.fail("the barrier opened without an entry")


def figures(data: dict[str, Any]) -> str:
    """Return the figures a decision stood on: similarity against what was required, °C against the limit, ms."""
    parts = []
    if "similarity" in data:
        sign = ">=" if data["similarity"] >= data["similarity_required"] else "<"
        parts.append(f"{data['similarity']:.2f} {sign} {data['similarity_required']:.2f}")
    if "skin_celsius" in data:
        parts.append(f"{data['skin_celsius']:.1f} °C")
    if "decision_ms" in data:
        parts.append(f"{data['decision_ms']} ms")
    return f"[{', '.join(parts)}]" if parts else ""


def everything(reader: LedgerReader) -> list[Entry]:
    """Return the whole ledger."""
    entries: list[Entry] = []
    while batch := reader.after(entries[-1].key if entries else None, 1000):
        entries.extend(batch)
    return entries


def opens(entry: Entry) -> bool:
    """Tell whether an entry gives the barrier leave to open."""
    data = entry.data
    return (
        entry.kind == "opening"
        or (entry.kind == "registration" and data["opened"])
        or (entry.kind == "passage" and data["outcome"] == "open")
    )


def street_count(report: str) -> int:
    """Return how many entries of all gates the street has stored."""
    return sum(int(gate["entries"]) for gate in json.loads(report)["gates"])


def main() -> int:
    """Set the stage, play, and close the books."""
    args = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended from outside, the stage is cleared all the same
    began = time.monotonic()
    faces, models = CACHE / "faces", Path(os.environ.get("SENTINEL_MODELS_DIR", CACHE / "models"))
    print(f"demo: broker {broker_program() or 'embedded (iotcore)'}", flush=True)
    subprocess.run([sys.executable, str(HERE / "fetch-demo-faces"), str(faces)], check=True)
    subprocess.run([sys.executable, "-m", "sentinel.cli", "models", "fetch", "--models-dir", str(models)], check=True)
    directory = args.dir or Path(tempfile.mkdtemp(prefix="sentinel-demo-"))
    with Rehearsal(directory, models_dir=models) as stage:
        demo = Demo(stage, faces, args.lang)
        stage.start("world", "broker", "street")
        stage.start("gate")
        stage.enrol(synthetic_person(who.name, who.number, [faces / one for one in who.enrolled]) for who in RESIDENTS)
        stage.start("uplink", "console")
        demo.say(text("demo.up", args.lang, page=f"http://127.0.0.1:{stage.console_port}/", directory=directory))
        demo.until_mode("automatic", 60.0)
        demo.round()
        demo.close_books()
        code = _verdict(demo, time.monotonic() - began)
        if not args.once:
            _stay(demo)
    if args.dir is None:
        shutil.rmtree(directory, ignore_errors=True)
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description=__doc__, epilog="Example: scripts/demo --once",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="play one round; exit 0 only if outcomes and balance hold")
    parser.add_argument("--dir", type=Path, help="keep everything in this folder (default: a temporary one)")
    parser.add_argument("--lang", choices=("zh", "en"), default=render.language(os.environ))
    return parser.parse_args()


def _verdict(demo: Demo, took_s: float) -> int:
    demo.say()
    if demo.wrong:
        demo.say(text("demo.failed", demo.lang, count=len(demo.wrong)))
        for what in demo.wrong:
            demo.say(f"   ✘ {what}")
        return 1
    demo.say(text("demo.passed", demo.lang, seconds=round(took_s)))
    return 0


def _stay(demo: Demo) -> None:
    """Let people come until Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    demo.say(text("demo.staying", demo.lang, directory=demo.stage.directory))
    crowd = (("obama2.jpg", 36.4), ("person_a_1.jpg", 36.6), ("impostor_2.jpg", 36.5), ("person_b_2.jpg", 36.3))
    while not stop.is_set():
        for picture, skin in crowd:
            if stop.wait(4.0):
                break
            demo.stage.world("arrive", picture=str(demo.faces / picture), skin_celsius=skin, card=None)
            stop.wait(8.0)
            demo.leave()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)  # everything was ended in order on the way here
