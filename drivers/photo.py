"""Decode the 1024-byte photograph of a card through a licensed library, where the gate has one.

The format, WLT, is closed and no open decoder exists: the gate passes the bytes on unchanged and works without this.
A foreign native library may write past a buffer and take the interpreter with it. So use it only in the vision child or
another process that may be killed; never in the process that holds the barrier. Source: device-protocols 1.10.
"""

import ctypes
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from drivers.errors import DriverError

log = logging.getLogger(__name__)

PHOTO_BYTES = 1024
WIDTH = 102
HEIGHT = 126
ROW_BYTES = WIDTH * 3
PICTURE_BYTES = ROW_BYTES * HEIGHT
BMP_HEAD_BYTES = 54
BMP_ROW_BYTES = (ROW_BYTES + 3) // 4 * 4
ROOM_BYTES = 65536  # 38862 are the longest known output; the rest is for a library that writes a little more
WELL = 1  # what every known library returns for a good picture; 0 and below are errors
UNPACK_FLAG = 708  # seen in use, as is 752; what they mean is not published
USB_PORT = 2  # the second argument of GetBmp says how the reader is connected; the picture does not depend on it
MEMORY_FOLDER = Path("/dev/shm")  # a face that was written to flash is not gone when its file is


class PhotoDecoderUnavailable(DriverError):
    """The library cannot be loaded, or is no photo decoder. Raised once, when the decoder is made."""


class PhotoDecoder:
    """Decode card photographs. May be called from any thread; the library sees one call at a time.

    Raises: PhotoDecoderUnavailable when there is no usable library at `path`.
    """

    def __init__(self, path: Path, *, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        try:
            library = load(str(path))
        except OSError as error:
            raise PhotoDecoderUnavailable(
                f"photo decoder {path} cannot be loaded ({error}); give the licensed library built for this machine, "
                "or no photo_decoder at all"
            ) from error
        self._lock = threading.Lock()
        self._path = path
        self._refused = False
        self._symbol, self._function = _known_function(library, path)

    def decode(self, photo: bytes) -> bytes:
        """Return the picture, b"" when this is no photograph that the library can decode.

        Shape: rows from the top, 126 of 102 pixels, three bytes each in the order blue, green, red.
        """
        if len(photo) != PHOTO_BYTES:
            return b""
        with self._lock:
            try:
                picture = _CALLS[self._symbol](self._function, photo)
            except (OSError, ctypes.ArgumentError) as error:
                return self._failed(type(error).__name__)
            if not picture:
                return self._failed("it returned no picture")
            self._refused = False
            return picture

    def _failed(self, why: str) -> bytes:
        """Say it once; a library without its licence file refuses every photograph of the day."""
        level = logging.DEBUG if self._refused else logging.WARNING
        log.log(level, "photo decoder %s refused a photograph: %s; check its licence file", self._path, why)
        self._refused = True
        return b""


def _known_function(library: Any, path: Path) -> tuple[str, Any]:
    for symbol, arguments in _SIGNATURES.items():
        function = getattr(library, symbol, None)
        if function is not None:
            function.argtypes, function.restype = arguments, ctypes.c_int
            return symbol, function
    raise PhotoDecoderUnavailable(
        f"photo decoder {path} exports none of {', '.join(_SIGNATURES)}; it is another library, give the decoder"
    )


def _unpack(function: Any, photo: bytes) -> bytes:
    """Decode in memory."""
    source = ctypes.create_string_buffer(photo, PHOTO_BYTES)
    target = ctypes.create_string_buffer(ROOM_BYTES)
    if function(source, target, UNPACK_FLAG) != WELL:
        return b""
    written = target.raw
    if written.startswith(b"BM"):
        return picture_of_bmp(written)
    # Programs in use take the bare pixels as blue, green, red from the top. Check with a real library.
    return written[:PICTURE_BYTES] if any(written[:PICTURE_BYTES]) else b""


def _dewlt(function: Any, photo: bytes) -> bytes:
    return _by_file(photo, function)


def _get_bmp(function: Any, photo: bytes) -> bytes:
    return _by_file(photo, lambda name: function(name, USB_PORT))


def _by_file(photo: bytes, decode: Callable[[bytes], int]) -> bytes:
    """Decode through a file: the library writes the picture beside it, under the same name."""
    folder = MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="sentinel-photo-", dir=folder) as directory:
        source = Path(directory) / "card.wlt"
        source.write_bytes(photo)
        if decode(str(source).encode()) != WELL:
            return b""
        target = source.with_suffix(".bmp")
        return picture_of_bmp(target.read_bytes()) if target.is_file() else b""


_POINTER = ctypes.c_char_p
# The first symbol that the library exports is used.
_SIGNATURES: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "unpack": (_POINTER, _POINTER, ctypes.c_int),
        "dewlt": (_POINTER,),
        "GetBmp": (_POINTER, ctypes.c_int),
    }
)
_CALLS: Mapping[str, Callable[[Any, bytes], bytes]] = MappingProxyType(
    {"unpack": _unpack, "dewlt": _dewlt, "GetBmp": _get_bmp}
)


def picture_of_bmp(bmp: bytes) -> bytes:
    """Return the pixels of a card's BMP, rows from the top, b"" when it is not one of 102 x 126 with 24 bits."""
    if len(bmp) < BMP_HEAD_BYTES or not bmp.startswith(b"BM"):
        return b""
    pixels_at = int.from_bytes(bmp[10:14], "little")
    width = int.from_bytes(bmp[18:22], "little", signed=True)
    height = int.from_bytes(bmp[22:26], "little", signed=True)  # negative: rows from the top
    bits = int.from_bytes(bmp[28:30], "little")
    if width != WIDTH or abs(height) != HEIGHT or bits != 24 or len(bmp) < pixels_at + BMP_ROW_BYTES * HEIGHT:
        return b""
    starts = range(pixels_at, pixels_at + BMP_ROW_BYTES * HEIGHT, BMP_ROW_BYTES)
    rows = [bmp[start : start + ROW_BYTES] for start in starts]
    return b"".join(rows if height < 0 else reversed(rows))
