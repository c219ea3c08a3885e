"""Process: the gate. Readers and vision feed one deciding thread, which keeps entries and pulses the barrier.

It has no network. It owns the barrier lock, and with it the ledger. When it dies, the lock is free at once and staff
open by the one-shot; when it starts, it waits for the lock, never pulses, and says what it is.
"""

import argparse
import hashlib
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from drivers.barrier import Barrier, BarrierLock
from drivers.errors import BarrierBusy
from drivers.readings import Leaf, Symptom, Trouble
from recognition.readings import Claim
from sentinel import __version__, street_policy
from sentinel.clocks import GateClock, trusted_stamps
from sentinel.control import ControlServer, Peer
from sentinel.core.admission import PassBook, Scope
from sentinel.core.errors import Unavailable
from sentinel.core.fusion import Fuser
from sentinel.core.health import Component, Health
from sentinel.core.kinds import Clock
from sentinel.core.model import Policy, Profile
from sentinel.device_settings import THERMAL_VIDEO
from sentinel.devices import Work, fitted, readers
from sentinel.downroad import DownRoad
from sentinel.downroad_acts import Acts
from sentinel.erasure import Erasures
from sentinel.events import Asked, DeviceFailed, Doze, Event
from sentinel.files import Files, last_calibration
from sentinel.hand import Hand
from sentinel.keeper import How, Keeper
from sentinel.keyroom import number_sealer, open_vault, signer
from sentinel.lane import Lane
from sentinel.life import liveness_rule
from sentinel.passes import Issuers, PassDesk
from sentinel.record import Place
from sentinel.report import report_of, status_answer, thermal_answer
from sentinel.rules import Rules, Times
from sentinel.senses import Senses
from sentinel.settings import Settings, find_config, load
from sentinel.storage import Storage
from sentinel.supervise import (
    BeatingWire,
    Child,
    Worker,
    end_process,
    sd_notify,
    start_logging,
    stop_on_signals,
    take_turns_quickly,
)
from sentinel.thermometer import thermometer_of
from sentinel.wiring import pins_of
from sync.clockwatch import ClockWatch
from sync.ledger import LedgerWriter
from sync.salvage import CHECK_S
from sync.stamp import now_stamp

log = logging.getLogger(__name__)

VISION, BARRIER, LEDGER = Component.VISION, Component.BARRIER, Component.LEDGER
TURN_S = 0.1  # the longest the deciding thread rests: time-outs of the barrier are judged this finely
CHORES_S = 0.5
WATCHDOG_S = 5.0  # a sixth of WatchdogSec=30
ANSWER_S = 3.0  # how long a client waits for the deciding thread; the one-shot gives up after 1 s of its own
VISION_SILENCE_S = 1.4  # pictures come ten times a second; with half a second of patience it is told within 2 s
VISION_BEAT_S = 1.5  # six beats; a process that was stopped, whatever it was busy with, is told within 2 s
VISION_START_S = 60.0  # the first start on a new box prepares the models
INBOX = 1000  # at 20 readings a second, most of a minute; a full inbox drops the newest reading and counts it
SETTLE_S = 8.0  # until then a device that never spoke is starting, not broken


