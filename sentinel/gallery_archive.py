"""Pack people and their templates into one signed, encrypted file, and read it whole or not at all.

    sentinel gallery 1⏎   4 bytes length of the header   header   ciphertext   64 bytes signature

The header is JSON: how the key comes about, the cipher, the nonce, the public key of the signer, the time. The
ciphertext is AES-256-GCM (or what the site asks for, see `sync/ciphers.py`) over a JSON document, bound to everything
before it. The signature is Ed25519 over everything before it, and is checked first: with a signer that the reader does
not trust, nothing is derived, decrypted or parsed.
"""

import base64
import hashlib
import json
import math
import os
import re
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sentinel.core.citizen import tidy_number, valid_number
from sentinel.core.consent import consent_as_json, consent_from_json
from sentinel.core.errors import DataError, UsageError
from sentinel.roster import RIGHTS, Figures, Member, Template, personal_of, rights_of
from sync.ciphers import NUMBERS, decrypt, encrypt
from sync.disk import write_whole
from sync.entry import canonical

MAGIC = b"sentinel gallery 1\n"
SHORTEST_PASSPHRASE = 12  # characters
_KEY_BYTES, _NONCE_BYTES, _SALT_BYTES, _SIGNATURE_BYTES = 32, 12, 16, 64
_SCRYPT_N = 2**16  # 64 MB and some 0.3 s on a small box, for each guess of an attacker too
_SCRYPT_MOST_N = 2**20
_LONGEST_HEADER = 4096
_PORTABLE = "aes-256-gcm"
_ID_CARD_PLACES = 18
_TEMPLATE_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Secret:
    """What locks an archive: a passphrase, or the 32 bytes of a key file."""

    passphrase: str | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what locks nothing."""
        if self.key is not None and len(self.key) != _KEY_BYTES:
            raise UsageError(f"a key file has {_KEY_BYTES} bytes; make one: head -c 32 /dev/urandom > FILE")
        if self.key is None and len(self.passphrase or "") < SHORTEST_PASSPHRASE:
            raise UsageError(f"a passphrase has {SHORTEST_PASSPHRASE} characters or more; use a longer one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What an archive holds. The members carry no tokens: those belong to the site that reads it."""

    members: tuple[Member, ...]
    pictures: Mapping[str, bytes] = field(repr=False)
    made_at: str
    signer: str  # the public key, 64 hexadecimal digits
    sha256: str


def signing_key(secrets_dir: Path) -> Ed25519PrivateKey:
    """Return the key that signs this box's archives, made when it is not there.

    Raises: DataError when it cannot be read or made.
    """
    path = secrets_dir / "gallery.key"
    try:
        if not path.exists():
            write_whole(path, os.urandom(_KEY_BYTES))
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be used ({error}); restore it, or remove it to make a new one") from error


def public_hex(key: Ed25519PublicKey) -> str:
    """Return a public key as 64 hexadecimal digits."""
    return key.public_bytes_raw().hex()


def signer_id(signer: str) -> str:
    """Return the name of a signer's key: 8 hexadecimal digits of the hash of its public part."""
    return hashlib.sha256(bytes.fromhex(signer)).hexdigest()[:8]


def told_of(data: bytes, signer: Ed25519PublicKey) -> dict[str, str]:
    """Return what the ledger says of an archive: its SHA-256 and its signer's id."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "signer": signer_id(public_hex(signer))}


def write_archive(
    members: Collection[Member],
    pictures: Mapping[str, bytes],
    secret: Secret,
    key: Ed25519PrivateKey,
    *,
    made_at: datetime,
    cipher: str = "auto",
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return the archive of these members; `cipher` "auto" is AES, whatever this box is good at: others read it."""
    nonce, salt = random_bytes(_NONCE_BYTES), random_bytes(_SALT_BYTES)
    name = _PORTABLE if cipher == "auto" else cipher
    by: dict[str, Any] = {"name": "key-file"}
    if secret.key is None:
        by = {"name": "scrypt", "n": _SCRYPT_N, "r": 8, "p": 1, "salt": salt.hex()}
    header = canonical(
        {
            "cipher": name.upper(),
            "key": by,
            "made_at": made_at.astimezone(UTC).isoformat(timespec="seconds"),
            "nonce": nonce.hex(),
            "signer": public_hex(key.public_key()),
        }
    )
    document = {
        "people": [_told(member, pictures) for member in members],
        "pictures": {id_: base64.b64encode(data).decode() for id_, data in pictures.items()},
    }
    head = MAGIC + struct.pack(">I", len(header)) + header
    body = head + encrypt(NUMBERS[name], _key_of(by, secret), nonce, canonical(document), head)
    return body + key.sign(body)


def _told(member: Member, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "name": member.name,
        "number": member.number,
        "allowed": member.allowed,
        "valid_until": member.valid_until.isoformat() if member.valid_until else None,
        **{name: value for name, value in personal_of(member).items() if name in RIGHTS},
        "consent": consent_as_json(member.consent) if member.consent else None,
        "templates": [_template_told(one, pictures) for one in (*member.templates, *member.quarantined)],
    }


def _template_told(template: Template, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        **asdict(template),
        "vector": base64.b64encode(template.vector).decode(),
        "expires": template.expires.isoformat() if template.expires else None,
        "has_picture": template.id in pictures,
    }


