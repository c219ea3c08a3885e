"""The rules of the optional photo decoder: it decodes, or says once that it cannot, and never raises later."""

import ctypes
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import DriverError
from drivers.photo import HEIGHT, PICTURE_BYTES, WIDTH, PhotoDecoder, PhotoDecoderUnavailable, picture_of_bmp

PHOTO = bytes.fromhex("574C66007E00320000FF85").ljust(1024, b"\x51")  # the published head
PICTURE = bytes((row * 7 + column) % 256 for row in range(HEIGHT) for column in range(WIDTH * 3))


def bmp(picture: bytes = PICTURE, *, width: int = WIDTH, height: int = HEIGHT, bits: int = 24) -> bytes:
    rows = [picture[start : start + WIDTH * 3] + b"\0\0" for start in range(0, len(picture), WIDTH * 3)]
    head = bytearray(54)
    head[:2] = b"BM"
    head[10:14] = (54).to_bytes(4, "little")
    head[18:22] = width.to_bytes(4, "little", signed=True)
    head[22:26] = height.to_bytes(4, "little", signed=True)
    head[28:30] = bits.to_bytes(2, "little")
    return bytes(head) + b"".join(rows if height < 0 else reversed(rows))


class Function:
    """One exported function, called as ctypes calls it: with the buffers, not with their bytes."""

    def __init__(self, does) -> None:
        self.does, self.argtypes, self.restype, self.calls = does, None, None, []

    def __call__(self, *arguments):
        assert len(arguments) == len(self.argtypes)
        self.calls.append(arguments)
        return self.does(*arguments)


class Library:
    def __init__(self, **functions) -> None:
        for name, does in functions.items():
            setattr(self, name, Function(does))


def decoder(**functions) -> PhotoDecoder:
    return PhotoDecoder(Path("/opt/decoder.so"), load=lambda _: Library(**functions))


def unpack_to(output: bytes, result: int = 1):
    def unpack(source, target, _flag):
        assert source.raw == PHOTO
        ctypes.memmove(target, output, len(output))
        return result

    return unpack


def write_beside(output: bytes, result: int = 1):
    def by_file(name, *_):
        source = Path(name.decode())
        assert source.read_bytes() == PHOTO
        source.with_suffix(".bmp").write_bytes(output)
        return result

    return by_file


@pytest.mark.parametrize(
    "functions",
    [
        {"unpack": unpack_to(PICTURE)},
        {"unpack": unpack_to(bmp())},
        {"dewlt": write_beside(bmp())},
        {"GetBmp": write_beside(bmp())},
        {"GetBmp": write_beside(bmp(height=-HEIGHT))},
    ],
    ids=["unpack", "unpack to BMP", "dewlt", "GetBmp", "GetBmp from the top"],
)
def test_every_known_call_form_gives_the_same_picture(functions):
    assert decoder(**functions).decode(PHOTO) == PICTURE


def test_functions_are_called_with_the_published_arguments():
    library = Library(unpack=unpack_to(PICTURE), GetBmp=write_beside(b""))
    PhotoDecoder(Path("x.so"), load=lambda _: library).decode(PHOTO)
    assert library.unpack.calls[0][2] == 708
    assert library.unpack.restype is ctypes.c_int
    assert library.GetBmp.calls == []  # the first form that the library knows is enough


def test_no_photograph_is_left_in_a_file():
    names = []

    def dewlt(name):
        names.append(Path(name.decode()))
        return write_beside(bmp())(name)

    decoder(dewlt=dewlt).decode(PHOTO)
    assert len(names) == 1
    assert not names[0].parent.exists()


def test_library_that_is_not_there_is_said_when_the_decoder_is_made(tmp_path):
    with pytest.raises(PhotoDecoderUnavailable, match=r"cannot be loaded .*; give the licensed library") as caught:
        PhotoDecoder(tmp_path / "libwlt.so")
    assert isinstance(caught.value, DriverError)


def test_file_that_is_no_library_is_said_when_the_decoder_is_made(tmp_path):
    (tmp_path / "libwlt.so").write_bytes(b"no library")
    with pytest.raises(PhotoDecoderUnavailable):
        PhotoDecoder(tmp_path / "libwlt.so")


def test_another_library_is_told_with_what_is_missing():
    with pytest.raises(PhotoDecoderUnavailable, match="exports none of unpack, dewlt, GetBmp; "):
        decoder(zlibVersion=lambda: 0)


def test_real_library_without_the_symbols_is_told_as_well():
    with pytest.raises(PhotoDecoderUnavailable, match="exports none"):
        PhotoDecoder(Path("this interpreter"), load=lambda _: ctypes.CDLL(None))


@pytest.mark.parametrize("size", [0, 1, 1023, 1025, 38556])
def test_photograph_of_another_size_never_reaches_the_library(size):
    library = Library(unpack=unpack_to(PICTURE))
    assert PhotoDecoder(Path("x.so"), load=lambda _: library).decode(bytes(size)) == b""
    assert library.unpack.calls == []


@pytest.mark.parametrize("result", [0, -1, -4, -6, 2])
def test_refused_photograph_is_no_picture(result):
    assert decoder(unpack=unpack_to(PICTURE, result)).decode(PHOTO) == b""
    assert decoder(GetBmp=write_beside(bmp(), result)).decode(PHOTO) == b""


def test_library_that_says_well_and_writes_nothing_gives_no_picture():
    assert decoder(unpack=lambda *_: 1).decode(PHOTO) == b""
    assert decoder(dewlt=lambda _: 1).decode(PHOTO) == b""


def test_library_that_fails_in_the_call_is_no_surprise_for_the_caller():
    def broken(*_):
        raise OSError("access violation")

    assert decoder(dewlt=broken).decode(PHOTO) == b""


def test_refusals_are_said_once_until_one_photograph_is_decoded(caplog):
    results = iter((-1, -1, -1, 1, -1))
    subject = decoder(unpack=lambda source, target, flag: unpack_to(PICTURE, next(results))(source, target, flag))
    with caplog.at_level(logging.WARNING, logger="drivers.photo"):
        pictures = [subject.decode(PHOTO) for _ in range(5)]
    assert [bool(picture) for picture in pictures] == [False, False, False, True, False]
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"BM",
        bmp()[:-1],
        b"PM" + bmp()[2:],
        bmp(width=103),
        bmp(height=127),
        bmp(bits=32),
        bmp()[:10] + b"\xff\xff\xff\xff" + bmp()[14:],
    ],
)
def test_bmp_that_is_no_card_picture_is_none(wrong):
    assert picture_of_bmp(wrong) == b""


@given(junk=st.binary(max_size=200))
def test_any_bytes_for_a_bmp_never_raise(junk):
    assert picture_of_bmp(b"BM" + junk) == b""


@given(head=st.binary(min_size=54, max_size=54))
def test_any_head_gives_a_whole_picture_or_none(head):
    assert len(picture_of_bmp(b"BM" + head[2:] + bytes(40000))) in (0, PICTURE_BYTES)
