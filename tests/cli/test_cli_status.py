"""A status is gathered from a living gate, from the files of a dead one, and says which of the two it was."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cli_sample import NOW_NS, TOKEN, passage, write_ledger

from sentinel.condition import SCHEMA, as_json
from sentinel.core.errors import Unavailable
from sentinel.erasure import days_of, until_of
from sentinel.settings import load
from sentinel.status import HOLD_WAITS_S, UPLINK_STALE_S, Sources, chain_problem, gather, line_of, read_uplink
from sync.entry import Draft

ANSWER = {
    "ok": True, "version": "0.1.0", "pid": 812, "up_s": 5.0, "fire": False,
    "mode": "assisted", "because": ["card:lost"],
    "components": [
        {"name": "card", "state": "fault", "symptom": "lost", "detail": "gone", "last_good_s_ago": 9.0, "since_s": 8.0,
         "what a newer gate may say": 1},
        {"name": "barrier", "state": "ok", "symptom": None, "detail": "", "last_good_s_ago": None, "since_s": 5.0},
    ],
    "screen": {"outcome": "open", "reason": "accepted", "method": "face", "at_s_ago": 1.2},
    "ledger": {"late": 1, "queued": 0},
}  # fmt: skip


def alive(path, request, timeout_s):
    assert request == {"v": 1, "verb": "status"}
    return ANSWER


def silent_because(cause):
    def ask(path, request, timeout_s):
        raise Unavailable("nobody answers") from cause

    return ask


def sources(ask=alive):
    return Sources(ask=ask, wall_ns=lambda: NOW_NS)


@pytest.fixture
def settings(config):
    return load(config)


def registration(after):
    body = {
        "request": "r1", "operator": "staff", "reason": "visitor", "opened": True, "lane": "lane-1", "direction": "in",
        "written_by": "gate", "after": after,
    }  # fmt: skip
    return Draft(kind="registration", version=1, body=body, personal={"name": "样本甲"}, request="r1")


def test_each_line_can_say_until_when_its_personal_part_is_kept(settings, tmp_path):
    """The page asks, the command line does not: `list records` says it there."""
    write_ledger(tmp_path, [passage(), registration("00000001c0ffee01-1")])
    asking = replace(sources(), until=partial(until_of, days=days_of(settings)))
    by_kind = {line.kind: line.until for line in gather(settings, asking).last}
    written = datetime.fromtimestamp(NOW_NS // 1_000_000_000, UTC).date()
    assert by_kind["registration"] == (written + timedelta(days=settings.retention.passage_days)).isoformat()
    assert by_kind["passage"] is None
    assert {line.until for line in gather(settings, sources()).last} == {None}


def test_a_living_gate_tells_its_mode_and_devices(settings, tmp_path):
    write_ledger(tmp_path, [passage()])
    status = gather(settings, sources())
    assert status.process.alive
    assert (status.process.mode, status.process.because) == ("assisted", ("card:lost",))
    assert [part.state for part in status.process.components] == ["fault", "ok"]
    assert status.verdict == "warning"


@pytest.mark.parametrize(
    ("cause", "silence"),
    [
        (FileNotFoundError(), "not-running"),
        (ConnectionRefusedError(), "not-running"),
        (TimeoutError(), "hung"),
        (PermissionError(), "not-permitted"),
    ],
)
def test_a_silent_gate_is_unknown_and_the_reason_is_told(settings, tmp_path, cause, silence):
    write_ledger(tmp_path, [passage()])
    status = gather(settings, sources(silent_because(cause)))
    assert status.verdict == "unknown"
    assert status.process.silence == silence


def test_the_files_answer_when_the_gate_is_dead(settings, tmp_path):
    drafts = [passage("open"), passage("hold", ("face-unknown",)), passage("refuse", ("card-expired",))]
    write_ledger(tmp_path, drafts)
    status = gather(settings, sources(silent_because(FileNotFoundError())))
    assert (status.today.open, status.today.hold, status.today.refuse, status.today.manual) == (1, 1, 1, 0)
    assert (status.balance.appended, status.balance.pending) == (5, 5)  # start and stop are entries too
    assert status.balance.holds
    assert (status.ledger.chain, status.ledger.chain_checked) == ("ok", 5)
    assert status.ledger.head == status.last[0].key


def test_no_ledger_at_all_is_critical_and_no_crash(settings):
    status = gather(settings, sources())
    assert not status.ledger.readable
    assert status.verdict == "critical"


def test_the_oldest_pending_entry_has_an_age(settings, tmp_path):
    write_ledger(tmp_path, [passage(), passage()])
    assert gather(settings, sources()).balance.oldest_pending_s == pytest.approx(2.0)


def test_who_was_held_waits_until_registered(settings, tmp_path):
    held = write_ledger(tmp_path, [passage("hold", ("face-unknown",)), passage("hold", ("card-missing",), None)])
    assert [waiting.key for waiting in gather(settings, sources()).waiting] == [str(entry.key) for entry in held]
    write_ledger(tmp_path, [registration(str(held[0].key))])
    assert [waiting.key for waiting in gather(settings, sources()).waiting] == [str(held[1].key)]


def test_who_was_held_long_ago_has_gone(settings, tmp_path):
    write_ledger(tmp_path, [passage("hold", ("face-unknown",))], wall_ns=NOW_NS - int((HOLD_WAITS_S + 1) * 1e9))
    assert gather(settings, sources()).waiting == ()


def test_yesterday_does_not_count_today(settings, tmp_path):
    write_ledger(tmp_path, [passage()], wall_ns=NOW_NS - 24 * 3600 * 10**9)
    assert gather(settings, sources()).today.open == 0


def test_an_entry_that_was_changed_breaks_the_chain(tmp_path):
    entries = write_ledger(tmp_path, [passage(), passage(), passage()])[::-1]
    assert chain_problem(entries) is None
    forged = [entries[0], replace(entries[1], body=entries[1].body.replace(b"open", b"hold")), entries[2]]
    assert str(entries[1].key) in chain_problem(forged)
    assert str(entries[0].key) in chain_problem([entries[0], entries[2]])


def uplink_file(tmp_path, age_s, text='{"connected": true, "since": 1795329000, "last_error": null, "layer": null}'):
    path = tmp_path / "uplink.json"
    path.write_text(text)
    written_ns = NOW_NS - int(age_s * 1e9)
    os.utime(path, ns=(written_ns, written_ns))
    return path


def test_the_uplink_is_connected_while_its_file_is_fresh(tmp_path):
    uplink = read_uplink(uplink_file(tmp_path, 1.0), NOW_NS)
    assert (uplink.state, uplink.since_s) == ("connected", 118.0)


def test_an_uplink_that_stopped_writing_is_dead_whatever_it_wrote_last(tmp_path):
    assert read_uplink(uplink_file(tmp_path, UPLINK_STALE_S + 1), NOW_NS).state == "dead"


def test_no_uplink_file_means_that_it_never_ran(tmp_path):
    assert read_uplink(tmp_path / "uplink.json", NOW_NS).state == "never"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"connected": true, "since": "soon"}'])
def test_half_an_uplink_file_is_told_and_hides_nothing_else(tmp_path, text):
    assert read_uplink(uplink_file(tmp_path, 1.0, text), NOW_NS).state == "unreadable"


def test_the_json_is_json_and_holds_no_name(settings, tmp_path):
    write_ledger(tmp_path, [passage(), registration(None)])
    document = json.loads(json.dumps(as_json(gather(settings, sources()))))
    assert document["schema"] == SCHEMA
    assert document["gate_alive"] is True
    assert document["last"][0]["kind"] == "stop"
    assert "样本甲" not in json.dumps(document, ensure_ascii=False)


def test_no_temperature_is_in_a_status(settings, tmp_path):
    write_ledger(tmp_path, [passage("hold", ("temperature-high",), skin_celsius=38.25)])
    assert "38.25" not in json.dumps(as_json(gather(settings, sources())))


def test_every_kind_has_a_line(tmp_path):
    drafts = [
        passage(),
        registration(None),
        Draft(kind="opening", version=1, body={"request": "o", "operator": "s", "reason": "delivery", "lane": "1",
                                               "written_by": "gate"}),
        Draft(kind="barrier", version=1, body={"event": "passed"}),
        Draft(kind="fault", version=1, body={"device": "card", "symptom": "lost", "detail": ""}),
        Draft(kind="repair", version=1, body={"device": "card", "symptom": "lost", "lasted_s": 3.0}),
        Draft(kind="mode", version=1, body={"mode": "manual", "before": "automatic", "because": ["card:lost"]}),
        Draft(kind="consent", version=1, body={"request": "c", "person": TOKEN, "act": "enrolled", "consent": "paper",
                                               "operator": "s", "templates": 1, "model": "m"}),
        Draft(kind="from-the-future", version=9, body={"anything": 1}),
    ]  # fmt: skip
    lines = [line_of(entry) for entry in write_ledger(tmp_path, drafts)]
    assert [line.what for line in lines] == [
        "open", "opened", "opened", "passed", "card", "card", "manual", "enrolled", ""
    ]  # fmt: skip
