"""Do what staff ask at the gate's socket: record it, then move the barrier; each request once, whoever asks again."""

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from drivers.readings import Leaf
from sentinel.byhand import VERBS, HandAct, hand_act, number_in, opens_again
from sentinel.control import refusal
from sentinel.core.errors import NotPermitted, SentinelError, Unavailable, UsageError
from sentinel.core.kinds import AnyKind, Barrier, CommandTaken, Deletion, Opening, Registration
from sentinel.events import Asked
from sentinel.hand import Hand
from sentinel.keeper import How, Keeper, Kept
from sentinel.record import Place
from sentinel.street_orders import Order
from sync.entry import Stamp

log = logging.getLogger(__name__)

_REMEMBERED_REQUESTS = 256  # a request is repeated within seconds or never


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was just done by hand: the entry, and whether the barrier opened for it."""

    entry: AnyKind
    opened: bool


class Counter:
    """Answer requests one at a time, in the deciding thread. `open_barrier` gives a right under an entry's key."""

    def __init__(
        self,
        *,
        keeper: Keeper,
        hand: Hand,
        place: Place,
        trusted_uids: frozenset[int],
        token_of: Callable[[str], str],
        stamp: Callable[[], Stamp],
        clock: Callable[[], float],
        open_barrier: Callable[[str | None, Leaf], bool],
        seal_number: Callable[[str], str] | None = None,
        sign: Callable[[bytes], tuple[str, str]] | None = None,
    ) -> None:
        self._keeper = keeper
        self._hand = hand
        self._place = place
        self._trusted_uids = trusted_uids
        self._token_of = token_of
        self._seal_number, self._sign = seal_number, sign
        self._stamp = stamp
        self._clock = clock
        self._open_barrier = open_barrier
        self._answers: OrderedDict[str, tuple[Any, Mapping[str, Any]]] = OrderedDict()
        self._done: Done | None = None

    def answer(self, asked: Asked) -> Mapping[str, Any]:
        """Return the answer to a request; a refusal is an answer too."""
        try:
            return self._by_hand(asked)
        except SentinelError as error:
            return refusal(error)
        except Exception as error:
            log.exception("a request of %s failed", asked.peer.name)
            return refusal(error)

    def obey(self, order: Order) -> Kept:
        """Keep what the street has ordered, then open when it says so: at most once, and only what is durably kept.

        Nobody stands before a button here who could be held up: a disk that pauses, or a barrier that is away, and the
        street is told so by what is kept.
        """
        entry, opens = order.entry, order.opens
        if opens is not None and isinstance(entry, CommandTaken):
            in_time = self._clock() <= order.until_mono
            if not (in_time and self._hand.there):
                why = "not-possible" if in_time else "expired"
                entry, opens = replace(entry, accepted=False, reason=why), None
        kept = self._keeper.keep(entry, request=order.request)
        now = opens is not None and kept.how == How.DURABLE and kept.before is None
        opened = now and self._open_barrier(kept.key, opens or Leaf.IN)
        if opens is not None and not now and kept.before is None:  # the disk paused: staff open by hand
            self._keeper.keep(Barrier(event="not-moved", after=kept.key, leaf=opens))
        if kept.how != How.LOST and kept.before is None:
            self._done = Done(entry=entry, opened=opened)
        return kept

    def take_done(self) -> Done | None:
        """Return what the last request did, once."""
        done, self._done = self._done, None
        return done

    def _by_hand(self, asked: Asked) -> Mapping[str, Any]:
        request = asked.request
        if request["verb"] not in VERBS:
            raise UsageError(f"the gate does not know {request['verb']!r}; it knows status, {', '.join(VERBS)}")
        if asked.peer.uid not in self._trusted_uids:
            raise NotPermitted("only the manual one-shot may act at the gate; use sentinelctl, which asks it")
        if self._clock() > number_in(request, "until_mono", math.inf):
            raise Unavailable("the request came too late: whoever it was for has been told to use the key switch")
        act = hand_act(
            request,
            operator=str(request.get("operator") or asked.peer.name),
            written_by="gate",
            lane=self._place.lane,
            direction=self._place.direction,
            token_of=self._token_of,
            seal_number=self._seal_number,
            sign=self._sign,
        )
        known = self._answers.get(act.request)
        if known is not None and act.is_same_as(known[0]):  # our answer was lost: the same answer, no second pulse
            return known[1]
        answer = self._do(act)
        self._answers[act.request] = (act.entry, answer)
        while len(self._answers) > _REMEMBERED_REQUESTS:
            self._answers.popitem(last=False)
        return answer

    def _do(self, act: HandAct) -> Mapping[str, Any]:
        moves = self._hand.there
        entry = act.entry
        if act.opens and not moves:
            if isinstance(entry, Opening):
                raise Unavailable("the barrier cannot be moved and nothing was recorded; use the key switch")
            entry = replace(entry, opened=False) if isinstance(entry, Registration) else entry
        kept = self._keeper.keep(entry, personal=act.personal, request=act.request)
        self._done = Done(entry=entry, opened=False)
        if isinstance(entry, Deletion):
            if kept.key is None:
                raise Unavailable(f"the deletion could not be recorded ({kept.problem}); nothing was destroyed")
            self._keeper.erase(entry)
        opens = opens_again(act, kept.before, self._stamp())
        if opens and not (moves and self._open_barrier(kept.key, Leaf.IN)):
            raise Unavailable("the entry is kept, but the barrier did not move; use the key switch")
        self._done = Done(entry=entry, opened=opens)
        if not opens and kept.how == How.LOST:
            raise Unavailable("nothing could be written to disk; free some space: sentinelctl show status")
        return {"ok": True, "key": kept.key, "kept": kept.how, "opened": opens, "by": "gate"}
