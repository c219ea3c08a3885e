"""`sentinelctl` as a person calls it: data on standard output, the story on standard error, documented exit codes."""

import argparse
import json
import os
import sqlite3
import subprocess
import sys

import pytest
from cli_sample import NOW_NS, passage, write_ledger

from sentinel import cli
from sentinel.byhand import REASONS
from sentinel.cli.records import since
from sentinel.core.errors import UsageError
from sentinel.i18n import has_text
from sync.entry import Draft


@pytest.fixture
def ctl(config, capsys):
    def call(*argv):
        code = cli.main([*argv, "--config", str(config), "--lang", "en"])
        out, err = capsys.readouterr()
        return code, out, err

    return call


SECRET = Draft(
    kind="registration", version=1, request="r1", personal={"name": "样本甲", "number": "11010519491231002X"},
    body={"request": "r1", "operator": "s", "reason": "visitor", "opened": True, "lane": "lane-1", "direction": "in",
          "written_by": "gate"},
)  # fmt: skip


def test_status_of_a_dead_gate_ends_with_3_and_shows_the_files(ctl, tmp_path):
    write_ledger(tmp_path, [passage()])
    code, out, _ = ctl("show", "status")
    assert code == 3
    assert "not running; showing what is on disk" in out.splitlines()[0]
    assert "3 entries" in out


def test_quiet_status_is_a_monitoring_plugin(ctl, tmp_path):
    write_ledger(tmp_path, [passage()])
    assert ctl("show", "status", "-q") == (3, "", "")


def test_json_is_exactly_one_document(ctl, tmp_path):
    write_ledger(tmp_path, [passage()])
    for verb in (("show", "status"), ("list", "records"), ("show", "config"), ("check", "config"), ("check", "ledger")):
        _, out, err = ctl("--json", *verb)
        assert json.loads(out)["schema"].startswith("sentinel.")
        assert err == ""


def test_an_option_counts_before_and_after_the_verb(ctl, tmp_path):
    write_ledger(tmp_path, [passage()])
    assert ctl("--json", "list", "records")[1] == ctl("list", "records", "--json")[1] != ctl("list", "records")[1]


def test_records_are_the_newest_with_the_newest_last(ctl, tmp_path):
    write_ledger(tmp_path, [passage("open"), passage("hold", ("face-unknown",)), passage("open")])
    _, out, _ = ctl("list", "records", "--limit", "2", "--json")
    records = json.loads(out)["records"]
    assert [record["kind"] for record in records] == ["passage", "stop"]
    _, out, _ = ctl("list", "records", "--outcome", "hold", "--json")
    assert [record["body"]["outcome"] for record in json.loads(out)["records"]] == ["hold"]


def test_records_are_found_beyond_the_first_look(ctl, tmp_path):
    write_ledger(tmp_path, [passage("hold", ("face-unknown",)), *[passage() for _ in range(230)]])
    _, out, _ = ctl("list", "records", "--outcome", "hold", "--json")
    assert len(json.loads(out)["records"]) == 1


def test_records_of_one_person_are_found_by_what_the_list_shows(ctl, tmp_path):
    write_ledger(tmp_path, [passage(person="a" * 32), passage(person="b" * 32)])
    _, out, _ = ctl("list", "records", "--person", "r:aaaaaaaa")
    assert out.count("r:aaaaaaaa") == 1
    assert "r:bbbbbbbb" not in out


def test_no_record_is_no_error(ctl, tmp_path):
    write_ledger(tmp_path, [passage()])
    code, out, err = ctl("list", "records", "--outcome", "refuse")
    assert (code, out) == (0, "")
    assert "no record" in err


@pytest.mark.parametrize(
    ("when", "ns"),
    [("2h", NOW_NS - 7200 * 10**9), ("30min", NOW_NS - 1800 * 10**9), ("2026-11-22T14:00", NOW_NS - 1918 * 10**9)],
)
def test_since_is_a_span_or_a_local_time(when, ns):
    assert since(when, NOW_NS) == ns


def test_since_nonsense_is_a_usage_error():
    with pytest.raises(UsageError, match="2h"):
        since("yesterday", NOW_NS)


