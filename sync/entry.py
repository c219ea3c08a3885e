"""Define an entry of the ledger: its key, its stamps, its bytes, and the hash that chains it to the one before.

The hash is taken over the SHA-256 of the encrypted personal part, never over the plain text: destroying a key, or even
dropping the ciphertext, is a lawful deletion that leaves the chain whole, and the street can verify the chain without
ever holding a personal part.
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

_KEY = re.compile(r"([0-9a-f]{16})-([0-9]{1,19})", re.ASCII)
GENESIS = bytes(32)  # the hash before the first entry of a ledger
_EPOCH_RANDOM_BITS = 32
# Made once: json.dumps with these options builds an encoder per call, a third of the cost of an entry.
_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class Key(NamedTuple):  # one is made for each entry on the road, and compared: a tuple does both a third faster
    """The key of an entry. Order is `(epoch, seq)`, never wall time.

    An epoch is `counter << 32 | 32 random bits`: the counter is committed at each start and orders the epochs; the
    random bits keep a restored image or a card that forgot its last commits from ever using a key twice.
    """

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{epoch_text(self.epoch)}-{self.seq}"


def make_epoch(counter: int, random32: int) -> int:
    """Return the epoch of the `counter`-th start."""
    return counter << _EPOCH_RANDOM_BITS | random32 & 0xFFFFFFFF


def epoch_counter(epoch: int) -> int:
    """Return how many starts the ledger had seen when this epoch began."""
    return epoch >> _EPOCH_RANDOM_BITS


def epoch_text(epoch: int) -> str:
    """Return the epoch as 16 hexadecimal digits, the form used in messages and on screens."""
    return f"{epoch:016x}"


def parse_key(text: str) -> Key:
    """Return the key written as `<16 hexadecimal digits>-<number>`.

    Raises: ValueError when the text is no key.
    """
    found = _KEY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no entry key; expected 16 hexadecimal digits, a dash and a number")
    return Key(int(found[1], 16), int(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """When an entry was made, by every clock the box has."""

    wall_ns: int  # UTC, nanoseconds since 1970; only as good as `clock_trusted`
    boot_ns: int  # CLOCK_BOOTTIME: never jumps, counts from `boot_id`'s start
    boot_id: str
    clock_trusted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a caller wants kept: a kind, its version, a body without personal data, and a personal part."""

    kind: str
    version: int
    body: Mapping[str, Any]
    personal: Mapping[str, Any] | None = field(default=None, repr=False)
    request: str | None = None  # makes the entry idempotent: one entry per request, ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the ledger, as it is on disk. `body` is canonical JSON in UTF-8."""

    key: Key
    kind: str
    version: int
    stamp: Stamp
    body: bytes
    personal: bytes | None = field(default=None, repr=False)  # ciphertext
    personal_key: str | None = None  # which key of the vault opens it
    personal_sha256: bytes | None = None
    request: str | None = None
    prev: bytes = GENESIS
    hash: bytes = b""

    @property
    def data(self) -> dict[str, Any]:
        """The body as a dictionary."""
        return json.loads(self.body)

    @property
    def uuid(self) -> uuid.UUID:
        """A UUIDv7 derived from the stamp and the hash: the same entry always has the same one."""
        return uuid.UUID(int=uuid_number(self.stamp.wall_ns, self.hash.hex()))


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return JSON bytes that are the same for the same content: sorted keys, no spaces, UTF-8, no NaN."""
    return _encode(value).encode()


def entry_hash(entry: Entry) -> bytes:
    """Return the SHA-256 that chains this entry to the one before it.

    Source: docs/messages.md, "The chain", which gives the same recipe for a verifier in another language.
    """
    stamp, personal = entry.stamp, entry.personal_sha256
    return head_hash(
        sha256(entry.body).hexdigest(),
        quoted(stamp.boot_id),
        str(stamp.boot_ns),
        epoch_text(entry.key.epoch),
        quoted(entry.kind),
        f'"{personal.hex()}"' if personal else "null",
        entry.prev.hex(),
        str(entry.key.seq),
        "true" if stamp.clock_trusted else "false",
        str(entry.version),
        str(stamp.wall_ns),
    )


def head_hash(
    body_sha256: str,
    boot: str,
    boot_ns: str,
    epoch: str,
    kind: str,
    personal: str,
    prev: str,
    seq: str,
    trusted: str,
    version: str,
    wall_ns: str,
) -> bytes:
    """Return the hash of an entry from its parts as the head writes them; `boot`, `kind` and `personal` are quoted.

    The canonical JSON of the head is written out here: an encoder would sort the same eleven keys for each entry, which
    took a third of the time of sending it.
    """
    head = (
        f'{{"body_sha256":"{body_sha256}","boot":{boot},"boot_ns":"{boot_ns}","epoch":"{epoch}","kind":{kind},'
        f'"personal_sha256":{personal},"prev":"{prev}","seq":{seq},"trusted":{trusted},"version":{version},'
        f'"wall_ns":"{wall_ns}"}}'  # numbers above 2**53 are text: JSON numbers elsewhere cannot hold them
    )
    return sha256(head.encode()).digest()


def uuid_number(wall_ns: int, hash_hex: str) -> int:
    """Return `Entry.uuid` as a number, from the wall time and the hash in hexadecimal digits."""
    ms = max(wall_ns, 0) // 1_000_000 & (1 << 48) - 1
    tail = int(hash_hex[:20] or "0", 16)
    return ms << 80 | (tail >> 62 & 0xFFF | 0x7000) << 64 | tail & (1 << 62) - 1 | 1 << 63


def uuid_text(wall_ns: int, hash_hex: str) -> str:
    """Return `Entry.uuid` as text."""
    text = f"{uuid_number(wall_ns, hash_hex):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@lru_cache(maxsize=256)  # the same few sources, kinds and boots for millions of entries
def quoted(text: str) -> str:
    """Return text as JSON."""
    return _encode(text)
