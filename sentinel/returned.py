"""Count the receipts that came back on a stick: `sentinelctl stick import` lays them down, the uplink alone counts."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from sync.cursor import Cursor, Spans
from sync.errors import IdentityError, WireError
from sync.topics import Gate

log = logging.getLogger(__name__)


class Returned:
    """The folder of receipts that wait to be counted."""

    def __init__(
        self, folder: Path, gate: Gate, street_keys: Path | None, *, wall_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._folder, self._gate, self._street_keys, self._wall_ns = folder, gate, street_keys, wall_ns

    def look(self, cursor: Cursor, ledger: Spans) -> None:
        """Close what the files answer for, and take them away; one that is not believed is kept beside as `.refused`.

        Raises: LedgerUnavailable when it cannot be noted now; the file stays and is read again.
        """
        if self._street_keys is None or not (waiting := sorted(self._folder.glob("*.receipts"))):
            return
        from sync import stick  # imported here: they load a library of 8 MB that a box with a network never needs
        from sync.identity import load_believed

        for path in waiting:
            try:
                receipts = stick.read_receipts(path, self._gate, load_believed(self._street_keys))
            except (WireError, IdentityError) as error:
                log.error("receipts from a stick are not believed: %s", error)
                path.replace(path.with_suffix(".refused"))
                continue
            new = stick.close_by(receipts, cursor, ledger, self._wall_ns())
            log.info("%d entries are receipted by a stick, %s", new, path.name)
            path.unlink()
