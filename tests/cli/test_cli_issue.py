"""`sentinelctl issue`: a pass is recorded before it is shown, a key is never lost by accident."""

import argparse
import json
import threading

import pytest

from sentinel import cli
from sentinel.control import ControlServer, NobodyListens, ask
from sentinel.core.admission import COUNTED_S, scope_of
from sentinel.core.errors import Unavailable, UsageError
from sentinel.core.model import Pass, PassKind
from sentinel.passes import load_issuers, read_pass

PATIENCE_S = 10.0


@pytest.fixture
def issue(config, capsys):
    """Call one noun of `issue`, and return what it printed."""

    def call(*argv, plain=True):
        usual = {"config": config, "json": False, "lang": "en", "plain": plain, "quiet": False, "debug": False}
        parser = cli.build_parser(("issue",))
        args = parser.parse_args(["issue", *map(str, argv)], argparse.Namespace(**usual))
        assert args.run(args) == 0
        return capsys.readouterr()

    return call


class Gate:
    """Stand in for the process behind the manual socket: take every request, answer as told."""

    def __init__(self, path) -> None:
        self.requests: list[dict] = []
        self.answer = {"ok": True, "key": "00000001000000ff-7", "kept": "durable", "opened": False, "by": "gate"}
        self._stop = threading.Event()
        self._path = path
        self._server = threading.Thread(target=ControlServer(path, self._take).run, args=(self._stop,))

    def _take(self, request, _peer):
        if request["verb"] != "there?":
            self.requests.append(request)
        return self.answer

    def __enter__(self):
        self._server.start()
        tick = threading.Event()
        for _ in range(int(PATIENCE_S / 0.01)):
            try:
                ask(self._path, {"v": 1, "verb": "there?"}, 1.0)
                return self
            except NobodyListens:
                tick.wait(0.01)
        raise AssertionError("the stand-in never listened")

    def __exit__(self, *_exc):
        self._stop.set()
        self._server.join(PATIENCE_S)


@pytest.fixture
def gate(tmp_path):
    with Gate(tmp_path / "run" / "manual.sock") as stands_in:
        yield stands_in


def test_a_pass_is_recorded_and_then_shown(issue, gate, tmp_path):
    issue("key")
    out, err = issue("pass", "--kind", "visitor", "--hours", 2, "--reason", "delivery")
    found = read_pass(out.encode(), load_issuers(tmp_path / "secrets", None).keys)
    assert isinstance(found, Pass)
    assert (found.kind, found.uses, found.scope) == (PassKind.VISITOR, 1, scope_of("330106", "cuiyuan3", "east-3"))
    assert found.pass_id in err
    [request] = gate.requests
    assert request.pop("request")
    assert request == {
        "v": 1, "verb": "grant", "reason": "delivery", "pass_id": found.pass_id, "pass_kind": "visitor",
        "issuer": found.issuer, "gate": "east-3", "valid_from_utc_s": found.valid_from_utc_s,
        "valid_until_utc_s": found.valid_until_utc_s, "uses": 1,
    }  # fmt: skip


def test_a_pass_that_could_not_be_recorded_is_not_shown(issue, gate, capsys, tmp_path):
    issue("key")
    gate.answer = {"ok": False, "error": "the disk is full; free some space", "exit_code": 69}
    with pytest.raises(Exception, match="disk is full") as failed:
        issue("pass", "--kind", "visitor", "--png", tmp_path / "pass.png")
    assert failed.value.exit_code == 69
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "pass.png").read_bytes()


def test_a_badge_is_for_a_year_and_for_any_number_of_times(issue, gate):
    issue("key")
    out, err = issue("pass", "--kind", "staff", "--gate", "any", "--json")
    document = json.loads(out)
    assert err == ""
    assert document["schema"] == "sentinel.pass/1"
    assert (document["uses"], document["reason"], document["gate"]) == (0, "staff", "any")
    assert document["valid_until_utc_s"] - document["valid_from_utc_s"] >= 365 * 86400
    assert gate.requests[0]["pass_id"] == document["pass_id"]


