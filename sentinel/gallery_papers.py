"""Ask for the ledger entries that come before every change of the roster: without the entry, no change."""

import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sentinel import roster
from sentinel.control import ask_manual, raise_refused

PATIENCE_S = 12.0  # as for every act by hand, see sentinel/cli/act.py


def keep(socket: Path, config: Path, request: Mapping[str, Any]) -> None:
    """Let the manual one-shot keep the entry, in the gate or by itself.

    Raises: SentinelError when it could not be kept; then the roster must stay as it is.
    """
    raise_refused(ask_manual(socket, config, request, PATIENCE_S))


def consent_request(member: roster.Member, *, act: str, consent: str, model: str) -> dict[str, Any]:
    """Return the request that records a consent, or a removal, before the roster changes."""
    given = member.consent
    told = (
        {
            "by": str(given.by),
            "given_on": given.on.isoformat(),
            "purpose": given.purpose,
            "keep_picture": given.keep_picture,
        }
        if given is not None and act != "removed"
        else {}
    )
    return {
        "v": 1,
        "verb": "consent",
        "request": str(uuid.uuid4()),
        "person": member.token,
        "act": act,
        "consent": consent,
        "templates": len(member.templates),
        "model": model,
        **told,
    }


def template_request(
    member: roster.Member,
    templates: Iterable[roster.Template],
    *,
    act: str,
    reason: str,
    after: str | None = None,
) -> dict[str, Any]:
    """Return the request that records what becomes of templates; `member` is as it will be."""
    about = tuple(templates)
    others = {template.other for template in about if template.other}
    return {
        "v": 1,
        "verb": "template",
        "request": str(uuid.uuid4()),
        "person": member.token,
        "act": act,
        "reason": reason,
        "templates": len(about),
        "left": len(member.templates),
        "model": about[0].model if about else "",
        **({"other": min(others)} if others else {}),
        **({"after": after} if after else {}),
    }


def gallery_request(
    members: Iterable[roster.Member], *, act: str, pictures: int, sha256: str, signer: str
) -> dict[str, Any]:
    """Return the request that records an export or an import of these members."""
    moved = tuple(members)
    return {
        "v": 1,
        "verb": "gallery",
        "request": str(uuid.uuid4()),
        "act": act,
        "people": len(moved),
        "templates": sum(len(member.templates) + len(member.quarantined) for member in moved),
        "pictures": pictures,
        "sha256": sha256,
        "signer": signer,
    }
