"""Stand one gate in this process: real readers, lane, ledger and barrier, before simulated devices on one bench."""

import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drivers.barrier import Barrier, Pins
from drivers.readings import Leaf, Reading
from drivers.sim.bench import KINDS, RELAY_BOARD, RELAY_BOARD_INPUTS, Bench, Wiring
from drivers.sim.wires import SimFactory, boottime_ns
from sentinel.control import Peer
from sentinel.core.admission import PassBook, Scope
from sentinel.core.citizen import check_digit
from sentinel.core.climate import Climate
from sentinel.core.fusion import Fuser
from sentinel.core.health import Component, Health
from sentinel.core.model import PassKind, Person, Policy, Profile
from sentinel.core.thermometry import Compensation, Limits
from sentinel.device_settings import Card, Distance, Infrared, Presence, Scanner, Thermal
from sentinel.devices import fitted, readers
from sentinel.events import Asked, Event, FromDevice, RosterRead
from sentinel.hand import Hand
from sentinel.keeper import Keeper
from sentinel.lane import Lane
from sentinel.passes import Issuers, PassDesk, key_id, write_pass
from sentinel.record import Place
from sentinel.rules import Rules, Times
from sentinel.senses import Senses
from sentinel.supervise import Worker
from sentinel.thermometer import Thermometer
from sync.entry import Entry
from sync.ledger import LedgerReader, LedgerWriter
from sync.stamp import now_stamp
from sync.vault import Vault

from .cases import GATE
from .cases import RELAY_BOARD as BOARD

TURN_S, CHORES_S, LOOK_S = 0.1, 0.5, 0.1
PASSAGE_S, HELD_S = 1.0, 1.0  # as a site may set them; from the works 5 s and 10 s
WINDOW_S = 3.0  # as a site may set it; from the works 6 s
WALK_S = 0.15
SILENCE_S = 3.0  # of the scanner; from the works 5 s, and then it is told after that
RESIDENTS = 200
SCOPE = Scope.of("330106", "cuiyuan3", "east-3")
SELF = Peer(pid=2, uid=0, name="root")
TABLES = {"card": Card, "thermal": Thermal, "scanner": Scanner, "distance": Distance, "presence": Presence}


def number_of(serial: int) -> str:
    """Return an ID number that is valid by check digit and of a region that does not exist."""
    first17 = f"99010119800101{serial:03d}"
    return first17 + check_digit(first17)


def settings_of(folder: Path, kinds: Mapping[str, str]) -> Any:
    """Return the device tables of the settings for these kinds."""
    chosen: dict[str, Any] = {"infrared": Infrared()}
    for name, table in TABLES.items():
        kind = kinds.get(name, "none")
        more = {"silence_s": SILENCE_S} if name == "scanner" else {}
        if kind == "none":
            chosen[name] = table(kind=kind)
        elif kind.endswith("-i2c"):
            chosen[name] = table(kind=kind, port=f"sim://{folder}/i2c.sock")
        else:
            chosen[name] = table(kind=kind, port=f"serial://{folder}/{name}.tty?baud={KINDS[kind][1]}", **more)
    return SimpleNamespace(**chosen)


