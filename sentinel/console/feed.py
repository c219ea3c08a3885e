"""Share one status among all who watch: gathered at most twice a second, told to each only when it changed."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sentinel.condition import Status

GATHER_S = 0.5
REPEAT_S = 5.0  # unchanged news is repeated, so that a page can tell a quiet gate from a dead console
Document = Mapping[str, Any]


class Feed:
    """Hand out the status, gathering it anew when the last one is half a second old.

    No thread of its own: whoever asks first after that gathers for all the others.
    """

    def __init__(self, source: Callable[[], Status], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._taken: tuple[float, Status] | None = None

    def latest(self) -> Status:
        """Return a status that is at most half a second old."""
        with self._lock:
            if self._taken is None or self._clock() - self._taken[0] >= GATHER_S:
                self._taken = (self._clock(), self._source())
            return self._taken[1]


def news(document_now: Callable[[], Document], rest: Callable[[float], bool]) -> Iterator[str]:
    """Yield server-sent events: the document at once, whenever it changed, and now and then all the same.

    `rest(seconds)` waits and returns True when it is time to end.
    """
    told, quiet_s = None, 0.0
    while True:
        document = document_now()
        mark = settled(document)
        if mark != told or quiet_s >= REPEAT_S:
            told, quiet_s = mark, 0.0
            yield f"event: status\ndata: {json.dumps(document, ensure_ascii=False)}\n\n"
        if rest(GATHER_S):
            return
        quiet_s += GATHER_S


def settled(value: Any) -> Any:
    """Return the document without its ages, which change by themselves and are no news."""
    if isinstance(value, Mapping):
        return {
            name: settled(inner)
            for name, inner in value.items()
            if not name.endswith(("_s", "_s_ago")) and not (name == "wall_ns" and "verdict" in value)
        }
    return [settled(inner) for inner in value] if isinstance(value, list | tuple) else value
