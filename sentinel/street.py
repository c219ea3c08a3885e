"""Process, at the street office: store every gate's entries once, answer with receipts, report what is missing."""

import argparse
import gc
import json
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sentinel.core.errors import UsageError
from sentinel.core.retry import Backoff
from sentinel.street_workers import run_workers
from sentinel.supervise import end_process, sd_notify, start_logging, stop_on_signals
from sync.broker import BrokerLost, Credentials, MqttBroker
from sync.disk import write_whole
from sync.entry import epoch_text
from sync.gaps import GateReport, read_report
from sync.identity import load_identity, make_identity
from sync.receipts import Signer
from sync.receive import Receiver
from sync.store import POSTGRESQL, Store
from sync.wire import utc_text

log = logging.getLogger(__name__)

TURN_S = 0.5
CONNECT_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
CALM_S = 10.0
WATCHDOG_S = 5.0  # a third of the shortest watchdog anybody would set
SESSION_S = 7 * 24 * 3600  # the broker keeps what gates send while we are away


def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM, print the report, or make and print the keys."""
    args = _parser().parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    verbs = {"report": print_report, "keys": print_keys}
    end_process(partial(verbs.get(args.verb, serve), args))


def _parser() -> argparse.ArgumentParser:
    store = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    store.add_argument(
        "--store", help="the street's database: a file, made when missing, or postgresql://… (default: street.db)"
    )
    store.add_argument("--keys-dir", type=Path, help="where street.key is (default: beside the store)")
    parser = argparse.ArgumentParser(
        prog="sentinel-street",
        parents=[store],
        description="Receive the entries of every gate, store each once, answer with receipts.",
        epilog="Example: sentinel-street --broker mqtt://127.0.0.1:1883 --store /var/lib/sentinel-street/street.db",
    )
    known = os.environ.get
    parser.add_argument("--broker", default=known("SENTINEL_BROKER"), help="mqtt://HOST:PORT or mqtts://HOST:PORT")
    parser.add_argument("--name", default="street", help="tells receivers of one broker apart (default: %(default)s)")
    parser.add_argument("--username", default=known("SENTINEL_USERNAME"))
    for option, what in (("password", "holds the password"), ("ca", "certifies the broker"), ("cert", "is ours")):
        name = f"{option}_file"
        parser.add_argument(
            f"--{option}-file", type=Path, default=known(f"SENTINEL_{name.upper()}"), help=f"the file that {what}"
        )
    parser.add_argument("--key-file", type=Path, default=known("SENTINEL_KEY_FILE"), help="the key of --cert-file")
    parser.add_argument("--workers", type=int, default=1, help="so many processes share the entries (default: 1)")
    parser.add_argument("--share", help="share the entries with every receiver of this share, each with its own --name")
    parser.add_argument("--entries-only", action="store_true", help="of a share, all but one: leave states to that one")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    verbs = parser.add_subparsers(dest="verb", metavar="report|keys")
    report = verbs.add_parser(
        "report",
        parents=[store],
        help="print what each gate has sent and what is missing; also beside a running receiver",
        epilog="Example: sentinel-street report --store /var/lib/sentinel-street/street.db --json",
    )
    report.add_argument("--json", action="store_true", help="for programs")
    verbs.add_parser(
        "keys",
        parents=[store],
        help="make the street's identity, once, and print its public half; from the next start every receipt is signed",
        epilog="Example: sentinel-street keys --keys-dir /var/lib/sentinel-street > street.pub; each gate takes that"
        " file as [uplink] street_keys. Exit codes: 0 done, 65 the key cannot be made or read.",
    )
    return parser


def serve(args: argparse.Namespace) -> int:
    """Receive until SIGTERM or SIGINT."""
    if not args.broker:
        raise UsageError("no broker; name it with --broker mqtt://HOST:PORT or in SENTINEL_BROKER")
    start_logging(args.log_level)
    stop = stop_on_signals()
    if args.workers > 1:
        run_workers(args.argv, args.workers, args.share or args.name, stop)
        return 0
    broker = MqttBroker(
        args.broker,
        f"sentinel-street-{args.name}",
        credentials=Credentials(
            username=args.username,
            password_file=args.password_file and Path(args.password_file),
            ca_file=args.ca_file and Path(args.ca_file),
            cert_file=args.cert_file and Path(args.cert_file),
            key_file=args.key_file and Path(args.key_file),
        ),
        clean_start=bool(args.share),
        session_expiry_s=0 if args.share else SESSION_S,  # a worker that is gone must not be dealt a part of the entries
        manual_ack=True,
    )
    spare_the_collector()
    with Store(_store(args)) as store:
        sd_notify("READY=1")
        receiver = Receiver(
            store, broker, wall_ns=time.time_ns, signer=_signer(args), share=args.share, states=not args.entries_only
        )
        Street(receiver, args.broker).run(stop)
    broker.close()
    return 0


def print_keys(args: argparse.Namespace) -> int:
    """Make the street's identity where there is none, and print what the gates need to believe it."""
    path = _key_file(args)
    identity = make_identity(path)
    text = identity.known.text()
    write_whole(path.with_suffix(".pub"), text.encode(), 0o644)
    print(text, end="")
    print(f"{path}: identity {identity.known.id}; keep a copy of it where only you can read", file=sys.stderr)
    return 0


