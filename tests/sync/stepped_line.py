"""A gate's ledger and uplink, a broker, and a street, stepped by hand: the line that tests of both ends stand on."""

import json
import random

from made_entries import FIRST, LedgerInMemory

from sync.broker import Message, Will
from sync.cursor import Cursor
from sync.forward import Forwarder
from sync.identity import Believed, Identity
from sync.memory_broker import MemoryBroker, MemoryHub
from sync.pack import ENCODING, unpack
from sync.receive import Receiver
from sync.store import Store
from sync.wire import Receipt, State, encode_receipt, encode_state, topics

NAMES = topics("330106", "cuiyuan3", "east-3")
OTHER = topics("330106", "cuiyuan3", "west-1")
RESEND_S = 10.0


def plain(message: Message) -> bytes:
    encoding = dict(message.properties).get(ENCODING)
    return message.payload if encoding is None else unpack(message.payload, encoding)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Line:
    """A gate's ledger and uplink, a broker, and a street, stepped by hand."""

    def __init__(self, *, identity: Identity | None = None, street: Believed | None = None, **limits: int) -> None:
        self.identity, self.street = identity, street
        self.clock, self.hub, self.ledger = Clock(), MemoryHub(), LedgerInMemory()
        self.cursor, self.store = Cursor(":memory:", write=True), Store(":memory:")
        self.limits = limits
        self.street_broker = MemoryBroker(self.hub)
        self.ledger.start(FIRST)
        self.new_uplink()
        self.new_street()

    def new_uplink(self) -> None:
        """As after a restart: only the ledger and the cursor are left."""
        will = Will(topic=NAMES.state, payload=encode_state(State(online=False)))
        if hasattr(self, "gate_broker"):
            self.gate_broker.close()
        self.gate_broker = MemoryBroker(self.hub, will=will)
        self.forwarder = Forwarder(
            self.ledger,
            self.cursor,
            self.gate_broker,
            NAMES,
            clock=self.clock,
            wall_ns=lambda: 1_795_000_000_000_000_000,
            chance=random.Random(7).random,
            resend_s=RESEND_S,
            street=self.street,
            **self.limits,
        )

    def new_street(self) -> None:
        self.street_broker.close()
        self.street_broker = MemoryBroker(self.hub)
        self.receiver = Receiver(
            self.store, self.street_broker, wall_ns=lambda: 1_795_000_000_000_000_000, identity=self.identity
        )

    def connect(self) -> "Line":
        self.receiver.connect(1.0)
        self.forwarder.connect(1.0)
        return self

    def street_turns(self) -> None:
        while self.street_broker.events:
            self.receiver.turn(0.0)

    def step(self, seconds: float = 0.05) -> None:
        self.clock.now += seconds
        self.forwarder.turn(0.0)
        self.street_turns()

    def steps(self, count: int, seconds: float = 0.05) -> "Line":
        for _ in range(count):
            self.step(seconds)
        return self

    def at_street(self) -> list[int]:
        return [seq for gate in self.store.report() for epoch in gate.epochs for seq in [epoch.entries]]

    def batches(self) -> list[list[dict]]:
        return [json.loads(plain(m)) for m in self.hub.published if m.topic == NAMES.entries]

    def sequences(self) -> list[list[int]]:
        return [[int(event["sequence"]) for event in batch] for batch in self.batches()]

    def answer(self, receipt: Receipt | bytes, topic: str = NAMES.receipt) -> None:
        payload = receipt if isinstance(receipt, bytes) else encode_receipt(receipt)
        MemoryBroker.publish(self.street_broker, topic, payload)

    def balance(self) -> tuple[int, int, int, int]:
        sums = self.cursor.pending(self.ledger)
        return sums.appended, sums.receipted, sums.refused, sums.pending


def closed_all(line: Line) -> bool:
    return line.balance() == (len(line.ledger.entries), len(line.ledger.entries), 0, 0)
