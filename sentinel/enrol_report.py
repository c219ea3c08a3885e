"""Tell how an enrolment goes: a line for what was refused, progress now and then, a report that names each file."""

import csv
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sync.disk import write_whole

PROGRESS_EVERY = 25
_COLUMNS = ("line", "outcome", "file", "reason", "told")


def _to_stderr(said: str) -> None:
    print(said, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What became of a line or of one of its files. No name and no number: whoever gave the line knows them."""

    line: int
    outcome: str  # "refused", "picture-refused" or "quarantined"
    reason: str  # a stable word
    told: str
    file: str = ""


class Report:
    """Count, tell and keep what happens to the lines. `total` is 0 when nobody knows how many will come."""

    def __init__(self, *, total: int = 0, each_line: bool = True, say: Callable[[str], None] = _to_stderr) -> None:
        self.added = self.refused = self.quarantined = 0
        self.notes: list[Note] = []
        self._total = total
        self._each_line = each_line
        self._say = say

    def accepted(self, line: int, said: str) -> None:
        """Count a line that was taken."""
        self.added += 1
        if self._each_line:
            self._say(f"line {line}: {said}")
        self._progress()

    def turned_down(self, line: int, reason: str, told: str) -> None:
        """Count a line that was not taken, and tell it."""
        self.refused += 1
        self.note(Note(line=line, outcome="refused", reason=reason, told=told))
        self._progress()

    def note(self, note: Note) -> None:
        """Keep what happened and tell it."""
        self.notes.append(note)
        self.quarantined += note.outcome == "quarantined"
        where = f" {note.file}:" if note.file else ""
        self._say(f"line {note.line}:{where} {note.outcome.replace('-', ' ')}: {note.told}")

    def _progress(self) -> None:
        done = self.added + self.refused
        if self._total and (done % PROGRESS_EVERY == 0 or done == self._total):
            self._say(f"{done} of {self._total}: {self.added} added, {self.refused} refused")

    def write(self, path: Path) -> None:
        """Write the report as CSV, for its owner alone.

        Raises: OSError.
        """
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(_COLUMNS)
        rows.writerows([getattr(note, column) for column in _COLUMNS] for note in self.notes)
        write_whole(path, text.getvalue().encode("utf-8-sig"))  # the mark makes spreadsheets read UTF-8