def test_a_street_office_issues_without_a_gate_and_its_public_key_is_all_a_gate_needs(issue, config, tmp_path):
    config.unlink()
    key = tmp_path / "office" / "street.key"
    issue("key", "--key", key)
    public, _ = issue("key", "--key", key, "--public")
    out, _ = issue("pass", "--kind", "visitor", "--key", key, "--at", "330106/cuiyuan3", "--uses", 3)
    issuers = tmp_path / "issuers"
    issuers.mkdir()
    (issuers / "street.pub").write_text(public)
    found = read_pass(out.encode(), load_issuers(tmp_path / "nothing", issuers).keys)
    assert isinstance(found, Pass)
    assert (found.uses, found.scope) == (3, scope_of("330106", "cuiyuan3"))


def test_a_counted_pass_for_every_gate_is_told_to_count_at_each(issue, gate):
    issue("key")
    _, err = issue("pass", "--kind", "visitor", "--gate", "any")
    assert "Each gate counts" in err
    _, err = issue("pass", "--kind", "visitor")
    assert "Each gate counts" not in err


def test_the_code_is_drawn_for_the_terminal_and_for_print(issue, gate, tmp_path):
    issue("key")
    out, err = issue("pass", "--kind", "visitor", "--png", tmp_path / "pass.png", "--svg", tmp_path / "pass.svg")
    assert (tmp_path / "pass.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "pass.svg").read_bytes()
    assert (out + err).isascii(), "with --plain nothing is drawn"
    out, err = issue("pass", "--kind", "visitor", plain=False)
    assert out.isascii(), "the code stands alone on standard output"
    assert err.count("\u2588") > 100


@pytest.mark.parametrize(
    "argv",
    [
        ("pass", "--kind", "visitor", "--hours", "0"),
        ("pass", "--kind", "visitor", "--hours", "nan"),
        ("pass", "--kind", "visitor", "--hours", COUNTED_S / 3600 + 1),
        ("pass", "--kind", "visitor", "--uses", "300"),
        ("pass", "--kind", "visitor", "--uses", "-1"),
        ("pass", "--kind", "visitor", "--at", "330106/cuiyuan3"),
        ("pass", "--kind", "visitor", "--png", "/nowhere/pass.png"),
        ("pass", "--kind", "guest"),
        ("pass",),
        ("key",),
        ("revoke", "12345"),
        ("revoke", "g" * 16),
    ],
)
def test_a_wrong_call_records_nothing_and_says_what_to_do(issue, gate, argv):
    issue("key")
    with pytest.raises(UsageError, match=";"):
        issue(*argv)
    assert gate.requests == []


@pytest.mark.parametrize("at", [None, "330106", "330106/Cuiyuan", "330106/cuiyuan3/east/3"])
def test_with_a_key_of_its_own_a_pass_must_say_where_it_holds(issue, tmp_path, at):
    key = tmp_path / "street.key"
    issue("key", "--key", key)
    with pytest.raises(UsageError, match="--at STREET/SITE"):
        issue("pass", "--kind", "visitor", "--key", key, *(["--at", at] if at else []))


def test_without_a_key_no_pass_is_issued(issue, gate):
    with pytest.raises(Unavailable, match="issue key"):
        issue("pass", "--kind", "visitor")
    assert gate.requests == []


def test_a_key_is_replaced_only_when_told_twice(issue, tmp_path):
    before, _ = issue("key")
    with pytest.raises(UsageError, match="--yes"):
        issue("key", "--replace")  # standard input is no terminal here: nobody can say yes
    assert issue("key", "--public").out == before
    after, _ = issue("key", "--replace", "--yes")
    assert after != before
    assert issue("key", "--public").out == after


def test_the_private_part_is_never_printed(issue, tmp_path):
    said = "".join([*issue("key"), *issue("key", "--public"), *issue("key", "--public", "--json")])
    secret = (tmp_path / "secrets" / "pass.key").read_text().splitlines()[1]
    assert secret not in said
    assert "PRIVATE" not in said


def test_a_revocation_is_recorded(issue, gate):
    out, _ = issue("revoke", "0123456789ABCDEF", "--reason", "lost-pass")
    assert "0123456789abcdef" in out
    [request] = gate.requests
    assert (request["verb"], request["pass_id"], request["reason"]) == ("revoke", "0123456789abcdef", "lost-pass")
