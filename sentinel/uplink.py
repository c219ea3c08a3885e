"""Process: the uplink. Carry the ledger to the street's broker and its receipts back into `uplink.db`.

It has the network and can open nothing: no device, no barrier, the ledger read-only. Whatever the broker does, the gate
does not notice. Its own state stands in `run_dir/uplink.json`, which status and console read, gate alive or not.
"""

import argparse
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel import clocks
from sentinel.certificates import CertificateWatch
from sentinel.core.retry import Backoff
from sentinel.returned import Returned
from sentinel.settings import Settings, find_config, load
from sentinel.supervise import end_process, sd_notify, start_logging, stop_on_signals
from sync.broker import Broker, BrokerLost, Credentials, MqttBroker, Will
from sync.cursor import Cursor
from sync.errors import LedgerDamaged, SyncError
from sync.forward import Forwarder
from sync.outbox import EntrySource
from sync.readahead import ReadAhead
from sync.reading import LedgerReader
from sync.wire import State, Topics, encode_state, topics

if TYPE_CHECKING:
    from sync.identity import Believed

log = logging.getLogger(__name__)

TURN_S = 0.05  # how long an entry may wait to be noticed
CONNECT_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0  # a broker that is back is used within 15 s
CALM_S = 10.0  # a connection that lived this long has earned a short first wait again
STATE_S = 1.0


def main(argv: list[str] | None = None) -> None:
    """Run the uplink until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="sentinel-uplink",
        description="Carry the ledger to the street office and its receipts back.",
        epilog="Example: sentinel-uplink --config /etc/sentinel/gate.toml",
    )
    parser.add_argument("--config", help="the settings file (default: $SENTINEL_CONFIG or /etc/sentinel/gate.toml)")
    parser.add_argument(
        "--retry-refused", action="store_true", help="send the entries again that the street has refused"
    )
    args = parser.parse_args(argv)
    end_process(partial(serve, args.config, retry_refused=args.retry_refused))


def serve(config: str | None, *, retry_refused: bool = False) -> int:
    """Run the uplink of these settings until SIGTERM or SIGINT."""
    settings = load(find_config(config))
    start_logging(settings.log.level)
    stop = stop_on_signals()
    ledger = settings.paths.ledger
    with (
        open_cursor(settings.paths.uplink_db) as cursor,
        LedgerReader(ledger) as reader,
        LedgerReader(ledger) as ahead,
        closing(ReadAhead(reader, ahead)) as source,
    ):
        if retry_refused:
            log.info("%d refused entries are sent again", cursor.pardon())
        Uplink(settings, source, cursor).run(stop)
    return 0


def open_cursor(path: Path, wall_ns: Callable[[], int] = time.time_ns) -> Cursor:
    """Open `uplink.db` for writing; set a damaged one aside, for the street's receipts will fill a new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Cursor(path, write=True)
    except LedgerDamaged as error:
        aside = path.with_name(f"{path.name}.damaged-{wall_ns() // 1_000_000_000}")
        log.error("%s; it is kept as %s", error, aside.name)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        path.rename(aside)
        return Cursor(path, write=True)


def believed(street_keys: Path | None) -> "Believed | None":
    """Return whose receipts count; None where the street's keys are not known, and any receipt does.

    Raises: IdentityError when the file cannot be used: no receipt could count then.
    """
    if street_keys is None:
        return None
    from sync.identity import load_believed  # imported here: it loads a library of 8 MB

    return load_believed(street_keys)


