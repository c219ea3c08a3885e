"""Run a process's workers: threads that are restarted, a spawned child that can be killed, and word to systemd.

A thread serves where every call takes a timeout. Where one does not (camera reads, native inference), only a process
can be killed; it is spawned, never forked, so that no orphan inherits the barrier lock, and it dies with its parent.
"""

import ctypes
import gc
import logging
import math
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, ClassVar, Protocol

from sentinel.core.errors import exit_code_of, is_expected
from sentinel.core.retry import Backoff

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 2.0  # a device that is back must be used within 5 s: one longest wait, one open, one silence time
_PR_SET_PDEATHSIG = 1
CHILD_WAIT_S = 1.0  # a child needs some of the same five seconds to start
BEAT_S = 0.25
FIRST_BEAT_S = 4.0  # a Python that starts and loads native libraries: 1.0 s here, more from a cold flash card
CALM_S = 10.0  # a worker that lived this long has earned a short first wait again


def sd_notify(text: str) -> None:
    """Tell systemd something (`READY=1`, `WATCHDOG=1`, `STATUS=…`); outside systemd, do nothing.

    Source: sd_notify(3). A datagram to the socket named in NOTIFY_SOCKET; '@' marks an abstract one.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(text.encode(), address)
        except OSError as error:
            log.debug("systemd does not listen on %s: %s", address, error)


def die_with_parent(number: int) -> None:
    """Have the kernel send us this signal when our parent dies, even by kill -9, even while native code hangs.

    Source: prctl(2), PR_SET_PDEATHSIG. The parent is the thread that started us.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set. Call it in the main thread."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: Any) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


class _SyslogPrefix(logging.Formatter):
    """Begin each line with `<n>`, the syslog level that journald reads (sd-daemon(3)); nothing on a terminal."""

    LEVELS: ClassVar[dict[int, int]] = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}

    def format(self, record: logging.LogRecord) -> str:
        return f"<{self.LEVELS.get(record.levelno, 2)}>{super().format(record)}"