class Gate:
    """One gate whose lane turns in a thread of its own, and what the test must know of it.

    `kinds` says what is fitted: the devices, and "barrier" as `relay-board` or `gate` (its own wires).
    """

    def __init__(self, folder: Path, kinds: Mapping[str, str], *, broken: tuple[str, str] | None = None) -> None:
        self.folder = folder
        self.broken_at_start = broken
        self.kinds = dict(kinds)
        self.walks = True  # whether whoever is let in goes through by himself
        self._closures: list[int] = []  # boot-time ns of each closing of a leaf's relay
        self._inbox: queue.Queue[Event] = queue.Queue()
        self._news = threading.Condition()
        self._entries: list[Entry] = []
        self._newest: dict[tuple[str, type], Reading] = {}
        self._stop = threading.Event()
        self.surprise: BaseException | None = None
        bench_kinds = {name: kinds.get(name, "none") for name in TABLES}
        self.bench = Bench(folder, wiring=Wiring(), kinds=bench_kinds, camera_fps=0.05, on_relay=self._relay_moved)
        if broken is not None:  # a fault that is there before the gate begins
            self.bench.fault(*broken)
        self._vault = Vault.open(folder / "secrets", create=True)
        self.keeper = Keeper(
            open_ledger=lambda: LedgerWriter.open(folder / "ledger.db", vault=self._vault, owner="gate", start_body={}),
            spool=folder / "spool.jsonl",
            vault=self._vault,
            stamp=now_stamp,
            bound_s=5.0,
        )
        self.keeper.tend()
        self._reader = LedgerReader(folder / "ledger.db")
        self._issuer = Ed25519PrivateKey.generate()
        self.hand = Hand(
            self._open_barrier, lambda symptom, detail: self.lane.report(Component.BARRIER, symptom, detail)
        )
        self.lane = self._build_lane()
        work = readers(settings_of(folder, self.kinds), self.post)
        self.workers = [Worker(name, act, on_failure=failed) for name, act, failed in work]
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)

    def start(self) -> None:
        """Let the lane turn and the workers work."""
        self._inbox.put(RosterRead({person.token: person for person in self._people()}))
        self._thread.start()
        for worker in self.workers:
            worker.start()

    def close(self) -> None:
        """End in order, as the gate does."""
        for worker in self.workers:
            worker.stop()
        self._stop.set()
        if self._thread.ident is not None:  # it was started
            self._thread.join(5.0)
        self.hand.close()
        self.keeper.close("end of test")
        self.bench.close()

    # — building —

    def _open_barrier(self) -> Barrier:
        wiring = self.bench.wiring
        if self.kinds["barrier"] == GATE:
            pins = {name: getattr(wiring, name) for name in (*RELAY_BOARD, *RELAY_BOARD_INPUTS)}
            factory = SimFactory(str(self.folder / "wires.sock"))
            return self._barrier(Pins(factory="sentinel-sim", **pins), pin_factory=factory)
        assert self.kinds["barrier"] == BOARD
        pins = {name: f"relay{index}" for index, name in enumerate(RELAY_BOARD)}
        pins |= {name: f"input{index}" for index, name in enumerate(RELAY_BOARD_INPUTS)}
        return self._barrier(Pins(factory=f"sentinel-modbus:serial://{self.folder}/relay.tty?baud=9600", **pins))

    def _barrier(self, pins: Pins, **options: Any) -> Barrier:
        return Barrier(pins, passage_s=PASSAGE_S, held_s=HELD_S, on_event=self.post, **options)

    def _people(self) -> list[Person]:
        return [
            Person(token=self._vault.token(number_of(serial)), name="样本", number_masked="990101********0000")
            for serial in range(RESIDENTS)
        ]

    def _build_lane(self) -> Lane:
        keys = {key_id(self._issuer.public_key()): self._issuer.public_key()}
        profile = Profile.CARD
        return Lane(
            rules=Rules(
                policy=Policy(profile=profile, temperature_limit_celsius=None),
                place=Place(lane="lane-1", direction="in", temperature_limit_celsius=None),
                pulse_s=0.3,
                exit_leaf=Leaf.OUT,
                trusted_uids=frozenset((0,)),
            ),
            senses=Senses(
                thermometer=Thermometer(
                    limits=Limits(ambient_min_celsius=15.0, ambient_max_celsius=35.0),
                    compensation=Compensation(),
                    climate=Climate(warm_up_s=0.0),
                ),
                has_presence="presence" in self.kinds,
            ),
            fuser=Fuser(profile=profile, temperature=False, window_s=WINDOW_S, repeat_s=1.0),
            health=Health(fitted(settings_of(self.folder, self.kinds))),
            keeper=self.keeper,
            hand=self.hand,
            people={},
            passes=PassDesk(
                scope=SCOPE, issuers=Issuers(keys=keys), book=PassBook(), now_utc_s=time.time,
                clock_trusted=lambda: True,
            ),
            token_of=self._vault.token,
            tell_vision=lambda _message: None,
            times=Times(today=lambda: date(2026, 11, 22), clock_trusted=lambda: True, stamp=now_stamp),
        )  # fmt: skip

    # — the deciding thread —

    def post(self, event: Event) -> None:
        """Take an event of any thread."""
        if isinstance(event, FromDevice):
            with self._news:
                self._newest[event.device, type(event.reading)] = event.reading
        self._inbox.put(event)

    def _run(self) -> None:
        chores = looked = 0.0
        try:
            while not self._stop.is_set():
                self.lane.turn(self._next())
                now = time.monotonic()
                if now >= chores:
                    chores = now + CHORES_S
                    self.keeper.tend()
                    self.lane.report(Component.LEDGER, None)
                if now >= looked:
                    looked = now + LOOK_S
                    self._look()
        except BaseException as error:  # told by the test: a thread that dies alone is silent
            self.surprise = error
            raise

    def _next(self) -> Event | None:
        try:
            return self._inbox.get(timeout=max(self.lane.wait_s(TURN_S), 0.001))
        except queue.Empty:
            return None

    def _look(self) -> None:
        last = self._entries[-1].key if self._entries else None
        fresh = self._reader.after(last, 1000)
        with self._news:
            self._entries += fresh
            self._news.notify_all()

    def _relay_moved(self, leaf: Leaf, on: bool) -> None:
        if on:
            self._closures.append(boottime_ns())
            if self.walks:
                self.bench.wires.later(WALK_S, lambda: self.bench.house.walk(leaf))

    # — what the test asks —

    def until(self, holds: Callable[[], Any], seconds: float) -> Any:
        """Return what `holds` returns as soon as it is true, or its last answer when the time is over."""
        with self._news:
            return self._news.wait_for(holds, seconds)

    def entries(self, since: int = 0) -> list[Entry]:
        """Return the entries from the one with this place on."""
        with self._news:
            return self._entries[since:]

    def newest(self, device: str, kind: type, since_mono: float) -> Any | None:
        """Return the newest reading of this kind when it is not older than that."""
        reading: Any = self._newest.get((device, kind))
        return reading if reading is not None and reading.at_mono >= since_mono else None

    def ask_to_open(self) -> Mapping[str, Any]:
        """Ask as staff do, and return the answer."""
        asked = Asked({"v": 1, "verb": "open", "request": str(uuid.uuid4()), "reason": "delivery"}, SELF)
        self._inbox.put(asked)
        return asked.reply.get(timeout=5.0)

    def fresh_pass(self) -> bytes:
        """Return the text of a staff badge that nobody has shown yet."""
        now = int(time.time())
        return write_pass(
            self._issuer, kind=PassKind.STAFF, scope=SCOPE.gate, valid_from_utc_s=now - 60,
            valid_until_utc_s=now + 3600, uses=0,
        ).encode()  # fmt: skip

    @property
    def closures(self) -> tuple[int, ...]:
        """When a leaf's relay closed, in boot-time ns."""
        return tuple(self._closures)
