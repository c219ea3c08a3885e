"""The web server: whom it answers, with which headers, and how it streams."""

import json
import re
import threading
from pathlib import Path

import pytest
from console_sample import WELL, status, told, without
from starlette.testclient import TestClient

from sentinel.condition import SCHEMA
from sentinel.console import app as console
from sentinel.console.feed import GATHER_S, REPEAT_S, Feed, news, settled
from sentinel.core.errors import UsageError

STATIC = Path(console.__file__).parent / "static"


def browser(source=status, host="127.0.0.1:8080", **options):
    return TestClient(console.create_app(source, rest=lambda _s: True, **options), base_url=f"http://{host}")


PATHS = ["/", "/part", "/screen", "/events", "/screen/events", "/api/v1/status", "/healthz", "/static/app.js",
         "/static/style.css"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_every_address_answers_with_safe_headers(path):
    answer = browser().get(path)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8080", "gate.local", ""])
def test_a_foreign_name_gets_nothing(host):
    answer = browser().get("/api/v1/status", headers={"host": host})
    assert answer.status_code == 400
    assert "schema" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080"])
def test_loopback_names_are_answered(host):
    assert browser().get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/events", "/screen"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_sent(path, method):
    assert browser().request(method, path).status_code == 405


def test_the_status_is_the_same_document_as_the_command_lines():
    document = browser().get("/api/v1/status").json()
    assert document["schema"] == SCHEMA
    assert document["verdict"] == "ok"


def test_the_language_is_the_settings_or_the_viewers():
    assert '<html lang="zh-CN">' in browser().get("/").text
    assert '<html lang="en">' in browser(language="en").get("/").text
    assert '<html lang="en">' in browser().get("/?lang=en").text


def test_an_event_stream_begins_with_the_status():
    answer = browser().get("/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    name, data = answer.text.strip().split("\n")
    assert name == "event: status"
    assert json.loads(data.removeprefix("data: "))["schema"] == SCHEMA


def test_the_screens_stream_tells_the_panel_and_nothing_else():
    data = browser(lambda: told("hold", "temperature-high")).get("/screen/events").text
    assert json.loads(data.split("data: ")[1]) == {"state": "wait"}


def test_a_stream_gives_its_seat_back():
    client = browser()
    assert [client.get("/events").status_code for _ in range(console.MOST_VIEWERS + 3)] == [200] * 19


def test_one_viewer_too_many_is_told_to_come_later():
    views = console.Views(Feed(status), "zh", lambda _s: True)
    for _ in range(console.MOST_VIEWERS):
        assert views.events(None).status_code == 200
    assert views.events(None).status_code == 503


def turns(*documents):
    """Run a stream over these documents, one a turn; return what it told."""
    left = list(documents)
    return [json.loads(told.split("data: ")[1]) for told in news(lambda: left.pop(0), lambda _s: not left)]


def test_unchanged_news_is_not_told_again():
    assert turns({"a": 1}, {"a": 1}, {"a": 2}, {"a": 2}) == [{"a": 1}, {"a": 2}]


def test_a_growing_age_is_no_news():
    assert len(turns({"last_good_s_ago": 1}, {"last_good_s_ago": 2}, {"up_s": 3, "last_good_s_ago": 3})) == 1


def test_a_quiet_stream_shows_that_it_lives():
    count = int(REPEAT_S / GATHER_S) + 1
    assert len(turns(*[{"a": 1}] * count)) == 2


def test_a_new_entry_is_news_and_a_later_look_is_not():
    from sentinel.condition import as_json

    assert settled(as_json(told("open", at_s_ago=1.0))) == settled(as_json(told("open", at_s_ago=1.5)))
    assert settled(as_json(status())) != settled(as_json(without("card")))


def test_many_viewers_share_one_gathering():
    now = [0.0]
    gathered = []

    def source():
        gathered.append(now[0])
        return status()

    feed = Feed(source, clock=lambda: now[0])
    threads = [threading.Thread(target=feed.latest) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5.0)
    assert gathered == [0.0]
    now[0] = GATHER_S
    feed.latest()
    assert gathered == [0.0, GATHER_S]


def test_the_screen_follows_the_gate():
    answers = iter([status(), status(WELL), told("open")])
    views = console.Views(Feed(lambda: next(answers), clock=iter(range(100)).__next__), "zh", lambda _s: True)
    assert 'data-state="idle">' in bytes(views.screen(None).body).decode()


@pytest.mark.parametrize(("listen", "expected"), [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:80", ("::1", 80))])
def test_an_address_is_host_and_port(listen, expected):
    assert console.address(listen) == expected


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", ":8080", "8080", "localhost:http", "localhost:99999"])
def test_a_wildcard_or_half_an_address_is_refused(listen):
    with pytest.raises(UsageError, match=r"127\.0\.0\.1"):
        console.address(listen)


def test_the_script_is_small_and_speaks_to_nobody_else():
    script = (STATIC / "app.js").read_text()
    assert len(script.encode()) < 15_000
    assert "http" not in script
    assert "eval" not in script


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_pair_of_colours_has_a_contrast_of_four_and_a_half():
    style = (STATIC / "style.css").read_text()
    named = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", style))
    pairs = re.findall(r"color: (var\(--[a-z-]+\)|#[0-9a-f]{6});\s*background: (var\(--[a-z-]+\)|#[0-9a-f]{6});", style)
    assert len(pairs) >= 10
    for pair in pairs:
        ink, paper = (named[colour[6:-1]] if colour.startswith("var") else colour for colour in pair)
        assert contrast(ink, paper) >= 4.5, pair


def test_no_text_is_below_18_pixels_and_links_are_60_high():
    style = (STATIC / "style.css").read_text()
    assert all(int(size) >= 18 for size in re.findall(r"font(?:-size)?: (?:clamp\()?(\d+)px", style))
    assert re.search(r"nav a \{[^}]*min-height: 60px", style)
