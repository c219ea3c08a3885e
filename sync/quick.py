"""Read a batch that is written exactly as our gates write it, several times as fast as the general reader.

Nothing is decided here: a batch that is not letter for letter in that form, or in which anything at all is wrong, is
None, and `sync.wire` reads it the general way and says what is wrong. So both must agree on whatever is read here.

Where the time goes is JSON. The general reader makes the canonical form of a body anew and hashes that. Here the body
is hashed as it was received, between one head and the next, and that it is one object in canonical form is proven by
orjson: what it has parsed it must write again to the letter. It writes numbers as Python does but for fractions below
0.0001 (1e-05 and 1e-08 are 0.00001 and 1e-8 there): a body that may hold one is left to the general reader.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from sync.entry import Entry, Key, Stamp, head_hash, uuid_number

_HEAD = re.compile(
    r'\{"specversion":"1\.0","id":"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})","source":"([^"\\]{1,300})"'
    r',"type":"cn\.sentinel\.([a-z][a-z0-9-]{0,63})\.v([1-9][0-9]{0,5})"'
    r',"epoch":"([0-7][0-9a-f]{15})","sequence":"([0-9]{10})"'
    r',"bootid":"([ !#-\[\]-~]{0,1000})","bootns":"(0|-?[1-9][0-9]{0,18})","wallns":"(0|-?[1-9][0-9]{0,18})"'
    r',"trusted":(true|false),"prev":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"'
    r'(?:,"time":"[0-9T:.Z-]{1,40}")?(?:,"personalsha256":"([0-9a-f]{64})")?(,"historical":true)?,"data":(?=\{)'
)
_NEXT = '},{"specversion":"1.0","id":"'
_ONE_DIGIT_EXPONENT = re.compile(rb"e-[0-9](?<=[0-9]e-[0-9])(?![0-9])").search  # the letter first: it is found at once
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
        events = list(_events(payload.decode()))
        if len(events) > most:
            return None
        return [_arrival(head, body, source) for head, body in events]
    except (_AnotherForm, ValueError, RecursionError):  # no JSON, no UTF-8, no canonical form; too deep
        return None


class _AnotherForm(Exception):
    """The batch is not in the form of our gates."""


def _events(text: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Yield the head and the body of each event, the body proven to be one object in canonical form."""
    is_canonical = _prover()
    at, match = 0, _HEAD.match
    if text[:1] != "[" or text[-2:] != "}]":
        raise _AnotherForm
    while at != len(text) - 1:
        head = match(text, at + 1)
        if head is None:
            raise _AnotherForm
        start = head.end()
        end = text.find(_NEXT, start)
        if end < 0:
            end = len(text) - 2
        body = text[start:end].encode()
        if not is_canonical(body):
            raise _AnotherForm
        yield head.groups(), body
        at = end + 1


@cache
def _prover() -> Callable[[bytes], bool]:
    """Return what proves a body. Loaded by the first batch: who only sends does without the library."""
    from orjson import OPT_SORT_KEYS, dumps, loads

    def proves(body: bytes) -> bool:
        small = b"0.0000" in body or _ONE_DIGIT_EXPONENT(body)
        return not small and dumps(loads(body), option=OPT_SORT_KEYS) == body

    return proves


def _arrival(head: tuple[str, ...], raw: bytes, source: str) -> Arrival:
    uuid, told, kind, version, epoch, seq, boot, boot_ns, wall_ns, trusted, prev, hash_, personal, historical = head
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
