"""Local sockets: one line asked, one line answered, and every mistake is an answer, never a crash."""

import json
import socket
import threading

import pytest

from sentinel.control import LONGEST_LINE, ControlServer, ask, raise_refused
from sentinel.core.errors import SentinelError, Unavailable, UsageError


@pytest.fixture
def server(tmp_path):
    path = tmp_path / "run" / "control.sock"
    seen = []

    def answer(request, peer):
        seen.append((request, peer))
        if request["verb"] == "fail":
            raise UsageError("no such thing")
        if request["verb"] == "bug":
            raise ZeroDivisionError("oh")
        return {"ok": True, "verb": request["verb"]}

    stop = threading.Event()
    thread = threading.Thread(target=ControlServer(path, answer).run, args=(stop,))
    thread.start()
    listening = threading.Event()
    while not path.exists():
        listening.wait(0.01)
    yield path, seen
    stop.set()
    thread.join()


def send_raw(path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(65536)
        except ConnectionError:  # cut off while we still spoke
            return b""


def test_a_request_is_answered_and_the_kernel_says_who_asked(server):
    path, seen = server
    assert ask(path, {"v": 1, "verb": "status"}, 5.0) == {"ok": True, "verb": "status"}
    [(request, peer)] = seen
    assert request["verb"] == "status"
    assert peer.pid > 0
    assert peer.name


def test_an_error_of_ours_keeps_its_words_and_exit_code(server):
    answer = ask(server[0], {"v": 1, "verb": "fail"}, 5.0)
    assert answer == {"ok": False, "error": "no such thing", "exit_code": 64}
    with pytest.raises(SentinelError, match="no such thing") as refused:
        raise_refused(answer)
    assert refused.value.exit_code == 64


def test_a_bug_in_an_answer_is_told_and_the_server_goes_on(server):
    assert ask(server[0], {"v": 1, "verb": "bug"}, 5.0)["exit_code"] == 70
    assert ask(server[0], {"v": 1, "verb": "status"}, 5.0)["ok"]


@pytest.mark.parametrize(
    "line",
    [b"\n", b"nonsense\n", b"[]\n", b'{"verb":"status"}\n', b'{"v":2,"verb":"status"}\n', b'{"v":1}\n', b"\xff\n",
     b'{"v":1,"verb":"\\ud800"}\n', b'{"v":1,"verb":"status","x":NaN}\n', b"[" * 20_000 + b"\n"],
)
def test_what_is_no_request_is_refused_in_words(server, line):
    answer = send_raw(server[0], line)
    assert answer == b"" or json.loads(answer)["ok"] is False
    assert ask(server[0], {"v": 1, "verb": "status"}, 5.0)["ok"]


def test_an_endless_line_is_cut_off(server):
    send_raw(server[0], b"x" * (LONGEST_LINE + 100_000))
    assert ask(server[0], {"v": 1, "verb": "status"}, 5.0)["ok"]


def test_nobody_there_is_told_as_unavailable(tmp_path):
    with pytest.raises(Unavailable, match="is the process running"):
        ask(tmp_path / "nobody.sock", {"v": 1, "verb": "status"}, 1.0)


def test_an_answerer_that_dies_before_its_answer_is_unavailable(tmp_path):
    path = tmp_path / "dying.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        dying = threading.Thread(target=lambda: listener.accept()[0].close())
        dying.start()
        with pytest.raises(Unavailable):
            ask(path, {"v": 1, "verb": "status"}, 2.0)
        dying.join()
