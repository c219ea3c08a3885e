"""Say one entry of the ledger in the cells of a line."""

from sentinel.condition import Line
from sentinel.phrases import clock, code, listing, person, what, word


def line_cells(line: Line, now_ns: int, lang: str) -> tuple[str, ...]:
    """Return time, kind, what happened, who, and the rest; `?` marks a time that was not trusted."""
    at = clock(line.wall_ns, now_ns) + ("" if line.clock_trusted else "?")
    rest = listing((code(item, lang) for item in line.codes), lang)
    return at, word("kind", line.kind, lang), what(line.what, lang), person(line.person), rest
