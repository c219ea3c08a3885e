"""Lay text out for a terminal: columns that line up in Chinese too, colour only where it helps.

Terminals draw Chinese characters two columns wide. Everything here counts columns, never characters.
"""

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

COLUMNS = 80  # a serial console; wider windows show the same
LINES = 24
_ANSI = {"ok": "32", "warning": "33", "critical": "1;31", "unknown": "35", "dim": "2", "bold": "1"}
_MARKS = {
    "ok": "✔", "impaired": "!", "starting": "…", "fault": "✘", "warning": "!", "critical": "✘", "unknown": "?",
}  # fmt: skip
_PLAIN_MARKS = {
    "ok": "ok", "impaired": "! ", "starting": "..", "fault": "!!", "warning": "! ", "critical": "!!", "unknown": "? ",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How to draw: with colour, and with signs beyond ASCII, or without."""

    colour: bool = False
    plain: bool = False

    def paint(self, text: str, name: str) -> str:
        """Return the text in the colour of a severity, where there is colour at all."""
        code = _ANSI.get(name)
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text

    def mark(self, name: str) -> str:
        """Return the sign of a state; always together with a word, for colour and sign alone say nothing to some."""
        mark = (_PLAIN_MARKS if self.plain else _MARKS).get(name, " ")
        return self.paint(mark, {"fault": "critical", "impaired": "warning"}.get(name, name))

    @property
    def dot(self) -> str:
        """The sign before the verdict."""
        return "*" if self.plain else "●"

    @property
    def arrow(self) -> str:
        """The sign before the next command to try."""
        return "->" if self.plain else "→"


def style_for(stream: TextIO, environ: Mapping[str, str], *, plain: bool) -> Style:
    """Return how to draw on this stream: colour on a terminal only, and not where NO_COLOR asks for none."""
    colour = not plain and stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Style(colour=colour, plain=plain)


def language(environ: Mapping[str, str]) -> str:
    """Return zh or en, as the first of LC_ALL, LC_MESSAGES and LANG that is set asks."""
    wanted = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "zh" if wanted.lower().startswith("zh") else "en"


def width(text: str) -> int:
    """Return how many columns a terminal uses for this text."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """Return the text in at most so many columns, its end replaced by … when it is longer."""
    if width(text) <= columns:
        return text
    kept, used = "", 1
    for character in text:
        used += _columns(character)
        if used > columns:
            break
        kept += character
    return kept + "…"


def pad(text: str, columns: int) -> str:
    """Return the text in exactly so many columns."""
    text = cut(text, columns)
    return text + " " * (columns - width(text))


def printable(text: str) -> str:
    """Return the text without control characters: what a device or a broker said must not steer a terminal."""
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)


def table(rows: Iterable[Sequence[str]], *, gap: str = "  ", most: int | None = COLUMNS) -> list[str]:
    """Return rows with every column as wide as its widest cell; the last column is cut at `most` columns."""
    rows = [tuple(printable(cell) for cell in row) for row in rows]
    if not rows:
        return []
    widths = [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (gap.join(pad(cell, columns) for cell, columns in zip(row, widths, strict=True)).rstrip() for row in rows)
    return [line if most is None else cut(line, most) for line in lines]


def ascii_only(text: str) -> str:
    """Return the text with our own signs replaced by ASCII; Chinese stays, for it is content."""
    return text.translate({ord("…"): "~", ord("→"): "->", ord("●"): "*", ord("·"): "-"})


def terminal_style(stream: TextIO, *, plain: bool) -> Style:
    """Return how to draw on this stream in this environment."""
    return style_for(stream, os.environ, plain=plain)
