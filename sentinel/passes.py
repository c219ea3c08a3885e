"""Write and read passes: a visitor's or a colleague's right to come in, as a short signed text in a QR code.

    SP1:AEAWYJ7WMWTP4LDN...      156 characters

After the prefix, 95 bytes in base32: version, kind, pass id, key id, scope, first and last moment, uses, then the
Ed25519 signature of prefix and fields. Base32 has no character that a scanner in keyboard manner could
mistype, and it fits the alphanumeric mode of QR codes. There is no personal data in it: a lost pass names nobody.

Keys are PEM files, as `openssl genpkey -algorithm ed25519` makes them: ours is `pass.key` among the secrets, those of
others whose passes are taken here are `*.pub` in one folder.
"""

import base64
import contextlib
import hashlib
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from drivers.readings import CodeReading
from sentinel.core.admission import MOST_USES, PassBook, Scope, lives_too_long
from sentinel.core.errors import DataError, Unavailable, UsageError
from sentinel.core.model import (
    Attempt,
    Decision,
    Method,
    Outcome,
    Pass,
    PassKind,
    PassProblem,
    Reason,
    ShownPass,
)
from sentinel.core.policy import UNASKED
from sync.disk import sync_folder, write_whole

PREFIX = b"SP1:"
_FIELDS = struct.Struct(">BB8s4s8sIIB")
_VERSION = 1
_SIGNATURE_BYTES = 64
_CODE_BYTES = _FIELDS.size + _SIGNATURE_BYTES  # 95: a multiple of five, so that base32 has one form and no padding
CODE_CHARACTERS = len(PREFIX) + _CODE_BYTES * 8 // 5
_LAST_MOMENT_UTC_S = 2**32 - 1  # in the year 2106
_KINDS = {1: PassKind.VISITOR, 2: PassKind.STAFF}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_MARK_DIGITS = 32

