"""Say how an uplink stands: its state and health to the street, its alarms to whoever looks after the box."""

import logging
from collections.abc import Callable, Sequence

from sync.broker import Broker
from sync.cursor import Balance, Cursor, Span
from sync.question import Question
from sync.runs import Run
from sync.topics import Topics
from sync.wire import JSON_TYPE, KnownEpoch, Receipt, State, encode_health, encode_state, utc_text

log = logging.getLogger(__name__)

ANNOUNCED_EPOCHS = 64  # two months of a gate that is restarted daily, in 5 kB
HEALTH_S = 60.0
DOUBT_S = 10.0


class Teller:
    """What one forwarder says."""

    def __init__(self, broker: Broker, topics: Topics, wall_ns: Callable[[], int], session: str) -> None:
        self._broker, self._topics, self._wall_ns, self._session = broker, topics, wall_ns, session
        self._asked = 0
        self._health_due = self._doubt_due = 0.0
        self._said: set[str] = set()
        self.question = Question(word="")  # the last one asked
        self.alarms = 0  # since the start
        self.last_alarm = ""

    def begin(self, now: float) -> None:
        """Begin a connection: health is due, and what was said before may be said again."""
        self._health_due = self._doubt_due = now
        self._said.clear()

    def announce(self, spans: Sequence[Span], cursor: Cursor, *, online: bool) -> int:
        """Publish the state, ask what the street holds of it, and return the message's number."""
        known = tuple(
            KnownEpoch(epoch=span.epoch, first=span.first_seq, last=span.last_seq) for span in spans[-ANNOUNCED_EPOCHS:]
        )
        self._asked += 1
        self.question = Question.about(f"{self._session}-{self._asked}", known, cursor)
        state = State(online=online, since=utc_text(self._wall_ns()), epochs=known, ask=self.question.word)
        return self._broker.publish(self._topics.state, encode_state(state), retain=True, content_type=JSON_TYPE)

    def lost(self, receipt: Receipt, spans: Sequence[Span], cursor: Cursor, now: float) -> dict[int, list[Run]]:
        """Return what the street had and has no more, when the receipt says so; ask again when it only seems so."""
        lost = self.question.lost(receipt)
        if not lost and now >= self._doubt_due and self.question.doubted(receipt, cursor):
            self._doubt_due = now + DOUBT_S
            self.announce(spans, cursor, online=True)
        return lost

    def health(self, now: float, balance: Callable[[], Balance]) -> None:
        """Publish the balance when it is due."""
        if now < self._health_due:
            return
        self._health_due = now + HEALTH_S
        sums = balance()
        said = encode_health(
            at=utc_text(self._wall_ns()), appended=sums.appended, receipted=sums.receipted, refused=sums.refused,
            pending=sums.pending, alarms=self.alarms,
        )  # fmt: skip
        self._broker.publish(self._topics.health, said, retain=True, content_type=JSON_TYPE)

    def alarm(self, about: str, text: str) -> None:
        """Count what a person should look into; say each kind once per connection, for a hostile peer can repeat it."""
        self.alarms += 1
        self.last_alarm = text
        log.log(logging.DEBUG if about in self._said else logging.ERROR, "%s", text)
        self._said.add(about)