class Uplink:
    """The connection to one street, for ever: connect, take turns, wait a while, connect again."""

    def __init__(self, settings: Settings, reader: EntrySource, cursor: Cursor) -> None:
        here, way = settings.gate, settings.uplink
        self._ledger = settings.paths.ledger
        self._reader, self._cursor = reader, cursor
        names = topics(here.street, here.site, here.gate)
        broker = MqttBroker(
            way.broker,
            f"sentinel-{here.street}-{here.site}-{here.gate}",
            will=Will(topic=names.state, payload=encode_state(State(online=False))),
            credentials=Credentials(
                username=way.username or None,
                password_file=way.password_file,
                ca_file=way.ca_file,
                cert_file=way.cert_file,
                key_file=way.key_file,
            ),
            keepalive_s=way.keepalive_s,
            doubted=partial(clocks.doubted, settings.paths.ledger),
        )
        self._forwarder = Forwarder(
            reader,
            cursor,
            self._listening(broker, names, settings),
            names,
            clock=time.monotonic,
            wall_ns=time.time_ns,
            chance=random.random,
            batch_entries=way.batch_entries,
            batch_bytes=way.batch_bytes,
            resend_s=way.resend_s,
            backlog_per_s=way.backlog_per_s,
            street=believed(way.street_keys),
        )
        self._certificates = CertificateWatch(way, partial(clocks.latest_ns, settings.paths.ledger))
        self._returned = Returned(settings.paths.receipts_in, names.gate, way.street_keys)
        self._backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, random.random)
        self._state = StateFile(settings.paths.uplink_health, way.broker)
        self._outage_began: float | None = None

    def _listening(self, broker: MqttBroker, names: Topics, settings: Settings) -> Broker:
        """Return the broker that also takes what the street sends down, where the street can be believed."""
        keys = settings.uplink.street_keys
        if keys is None:
            return broker
        from sync.down import DownBroker, Inbox  # as above: for who needs them
        from sync.identity import load_believed

        inbox = Inbox(
            settings.paths.down_in,
            str(names.gate),
            believed=partial(load_believed, keys),
            clock=time.monotonic,
        )
        return DownBroker(broker, names, inbox)

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop`; end in order, so that the street knows that we meant it."""
        sd_notify("READY=1")
        try:
            while not stop.is_set():
                try:
                    self._connected_spell(stop)
                except SyncError as error:
                    self._wait(self._failed(error), stop)
        finally:
            self._forwarder.close()
            self._state.disconnected("stopped", "process", connected_before=False)
            self._write_state(force=True)

    def _connected_spell(self, stop: threading.Event) -> None:
        self._wait_for_ledger(stop)
        if stop.is_set():
            return
        self._forwarder.connect(CONNECT_S)
        self._on_connected()
        began = time.monotonic()
        while not stop.is_set():
            progress = self._forwarder.turn(TURN_S)
            self._state.count(in_flight=progress.in_flight, alarms=progress.alarms, alarm=self._forwarder.last_alarm)
            self._alive()
            if time.monotonic() - began > CALM_S:  # not at once: two boxes of one name would fight for ever
                self._backoff.reset()

    def _wait_for_ledger(self, stop: threading.Event) -> None:
        if self._ledger.exists():
            return
        log.warning("%s is not there yet; the gate makes it at its first start", self._ledger)
        self._state.disconnected("the ledger is not there yet", "ledger")
        while not self._ledger.exists() and not stop.wait(STATE_S):
            self._alive()

    def _on_connected(self) -> None:
        self._state.connected()
        self._write_state(force=True)
        if self._outage_began is None:
            log.info("connected to %s", self._state.broker)
        else:
            log.info("connected again after %.0f s", time.monotonic() - self._outage_began)
        self._outage_began = None

    def _failed(self, error: SyncError) -> float:
        """Note the failure and return how long to wait."""
        layer = error.layer if isinstance(error, BrokerLost) else "ledger"
        level = logging.WARNING if self._outage_began is None else logging.DEBUG
        if layer != self._state.layer and layer in ("credentials", "takeover", "tls"):
            level = logging.ERROR  # no waiting will mend these: a person must come
        log.log(level, "%s: %s", layer, error)
        if self._outage_began is None:
            self._outage_began = time.monotonic()
        self._state.disconnected(str(error), layer)
        self._write_state(force=True)
        if layer == "ledger":
            self._forwarder.close()
        return self._backoff.refused() if layer in ("credentials", "takeover") else self._backoff.next()

    def _wait(self, wait_s: float, stop: threading.Event) -> None:
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0 and not stop.wait(min(left_s, STATE_S)):
            self._alive()

    def _alive(self) -> None:
        """Tell systemd and the state file that a turn has ended; nothing else feeds the watchdog."""
        if self._write_state():
            sd_notify("WATCHDOG=1")

    def _write_state(self, *, force: bool = False) -> bool:
        if not force and not self._state.due(time.monotonic()):
            return False
        try:
            self._certificates.look(time.monotonic())
            self._returned.look(self._cursor, self._reader)
            balance = asdict(self._cursor.pending(self._reader))
        except (SyncError, OSError) as error:
            log.debug("no balance: %s", error)  # the outage itself is told where it is met
            balance = None
        self._state.write(balance)
        return True


class StateFile:
    """What the uplink says of itself in `run_dir/uplink.json`, replaced as a whole each second and at each change."""

    def __init__(self, path: Path, broker: str) -> None:
        self.broker = broker
        self.layer: str | None = None
        self._path = path
        self._connected = False
        self._since = time.time()
        self._error: str | None = None
        self._error_at: float | None = None
        self._counts: dict[str, object] = {"in_flight": 0, "alarms": 0, "last_alarm": None}
        self._due = 0.0
        self._unwritable = False

    def connected(self) -> None:
        """Note that the connection stands."""
        self._connected, self._since = True, time.time()

    def disconnected(self, error: str, layer: str, *, connected_before: bool = True) -> None:
        """Note that it does not, and why; `since` is the beginning of the outage."""
        if self._connected or not connected_before:
            self._since = time.time()
        self._connected = False
        self._error, self.layer, self._error_at = error, layer, time.time()

    def count(self, *, in_flight: int, alarms: int, alarm: str) -> None:
        """Note the figures of the last turn."""
        self._counts = {"in_flight": in_flight, "alarms": alarms, "last_alarm": alarm or None}

    def due(self, now: float) -> bool:
        """Tell whether it is time to write again."""
        return now >= self._due

    def write(self, balance: dict[str, int] | None) -> None:
        """Replace the file. A directory that cannot be written is told once and harms nothing else."""
        self._due = time.monotonic() + STATE_S
        said = {
            "v": 1,
            "pid": os.getpid(),
            "connected": self._connected,
            "since": self._since,
            "broker": self.broker,
            "last_error": self._error,
            "layer": self.layer,
            "last_error_at": self._error_at,
            "balance": balance,
            "written": time.time(),
            **self._counts,
        }
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(said, ensure_ascii=False))
            fresh.replace(self._path)
            self._unwritable = False
        except OSError as error:
            log.log(logging.DEBUG if self._unwritable else logging.WARNING, "state file: %s", error)
            self._unwritable = True


if __name__ == "__main__":
    main()
