"""Hear the entries of many gates, have them stored, and answer with a receipt after the commit."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sync.broker import Broker, BrokerLost, Disconnected, Message, SubscriptionRefused
from sync.errors import WireError
from sync.pack import ENCODING
from sync.receipts import signed_properties
from sync.store import Store
from sync.wire import (
    JSON_TYPE,
    Batch,
    Gate,
    Receipt,
    State,
    decode_batch,
    decode_state,
    encode_receipt,
    every_gate,
    parse_topic,
)

if TYPE_CHECKING:
    from sync.identity import Identity

log = logging.getLogger(__name__)

GROUP_ENTRIES = 400  # one commit: two full batches, or what many gates send one by one; a gate waits for the receipt
GROUP_MESSAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one turn of the receiver did."""

    entries: int = 0
    refused: int = 0
    strange: int = 0  # messages that were none of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivery:
    """A message of entries, read, and not stored yet."""

    gate: Gate
    message: Message
    batch: Batch


class Receiver:
    """The street's end of the line: hear entries and states, store, answer."""

    def __init__(
        self,
        store: Store,
        broker: Broker,
        *,
        wall_ns: Callable[[], int],
        identity: "Identity | None" = None,
        share: str | None = None,
        states: bool = True,
    ) -> None:
        """Take every gate's entries or, with `share`, a part of them: one receiver of that name gets each batch.

        Shared subscriptions bring no retained messages, so one receiver of a share hears all `states`, the others none.
        Receipts are signed when there is an identity to sign with.
        """
        self._store, self._broker, self._wall_ns, self._identity = store, broker, wall_ns, identity
        self._share, self._states = share, states

    def connect(self, timeout_s: float) -> None:
        """Connect and subscribe. The retained states arrive first, so each gate hears at once what we hold.

        Raises: BrokerLost.
        """
        self._broker.connect(timeout_s)
        entries = every_gate("entries")
        self._broker.subscribe(f"$share/{self._share}/{entries}" if self._share else entries)
        if self._states:
            self._broker.subscribe(every_gate("state"))

    def turn(self, timeout_s: float) -> Heard:
        """Wait up to `timeout_s` for a message and deal with it, and with what came beside it, in one commit.

        Raises: BrokerLost when the connection ended; LedgerUnavailable when the store cannot be written.
        """
        group: list[_Delivery] = []
        states: list[tuple[Gate, Message, State]] = []
        strange = entries = 0
        message = self._next(timeout_s)
        while message is not None:
            try:
                gate, leaf = parse_topic(message.topic)
                if leaf == "entries":
                    group.append(_Delivery(gate=gate, message=message, batch=_batch_in(message, gate)))
                    entries += len(group[-1].batch.arrivals)
                else:
                    states.append((gate, message, decode_state(message.payload)))
            except WireError as error:
                strange += self._strange(message, error)
            full = entries >= GROUP_ENTRIES or len(group) + len(states) + strange >= GROUP_MESSAGES
            message = None if full else self._next(0.0)
        refused = self._keep(group)
        self._note(states)
        return Heard(entries=entries, refused=refused, strange=strange)

    def _next(self, timeout_s: float) -> Message | None:
        """Return the next message, if one comes; pass over other news."""
        event = self._broker.poll(timeout_s)
        while event is not None and not isinstance(event, Message):
            if isinstance(event, Disconnected):
                raise BrokerLost(f"connection lost: {event.reason}", layer=event.layer)
            if isinstance(event, SubscriptionRefused):
                raise BrokerLost(f"may not hear {event.topic}; check the broker's access list", layer="credentials")
            event = self._broker.poll(0.0)
        return event

    def _keep(self, group: Sequence[_Delivery]) -> int:
        """Store the batches in one commit, answer each, and return how many entries were refused."""
        if not group:
            return 0
        receipts = self._store.accept_all([(one.gate, one.batch) for one in group], now_ns=self._wall_ns())
        for one, receipt in zip(group, receipts, strict=True):
            for dead in receipt.refused:
                log.error("%s: refused %s: %s", one.gate, dead.key or "an entry without a key", dead.reason)
            self._answer(one.message, receipt)
        return sum(len(receipt.refused) for receipt in receipts)

    def _note(self, states: Sequence[tuple[Gate, Message, State]]) -> None:
        """Note the states in one commit, for at a street's start they come by thousands, and answer who is online."""
        if not states:
            return
        receipts = self._store.note_states([(gate, state) for gate, _, state in states], now_ns=self._wall_ns())
        for (_, message, state), receipt in zip(states, receipts, strict=True):
            self._answer(message, receipt if state.online else None)

    def _answer(self, message: Message, receipt: Receipt | None) -> None:
        if receipt is not None:
            topic = message.topic.rsplit("/", 1)[0] + "/receipt"
            payload = encode_receipt(receipt)
            signed = signed_properties(payload, self._identity) if self._identity is not None else ()
            self._broker.publish(topic, payload, content_type=JSON_TYPE, properties=signed)
        self._broker.ack(message)  # after commit and receipt: until then the broker keeps it for us

    def _strange(self, message: Message, error: WireError) -> int:
        log.warning("a strange message: %s", error)
        self._broker.ack(message)
        return 1


def _batch_in(message: Message, gate: Gate) -> Batch:
    said = dict(message.properties)
    return decode_batch(message.payload, gate, said.get("batch"), said.get(ENCODING))
