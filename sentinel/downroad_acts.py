"""Apply what the street has signed: a roster, a policy, a command; each says what it did, or why it did not."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from drivers.readings import Leaf
from sentinel import street_policy, street_roster
from sentinel.core.citizen import tidy_number
from sentinel.core.kinds import Consent, Report, Revocation
from sentinel.core.street_kinds import COMMAND_ACTS
from sentinel.keeper import Kept
from sentinel.settings import Settings
from sentinel.street_orders import Told
from sync.entry import epoch_text
from sync.snapshot import Document, DocumentRefused, Refusal, Type
from sync.vault import Vault

log = logging.getLogger(__name__)

OPERATOR = "street"
LONGEST_LIFE = timedelta(seconds=60)  # of a command to open: who stood there a minute ago may have left
_PASS_ID_DIGITS = 16


class Ask(Protocol):
    """Have an entry kept, once by its request."""

    def __call__(self, entry: Told, request: str | None) -> Kept: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was done with a document: what its entry tells, and the leaf that opens with it."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    opens: Leaf | None = None


class Acts:
    """What the street may do at this gate, and nothing else."""

    def __init__(
        self,
        *,
        settings: Settings,
        vault: Vault,
        epoch: Callable[[], int | None],
        clock_trusted: Callable[[], bool],
        report: Callable[[], Report],
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings, self._vault, self._epoch = settings, vault, epoch
        self._roster = settings.paths.roster
        self._clock_trusted, self._report, self._utc_now = clock_trusted, report, utc_now

    def apply(self, document: Document, content: bytes, newest: Mapping[Type, int], ask: Ask) -> Applied:
        """Do what the document says.

        Raises: DocumentRefused when it is not to be done. SentinelError, SyncError, OSError when it cannot be done now.
        """
        if document.base is not None and document.base != newest.get(document.type, 0):
            have = newest.get(document.type, 0)
            raise DocumentRefused(
                Refusal.WRONG_BASE, f"a change of {document.base}, and {have} is here; publish the whole", document
            )
        if document.type is Type.ROSTER:
            return self._take_roster(document, content, ask)
        if document.type is Type.COMMAND:
            return self._obey(document, content, ask)
        return self._take_policy(document, content)

    # -- the roster ---------------------------------------------------------------------------------------------------

    def _take_roster(self, document: Document, content: bytes, ask: Ask) -> Applied:
        try:
            said = street_roster.parse(content, self._vault.token, whole=document.base is None)
        except ValueError as error:
            raise _not_understood(document, str(error)) from error

        def record(leaver: street_roster.Leaver) -> None:
            removal = Consent(
                request=f"street-roster-{document.serial}-{leaver.token[:16]}",
                person=leaver.token,
                act="removed",
                consent=f"roster {document.serial} of the street",
                operator=OPERATOR,
                templates=leaver.templates,
                model="",
            )
            ask(removal, removal.request)

        counts = street_roster.merge(self._roster, said, self._vault, record)
        return Applied(
            facts={
                "base": document.base,
                "people": counts.people,
                "added": counts.added,
                "changed": counts.changed,
                "removed": counts.removed,
            }
        )

    # -- the policy ---------------------------------------------------------------------------------------------------

    def _take_policy(self, document: Document, content: bytes) -> Applied:
        try:
            fitted = street_policy.parse(content, self._settings)
        except ValueError as error:
            raise _not_understood(document, str(error)) from error
        policy = street_policy.Kept(serial=document.serial, settings=fitted)
        street_policy.keep(self._settings.paths.policy, policy)
        return Applied(facts={"settings": tuple(sorted(fitted))})

    # -- commands -----------------------------------------------------------------------------------------------------

    def _obey(self, document: Document, content: bytes, ask: Ask) -> Applied:
        told = _object(document, content)
        act = told.get("act")
        if act == "open":
            return self._open(document, told)
        if act == "revoke":
            return self._revoke(document, told, ask)
        if act == "report":
            ask(self._report(), f"street-report-{document.serial}")
            return Applied(facts={"act": "report"})
        if act in COMMAND_ACTS:
            why = "the mode follows from what works, see sentinel/core/health.py; nobody sets it"
            raise DocumentRefused(Refusal.NOT_POSSIBLE, why, document)
        raise _not_understood(document, f"a command is one of {', '.join(COMMAND_ACTS)}")

    def _open(self, document: Document, told: Mapping[str, Any]) -> Applied:
        """Let it open when it is for this very start of the gate, and for this minute."""
        if told.get("leaf", "in") not in tuple(Leaf) or document.expires is None:
            raise _not_understood(document, "a command to open names a leaf, and when it ends")
        if document.expires - document.made_at > LONGEST_LIFE:
            raise _not_understood(document, f"a command to open lives at most {LONGEST_LIFE.seconds} s")
        epoch = self._epoch()
        if epoch is None or told.get("epoch") != epoch_text(epoch):
            raise DocumentRefused(Refusal.OTHER_START, "a command for another start of this gate; ask again", document)
        if not self._clock_trusted():
            raise DocumentRefused(Refusal.CLOCK_UNTRUSTED, "nobody can tell whether it still holds", document)
        if not self._utc_now() < document.expires:
            raise DocumentRefused(Refusal.EXPIRED, "the command came too late", document)
        leaf = Leaf(told.get("leaf", "in"))
        return Applied(facts={"act": "open", "leaf": leaf}, opens=leaf)

    def _revoke(self, document: Document, told: Mapping[str, Any], ask: Ask) -> Applied:
        pass_id, number = told.get("pass_id"), told.get("number")
        if isinstance(number, str) and number and pass_id is None:
            token = self._vault.token(tidy_number(number))
            street_roster.block(self._roster, token, self._vault)  # first: a gate that dies now does it again
            return Applied(facts={"act": "revoke", "person": token})
        if not isinstance(pass_id, str) or number is not None or not _is_pass_id(pass_id):
            raise _not_understood(document, "a revocation names a pass_id (16 hexadecimal digits) or a number")
        request = f"street-revocation-{document.serial}"
        ask(Revocation(request=request, operator=OPERATOR, reason="other", pass_id=pass_id), request)
        return Applied(facts={"act": "revoke", "pass_id": pass_id})


def _is_pass_id(text: str) -> bool:
    return len(text) == _PASS_ID_DIGITS and all(digit in "0123456789abcdef" for digit in text)


def _object(document: Document, content: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise _not_understood(document, "expected a JSON object")
    return told


def _not_understood(document: Document, why: str) -> DocumentRefused:
    message = f"{document.type} {document.serial}: {why}; publish it anew"
    return DocumentRefused(Refusal.NOT_UNDERSTOOD, message, document)
