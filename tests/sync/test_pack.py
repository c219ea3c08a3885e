"""Compression: what goes in comes out, what was changed on the road is refused or the same, and no bomb opens."""

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from made_entries import FIRST, LedgerInMemory

from sync.errors import WireError
from sync.pack import MOST_PLAIN_BYTES, ZSTD, pack, unpack
from sync.wire import Gate, decode_batch, encode_batch, encode_entry

EAST = Gate(street="330106", site="cuiyuan3", gate="east-3")


def ledger(count: int) -> LedgerInMemory:
    made = LedgerInMemory()
    made.start(FIRST)
    made.append(count - 1)
    return made


ENTRIES = ledger(12).range(FIRST, 1, 12)
PLAIN = encode_batch([encode_entry(entry, EAST.source, historical=entry.key.seq < 9) for entry in ENTRIES])
SMALL = pack(PLAIN)
ARRIVED = decode_batch(PLAIN, EAST, "b")


@given(plain=st.binary(max_size=3_000) | st.integers(0, 3_000).map(lambda count: PLAIN[:count] * 2))
def test_what_is_packed_comes_out_the_same_and_is_never_longer(plain):
    small = pack(plain)
    assert small is None or (len(small) < len(plain) and unpack(small, ZSTD) == plain)


def test_a_compressed_batch_says_the_same_as_the_plain_one():
    assert SMALL is not None
    assert len(SMALL) < len(PLAIN) / 2
    assert decode_batch(SMALL, EAST, "b", ZSTD) == ARRIVED
    assert [arrival.entry for arrival in ARRIVED.arrivals] == ENTRIES


def same_or_refused(payload: bytes, encoding: str | None) -> None:
    """No entry may come in that did not go out, and what does not come in must be refused."""
    heard = decode_batch(payload, EAST, "b", encoding)
    sent = {arrival.entry.key: arrival.entry for arrival in ARRIVED.arrivals}
    for arrival in heard.arrivals:
        assert arrival.entry == sent[arrival.entry.key]
    assert heard.refused or {arrival.entry.key for arrival in heard.arrivals} == set(sent)


@pytest.mark.parametrize("by", [0x01, 0x80, 0xFF])
def test_a_changed_byte_of_a_compressed_batch_is_refused_or_changes_nothing(by):
    for at in range(len(SMALL)):
        torn = bytearray(SMALL)
        torn[at] ^= by
        heard = decode_batch(bytes(torn), EAST, "b", ZSTD)
        assert heard == ARRIVED or (heard.arrivals == () and [one.key for one in heard.refused] == [None])


@given(at=st.integers(0, len(PLAIN) - 1), byte=st.integers(0, 255))
@settings(max_examples=500, deadline=None)
def test_a_changed_byte_of_an_opened_batch_never_makes_another_entry(at, byte):
    torn = bytearray(PLAIN)
    torn[at] = byte
    same_or_refused(bytes(torn), None)


CUTS = st.tuples(st.integers(0, len(PLAIN)), st.integers(0, len(PLAIN)), st.binary(max_size=8))


@given(cuts=st.lists(CUTS, min_size=1, max_size=3), packed=st.booleans())
@settings(max_examples=200, deadline=None)
def test_pieces_cut_out_or_put_in_never_make_another_entry(cuts, packed):
    torn = PLAIN
    for first, last, new in cuts:
        torn = torn[: min(first, last)] + new + torn[max(first, last) :]
    small = pack(torn) if packed else None
    heard = decode_batch(torn, EAST, "b") if small is None else decode_batch(small, EAST, "b", ZSTD)
    sent = {arrival.entry.key: arrival.entry for arrival in ARRIVED.arrivals}
    assert all(arrival.entry == sent[arrival.entry.key] for arrival in heard.arrivals)


@given(end=st.integers(0, len(SMALL) - 1), more=st.binary(min_size=1, max_size=20))
def test_a_frame_cut_short_or_followed_by_anything_is_refused(end, more):
    for torn in (SMALL[:end], SMALL + more):
        with pytest.raises(WireError, match="content-encoding"):
            unpack(torn, ZSTD)


@given(payload=st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: SMALL[:12] + tail))
def test_no_bytes_make_the_opener_fall(payload):
    heard = decode_batch(payload, EAST, "b", ZSTD)
    assert heard.arrivals == ()
    assert [one.key for one in heard.refused] == [None]


def bomb(size: int) -> bytes:
    return zstandard.ZstdCompressor(level=19, write_checksum=True).compress(bytes(size))


def test_a_bomb_is_refused_unopened_and_the_largest_batch_is_not():
    assert len(unpack(bomb(MOST_PLAIN_BYTES), ZSTD)) == MOST_PLAIN_BYTES
    with pytest.raises(WireError, match="opens to more"):
        unpack(bomb(MOST_PLAIN_BYTES + 1), ZSTD)
    assert pack(bytes(MOST_PLAIN_BYTES + 1)) is None, "and we make none"


def test_a_bomb_that_lies_about_its_size_or_keeps_it_to_itself_is_refused():
    liar = bytearray(bomb(MOST_PLAIN_BYTES * 64))
    told = zstandard.get_frame_parameters(bytes(liar)).content_size
    at = bytes(liar).index(told.to_bytes(4, "little"))
    liar[at : at + 4] = (1_000).to_bytes(4, "little")
    silent = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(bytes(10**8))
    for frame in (bytes(liar), silent):
        with pytest.raises(WireError, match="content-encoding"):
            unpack(frame, ZSTD)


def test_a_frame_without_a_checksum_is_refused():
    with pytest.raises(WireError, match="checksum"):
        unpack(zstandard.ZstdCompressor(write_checksum=False).compress(PLAIN), ZSTD)


@pytest.mark.parametrize("encoding", ["gzip", "ZSTD", "", "zstd,zstd", "x" * 10_000])
def test_an_unknown_encoding_is_refused_by_its_name(encoding):
    batch = decode_batch(SMALL, EAST, "b", encoding)
    assert batch.arrivals == ()
    assert batch.refused[0].reason.startswith("content-encoding")
    assert len(batch.refused[0].reason) < 100
