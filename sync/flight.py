"""Say what is under way: a batch between its sending and its receipt, and what one turn of the forwarder did."""

from dataclasses import dataclass

from sync.entry import Key
from sync.pack import ENCODING, pack
from sync.wire import SCHEMA, encode_batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one turn did and where things stand after it."""

    sent: int  # entries handed to the broker for the first time
    resent: int
    receipted: int
    in_flight: int
    alarms: int  # since the start


@dataclass(slots=True, kw_only=True)
class Flight:
    """A batch between its sending and its receipt."""

    id: str
    keys: list[Key]
    events: list[bytes]
    plain: bool = False  # never compressed: the street could not read it so
    packed: bool = False  # how it was sent the last time
    passed_over: int = 0  # sendings that got no answer while others did
    receipts_before: int = 0  # receipts seen until the last sending
    tries: int = 0
    mid: int | None = None  # None once the broker has answered
    sent_at: float = 0.0
    due_at: float = float("inf")
    unheard: bool = False  # the broker said that nobody listens

    def message(self, encoding: str | None) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """Return payload and user properties; compressed when there is an encoding and it makes the batch smaller."""
        payload = encode_batch(self.events)
        properties = (("schema", SCHEMA), ("batch", self.id))
        small = pack(payload) if encoding is not None and not self.plain else None
        self.packed = small is not None
        if small is None or encoding is None:
            return payload, properties
        return small, (*properties, (ENCODING, encoding))
