"""Prove a deletion: remember what was there, and afterwards try to open it and look for what is left of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sentinel.core.errors import DataError

_MOST_SAMPLES = 5000  # of ciphertexts that are tried again afterwards


@dataclass(slots=True)
class Proof:
    """What was there before a deletion, to be looked for afterwards."""

    wanted: Callable[[Any], bool]
    wrapped: dict[str, bytes] = field(default_factory=dict)
    parts: list[tuple[str, bytes]] = field(default_factory=list, repr=False)
    keys_die: bool = True

    @classmethod
    def before(
        cls, office: Any, names: Iterable[str], wanted: Callable[[Any], bool], *, keys_die: bool = True
    ) -> "Proof":
        """Remember the wrapped keys and the ciphertexts."""
        proof = cls(wanted, office.vault.wrapped(names), keys_die=keys_die)
        for part in office.reader.sealed_parts():
            if wanted(part) and len(proof.parts) < _MOST_SAMPLES:
                proof.parts.append((part.personal_key, part.personal))
        return proof

    def left(self, office: Any) -> bool:
        """Tell whether any of the parts is still in the ledger."""
        return any(self.wanted(part) for part in office.reader.sealed_parts())

    def after(self, office: Any) -> None:
        """Try everything that was there, and look for what is left of it.

        Raises: DataError when anything opens, or a trace is in the files of the vault or the ledger.
        """
        from sentinel.erasure import traces

        opened = sum(_opens(office.vault, *part) for part in self.parts) if self.keys_die else 0
        folder = office.settings.paths.secrets_dir
        found = traces(folder, self.wrapped.values())
        if not self.keys_die:
            ledger = office.settings.paths.ledger
            found += traces(ledger.parent, [part for _, part in self.parts], (ledger.name, f"{ledger.name}-wal"))
        if opened or found:
            raise DataError(
                f"{opened} parts still open and {', '.join(found) or 'no file'} holds a trace; run it again, and if it "
                "stays so, keep the disk and ask us"
            )
        office.tell("proved" if self.keys_die else "proved-parts", parts=len(self.parts), keys=len(self.wrapped))


def _opens(vault: Any, name: str, part: bytes) -> bool:
    from sync.errors import VaultError

    try:
        vault.unseal_bytes(name, part)
    except VaultError:
        return False
    return True