def read_archive(data: bytes, secret: Secret, trusted: Collection[str]) -> Archive:
    """Return everything an archive holds, each value checked.

    Raises: DataError when it is damaged, locked with another secret, signed by nobody of `trusted` (public keys as 64
    hexadecimal digits), or holds what no archive of ours holds.
    """
    header, head, sealed = _opened(data, trusted)
    try:
        nonce = bytes.fromhex(header["nonce"])
        plain = decrypt(NUMBERS[header["cipher"].lower()], _key_of(header["key"], secret), nonce, sealed, head)
    except InvalidTag:
        raise DataError("the passphrase or key does not open this archive; ask whoever made it") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError("the archive's header is none of ours; use the program that wrote it") from error
    try:
        document = json.loads(plain)
        pictures = {str(id_): base64.b64decode(text, validate=True) for id_, text in document["pictures"].items()}
        members = tuple(_member(told, pictures) for told in document["people"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"the archive holds what none of ours does ({type(error).__name__}); nothing is taken"
        ) from error
    _check_whole(members, pictures)
    return Archive(
        members=members,
        pictures=pictures,
        made_at=str(header.get("made_at", "")),
        signer=header["signer"],
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _opened(data: bytes, trusted: Collection[str]) -> tuple[dict[str, Any], bytes, bytes]:
    """Return the header, the bytes up to the ciphertext, and the ciphertext, of a signature that holds."""
    if not data.startswith(MAGIC):
        raise DataError("this is no archive of a gallery; give a file made by: sentinelctl people export")
    begin = len(MAGIC) + 4
    length = int.from_bytes(data[len(MAGIC) : begin], "big")
    if length > _LONGEST_HEADER or len(data) < begin + length + _SIGNATURE_BYTES:
        raise DataError("the archive is cut short; copy it again")
    head, body, signature = data[: begin + length], data[:-_SIGNATURE_BYTES], data[-_SIGNATURE_BYTES:]
    try:
        header = json.loads(head[begin:])
        signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(header["signer"]))
        signer.verify(signature, body)
    except (InvalidSignature, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError("the archive's signature does not hold: it was changed or damaged; copy it again") from error
    if header["signer"] not in {name.strip().lower() for name in trusted}:
        raise DataError(
            f"the archive is signed by {header['signer']}, whom nobody named here; compare this with "
            "`sentinelctl people signer` at the gate that made it, then give it as --signer"
        )
    return header, head, body[len(head) :]


def _key_of(by: Mapping[str, Any], secret: Secret) -> bytes:
    if by["name"] == "key-file":
        if secret.key is None:
            raise DataError("the archive is locked with a key file; give it as --key-file")
        return secret.key
    n, r, p, salt = by["n"], by["r"], by["p"], bytes.fromhex(by["salt"])
    if by["name"] != "scrypt" or not 2**14 <= n <= _SCRYPT_MOST_N or n & (n - 1) or r != 8 or p != 1:
        raise ValueError("a derivation that none of ours uses")
    if secret.passphrase is None:
        raise DataError("the archive is locked with a passphrase; give it as --passphrase-file")
    return Scrypt(salt=salt, length=_KEY_BYTES, n=n, r=r, p=p).derive(secret.passphrase.encode())


def _member(told: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Member:
    name, number = _text(told["name"]), _text(told["number"])
    if not name or not number or number != tidy_number(number):
        raise ValueError("a name or number")
    if len(number) == _ID_CARD_PLACES and not valid_number(number):
        raise ValueError("a number")
    templates = [_template(one, pictures) for one in told["templates"]]
    if not isinstance(told["allowed"], bool):
        raise TypeError("allowed")
    return Member(
        token="",
        name=name,
        number=number,
        allowed=told["allowed"],
        valid_until=date.fromisoformat(told["valid_until"]) if told["valid_until"] else None,
        **rights_of(told),
        consent=consent_from_json(told["consent"]) if told["consent"] else None,
        templates=tuple(one for one in templates if not one.why),
        quarantined=tuple(one for one in templates if one.why),
    )


def _template(told: Mapping[str, Any], pictures: Mapping[str, bytes]) -> Template:
    quality = told["quality"]
    template = Template(
        model=_text(told["model"]),
        vector=base64.b64decode(told["vector"], validate=True),
        consent=_text(told["consent"]),
        made_at=datetime.fromisoformat(told["made_at"]).isoformat(),
        id=_text(told["id"]),
        source=_text(told["source"]),
        quality=Figures(**{key: float(value) for key, value in quality.items()}) if quality else None,
        expires=date.fromisoformat(told["expires"]) if told["expires"] else None,
        has_picture=_text(told["id"]) in pictures,
        why=_text(told["why"]),
        other=_text(told["other"]),
    )
    if not (template.model and template.consent and _TEMPLATE_ID.fullmatch(template.id)) or len(template.vector) % 4:
        raise ValueError("a template without model, consent, id or whole numbers")
    numbers = struct.unpack(f"<{len(template.vector) // 4}f", template.vector)
    if not abs(math.sqrt(math.fsum(number * number for number in numbers)) - 1) < 1e-3:
        raise ValueError("a vector that is not of unit length")
    return template


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    return value


def _check_whole(members: Collection[Member], pictures: Mapping[str, bytes]) -> None:
    """Refuse an archive whose parts do not belong together."""
    templates = [one for member in members for one in (*member.templates, *member.quarantined)]
    ids = {one.id for one in templates}
    lengths: dict[str, int] = {}
    if len({member.number for member in members}) < len(members):
        raise DataError("the archive holds a person twice; nothing is taken")
    if len(ids) < len(templates) or set(pictures) - ids:
        raise DataError("the archive holds templates or pictures that belong to nobody or to two; nothing is taken")
    for member in members:
        keeps = member.consent is not None and member.consent.keep_picture
        if not keeps and any(one.has_picture for one in (*member.templates, *member.quarantined)):
            raise DataError("the archive holds a picture that nobody consented to keep; nothing is taken")
    if any(lengths.setdefault(one.model, len(one.vector)) != len(one.vector) for one in templates):
        raise DataError("the archive holds vectors of different lengths for one model; nothing is taken")
