"""The camera: the newest picture, in time, or a clear loss."""

import queue
import threading
import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.camera import check_source, open_camera
from drivers.errors import CameraLost, PortSettingsError
from drivers.live import STALL_S, START_S, LiveCamera
from drivers.pictures import PictureWatch
from drivers.playback import Pace
from drivers.readings import Frame, Symptom

WAIT_S = 5.0


def grey(level, *, size=(48, 64)):
    return np.full((*size, 3), level, np.uint8)


def put(folder, name, level):
    """Put a picture into a folder as the simulator does: by renaming."""
    making = folder / f".{name}"
    making.write_bytes(cv2.imencode(".png", grey(level))[1].tobytes())
    making.rename(folder / name)


def level(frame):
    return int(frame.pixels[0, 0, 0])


def open_folder(folder, query):
    return open_camera(f"folder://{folder}?{query}", width=64, height=48)


# — addresses —


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("https://camera/stream", "outdated OpenSSL"),
        ("rtsps://camera/stream", "outdated OpenSSL"),
        ("ftp://camera/x", "unknown source 'ftp'"),
        ("/dev/video0", "unknown source '/dev/video0'"),
        ("folder://pictures", "no absolute path"),
        ("v4l2://dev/video0", "three slashes"),
        ("rtsp:///stream", "no host"),
        ("rtsp://[10.0.0.7/stream", "no address"),
        ("folder:///x?fsp=5", "no option 'fsp'; it has fps, loop, newest"),
        ("folder:///x?fps=fast", "not a number"),
        ("folder:///x?fps=-1", "out of range"),
        ("file:///x.mp4?loop=1", "no option 'loop'"),
    ],
)
def test_an_address_that_cannot_be_meant_says_why(source, why):
    with pytest.raises(PortSettingsError, match=why):
        check_source(source)


def test_a_password_is_never_shown():
    assert check_source("rtsp://user:secret@10.0.0.7:554/stream").shown == "rtsp://10.0.0.7/stream"


def test_a_path_may_hold_any_letter():
    assert str(check_source("folder:///门岗%20一/a").path) == "/门岗 一/a"


@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused(text):
    try:
        check_source(text)
    except PortSettingsError as error:
        assert str(error).startswith("camera: ")


def test_a_device_that_is_not_there_is_lost_not_wrong():
    with pytest.raises(CameraLost, match="no such device"):
        open_camera("v4l2:///dev/video-none", width=640, height=480)


# — folders —


def test_pictures_come_in_the_order_of_their_names_and_end(tmp_path):
    for name, grey_level in (("b.png", 20), ("a.png", 10), ("c.png", 30)):
        put(tmp_path, name, grey_level)
    (tmp_path / "notes.txt").write_text("no picture")
    with open_folder(tmp_path, "fps=0") as camera:
        assert [level(camera.read(1.0)) for _ in range(3)] == [10, 20, 30]
        with pytest.raises(CameraLost, match="all 3 pictures shown"):
            camera.read(1.0)


def test_pictures_loop_when_told(tmp_path):
    put(tmp_path, "a.png", 10)
    put(tmp_path, "b.png", 20)
    with open_folder(tmp_path, "fps=0&loop=1") as camera:
        assert [level(camera.read(1.0)) for _ in range(5)] == [10, 20, 10, 20, 10]


def test_a_picture_that_is_not_due_is_none(tmp_path):
    put(tmp_path, "a.png", 10)
    put(tmp_path, "b.png", 20)
    now = [0.0]
    camera = open_camera(f"folder://{tmp_path}?fps=1", width=64, height=48, clock=lambda: now[0])
    assert level(camera.read(0.0)) == 10
    assert camera.read(0.0) is None
    now[0] = 1.0
    frame = camera.read(0.0)
    assert (level(frame), frame.at_mono) == (20, 1.0)


def test_the_newest_picture_is_shown_again_and_again_until_it_changes(tmp_path):
    put(tmp_path, "1.png", 10)
    with open_folder(tmp_path, "newest=1&fps=0") as camera:
        assert [level(camera.read(1.0)) for _ in range(3)] == [10, 10, 10]
        put(tmp_path, "2.png", 20)
        assert level(camera.read(1.0)) == 20
        (tmp_path / "1.png").unlink()
        assert level(camera.read(1.0)) == 20


def test_an_unchanged_picture_is_not_read_again(tmp_path):
    put(tmp_path, "1.png", 10)
    with open_folder(tmp_path, "newest=1&fps=0") as camera:
        first, second = camera.read(1.0), camera.read(1.0)
    assert first.pixels is second.pixels


@pytest.mark.parametrize("query", ["newest=1", "fps=5"])
def test_an_empty_or_missing_folder_is_a_lost_camera(tmp_path, query):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(CameraLost):
            open_folder(folder, query)


def test_a_folder_that_goes_away_is_a_lost_camera_and_may_return(tmp_path):
    folder = tmp_path / "camera"
    folder.mkdir()
    put(folder, "1.png", 10)
    with open_folder(folder, "newest=1&fps=0") as camera:
        folder.rename(tmp_path / "away")
        with pytest.raises(CameraLost, match="No such file"):
            camera.read(1.0)
        (tmp_path / "away").rename(folder)
        assert level(camera.read(1.0)) == 10


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"not a picture")
    with pytest.raises(CameraLost, match=r"1\.jpg is not a picture"):
        open_folder(tmp_path, "newest=1")


