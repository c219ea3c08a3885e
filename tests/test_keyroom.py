"""The device key comes from a credential or from a file; which one wins is never a matter of chance."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentinel import cli, keyroom
from sentinel.core.errors import NotPermitted
from sentinel.settings import load
from sync.errors import VaultError
from sync.vault import Vault

ROOT = Path(__file__).resolve().parents[1]
KEY, OTHER = bytes(range(32)), bytes(32)


@pytest.fixture
def secrets(tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Give a service its credential, as systemd does."""

    def give(key: bytes, mode: int = 0o440) -> None:
        folder = tmp_path / "credentials"
        folder.mkdir(exist_ok=True)
        (folder / "device.key").write_bytes(key)
        (folder / "device.key").chmod(mode)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))

    return give


def put(path: Path, key: bytes) -> None:
    path.write_bytes(key)
    path.chmod(0o600)


def test_a_file_is_used_where_there_is_no_credential(secrets):
    assert keyroom.device_key(secrets) is None
    put(secrets / "device.key", KEY)
    assert keyroom.device_key(secrets) is None, "the vault reads it itself, with its own checks"


def test_a_credential_of_another_service_is_none_of_ours(secrets, given, monkeypatch, tmp_path):
    given(KEY)
    (tmp_path / "credentials" / "device.key").rename(tmp_path / "credentials" / "other.key")
    assert keyroom.device_key(secrets) is None


def test_a_credential_wins_and_must_be_the_same_key_as_the_file(secrets, given):
    given(KEY)
    assert keyroom.device_key(secrets) == KEY
    put(secrets / "device.key", KEY)
    assert keyroom.device_key(secrets) == KEY
    put(secrets / "device.key", OTHER)
    with pytest.raises(VaultError, match="two different keys"):
        keyroom.device_key(secrets)


@pytest.mark.parametrize(("key", "mode", "why"), [(KEY, 0o444, "chmod 600"), (b"short", 0o440, "5 bytes")])
def test_a_credential_is_checked_as_a_file_is(secrets, given, key, mode, why):
    given(key, mode)
    with pytest.raises(VaultError, match=why):
        keyroom.device_key(secrets)


def test_outside_a_service_the_sealed_credential_is_decrypted_and_no_new_key_is_made(secrets):
    (secrets / "device.cred").write_bytes(b"sealed by systemd")
    assert keyroom.device_key(secrets, decrypt=lambda path: KEY if path.name == "device.cred" else OTHER) == KEY

    def refuse(path: Path) -> bytes:
        raise NotPermitted(f"{path}; run this as root")

    with pytest.raises(NotPermitted):
        keyroom.device_key(secrets, decrypt=refuse)
    assert not (secrets / "device.key").exists()
    put(secrets / "device.key", KEY)
    assert keyroom.device_key(secrets, decrypt=refuse) is None, "until the file is gone it is the key"


def test_who_is_not_root_is_told_who_decrypts(secrets):
    (secrets / "device.cred").write_bytes(b"sealed")
    code = (
        "import os, sys; from pathlib import Path; from sentinel import keyroom\n"
        "from sentinel.core.errors import NotPermitted\n"
        "os.geteuid() or os.setuid(65534)\n"
        "try: keyroom.decrypted(Path(sys.argv[1]))\n"
        "except NotPermitted as error: print(error)"
    )
    run = [sys.executable, "-c", code, str(secrets / "device.cred")]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "run this as root" in done.stdout, done.stderr


def test_the_cipher_of_the_settings_seals(tmp_path, secrets):
    config = tmp_path / "gate.toml"
    text = (ROOT / "config" / "gate.toml").read_text().replace('# cipher = "auto"', 'cipher = "sm4-gcm"')
    config.write_text(text.replace('# secrets_dir = "/var/lib/sentinel/secrets"', f'secrets_dir = "{secrets}"'))
    vault = keyroom.open_vault(load(config), create=True)
    _, sealed = vault.seal({"name": "x"}, "passage", "2026-11-22")
    assert sealed[0] == 3


def test_moving_the_key_leaves_no_plain_copy_and_the_vault_opens_as_before(tmp_path, secrets, monkeypatch, capsys):
    """With a stand-in for systemd-creds, which would write into the host; it is asked what systemd 252 takes."""
    tool = tmp_path / "bin" / "systemd-creds"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\nverb=$1; shift\nwhile [ \"${1#--}\" != \"$1\" ]; do echo \"$1\" >> \"$0.asked\"; shift; done\n"
        "[ \"$1\" = - ] && exec tr 'A-Za-z' 'N-ZA-Mn-za-m'\nexec tr 'A-Za-z' 'N-ZA-Mn-za-m' < \"$1\"\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    part = Vault.open(secrets, create=True).seal({"name": "x"}, "passage", "2026-11-22")
    plain = (secrets / "device.key").read_bytes()
    config = tmp_path / "gate.toml"
    text = (ROOT / "config" / "gate.toml").read_text()
    config.write_text(text.replace('# secrets_dir = "/var/lib/sentinel/secrets"', f'secrets_dir = "{secrets}"'))
    call = ["vault", "seal-key", "--config", str(config), "--lang", "en"]
    assert cli.main(call) in (64, 77), "never without a yes, and only root"
    if os.geteuid() != 0:
        return
    assert (secrets / "device.key").exists()
    assert cli.main([*call, "--with-key", "tpm2", "--yes"]) == 0
    assert sorted(path.name for path in secrets.iterdir() if plain in path.read_bytes()) == []
    assert not (secrets / "device.key").exists()
    asked = Path(f"{tool}.asked").read_text().split()
    assert asked == ["--with-key=tpm2", "--name=device.key", "--name=device.key"]
    assert keyroom.open_vault(load(config)).unseal(*part) == {"name": "x"}
    assert cli.main(["vault", "show", "--config", str(config), "--lang", "en"]) == 0
    assert "a credential of systemd" in capsys.readouterr().out
    assert cli.main([*call, "--yes"]) == 64, "there is nothing left to move"
