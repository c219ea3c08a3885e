"""`sentinelctl retention`: what is due is shown, nothing goes without a yes, and the proof is printed."""

import argparse
import json
from datetime import UTC, datetime, timedelta

import pytest

from sentinel import cli, roster
from sentinel.core.errors import Unavailable, UsageError
from sentinel.settings import load
from sentinel.street_policy import Kept, keep
from sync.entry import Draft, Stamp
from sync.errors import VaultError
from sync.identity import make_identity
from sync.ledger import LedgerReader, LedgerWriter
from sync.vault import Vault

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NUMBER, OTHER = "11010519491231002X", "990101198001010017"


def at(days: int, trusted: bool = True):
    wall_ns = int((NOON + timedelta(days=days)).timestamp()) * 1_000_000_000
    return lambda: Stamp(wall_ns=wall_ns, boot_ns=1, boot_id="boot", clock_trusted=trusted)


@pytest.fixture
def vault(tmp_path):
    return Vault.open(tmp_path / "secrets", create=True)


@pytest.fixture
def ledger(tmp_path, vault):
    """A passage of one person today, of one whom nobody knows, and another's of 40 days ago."""
    path = tmp_path / "ledger.db"
    with LedgerWriter.open(path, vault=vault, stamp=at(0)) as writer:
        for days, person, number in ((-40, "0" * 32, OTHER), (0, vault.token(NUMBER), NUMBER), (0, None, NUMBER)):
            body = {"outcome": "open", "method": "card", "reasons": []} | ({"person": person} if person else {})
            personal = {"name": "somebody", "number": number}
            writer.append(Draft(kind="passage", version=1, body=body, personal=personal), 5.0, stamp=at(days)())
    return path


@pytest.fixture
def call(config, capfd):
    def run(*argv, stamp=None):
        known = argparse.Namespace(config=config, json=False, lang="en", plain=True, quiet=False, stamp=stamp or at(0))
        args = cli.build_parser(("retention",)).parse_args(["retention", *argv], known)
        code = args.run(args)
        return code, *capfd.readouterr()

    return run


def test_show_and_preview_say_per_class_and_per_key_what_is_due(call, ledger):
    code, out, _ = call("show", "--json")
    told = json.loads(out)
    passages = next(row for row in told["classes"] if row["class"] == "passage")
    assert code == 0
    assert (passages["days"], passages["parts"], passages["oldest"]) == (30, 3, "2026-10-13")
    assert (passages["due_keys"], passages["due_parts"]) == (1, 1)
    code, out, _ = call("preview")
    assert (code, out.split()) == (1, ["passage/2026-10-13", "1", "kept", "until", "2026-11-12"])
    assert call("preview", stamp=at(-20))[0] == 0
    assert "passage" in call("show")[1]


def test_the_streets_policy_says_for_how_long(call, ledger, config, tmp_path):
    """What the street wants kept for longer than the settings file says is not due, whoever asks."""
    (tmp_path / "street.pub").write_text(make_identity(tmp_path / "street.key").known.text())
    text = config.read_text()
    config.write_text(text.replace("[uplink]\n", f'[uplink]\nstreet_keys = "{tmp_path / "street.pub"}"\n'))
    assert call("preview")[0] == 1
    keep(load(config).paths.policy, Kept(serial=1, settings={"passage_days": 60}))
    assert call("preview")[0] == 0
    passages = next(row for row in json.loads(call("show", "--json")[1])["classes"] if row["class"] == "passage")
    assert (passages["days"], passages["due_keys"]) == (60, 0)


def test_nothing_goes_by_an_untrusted_clock_or_without_a_yes(call, ledger, vault):
    with pytest.raises(Unavailable, match="nobody knows the time"):
        call("run", "--yes", stamp=at(400, trusted=False))
    with pytest.raises(UsageError, match="nothing was deleted"):
        call("run")
    assert len(vault.names()) == 2