def test_closing_ends_a_waiting_read(tmp_path):
    put(tmp_path, "a.png", 10)
    camera = open_folder(tmp_path, "fps=0.01")
    camera.read(1.0)
    ended = threading.Event()

    def read():
        with pytest.raises(CameraLost, match="closed"):
            camera.read(60.0)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    camera.close()
    assert ended.wait(WAIT_S)


# — recordings —


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "walk.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    for step in range(8):
        writer.write(grey(step * 30))
    writer.release()
    return path


def test_a_recording_plays_to_its_end(recording):
    with open_camera(f"file://{recording}?fps=0", width=64, height=48) as camera:
        levels = [level(camera.read(1.0)) for _ in range(8)]
        assert np.allclose(levels, [step * 30 for step in range(8)], atol=4)
        with pytest.raises(CameraLost, match="recording is over"):
            camera.read(1.0)


def test_a_slow_reader_of_a_recording_sees_the_present(recording):
    now = [0.0]
    with open_camera(f"file://{recording}", width=64, height=48, clock=lambda: now[0]) as camera:
        camera.read(0.0)
        now[0] = 0.45  # pictures 1 to 4 were due; the fourth is the newest
        assert abs(level(camera.read(0.0)) - 4 * 30) <= 4


def test_a_file_that_cannot_be_played_is_lost(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"no video")
    for name, why in (("x.mp4", "not a video"), ("y.mp4", "no such file")):
        with pytest.raises(CameraLost, match=why):
            open_camera(f"file://{tmp_path / name}", width=64, height=48)


@given(fps=st.sampled_from([1.0, 5.0, 30.0]), steps=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=30))
def test_pictures_taken_and_missed_keep_the_rate(fps, steps):
    pace, now, counted = Pace(fps), 0.0, 1 + Pace(fps).took(0.0)
    pace.took(0.0)
    for step in steps:
        now += step
        if pace.wait_s(now) == 0.0:
            counted += 1 + pace.took(now)
    assert abs(counted - 1 - int(now * fps)) <= 1 or pace.wait_s(now) == 0.0


# — live cameras —


class FakeCapture:
    """A camera whose pictures we hand over one by one; None is the cable being pulled."""

    def __init__(self):
        self.pictures = queue.Queue()
        self.taken = threading.Semaphore(0)
        self.released = threading.Event()

    def isOpened(self):
        return True

    def read(self):
        self.taken.release()
        picture = self.pictures.get()
        return picture is not None, picture

    def release(self):
        self.released.set()

    def give(self, *pictures):
        for picture in pictures:
            self.pictures.put(picture)
            assert self.taken.acquire(timeout=WAIT_S)
        assert self.taken.acquire(timeout=WAIT_S), "the last picture was not taken over"
        self.taken.release()


def test_only_the_newest_picture_is_kept():
    capture = FakeCapture()
    camera = LiveCamera(lambda: capture, "fake", clock=time.monotonic)
    capture.give(grey(1), grey(2), grey(3))
    assert level(camera.read(WAIT_S)) == 3
    assert camera.read(0.0) is None
    capture.pictures.put(None)
    camera.close()


def test_a_pulled_camera_is_lost_after_its_last_picture():
    capture = FakeCapture()
    camera = LiveCamera(lambda: capture, "fake", clock=time.monotonic)
    capture.pictures.put(grey(7))
    capture.pictures.put(None)
    assert capture.released.wait(WAIT_S)
    assert level(camera.read(WAIT_S)) == 7
    with pytest.raises(CameraLost, match="fake: no more pictures"):
        camera.read(WAIT_S)
    camera.close()


def test_a_camera_that_hangs_is_lost():
    now = [0.0]
    capture = FakeCapture()
    camera = LiveCamera(lambda: capture, "fake", clock=lambda: now[0])
    assert camera.read(0.0) is None
    now[0] = START_S + 0.1
    with pytest.raises(CameraLost, match=r"no picture for|not open after"):
        camera.read(0.0)
    capture.give(grey(7))
    assert level(camera.read(WAIT_S)) == 7
    now[0] += STALL_S + 0.1
    with pytest.raises(CameraLost, match="no picture for"):
        camera.read(0.0)
    capture.pictures.put(None)
    camera.close()


# — pictures that show nothing —


def frame(pixels, at_mono):
    return Frame(at_mono=at_mono, pixels=pixels)


def noisy(base, seed):
    return np.clip(base + np.random.default_rng(seed).normal(0, 3, (48, 64, 3)), 0, 255).astype(np.uint8)


def test_a_covered_camera_is_dark_at_once():
    assert PictureWatch().see(frame(noisy(2, 1), 0.0)) is Symptom.DARK


def test_a_stuck_picture_is_frozen_after_its_time_and_well_when_it_moves():
    watch, stuck = PictureWatch(frozen_s=3.0), noisy(120, 1)
    assert [watch.see(frame(stuck, at)) for at in (0.0, 2.9, 3.0)] == [None, None, Symptom.FROZEN]
    assert watch.see(frame(noisy(120, 2), 3.1)) is None
