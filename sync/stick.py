"""Carry the backlog on a stick, where the network is a person: an encrypted file there, signed receipts back.

    sentinel stick 1⏎   4 bytes length of the header   header   frames   4 bytes of zero   64 bytes signature

The header is canonical JSON: the gate, when it was written, and the key of this file, sealed for each of the street's
identities. A frame is its length in 4 bytes and, under AES-256-GCM, `z` and a batch of `sync.wire` compressed as on
the road, or `p` and a plain one; its number is the nonce, for a key is used for one file. The signature is the gate's
own, over the SHA-256 of all before it, and is checked before anything is opened: a stick that lost its end, or that a
stranger wrote, is refused whole.

What comes back is a text file, `sentinel receipts 1`, and one line of JSON for each signed receipt.
"""

import base64
import hashlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sync.cursor import Cursor, DeadLetter, Span, Spans
from sync.disk import sync_folder
from sync.entry import Key, canonical
from sync.errors import IdentityError, WireError
from sync.identity import Believed, Identity
from sync.outbox import Limits, Outbox
from sync.pack import ZSTD, pack
from sync.receipts import PURPOSE as RECEIPT
from sync.receipts import runs_of, runs_within
from sync.runs import Runs
from sync.topics import Gate
from sync.wire import (
    MAX_RUNS,
    Batch,
    EpochReceipt,
    Receipt,
    Refused,
    decode_batch,
    decode_receipt,
    encode_batch,
    encode_receipt,
)

PURPOSE = "stick"
_MAGIC = b"sentinel stick 1\n"
_RECEIPTS_MAGIC = "sentinel receipts 1"
_LENGTH = struct.Struct(">I")
_END = _LENGTH.pack(0)
_PACKED, _PLAIN = b"z", b"p"
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_MOST_HEADER_BYTES = 64 * 1024
_MOST_FRAME_BYTES = 4 << 20
_MOST_RECEIPTS_BYTES = 16 << 20
_READ_BYTES = 1 << 20
_EPOCHS_EACH = 100  # of a receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What went onto a stick, and whose word it is."""

    entries: int
    file_bytes: int
    signer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stick:
    """A stick whose signature fits. `batches` opens it, piece by piece."""

    gate: Gate
    at: str  # when it was written, by the gate's clock
    signer: str
    path: Path
    key: bytes
    begins: int  # where the frames do

    def batches(self) -> Iterator[Batch]:
        """Yield every batch, in the order of the ledger.

        Raises: WireError when a frame cannot be opened.
        """
        cipher = AESGCM(self.key)
        with self.path.open("rb") as file:
            file.seek(self.begins)
            for number, frame in enumerate(_frames(file)):
                try:
                    plain = cipher.decrypt(_nonce(number), frame, None)
                except InvalidTag as error:
                    raise WireError(f"{self.path}: frame {number} cannot be opened; write the stick again") from error
                yield decode_batch(plain[1:], self.gate, f"stick-{number}", ZSTD if plain[:1] == _PACKED else None)


def write_stick(
    path: Path,
    gate: Gate,
    batches: Iterable[Sequence[bytes]],
    street: Believed,
    ours: Identity,
    *,
    at: str,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Written:
    """Write the batches of encoded entries into a file that has its name only when it is whole and durable.

    Raises: OSError when the medium cannot take it; then no file is left.
    """
    draft = path.with_name(f"{path.name}.part")
    try:
        with draft.open("xb") as file:
            key = random_bytes(_KEY_BYTES)
            sealed = {one.id: base64.b64encode(one.seal(PURPOSE, key)).decode() for one in street}
            header = {"v": 1, "gate": str(gate), "at": at, "keys": sealed, "signer": ours.known.id}
            written = _write(file, canonical(header), batches, ours, AESGCM(key))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):  # it has its name by now, or the medium is gone
            draft.unlink()
    return written