Keys = Mapping[str, Ed25519PublicKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuers:
    """Whose passes are taken here, by key id, and which key files cannot be used and why."""

    keys: Keys
    problems: tuple[str, ...] = ()


def write_pass(
    key: Ed25519PrivateKey,
    *,
    kind: PassKind,
    scope: str,
    valid_from_utc_s: int,
    valid_until_utc_s: int,
    uses: int,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> str:
    """Return the text of a new pass.

    Raises: UsageError when it would be valid for too long, or for no time at all.
    """
    if not 0 <= uses <= MOST_USES:
        raise UsageError(f"a pass is used up to {MOST_USES} times, not {uses}; 0 is any number while it is valid")
    if lives_too_long(valid_from_utc_s, valid_until_utc_s, uses):
        raise UsageError("a pass with a number of uses lasts a week at most, any other 400 days; make it shorter")
    if not 0 <= valid_from_utc_s < valid_until_utc_s <= _LAST_MOMENT_UTC_S:
        raise UsageError("a pass must begin after 1970 and end before 2106; set the clock of this machine")
    issuer, pass_id = bytes.fromhex(key_id(key.public_key())), random_bytes(8)
    fields = _FIELDS.pack(
        _VERSION, _NUMBERS[kind], pass_id, issuer, bytes.fromhex(scope), valid_from_utc_s, valid_until_utc_s, uses
    )
    code = base64.b32encode(fields + key.sign(PREFIX + fields))
    return (PREFIX + code).decode()


def read_pass(content: bytes, keys: Keys) -> Pass | PassProblem:
    """Return the pass in what a scanner read, or why there is none. Takes any bytes."""
    content = content.strip()
    if not content.startswith(PREFIX):
        return PassProblem.NOT_A_PASS
    try:
        code = base64.b32decode(content[len(PREFIX) :])
    except ValueError:
        return PassProblem.DAMAGED
    if len(code) != _CODE_BYTES:
        return PassProblem.DAMAGED
    fields, signature = code[: _FIELDS.size], code[_FIELDS.size :]
    found = _read_fields(fields)
    if found is None:
        return PassProblem.DAMAGED
    key = keys.get(found.issuer)
    if key is None:
        return PassProblem.UNKNOWN_ISSUER
    try:
        key.verify(signature, PREFIX + fields)
    except InvalidSignature:
        return PassProblem.BAD_SIGNATURE
    return found


def shown_pass(reading: CodeReading, keys: Keys) -> ShownPass:
    """Return what a code means to the rules of the gate."""
    mark = hashlib.sha256(reading.content.strip()).hexdigest()[:_MARK_DIGITS]
    return ShownPass(at_mono=reading.at_mono, mark=mark, read=read_pass(reading.content, keys))


class PassDesk:
    """Say everything the lane asks about passes: what a code is, what speaks against it, and that it was used."""

    def __init__(
        self,
        *,
        scope: Scope,
        issuers: Issuers,
        book: PassBook,
        now_utc_s: Callable[[], float],
        clock_trusted: Callable[[], bool],
    ) -> None:
        self.issuers = issuers  # replaced when the key files change
        self.book = book
        self._scope = scope
        self._now_utc_s = now_utc_s
        self._clock_trusted = clock_trusted

    def read(self, reading: CodeReading) -> ShownPass:
        """Return what a code means to the rules of the gate."""
        return shown_pass(reading, self.issuers.keys)

    def objections(self, attempt: Attempt) -> tuple[Reason, ...]:
        """Return what speaks against the attempt's pass now, to be handed to `decide`."""
        found = attempt.shown.read if attempt.shown else None
        if not isinstance(found, Pass):
            return UNASKED
        return self.book.admit(
            found, now_utc_s=self._now_utc_s(), clock_trusted=self._clock_trusted(), scope=self._scope
        )

    def note_kept(self, attempt: Attempt, decision: Decision) -> None:
        """Take in that this decision is kept: a pass that opens is used from now on, before the barrier moves."""
        found = attempt.shown.read if attempt.shown else None
        if isinstance(found, Pass) and decision.outcome is Outcome.OPEN and decision.method is Method.PASS:
            self.book.note_used(found.pass_id, self._now_utc_s())


def _read_fields(fields: bytes) -> Pass | None:
    version, number, pass_id, issuer, scope, valid_from, valid_until, uses = _FIELDS.unpack(fields)
    kind = _KINDS.get(number)
    if version != _VERSION or kind is None or lives_too_long(valid_from, valid_until, uses):
        return None
    return Pass(
        kind=kind,
        pass_id=pass_id.hex(),
        issuer=issuer.hex(),
        scope=scope.hex(),
        valid_from_utc_s=valid_from,
        valid_until_utc_s=valid_until,
        uses=uses,
    )


# Keys


def key_id(key: Ed25519PublicKey) -> str:
    """Return the name of a key: 8 hexadecimal digits of the hash of its public part."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:8]


def own_key_path(secrets_dir: Path) -> Path:
    """Return where the issuing key of a box is kept."""
    return secrets_dir / "pass.key"


def public_text(key: Ed25519PublicKey) -> str:
    """Return the public part as the PEM text of a `*.pub` file."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def make_key(path: Path, *, replace: bool = False) -> Ed25519PrivateKey:
    """Return a new issuing key, kept in this file for its owner alone.

    Raises: UsageError when the file is there and is not to be replaced. Unavailable when the disk refuses.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if replace:
            write_whole(path, pem)
        else:
            _write_new(path, pem)
    except FileExistsError:
        raise UsageError(f"{path} is there already; --replace makes every pass it signed unknown to gates") from None
    except OSError as error:
        raise Unavailable(f"cannot make {path}: {error}; check the folder and its permissions") from error
    return key


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that appears whole, and only where none is."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    write_whole(draft, data)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)


def load_key(path: Path) -> Ed25519PrivateKey:
    """Return the issuing key in this file.

    Raises: Unavailable when it cannot be read. DataError when it is no such key, or everybody can read it.
    """
    try:
        mode, pem = path.stat().st_mode, path.read_bytes()
    except FileNotFoundError:
        raise Unavailable(f"there is no issuing key at {path}; make one: sentinelctl issue key") from None
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error}; check its permissions") from error
    if mode & 0o007:
        raise DataError(f"{path} can be read by everybody (mode {mode & 0o777:04o}); chmod 600 it")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DataError(f"{path} is no private key without a password; make one: sentinelctl issue key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DataError(f"{path} is no Ed25519 key; make one: sentinelctl issue key")
    return key


def load_issuers(secrets_dir: Path, issuers_dir: Path | None) -> Issuers:
    """Return whose passes are taken here: our own, and of each `*.pub` file. A bad file costs only its own passes."""
    keys: dict[str, Ed25519PublicKey] = {}
    problems: list[str] = []
    own = own_key_path(secrets_dir)
    files = sorted((issuers_dir or secrets_dir / "issuers").glob("*.pub"))
    for path in [*([own] if own.exists() else []), *files]:
        try:
            key = load_key(path).public_key() if path == own else _load_public(path)
        except (DataError, Unavailable) as error:
            problems.append(str(error))
            continue
        if keys.setdefault(key_id(key), key) != key:
            problems.append(f"{path} has the id {key_id(key)} of another key; its owner must make a new one")
    return Issuers(keys=keys, problems=tuple(problems))


def issuers_mark(secrets_dir: Path, issuers_dir: Path | None) -> tuple[tuple[str, int], ...]:
    """Return which key files are there and when each was written; equal marks mean nothing changed."""
    marks = []
    for path in [own_key_path(secrets_dir), *sorted((issuers_dir or secrets_dir / "issuers").glob("*.pub"))]:
        with contextlib.suppress(OSError):  # it is not there, or has just gone
            marks.append((str(path), path.stat().st_mtime_ns))
    return tuple(marks)


def _load_public(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error}; check its permissions") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DataError(f"{path} is no public key; ask its owner for: sentinelctl issue key --public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise DataError(f"{path} is no Ed25519 key; ask its owner for: sentinelctl issue key --public")
    return key
