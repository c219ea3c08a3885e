"""Process, at the street office: store every gate's entries once, answer with receipts, report what is missing."""

import argparse
import gc
import logging
import os
import random
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from sentinel import street_publish
from sentinel.clocks import GateClock
from sentinel.core.errors import UsageError
from sentinel.core.retry import Backoff
from sentinel.street_import import import_stick
from sentinel.street_report import print_report
from sentinel.street_workers import alone_with, check_sharing, run_workers
from sentinel.supervise import end_process, sd_notify, start_logging, stop_on_signals
from sync.broker import BrokerLost, Credentials, MqttBroker
from sync.identity import Identity, load_believed, load_identity, make_identity
from sync.receive import Receiver
from sync.store import POSTGRESQL, Store, reading

log = logging.getLogger(__name__)

TURN_S = 0.5
CONNECT_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
CALM_S = 10.0
WATCHDOG_S = 5.0  # a third of the shortest watchdog anybody would set
SESSION_S = 7 * 24 * 3600  # the broker keeps what gates send while we are away


def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM, or print the report."""
    args = _parser().parse_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    verbs = {"report": report, "keys": print_keys, "import": import_file, "publish": street_publish.run}
    end_process(partial(verbs.get(args.verb, serve), args))


def _parser() -> argparse.ArgumentParser:
    store = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    store.add_argument(
        "--store", help="the street's database: a file, made when missing, or postgresql://… (default: street.db)"
    )
    parser = argparse.ArgumentParser(
        prog="sentinel-street",
        parents=[store],
        description="Receive the entries of every gate, store each once, answer with receipts.",
        epilog="Example: sentinel-street --broker mqtt://127.0.0.1:1883 --store /var/lib/sentinel-street/street.db",
    )
    known = os.environ.get
    parser.add_argument(
        "--identity", type=Path, default=known("SENTINEL_STREET_KEY"), metavar="FILE",
        help="the private keys that sign receipts (default: street.key beside the store, when it is there)",
    )  # fmt: skip
    parser.add_argument("--broker", default=known("SENTINEL_BROKER"), help="mqtt://HOST:PORT or mqtts://HOST:PORT")
    parser.add_argument("--name", default="street", help="tells receivers of one broker apart (default: %(default)s)")
    parser.add_argument("--username", default=known("SENTINEL_USERNAME"))
    for option, what in (("password", "holds the password"), ("ca", "certifies the broker"), ("cert", "is ours")):
        name = f"{option}_file"
        parser.add_argument(
            f"--{option}-file", type=Path, default=known(f"SENTINEL_{name.upper()}"), help=f"the file that {what}"
        )
    parser.add_argument("--key-file", type=Path, default=known("SENTINEL_KEY_FILE"), help="the key of --cert-file")
    _add_sharing(parser)
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    _add_keys(verbs, store)
    _add_import(verbs, store)
    street_publish.add(verbs)
    _add_report(verbs, store)
    return parser


def _add_sharing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=1, help="so many share the entries; PostgreSQL (default: 1)")
    parser.add_argument("--share", help="share the entries with every receiver of this share, each with its own --name")
    parser.add_argument("--entries-only", action="store_true", help="of a share, all but one: leave states to that one")


def _add_keys(verbs: Any, store: argparse.ArgumentParser) -> None:
    verbs.add_parser(
        "keys",
        parents=[store],
        help="make the street's keys, once, and print the public half for the gates' [uplink] street_keys",
        epilog="Example: sentinel-street keys > street.pub",
    )


def _add_import(verbs: Any, store: argparse.ArgumentParser) -> None:
    reading = verbs.add_parser(
        "import",
        parents=[store],
        help="store what a gate wrote on a stick, and write the receipts that go back; see docs/maintainer.md",
        epilog="Example: sentinel-street import /media/stick/east-3.stick --gates gates.pub",
    )
    reading.add_argument("stick", type=Path, metavar="FILE", help="what sentinelctl stick export wrote")
    known = "the public keys of the gates, as sentinelctl show identity prints them"
    reading.add_argument("--gates", type=Path, metavar="FILE", required=True, help=known)


def _add_report(verbs: Any, store: argparse.ArgumentParser) -> None:
    report = verbs.add_parser(
        "report",
        parents=[store],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        help="print what each gate has sent and what is missing; also beside a running receiver",
        description="Print what each gate has sent and what is missing, and the sum of all. Of the entries it reads\n"
        "only the first of each start of a gate and, with --json, what dates its first and its last one.",
        epilog="Exit codes: 0 all is there; 1 something is missing, forked, broken or forgotten; 70 the store cannot\n"
        "be read; 2 wrong usage. What a gate announced and has not sent yet counts as missing.\n\n"
        "Example: sentinel-street report --store /var/lib/sentinel-street/street.db --only-trouble --json",
    )
    report.add_argument("--gate", metavar="NAME", help="only gates of this name: gate, site/gate or street/site/gate")
    report.add_argument("--only-trouble", action="store_true", help="leave out gates of which all is there")
    report.add_argument("--json", action="store_true", help="for programs")


def serve(args: argparse.Namespace) -> int:
    """Receive until SIGTERM or SIGINT."""
    if not args.broker:
        raise UsageError("no broker; name it with --broker mqtt://HOST:PORT or in SENTINEL_BROKER")
    if args.workers > 1 or args.share:
        check_sharing(_store(args))
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
        session_expiry_s=0 if args.share else SESSION_S,  # a worker that is gone must not be dealt a part
        manual_ack=True,
        doubted=GateClock().doubted,
    )
    spare_the_collector()
    with alone_with(_store(args)), Store(_store(args)) as store:
        sd_notify("READY=1")
        receiver = Receiver(
            store,
            broker,
            wall_ns=time.time_ns,
            identity=_identity(args),
            share=args.share,
            states=not args.entries_only,
        )
        Street(receiver, args.broker).run(stop)
    broker.close()
    return 0


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


def report(args: argparse.Namespace) -> int:
    """Print what the street holds and lacks of each gate; 1 when there is trouble."""
    with reading(_store(args)) as rows:
        return print_report(rows, gate=args.gate, only_trouble=args.only_trouble, as_document=args.json)


def print_keys(args: argparse.Namespace) -> int:
    """Make the street's identity when there is none, and print what the gates need of it."""
    path = _identity_path(args)
    print(make_identity(path).known.text(), end="")
    print(f"{path} stays here; what is printed is for each gate's [uplink] street_keys", file=sys.stderr)
    return 0


def import_file(args: argparse.Namespace) -> int:
    """Read a stick and name the file that goes back."""
    street, gates = load_identity(_identity_path(args)), load_believed(args.gates)
    with alone_with(_store(args)), Store(_store(args)) as store:
        print(import_stick(args.stick, store, street, gates, now_ns=time.time_ns()))
    return 0


def _identity_path(args: argparse.Namespace) -> Path:
    where = _store(args)
    beside = where.with_name("street.key") if isinstance(where, Path) else Path("street.key")
    return Path(args.identity) if args.identity else beside


def _identity(args: argparse.Namespace) -> Identity | None:
    path = _identity_path(args)
    if args.identity or path.exists():
        return load_identity(path)
    log.warning("receipts are not signed: there is no %s; make one: sentinel-street keys", path)
    return None


def _store(args: argparse.Namespace) -> Path | str:
    """Return the file of SQLite, or the URL of PostgreSQL's database."""
    where: str = getattr(args, "store", "street.db")
    return where if where.startswith(POSTGRESQL) else Path(where)


if __name__ == "__main__":
    main()
