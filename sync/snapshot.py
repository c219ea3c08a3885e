"""Write and check what a street sends down to a gate: one signed document, whole, for one gate, newer than the last.

    sentinel down 1⏎   4 bytes length of the header   header   content   64 bytes signature

The header is canonical JSON: what it is (roster, policy, command), for which gate, its serial, and whose word it is.
The content is compressed by zstd and sealed for the gate alone (HPKE); one that is too long for a message is cut into
parts, each a document with the same header but for `part`. The signature is the street's, by the purpose of its type,
over everything before it, and is checked before anything is opened. The same bytes travel and lie in a folder.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn

from sync.entry import canonical
from sync.errors import IdentityError, SyncError, WireError
from sync.identity import Believed, Identity, Known
from sync.pack import OpensToTooMuch, pack_whole, unpack

SUFFIX = ".down"  # of a document that lies in a folder
KEPT = "kept-"  # such a file's name begins so when the broker had kept the message
DOWN_TYPE = "application/vnd.sentinel.down"
ENCODING = "zstd+hpke"
MOST_DOCUMENT_BYTES = 1 << 20  # what every broker takes in one message
MOST_PARTS = 64
MOST_OPENED_BYTES = 64 << 20  # 50,000 people are about 10 MiB
MOST_SERIAL = 10**12
_PART_BYTES = 1_000_000
_MAGIC = b"sentinel down 1\n"
_LENGTH = struct.Struct(">I")
_MOST_HEADER_BYTES = 4_096
_SIGNATURE_BYTES = 64
_HEAD_BYTES = len(_MAGIC) + _LENGTH.size


class Type(StrEnum):
    """What a document is, and with which purpose it is signed and sealed."""

    ROSTER = "roster"
    POLICY = "policy"
    COMMAND = "command"


class Refusal(StrEnum):
    """Why a document is not taken."""

    NOT_SIGNED = "not-signed"  # no document of ours at all
    UNKNOWN_SIGNER = "unknown-signer"
    DAMAGED = "damaged"
    OTHER_GATE = "other-gate"
    OLD = "old"  # also: replayed
    EXPIRED = "expired"
    WRONG_BASE = "wrong-base"  # a change of something that is not what we have
    TOO_BIG = "too-big"
    NOT_UNDERSTOOD = "not-understood"
    OTHER_START = "other-start"  # a command for a start of the gate that is over
    CLOCK_UNTRUSTED = "clock-untrusted"  # a command that lives for seconds cannot be judged
    NOT_POSSIBLE = "not-possible"  # right in itself, and the gate cannot do it


class DocumentRefused(SyncError):
    """A document is not taken; `reason` says why, and who signed it where that is known."""

    def __init__(self, reason: Refusal, message: str, document: "Document | None" = None) -> None:
        super().__init__(message)
        self.reason, self.document = reason, document


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document, or a part of one, whose signature fits."""

    type: Type
    gate: str
    serial: int
    base: int | None  # the serial that this is a change of; None: the whole
    part: int
    parts: int
    made_at: datetime
    expires: datetime | None
    sha256: str  # of the content of all parts together, as it is sealed
    size: int
    signer: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What a document says about itself before it is cut into parts."""

    type: Type
    gate: str
    serial: int
    made_at: datetime
    base: int | None = None
    expires: datetime | None = None


def write_documents(
    heading: Heading, plain: bytes, street: Identity, gate: Known, *, part_bytes: int = _PART_BYTES
) -> list[bytes]:
    """Return the parts of a document, signed by the street and sealed for the gate.

    Raises: WireError when the gate would not take so much.
    """
    content = gate.seal(heading.type, pack_whole(plain))
    cuts = [content[at : at + part_bytes] for at in range(0, len(content), part_bytes)]
    if len(cuts) > MOST_PARTS or len(plain) > MOST_OPENED_BYTES:
        raise WireError(f"{len(plain)} bytes are more than a gate takes; send less, or a change of what it has")
    header = {
        "v": 1,
        "type": heading.type,
        "gate": heading.gate,
        "serial": heading.serial,
        "base": heading.base,
        "parts": len(cuts),
        "made_at": _moment_text(heading.made_at),
        "expires": None if heading.expires is None else _moment_text(heading.expires),
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "encoding": ENCODING,
        "signer": street.known.id,
    }
    return [_signed({**header, "part": number}, cut, street) for number, cut in enumerate(cuts, 1)]


def _signed(header: Mapping[str, Any], content: bytes, street: Identity) -> bytes:
    raw = canonical(header)
    body = _MAGIC + _LENGTH.pack(len(raw)) + raw + content
    return body + street.sign(str(header["type"]), body)


def _moment_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# Reading


def read_document(
    data: bytes, believed: Believed, gate: str, newest: Mapping[Type, int], now: datetime | None = None
) -> Document:
    """Return the document in these bytes when one of the believed has signed it for this gate and it is news.

    `newest` are the serials that were accepted last; `now` is None while no clock can be trusted, and then nothing
    expires.
    Raises: DocumentRefused.
    """
    header, content = _apart(data)
    _verify(header, data, believed)
    document = _document(header, content)
    if document.gate != gate:
        _refuse(Refusal.OTHER_GATE, f"a {document.type} for {document.gate[:200]}; take it there", document)
    if document.serial <= newest.get(document.type, 0):
        last = newest[document.type]
        _refuse(Refusal.OLD, f"{document.type} {document.serial}, and {last} is here; publish a newer one", document)
    check_expiry(document, now)
    return document


def check_expiry(document: Document, now: datetime | None) -> None:
    """Return when the document holds now, or nobody can tell (None).

    Raises: DocumentRefused.
    """
    if now is not None and document.expires is not None and document.expires <= now:
        _refuse(Refusal.EXPIRED, f"{document.type} {document.serial} has expired; publish it anew", document)


def header_of(data: bytes) -> dict[str, Any]:
    """Return the header of a document, without believing it.

    Raises: DocumentRefused.
    """
    return _apart(data)[0]


def _apart(data: bytes) -> tuple[dict[str, Any], bytes]:
    if len(data) > MOST_DOCUMENT_BYTES:
        _refuse(Refusal.TOO_BIG, f"{len(data)} bytes; a document has {MOST_DOCUMENT_BYTES} at most")
    if not data.startswith(_MAGIC) or len(data) < _HEAD_BYTES + _SIGNATURE_BYTES:
        _refuse(Refusal.NOT_SIGNED, "this is no signed document; publish with sentinel-street publish")
    (length,) = _LENGTH.unpack_from(data, len(_MAGIC))
    end = _HEAD_BYTES + length
    if length > _MOST_HEADER_BYTES or end > len(data) - _SIGNATURE_BYTES:
        _refuse(Refusal.DAMAGED, "its header does not end; publish it anew")
    try:
        header = json.loads(data[_HEAD_BYTES:end])
    except (ValueError, RecursionError):
        _refuse(Refusal.DAMAGED, "its header is no JSON; publish it anew")
    if not isinstance(header, dict):
        _refuse(Refusal.DAMAGED, "its header is no object; publish it anew")
    return header, data[end:-_SIGNATURE_BYTES]


def _verify(header: Mapping[str, Any], data: bytes, believed: Believed) -> None:
    signer, purpose = str(header.get("signer"))[:64], str(header.get("type"))[:64]
    if signer not in {known.id for known in believed}:
        _refuse(Refusal.UNKNOWN_SIGNER, f"signed by {signer!r}, whom we do not know; see [uplink] street_keys")
    try:
        believed.verify(purpose, data[:-_SIGNATURE_BYTES], signer, data[-_SIGNATURE_BYTES:])
    except IdentityError as error:
        raise DocumentRefused(Refusal.DAMAGED, str(error)) from error


def _document(header: Mapping[str, Any], content: bytes) -> Document:
    """Return the document of a header whose signature fits; its own street may still be newer than we are."""
    try:
        if header["v"] != 1 or header["encoding"] != ENCODING:
            _refuse(Refusal.NOT_UNDERSTOOD, "it is of another version; use the newer program")
        expires = header["expires"]
        base = header["base"]
        document = Document(
            type=Type(header["type"]),
            gate=str(header["gate"]),
            serial=_number(header["serial"], 1, MOST_SERIAL),
            base=None if base is None else _number(base, 0, MOST_SERIAL),
            part=_number(header["part"], 1, MOST_PARTS),
            parts=_number(header["parts"], 1, MOST_PARTS),
            made_at=_moment(header["made_at"]),
            expires=None if expires is None else _moment(expires),
            sha256=str(header["sha256"]),
            size=_number(header["size"], 1, MOST_PARTS * MOST_DOCUMENT_BYTES),
            signer=str(header["signer"]),
            content=content,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DocumentRefused(Refusal.NOT_UNDERSTOOD, f"its header lacks something ({error})") from error
    if document.part > document.parts or len(document.sha256) != 64:
        _refuse(Refusal.NOT_UNDERSTOOD, "its header contradicts itself; publish it anew", document)
    return document


def _number(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r:.40} is not {least} to {most}")
    return value


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(str(value))
    if moment.utcoffset() != timedelta(0):
        raise ValueError(f"{value!r:.40} is not in UTC")
    return moment


def gathered(parts: Iterable[Document]) -> list[Document] | None:
    """Return the parts of one document in their order, or None while one is missing. A part may come twice."""
    by_number = {one.part: one for one in parts}
    if not by_number:
        return None
    whole = next(iter(by_number.values())).parts
    return [by_number[number] for number in range(1, whole + 1)] if len(by_number) == whole else None


def open_content(parts: Sequence[Document], ours: Identity) -> bytes:
    """Return what the parts of one document hold together.

    Raises: DocumentRefused when they do not belong together, or were not sealed for us, or open to too much.
    """
    first, content = parts[0], b"".join(part.content for part in parts)
    alike = {(part.type, part.serial, part.base, part.parts, part.sha256, part.signer) for part in parts}
    if len(alike) != 1 or len(content) != first.size or hashlib.sha256(content).hexdigest() != first.sha256:
        _refuse(Refusal.DAMAGED, f"the parts of {first.type} {first.serial} do not belong together", first)
    try:
        return unpack(ours.unseal(first.type, content), "zstd", MOST_OPENED_BYTES)
    except IdentityError as error:
        raise DocumentRefused(Refusal.DAMAGED, str(error), first) from error
    except OpensToTooMuch as error:
        raise DocumentRefused(Refusal.TOO_BIG, str(error), first) from error
    except WireError as error:
        raise DocumentRefused(Refusal.DAMAGED, str(error), first) from error


def _refuse(reason: Refusal, message: str, document: Document | None = None) -> NoReturn:
    raise DocumentRefused(reason, message, document)
