"""Sign receipts at the street, believe them at the gate, and keep those that prove what the street holds."""

import base64
import binascii
import logging
from collections.abc import Iterable, Mapping, Sequence

from sync.cursor import Cursor, Proof, Span
from sync.errors import IdentityError, WireError
from sync.identity import Believed, Identity
from sync.runs import Run, Runs
from sync.wire import EpochReceipt, Receipt, decode_receipt

log = logging.getLogger(__name__)

PURPOSE = "receipt"
SIGNER, SIGNATURE = "signer", "signature"
SAVE_S = 60.0  # a card is not written for each receipt: the next one, or the answer to our next state, repeats it
MOST_PROOFS = 200  # some 40 KB; one is enough until receipts must leave runs out

Properties = Sequence[tuple[str, str]]


class Signer:
    """Sign receipts with the street's identity."""

    def __init__(self, identity: Identity) -> None:
        self._identity, self._id = identity, identity.known.id

    def properties(self, payload: bytes) -> tuple[tuple[str, str], ...]:
        """Return the user properties that travel with this receipt."""
        signature = base64.b64encode(self._identity.sign(PURPOSE, payload)).decode()
        return ((SIGNER, self._id), (SIGNATURE, signature))


def believe(payload: bytes, properties: Properties, believed: Believed) -> Proof:
    """Return the proof that one of the believed has said this.

    Raises: IdentityError when it is not signed, by nobody we know, or not for this payload.
    """
    said = dict(properties)
    if SIGNER not in said or SIGNATURE not in said:
        raise IdentityError("not signed; run `sentinel-street keys` there, or take street_keys out here")
    try:
        signature = base64.b64decode(said[SIGNATURE], validate=True)
    except (binascii.Error, ValueError):
        raise IdentityError("its signature cannot be read") from None
    proof = Proof(payload=payload, signer=said[SIGNER], signature=signature)
    believed.verify(PURPOSE, proof.payload, proof.signer, proof.signature)
    return proof


def runs_of(said: EpochReceipt) -> list[Run]:
    """Return the numbers that a receipt names of one epoch."""
    return ([Run(1, said.upto)] if said.upto else []) + list(said.also)


def proven(proofs: Iterable[Proof], gate: str, believed: Believed) -> dict[int, Runs]:
    """Return the numbers per epoch that believed receipts for this gate name; every signature is verified here."""
    held: dict[int, Runs] = {}
    for _, said in _read(proofs, gate, believed):
        for epoch, runs in said.items():
            for run in runs:
                held.setdefault(epoch, Runs()).add(run.first, run.last)
    return held


class Proofs:
    """The newest believed receipts, as few as prove what all of them prove; kept in `uplink.db`."""

    def __init__(self, cursor: Cursor, gate: str, believed: Believed | None) -> None:
        """Read what is kept; without anybody to believe nothing is verified, kept or asked for."""
        self._cursor = cursor
        self._gate, self._believed = gate, believed
        self._seen = cursor.proofs()
        self._kept = [] if believed is None else list(_read(self._seen, gate, believed))
        self._changed = False
        self._due = 0.0

    def read(self, payload: bytes, properties: Properties) -> Receipt:
        """Return the receipt in a message, believed where that is asked for.

        Raises: WireError when it is none for this gate; IdentityError when it is not to be believed.
        """
        proof = None if self._believed is None else believe(payload, properties, self._believed)
        receipt = decode_receipt(payload)
        if receipt.gate != self._gate:
            raise WireError("it names another gate")
        if proof is not None:
            self.add(proof)
        return receipt

    def add(self, *proofs: Proof) -> None:
        """Keep these too, and let go which they make needless. Each is verified by the caller."""
        if self._believed is None:
            return
        if self._cursor.proofs() is not self._seen:  # receipts came by a stick, too
            self._seen = self._cursor.proofs()
            proofs = (*(one for one, _ in _read(self._seen, self._gate, self._believed)), *proofs)
        for proof in proofs:
            self._take(proof, _said(decode_receipt(proof.payload)))

    def _take(self, proof: Proof, said: dict[int, Runs]) -> None:
        if any(_covers(runs, said) for _, runs in self._kept):
            return
        self._kept = [one for one in self._kept if not _covers(said, one[1])][1 - MOST_PROOFS :]
        self._kept.append((proof, said))
        self._changed = True

    def unproven(self, spans: Iterable[Span]) -> list[int]:
        """Return the epochs of which nothing is proven, oldest first."""
        if self._believed is None:
            return []
        known = {epoch for _, said in self._kept for epoch in said}
        return [span.epoch for span in spans if span.epoch not in known]

    def save(self, now: float, *, force: bool = False) -> None:
        """Write them when that is due.

        Raises: LedgerUnavailable.
        """
        if self._changed and (force or now >= self._due):
            self._cursor.keep_proofs([proof for proof, _ in self._kept])
            self._seen = self._cursor.proofs()
            self._changed, self._due = False, now + SAVE_S


def _read(proofs: Iterable[Proof], gate: str, believed: Believed) -> Iterable[tuple[Proof, dict[int, Runs]]]:
    for proof in proofs:
        try:
            believed.verify(PURPOSE, proof.payload, proof.signer, proof.signature)
            receipt = decode_receipt(proof.payload)
        except (IdentityError, WireError) as error:
            log.warning("a kept receipt proves nothing: %s", error)
            continue
        if receipt.gate == gate:
            yield proof, _said(receipt)


def _said(receipt: Receipt) -> dict[int, Runs]:
    return {one.epoch: Runs(runs) for one in receipt.epochs if (runs := runs_of(one))}


def _covers(large: Mapping[int, Runs], small: Mapping[int, Runs]) -> bool:
    return all(
        epoch in large and all(large[epoch].count(run.first, run.last) == run.count for run in runs)
        for epoch, runs in small.items()
    )
