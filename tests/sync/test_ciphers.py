"""Three algorithms, one vault: the choice decides what seals, never what opens."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sync import ciphers, schema
from sync.ciphers import NUMBERS, has_aes, number_of
from sync.errors import VaultError
from sync.vault import Vault

KEY = bytes(range(32))
X86 = "processor\t: 0\nflags\t\t: fpu {}sse2 pclmulqdq\n\nprocessor\t: 1\nflags\t\t: fpu {}sse2\n"
ARM = "processor\t: 0\nBogoMIPS\t: 38.40\nFeatures\t: fp asimd {}crc32\n"
every_algorithm = pytest.mark.parametrize("name", NUMBERS)


def counted(count: int) -> bytes:
    return bytes(range(1, count + 1))


@every_algorithm
@given(plain=st.binary(max_size=200))
def test_what_an_algorithm_seals_opens_by_its_own_first_byte(name, plain):
    sealed = ciphers.seal(NUMBERS[name], KEY, "passage/2026-11-22", plain, counted)
    assert sealed[0] == NUMBERS[name]
    assert ciphers.unseal(KEY, "passage/2026-11-22", sealed) == plain


@every_algorithm
@given(place=st.integers(0), bit=st.integers(0, 7), cut=st.integers(0, 40))
def test_a_flipped_bit_another_name_or_a_torn_end_opens_nothing(name, place, bit, cut):
    sealed = bytearray(ciphers.seal(NUMBERS[name], KEY, "passage/2026-11-22", b"somebody", counted))
    with pytest.raises(VaultError):
        ciphers.unseal(KEY, "passage/2026-11-23", bytes(sealed))
    with pytest.raises(VaultError):
        ciphers.unseal(KEY, "passage/2026-11-22", bytes(sealed[: min(cut, len(sealed) - 1)]))
    sealed[place % len(sealed)] ^= 1 << bit
    with pytest.raises(VaultError):
        ciphers.unseal(KEY, "passage/2026-11-22", bytes(sealed))


@every_algorithm
@pytest.mark.parametrize("other", [*NUMBERS.values(), 4, 0])
def test_a_part_cannot_be_passed_off_as_sealed_by_another_algorithm(name, other):
    sealed = ciphers.seal(NUMBERS[name], KEY, "k", b"somebody", counted)
    if other == NUMBERS[name]:
        assert ciphers.unseal(KEY, "k", bytes((other,)) + sealed[1:]) == b"somebody"
    else:
        with pytest.raises(VaultError):
            ciphers.unseal(KEY, "k", bytes((other,)) + sealed[1:])


@pytest.mark.parametrize(
    ("text", "aes"),
    [
        (X86.format("aes ", "aes "), True),
        (X86.format("aes ", ""), False),
        (X86.format("vaes_not ", "aesni "), False),
        (ARM.format("aes "), True),
        (ARM.format(""), False),
        ("model name\t: something without a list\n", True),
    ],
)
def test_the_processor_chooses_where_the_site_does_not(tmp_path: Path, text, aes):
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(text)
    assert has_aes(cpu) is aes
    assert number_of("auto", cpu) == (1 if aes else 2)
    assert number_of("sm4-gcm", cpu) == 3


def test_a_box_that_says_nothing_of_its_processor_keeps_to_aes(tmp_path):
    assert number_of("auto", tmp_path / "absent") == 1


def test_sm4_gcm_is_the_one_of_rfc_8998():
    """Source: RFC 8998, appendix A.1."""
    key = bytes.fromhex("0123456789abcdeffedcba9876543210")
    nonce = bytes.fromhex("00001234567800000000abcd")
    plain = bytes.fromhex(
        "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccdddddddddddddddd"
        "eeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa"
    )
    bound = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    told = bytes.fromhex(
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735"
        "d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d"
        "83de3541e4c2b58177e065a9bf7b62ec"
    )
    assert ciphers._sm4_seal(key, nonce, plain, bound) == told
    assert ciphers._sm4_open(key, nonce, told, bound) == plain


def test_a_vault_opens_everything_whatever_it_seals_with_now(tmp_path):
    secrets, parts = tmp_path / "secrets", []
    for name in NUMBERS:
        vault = Vault.open(secrets, create=True, cipher=name)
        parts += [
            vault.seal({"name": name}, "passage", "2026-11-22"),  # a key that the first algorithm has wrapped
            vault.seal({"name": name}, f"class-of-{name}", "2026-11-22"),  # and one of its own
            vault.seal_for_spool({"name": name}),
        ]
        assert [part[1][0] for part in parts[-3:]] == [NUMBERS[name]] * 3
    for name in ("auto", *NUMBERS):
        vault = Vault.open(secrets, cipher=name)
        assert [vault.unseal(*part)["name"] for part in parts] == [one for one in NUMBERS for _ in range(3)]


def test_a_key_wrapped_before_there_was_a_choice_still_opens(tmp_path):
    secrets = tmp_path / "secrets"
    vault = Vault.open(secrets, create=True)
    device, key, nonce = (secrets / "device.key").read_bytes(), bytes(range(32)), bytes(12)
    wrapped = nonce + AESGCM(device).encrypt(nonce, key, b"\x01roster/2026-11-01")
    with schema.connect(secrets / "vault.db", "rw") as database:
        database.execute("INSERT INTO keys VALUES ('roster/2026-11-01', ?)", (wrapped,))
    database.close()
    part = b"\x01" + nonce + AESGCM(key).encrypt(nonce, b'{"name":"before"}', b"\x01roster/2026-11-01")
    for name in NUMBERS:
        assert Vault.open(secrets, cipher=name).unseal("roster/2026-11-01", part) == {"name": "before"}
    assert vault.opener()("roster/2026-11-01", part) == b'{"name":"before"}'


def test_a_device_key_from_elsewhere_takes_the_place_of_the_file(tmp_path):
    secrets = tmp_path / "secrets"
    part = Vault.open(secrets, create=True, device_key=KEY).seal({"name": "x"}, "passage", "2026-11-22")
    assert not (secrets / "device.key").exists()
    assert Vault.open(secrets, device_key=KEY).unseal(*part) == {"name": "x"}
    with pytest.raises(VaultError, match="another box"):
        Vault.open(secrets, device_key=bytes(32)).unseal(*part)


def test_many_keys_are_made_at_once_and_are_those_that_single_ones_would_be(tmp_path):
    vault = Vault.open(tmp_path / "secrets", create=True)
    seal = vault.sealer([f"template/{number}" for number in range(300)])
    parts = [(f"template/{number}", seal(f"template/{number}", b"%d" % number)) for number in range(300)]
    unseal = vault.opener()
    assert [unseal(*part) for part in parts] == [b"%d" % number for number in range(300)]
    assert vault.unseal_bytes(*vault.seal_bytes(b"x", "template", "7")) == b"x"
    assert vault.sealer(["template/7"])("template/7", b"y") and vault.unseal_bytes(*parts[7]) == b"7"
    assert vault.destroy("template/7", "template/8", "template/none") == 2
    assert len(vault.names()) == 298
