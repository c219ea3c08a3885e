"""Say what a lane goes by: the settings that decisions follow, and the clocks."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from datetime import time as time_of_day

from drivers.readings import Leaf
from sentinel.core.model import Policy
from sentinel.record import Place
from sync.entry import Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that decisions follow."""

    policy: Policy
    place: Place
    pulse_s: float
    exit_leaf: Leaf  # the one that the exit button opens
    seal_number: Callable[[str], str] | None = None  # for the street alone, where its policy asks for ID numbers
    sign: Callable[[bytes], tuple[str, str]] | None = None  # a deletion, as this gate
    trusted_uids: frozenset[int]  # whose word about the operator's name is taken: our own user and root


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The clocks of a lane: for durations, the day and local hour that rights are judged by, and for entries."""

    today: Callable[[], date]
    clock_trusted: Callable[[], bool]
    stamp: Callable[[], Stamp]
    mono: Callable[[], float] = time.monotonic
    at: Callable[[], time_of_day] = lambda: datetime.now().astimezone().time()
