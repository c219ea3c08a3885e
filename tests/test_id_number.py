"""An ID number leaves as a keyed token, or sealed so that the street opens it and nobody else; never in the clear."""

import base64
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from drivers.readings import CardKind, CardReading
from sentinel.byhand import hand_act
from sentinel.core.errors import ConfigError
from sentinel.core.kinds import body_of
from sentinel.core.model import Attempt, Decision, Method, Outcome, Person, Reason
from sentinel.keyroom import number_sealer
from sentinel.record import Place, passage_of
from sentinel.settings import load
from sentinel.street_policy import Kept, keep, overlaid, parse
from sync.entry import canonical
from sync.errors import IdentityError
from sync.identity import make_identity

EXAMPLE = Path(__file__).resolve().parents[1].joinpath("config/gate.toml").read_text(encoding="utf-8")
NUMBER = "11010519491231002X"
TOKEN = "8c1e1234deadbeef8c1e1234deadbeef"
PLACE = Place(lane="lane-1", direction="in", temperature_limit_celsius=37.3)
PERSON = Person(token=TOKEN, name="样本甲", number=NUMBER)
CARD = CardReading(
    at_mono=1.0, kind=CardKind.RESIDENT, number=NUMBER, number_ok=True, name="样本甲", valid_from=date(2020, 1, 1),
    valid_until=date(2040, 1, 1),
)  # fmt: skip


@pytest.fixture
def street(tmp_path):
    identity = make_identity(tmp_path / "street.key")
    (tmp_path / "street.pub").write_text(identity.known.text())
    return identity


def settings_of(folder: Path, wanted: str):
    text = EXAMPLE.replace('# street_keys = ""', f'street_keys = "{folder / "street.pub"}"')
    (folder / "gate.toml").write_text(text.replace('# id_number = "token"', f'id_number = "{wanted}"'))
    return load(folder / "gate.toml")


def bodies(seal) -> list[dict]:
    """Return what is sent of a passage by card, of one by face, and of a registration by hand."""
    decision = Decision(outcome=Outcome.OPEN, method=Method.FACE, reasons=(Reason.ACCEPTED,), person=PERSON)
    card = Attempt(started_mono=1.0, closed_mono=2.0, card=CARD)
    face = Attempt(started_mono=1.0, closed_mono=2.0)
    request = {"verb": "register", "request": "request-1", "reason": "visitor", "document": "id-card",
               "number": NUMBER, "name": "样本甲"}  # fmt: skip
    act = hand_act(
        request, operator="s", written_by="gate", lane="l", direction="in", token_of=lambda _: TOKEN, seal_number=seal
    )
    passages = [passage_of(attempt, decision, PLACE, "automatic", 2.0, seal) for attempt in (card, face)]
    return [body_of(entry) for entry in (*passages, act.entry)]


def test_with_token_no_byte_of_the_number_is_in_any_body(tmp_path, street):
    assert number_sealer(settings_of(tmp_path, "token")) is None
    for body in bodies(None):
        assert body["person"] == TOKEN
        assert "person_sealed" not in body
        assert NUMBER.encode() not in canonical(body)


def test_sealed_opens_for_the_street_and_for_nobody_else(tmp_path, street):
    seal = number_sealer(settings_of(tmp_path, "sealed"))
    other = make_identity(tmp_path / "other.key")
    for body in bodies(seal):
        assert NUMBER.encode() not in canonical(body)
        sealed = base64.b64decode(body["person_sealed"], validate=True)
        assert street.unseal("id-number", sealed) == NUMBER.encode()
        for identity, purpose in ((other, "id-number"), (street, "stick")):
            with pytest.raises(IdentityError):
                identity.unseal(purpose, sealed)


def test_a_request_that_is_repeated_is_the_same_act_though_sealing_never_gives_the_same_bytes(tmp_path, street):
    seal = number_sealer(settings_of(tmp_path, "sealed"))
    request = {"verb": "register", "request": "request-1", "reason": "visitor", "document": "id-card",
               "number": NUMBER, "name": "样本甲"}  # fmt: skip
    known = {"operator": "s", "written_by": "gate", "lane": "l", "direction": "in", "token_of": lambda _: TOKEN}
    first, again = (hand_act(request, **known, seal_number=seal) for _ in range(2))
    assert first.entry.person_sealed != again.entry.person_sealed
    assert first.is_same_as(again.entry)
    other = hand_act({**request, "reason": "delivery"}, **known, seal_number=seal)
    assert not first.is_same_as(other.entry)


def test_a_person_whom_nobody_knows_has_nothing_to_seal(tmp_path, street):
    seal = number_sealer(settings_of(tmp_path, "sealed"))
    stranger = Decision(outcome=Outcome.HOLD, method=Method.FACE, reasons=(Reason.FACE_UNKNOWN,), person=None)
    body = body_of(passage_of(Attempt(started_mono=1.0, closed_mono=2.0), stranger, PLACE, "automatic", 2.0, seal))
    assert "person_sealed" not in body


def test_keys_of_the_street_that_cannot_be_read_cost_the_number_and_not_the_entry(tmp_path, street):
    settings = settings_of(tmp_path, "sealed")
    (tmp_path / "street.pub").write_text("nonsense")
    assert number_sealer(settings) is None
    assert all("person_sealed" not in body for body in bodies(None))


def test_the_streets_policy_can_ask_for_the_number(tmp_path, street):
    settings = settings_of(tmp_path, "token")
    settings = replace(settings, paths=replace(settings.paths, state_dir=tmp_path))
    policy = parse(b'{"id_number": "sealed"}', settings)
    keep(settings.paths.policy, Kept(serial=1, settings=policy))
    for body in bodies(number_sealer(overlaid(settings))):
        sealed = base64.b64decode(body["person_sealed"], validate=True)
        assert street.unseal("id-number", sealed) == NUMBER.encode()
    with pytest.raises(ValueError, match="id_number"):
        parse(b'{"id_number": "plain"}', settings)


def test_sealed_for_nobody_is_a_mistake(tmp_path):
    (tmp_path / "gate.toml").write_text(EXAMPLE.replace('# id_number = "token"', 'id_number = "sealed"'))
    with pytest.raises(ConfigError, match="add street_keys"):
        load(tmp_path / "gate.toml")
