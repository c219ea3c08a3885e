"""Write the two pages: what staff watch, and what a resident reads. Pure: a status in, HTML out.

The screen never tells a temperature, a name or why somebody was refused: others stand behind. Every state is an icon,
a word and a colour at once, Chinese first. Without script or connection it shows the way that always works: staff.
"""

from html import escape

from recognition.readings import FaceProblem
from sentinel.condition import Component, Line, Status, Waiting
from sentinel.console.icons import icon
from sentinel.i18n import text as say
from sentinel.phrases import (
    because,
    clock,
    code,
    component_state,
    finding_next,
    finding_words,
    line_clock,
    listing,
    person,
    span,
    until_words,
    what,
    word,
)

SHOW_S = 6.0  # how long a person's result stays on the screen: longer than a passage, shorter than the next person
# What a person can do about it alone; whoever was held for any other reason, a high temperature too, reads the same.
_ASKING = {
    "face-unusable": "look", "face-missing": "look", "face-several": "single", "face-unknown": "card",
    "face-alike": "card",
    "face-not-live": "card", "face-liveness-unsure": "card",
    "face-unsure": "unsure",
    "card-missing": "card", "card-unreadable": "again", "pass-unreadable": "code",
}  # fmt: skip
_PANELS = {  # state → icon and text
    "idle": ("face", "screen.idle"),
    "idle-card": ("card", "console.screen.idle-card"),
    "idle-face": ("face", "console.screen.idle-face"),
    "pass": ("ok", "screen.open"),
    "look": ("face", "screen.look"),
    "single": ("face", "screen.hold.face-several"),
    "card": ("card", "screen.hold.card-missing"),
    "unsure": ("card", "screen.hold.face-unsure"),
    "again": ("card", "screen.hold.card-unreadable"),
    "code": ("card", "screen.hold.pass-unreadable"),
    "wait": ("hand", "console.screen.wait"),
    "refuse": ("hand", "screen.refuse"),
    "staff": ("staff", "screen.fault"),
    "fire": ("fire", "screen.fire"),
    **{f"face-{problem}": ("face", f"screen.face.{problem}") for problem in FaceProblem},
}
# All other states ask for something.
_SCREEN_TONES = {"pass": "good", "idle": "calm", "idle-card": "calm", "idle-face": "calm", "fire": "alarm"}
_VERDICT_TONES = {"ok": "good", "warning": "ask", "critical": "alarm", "unknown": "alarm"}
_STATE_TONES = {"ok": "good", "impaired": "ask", "fault": "alarm", "starting": "ask"}
_TONE_ICONS = {"good": "ok", "ask": "warning", "alarm": "stop", "calm": "link"}


def screen_state(status: Status) -> str:
    """Return which panel the residents' screen shows."""
    process, faulty = status.process, {part.name for part in status.process.components if part.state == "fault"}
    if process.fire:
        return "fire"
    if not process.alive or process.mode == "manual":
        return "staff"
    told = process.screen
    hint = f"face-{told.face}" if f"face-{told.face}" in _PANELS else ""
    if told.at_s_ago is not None and told.at_s_ago <= SHOW_S and told.outcome != "none":
        asking = hint if hint and told.reason == "face-unusable" else _ASKING.get(told.reason, "wait")
        return {"open": "pass", "refuse": "refuse"}.get(told.outcome, asking)
    seeing = any(part.name == "vision" and part.state in ("ok", "impaired") for part in process.components)
    if "card" in faulty:  # a face alone opens in one profile; in the others nobody passes without staff now
        return "idle-face" if seeing and status.gate.profile == "face" else "staff"
    return hint or "idle" if seeing else "idle-card"


def screen_page(status: Status) -> str:
    """Return the residents' screen with every panel in it; the script only shows another one."""
    now = screen_state(status)
    panels = "".join(_panel(state, shown=state == now) for state in _PANELS)
    other = f'<p class="other">{icon("staff")}<span>{_both("screen.other-way")}</span></p>'
    body = f"<main>{panels}</main>{other}"
    return _document("zh-CN", say("console.screen.title", "zh"), body, "screen", "/screen/events")


def _panel(state: str, *, shown: bool) -> str:
    tone = _SCREEN_TONES.get(state, "ask")
    hidden = "" if shown else " hidden"
    sign, words = _PANELS[state]
    inner = f"{icon(sign)}<h1>{_both(words)}</h1>"
    return f'<section class="panel {tone}" data-state="{state}"{hidden}>{inner}</section>'


def _both(key: str) -> str:
    chinese, english = escape(say(key, "zh")), escape(say(key, "en"))
    return f'<span lang="zh-CN">{chinese}</span><span lang="en" class="en">{english}</span>'


def staff_page(status: Status, lang: str) -> str:
    """Return the staff's page."""
    other = "zh" if lang == "en" else "en"
    links = (
        f'<nav><a href="/screen">{escape(say("console.staff.screen", lang))}</a>'
        f'<a href="/?lang={other}" lang="{other}">{escape(say("console.staff.other_language", lang))}</a></nav>'
    )
    lost = f'<p class="lost-note">{icon("stop")}<span>{escape(say("console.staff.lost", lang))}</span></p>'
    body = f'{lost}<div id="live">{staff_part(status, lang)}</div>{links}'
    return _document("en" if lang == "en" else "zh-CN", say("console.staff.title", lang), body, "staff", "/events")