def main(argv: list[str] | None = None) -> None:
    """Run the gate until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="sentinel-gate",
        description="Run the gate: devices, decisions, ledger, barrier.",
        epilog="Example: sentinel-gate --config /etc/sentinel/gate.toml",
    )
    parser.add_argument("--config", help="the settings file (default: $SENTINEL_CONFIG or /etc/sentinel/gate.toml)")
    args = parser.parse_args(argv)
    end_process(partial(serve, args.config))


def serve(config: str | None) -> int:
    """Build the gate from its settings, run it until told to stop, and close it in order."""
    settings = street_policy.overlaid(load(find_config(config)))
    start_logging(settings.log.level)
    take_turns_quickly()
    stop = stop_on_signals()
    with waited_lock(settings.paths.barrier_lock, stop) as held:
        if held:
            if settings.paths.restoring.exists():
                from sentinel.restoring import finish  # not once a year

                finish(settings)
            with GateProcess(settings) as gate:
                sd_notify("READY=1")
                gate.run(stop)
    return 0


@contextmanager
def waited_lock(path: Path, stop: threading.Event) -> Iterator[bool]:
    """Hold the barrier lock, waiting for another owner to let go; give False when told to stop before that."""
    lock = BarrierLock(path)
    said = False
    while not lock.held and not stop.is_set():
        try:
            lock.acquire(wait_s=0.2)
        except BarrierBusy as busy:
            if not said:
                log.warning("%s; waiting for it", busy)
                said = True
    try:
        yield lock.held
    finally:
        lock.release()


class GateProcess:
    """Everything the process owns: ledger, barrier, workers, child, sockets, and the lane that decides."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.monotonic()
        self._ours = frozenset((0, settings.paths.state_dir.stat().st_uid))
        self._inbox: queue.Queue[Event] = queue.Queue(INBOX)
        self._dropped = 0
        self._vault = open_vault(settings, create=True)
        self._keeper = Keeper(
            open_ledger=self._open_ledger,
            spool=settings.paths.spool,
            vault=self._vault,
            stamp=now_stamp,
            bound_s=settings.barrier.append_bound_s,
            storage=Storage.of(settings),
            erasures=Erasures.of(settings, self._vault),
        )
        self._keeper.tend()
        self._clock = GateClock(trusted_stamps(settings.paths.ledger), watch=ClockWatch())
        self._hand = Hand(self._open_barrier, lambda symptom, detail: self._lane.report(BARRIER, symptom, detail))
        self._lane = self._build_lane()
        self._vision = self._build_vision()
        self._workers = [Worker(name, work, on_failure=failed) for name, work, failed in self._work()]

    def __enter__(self) -> "GateProcess":
        self._hand.tick(time.monotonic())
        for worker in self._workers:
            worker.start()
        if self._vision is not None:
            self._vision.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        sd_notify("STOPPING=1")
        if self._vision is not None:
            self._vision.stop()
        for worker in self._workers:
            worker.stop()
        self._hand.close()
        self._keeper.close("told to stop")

    def run(self, stop: threading.Event) -> None:
        """Decide until told to stop. The watchdog is fed here and nowhere else, after a turn that came through."""
        next_chores = next_watchdog = 0.0
        while not stop.is_set():
            self._lane.turn(self._next_event())
            self._clock.mind(self._keep_clock)
            now = time.monotonic()
            if now >= next_chores:
                self._chores(now)
                next_chores = now + CHORES_S
            if now >= next_watchdog:
                sd_notify(f"WATCHDOG=1\nSTATUS=mode {self._lane.mode}")
                next_watchdog = now + WATCHDOG_S

    # -- building -----------------------------------------------------------------------------------------------------

    def _open_ledger(self) -> LedgerWriter:
        settings = self._settings
        config_sha256 = hashlib.sha256(settings.source.read_bytes()).hexdigest()
        return LedgerWriter.open(
            settings.paths.ledger,
            vault=self._vault,
            owner="gate",
            start_body={"version": __version__, "config_sha256": config_sha256},
            quota_bytes=settings.storage.quota_mb << 20,
            check_s=CHECK_S,
        )

    def _open_barrier(self) -> Barrier:
        return Barrier(pins_of(self._settings), passage_s=self._settings.barrier.passage_s, on_event=self._post)

    def _build_lane(self) -> Lane:
        settings, here = self._settings, self._settings.gate
        profile = Profile(here.profile)
        limit = settings.temperature.limit_celsius if settings.gate.temperature else None
        rules = Rules(
            policy=Policy(profile=profile, temperature_limit_celsius=limit, lane=here.lane, direction=here.direction),
            place=Place(lane=here.lane, direction=here.direction, temperature_limit_celsius=limit),
            pulse_s=settings.barrier.pulse_s,
            exit_leaf=Leaf.OUT if settings.barrier.relay_out != "" else Leaf.IN,
            seal_number=number_sealer(settings),
            sign=signer(settings),
            trusted_uids=self._ours,
        )
        fuser = Fuser(
            profile=profile,
            temperature=settings.gate.temperature,
            window_s=settings.fusion.window_s,
            repeat_s=settings.fusion.repeat_s,
            limit_celsius=limit,
            margin_celsius=settings.temperature.near_limit_celsius,
            liveness=liveness_rule(settings),
            card_photo=settings.card.photo_decoder is not None,
        )
        return Lane(
            rules=rules,
            senses=Senses(
                thermometer=thermometer_of(settings, last_calibration(settings.paths.ledger)),
                has_presence=settings.presence.kind != "none",
            ),
            fuser=fuser,
            health=Health(fitted(settings)),
            keeper=self._keeper,
            hand=self._hand,
            people={},
            token_of=self._vault.token,
            tell_vision=self._tell_vision,
            passes=self._pass_desk(),
            times=Times(today=self._clock.today, clock_trusted=self._clock.plausible, stamp=now_stamp),
        )

    def _pass_desk(self) -> PassDesk:
        gate = self._settings.gate
        return PassDesk(
            scope=Scope.of(gate.street, gate.site, gate.gate),
            issuers=Issuers(keys={}),  # read by Files in a moment
            book=PassBook(complete=False),
            now_utc_s=time.time,
            clock_trusted=self._clock.plausible,
        )

    def _build_vision(self) -> Child | None:
        settings = self._settings
        if not (settings.camera.source or settings.infrared.source or settings.thermal.kind in THERMAL_VIDEO):
            return None
        return Child(
            "vision",
            run_vision,
            (str(self._settings.source),),
            on_message=self._from_vision,
            on_failure=lambda why: self._post(DeviceFailed(VISION, Symptom.LOST, why)),
            silence_s=VISION_SILENCE_S,
            start_s=VISION_START_S,
            beat_s=VISION_BEAT_S,
        )

    def _work(self) -> list[Work]:
        server = ControlServer(self._settings.paths.control_socket, self._answer)
        files = Files(self._settings, self._vault, self._keeper, self._post, self._clock.today)
        return [
            ("control", server.run, lambda _error: None),
            ("files", files.run, lambda _error: None),
            *self._from_street(),
            *readers(self._settings, self._post),
        ]

    def _from_street(self) -> list[Work]:
        settings, keeper = self._settings, self._keeper
        if settings.uplink.street_keys is None:
            return []
        trusted = self._clock.plausible
        acts = Acts(
            settings=settings,
            vault=self._vault,
            epoch=lambda: keeper.epoch,
            clock_trusted=trusted,
            report=lambda: report_of(self._lane, keeper, settings.paths.uplink_health),
        )
        road = DownRoad(settings, acts, self._post, ready=lambda: keeper.problem is None, clock_trusted=trusted)
        return [("street", road.run, lambda _error: None)]

    # -- what comes in from other threads -----------------------------------------------------------------------------

    def _post(self, event: Event) -> None:
        try:
            self._inbox.put_nowait(event)
        except queue.Full:
            self._dropped += 1
            if self._dropped % 1000 == 1:
                log.error("the deciding thread is behind: %d readings dropped so far", self._dropped)

    def _next_event(self) -> Event | None:
        try:
            return self._inbox.get(timeout=max(self._lane.wait_s(TURN_S), 0.001))
        except queue.Empty:
            return None

    def _from_vision(self, message: Any) -> None:
        if isinstance(message, Trouble):
            self._post(DeviceFailed(VISION, message.symptom, message.detail))
        else:
            self._post(message)

    def _tell_vision(self, message: Claim | Doze) -> None:
        if self._vision is not None:
            self._vision.send(message)

    def _answer(self, request: dict[str, Any], peer: Peer) -> Mapping[str, Any]:
        if request["verb"] == "thermal":
            return thermal_answer(self._lane.thermometer, peer_is_ours=peer.uid in self._ours, now=time.monotonic())
        if request["verb"] == "status":
            return status_answer(
                self._lane, self._keeper, started_mono=self._started, dropped=self._dropped, now=time.monotonic()
            )
        asked = Asked(request, peer)
        self._post(asked)
        try:
            return asked.reply.get(timeout=ANSWER_S)
        except queue.Empty:
            raise Unavailable("the deciding thread does not answer; the watchdog restarts the gate soon") from None

    def _keep_clock(self, entry: Clock) -> bool:
        return self._keeper.keep(entry).how != How.LOST

    # -- now and then -------------------------------------------------------------------------------------------------

    def _chores(self, now: float) -> None:
        if now - self._started > SETTLE_S:
            self._lane.settle()
        self._keeper.tend()
        problem = self._keeper.problem
        self._lane.report(LEDGER, Symptom.LOST if problem else None, problem or "")


def run_vision(pipe: Connection, config: str) -> None:
    """Run the vision child. Imported here, in the child: the gate must never load what reads pictures."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is loaded; a pool makes a search slower here
    wire = BeatingWire(pipe)  # before the import, which takes the longest of the start
    from sentinel import vision

    vision.run(wire, config)


if __name__ == "__main__":
    main()
