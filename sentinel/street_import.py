"""Read a gate's stick at the street office: store each entry once, write the receipts that go back."""

import sys
import time
from pathlib import Path

from sentinel.core.errors import DataError
from sync import stick
from sync.disk import write_whole
from sync.identity import Believed, Identity
from sync.store import Store

_TELL_S = 0.5


def import_stick(path: Path, store: Store, street: Identity, gates: Believed, *, now_ns: int) -> Path:
    """Store what is on the stick and return the file of receipts beside it, written after the last commit.

    Raises: WireError, IdentityError when the stick is not whole or not to be believed; then nothing is stored.
    LedgerUnavailable when the store failed; what was stored before that is stored, and reading again goes on.
    """
    try:
        found = stick.open_stick(path, street, gates)
        answers = stick.Answers(found.gate)
        entries, told_at = 0, time.monotonic()
        for batch in found.batches():
            answers.add(store.accept(found.gate, batch, now_ns=now_ns))
            entries += len(batch.arrivals)
            if time.monotonic() - told_at > _TELL_S:
                told_at = time.monotonic()
                print(f"{found.gate}: {entries} entries read", file=sys.stderr)
        back = path.with_suffix(".receipts")
        write_whole(back, answers.text(street).encode(), 0o644)
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror}; look at the stick and its room") from error
    print(f"{found.gate}: {entries} entries read, written {found.at}, {answers.refused} refused", file=sys.stderr)
    return back
