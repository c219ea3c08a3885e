"""Say codes, times and persons the way people read them; the terminal and the pages speak with one voice."""

from collections.abc import Iterable
from datetime import datetime

from sentinel.condition import Finding, Line
from sentinel.i18n import has_text, remedy, text

_WHAT = ("status.what", "component", "mode")
_CODES = ("method", "reason", "symptom", "status.code")
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_TIME_MARKS = {"stamped": "", "corrected": "~", "bounds": ">", "unknown": "?"}
_SECOND_NS = 1_000_000_000


def word(namespace: str, said: str, lang: str) -> str:
    """Return the word for a value; one that nobody has foreseen is shown as it is, never hidden."""
    key = f"{namespace}.{said}"
    return text(key, lang) if has_text(key) else said


def what(said: str, lang: str) -> str:
    """Return the word for what an entry tells."""
    return _first(_WHAT, said, lang)


def code(said: str, lang: str) -> str:
    """Return the word for a method, a reason or a symptom, or words for a cause of the form `component:symptom`."""
    return because([said], lang) if ":" in said else _first(_CODES, said, lang)


def _first(namespaces: tuple[str, ...], said: str, lang: str) -> str:
    return next((text(f"{name}.{said}", lang) for name in namespaces if has_text(f"{name}.{said}")), said)


def listing(words: Iterable[str], lang: str) -> str:
    """Return the words joined the way the language does."""
    return text("status.separator", lang).join(words)


def because(causes: Iterable[str], lang: str) -> str:
    """Return causes of the form `component:symptom` in words."""
    said = []
    for cause in causes:
        component, _, symptom = cause.partition(":")
        name = word("component", component, lang)
        how = word("symptom", symptom, lang)
        said.append(text("status.because", lang, component=name, symptom=how) if symptom else name)
    return listing(said, lang)


def component_state(state: str, symptom: str | None, lang: str) -> str:
    """Return how a component is, by its symptom where it has one."""
    return word("symptom", symptom, lang) if symptom else word("status.state", state, lang)


def finding_words(finding: Finding, lang: str) -> str:
    """Return what was found."""
    if finding.id == "component-fault":
        return because([finding.subject], lang)
    said = text(f"status.finding.{finding.id}", lang)
    return f"{said} ({code(finding.subject, lang)})" if finding.subject else said


def finding_next(finding: Finding, lang: str) -> str:
    """Return what to do about it."""
    if finding.id == "component-fault":
        component, _, symptom = finding.subject.partition(":")
        return remedy(component, symptom, lang)
    return text(f"status.next.{finding.id}", lang)


def span(seconds: float, lang: str) -> str:
    """Return a duration in its two largest units: 0.3 s, 42 s, 29 min, 3 h 12 min, 6 d 3 h."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} {text('status.unit.s', lang)}"
    index = next(at for at, (size, _) in enumerate(_UNITS) if seconds >= size)
    size, name = _UNITS[index]
    whole = f"{int(seconds // size)} {text(f'status.unit.{name}', lang)}"
    if name in ("s", "min"):
        return whole
    next_size, next_name = _UNITS[index + 1]
    rest = int(seconds % size // next_size)
    return f"{whole} {rest} {text(f'status.unit.{next_name}', lang)}" if rest else whole


def local(wall_ns: int) -> datetime:
    """Return the moment in the box's own time zone."""
    return datetime.fromtimestamp(wall_ns / _SECOND_NS).astimezone()


def clock(wall_ns: int, now_ns: int) -> str:
    """Return the local time of an entry: the time alone today, the date before it on other days."""
    then = local(wall_ns)
    return then.strftime("%H:%M:%S" if then.date() == local(now_ns).date() else "%m-%d %H:%M:%S")


def line_clock(line: Line, now_ns: int) -> str:
    """Return the local time of a line with the mark of its kind: none, ~ corrected, > not before, ? nobody knows."""
    return clock(line.wall_ns, now_ns) + time_mark(line)


def time_mark(line: Line) -> str:
    """Return the mark behind a line's time."""
    return _TIME_MARKS.get(line.time, "" if line.clock_trusted else "?")


def until_words(until: str | None, lang: str) -> str:
    """Return until when a personal part is kept, in words; "" where there is none."""
    if until is None:
        return ""
    return text("cli.record.until_unknown", lang) if until == "unknown" else text("cli.record.until", lang, day=until)


def person(token: str | None) -> str:
    """Return a person as r: and the first 8 digits of the keyed token: enough to tell two apart, nobody's name."""
    return f"r:{token[:8]}" if token else "-"
