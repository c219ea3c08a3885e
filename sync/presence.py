"""Tell the street who we are and which entries exist, and judge by its answer whether it has lost what it held.

A receipt may be old, reordered or leave runs out, so what it does not name means nothing. Only an answer that repeats
the name of our newest state and calls an epoch whole can take a receipt back: the street has read its store after that
state was sent, so what it had confirmed before is in the answer, or is lost there.
"""

from collections.abc import Callable

from sync.broker import Broker
from sync.cursor import Cursor
from sync.outbox import Outbox
from sync.receipts import Proofs, runs_of
from sync.runs import Run, Runs
from sync.wire import JSON_TYPE, KnownEpoch, Receipt, State, Topics, encode_health, encode_state, utc_text

ANNOUNCED_EPOCHS = 8
ASKED_EPOCHS = 64  # more, of which no signed receipt is kept: what is not proven is never pruned
WIDE_EPOCHS = 1_000  # for a street that has lost something: 60 KB, once


class Presence:
    """What one uplink says of itself."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        outbox: Outbox,
        cursor: Cursor,
        *,
        session: str,
        wall_ns: Callable[[], int],
        proofs: Proofs,
    ) -> None:
        self._broker, self._topics, self._outbox, self._cursor = broker, topics, outbox, cursor
        self._session, self._wall_ns, self._proofs = session, wall_ns, proofs
        self._states = 0
        self._confirmed: dict[int, Runs] = {}  # when the newest state was sent

    def announce(self, *, online: bool, wide: bool = False) -> int:
        """Publish our state and return the message's number."""
        newest = WIDE_EPOCHS if wide else ANNOUNCED_EPOCHS
        spans = self._outbox.spans[-newest:]
        asked = set(self._proofs.unproven(self._outbox.spans[:-newest])[:ASKED_EPOCHS])
        spans = [span for span in self._outbox.spans[:-newest] if span.epoch in asked] + spans
        known = tuple(KnownEpoch(epoch=span.epoch, first=span.first_seq, last=span.last_seq) for span in spans)
        self._states += 1
        confirmed = {span.epoch: list(self._cursor.receipted_of(span.epoch)) for span in spans}
        self._confirmed = {epoch: Runs(runs) for epoch, runs in self._outbox.still_here(confirmed).items()}
        state = State(online=online, since=utc_text(self._wall_ns()), epochs=known, name=self._name)
        return self._broker.publish(self._topics.state, encode_state(state), retain=True, content_type=JSON_TYPE)

    def lost(self, receipt: Receipt) -> dict[int, list[Run]]:
        """Return what the street had confirmed before our newest state and, by its answer to it, no longer holds.

        Only what the ledger held then: what was pruned is lost there, and its gap report says so. Each number is
        returned once per state: a second copy of the answer says nothing new.
        """
        if receipt.answers is None or receipt.answers != self._name:
            return {}
        lost: dict[int, list[Run]] = {}
        for one in receipt.epochs:
            confirmed = self._confirmed.get(one.epoch)
            if not one.whole or confirmed is None:
                continue
            held = Runs(runs_of(one))
            gone = [miss for run in confirmed for miss in held.missing(run.first, run.last)]
            if gone:
                lost[one.epoch] = gone
                left = (part for run in confirmed for part in held.within(run.first, run.last))
                self._confirmed[one.epoch] = Runs(left)
        return lost

    def tell_health(self, alarms: int) -> None:
        """Publish the balance, for dashboards."""
        sums = self._outbox.balance()
        said = encode_health(
            at=utc_text(self._wall_ns()), appended=sums.appended, receipted=sums.receipted, refused=sums.refused,
            pending=sums.pending, alarms=alarms,
        )  # fmt: skip
        self._broker.publish(self._topics.health, said, retain=True, content_type=JSON_TYPE)

    @property
    def _name(self) -> str:
        return f"{self._session}-{self._states}"
