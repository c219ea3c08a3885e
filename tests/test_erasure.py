"""A deletion is recorded and signed first, then nothing opens any more; what is missing without one is a finding."""

import base64
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from sentinel.byhand import hand_act, signed_part
from sentinel.condition import Balance, Ledger, Process, Uplink, judge
from sentinel.core.errors import Unavailable, UsageError
from sentinel.core.keeping import Days
from sentinel.core.kinds import Deletion
from sentinel.erasure import Erasures, PartsCheck, carry_out, counted, deletions_due, owed, runs_of, survey, traces
from sentinel.i18n import has_text
from sync import schema
from sync.entry import Draft, Key, Stamp
from sync.errors import VaultError
from sync.identity import Believed, make_identity
from sync.ledger import LedgerReader, LedgerWriter
from sync.vault import Vault

DAYS = Days(passage=30, fault=60, audit=180)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TODAY = NOON.date()
TOKEN = "8c1e1234deadbeef8c1e1234deadbeef"


def stamp_of(moment: datetime, trusted: bool = True) -> Stamp:
    wall_ns = int(moment.timestamp()) * 1_000_000_000
    return Stamp(wall_ns=wall_ns, boot_ns=1, boot_id="boot", clock_trusted=trusted)


@pytest.fixture
def vault(tmp_path):
    return Vault.open(tmp_path / "secrets", create=True)


@pytest.fixture
def sign(tmp_path):
    ours = make_identity(tmp_path / "secrets" / "gate.key")
    return lambda payload: (ours.known.id, base64.b64encode(ours.sign("deletion", payload)).decode())


@pytest.fixture
def believed(tmp_path):
    return Believed([make_identity(tmp_path / "secrets" / "gate.key").known])


@pytest.fixture
def writer(tmp_path, vault):
    with LedgerWriter.open(tmp_path / "ledger.db", vault=vault, stamp=lambda: stamp_of(NOON)) as opened:
        yield opened


def add(writer, days_ago, kind="passage", person=TOKEN, trusted=True):
    moment = NOON - timedelta(days=days_ago) if trusted else datetime(1970, 1, 1, tzinfo=UTC)
    draft = Draft(kind=kind, version=1, body={"person": person}, personal={"name": f"{kind}-{days_ago}"})
    return writer.append(draft, 5.0, stamp=stamp_of(moment, trusted))


def survey_of(writer, vault, today=TODAY):
    with LedgerReader(writer.path) as reader:
        return survey(reader, vault.names(), DAYS, today, counted(reader))


def delete(writer, vault, sign, **said):
    request = {"verb": "delete", "request": "a-request-1", **said}
    act = hand_act(
        request, operator="staff", written_by="gate", lane="l", direction="in", token_of=vault.token, sign=sign
    )
    assert isinstance(act.entry, Deletion)
    kept = writer.append(Draft(kind="deletion", version=1, body=_body(act.entry)), 5.0)
    return kept, act.entry


def _body(deletion):
    from sentinel.core.kinds import body_of

    return body_of(deletion)


def parts_of(writer, verify):
    with LedgerReader(writer.path) as reader:
        check = PartsCheck(reader.newest(100, "deletion"), verify)
        assert reader.verify(check.look).ok, "a lawful deletion leaves the chain whole"
    return check.parts


def test_each_class_and_day_has_its_own_key_and_its_own_last_day(writer, vault):
    for days_ago, kind in ((0, "passage"), (31, "passage"), (31, "registration"), (31, "consent"), (181, "consent")):
        add(writer, days_ago, kind)
    rows = {row.name: (row.parts, row.until, row.due) for row in survey_of(writer, vault)}
    day = TODAY - timedelta(days=31)
    assert rows == {
        f"passage/{TODAY}": (1, TODAY + timedelta(days=30), False),
        f"passage/{day}": (1, TODAY - timedelta(days=1), True),
        f"registration/{day}": (1, TODAY - timedelta(days=1), True),
        f"consent/{day}": (1, day + timedelta(days=180), False),
        f"consent/{TODAY - timedelta(days=181)}": (1, TODAY - timedelta(days=1), True),
    }
    assert not any(row.due for row in survey_of(writer, vault, today=None)), "without a clock nothing is due"


