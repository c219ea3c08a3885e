"""The vault: personal parts open with their own key and no other, and a destroyed key deletes them."""

import sqlite3
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import schema
from sync.errors import VaultError
from sync.vault import SPOOL_KEY, Vault

DAY = date(2026, 11, 22)
PERSON = {"name": "王小明", "number": "11010519491231002X"}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    return tmp_path / "secrets"


@pytest.fixture
def vault(secrets: Path) -> Vault:
    return Vault.open(secrets, create=True)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    yield Vault.open(tmp_path_factory.mktemp("lasting"), create=True)


def test_what_was_sealed_opens_in_another_process_too(vault, secrets):
    key_name, ciphertext = vault.seal(PERSON, "passage", DAY)
    assert key_name == "passage/2026-11-22"
    assert Vault.open(secrets).unseal(key_name, ciphertext) == PERSON


@given(plain=st.binary(max_size=300))
def test_any_bytes_come_back(lasting, plain):
    key_name, ciphertext = lasting.seal_bytes(plain, "template", DAY)
    assert lasting.unseal_bytes(key_name, ciphertext) == plain


def test_the_same_part_never_looks_the_same_twice(vault):
    assert vault.seal(PERSON, "passage", DAY)[1] != vault.seal(PERSON, "passage", DAY)[1]


def test_the_ciphertext_names_its_algorithm_and_shows_nothing(vault):
    _, ciphertext = vault.seal(PERSON, "passage", DAY)
    assert ciphertext[0] == 1
    assert "王".encode() not in ciphertext


def test_an_unknown_algorithm_is_an_error(vault):
    key_name, ciphertext = vault.seal(PERSON, "passage", DAY)
    with pytest.raises(VaultError, match="algorithm"):
        vault.unseal(key_name, b"\x09" + ciphertext[1:])


def test_a_part_does_not_open_under_the_name_of_another_key(vault):
    _, ciphertext = vault.seal(PERSON, "passage", DAY)
    vault.seal(PERSON, "registration", DAY)
    with pytest.raises(VaultError, match="does not open"):
        vault.unseal("registration/2026-11-22", ciphertext)


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_noticed(lasting, place, bit):
    key_name, ciphertext = lasting.seal(PERSON, "passage", DAY)
    torn = bytearray(ciphertext)
    torn[place % len(torn)] ^= 1 << bit
    with pytest.raises(VaultError):
        lasting.unseal(key_name, bytes(torn))


@given(length=st.integers(0, 40))
def test_a_torn_ciphertext_is_an_error_of_ours(lasting, length):
    key_name, ciphertext = lasting.seal(PERSON, "passage", DAY)
    with pytest.raises(VaultError):
        lasting.unseal(key_name, ciphertext[:length])


def test_a_destroyed_key_takes_its_parts_with_it_in_every_process(vault, secrets):
    other = Vault.open(secrets)
    key_name, ciphertext = vault.seal(PERSON, "passage", DAY)
    assert other.unseal(key_name, ciphertext) == PERSON
    assert vault.destroy(key_name)
    for survivor in (vault, other, Vault.open(secrets)):
        with pytest.raises(VaultError, match="destroyed"):
            survivor.unseal(key_name, ciphertext)
    assert key_name not in vault.names()
    assert not vault.destroy(key_name)


def test_a_key_made_again_under_a_destroyed_name_does_not_open_the_past(vault):
    key_name, ciphertext = vault.seal(PERSON, "passage", DAY)
    vault.destroy(key_name)
    vault.seal(PERSON, "passage", DAY)
    with pytest.raises(VaultError, match="does not open"):
        vault.unseal(key_name, ciphertext)


def test_a_destroyed_key_leaves_no_bytes_in_the_file(vault, secrets):
    key_name, _ = vault.seal(PERSON, "passage", DAY)
    with schema.connect(secrets / "vault.db", "ro") as database:
        (wrapped,) = database.execute("SELECT wrapped FROM keys").fetchone()
    database.close()
    assert vault.wrapped([key_name, "passage/1999-01-01"]) == {key_name: wrapped}
    assert wrapped in (secrets / "vault.db").read_bytes()
    vault.seal(PERSON, "registration", DAY)  # its journal holds the page as it was, with the first key on it
    assert wrapped in (secrets / "vault.db-journal").read_bytes()
    journal = (secrets / "vault.db-journal").stat()
    vault.destroy(key_name)
    left = (secrets / "vault.db-journal").stat()
    assert (left.st_ino, left.st_size >= journal.st_size) == (journal.st_ino, True), "its blocks stay and are zeros"
    assert [path.name for path in secrets.iterdir() if wrapped in path.read_bytes()] == []


def test_what_a_power_cut_left_in_the_journal_goes_with_the_next_destruction_even_of_nothing(vault, secrets):
    key_name, _ = vault.seal(PERSON, "passage", DAY)
    vault.seal(PERSON, "registration", DAY)
    (wrapped,) = vault.wrapped([key_name]).values()
    assert wrapped in (secrets / "vault.db-journal").read_bytes()
    assert vault.destroy() == 0
    assert wrapped not in (secrets / "vault.db-journal").read_bytes()
    assert vault.names() == ("passage/2026-11-22", "registration/2026-11-22")


