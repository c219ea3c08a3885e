"""Workers and children: what ends is started again, what hangs is killed, and nothing outlives its parent."""

import os
import signal
import socket
import threading

from sentinel.supervise import Beat, BeatingWire, Busy, Child, Worker, sd_notify


def test_a_worker_that_fails_is_told_and_started_again():
    runs, failures, twice = [], [], threading.Event()

    def work(_stop):
        runs.append(1)
        if len(runs) >= 2:
            twice.set()
        raise ZeroDivisionError("first")

    worker = Worker("test", work, on_failure=failures.append).start()
    assert twice.wait(5)
    worker.stop()
    assert not worker.alive
    assert isinstance(failures[0], ZeroDivisionError)


def test_a_worker_that_is_told_to_stop_ends():
    began = threading.Event()

    def work(stop):
        began.set()
        stop.wait()

    worker = Worker("test", work).start()
    assert began.wait(5)
    worker.stop()
    assert not worker.alive


def echo(pipe):
    while True:
        pipe.send(("echo", pipe.recv(), os.getpid()))


def hang(pipe):
    pipe.send(("pid", None, os.getpid()))
    pipe.recv()
    threading.Event().wait()


class Ear:
    """Remember what a child says, and wake who waits for it."""

    def __init__(self):
        self.heard, self.failed = [], []
        self.said, self.ended = threading.Event(), threading.Event()

    def hear(self, message):
        self.heard.append(message)
        self.said.set()

    def fail(self, why):
        self.failed.append(why)
        self.ended.set()


def child_of(target, ear, silence_s=60.0, beat_s=None):
    return Child(
        "test-child", target, (), on_message=ear.hear, on_failure=ear.fail,
        silence_s=silence_s, start_s=60.0, beat_s=beat_s,
    ).start()  # fmt: skip


def until(condition, ear):
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError(f"it did not come to that; heard {ear.heard}, failed {ear.failed}")


def test_a_child_answers_and_a_killed_child_is_told_and_replaced():
    ear = Ear()
    child = child_of(echo, ear)
    until(lambda: child.pid, ear)
    child.send("one")
    assert ear.said.wait(30)
    first_pid = ear.heard[0][2]
    os.kill(first_pid, 9)
    assert ear.ended.wait(10)
    assert "ended with code -9" in ear.failed[0]
    until(lambda: child.pid not in (None, first_pid), ear)
    child.send("two")
    until(lambda: any(message[1] == "two" for message in ear.heard), ear)
    child.stop()


def test_a_silent_child_is_killed_and_said_to_be_silent():
    ear = Ear()
    child = child_of(hang, ear, silence_s=0.3)
    assert ear.ended.wait(30)
    child.stop()
    assert "said nothing" in ear.failed[0]
    pid = ear.heard[0][2]
    assert not os.path.exists(f"/proc/{pid}")


def beats_and_is_busy(pipe):
    wire = BeatingWire(pipe, 0.05)
    wire.send(("pid", None, os.getpid()))
    wire.send(Busy(for_s=3600.0))
    wire.recv()


def test_a_stopped_child_is_noticed_although_it_said_that_it_is_busy():
    ear = Ear()
    child = child_of(beats_and_is_busy, ear, beat_s=1.0)
    assert ear.said.wait(30)
    assert not ear.ended.wait(1.5), "a busy child that beats is left alone"
    os.kill(ear.heard[0][2], signal.SIGSTOP)
    assert ear.ended.wait(30)
    child.stop()
    assert "said nothing" in ear.failed[0]
    assert not any(isinstance(message, Beat | Busy) for message in ear.heard), "beats are for the supervisor alone"


def stops_at_once(_pipe):
    os.kill(os.getpid(), signal.SIGSTOP)


def test_a_child_that_is_stopped_while_it_starts_is_replaced():
    ear = Ear()
    child = child_of(stops_at_once, ear, beat_s=0.2)
    assert ear.ended.wait(30)
    child.stop()
    assert "said nothing" in ear.failed[0]


def test_systemd_hears_what_it_is_told_and_outside_systemd_nothing_happens(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(5)
        os.environ["NOTIFY_SOCKET"] = path
        try:
            sd_notify("READY=1")
        finally:
            del os.environ["NOTIFY_SOCKET"]
        assert listener.recv(100) == b"READY=1"
    sd_notify("READY=1")