def _write(
    file: IO[bytes], header: bytes, batches: Iterable[Sequence[bytes]], ours: Identity, cipher: AESGCM
) -> Written:
    digest, size, entries = hashlib.sha256(), 0, 0

    def put(data: bytes) -> None:
        nonlocal size
        file.write(data)
        digest.update(data)
        size += len(data)

    put(_MAGIC + _LENGTH.pack(len(header)) + header)
    for number, events in enumerate(batches):
        plain = encode_batch(events)
        small = pack(plain)
        frame = cipher.encrypt(_nonce(number), _PLAIN + plain if small is None else _PACKED + small, None)
        put(_LENGTH.pack(len(frame)) + frame)
        entries += len(events)
    put(_END)
    file.write(ours.sign(PURPOSE, digest.digest()))
    return Written(entries=entries, file_bytes=size + _SIGNATURE_BYTES, signer=ours.known.id)


def open_stick(path: Path, street: Identity, gates: Believed) -> Stick:
    """Check a stick whole, and return it when one of these gates has signed it and it was sealed for us.

    Raises: WireError when it is no whole stick, IdentityError when we do not know its signer or cannot open it,
    OSError when it cannot be read.
    """
    with path.open("rb") as file:
        header = _header(file, path)
        begins = file.tell()
        file.seek(0)
        digest, signature = _digest(file)
    signer = str(header.get("signer"))
    try:
        gates.verify(PURPOSE, digest, signer, signature)
        key = street.unseal(PURPOSE, base64.b64decode(str(header["keys"][street.known.id])))
        street_name, site, name = str(header["gate"]).split("/")
        gate = Gate(street=street_name, site=site, gate=name)
    except (KeyError, TypeError):
        raise IdentityError(f"{path} was not sealed for {street.known.id}; give the gate our public keys") from None
    except ValueError as error:
        raise WireError(f"{path}: its header is damaged; write the stick again") from error
    return Stick(gate=gate, at=str(header.get("at")), signer=signer, path=path, key=key, begins=begins)