def test_a_record_keeps_its_personal_part_closed(ctl, tmp_path):
    entry = write_ledger(tmp_path, [SECRET])[0]
    code, out, err = ctl("show", "record", str(entry.key))
    assert code == 0
    assert "样本甲" not in out + err
    assert "sealed" in out


def test_reveal_opens_it_and_says_so_on_standard_error(ctl, tmp_path):
    entry = write_ledger(tmp_path, [SECRET])[0]
    code, out, err = ctl("show", "record", str(entry.key), "--reveal", "--json")
    assert code == 0
    assert json.loads(out)["personal"]["content"]["name"] == "样本甲"
    assert "personal data" in err


def test_reveal_without_secrets_fails_with_one_line(ctl, tmp_path):
    entry = write_ledger(tmp_path, [SECRET])[0]
    (tmp_path / "secrets").rename(tmp_path / "elsewhere")
    code, out, err = ctl("show", "record", str(entry.key), "--reveal")
    assert code == 65
    assert out == ""
    assert err.splitlines()[-1].startswith("sentinelctl: ")


@pytest.mark.parametrize("key", ["nonsense", "00000001000000ff-999"])
def test_no_such_record_is_told_with_the_next_thing_to_try(ctl, tmp_path, key):
    write_ledger(tmp_path, [passage()])
    code, _, err = ctl("show", "record", key)
    assert code == 64
    assert "list records" in err


def test_check_ledger_verifies_every_entry(ctl, tmp_path):
    write_ledger(tmp_path, [passage()])
    code, out, _ = ctl("check", "ledger")
    assert code == 0
    assert "3 entries verified" in out


def test_check_ledger_names_a_break_and_ends_with_65(ctl, tmp_path):
    write_ledger(tmp_path, [passage(), passage()])
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE entries SET wall_ns = wall_ns + 1 WHERE seq = 2")
    code, out, _ = ctl("check", "ledger", "--json")
    assert code == 65
    assert "-2:" in json.loads(out)["chain"]["breaks"][0]


def test_two_devices_on_one_port_by_two_names_are_a_mistake(ctl, config, tmp_path):
    """A link and what it leads to are one port; the settings alone cannot know."""
    line, link = tmp_path / "line", tmp_path / "by-id"
    line.touch()
    link.symlink_to(line)
    text = config.read_text().replace("/dev/ttyS3", str(line)).replace("/dev/ttyS4", str(link))
    config.write_text(text)
    code, _, err = ctl("check", "config")
    assert code == 78
    assert "[card] and [thermal] name the same device" in err


def test_check_config_is_ok_or_one_line_a_mistake(ctl, config):
    assert ctl("check", "config") == (0, "ok\n", "")
    config.write_text(config.read_text().replace("relay = 17", "relais = 17").replace("limit_celsius = 37.3", ""))
    code, out, err = ctl("check", "config")
    assert (code, out) == (78, "")
    assert "relais" in err
    assert "limit_celsius" in err
    assert len(err.splitlines()) >= 2


def test_wrong_settings_end_any_verb_with_78(ctl, config):
    config.write_text("[gate]\n")
    code, out, err = ctl("show", "status", "--json")
    assert code == 78
    assert json.loads(out)["exit_code"] == 78
    assert all(line.startswith("sentinelctl: ") for line in err.splitlines())


def test_show_contract_prints_the_document_and_the_schemas_without_a_gate(ctl, config):
    config.unlink()
    code, out, _ = ctl("show", "contract")
    assert (code, json.loads(out)["asyncapi"]) == (0, "3.0.0")
    code, out, _ = ctl("show", "contract", "--schema")
    assert (code, "passage.v1" in json.loads(out)["$defs"]) == (0, True)
    assert ctl("show", "contract", "-q") == (0, "", "")


def test_show_config_tells_where_each_value_came_from(ctl):
    code, out, _ = ctl("show", "config", "--json")
    assert code == 0
    origin = {(row["table"], row["key"]): row["origin"] for row in json.loads(out)["settings"]}
    assert origin["temperature", "limit_celsius"] == "file"
    assert origin["barrier", "pulse_s"] == "default"


