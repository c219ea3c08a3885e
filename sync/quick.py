"""Read a batch that is written exactly as our gates write it, several times as fast as the general reader.

Nothing is decided here: a batch that is not letter for letter in that form, or in which anything at all is wrong, is
None, and `sync.wire` reads it the general way and says what is wrong. So both must agree on whatever is read here.

Where the time goes is not to build JSON a second time for each entry. The general reader makes the canonical form of a
body anew and hashes that. Here the body is hashed as it was received, and that it is canonical is proven for all bodies
of a batch at once: each has been parsed from its first to its last letter, so each is one whole JSON object; encoded
together they must give the received bodies, joined by commas, to the letter. No whole object is the beginning of
another, so equal chains of objects have equal links: each body is its own canonical form.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sync.entry import Entry, Key, Stamp, head_hash, uuid_number

_HEAD = re.compile(
    r'\{"specversion":"1\.0","id":"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})","source":"([^"\\]{1,300})"'
    r',"type":"cn\.sentinel\.([a-z][a-z0-9-]{0,63})\.v([1-9][0-9]{0,5})"'
    r',"epoch":"([0-7][0-9a-f]{15})","sequence":"([0-9]{10})"'
    r',"bootid":"([ !#-\[\]-~]{0,1000})","bootns":"(0|-?[1-9][0-9]{0,18})","wallns":"(0|-?[1-9][0-9]{0,18})"'
    r',"trusted":(true|false),"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"'
    r'(?:,"time":"[0-9T:.Z-]{1,40}")?(?:,"personalsha256":"([0-9a-f]{64})")?(,"historical":true)?,"data":(?=\{)'
)
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # one value from a position: what `loads` calls
# What a parser has made holds no circle: no need to look for one.
_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An entry as it came to the street; `historical` when it waited through an outage."""

    entry: Entry
    historical: bool = False


def read_as_written(payload: bytes, source: str, most: int) -> list[Arrival] | None:
    """Return the entries of a batch in the form of `sync.wire.encode_batch`, each checked against its own hash.

    None when it is in another form, is not all of `source`, holds more than `most`, or something is wrong with it.
    """
    try:
        text = payload.decode()
        events = list(_events(text))
        if len(events) > most:
            return None
        if _encode([data for _, data, _ in events]) != f"[{','.join([body for _, _, body in events])}]":
            return None
        return [_arrival(head, body, source) for head, _, body in events]
    except (_AnotherForm, ValueError, RuntimeError):  # no JSON, no UTF-8, no canonical form; too deep
        return None


class _AnotherForm(Exception):
    """The batch is not in the form of our gates."""


def _events(text: str) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """Yield the head, the parsed body and the body's text of each event."""
    at, match = 0, _HEAD.match
    if text[:1] != "[":
        raise _AnotherForm
    while text[at] != "]":
        head = match(text, at + 1)
        if head is None:
            raise _AnotherForm
        start = head.end()
        try:
            data, end = _scan(text, start)
        except StopIteration as error:
            raise _AnotherForm from error
        if text[end : end + 2] not in ("},", "}]"):
            raise _AnotherForm
        yield head.groups(), data, text[start:end]
        at = end + 1
    if at + 1 != len(text):
        raise _AnotherForm


def _arrival(head: tuple[str, ...], body: str, source: str) -> Arrival:
    uuid, told, kind, version, epoch, seq, boot, boot_ns, wall_ns, trusted, prev, hash_, personal, historical = head
    raw = body.encode()
    number, wall, since = int(seq), int(wall_ns), int(boot_ns)
    digest = head_hash(
        sha256(raw).hexdigest(), f'"{boot}"', boot_ns, epoch, f'"{kind}"', f'"{personal}"' if personal else "null",
        prev, str(number), trusted, version, wall_ns,
    )  # fmt: skip
    in_range = number >= 1 and -_INT64 <= wall < _INT64 and -_INT64 <= since < _INT64
    named = int(uuid.replace("-", ""), 16) == uuid_number(wall, hash_)
    if told != source or not in_range or digest.hex() != hash_ or not named:
        raise _AnotherForm
    entry = Entry(
        key=Key(int(epoch, 16), number),
        kind=kind,
        version=int(version),
        stamp=Stamp(wall_ns=wall, boot_ns=since, boot_id=boot, clock_trusted=trusted == "true"),
        body=raw,
        personal_sha256=bytes.fromhex(personal) if personal else None,
        prev=bytes.fromhex(prev),
        hash=digest,
    )
    return Arrival(entry=entry, historical=historical is not None)