def test_two_processes_that_make_a_key_at_once_get_the_same_one(secrets, vault):
    vaults = [Vault.open(secrets) for _ in range(4)]
    gate, sealed = threading.Barrier(len(vaults)), []

    def make(mine: Vault) -> None:
        gate.wait(10)
        sealed.append(mine.seal(PERSON, "passage", DAY))

    threads = [threading.Thread(target=make, args=(mine,)) for mine in vaults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [vault.unseal(*part) for part in sealed] == [PERSON] * len(vaults)


class FullDisk:
    """Lets the vault read and refuses every change, as a full or read-only disk does."""

    def __init__(self):
        self.full = False

    def connect(self, path: Path, mode: str) -> sqlite3.Connection:
        connection = schema.connect(path, mode)
        if self.full:
            connection.execute("PRAGMA query_only = ON")
        return connection


def test_a_full_disk_does_not_stop_a_key_that_is_known(secrets, vault):
    earlier, later = vault.seal(PERSON, "passage", DAY), FullDisk()
    later.full = True
    restarted = Vault.open(secrets, connect=later.connect)
    key_name, ciphertext = restarted.seal(PERSON, "passage", DAY)
    assert restarted.unseal(key_name, ciphertext) == restarted.unseal(*earlier) == PERSON


def test_a_key_that_cannot_be_made_is_an_error_and_not_a_weaker_seal(secrets, vault):
    disk = FullDisk()
    restarted = Vault.open(secrets, connect=disk.connect)
    disk.full = True
    with pytest.raises(VaultError, match="vault"):
        restarted.seal(PERSON, "passage", DAY)
    disk.full = False
    assert restarted.unseal(*restarted.seal(PERSON, "passage", DAY)) == PERSON


def test_the_key_of_the_spool_needs_no_disk_at_all(secrets, vault):
    (secrets / "vault.db").unlink()
    key_name, ciphertext = vault.seal_for_spool(PERSON)
    assert key_name == SPOOL_KEY
    assert vault.unseal(key_name, ciphertext) == PERSON


def test_a_damaged_vault_is_an_error_of_ours(secrets, vault):
    (secrets / "vault.db").write_bytes(b"no database" * 100)
    with pytest.raises(VaultError, match="not a database"):
        vault.seal(PERSON, "passage", DAY)


def test_keys_are_made_once_and_for_their_owner_only(secrets, vault):
    before = (secrets / "device.key").read_bytes(), (secrets / "site.key").read_bytes()
    Vault.open(secrets, create=True)
    assert ((secrets / "device.key").read_bytes(), (secrets / "site.key").read_bytes()) == before
    assert all(len(key) == 32 for key in before) and before[0] != before[1]
    assert {path.name: path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {
        "device.key": 0o600,
        "site.key": 0o600,
        "vault.db": 0o600,
        "vault.db-journal": 0o600,
    }
    assert secrets.stat().st_mode & 0o777 == 0o700


def test_nothing_is_made_unless_asked_for(secrets):
    with pytest.raises(VaultError, match=r"device\.key is not there"):
        Vault.open(secrets)
    assert not secrets.exists()


def test_a_key_that_everybody_can_read_is_refused(secrets, vault):
    (secrets / "device.key").chmod(0o644)
    with pytest.raises(VaultError, match="chmod 600"):
        Vault.open(secrets)


def test_a_key_that_was_cut_short_is_refused(secrets, vault):
    (secrets / "site.key").write_bytes(b"short")
    with pytest.raises(VaultError, match="5 bytes"):
        Vault.open(secrets)


def test_another_boxs_device_key_opens_nothing(secrets, vault):
    key_name, ciphertext = vault.seal(PERSON, "passage", DAY)
    (secrets / "device.key").write_bytes(bytes(32))
    with pytest.raises(VaultError, match="another box"):
        Vault.open(secrets).unseal(key_name, ciphertext)


def test_a_token_is_the_same_at_each_gate_of_a_site_and_nowhere_else(vault, tmp_path):
    other_gate = tmp_path / "other"
    Vault.open(other_gate, create=True)
    elsewhere = Vault.open(other_gate).token(PERSON["number"])
    (other_gate / "site.key").write_bytes((tmp_path / "secrets" / "site.key").read_bytes())
    token = vault.token(PERSON["number"])
    assert Vault.open(other_gate).token(" 11010519491231002x ") == token != elsewhere
    assert len(token) == 32 and set(token) <= set("0123456789abcdef")


def test_many_days_do_not_fill_the_memory(vault):
    parts = [vault.seal(PERSON, "passage", f"day-{number}") for number in range(70)]
    assert all(vault.unseal(*part) == PERSON for part in parts)
    assert len(vault.names()) == 70
