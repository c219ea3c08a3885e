"""`sentinelctl faces check`: what a site's own faces prove, in words and figures, and nobody's name."""

import json

import numpy as np
import pytest
from cli_sample import passage, write_ledger

from sentinel import cli, roster, stepup
from sentinel.settings import load
from sentinel.site_evidence import Passed, follow_roster, passed_in, renew_step_up, templates_of
from sync.vault import Vault

MODEL = "m1"
NAME, NUMBER = "样本甲", "11010519491231002X"


@pytest.fixture
def check(config, capsys):
    def call(*argv):
        code = cli.main(["faces", "check", *argv, "--config", str(config), "--lang", "en", "--plain"])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def template(vector: np.ndarray, model: str = MODEL) -> roster.Template:
    unit = (vector / np.linalg.norm(vector)).astype("<f4")
    return roster.Template(model=model, vector=unit.tobytes(), consent="paper 1", made_at="2026-11-22T00:00:00+00:00")


def crowd(people: int, length: int = 96) -> dict[str, roster.Member]:
    """Return members with two templates each, of faces that are nothing but chance."""
    random = np.random.default_rng(3)
    members = {}
    for number in range(people):
        face = random.normal(size=length)
        token = f"{number:032x}"[::-1]
        pair = tuple(template(face + 0.5 * random.normal(size=length)) for _ in range(2))
        members[token] = roster.Member(token=token, name=NAME, number=NUMBER, templates=pair)
    return members


def published(tmp_path, members) -> None:
    vault = Vault.open(tmp_path / "secrets", create=True)
    roster.publish(tmp_path / "roster.db", members, vault)


def with_twin(members: dict[str, roster.Member]) -> dict[str, roster.Member]:
    one = next(iter(members.values()))
    return members | {"f" * 32: roster.Member(token="f" * 32, name=NAME, number=NUMBER, templates=one.templates)}


def test_without_templates_nothing_can_be_told(check, tmp_path):
    published(tmp_path, {})
    code, out, err = check()
    assert (code, out) == (69, "")
    assert "Nobody has a face template" in err


def test_a_small_site_is_told_how_much_is_missing(check, tmp_path):
    published(tmp_path, crowd(20))
    code, out, _ = check()
    assert code == 69
    assert "Too little evidence" in out
    assert "30 more people would tell" in out
    assert "Strangers taken for somebody" not in out


def test_a_site_with_evidence_gets_figures_with_bounds(check, tmp_path):
    published(tmp_path, crowd(150))
    code, out, _ = check("--json")
    told = json.loads(out)
    assert told["schema"] == "sentinel.faces/1"
    assert told["verdict"] != "too-little"
    assert told["false_match_rate"]["low"] <= told["false_match_rate"]["value"] <= told["false_match_rate"]["high"]
    assert code == {"proven": 0, "too-low": 65}.get(told["verdict"], 69)
    rates = [cost["false_match_rate"]["value"] for cost in told["costs"]]
    assert rates == sorted(rates, reverse=True)
    _, words, _ = check()
    assert "STRANGERS NAMED" in words
    assert "Strangers taken for somebody at" in words


def test_a_similarity_of_the_settings_that_is_too_low_ends_with_65_and_the_line_to_write(check, tmp_path, config):
    config.write_text(config.read_text() + "[face]\nsimilarity_one_to_many = 0.43\nfalse_match_rate = 0.0005\n")
    published(tmp_path, crowd(150, length=24))
    code, out, _ = check()
    assert code == 65
    assert "similarity_one_to_many = 0." in out


def test_twins_are_told_by_tokens_and_only_asked_for_their_card_when_somebody_says_so(check, tmp_path):
    members = with_twin(crowd(60))
    published(tmp_path, members)
    _, out, _ = check()
    first = next(iter(members))
    assert f"r:{first[:8]}" in out
    assert "r:ffffffff" in out
    assert "The same person twice, or twins" in out
    assert stepup.read(tmp_path / "alike.json").tokens == frozenset()
    check("--step-up", "-q")
    assert stepup.read(tmp_path / "alike.json").tokens == {first, "f" * 32}


