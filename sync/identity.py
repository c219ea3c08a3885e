"""Be known from afar: sign what others must believe, and open what was sealed for us alone.

A street, and a gate, has one identity: an Ed25519 key that signs and an X25519 key that opens. `NAME.key` holds the two
private keys as PEM and stays where it was made; `NAME.pub` holds the two public ones and goes to whoever shall believe
us or seal something for us. Several `.pub` texts in one file are several identities: a new street key is added before
the old one is taken away.

A signature is over the purpose, a zero byte and the payload, so that what was signed as a receipt is no command.
Sealing is HPKE (RFC 9180: X25519, HKDF-SHA256, AES-256-GCM) with the purpose as its info.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from sync.disk import write_new
from sync.errors import IdentityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.hpke import Suite

_KEY_BYTES = 32
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n?", re.DOTALL)
# What stands before the 32 bytes of a public key (RFC 8410). Read by hand: an uplink only verifies, in 40 MB, and the
# library's general reader would take four of them.
_BEFORE_KEY = {
    bytes.fromhex("302a300506032b6570032100"): Ed25519PublicKey.from_public_bytes,
    bytes.fromhex("302a300506032b656e032100"): X25519PublicKey.from_public_bytes,
}
_LONGEST_FILE = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The public half of an identity: whom to believe, and for whom to seal."""

    verifier: Ed25519PublicKey
    sealer: X25519PublicKey

    @property
    def id(self) -> str:
        """Its name: 16 hexadecimal digits of the hash of the verifying key."""
        return hashlib.sha256(self.verifier.public_bytes_raw()).hexdigest()[:16]

    def verify(self, purpose: str, payload: bytes, signature: bytes) -> None:
        """Return when this identity has signed the payload for this purpose.

        Raises: IdentityError.
        """
        try:
            self.verifier.verify(signature, _signed(purpose, payload))
        except InvalidSignature:
            raise IdentityError(f"the signature of {self.id} does not fit; ask for it again") from None

    def seal(self, purpose: str, plain: bytes) -> bytes:
        """Return what only this identity can open, 48 bytes longer."""
        return _suite().encrypt(plain, self.sealer, purpose.encode())

    def text(self) -> str:
        """Return the two public keys as the text of a `.pub` file."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        keys = (self.verifier, self.sealer)
        return "".join(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode() for key in keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The private half."""

    signer: Ed25519PrivateKey = field(repr=False)
    opener: X25519PrivateKey = field(repr=False)

    @property
    def known(self) -> Known:
        """The public half."""
        return Known(verifier=self.signer.public_key(), sealer=self.opener.public_key())

    def sign(self, purpose: str, payload: bytes) -> bytes:
        """Return the signature of the payload for this purpose, 64 bytes."""
        return self.signer.sign(_signed(purpose, payload))

    def unseal(self, purpose: str, sealed: bytes) -> bytes:
        """Return what was sealed for us.

        Raises: IdentityError when it was sealed for somebody else or another purpose, or was changed.
        """
        try:
            return _suite().decrypt(sealed, self.opener, purpose.encode())
        except (InvalidTag, ValueError):
            raise IdentityError("sealed for somebody else, or changed on the way; open it where it belongs") from None


class Believed:
    """The identities that a place believes, by their names."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._known = {one.id: one for one in known}

    def __iter__(self) -> Iterator[Known]:
        return iter(self._known.values())

    def __len__(self) -> int:
        return len(self._known)

    def verify(self, purpose: str, payload: bytes, signer: str, signature: bytes) -> Known:
        """Return who signed this, one of ours.

        Raises: IdentityError when the signer is none of ours or the signature does not fit.
        """
        known = self._known.get(signer)
        if not signer:
            raise IdentityError("it is not signed; let the street make its keys: sentinel-street keys")
        if known is None:
            raise IdentityError(f"signed by {signer[:16]!r}, whom we do not know; add its .pub file if it is right")
        known.verify(purpose, payload, signature)
        return known


@cache
def _suite() -> "Suite":
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _signed(purpose: str, payload: bytes) -> bytes:
    return b"sentinel " + purpose.encode() + b"\0" + payload


# Files


def make_identity(path: Path) -> Identity:
    """Make an identity and keep it in this file, for its owner's eyes; one that is there already stays.

    Raises: IdentityError when it cannot be written or what is there is none.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    identity = Identity(signer=Ed25519PrivateKey.generate(), opener=X25519PrivateKey.generate())
    keys = (identity.signer, identity.opener)
    text = b"".join(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in keys)
    try:
        write_new(path, text)
    except OSError as error:
        raise IdentityError(f"cannot make {path}: {error}; check the folder's permissions") from error
    return load_identity(path)


def load_identity(path: Path) -> Identity:
    """Return the identity in this file.

    Raises: IdentityError when it is missing, damaged, or readable by everybody.
    """
    try:
        if path.stat().st_mode & 0o007:
            raise IdentityError(f"{path} can be read by everybody; chmod 600 it")
    except OSError as error:
        raise IdentityError(f"cannot read {path}: {error}; restore it, or make a new one") from error
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    match _keys(path, lambda block: load_pem_private_key(block, None)):
        case [Ed25519PrivateKey() as signer, X25519PrivateKey() as opener]:
            return Identity(signer=signer, opener=opener)
    raise IdentityError(f"{path} holds no identity (an Ed25519 and an X25519 key); restore it")


def load_believed(path: Path) -> Believed:
    """Return every identity whose public half is in this file.

    Raises: IdentityError when it cannot be read or holds anything else.
    """
    keys = _keys(path, _public_key)
    known = []
    for pair in zip(keys[::2], keys[1::2], strict=False):
        match pair:
            case (Ed25519PublicKey() as verifier, X25519PublicKey() as sealer):
                known.append(Known(verifier=verifier, sealer=sealer))
    if not keys or len(known) * 2 != len(keys):
        raise IdentityError(f"{path}: expected pairs of an Ed25519 and an X25519 public key; ask their owner again")
    return Believed(known)


def _public_key(block: bytes) -> Any:
    der = base64.b64decode(b"".join(block.split(b"\n")[1:-2]), validate=True)
    load = _BEFORE_KEY.get(der[:-_KEY_BYTES])
    if load is None:
        raise ValueError("neither Ed25519 nor X25519")
    return load(der[-_KEY_BYTES:])


def _keys(path: Path, load: Callable[[bytes], Any]) -> list[Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_FILE)
        return [load(match.group(0)) for match in _BLOCK.finditer(text)]
    except OSError as error:
        raise IdentityError(f"cannot read {path}: {error}; check the path and its permissions") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityError(f"{path} holds a damaged key; restore it, or ask its owner again") from error
