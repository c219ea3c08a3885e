"""Carry the ledger's entries to the street: live before backlog, again and again until the street's receipt.

A PUBACK starts the wait for the receipt and closes nothing. Nothing here waits: `turn` does what is due and returns.
The caller connects again when `turn` raises BrokerLost, and decides how long to wait before.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from sync.broker import (
    NO_SUBSCRIBER,
    Acknowledged,
    Broker,
    BrokerLost,
    Disconnected,
    Event,
    Message,
    SubscriptionRefused,
    longest_packet,
)
from sync.cursor import Balance, Cursor, DeadLetter, Proof
from sync.entry import Key, epoch_text
from sync.errors import IdentityError, WireError
from sync.flight import Flight, Progress
from sync.outbox import EntrySource, Limits, Outbox
from sync.pace import Pace
from sync.pack import MOST_PLAIN_BYTES, ZSTD
from sync.receipts import believe, runs_of, runs_within
from sync.runs import Run
from sync.telling import Teller
from sync.wire import (
    ENTRIES_TYPE,
    EpochReceipt,
    Receipt,
    Topics,
)

if TYPE_CHECKING:
    from sync.identity import Believed

log = logging.getLogger(__name__)

WINDOW_BATCHES = 12  # 12 x 200 entries in the air: at 100 ms there and back still 24 000 entries a second
LONGEST_WAIT_S = 60.0  # cap of the doubling resend delay
STUCK_S = 60.0  # a broker that answers pings but no publish for so long is frozen; a new connection may not be
SPLIT_AFTER = 4  # sendings without an answer, while others are answered, make a batch suspect
EVENTS_PER_TURN = 64  # a flooding broker must not keep us from the ledger
PACKET_SPARE_BYTES = 1_024  # topic and properties beside the payload
SHRINKS_BY = 4  # so much more than `batch_bytes` goes into a batch that is to be compressed; passages shrink by six
UNANSWERED = "unanswered"
PARDON_S = 3_600.0


class Forwarder:
    """Drain one ledger to one street."""

    def __init__(
        self,
        reader: EntrySource,
        cursor: Cursor,
        broker: Broker,
        topics: Topics,
        *,
        clock: Callable[[], float],
        wall_ns: Callable[[], int],
        chance: Callable[[], float],
        batch_entries: int = 200,
        batch_bytes: int = 64_000,
        window_batches: int = WINDOW_BATCHES,
        resend_s: float = 10.0,
        backlog_per_s: int = 0,
        street: "Believed | None" = None,
    ) -> None:
        self._outbox = Outbox(reader, cursor, topics.gate.source)
        self._cursor, self._broker, self._topics, self._street = cursor, broker, topics, street
        self._clock, self._wall_ns, self._chance = clock, wall_ns, chance
        self._batch_entries, self._batch_bytes = batch_entries, batch_bytes
        self._window_batches, self._resend_s = window_batches, resend_s
        self._session = f"{int(chance() * 2**32):08x}"
        self._pace = Pace(backlog_per_s)
        self._encoding: str | None = None  # plain until this street has said what it can read
        self._flights: dict[str, Flight] = {}
        self._halves: deque[Flight] = deque()
        self._window, self._packet_bytes = window_batches, batch_bytes
        self._teller = Teller(broker, topics, wall_ns, self._session)
        self._batches = self._receipts = self._receipts_at_connect = self._shrink = 0
        self._sent = self._resent = self._receipted = 0
        self._nobody_listens = False
        self._heard_at = self._pardon_due = 0.0

    def connect(self, timeout_s: float) -> None:
        """Connect, subscribe to receipts, announce ourselves, and split the ledger into backlog and live.

        Raises: BrokerLost.
        """
        if self._flights and self._receipts == self._receipts_at_connect:  # perhaps the line cannot carry so much
            self._shrink = min(self._shrink + 1, self._batch_entries.bit_length())
        self._flights.clear()
        self._halves.clear()
        allowed = self._broker.connect(timeout_s)
        self._window = max(1, min(self._window_batches, allowed.receive_maximum))
        self._packet_bytes = longest_packet(allowed) - PACKET_SPARE_BYTES
        self._nobody_listens, self._encoding = False, None
        self._receipts_at_connect = self._receipts
        self._heard_at = self._pardon_due = self._clock()
        self._teller.begin(self._heard_at)
        self._broker.subscribe(self._topics.receipt)
        self._pardon(self._clock())
        self._outbox.begin()
        self._teller.announce(self._outbox.spans, self._cursor, online=True)

    def turn(self, timeout_s: float) -> Progress:
        """Wait up to `timeout_s` for the broker, then send what is new, due or left over.

        Raises: BrokerLost when the connection ended; LedgerUnavailable when the ledger or the cursor fails.
        """
        self._sent = self._resent = self._receipted = 0
        event = self._broker.poll(timeout_s)
        for _ in range(EVENTS_PER_TURN):
            if event is None:
                break
            self._on_event(event)
            event = self._broker.poll(0.0)
        if event is not None:
            self._on_event(event)
        now = self._clock()
        self._look()
        self._check_stuck(now)
        self._pardon(now)
        self._resend(now)
        self._fill(now)
        self._teller.health(now, self.balance)
        return Progress(
            sent=self._sent,
            resent=self._resent,
            receipted=self._receipted,
            in_flight=sum(len(flight.keys) for flight in self._flights.values()),
            alarms=self._teller.alarms,
        )

    @property
    def last_alarm(self) -> str:
        """What a person should look into, the newest."""
        return self._teller.last_alarm

    def balance(self) -> Balance:
        """Return where every entry stands, without reading the whole ledger."""
        return self._outbox.balance()

    def close(self, timeout_s: float = 1.0) -> None:
        """Say good-bye: publish that we are offline, give it a moment to go out, disconnect."""
        try:
            mid = self._teller.announce(self._outbox.spans, self._cursor, online=False)
            for _ in range(EVENTS_PER_TURN):
                event = self._broker.poll(timeout_s / 4)
                if event is None or (isinstance(event, Acknowledged) and event.mid == mid):
                    break
        except BrokerLost as error:
            log.debug("no good-bye: %s", error)  # the broker's will says it for us
        self._broker.close()

    def _look(self) -> None:
        if self._outbox.look():
            self._teller.announce(self._outbox.spans, self._cursor, online=True)

    def _pardon(self, now: float) -> None:
        """Try again what was set aside for silence, for silence is no verdict: at each connection and each hour."""
        if now >= self._pardon_due:
            self._pardon_due = now + PARDON_S
            if self._cursor.pardon(UNANSWERED):
                self._outbox.begin()

    # --- sending ---------------------------------------------------------------------------------------------------

    def _fill(self, now: float) -> None:
        window = 1 if self._nobody_listens else self._window
        reserve = 1 if window > 1 else 0  # a place that backlog may not take, so that the present never waits for it
        while (room := window - len(self._flights)) > 0:
            flight = self._halves.popleft() if self._halves else self._next_flight(now, backlog=room > reserve)
            if flight is None:
                return
            self._send(flight, now)

    def _next_flight(self, now: float, *, backlog: bool) -> Flight | None:
        times = SHRINKS_BY if self._encoding else 1
        limits = Limits(
            entries=max(1, self._batch_entries >> self._shrink),
            batch_bytes=min(self._longest_payload() * times, MOST_PLAIN_BYTES),
            packet_bytes=self._packet_bytes,
        )
        parcel = self._outbox.live(limits)
        if backlog and not parcel.keys and self._pace.open(now):
            self._bury(parcel.unsendable)
            parcel = self._outbox.backlog(limits)
            self._pace.spend(parcel.count)
        self._bury(parcel.unsendable)
        return self._flight(parcel.keys, parcel.events) if parcel.keys else None

    def _longest_payload(self) -> int:
        return min(max(2_000, self._batch_bytes >> self._shrink), self._packet_bytes)

    def _flight(self, keys: list[Key], events: list[bytes], passed_over: int = 0, *, plain: bool = False) -> Flight:
        self._batches += 1
        name = f"{self._session}-{self._batches}"
        return Flight(id=name, keys=keys, events=events, passed_over=passed_over, plain=plain)

    def _send(self, flight: Flight, now: float) -> None:
        payload, properties = flight.message(self._encoding)
        if len(payload) > self._longest_payload() and len(flight.keys) > 1:  # it did not shrink as others do
            self._halve(flight, flight.passed_over)
            return
        flight.mid = self._broker.publish(
            self._topics.entries, payload, content_type=ENTRIES_TYPE, properties=properties
        )
        if flight.id in self._flights:
            self._resent += len(flight.keys)
        else:
            self._sent += len(flight.keys)
            self._flights[flight.id] = flight
        flight.tries += 1
        flight.sent_at, flight.receipts_before = now, self._receipts
        flight.due_at = float("inf")  # until the PUBACK: what still lies in the socket must not be sent twice

    def _resend(self, now: float) -> None:
        for flight in [flight for flight in self._flights.values() if flight.due_at <= now]:
            flight.passed_over += self._receipts > flight.receipts_before
            if flight.passed_over >= SPLIT_AFTER:
                self._isolate(flight, UNANSWERED)
            else:
                self._send(flight, now)

    def _isolate(self, flight: Flight, reason: str) -> None:
        """Halve a batch that something is wrong with; what stands alone is set aside."""
        if len(flight.keys) == 1:
            del self._flights[flight.id]
            self._bury([(flight.keys[0], reason)])
            return
        log.warning("batch %s of %d entries is halved: %s", flight.id, len(flight.keys), reason)
        # One more chance for each half, not four: a single bad entry is then found within eight resends.
        self._halve(flight, passed_over=SPLIT_AFTER - 1)

    def _halve(self, flight: Flight, passed_over: int) -> None:
        self._flights.pop(flight.id, None)
        middle, events = len(flight.keys) // 2, flight.unfolded()
        for part in (slice(None, middle), slice(middle, None)):
            self._halves.append(self._flight(flight.keys[part], events[part], passed_over, plain=flight.plain))

    def _doubt(self, flight: Flight, reason: str) -> None:
        """Send a batch that the street cannot read once more as plain JSON; if that was plain already, halve it."""
        if not flight.packed:
            self._isolate(flight, reason)
            return
        log.warning("batch %s is sent again uncompressed: %s", flight.id, reason)
        del self._flights[flight.id]  # under a new name: a second copy of the refusal must not count against it
        self._halves.append(self._flight(flight.keys, flight.unfolded(), flight.passed_over, plain=True))

    def _bury(self, dead: Sequence[tuple[Key, str]]) -> None:
        if not dead:
            return
        at = self._wall_ns()
        self._cursor.settle({}, [DeadLetter(key=key, reason=reason, wall_ns=at) for key, reason in dead])
        for key, reason in dead:
            self._teller.alarm(f"refused {key}", f"entry {key} is set aside: {reason}")

    # --- hearing ---------------------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        self._heard_at = self._clock()
        if isinstance(event, Message):
            self._on_message(event)
        elif isinstance(event, Acknowledged):
            self._on_acknowledged(event)
        elif isinstance(event, SubscriptionRefused):
            why = f"the broker refuses {event.topic} (0x{event.reason_code:02x}): no receipts"
            self._teller.alarm("subscription", why)
        elif isinstance(event, Disconnected):
            raise BrokerLost(f"connection lost: {event.reason}", layer=event.layer)

    def _on_acknowledged(self, event: Acknowledged) -> None:
        flight = next((flight for flight in self._flights.values() if flight.mid == event.mid), None)
        if flight is None:
            return
        flight.mid = None
        flight.unheard = event.reason_code == NO_SUBSCRIBER
        wait_s = min(LONGEST_WAIT_S, self._resend_s * 2 ** (min(flight.tries, 16) - 1))
        if event.reason_code == NO_SUBSCRIBER:
            self._nobody_listens = True  # one batch keeps knocking, the rest waits
            wait_s = LONGEST_WAIT_S
        elif event.reason_code >= 0x80:
            self._teller.alarm(f"puback {event.reason_code}", f"the broker refuses entries (0x{event.reason_code:02x})")
            wait_s = LONGEST_WAIT_S
        flight.due_at = self._clock() + wait_s * (0.5 + 0.5 * self._chance())

    def _on_message(self, message: Message) -> None:
        if message.topic != self._topics.receipt:
            self._teller.alarm("topic", f"a message on {message.topic!r}, which we did not ask for")
            return
        try:
            receipt, proofs = believe(message, self._topics.gate, self._street)
        except (WireError, IdentityError) as error:
            self._teller.alarm(f"receipt {type(error).__name__}", f"a receipt is not believed: {error}")
            return
        self._on_receipt(receipt, proofs)

    def _on_receipt(self, receipt: Receipt, proofs: Sequence[Proof]) -> None:
        self._encoding = ZSTD if ZSTD in receipt.encodings else None
        flight = self._flights.get(receipt.batch or "")
        in_flight = {key for one in self._flights.values() for key in one.keys} if receipt.refused else set()
        named = [one for one in receipt.refused if one.key is not None]
        if any(one.key not in in_flight for one in named):
            self._teller.alarm("refused unsent", "a receipt refuses entries that are not under way")
        at = self._wall_ns()
        dead = [DeadLetter(key=r.key, reason=r.reason, wall_ns=at) for r in named if r.key and r.key in in_flight]
        for letter in dead:
            self._teller.alarm(f"refused {letter.key}", f"the street refuses entry {letter.key}: {letter.reason}")
        closed = {one.epoch: runs for one in receipt.epochs if (runs := self._believable(one))}
        new = self._cursor.settle(closed, dead, proofs)
        self._receipted += new
        if new:
            self._receipts += 1
            self._shrink = max(0, self._shrink - 1)
        self._street_is_there()
        self._land(receipt.batch)
        self._send_again(self._teller.lost(receipt, self._outbox.spans, self._cursor, self._clock()))
        if flight is not None and flight.id in self._flights and any(one.key is None for one in receipt.refused):
            self._doubt(flight, next(one.reason for one in receipt.refused if one.key is None))

    def _believable(self, said: EpochReceipt) -> list[Run]:
        """Return the runs of entries that exist; to name others is an alarm: perhaps our card forgot its last ones."""
        top = max((run.last for run in runs_of(said)), default=0)
        if top == 0:
            return []
        self._look()
        span = self._outbox.span(said.epoch)
        if span is None or top > span.last_seq:
            what = f"{epoch_text(said.epoch)}-{top}"
            self._teller.alarm("unknown", f"a receipt for {what}, which the ledger does not hold")
        return [] if span is None else runs_within(said, span)

    def _send_again(self, lost: Mapping[int, Sequence[Run]]) -> None:
        """Open again what the street held and holds no more: it was restored from a copy."""
        for epoch, runs in self._outbox.still_here(lost).items():
            self._cursor.reopen(epoch, runs)
            what = f"{sum(run.count for run in runs)} entries of {epoch_text(epoch)}"
            self._teller.alarm(f"lost {epoch}", f"the street has lost {what}; they are sent again")
            self._outbox.begin()

    def _street_is_there(self) -> None:
        self._nobody_listens = False
        for flight in self._flights.values():
            if flight.unheard:
                flight.unheard, flight.due_at = False, self._clock()

    def _land(self, batch: str | None) -> None:
        """Forget what is closed: of the batch named exactly, of others when both ends are closed (a cheap sign)."""
        for flight in list(self._flights.values()):
            first, last = flight.keys[0], flight.keys[-1]
            if self._cursor.holds_all(first, last):
                del self._flights[flight.id]
                continue
            if flight.id != batch and not (self._cursor.is_closed(first) and self._cursor.is_closed(last)):
                continue
            rest = [at for at, key in enumerate(flight.keys) if not self._cursor.is_closed(key)]
            if rest:
                flight.keep(rest)
            else:
                del self._flights[flight.id]

    def _check_stuck(self, now: float) -> None:
        waiting = [flight.sent_at for flight in self._flights.values() if flight.mid is not None]
        if waiting and now - max(self._heard_at, min(waiting)) > STUCK_S:
            raise BrokerLost(f"the broker has not answered for {STUCK_S:.0f} s; is it frozen?", layer="mqtt")