def test_a_run_destroys_what_is_due_and_proves_it(call, ledger, vault):
    with LedgerReader(ledger) as reader:
        parts = list(reader.sealed_parts())
    code, _, err = call("run", "--yes")
    assert code == 0, err
    assert "1 ciphertexts tried, none opens" in err
    assert vault.names() == ("passage/2026-11-22",)
    with pytest.raises(VaultError, match="destroyed"):
        vault.unseal(parts[0].personal_key, parts[0].personal)
    assert call("run", "--yes")[:2] == (0, "nothing is due\n")


def test_the_check_of_the_ledger_tells_the_erased_from_the_missing(call, ledger, vault, config, capfd):
    def checked():
        code = cli.main(["check", "ledger", "--config", str(config), "--json"])
        return code, json.loads(capfd.readouterr().out)["personal"]

    assert call("run", "--yes")[0] == 0
    assert checked()[1] == {"present": 2, "erased": 1, "undone": 0, "missing": []}
    with LedgerWriter.open(ledger, vault=vault, stamp=at(1)) as writer, LedgerReader(ledger) as reader:
        gone = next(reader.sealed_parts()).key
        writer.empty([gone])
    code, told = checked()
    assert (code, len(told["missing"]), told["present"]) == (65, 1, 1)
    assert str(gone) in told["missing"][0]


def test_a_person_is_erased_everywhere_also_where_nobody_knew_them(call, ledger, vault, tmp_path):
    token, path = vault.token(NUMBER), tmp_path / "roster.db"
    member = roster.Member(token=token, name="somebody", number=NUMBER)
    kept = roster.Member(token=vault.token(OTHER), name="another", number=OTHER)
    roster.publish(path, {one.token: one for one in (member, kept)}, vault)
    code, out, err = call("erase", "--number", NUMBER, "--yes")
    assert code == 0, err
    assert NUMBER not in out + err
    assert "2 personal parts are empty" in out and "open until 2026-12-22" in out, "what remains is said"
    with LedgerReader(ledger) as reader:
        assert [part.person for part in reader.sealed_parts()] == ["0" * 32], "another's passage stays"
        (deletion,) = reader.newest(5, "deletion")
        (consent,) = reader.newest(5, "consent")
    assert (deletion.data["reason"], deletion.data["person"], deletion.data["total"]) == ("person", token, 2)
    assert (consent.data["act"], consent.data["person"]) == ("removed", token)
    assert set(roster.load_all(path, vault)) == {kept.token}
    assert f"roster/{token}" not in vault.names()
    assert call("erase", "--person", token, "--yes")[1] == "nothing is kept of this person\n"


def test_lists_show_until_when_a_personal_part_is_kept(call, ledger, config, capfd):
    assert cli.main(["list", "records", "--kind", "passage", "--json", "--config", str(config)]) == 0
    told = json.loads(capfd.readouterr().out)["records"]
    assert [record["personal_until"] for record in told] == ["2026-11-12", "2026-12-22", "2026-12-22"]
    assert cli.main(["list", "records", "--lang", "en", "--config", str(config)]) == 0
    assert capfd.readouterr().out.count("kept until") == 3
    assert cli.main(["show", "record", told[0]["key"], "--json", "--config", str(config)]) == 0
    assert json.loads(capfd.readouterr().out)["personal"]["until"] == "2026-11-12"
    call("run", "--yes")
    assert cli.main(["show", "record", told[0]["key"], "--json", "--config", str(config)]) == 0
    personal = json.loads(capfd.readouterr().out)["personal"]
    assert (personal["state"], personal["until"]) == ("erased", None)


def test_who_may_open_the_barrier_may_not_delete(config, vault):
    from contextlib import ExitStack

    from sentinel.control import Peer
    from sentinel.core.errors import NotPermitted
    from sentinel.manual import serve
    from sentinel.settings import load

    request = {"v": 1, "verb": "delete", "request": "request-1", "reason": "retention", "keys": ["passage/2026-11-22"]}
    with ExitStack() as afterwards, pytest.raises(NotPermitted, match="may not delete"):
        serve(request, Peer(pid=1, uid=54321, name="staff"), load(config), afterwards)