def test_what_an_untrusted_clock_named_waits_for_a_start_that_knew_the_time(tmp_path, vault):
    path = tmp_path / "ledger.db"
    with LedgerWriter.open(path, vault=vault, stamp=lambda: stamp_of(NOON, trusted=False)) as lost:
        add(lost, 0, trusted=False)
        (row,) = survey_of(lost, vault, TODAY + timedelta(days=400))
        assert (row.day, row.until, row.due) == (None, None, False)
    with LedgerWriter.open(path, vault=vault, stamp=lambda: stamp_of(NOON)) as later:
        (row,) = survey_of(later, vault)
        assert (row.day, row.due) == (TODAY, False), "written at the latest when that start began"
        (row,) = survey_of(later, vault, TODAY + timedelta(days=31))
        assert row.due


def test_after_a_deletion_nothing_opens_and_no_file_holds_a_trace(tmp_path, writer, vault, sign, believed):
    old = [add(writer, 31), add(writer, 31, "registration"), add(writer, 40)]
    kept = add(writer, 3)
    due = [row for row in survey_of(writer, vault) if row.due]
    wrapped = vault.wrapped(row.name for row in due)
    assert len(wrapped) == 3 and traces(tmp_path / "secrets", wrapped.values())
    (said,) = deletions_due(due)
    entry, deletion = delete(writer, vault, sign, **said)
    assert (deletion.parts, deletion.total) == ({"passage": 2, "registration": 1}, 3)
    assert parts_of(writer, believed.verify).undone == 3, "recorded and not carried out is a finding"
    assert carry_out(writer, vault, deletion) == 3
    assert carry_out(writer, vault, deletion) == 0, "done twice it is still done"
    for part in old:
        with pytest.raises(VaultError, match="destroyed"):
            vault.unseal(part.personal_key, part.personal)
    assert vault.unseal(kept.personal_key, kept.personal) == {"name": "passage-3"}
    assert traces(tmp_path / "secrets", wrapped.values()) == []
    parts = parts_of(writer, believed.verify)
    assert (parts.present, parts.erased, parts.missing, parts.ok) == (1, 3, [], True)
    body = entry.data
    believed.verify("deletion", signed_part(body), body["signer"], base64.b64decode(body["signature"]))


def test_one_persons_parts_are_emptied_and_the_others_of_that_day_stay(tmp_path, writer, vault, sign, believed):
    mine, other = [add(writer, 0), add(writer, 1)], add(writer, 0, person="0" * 32)
    _, deletion = delete(
        writer, vault, sign, reason="person", person=TOKEN, keys=[f"template/{TOKEN}"],
        runs=runs_of(entry.key for entry in mine), parts={"passage": 2},
    )  # fmt: skip
    erasures = Erasures(vault, DAYS, stamp=lambda: stamp_of(NOON))
    erasures.add(deletion)
    erasures.tend(writer)
    with LedgerReader(writer.path) as reader:
        assert [part.key for part in reader.sealed_parts()] == [other.key]
    assert vault.unseal(other.personal_key, other.personal)
    assert traces(tmp_path, [entry.personal for entry in mine], ("ledger.db", "ledger.db-wal")) == []
    parts = parts_of(writer, believed.verify)
    assert (parts.present, parts.erased, parts.ok) == (1, 2, True)


def test_a_part_that_is_missing_without_a_deletion_or_with_a_forged_one_is_found(writer, vault, sign, believed):
    gone = add(writer, 31)
    writer.empty([gone.key])
    assert parts_of(writer, believed.verify).missing == [
        f"{gone.key}: its personal part is missing and no deletion names it"
    ]
    forged = Deletion(
        request="x", operator="x", reason="retention", keys=(gone.personal_key,), parts={}, total=0,
        signer=next(iter(believed)).id, signature=base64.b64encode(bytes(64)).decode(),
    )  # fmt: skip
    writer.append(Draft(kind="deletion", version=1, body=_body(forged)), 5.0)
    found = parts_of(writer, believed.verify)
    assert len(found.missing) == 2 and "does not fit" in found.missing[0]
    delete(writer, vault, sign, reason="retention", keys=[gone.personal_key], parts={"passage": 1})
    assert len(parts_of(writer, believed.verify).missing) == 1, "only the forgery is left to be explained"
    assert parts_of(writer, None).missing == []


def test_the_gate_deletes_by_itself_only_where_the_settings_say_so(writer, vault, sign, believed):
    add(writer, 31)
    add(writer, 2)
    now = [stamp_of(NOON)]
    for automatic in (False, True):
        erasures = Erasures(vault, DAYS, automatic=automatic, sign=sign, stamp=lambda: now[0])
        erasures.tend(writer)
        assert erasures.due == 1
        with LedgerReader(writer.path) as reader:
            assert len(reader.newest(10, "deletion")) == int(automatic)
    erasures.tend(writer)
    assert erasures.due == 0, "told as long as it is there"
    parts = parts_of(writer, believed.verify)
    assert (parts.present, parts.erased, parts.ok) == (1, 1, True)


