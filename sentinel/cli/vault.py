"""Look at the vault, and put its device key where only this machine can read it."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from sentinel.cli import add_nouns, add_verb
from sentinel.core.errors import NotPermitted, UsageError
from sentinel.i18n import text
from sentinel.settings import load

_SEAL = """The file device.key becomes the credential device.cred, which only this machine decrypts (its TPM, or the
host's key where there is none), and is overwritten. Then let the units take it: remove the # before
LoadCredentialEncrypted= in the units of gate, manual and backup, systemctl daemon-reload, restart. Keep
an offline copy of device.key first: without it a broken mainboard takes every name with it."""


def add(subparsers: Any) -> None:
    """Add `vault show` and `vault seal-key`."""
    nouns = add_nouns(subparsers, "vault", summary="Look at the keys of personal data, and guard them.")
    add_verb(
        nouns,
        "show",
        run_show,
        summary="Show which algorithm seals, where the device key comes from, and how many keys there are.",
        example="sentinelctl vault show",
        exits="0 shown, 65 a key is missing or damaged, 77 not permitted",
    )
    seal = add_verb(
        nouns,
        "seal-key",
        run_seal_key,
        summary="Move the device key into a credential of systemd, as root.",
        about=_SEAL,
        example="sentinelctl vault seal-key --with-key auto",
        exits="0 moved, 64 not confirmed or nothing to move, 65 it cannot be sealed, nothing was changed,\n"
        "  77 not root",
    )
    seal.add_argument("--with-key", default="auto", choices=("auto", "host", "tpm2", "host+tpm2"), help="what seals it")
    seal.add_argument("--yes", action="store_true", help="do not ask")


def run_show(args: argparse.Namespace) -> int:
    """Print what the vault is made of; no key."""
    from sentinel import keyroom
    from sync.ciphers import NUMBERS, number_of

    settings = load(args.config)
    folder = settings.paths.secrets_dir
    key = keyroom.device_key(folder)
    names = keyroom.open_vault(settings).names()
    used = next(name for name, number in NUMBERS.items() if number == number_of(settings.vault.cipher))
    source = "credential" if key is not None else "file"
    if args.json:
        print(json.dumps({"schema": "sentinel.vault/1", "cipher": used, "setting": settings.vault.cipher,
                          "device_key": source, "keys": len(names)}))  # fmt: skip
    elif not args.quiet:
        print(text("vault.show", args.lang, cipher=used, setting=settings.vault.cipher, keys=len(names)))
        print(text(f"vault.device-key.{source}", args.lang))
    return 0


def run_seal_key(args: argparse.Namespace) -> int:
    """Seal the key, open it again to be sure, then overwrite the file."""
    import os

    from sentinel import keyroom
    from sync.vault import read_key_file

    folder = load(args.config).paths.secrets_dir
    plain = folder / keyroom.NAME
    if os.geteuid() != 0:
        raise NotPermitted("only root may make a credential; run: sudo sentinelctl vault seal-key")
    if not plain.exists():
        raise UsageError(f"there is no {plain}; it is a credential already, or the gate was never started")
    key = read_key_file(plain)
    if not args.yes:
        _confirm(plain, args.lang)
    _seal(folder, key, args.with_key)
    _put_away(plain)
    print(text("vault.sealed", args.lang, path=folder / keyroom.CREDENTIAL))
    return 0


def _confirm(plain: Path, lang: str) -> None:
    if sys.stdin.isatty():
        print(text("vault.confirm", lang, path=plain), end=" ", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return
    raise UsageError("nothing was changed; answer yes, or use --yes")


def _seal(folder: Path, key: bytes, with_key: str) -> None:
    from sentinel import keyroom
    from sync.disk import write_whole
    from sync.errors import VaultError

    target, draft = folder / keyroom.CREDENTIAL, folder / f"{keyroom.CREDENTIAL}.new"
    sealed = keyroom.run_creds("encrypt", f"--with-key={with_key}", f"--name={keyroom.NAME}", "-", "-", stdin=key)
    write_whole(draft, sealed, 0o600)
    opened = keyroom.run_creds("decrypt", f"--name={keyroom.NAME}", str(draft), "-")
    if opened != key:
        draft.unlink()
        raise VaultError("what was sealed does not open as it was; nothing was changed, try another --with-key")
    draft.rename(target)


def _put_away(plain: Path) -> None:
    from sync.disk import overwrite, sync_folder

    overwrite(plain)
    plain.unlink()
    sync_folder(plain.parent)
