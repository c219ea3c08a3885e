"""Name what the deciding thread is asked to keep, and to do, for a document of the street."""

import math
import queue
from dataclasses import dataclass, field

from drivers.readings import Leaf
from sentinel.core.kinds import CommandTaken, Consent, PolicyTaken, Report, Revocation, RosterTaken
from sentinel.keeper import Kept

Told = RosterTaken | PolicyTaken | CommandTaken | Report | Revocation | Consent


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An entry to keep once, by its request, and the leaf that opens for it, in time; answered by what became."""

    entry: Told
    request: str | None
    opens: Leaf | None = None
    until_mono: float = math.inf  # after this nothing opens any more: nobody waits for the answer
    reply: "queue.SimpleQueue[Kept]" = field(default_factory=queue.SimpleQueue)
