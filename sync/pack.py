"""Compress a batch for the road and open what came, within bounds that no sender can move.

A batch of passages shrinks to about a sixth: the names of its fields are the same in each entry. The library is loaded
by the first message, so that status and command line, which read the contract beside us, do without it.
"""

from functools import cache
from typing import TYPE_CHECKING

from sync.errors import WireError

if TYPE_CHECKING:
    from zstandard import ZstdCompressor, ZstdDecompressor

ZSTD = "zstd"
ENCODINGS = (ZSTD,)  # what a street of this version says in its receipts that it can read
ENCODING = "content-encoding"  # the user property that names it
MOST_PLAIN_BYTES = 1 << 20  # of a compressed message, opened: five times the longest batch that our gates make
LEVEL = 3  # 1 is a fifth faster and a tenth larger; above 3 a Raspberry Pi would feel it


class OpensToTooMuch(WireError):
    """A frame would open to more than it may, or does not say."""


def pack(plain: bytes) -> bytes | None:
    """Return the batch compressed, or None when that would make it no smaller or a street would not open it."""
    if len(plain) > MOST_PLAIN_BYTES:
        return None
    small = _compressor().compress(plain)
    return small if len(small) < len(plain) else None


def pack_whole(plain: bytes) -> bytes:
    """Return something compressed as one frame, however long it is."""
    return _compressor().compress(plain)


def unpack(payload: bytes, encoding: str, most_bytes: int = MOST_PLAIN_BYTES) -> bytes:
    """Return what a message held before it was compressed.

    Only one frame is taken, which states its size beforehand and ends with a checksum: so a bomb is refused unopened,
    and a byte that was changed on the road is noticed even where no hash of an entry covers it.

    Raises: WireError when it is no such frame, opens to more than `most_bytes`, or has another encoding.
    """
    from zstandard import ZstdError, get_frame_parameters

    if encoding != ZSTD:
        raise WireError(f"content-encoding: {encoding[:40]!r} is unknown here")
    try:
        told = get_frame_parameters(payload)
        if told.content_size > most_bytes:  # also when the frame does not say
            raise OpensToTooMuch(f"content-encoding: opens to more than {most_bytes} bytes or does not say")
        if not told.has_checksum or told.dict_id:
            raise WireError("content-encoding: expected a frame with a checksum and without a dictionary")
        return _decompressor(most_bytes).decompress(payload, max_output_size=most_bytes, allow_extra_data=False)
    except ZstdError as error:
        raise WireError("content-encoding: is not one whole zstd frame") from error


@cache
def _compressor() -> "ZstdCompressor":
    from zstandard import ZstdCompressor

    return ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)


@cache
def _decompressor(most_bytes: int) -> "ZstdDecompressor":
    from zstandard import ZstdDecompressor

    return ZstdDecompressor(max_window_size=most_bytes)
