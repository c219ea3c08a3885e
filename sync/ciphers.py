"""Seal bytes by one of three algorithms, named in the first byte, and open what any of them has sealed.

    1  AES-256-GCM          where the processor has instructions for AES
    2  ChaCha20-Poly1305    where it has none: there AES is slow, and tells of its key by how long it takes
    3  SM4-GCM              for sites under GB/T 39786

Sealed: the number of the algorithm, 12 random bytes, ciphertext and tag. The number and the name of the key are bound
in, so that neither a part nor a weaker algorithm can be passed off. One key of 32 bytes serves all three: the second
and the third take what HMAC-SHA256 makes of it and of their own name, so no two algorithms ever share a key.
"""

import hmac
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from sync.errors import VaultError

KEY_BYTES = 32
NONCE_BYTES = 12  # random: 2**32 messages under one key are safe
_TAG_BYTES = 16
_SM4_KEY_BYTES = 16
_CPU = Path("/proc/cpuinfo")

AES_256_GCM, CHACHA20_POLY1305, SM4_GCM = 1, 2, 3
NUMBERS = {"aes-256-gcm": AES_256_GCM, "chacha20-poly1305": CHACHA20_POLY1305, "sm4-gcm": SM4_GCM}
_NAMES = {number: name for name, number in NUMBERS.items()}


def number_of(cipher: str, cpu: Path = _CPU) -> int:
    """Return the number of an algorithm by its name; "auto" looks what the processor is good at."""
    return NUMBERS[cipher] if cipher != "auto" else AES_256_GCM if has_aes(cpu) else CHACHA20_POLY1305


def has_aes(cpu: Path = _CPU) -> bool:
    """Tell whether the processor has instructions for AES, as the kernel lists it; yes where nothing can be read.

    Source: `flags` on x86, `Features` on ARM, of every core; cores of one box may differ.
    """
    try:
        lines = cpu.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return True
    listed = [line.partition(":")[2].split() for line in lines if line.partition(":")[0].strip() in _LISTS]
    return all("aes" in words for words in listed) if listed else True


_LISTS = ("flags", "Features")


def seal(number: int, key: bytes, key_name: str, plain: bytes, random_bytes: Callable[[int], bytes]) -> bytes:
    """Return `plain` sealed by this algorithm under the key of this name."""
    nonce = random_bytes(NONCE_BYTES)
    return bytes((number,)) + nonce + encrypt(number, key, nonce, plain, _bound(number, key_name))


def unseal(key: bytes, key_name: str, sealed: bytes) -> bytes:
    """Return what was sealed under the key of this name, by whichever algorithm.

    Raises: VaultError when the key or the name is another, the bytes were changed, or the algorithm is not known.
    """
    number = sealed[0] if sealed else 0
    if number not in _NAMES:
        raise VaultError(f"a part sealed under {key_name} names no known algorithm; use the newer program")
    nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return decrypt(number, key, nonce, rest, _bound(number, key_name))
    except (InvalidTag, ValueError) as error:
        raise VaultError(f"key {key_name} does not open what it should; damaged, or sealed in another box") from error


def encrypt(number: int, key: bytes, nonce: bytes, plain: bytes, bound: bytes) -> bytes:
    """Return ciphertext and tag, for a format that names its algorithm in a place of its own.

    Raises: VaultError when this build of OpenSSL has no such algorithm.
    """
    own = _own_key(number, key)
    if number == AES_256_GCM:
        return AESGCM(own).encrypt(nonce, plain, bound)
    try:
        if number == CHACHA20_POLY1305:
            return ChaCha20Poly1305(own).encrypt(nonce, plain, bound)
        return _sm4_seal(own, nonce, plain, bound)
    except UnsupportedAlgorithm as error:
        raise VaultError(f"{_NAMES[number]} is not in this build of OpenSSL; set [vault] cipher to another") from error


def decrypt(number: int, key: bytes, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
    """Return what `encrypt` was given.

    Raises: InvalidTag or ValueError when it was changed; VaultError as `encrypt` does.
    """
    own = _own_key(number, key)
    if number == AES_256_GCM:
        return AESGCM(own).decrypt(nonce, sealed, bound)
    try:
        if number == CHACHA20_POLY1305:
            return ChaCha20Poly1305(own).decrypt(nonce, sealed, bound)
        return _sm4_open(own, nonce, sealed, bound)
    except UnsupportedAlgorithm as error:
        raise VaultError(f"{_NAMES[number]} is not in this build of OpenSSL; use the distribution's own") from error


def _bound(number: int, key_name: str) -> bytes:
    return bytes((number,)) + key_name.encode()


def _own_key(number: int, key: bytes) -> bytes:
    """Return the key of one algorithm. AES takes the key as it is: so it was before there were others."""
    if number == AES_256_GCM:
        return key
    made = hmac.digest(key, b"sentinel " + _NAMES[number].encode(), "sha256")
    return made[:_SM4_KEY_BYTES] if number == SM4_GCM else made


def _sm4_seal(key: bytes, nonce: bytes, plain: bytes, bound: bytes) -> bytes:
    encryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(bound)
    return encryptor.update(plain) + encryptor.finalize() + encryptor.tag


def _sm4_open(key: bytes, nonce: bytes, sealed: bytes, bound: bytes) -> bytes:
    if len(sealed) < _TAG_BYTES:
        raise InvalidTag
    decryptor = Cipher(algorithms.SM4(key), modes.GCM(nonce, sealed[-_TAG_BYTES:])).decryptor()
    decryptor.authenticate_additional_data(bound)
    return decryptor.update(sealed[:-_TAG_BYTES]) + decryptor.finalize()
