"""Stand in for an MQTT broker and its clients inside one process, with faults on command.

Nothing here waits: `poll` returns what has arrived. A test steps the parties one after the other and so decides every
race by itself.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sync.broker import (
    NO_SUBSCRIBER,
    Acknowledged,
    BrokerLost,
    Connected,
    Disconnected,
    Event,
    Message,
    SubscriptionRefused,
    Will,
)


@dataclass(slots=True, kw_only=True)
class Faults:
    """What goes wrong, until told otherwise. Messages are lost after their PUBACK, as real brokers lose them."""

    lose: Callable[[Message], bool] = lambda _message: False
    twice: Callable[[Message], bool] = lambda _message: False
    hold: Callable[[Message], bool] = lambda _message: False  # kept back until `MemoryHub.release`
    refuse: Callable[[str], int] = lambda _topic: 0  # the reason code for publishing to this topic
    deaf: Callable[[str], int] = lambda _topic: 0  # the reason code for subscribing to this topic
    mute: bool = False  # takes messages and answers nothing at all, as a frozen broker does
    away: str = ""  # not empty: connections fail with this reason
    cut_after: int | None = None  # after so many messages the publisher's connection breaks


@dataclass(slots=True, kw_only=True)
class MemoryHub:
    """The broker: who listens to what, what is retained, and everything that was ever published."""

    faults: Faults = field(default_factory=Faults)
    receive_maximum: int = 20
    max_packet_bytes: int | None = None
    published: list[Message] = field(default_factory=list)
    retained: dict[str, Message] = field(default_factory=dict)
    clients: list["MemoryBroker"] = field(default_factory=list)
    held: list[Message] = field(default_factory=list)

    def disconnect_all(self, reason: str = "the broker restarted") -> None:
        """Break every connection; wills are published."""
        for client in list(self.clients):
            client.break_off(reason)

    def release(self, order: Callable[[list[Message]], list[Message]] = lambda held: held) -> None:
        """Deliver what was held back, in the order the test likes."""
        held, self.held = self.held, []
        for message in order(held):
            self._deliver(message)

    def take(self, message: Message) -> int:
        """Accept a publish and return its reason code."""
        code = self.faults.refuse(message.topic)
        if code >= 0x80:
            return code
        self.published.append(message)
        if message.retained:
            self.retained[message.topic] = message
        if not any(client.hears(message.topic) for client in self.clients):
            return NO_SUBSCRIBER
        if self.faults.lose(message):
            return 0
        if self.faults.hold(message):
            self.held.append(message)
            return 0
        self._deliver(message)
        if self.faults.twice(message):
            self._deliver(message)
        return 0

    def _deliver(self, message: Message) -> None:
        for client in list(self.clients):
            if client.hears(message.topic):
                client.events.append(replace(message, retained=False))


class MemoryBroker:
    """One client of a MemoryHub, with the verbs of `sync.broker.Broker`."""

    def __init__(self, hub: MemoryHub, *, will: Will | None = None) -> None:
        self.hub = hub
        self.events: deque[Event] = deque()
        self.connections = 0
        self.acked: list[Message] = []
        self._will = will
        self._topics: list[str] = []
        self._mid = 0

    def connect(self, timeout_s: float) -> Connected:
        """Connect, unless the hub is away."""
        self.events.clear()
        self._topics.clear()
        if self.hub.faults.away:
            raise BrokerLost(self.hub.faults.away, layer="tcp")
        if self not in self.hub.clients:
            self.hub.clients.append(self)
        self.connections += 1
        return Connected(receive_maximum=self.hub.receive_maximum, max_packet_bytes=self.hub.max_packet_bytes)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str | None = None,
        properties: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Hand a message to the hub; its answer comes as an event, like a PUBACK."""
        if self not in self.hub.clients:
            raise BrokerLost("not connected", layer="mqtt")
        self._mid += 1
        message = Message(
            topic=topic,
            payload=payload,
            properties=tuple(properties),
            content_type=content_type,
            retained=retain,
            ack=(self._mid, qos),
        )
        if not self.hub.faults.mute:
            self.events.append(Acknowledged(mid=self._mid, reason_code=self.hub.take(message)))
        if self.hub.faults.cut_after is not None:
            self.hub.faults.cut_after -= 1
            if self.hub.faults.cut_after <= 0:
                self.hub.faults.cut_after = None
                self.break_off("the line was cut")
        return self._mid

    def subscribe(self, topic: str) -> None:
        """Hear a topic from now on, and what is retained there."""
        code = self.hub.faults.deaf(topic)
        if code >= 0x80:
            self.events.append(SubscriptionRefused(topic=topic, reason_code=code))
            return
        self._topics.append(topic)
        self.events.extend(message for name, message in self.hub.retained.items() if _matches(topic, name))

    def poll(self, timeout_s: float) -> Event | None:
        """Return what happened next, if anything did; never wait."""
        return self.events.popleft() if self.events else None

    def ack(self, message: Message) -> None:
        """Note that the message was dealt with."""
        self.acked.append(message)

    def close(self) -> None:
        """Disconnect in order: no will."""
        self._leave()

    def break_off(self, reason: str) -> None:
        """Lose the connection: the hub publishes the will, we hear of it at the next poll."""
        if self not in self.hub.clients:
            return
        self._leave()
        self.events.append(Disconnected(reason=reason, layer="tcp"))
        if self._will is not None:
            self.hub.take(Message(topic=self._will.topic, payload=self._will.payload, retained=True))

    def hears(self, topic: str) -> bool:
        """Tell whether a message of this topic comes to us."""
        return any(_matches(pattern, topic) for pattern in self._topics)

    def _leave(self) -> None:
        if self in self.hub.clients:
            self.hub.clients.remove(self)
        self._topics.clear()


def _matches(pattern: str, topic: str) -> bool:
    levels, names = pattern.split("/"), topic.split("/")
    return len(levels) == len(names) and all(level in ("+", name) for level, name in zip(levels, names, strict=True))
