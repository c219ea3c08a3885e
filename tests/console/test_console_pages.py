"""What staff and residents see, and what residents must never see."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from console_sample import HELD, KEY, LINE, TOKEN, WELL, of_profile, status, told, without

from recognition.readings import FaceProblem
from sentinel.condition import Process, Screen
from sentinel.console import pages
from sentinel.core.model import Reason
from sentinel.i18n import text


class Shown(HTMLParser):
    """Collects the words of a page, those of hidden panels apart."""

    def __init__(self):
        super().__init__()
        self.shown, self.hidden, self.states = [], [], []
        self._hiding = False

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if "data-state" in attrs and "hidden" not in attrs:
            self.states.append(attrs["data-state"])
        if tag == "section":
            self._hiding = "hidden" in attrs

    def handle_endtag(self, tag):
        if tag == "section":
            self._hiding = False

    def handle_data(self, data):
        (self.hidden if self._hiding else self.shown).append(data)


def screen(now):
    page = Shown()
    page.feed(pages.screen_page(now))
    return page


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (status(), "idle"),
        (told("open"), "pass"),
        (told("open", at_s_ago=pages.SHOW_S + 1), "idle"),
        (told("hold", "face-unusable"), "look"),
        (told("hold", "face-several"), "single"),
        (told("hold", "face-unknown"), "card"),
        (told("hold", "card-unreadable"), "again"),
        (told("hold", "temperature-high"), "wait"),
        (told("hold", "a reason of a newer gate"), "wait"),
        (told("refuse", "card-expired"), "refuse"),
        (told("open", mode="manual"), "staff"),
        (told("open", fire=True, mode="manual"), "fire"),
        (without("vision", mode="assisted"), "idle-card"),
        (without("card", mode="assisted"), "staff"),
        (of_profile("face", without("card", mode="assisted")), "idle-face"),
        (of_profile("face", without("card", "vision", mode="manual")), "staff"),
        (status(Process(alive=False, silence="hung")), "staff"),
        (status(replace(WELL, components=())), "idle-card"),
    ],
)
def test_the_screen_shows_one_panel(now, state):
    assert pages.screen_state(now) == state
    assert screen(now).states == [state]


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in (Reason.ACCEPTED, Reason.FIRE)])
def test_the_screen_says_what_the_rules_texts_say(reason):
    words = screen(told("hold", str(reason))).shown
    assert text(f"screen.hold.{reason}", "zh").replace(",", "，") in [word.replace(",", "，") for word in words]
    assert text(f"screen.hold.{reason}", "en") in words


@pytest.mark.parametrize("problem", FaceProblem)
def test_the_person_reads_what_to_do_about_the_face(problem):
    hinting = replace(WELL, screen=Screen(face=str(problem)))
    words = screen(status(hinting)).shown
    assert text(f"screen.face.{problem}", "en") in words
    held = replace(hinting, screen=replace(hinting.screen, outcome="hold", reason="face-unusable", at_s_ago=1.0))
    assert text(f"screen.face.{problem}", "en") in screen(status(held)).shown
    passed = replace(hinting, screen=replace(hinting.screen, outcome="open", reason="accepted", at_s_ago=1.0))
    assert text("screen.open", "en") in screen(status(passed)).shown, "a hint never replaces the way in"


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("reason", list(Reason))
def test_residents_read_no_reason(reason, lang):
    page = screen(told("hold" if reason != Reason.ACCEPTED else "open", str(reason)))
    assert text(f"reason.{reason}", lang) not in page.shown or reason == Reason.FIRE


def test_who_is_hot_sees_what_any_held_person_sees():
    assert pages.screen_page(told("hold", "temperature-high")) == pages.screen_page(told("hold", "person-blocked"))


def test_the_screen_holds_no_person_and_no_figure():
    now = status(replace(WELL, screen=told("hold", "temperature-high").process.screen), waiting=(HELD,), last=(LINE,))
    page = screen(now)
    words = "".join(page.shown + page.hidden)
    assert TOKEN[:8] not in words
    assert not re.search(r"\d", words)


@pytest.mark.parametrize(
    "now", [status(), told("hold", "face-unknown"), without("vision"), told("hold", mode="manual")]
)
def test_the_way_without_a_face_is_always_visible(now):
    assert text("screen.other-way", "zh") in screen(now).shown
    assert text("screen.other-way", "en") in screen(now).shown


def test_every_panel_is_an_icon_a_word_and_a_colour():
    panels = re.findall(r'<section class="panel (\w+)".*?</section>', pages.screen_page(status()))
    bodies = re.findall(r'<section class="panel.*?</section>', pages.screen_page(status()))
    assert len(panels) == len(bodies) >= 10
    assert all("<svg" in body and "<h1>" in body for body in bodies)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_staff_read_why_somebody_waits_and_what_to_do_next(lang):
    page = pages.staff_page(status(waiting=(HELD,)), lang)
    for reason in HELD.reasons:
        assert text(f"staff.{reason}", lang) in page.replace("&#x27;", "'")
    assert f"register --after {KEY}" in page
    assert TOKEN[:8] in page
    assert TOKEN[:9] not in page


def test_staff_read_a_dead_gate_in_words():
    assert text("status.silence.not-running", "en") in pages.staff_page(
        status(Process(alive=False, silence="not-running")), "en"
    )


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_staff_read_until_when_a_personal_part_is_kept(lang):
    kept = pages.staff_page(status(last=(replace(LINE, until="2026-12-26"),)), lang)
    assert text("cli.record.until", lang, day="2026-12-26") in kept
    assert text("cli.record.until_unknown", lang) in pages.staff_page(
        status(last=(replace(LINE, until="unknown"),)), lang
    )
    assert "2026-12-26" not in pages.staff_page(status(last=(LINE,)), lang)


def test_what_devices_and_brokers_said_is_escaped():
    evil = replace(LINE, codes=("<script>alert(1)</script>",), kind="<b>")
    page = pages.staff_page(status(last=(evil,)), "en")
    assert "<script>alert" not in page
    assert "<b>" not in page


@pytest.mark.parametrize("page", [pages.staff_page(status(), "zh"), pages.screen_page(status())])
def test_a_page_has_no_inline_script_or_style_and_no_foreign_address(page):
    assert " style=" not in page
    assert "<style" not in page
    assert re.findall(r"<script(?! src=\"/static/app.js\" defer></script>)", page) == []
    assert "http" not in page
