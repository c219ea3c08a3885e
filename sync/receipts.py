"""Believe receipts: only this gate's, and only those that the street has signed where its keys are known.

A signature stands in the user properties `signer` and `signature` (base64) over the payload as it travelled. What was
believed is kept as it came (a `Proof`), so that whoever drops entries need not trust the process that keeps the cursor.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from sync.cursor import Proof, Span
from sync.entry import Key
from sync.errors import IdentityError, WireError
from sync.runs import Run, Runs
from sync.topics import Gate
from sync.wire import EpochReceipt, Receipt, decode_receipt

if TYPE_CHECKING:  # an uplink without the street's keys does without the library that checks them, and its 8 MB
    from sync.identity import Believed, Identity

PURPOSE = "receipt"
SIGNER, SIGNATURE = "signer", "signature"


class Signed(Protocol):
    """A message as it came."""

    @property
    def payload(self) -> bytes: ...
    @property
    def properties(self) -> Sequence[tuple[str, str]]: ...


def signed_properties(payload: bytes, street: "Identity") -> tuple[tuple[str, str], ...]:
    """Return the user properties that make a receipt the street's own word."""
    signature = base64.b64encode(street.sign(PURPOSE, payload)).decode()
    return ((SIGNER, street.known.id), (SIGNATURE, signature))


def believe(message: Signed, gate: Gate, street: "Believed | None") -> tuple[Receipt, list[Proof]]:
    """Return the receipt in a message, and its proofs, one for each epoch, when the street's keys are known.

    Raises: WireError when it is no receipt or another gate's, IdentityError when the street did not sign it.
    """
    said = dict(message.properties)
    signer, signature = said.get(SIGNER, ""), _signature(said)
    if street is not None:
        street.verify(PURPOSE, message.payload, signer, signature)
    receipt = decode_receipt(message.payload)
    if receipt.gate != str(gate):
        raise WireError("it names another gate")
    proved = receipt.epochs if street is not None else ()
    return receipt, [
        Proof(epoch=one.epoch, upto=one.upto, payload=message.payload, signer=signer, signature=signature)
        for one in proved
    ]


def _signature(said: Mapping[str, str]) -> bytes:
    try:
        return base64.b64decode(said.get(SIGNATURE, ""), validate=True)
    except (binascii.Error, ValueError):
        return b""


def runs_of(said: EpochReceipt) -> list[Run]:
    """Return everything that a receipt says of an epoch, as runs."""
    return [Run(1, said.upto), *said.also] if said.upto else list(said.also)


def runs_within(said: EpochReceipt, span: Span) -> list[Run]:
    """Return what a receipt says of the numbers that a ledger has of this epoch."""
    cut = (Run(max(run.first, span.first_seq), min(run.last, span.last_seq)) for run in runs_of(said))
    return [run for run in cut if run.count > 0]


class Proved:
    """Say what the street holds by its own signed word, from proofs that somebody else has kept."""

    def __init__(self, proofs: Iterable[Proof], gate: str, street: "Believed") -> None:
        self._held: dict[int, Runs] = {}
        self.doubted = 0  # proofs that are none
        for proof in proofs:
            try:
                street.verify(PURPOSE, proof.payload, proof.signer, proof.signature)
                receipt = decode_receipt(proof.payload)
            except (IdentityError, WireError):
                self.doubted += 1
                continue
            if receipt.gate == gate:
                self._take(receipt)

    def holds(self, key: Key) -> bool:
        """Tell whether the street has signed that it holds this entry."""
        return key.seq in self._held.get(key.epoch, ())

    def _take(self, receipt: Receipt) -> None:
        for said in receipt.epochs:
            held = self._held.setdefault(said.epoch, Runs())
            for run in runs_of(said):
                held.add(run.first, run.last)
