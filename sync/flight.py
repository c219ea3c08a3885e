"""Say what is under way: a batch between its sending and its receipt, and what one turn of the forwarder did."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sync.entry import Key
from sync.pack import ENCODING, ZSTD, pack, unpack
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
    """A batch between its sending and its receipt.

    Once compressed it holds its events in no other form: a window of batches as text would be two megabytes.
    """

    id: str
    keys: list[Key]
    events: list[bytes]  # none while they are compressed; `unfolded` gives them
    plain: bool = False  # never compressed: the street could not read it so
    packed: bool = False  # how it was sent the last time
    passed_over: int = 0  # sendings that got no answer while others did
    receipts_before: int = 0  # receipts seen until the last sending
    tries: int = 0
    mid: int | None = None  # None once the broker has answered
    sent_at: float = 0.0
    due_at: float = float("inf")
    unheard: bool = False  # the broker said that nobody listens
    _small: bytes = b""
    _lengths: list[int] = field(default_factory=list)  # of the events that are compressed

    def message(self, encoding: str | None) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """Return payload and user properties; compressed when there is an encoding and it makes the batch smaller."""
        properties = (("schema", SCHEMA), ("batch", self.id))
        if encoding is not None and not self.plain and (self._small or self._fold()):
            self.packed = True
            return self._small, (*properties, (ENCODING, encoding))
        self.packed = False
        return encode_batch(self.unfolded()), properties

    def unfolded(self) -> list[bytes]:
        """Return the events, which are held as text from now on."""
        if self._small:
            text, at = unpack(self._small, ZSTD), len(b"[")
            for length in self._lengths:
                self.events.append(text[at : at + length])
                at += length + len(b",")
            self._small, self._lengths = b"", []
        return self.events

    def keep(self, places: Sequence[int]) -> None:
        """Forget all entries but those at these places."""
        events = self.unfolded()
        self.keys, self.events = [self.keys[at] for at in places], [events[at] for at in places]

    def _fold(self) -> bool:
        small = pack(encode_batch(self.events))
        if small is None:
            return False
        self._small, self._lengths, self.events = small, [len(event) for event in self.events], []
        return True