def test_an_untrusted_clock_makes_nothing_due(writer, vault, sign):
    add(writer, 31)
    leapt = replace(stamp_of(NOON + timedelta(days=9000)), clock_trusted=False)
    erasures = Erasures(vault, DAYS, automatic=True, sign=sign, stamp=lambda: leapt)
    erasures.tend(writer)
    assert erasures.due == 0
    assert len(vault.names()) == 1


def test_a_clock_that_has_just_leapt_finds_nothing_due(writer, vault, sign):
    add(writer, 3)
    erasures = Erasures(vault, DAYS, automatic=True, sign=sign, stamp=lambda: stamp_of(NOON + timedelta(days=9000)))
    erasures.tend(writer)
    assert (erasures.due, len(vault.names())) == (0, 1), "no entry says that years have passed"


def test_a_large_deletion_is_told_in_several_entries(writer, vault):
    row = survey_of(writer, vault)
    assert row == []
    add(writer, 31)
    (row,) = survey_of(writer, vault)
    rows = [replace(row, name=f"passage/{date(2020, 1, 1) + timedelta(days=n)}", parts=2) for n in range(900)]
    said = list(deletions_due(rows))
    assert [len(one["keys"]) for one in said] == [400, 400, 100]
    assert sum(sum(one["parts"].values()) for one in said) == 1800


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"reason": "retention"},
        {"reason": "because", "keys": ["passage/2026-11-22"]},
        {"reason": "retention", "keys": ["../../device.key"]},
        {"reason": "retention", "keys": "passage/2026-11-22"},
        {"reason": "retention", "keys": [5]},
        {"reason": "person", "runs": [["0000000100abcdef", 5, 4]]},
        {"reason": "person", "runs": [["xyz", 1, 4]]},
        {"reason": "person", "runs": [[1, 2]]},
        {"reason": "retention", "keys": ["passage/2026-11-22"], "parts": {"passage": -1}},
        {"reason": "person", "keys": ["passage/2026-11-22"], "person": "somebody"},
    ],
)
def test_a_deletion_that_is_not_said_right_is_refused(said, sign):
    request = {"verb": "delete", "request": "a-request-1", **said}
    known = {"operator": "x", "written_by": "gate", "lane": "l", "direction": "in", "token_of": None}
    with pytest.raises(UsageError):
        hand_act(request, **known, sign=sign)


def test_without_a_vault_nothing_is_recorded_as_deleted():
    request = {"verb": "delete", "request": "a-request-1", "reason": "retention", "keys": ["passage/2026-11-22"]}
    with pytest.raises(Unavailable, match="nothing can be deleted"):
        hand_act(request, operator="x", written_by="one-shot", lane="l", direction="in", token_of=None)


def test_keys_become_runs():
    assert runs_of([Key(1, 3), Key(1, 1), Key(1, 2), Key(2, 3)]) == [
        ["0000000000000001", 1, 3],
        ["0000000000000002", 3, 3],
    ]


def test_emptying_leaves_no_old_bytes_in_the_file_and_says_whether_the_log_is_cut(tmp_path, writer):
    entry = add(writer, 0)
    with closing(schema.connect(writer.path, "ro")) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM entries").fetchone()
        assert writer.empty([entry.key]) == 1
        assert not writer.checkpoint(emptied=True), "a reader stands in the log"
    assert writer.checkpoint(emptied=True)
    assert traces(tmp_path, [entry.personal], ("ledger.db*",)) == []


def test_a_vault_from_before_a_deletion_owes_its_keys_again(writer, vault, sign):
    old = add(writer, 31)
    entry, deletion = delete(
        writer, vault, sign, reason="retention", keys=[old.personal_key, f"template/{TOKEN}"], parts={"passage": 1}
    )
    vault.sealer([f"template/{TOKEN}"])
    assert owed([entry], vault.names()) == {old.personal_key}, "who was enrolled again keeps the new key"
    carry_out(writer, vault, deletion)
    assert owed([entry], vault.names()) == set()


def test_what_is_due_is_a_finding_with_words_and_a_next_step():
    found = judge(Process(alive=True, mode="automatic", due=3), Uplink(state="connected"), Balance(known=True),
                  Ledger(readable=True))  # fmt: skip
    (finding,) = found
    assert (finding.id, finding.severity, finding.subject) == ("retention-due", "warning", "3")
    assert has_text("status.finding.retention-due") and has_text("status.next.retention-due")