def signer_of(path: Path) -> str:
    """Return who says to have written a stick, without believing it.

    Raises: WireError when it is no stick, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        return str(_header(file, path).get("signer"))


def _header(file: IO[bytes], path: Path) -> Mapping[str, Any]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise WireError(f"{path} is no stick of a gate; write one with: sentinelctl stick export")
    length = _number(file.read(_LENGTH.size))
    raw = file.read(length) if 0 < length <= _MOST_HEADER_BYTES else b""
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise WireError(f"{path}: its header is damaged; write the stick again") from error
    if not isinstance(header, dict) or header.get("v") != 1:
        raise WireError(f"{path} is of another version; use the newer program")
    return header


def _digest(file: IO[bytes]) -> tuple[bytes, bytes]:
    """Return the SHA-256 of all but the last 64 bytes, and those."""
    digest, held = hashlib.sha256(), b""
    while data := file.read(_READ_BYTES):
        held += data
        digest.update(held[:-_SIGNATURE_BYTES])
        held = held[-_SIGNATURE_BYTES:]
    return digest.digest(), held


def _frames(file: IO[bytes]) -> Iterator[bytes]:
    while length := _number(file.read(_LENGTH.size)):
        if length > _MOST_FRAME_BYTES:
            raise WireError(f"{file.name}: a frame of {length} bytes; write the stick again")
        yield file.read(length)


def _number(raw: bytes) -> int:
    return int.from_bytes(raw) if len(raw) == _LENGTH.size else 0


def _nonce(number: int) -> bytes:
    return number.to_bytes(12)


def backlog_of(outbox: Outbox, limits: Limits, unsendable: list[tuple[Key, str]]) -> Iterator[list[bytes]]:
    """Yield the open entries of a ledger as batches, oldest first; add what cannot be sent to `unsendable`."""
    outbox.begin()
    while (parcel := outbox.backlog(limits)).count:
        unsendable += parcel.unsendable
        if parcel.events:
            yield parcel.events


# What comes back


class Answers:
    """Gather what a store says of the batches of one gate, into as few receipts as will do."""

    def __init__(self, gate: Gate) -> None:
        self._gate = str(gate)
        self._held: dict[int, Runs] = {}
        self._refused: list[Refused] = []

    def add(self, receipt: Receipt) -> None:
        """Take in one answer."""
        for said in receipt.epochs:
            held = self._held.setdefault(said.epoch, Runs())
            for run in runs_of(said):
                held.add(run.first, run.last)
        self._refused += [one for one in receipt.refused if one.key is not None]

    @property
    def refused(self) -> int:
        """How many entries the street will not take."""
        return len(self._refused)

    def text(self, street: Identity) -> str:
        """Return the file that goes back to the gate."""
        told = [
            EpochReceipt(epoch=epoch, upto=0, also=tuple(list(held)[at : at + MAX_RUNS]))
            for epoch, held in self._held.items()
            for at in range(0, len(list(held)), MAX_RUNS)
        ]
        lines = [_RECEIPTS_MAGIC]
        for at in range(0, max(len(told), len(self._refused)), _EPOCHS_EACH):
            part = slice(at, at + _EPOCHS_EACH)
            receipt = Receipt(gate=self._gate, epochs=tuple(told[part]), refused=tuple(self._refused[part]))
            lines.append(_signed_line(encode_receipt(receipt), street))
        return "\n".join(lines) + "\n"


def _signed_line(payload: bytes, street: Identity) -> str:
    signature = base64.b64encode(street.sign(RECEIPT, payload)).decode()
    return canonical({"payload": payload.decode(), "signer": street.known.id, "signature": signature}).decode()


def read_receipts(path: Path, gate: Gate, street: Believed) -> list[Receipt]:
    """Return the receipts in a file that came back, each signed by the street and for this gate.

    Raises: WireError when it is no such file or for another gate, IdentityError when a signature does not fit, OSError.
    """
    with path.open("rb") as file:
        lines = file.read(_MOST_RECEIPTS_BYTES).decode(errors="replace").splitlines()
    if not lines or lines[0] != _RECEIPTS_MAGIC:
        raise WireError(f"{path} holds no receipts of a street; make them with: sentinel-street import")
    receipts = [_receipt(path, line, street) for line in lines[1:]]
    for receipt in receipts:
        if receipt.gate != str(gate):
            raise WireError(f"{path} is for the gate {receipt.gate}, this is {gate}; take it there")
    return receipts


def _receipt(path: Path, line: str, street: Believed) -> Receipt:
    try:
        said = json.loads(line)
        payload, signature = said["payload"].encode(), base64.b64decode(said["signature"])
        signer = str(said["signer"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WireError(f"{path}: a line is damaged; copy it anew") from error
    street.verify(RECEIPT, payload, signer, signature)
    return decode_receipt(payload)


def close_by(receipts: Iterable[Receipt], cursor: Cursor, ledger: Spans, wall_ns: int) -> int:
    """Close what these receipts answer for, entries of this ledger only; return how many receipts are new.

    Raises: LedgerUnavailable when it cannot be noted; then reading the file again later does it.
    """
    spans = {span.epoch: span for span in ledger.epochs()}
    new = 0
    for receipt in receipts:
        closed = {one.epoch: runs_within(one, spans[one.epoch]) for one in receipt.epochs if one.epoch in spans}
        dead = [
            DeadLetter(key=one.key, reason=one.reason, wall_ns=wall_ns)
            for one in receipt.refused
            if one.key is not None and not cursor.is_receipted(one.key) and _holds(spans, one.key)
        ]
        new += cursor.settle(closed, dead)
    return new


def _holds(spans: Mapping[int, Span], key: Key) -> bool:
    span = spans.get(key.epoch)
    return span is not None and span.first_seq <= key.seq <= span.last_seq