def _key_file(args: argparse.Namespace) -> Path:
    where = _store(args)
    beside = Path() if where.startswith(POSTGRESQL) else Path(where).parent
    folder: Path = getattr(args, "keys_dir", beside)
    return folder / "street.key"


def _signer(args: argparse.Namespace) -> Signer | None:
    path = _key_file(args)
    if not path.exists():
        log.warning("receipts are not signed; `sentinel-street keys` makes %s", path)
        return None
    return Signer(load_identity(path))


def spare_the_collector() -> None:
    """Let the garbage collector look less often: a batch makes thousands of objects, and not one circle among them."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # an eighth of the time of reading a batch went into looking


class Street:
    """The receiver's connection, for ever."""

    def __init__(self, receiver: Receiver, url: str) -> None:
        self._receiver, self._url = receiver, url
        self._backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, random.random)
        self._outage_began: float | None = None
        self._fed = 0.0

    def run(self, stop: threading.Event) -> None:
        """Connect and receive until `stop`; wait a while after each failure."""
        while not stop.is_set():
            try:
                self._connected_spell(stop)
            except BrokerLost as error:
                stop.wait(self._failed(error))

    def _connected_spell(self, stop: threading.Event) -> None:
        self._receiver.connect(CONNECT_S)
        began = time.monotonic()
        after = "" if self._outage_began is None else f" again after {began - self._outage_began:.0f} s"
        log.info("connected to %s%s", self._url, after)
        self._outage_began = None
        while not stop.is_set():
            self._receiver.turn(TURN_S)
            now = time.monotonic()
            if now - began > CALM_S:
                self._backoff.reset()
            if now - self._fed > WATCHDOG_S:
                self._fed = now
                sd_notify("WATCHDOG=1")

    def _failed(self, error: BrokerLost) -> float:
        log.log(logging.DEBUG if self._outage_began else logging.WARNING, "%s: %s", error.layer, error)
        if self._outage_began is None:
            self._outage_began = time.monotonic()
        sd_notify("WATCHDOG=1")  # a broker that is away is no reason to be killed
        return self._backoff.refused() if error.layer in ("credentials", "takeover") else self._backoff.next()


def print_report(args: argparse.Namespace) -> int:
    """Print what the street holds and lacks of each gate."""
    gates = _report(args)
    if args.json:
        json.dump({"v": 1, "gates": [as_json(gate) for gate in gates]}, sys.stdout, ensure_ascii=False, indent=1)
        print()
        return 0
    print("\n".join(line for gate in gates for line in as_lines(gate)) or "no gate has sent anything yet")
    return 0


def as_json(gate: GateReport) -> dict[str, Any]:
    """Return one gate's report as plain JSON values."""
    return {
        "device": gate.device,
        "entries": gate.entries,
        "missing": gate.missing,
        "refused": gate.refused,
        "online": gate.online,
        "last_seen": utc_text(gate.seen_ns),
        "epochs": [
            {
                "epoch": epoch_text(epoch.epoch),
                "entries": epoch.entries,
                "last": epoch.last,
                "gaps": [[run.first, run.last] for run in epoch.missing],
            }
            for epoch in gate.epochs
        ],
        "forks": [str(key) for key in gate.forks],
        "breaks": [str(key) for key in gate.breaks],
        "forgotten": [str(key) for key in gate.forgotten],
    }


def as_lines(gate: GateReport) -> Sequence[str]:
    """Return one gate's report as lines for people."""
    online = {True: "online", False: "offline", None: "never announced"}[gate.online]
    lines = [
        f"{gate.device}  {online}  last seen {utc_text(gate.seen_ns)}",
        f"  {gate.entries} entries in {len(gate.epochs)} epochs, {gate.missing} missing, {gate.refused} refused",
    ]
    for epoch in gate.epochs:
        for run in epoch.missing:
            lines.append(f"  GAP    {epoch_text(epoch.epoch)}  {run.first}-{run.last} ({run.count} entries)")
    for word, keys in (("FORK", gate.forks), ("BREAK", gate.breaks), ("FORGOT", gate.forgotten)):
        lines += [f"  {word:6} {key}" for key in keys]
    return lines


def _store(args: argparse.Namespace) -> str:
    where: str = getattr(args, "store", "street.db")
    return where


def _report(args: argparse.Namespace) -> tuple[GateReport, ...]:
    where = _store(args)
    if not where.startswith(POSTGRESQL):
        return read_report(where)
    with Store(where) as store:
        return store.report()


if __name__ == "__main__":
    main()