def staff_part(status: Status, lang: str) -> str:
    """Return the living part of the staff's page; the script fetches it anew when something changed."""
    parts = (_head, _problems, _waiting, _devices, _street, _today, _last)
    return "".join(part(status, lang) for part in parts)


def _head(status: Status, lang: str) -> str:
    gate, process = status.gate, status.process
    where = f"{gate.street}/{gate.site}/{gate.gate} · {gate.lane} {word('status.direction', gate.direction, lang)}"
    mode_tone = {"automatic": "good", "assisted": "ask"}.get(process.mode, "alarm")
    mode = word("status.mode", process.mode, lang)
    if not process.alive:
        mode = word("status.silence", str(process.silence), lang)
    causes = because(process.because, lang)
    pills = _pill(_VERDICT_TONES[status.verdict], say(f"status.verdict.{status.verdict}", lang))
    pills += _pill(mode_tone, f"{mode} ({causes})" if causes else mode)
    pending = status.balance.pending if status.balance.known else 0
    link = say(f"status.uplink.{status.uplink.state}", lang) + (f" · {pending}" if pending else "")
    pills += _pill("good" if status.uplink.state == "connected" else "ask", link)
    return f'<header><h1>{escape(where)}</h1><p class="pills">{pills}</p></header>'


def _pill(tone: str, words: str) -> str:
    return f'<span class="pill {tone}">{icon(_TONE_ICONS[tone])}<span>{escape(words)}</span></span>'


def _problems(status: Status, lang: str) -> str:
    rows = "".join(
        f'<li class="{_VERDICT_TONES[finding.severity]}">{icon("warning")}<span>'
        f"<strong>{escape(finding_words(finding, lang))}</strong>{escape(finding_next(finding, lang))}</span></li>"
        for finding in status.findings
        if not finding.id.startswith("mode-")
    )
    return _section("problems", lang, f'<ul class="problems">{rows}</ul>') if rows else ""


def _waiting(status: Status, lang: str) -> str:
    if not status.waiting:
        return _section("waiting", lang, f'<p class="quiet">{escape(say("console.staff.nobody", lang))}</p>')
    return _section("waiting", lang, "".join(_held(held, status, lang) for held in status.waiting))


def _held(held: Waiting, status: Status, lang: str) -> str:
    why = listing((code(reason, lang) for reason in held.reasons), lang)
    who = [clock(held.wall_ns, status.wall_ns), why, *([person(held.person)] if held.person else [])]
    steps = "".join(f"<li>{escape(word('staff', reason, lang))}</li>" for reason in held.reasons)
    return (
        f'<article class="held">{icon("hand")}<div><h3>{escape(" · ".join(who))}</h3><ol>{steps}</ol>'
        f"<p><code>sentinelctl register --after {escape(held.key)}</code></p></div></article>"
    )


def _devices(status: Status, lang: str) -> str:
    rows = "".join(_device(part, lang) for part in status.process.components)
    return _section("devices", lang, f'<ul class="devices">{rows}</ul>') if rows else ""


def _device(part: Component, lang: str) -> str:
    tone = _STATE_TONES.get(part.state, "ask")
    state = component_state(part.state, part.symptom, lang)
    since = f" · {span(part.since_s, lang)}" if part.state in ("fault", "impaired") and part.since_s is not None else ""
    name = escape(word("component", part.name, lang))
    return f'<li class="{tone}">{icon(_TONE_ICONS[tone])}<span>{name}: {escape(state + since)}</span></li>'


def _street(status: Status, lang: str) -> str:
    uplink, balance = status.uplink, status.balance
    said = say(f"status.uplink.{uplink.state}", lang)
    if uplink.since_s is not None and uplink.state in ("connected", "offline"):
        said += f" · {span(uplink.since_s, lang)}"
    if balance.known:
        key = "status.balance.holds" if balance.holds else "status.balance.broken"
        sums = say(key, lang, appended=balance.appended, receipted=balance.receipted, refused=balance.refused,
                   pending=balance.pending)  # fmt: skip
    else:
        sums = say("status.balance.unknown", lang)
    chain = say(f"status.chain.{status.ledger.chain}", lang)
    return _section("street", lang, f"<p>{escape(said)}</p><p>{escape(sums)}</p><p>{escape(chain)}</p>")


def _today(status: Status, lang: str) -> str:
    cells = "".join(
        f"<div><dt>{escape(say(f'console.today.{name}', lang))}</dt><dd>{getattr(status.today, name)}</dd></div>"
        for name in ("open", "hold", "refuse", "manual")
    )
    return _section("today", lang, f'<dl class="today">{cells}</dl>')


def _last(status: Status, lang: str) -> str:
    rows = "".join(_row(line, status, lang) for line in status.last)
    return _section("last", lang, f"<table><tbody>{rows}</tbody></table>") if rows else ""


def _row(line: Line, status: Status, lang: str) -> str:
    at = line_clock(line, status.wall_ns)
    rest = listing((code(item, lang) for item in line.codes), lang)
    kept = until_words(line.until, lang)
    cells = (at, word("kind", line.kind, lang), what(line.what, lang), person(line.person), rest, kept)
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _section(name: str, lang: str, inner: str) -> str:
    return f'<section class="{name}"><h2>{escape(say(f"console.title.{name}", lang))}</h2>{inner}</section>'


def _document(lang: str, title: str, body: str, view: str, events: str) -> str:
    return (
        f'<!doctype html><html lang="{lang}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/static/style.css">'
        '<script src="/static/app.js" defer></script></head>'
        f'<body class="{view}" data-events="{events}">{body}</body></html>'
    )
