"""Close one leaf's contact for bounded times: never longer than MAX_PULSE_S, and open for GAP_S in between.

A fire is the one exception: while it lasts the contact is held closed, as a lease that must be renewed.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from math import inf

from drivers.errors import PortLost
from drivers.wiring import Output, foreign_errors, told_as

log = logging.getLogger(__name__)

MAX_PULSE_S = 3.0  # gates take 0.3 to 0.5 s for one passage; six times that is a jammed program, not a wish
OVERDUE_S = 0.2  # the pulse's own thread may be this late before tick() opens the contact in its place
GAP_S = 0.3  # OVERDUE_S for a late thread, and 0.1 for the relay (10 ms) and the gate's input to see the contact open
RENEW_S = 1.0  # of a lease of MAX_PULSE_S: two renewals may be late


class Contact:
    """Drive the relay of one leaf. Its owner calls one method at a time."""

    def __init__(self, relay: Output, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._relay = relay
        self._clock = clock
        self._closed_since = self._closed_until = -inf
        self._owed_s = 0.0  # a pulse that waits for the gap to be over
        self._held = False
        self._renewed = -inf
        self._overdue = False

    def pulse(self, now: float, wish_s: float) -> bool:
        """Close for so long; return whether the contact closed: not when it is held, or waits for the gap to be over.

        A pulse during a pulse extends it without a gap. While the contact is held there is nothing to do.
        Raises: PortLost when the relay did not move.
        """
        if self._held:
            return False
        wish_s = min(wish_s, MAX_PULSE_S)
        resting = self._closed_until <= now < self._closed_until + GAP_S
        if resting and now + wish_s > self._closed_since + MAX_PULSE_S:
            self._owed_s = max(self._owed_s, wish_s)
            return False
        self._close(now, wish_s)
        return True

    def _close(self, now: float, wish_s: float) -> None:
        """Close now, in this thread, so that a relay that does not answer is known; open in gpiozero's thread."""
        again = now >= self._closed_until
        if now >= self._closed_until + GAP_S:  # a shorter gap is none to the gate: the contact's time runs on
            self._closed_since = now
        self._owed_s = 0.0
        try:
            with told_as("the relay did not move"):
                if again:
                    self._relay.off()  # the last pulse is over; were its thread late, two closures would become one
                self._relay.on()
                now = self._clock()  # a board on a line took its time: the gate must feel all of the pulse
                until = max(self._closed_until, now + wish_s)
                self._closed_until = min(until, self._closed_since + MAX_PULSE_S)
                self._relay.blink(on_time=max(0.0, self._closed_until - now), off_time=0, n=1)
        except PortLost:
            self._closed_until = -inf
            with contextlib.suppress(*foreign_errors()):  # told already; what counts is that it was tried
                self._relay.off()
            raise

    def hold(self, now: float) -> bool:
        """Keep the contact closed for as long as this is called again and again; return whether it was closed anew.

        Raises: PortLost when the relay did not move.
        """
        if self._held and now - self._renewed < RENEW_S:
            return False
        with told_as("the relay did not move"):
            self._relay.on()
            self._relay.blink(on_time=MAX_PULSE_S, off_time=0, n=1)  # a lease: nobody left to renew it, it opens
        if not self._held:
            self._closed_since = now
        self._held, self._renewed = True, now
        self._closed_until = now + MAX_PULSE_S
        self._owed_s = 0.0
        return True

    def let_go(self, now: float) -> None:
        """End the holding at once; harmless when nothing is held.

        Raises: PortLost when the relay did not open; `open_overdue` tries again.
        """
        if self._held:
            self._held = False
            self._closed_until = now
            with told_as("the relay did not open"):
                self._relay.off()

    def open_overdue(self, now: float) -> None:
        """Open a contact that should be open. Raises: PortLost when the relay cannot be felt, or does not open."""
        if self._held:
            return
        with told_as("the relay cannot be felt, or does not open"):
            overdue = self._relay.is_active and now > self._closed_until + OVERDUE_S
            if overdue and not self._overdue:
                log.error("barrier: %s was still closed too late; it is opened", self._relay.pin)
            self._overdue = overdue
            if overdue:
                self._relay.off()
                self._closed_until = now

    def close_owed(self, now: float, *, wanted: bool) -> bool:
        """Close for a pulse that waited, if it is still wanted; return whether it closed. Raises: PortLost."""
        if self._held or not self._owed_s or now < self._closed_until + GAP_S:
            return False
        owed_s, self._owed_s = self._owed_s, 0.0
        if wanted:  # nobody waits any more otherwise, and nothing opens late
            self._close(now, owed_s)
        return wanted
