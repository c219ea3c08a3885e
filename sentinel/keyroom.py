"""Open the vault as a gate's settings say, with the device key from wherever it is kept.

    a credential     systemd gives it to a service under $CREDENTIALS_DIRECTORY (LoadCredentialEncrypted= of the unit),
                     decrypted by the TPM or the host's own key; at rest it is `secrets/device.cred`
    a file           `secrets/device.key`, for its owner's eyes: where nobody has made a credential of it

A credential wins. Where both are there, they must be the same key: of two keys one opens nothing. Outside
a service root decrypts the credential itself and then goes on as the owner of the secrets, whose files they are.
"""

import base64
import logging
import os
import pwd
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.core.errors import NotPermitted
from sentinel.settings import Settings
from sync.errors import IdentityError, VaultError
from sync.vault import Vault, read_key_file

if TYPE_CHECKING:
    from sync.identity import Known

log = logging.getLogger(__name__)

NAME = "device.key"  # of the credential and of the file
CREDENTIAL = "device.cred"
IDENTITY = "gate.key"
_TPM_S = 20.0  # a TPM answers within two


def open_vault(settings: Settings, *, create: bool = False) -> Vault:
    """Return the vault of this gate; with `create`, make what is missing.

    Raises: VaultError when a key is missing, malformed, readable by everybody, or there twice and not the same.
    NotPermitted when only root can decrypt the credential.
    """
    folder = settings.paths.secrets_dir
    return Vault.open(folder, create=create, cipher=settings.vault.cipher, device_key=device_key(folder))


def device_key(folder: Path, *, decrypt: Callable[[Path], bytes] | None = None) -> bytes | None:
    """Return the device key when it is a credential, None when it is the file's.

    Raises: VaultError, NotPermitted.
    """
    given, sealed, plain = _given(), folder / CREDENTIAL, folder / NAME
    if given is not None:
        key = read_key_file(given)
    elif not _is_there(sealed):
        return None
    elif plain.exists():
        return None  # `seal-key` was killed before its end: the file is the same key until it is gone
    else:
        key = (decrypt or decrypted)(sealed)
    if plain.exists() and read_key_file(plain) != key:
        raise VaultError(f"{plain} and the credential {given} are two different keys; move the wrong one away")
    return key


@cache
def decrypted(sealed: Path) -> bytes:
    """Return what the credential holds, as root; go on as the owner of the secrets from then on.

    Raises: NotPermitted for anybody else, VaultError when this machine cannot decrypt it.
    """
    if os.geteuid() != 0:
        raise NotPermitted(f"the device key is in the credential {sealed}, which root decrypts; run this as root")
    key = run_creds("decrypt", f"--name={NAME}", str(sealed), "-")
    if len(key) != 32:
        raise VaultError(f"{sealed} holds {len(key)} bytes, expected 32; restore it from its offline copy")
    owner = sealed.parent.stat()
    if owner.st_uid:
        log.debug("going on as user %d, whose files these are", owner.st_uid)
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
    return key


def run_creds(*words: str, stdin: bytes = b"") -> bytes:
    """Return what `systemd-creds` answers.

    Raises: VaultError with its own words.
    """
    try:
        done = subprocess.run(["systemd-creds", *words], input=stdin, capture_output=True, timeout=_TPM_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VaultError(f"systemd-creds cannot be run ({error}); it comes with systemd 250 or later") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise VaultError(f"systemd-creds {words[0]}: {said}; the credential belongs to the machine that made it")
    return done.stdout


def signer(settings: Settings) -> Callable[[bytes], tuple[str, str]]:
    """Return what signs a deletion as this gate, whose identity is made when it is first needed."""

    def sign(payload: bytes) -> tuple[str, str]:
        from sync.identity import load_identity, make_identity

        path = settings.paths.secrets_dir / IDENTITY
        ours = load_identity(path) if path.exists() else make_identity(path)
        return ours.known.id, base64.b64encode(ours.sign("deletion", payload)).decode()

    return sign


def own_identity(settings: Settings) -> "Known | None":
    """Return the public half of this gate's identity, None where it was never needed or this user may not read it."""
    from sync.identity import load_identity

    path = settings.paths.secrets_dir / IDENTITY
    try:
        return load_identity(path).known if path.exists() else None
    except (IdentityError, PermissionError) as error:
        log.debug("the gate's identity cannot be read: %s", error)
        return None


def number_sealer(settings: Settings) -> Callable[[str], str] | None:
    """Return what seals an ID number for the street alone, None where its policy asks for the token only.

    Of several streets' keys the first in the file opens it. Keys that cannot be read cost the number, not the entry.
    """
    uplink = settings.uplink
    if uplink.id_number != "sealed" or uplink.street_keys is None:
        return None
    from sync.identity import load_believed

    try:
        street = next(iter(load_believed(uplink.street_keys)))
    except IdentityError as error:
        log.error("ID numbers cannot be sealed, only tokens go along: %s", error)
        return None
    return lambda number: base64.b64encode(street.seal("id-number", number.encode())).decode()


def _given() -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder, NAME) if folder else None
    return path if path is not None and path.exists() else None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # then the vault itself says who may read the secrets
        return False
