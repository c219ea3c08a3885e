"""docs/adding-a-device.md, word for word: the codec, the line and the capture of the page, on a copy of the tree.

What is executed here are the blocks of the page itself. Nothing else is changed in the copy, and nothing in the tree.
"""

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.framing import Dropped
from drivers.reader import SerialReader
from drivers.readings import Identity, Junk, Sign, ThermalReading
from drivers.sim.pty import PtyDevice
from sentinel.cli.settings_file import with_device

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "adding-a-device.md").read_text(encoding="utf-8")
CODEC, LINE, COMMANDS, VECTOR = re.findall(r"^```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
KIND = "chuwo-32x32"
MOST_CODEC_LINES = 65
LAST_OF_TABLE = "    }\n)\n"
PIXELS = 1024


def of_page(code: str, name: str) -> object:
    """Return what a short block of the page defines."""
    names: dict[str, object] = {}
    exec(compile(code, "docs/adding-a-device.md", "exec"), names)
    return names[name]


FRAME: bytes = of_page(VECTOR, "FRAME")


def frame(seed: int) -> bytes:
    """Return a frame of another scene, with the head's own value in many of its bytes."""
    raw = [2990 + (seed * 31 + place * 7) % 211 for place in range(PIXELS)]
    return FRAME[:1] + b"".join(value.to_bytes(2, "big") for value in raw) + FRAME[-6:]


def celsius_of(said: bytes) -> tuple[float, ...]:
    return tuple((int.from_bytes(said[at : at + 2], "big") - 2731) / 10 for at in range(1, 1 + 2 * PIXELS, 2))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def fields(readings: list) -> list[tuple[float, ...]]:
    return [reading.celsius for reading in readings if isinstance(reading, ThermalReading)]


class Board:
    """The device of the page: one picture for each question, and not a byte unasked."""

    def __init__(self, question: bytes) -> None:
        self._question, self._asked = question, 0

    def answer(self, chunk: bytes, now: float) -> bytes:
        if self._question not in chunk:
            return b""
        self._asked += 1
        return frame(self._asked)

    def due(self, now: float) -> bytes:
        return b""


@pytest.fixture(scope="module")
def chuwo(tmp_path_factory) -> ModuleType:
    """The codec of the page, imported from a file."""
    file = tmp_path_factory.mktemp("codec") / "chuwo.py"
    file.write_text(CODEC, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("chuwo", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the codec --------------------------------------------------------------------------------------------------------


def test_the_example_is_as_small_as_promised():
    assert len(CODEC.splitlines()) <= MOST_CODEC_LINES
    assert len(LINE.splitlines()) == len(VECTOR.splitlines()) == 1
    assert KIND not in (ROOT / "drivers" / "__init__.py").read_text(encoding="utf-8"), "choose another example"


def test_the_certain_frame_means_what_the_page_says(chuwo):
    signs, field = chuwo.ChuwoDialect().feed(frame(1) + FRAME, 5.0)
    assert isinstance(signs, Sign)
    assert (field.width, field.height, set(field.celsius), field.ambient_celsius) == (32, 32, {36.9}, 26.4)


def test_readings_come_through_a_real_reader_at_a_speed_it_found(chuwo, tmp_path):
    stop, heard = threading.Event(), []

    def emit(reading):
        heard.append(reading)
        if len(fields(heard)) == 3:
            stop.set()

    with PtyDevice(tmp_path / "thermal.tty", Board(chuwo.QUESTION), baud=115200):
        url = f"serial://{tmp_path}/thermal.tty?baud=auto"
        SerialReader(url, chuwo.ChuwoDialect(), emit, device="thermal").run(stop)
    assert [reading.text for reading in heard if isinstance(reading, Identity)] == ["115200 baud"]
    assert set(fields(heard)) <= {celsius_of(frame(asked)) for asked in range(1, 9)}


def test_the_board_is_not_asked_again_before_it_answered(chuwo):
    dialect = chuwo.ChuwoDialect()
    assert dialect.due(10.0) == chuwo.QUESTION
    dialect.feed(FRAME[:900], 10.2)
    assert dialect.due(10.4) == b""
    dialect.feed(FRAME[900:], 10.41)
    assert dialect.due(10.42) == b""
    assert dialect.due(10.6) == chuwo.QUESTION


@given(places=st.lists(st.integers(0, 9000), max_size=12))
def test_torn_delivery_changes_nothing(chuwo, places):
    wire = frame(1) + frame(2) + frame(3)
    torn, whole = chuwo.ChuwoDialect(), chuwo.ChuwoDialect()
    assert [reading for chunk in cut(wire, places) for reading in torn.feed(chunk, 5.0)] == whole.feed(wire, 5.0)


@given(junk=st.binary(max_size=60) | st.lists(st.sampled_from([b"\xe1", b"\x0b", b"\xe1\x0b"])).map(b"".join))
def test_good_frames_are_found_after_any_junk_and_the_junk_lends_them_nothing(chuwo, junk):
    """E1 0B before a frame is a head and a temperature: all is shifted by one, and only the number tells."""
    wire = frame(1) + frame(2) + junk + b"".join(map(frame, range(3, 7)))
    found = fields(chuwo.ChuwoDialect().feed(wire, 5.0))
    assert set(found) <= {celsius_of(frame(seed)) for seed in range(1, 7)}
    assert found[-1] == celsius_of(frame(6))


@given(start=st.integers(0, 2054), count=st.integers(1, 2055))
def test_a_frame_that_lost_bytes_lends_nothing_to_the_next(chuwo, start, count):
    torn = frame(3)[:start] + frame(3)[start + count :]
    readings = chuwo.ChuwoDialect().feed(frame(1) + frame(2) + torn + b"".join(map(frame, range(4, 9))), 5.0)
    whole = {celsius_of(frame(seed)) for seed in range(1, 9)}
    assert set(fields(readings)) <= whole
    assert fields(readings)[-1] == celsius_of(frame(8))


@given(data=st.data())
def test_any_bytes_never_raise_and_never_pile_up(chuwo, data):
    codec, dialect, fed_bytes, told_bytes = chuwo.codec(), chuwo.ChuwoDialect(), 0, 0
    piece = st.binary(max_size=200) | st.sampled_from([FRAME, FRAME[:1000], FRAME[1:], FRAME[:1]])
    for chunk in data.draw(st.lists(piece, max_size=12)):
        told_bytes += sum(e.byte_count if isinstance(e, Dropped) else len(e) for e in codec.feed(chunk))
        dialect.feed(chunk, 5.0)
        fed_bytes += len(chunk)
        assert codec.held_bytes < len(FRAME)
        assert told_bytes + codec.held_bytes == fed_bytes


def test_what_is_no_frame_is_counted(chuwo):
    assert chuwo.ChuwoDialect().feed(b"no frame", 5.0) == [Junk(at_mono=5.0, byte_count=8)]


# --- the line and the capture, on a copy of the tree ------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the tree with the page's file and line in it."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("drivers", "sentinel", "recognition", "sync", "tests/drivers", "tests/golden"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "drivers" / "codecs" / "chuwo.py").write_text(CODEC, encoding="utf-8")
    table = copy / "drivers" / "__init__.py"
    text = table.read_text(encoding="utf-8")
    assert text.count(LAST_OF_TABLE) == 1
    table.write_text(text.replace(LAST_OF_TABLE, f"        {LINE}{LAST_OF_TABLE}"), encoding="utf-8")
    return copy


def begin(tree: Path, words: list[str]) -> subprocess.Popen[str]:
    """Start a command of the page; the two programs it names are those of the copy."""
    program = {"sentinelctl": ["-m", "sentinel.cli"], "scripts/test": ["-m", "pytest", "-v", "-p", "no:cacheprovider"]}
    command = [sys.executable, *program[words[0]], *words[1:]]
    return subprocess.Popen(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=50)
    assert process.returncode == 0, out + err
    return out


@pytest.fixture(scope="module")
def probing(tree, chuwo):
    """A probe of a port with the board on it, begun early: every kind is tried, each takes its second."""
    with PtyDevice(tree / "probed.tty", Board(chuwo.QUESTION), baud=115200):
        url = f"serial://{tree}/probed.tty?baud=115200"
        process = begin(tree, ["sentinelctl", "probe", "--port", url, "--seconds", "0", "--json"])
        yield process
        process.kill()
        process.wait()


def test_the_settings_take_the_new_kind(tree, probing):
    settings = (ROOT / "config" / "gate.toml").read_text(encoding="utf-8")
    changed = with_device(settings, "thermal", kind=KIND, port="serial:///dev/ttyS4?baud=auto")
    (tree / "gate.toml").write_text(changed, encoding="utf-8")
    assert done(begin(tree, ["sentinelctl", "check", "config", "--config", str(tree / "gate.toml")])) == "ok\n"


def test_the_capture_becomes_a_golden_file_that_the_tests_of_all_kinds_take(tree, probing, chuwo):
    capture, check = (shlex.split(line) for line in COMMANDS.replace("\\\n", "").splitlines())
    at_the_desk = {"serial:///dev/ttyUSB0?baud=auto": f"serial://{tree}/thermal.tty?baud=auto", "5": "2"}
    assert set(at_the_desk) <= set(capture)
    with PtyDevice(tree / "thermal.tty", Board(chuwo.QUESTION), baud=115200):
        done(begin(tree, [at_the_desk.get(word, word) for word in capture]))
    content = (tree / capture[-1]).read_bytes()
    assert content.startswith(frame(1)) and len(content) % len(FRAME) == 0
    passed = set(re.findall(r"(\w+\.py)::\S+ PASSED", done(begin(tree, check))))
    assert passed >= {"test_golden.py", "test_ports.py", "test_probe.py", "test_anonymise.py"}


def test_the_certain_frame_is_a_capture_too(tree):
    (tree / "tests" / "golden" / f"{KIND}-synthetic-36.9.bin").write_bytes(FRAME * 2)
    check = ["scripts/test", "tests/drivers/test_golden.py", "-k", "chuwo and synthetic"]
    assert " passed" in done(begin(tree, check))


def test_the_board_is_found_by_probing(probing):
    said = json.loads(done(probing))
    assert said["config"].startswith(f'[thermal]\nkind = "{KIND}"\nport = "serial://')
