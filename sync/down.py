"""Take what the street sends down and lay it where the gate looks: checked, whole, bounded, and never as a call.

The uplink has the network and can open nothing. What it lays down, the gate checks again. What is refused here is laid
down as well, once an hour for each reason, so that the gate writes down that somebody tried.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from sync.broker import Broker, Connected, Event, Message, SubscriptionRefused
from sync.disk import write_whole
from sync.errors import IdentityError
from sync.identity import Believed
from sync.snapshot import (
    KEPT,
    MOST_DOCUMENT_BYTES,
    MOST_PARTS,
    SUFFIX,
    DocumentRefused,
    Refusal,
    read_document,
)
from sync.topics import Topics

log = logging.getLogger(__name__)

MOST_FILES = MOST_PARTS + 16  # the parts of one long roster, and some commands beside it
SAME_REFUSAL_S = 3_600.0
_REMEMBERED = 1_024


class Inbox:
    """The folder of documents that wait for the gate."""

    def __init__(
        self,
        folder: Path,
        gate: str,
        *,
        believed: Callable[[], Believed],
        clock: Callable[[], float],
    ) -> None:
        self._folder, self._gate, self._believed, self._clock = folder, gate, believed, clock
        self._laid: OrderedDict[str, None] = OrderedDict()
        self._said: dict[Refusal, float] = {}

    def take(self, data: bytes, *, retained: bool = False) -> None:
        """Lay a message down when it is a document for this gate; pass over what was laid down before.

        What the broker has `retained` comes again with each connection and may be older than what the gate has, which
        is nobody's fault: its name tells the gate so. What is old, the gate alone knows.
        """
        if not data:
            return  # the broker has forgotten what it had kept
        try:
            document = read_document(data, self._believed(), self._gate, {})
        except DocumentRefused as error:
            self._take_refused(data, error)
        except IdentityError as error:
            log.error("what the street sends cannot be checked: %s", error)
        else:
            name = f"{document.type}-{document.serial:013}-{document.part:02}{SUFFIX}"
            self._lay(name, f"{KEPT}{name}" if retained else name, data)

    def _take_refused(self, data: bytes, error: DocumentRefused) -> None:
        now = self._clock()
        if now < self._said.get(error.reason, now):
            log.debug("from the street, refused again: %s", error)
            return
        self._said[error.reason] = now + SAME_REFUSAL_S
        log.error("from the street, refused: %s", error)
        self._write(f"refused-{error.reason}{SUFFIX}", data[: MOST_DOCUMENT_BYTES + 1])

    def _lay(self, name: str, as_name: str, data: bytes) -> None:
        if name in self._laid or not self._write(as_name, data):
            return
        self._laid[name] = None
        while len(self._laid) > _REMEMBERED:
            self._laid.popitem(last=False)
        log.info("from the street: %s", name)

    def _write(self, name: str, data: bytes) -> bool:
        try:
            if not self._folder.exists():
                self._folder.mkdir(parents=True)
                self._folder.chmod(0o770)  # the gate, of our group, takes away what it has read
            if sum(1 for _ in self._folder.iterdir()) >= MOST_FILES:
                log.error("%s is full; the gate takes nothing from it, is it running?", self._folder)
                return False
            write_whole(self._folder / name, data, 0o640)
        except OSError as error:
            log.error("%s cannot be laid down: %s; the street may publish it again", name, error)
            return False
        return True


class DownBroker:
    """A broker that keeps to itself what comes down from the street; everything else passes through."""

    def __init__(self, broker: Broker, topics: Topics, inbox: Inbox) -> None:
        self._broker, self._inbox = broker, inbox
        self._topics = (topics.roster, topics.policy, topics.command)
        self._parts = f"{topics.roster}/"
        self._command = topics.command

    def connect(self, timeout_s: float) -> Connected:
        """Connect, and ask for what comes down."""
        allowed = self._broker.connect(timeout_s)
        for topic in self._topics:
            self._broker.subscribe(topic)
        self._broker.subscribe(f"{self._parts}+")  # the further parts of a long roster, and the change of it
        return allowed

    def poll(self, timeout_s: float) -> Event | None:
        """Return the next event that is not from above, or None."""
        event = self._broker.poll(timeout_s)
        if isinstance(event, Message) and self._is_ours(event.topic):
            if event.topic == self._command and event.retained:
                log.warning("a command that the broker has kept is passed over; it is none any more")
            else:
                self._inbox.take(event.payload, retained=event.retained)
            return None
        if isinstance(event, SubscriptionRefused) and (self._is_ours(event.topic)):
            log.error("the broker refuses %s (0x%02x); let the gate read it", event.topic, event.reason_code)
            return None
        return event

    def _is_ours(self, topic: str) -> bool:
        return topic in self._topics or topic.startswith(self._parts)

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
        """Publish, as the broker does."""
        return self._broker.publish(
            topic, payload, qos=qos, retain=retain, content_type=content_type, properties=properties
        )

    def subscribe(self, topic: str) -> None:
        """Subscribe, as the broker does."""
        self._broker.subscribe(topic)

    def ack(self, message: Message) -> None:
        """Acknowledge, as the broker does."""
        self._broker.ack(message)

    def close(self) -> None:
        """Close, as the broker does."""
        self._broker.close()
