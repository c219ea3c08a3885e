"""Say one entry of the ledger in the cells of a line."""

from sentinel.condition import Line
from sentinel.phrases import code, line_clock, listing, person, what, word


def line_cells(line: Line, now_ns: int, lang: str) -> tuple[str, ...]:
    """Return time, kind, what happened, who, and the rest."""
    at = line_clock(line, now_ns)
    rest = listing((code(item, lang) for item in line.codes), lang)
    return at, word("kind", line.kind, lang), what(line.what, lang), person(line.person), rest