@pytest.mark.parametrize(
    "argv", [[], ["show"], ["show", "nothing"], ["list", "records", "--limt", "3"], ["list", "records", "--limit", "0"]]
)
def test_a_wrong_call_ends_with_64_and_one_line(ctl, argv):
    code, out, err = ctl(*argv)
    assert (code, out) == (64, "")
    assert len(err.splitlines()) == 1
    assert "; " in err


def test_a_missing_ledger_is_one_line_without_traceback(ctl):
    code, _, err = ctl("list", "records")
    assert code == 70
    assert err.count("\n") == 1


NUMBER = "11010519491231002X"


@pytest.mark.parametrize(
    ("environ", "typed"),
    [
        ({"LC_ALL": "C.UTF-8"}, f"{NUMBER}\n样本甲\n".encode("gbk")),
        ({"LC_ALL": "C"}, f"{NUMBER}\n样本甲\n".encode("gbk")),
        ({"PYTHONIOENCODING": "utf-8:surrogateescape"}, f"{NUMBER}\n样本甲\n".encode("gbk")),
        ({"PYTHONIOENCODING": "ascii:surrogateescape"}, f"{NUMBER}\n样本甲\n".encode()),
        ({"PYTHONIOENCODING": "utf-8:strict"}, f"样{NUMBER}\n样本甲\n".encode("gbk")),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_is_typed_in_another_encoding_is_refused_and_not_shown(config, environ, typed, options):
    command = [sys.executable, "-m", "sentinel.cli", *options, "register", "--reason", "forgot-card"]
    environ = {**os.environ, "SENTINEL_CONFIG": str(config), **environ}
    done = subprocess.run(command, input=typed, capture_output=True, env=environ, check=False, timeout=30)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 64, said
    assert "is not UTF-8; set the terminal to UTF-8" in said
    assert NUMBER not in said
    assert "Traceback" not in said


def test_a_surprise_is_told_by_its_type_alone(capsys):
    code = cli._failed(KeyError(NUMBER), as_json=True)
    out, err = capsys.readouterr()
    assert code == 70
    assert NUMBER not in out + err
    assert "a fault of ours, KeyError; report it" in err
    assert json.loads(out)["error"] == err.removeprefix("sentinelctl: ").strip()


def every_verb(parser, path=()):
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield path, parser
    for action in nested:
        for name, child in action.choices.items():
            yield from every_verb(child, (*path, name))


@pytest.mark.parametrize(("path", "parser"), list(every_verb(cli.build_parser())), ids=lambda value: "-".join(value)
                         if isinstance(value, tuple) else "")  # fmt: skip
def test_every_verb_has_a_sentence_an_example_and_exit_codes(path, parser):
    page = parser.format_help()
    assert parser.description
    assert f"sentinelctl {' '.join(path)}" in page
    assert "example:" in page
    assert "exit codes:" in page
    assert "--json" in page
    assert callable(parser.get_default("run"))


def test_the_table_of_families_names_every_verb():
    verbs = {path[0] for path, _ in every_verb(cli.build_parser())}
    assert verbs == {verb for verbs in cli.FAMILIES.values() for verb in verbs}


@pytest.mark.parametrize(
    ("argv", "families"),
    [
        (["show", "status"], ("show",)),
        (["--config", "list", "show", "config"], ("show", "records")),  # a value may look like a verb
        (["--help"], tuple(cli.FAMILIES)),
        (["frobnicate"], tuple(cli.FAMILIES)),
    ],
)
def test_only_the_families_asked_for_are_loaded(argv, families):
    assert cli.asked_families(argv) == families


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_of_a_registration_has_words(reason):
    assert has_text(f"status.code.{reason}") or has_text(f"reason.{reason}")


def test_sentinelctl_loads_nothing_heavy(config):
    script = (
        "import sys; from sentinel import cli; cli.build_parser(); cli.main(['show', 'status', '-q']); "
        "print(sorted({'numpy', 'cv2', 'onnxruntime', 'paho', 'starlette', 'sqlite_utils'} & set(sys.modules)))"
    )
    environ = {**os.environ, "SENTINEL_CONFIG": str(config)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environ, check=True)
    assert done.stdout.strip() == "[]"
