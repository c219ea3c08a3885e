"""What is sealed opens whole with its one key, or not at all: no byte may change, move, repeat or be missing."""

import io
import random

import pytest

from sync.errors import VaultError
from sync.sealed import MAGIC, SealedWriter, key_id, key_of, new_recovery_key, opened, public_of, read_head

RECOVERY = new_recovery_key()
PLAIN = random.Random(7).randbytes(3_300_000)  # four pieces, for random bytes do not shrink
PIECE = (1 << 20) + 16


def sealed(plain: bytes = PLAIN) -> tuple[bytes, bytes]:
    file = io.BytesIO()
    writer = SealedWriter(file, public_of(RECOVERY), {"gate": "east-3"})
    for at in range(0, len(plain), 70_001):
        writer.write(plain[at : at + 70_001])
    writer.close()
    return file.getvalue(), writer.key


def read(data: bytes, key: bytes | None = None) -> bytes:
    file = io.BytesIO(data)
    head = read_head(file)
    with opened(file, head, key or key_of(head, RECOVERY)) as stream:
        return stream.read()


@pytest.fixture(scope="module")
def whole() -> bytes:
    return sealed()[0]


def test_what_was_sealed_comes_out_with_the_recovery_key_and_with_the_writers(whole):
    assert read(whole) == PLAIN
    data, key = sealed(b"some")
    assert read(data, key) == read(data) == b"some"
    assert read(sealed(b"")[0]) == b""


def test_the_head_says_whose_it_is_without_a_key(whole):
    head = read_head(io.BytesIO(whole))
    assert head.told == {"gate": "east-3"}
    assert head.recipient == key_id(public_of(RECOVERY))


def test_another_key_is_told_by_its_name(whole):
    head = read_head(io.BytesIO(whole))
    with pytest.raises(VaultError, match=head.recipient):
        key_of(head, new_recovery_key())
    with pytest.raises(VaultError, match="32 bytes"):
        key_of(head, b"short")


@pytest.mark.parametrize("at", [3, len(MAGIC) + 1, 60, 400, 2_000_000, -1])
def test_one_changed_byte_is_noticed(whole, at):
    data = bytearray(whole)
    data[at] ^= 1
    with pytest.raises(VaultError):
        read(bytes(data))


def pieces_of(data: bytes) -> tuple[bytes, list[bytes]]:
    file = io.BytesIO(data)
    read_head(file)
    start = data[: file.tell()]
    return start, [data[at : at + PIECE] for at in range(len(start), len(data), PIECE)]


def test_pieces_missing_exchanged_or_repeated_are_noticed(whole):
    start, pieces = pieces_of(whole)
    assert len(pieces) == 4
    for wrong in (pieces[:-1], pieces[:1], [], [*pieces[1:]], [pieces[1], pieces[0], *pieces[2:]],
                  [pieces[0], *pieces], [*pieces, pieces[-1]]):  # fmt: skip
        with pytest.raises(VaultError):
            read(start + b"".join(wrong))


def test_a_stream_left_early_is_still_checked_to_its_end(whole):
    file = io.BytesIO(whole[:-1])
    head = read_head(file)
    with pytest.raises(VaultError), opened(file, head, key_of(head, RECOVERY)) as stream:
        stream.read(10)