def start_logging(level: str) -> None:
    """Send this process's log to stderr, for journald or for a person at a terminal."""
    handler = logging.StreamHandler()
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_SyslogPrefix("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def end_process(body: Callable[[], int]) -> None:
    """Run a process's body and exit with its code; an error of ours becomes one line and its own exit code."""
    try:
        code = body()
    except Exception as error:
        if is_expected(error):
            print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
        else:
            log.critical("a surprise ended this process; please report it with these lines", exc_info=error)
        code = exit_code_of(error)
    sys.exit(code)


def take_turns_quickly() -> None:
    """Let no thread hold up another for long: it gets Python's lock within half a millisecond instead of five.

    And the collector of rubbish passes over what was loaded at the start: to look at all of that again takes it 30 to
    80 ms, in whichever thread it finds itself. Both measured with `scripts/bench/handover`.
    """
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()


class Worker:
    """Keep one thread doing `work(stop)`: when it raises, say so, wait with back-off, and start it again."""

    def __init__(
        self,
        name: str,
        work: Callable[[threading.Event], None],
        *,
        on_failure: Callable[[BaseException], None] = lambda _error: None,
        longest_wait_s: float = LONGEST_WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._work = work
        self._on_failure = on_failure
        self._clock = clock
        self._stop = threading.Event()
        self._backoff = Backoff(first_s=FIRST_WAIT_S, cap_s=longest_wait_s, chance=random.random)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> "Worker":
        """Start the thread."""
        self._thread.start()
        return self

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ask the thread to end and wait for it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        failing_since: float | None = None
        while not self._stop.is_set():
            began = self._clock()
            try:
                self._work(self._stop)
            except Exception as error:  # noqa: BLE001 - the supervisor is the one place that may catch everything
                failing_since = self._failed(error, began, failing_since)
            else:
                failing_since = None
                if self._clock() - began > CALM_S:
                    self._backoff.reset()
            if self._stop.wait(self._backoff.next()):
                return

    def _failed(self, error: Exception, began: float, failing_since: float | None) -> float:
        if self._clock() - began > CALM_S:
            self._backoff.reset()
            failing_since = None
        # The first failure of an outage is news, the rest is noise; a surprise is a bug and needs its traceback.
        level = logging.DEBUG if failing_since is not None else logging.WARNING
        log.log(level, "%s: %s", self.name, error, exc_info=None if is_expected(error) else error)
        self._on_failure(error)
        return began if failing_since is None else failing_since


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """What a child says before it does something that takes longer than its silence may last."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Beat:
    """What a child's own thread says all the time: the process runs, whatever it is busy with."""


class Wire(Protocol):
    """A child's end of the pipe."""

    def send(self, message: Any, /) -> None:
        """Send a small message."""

    def poll(self, timeout_s: float = 0.0, /) -> bool:
        """Wait so long for a message."""

    def recv(self) -> Any:
        """Return the next message."""


class BeatingWire:
    """A child's end of the pipe, with a thread that beats. It may be used by one other thread.

    Native code may hang for as long as it was announced to be busy; a stopped process is known by its beat at once.
    """

    def __init__(self, pipe: Connection, beat_s: float = BEAT_S) -> None:
        self._pipe = pipe
        self._beat_s = beat_s
        self._turn = threading.Lock()
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def send(self, message: Any, /) -> None:
        """Send a small message."""
        with self._turn:
            self._pipe.send(message)

    def poll(self, timeout_s: float = 0.0, /) -> bool:
        """Wait so long for a message."""
        return self._pipe.poll(timeout_s)

    def recv(self) -> Any:
        """Return the next message."""
        return self._pipe.recv()

    def _beat(self) -> None:
        pause = threading.Event()
        try:
            while not pause.wait(self._beat_s):
                self.send(Beat())
        except OSError:
            return  # the parent has closed the pipe; who works with it finds out by itself


class _Silence:
    """How long a child may say nothing: its words, which `Busy` lengthens, and its beats, which nothing does."""

    def __init__(self, *, silence_s: float, start_s: float, beat_s: float | None, first_beat_s: float, now: float):
        self._silence_s = silence_s
        self._beat_s = beat_s
        self._first_beat_s = first_beat_s
        self._words_until = now + start_s
        self._beats_until = math.inf if beat_s is None else now + first_beat_s
        self.spoken = False

    def hear(self, message: Any, now: float) -> bool:
        """Take a message; return whether it is for somebody else."""
        plain = not isinstance(message, Busy | Beat)
        self.spoken = self.spoken or plain
        if self._beat_s is not None:  # until its first word it loads, and native code may keep a beat waiting
            self._beats_until = now + (self._beat_s if self.spoken else self._first_beat_s)
        if not isinstance(message, Beat):
            self._words_until = now + self._silence_s + (message.for_s if isinstance(message, Busy) else 0.0)
        return plain

    def over(self, now: float) -> bool:
        """Tell whether it has been quiet for too long."""
        return now > self._words_until or now > self._beats_until


class Child:
    """Keep one spawned process alive that talks to us through a pipe; kill it when it goes quiet.

    The child gets one end of the pipe; when we die, its end closes and it must exit. `pump` runs in a Worker. A child
    that beats (`BeatingWire`) is given `beat_s`; one whose start is slower than allowed is given twice as long next.
    """

    def __init__(
        self,
        name: str,
        target: Callable[..., None],
        args: tuple[Any, ...],
        *,
        on_message: Callable[[Any], None],
        on_failure: Callable[[str], None],
        silence_s: float,
        start_s: float,
        beat_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._beat_s = beat_s
        self._first_beat_s = FIRST_BEAT_S
        self._target = target
        self._args = args
        self._on_message = on_message
        self._on_failure = on_failure
        self._silence_s = silence_s
        self._start_s = start_s
        self._clock = clock
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._send_lock = threading.Lock()
        self._worker = Worker(name, self._pump, longest_wait_s=CHILD_WAIT_S)

    @property
    def pid(self) -> int | None:
        """The process number while the child lives."""
        return self._process.pid if self._process is not None else None

    def start(self) -> "Child":
        """Start the child and the thread that listens to it."""
        self._worker.start()
        return self

    def send(self, message: Any) -> None:
        """Send a small message; a child that is away does not get it, and says so when it asks again."""
        with self._send_lock:
            if self._pipe is None:
                return
            try:
                self._pipe.send(message)
            except OSError as error:
                log.debug("%s does not listen: %s", self.name, error)

    def stop(self) -> None:
        """End the child and the listening thread."""
        self._worker.stop()
        self._kill()

    def _pump(self, stop: threading.Event) -> None:
        self._spawn()
        try:
            why = self._listen(stop)
        finally:
            self._kill()
        if why and not stop.is_set():
            self._on_failure(why)

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=self._target, args=(theirs, *self._args), name=self.name, daemon=True)
        process.start()
        theirs.close()
        with self._send_lock:
            self._process, self._pipe = process, ours

    def _listen(self, stop: threading.Event) -> str:
        pipe, process = self._pipe, self._process
        assert pipe is not None
        assert process is not None
        silence = _Silence(
            silence_s=self._silence_s, start_s=self._start_s, beat_s=self._beat_s,
            first_beat_s=self._first_beat_s, now=self._clock(),
        )  # fmt: skip
        while not stop.is_set():
            if pipe.poll(0.1):
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    process.join(1.0)
                    return f"{self.name} ended with code {process.exitcode}"
                if silence.hear(message, self._clock()):
                    self._first_beat_s = FIRST_BEAT_S
                    self._on_message(message)
            if silence.over(self._clock()):
                if not silence.spoken:
                    self._first_beat_s = min(self._first_beat_s * 2, self._start_s)
                return f"{self.name} said nothing when it should have and was killed"
        return ""

    def _kill(self) -> None:
        with self._send_lock:
            process, pipe = self._process, self._pipe
            self._process = self._pipe = None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.join(2.0)
            process.close()