def test_whoever_changes_the_roster_can_renew_the_list(check, tmp_path, config):
    members = with_twin(crowd(60))
    published(tmp_path, members)
    check("--step-up", "-q")
    said = (tmp_path / "alike.json").read_bytes()
    assert renew_step_up(members.values(), load(config)) == 2
    assert (tmp_path / "alike.json").read_bytes() == said, "as the check itself has it"


def test_a_changed_roster_renews_the_list_where_there_is_one_and_only_there(check, tmp_path, config):
    members = with_twin(crowd(60))
    settings = load(config)
    follow_roster(members.values(), settings)
    assert not settings.paths.alike.exists(), "nobody has asked for it at this site"
    published(tmp_path, crowd(60))
    check("--step-up", "-q")
    assert stepup.read(settings.paths.alike).tokens == frozenset()
    follow_roster(members.values(), settings)
    assert "f" * 32 in stepup.read(settings.paths.alike).tokens


def test_a_later_check_takes_off_the_list_who_is_alike_no_more(check, tmp_path):
    published(tmp_path, with_twin(crowd(60)))
    check("--step-up", "-q")
    published(tmp_path, crowd(60))
    check("--step-up", "-q")
    assert stepup.read(tmp_path / "alike.json").tokens == frozenset()


def test_nobody_is_named_and_no_template_is_shown(check, tmp_path):
    members = with_twin(crowd(60))
    published(tmp_path, members)
    for words in ((), ("--json",), ("--step-up",)):
        _, out, err = check(*words)
        assert NAME not in out + err
        assert NUMBER not in out + err
        assert not any(token in out for token in members), "tokens are shortened"


def test_templates_of_another_model_are_left_out_and_counted():
    members = crowd(3)
    odd = roster.Member(token="odd", name=NAME, number=NUMBER, templates=(template(np.ones(512), "m0"),))
    found = templates_of([*members.values(), odd])
    assert (found.model, found.elsewhere, len(found.people)) == (MODEL, 1, 3)


SEEN = {"face_model": MODEL, "similarity_required": 0.46}


def test_passages_tell_who_was_unknown_and_who_was_let_in_by_face():
    found = passed_in(
        [
            {**SEEN, "method": "none", "outcome": "hold", "similarity": 0.3},
            {**SEEN, "method": "none", "outcome": "hold", "similarity": 0.2, "nearest_similarity": 0.35},
            {**SEEN, "method": "face", "outcome": "open", "similarity": 0.7, "person": "p"},
            {**SEEN, "method": "card+face", "outcome": "open", "similarity": 0.5, "person": "p"},  # another question
            {**SEEN, "method": "none", "outcome": "hold", "similarity": 0.5, "person": "p"},  # known and blocked
            {**SEEN, "method": "none", "outcome": "hold", "similarity": 0.4, "face_model": "m0"},
            {"method": "none", "outcome": "hold"},
        ],
        MODEL,
    )
    assert found == Passed(unknown=(0.3, 0.35), opened=(0.7,))
    assert (found.lost_at(0.6), found.lost_at(0.8), Passed().lost_at(0.5)) == (0.0, 1.0, None)


def test_passages_of_the_ledger_are_weighed(check, tmp_path):
    published(tmp_path, crowd(60))
    near = [passage("hold", ("face-unknown",), None, **{**SEEN, "method": "none", "similarity": 0.45})] * 30
    write_ledger(tmp_path, near)
    _, out, _ = check("--json")
    told = json.loads(out)["near_misses"]
    assert (told["passages"], told["near"]["value"]) == (30, 1.0)
    assert told["surprising"]
    assert "more than strangers explain" in check()[1]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_both_languages_say_it(config, capsys, tmp_path, lang):
    published(tmp_path, with_twin(crowd(60)))
    assert cli.main(["faces", "check", "--config", str(config), "--lang", lang]) in (0, 65, 69)
    assert "0.4" in capsys.readouterr().out
