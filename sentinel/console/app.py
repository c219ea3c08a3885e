"""Process: the pages at the gate, on loopback. It reads and shows; there is no way from here to the barrier.

Threads, not asyncio: each endpoint is a plain function, and each viewer's event stream is a plain generator that
Starlette runs in a thread. Viewers are few and counted.
"""

import argparse
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentinel.condition import Status, as_json
from sentinel.console import pages
from sentinel.console.feed import Document, Feed, news
from sentinel.core.errors import UsageError
from sentinel.erasure import days_of, until_of
from sentinel.settings import Settings, find_config, load
from sentinel.status import Sources, gather
from sentinel.street_policy import overlaid
from sentinel.supervise import end_process, sd_notify, start_logging, stop_on_signals
from sync.ledger import LedgerReader

log = logging.getLogger(__name__)

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")
MOST_VIEWERS = 16  # a screen, a staff terminal, a few phones; each holds one of Starlette's 40 threads
_GOODBYE_S = 2
_HEADERS = {
    # 'self' and nothing else: no inline script, no other host, nothing that could carry data away.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class SafeHeaders:
    """Put the security headers on every answer, also on refusals and files."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete the head of its answer."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_safely)


class Views:
    """The answers to each address, from one shared feed."""

    def __init__(self, feed: Feed, language: str, rest: Callable[[float], bool]) -> None:
        self._feed = feed
        self._language = language
        self._rest = rest
        self._seats = threading.BoundedSemaphore(MOST_VIEWERS)

    def staff(self, request: Request) -> Response:
        """Answer with the staff's page."""
        return HTMLResponse(pages.staff_page(self._feed.latest(), self._lang(request)))

    def part(self, request: Request) -> Response:
        """Answer with the living part of the staff's page."""
        return HTMLResponse(pages.staff_part(self._feed.latest(), self._lang(request)))

    def screen(self, _request: Request) -> Response:
        """Answer with the residents' screen."""
        return HTMLResponse(pages.screen_page(self._feed.latest()))

    def status(self, _request: Request) -> Response:
        """Answer with the status as JSON."""
        return JSONResponse(as_json(self._feed.latest()))

    def healthz(self, _request: Request) -> Response:
        """Answer that this process works, and in what condition the gate is."""
        status = self._feed.latest()
        return JSONResponse({"ok": True, "gate_alive": status.process.alive, "verdict": status.verdict})

    def events(self, _request: Request) -> Response:
        """Answer with a stream of the status."""
        return self._stream(lambda: as_json(self._feed.latest()))

    def screen_events(self, _request: Request) -> Response:
        """Answer with a stream of which panel the screen shows, and nothing more: others read that screen."""
        return self._stream(lambda: {"state": pages.screen_state(self._feed.latest())})

    def _stream(self, document_now: Callable[[], Document]) -> Response:
        if not self._seats.acquire(blocking=False):
            return PlainTextResponse("too many viewers; close another page first", 503, {"retry-after": "10"})
        return _Stream(news(document_now, self._rest), self._seats)

    def _lang(self, request: Request) -> str:
        asked = request.query_params.get("lang", self._language)
        return "en" if asked.startswith("en") else "zh"


class _Stream(StreamingResponse):
    """An event stream that gives its seat back however it ends."""

    def __init__(self, events: Iterator[str], seats: threading.BoundedSemaphore) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._seats = seats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends or its viewer has gone."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._seats.release()


def create_app(
    source: Callable[[], Status],
    *,
    language: str = "zh",
    hosts: Sequence[str] = LOOPBACK,
    rest: Callable[[float], bool] | None = None,
) -> Starlette:
    """Return the web application over a source of statuses.

    `hosts` are the names it answers to: a page of another site that makes its own name point here gets nothing.
    `rest(seconds)` waits between two looks of an event stream and returns True when all should end.
    """
    views = Views(Feed(source), language, rest or threading.Event().wait)
    return Starlette(
        routes=[
            Route("/", views.staff),
            Route("/part", views.part),
            Route("/screen", views.screen),
            Route("/screen/events", views.screen_events),
            Route("/events", views.events),
            Route("/api/v1/status", views.status),
            Route("/healthz", views.healthz),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        middleware=[
            Middleware(SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        ],
    )


def main(argv: list[str] | None = None) -> None:
    """Serve the pages until SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="sentinel-console",
        description="Show the gate live to staff and residents, read-only.",
        epilog="Example: sentinel-console --config /etc/sentinel/gate.toml --listen 127.0.0.1:8080",
    )
    parser.add_argument("--config", help="the settings file (default: $SENTINEL_CONFIG or /etc/sentinel/gate.toml)")
    parser.add_argument("--listen", metavar="HOST:PORT", help="instead of [console] listen")
    args = parser.parse_args(argv)
    end_process(partial(serve, args.config, args.listen))


def serve(config: str | None, listen: str | None) -> int:
    """Run the web server from the settings until told to stop."""
    settings = overlaid(load(find_config(config)))
    start_logging(settings.log.level)
    host, port = address(listen or settings.console.listen)
    stop = stop_on_signals()  # uvicorn hands the signal on to these when it has ended, and the exit code is 0
    app = create_app(
        source_of(settings), language=settings.console.language, hosts=sorted({*LOOPBACK, host}), rest=stop.wait
    )
    server = _Server(
        uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=_GOODBYE_S,
        ),
        stop,
    )  # fmt: skip
    log.info("pages on http://%s:%d/ and /screen", host, port)
    server.run()
    return 0


def source_of(settings: Settings) -> Callable[[], Status]:
    """Return a source of statuses that keeps its ledger reader: it counts only what is new since the last look."""
    reader = LedgerReader(settings.paths.ledger)
    until = partial(until_of, days=days_of(settings))
    return partial(gather, settings, Sources(open_ledger=lambda _path: nullcontext(reader), until=until))


def address(listen: str) -> tuple[str, int]:
    """Return host and port.

    Raises: UsageError for a wildcard: the page has no log-in yet, so it must say whom it answers.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{listen!r} is no address to listen on; write HOST:PORT, for example 127.0.0.1:8080")
    if host in ("0.0.0.0", "::", "*"):
        raise UsageError(f"{listen!r} would show the page to every network; name one address, such as 127.0.0.1:8080")
    return host, int(port)


class _Server(uvicorn.Server):
    """uvicorn, which tells the event streams to end when it is told to stop."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event) -> None:
        super().__init__(config)
        self._stop = stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell systemd that we do."""
        await super().startup(sockets)
        sd_notify("READY=1")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End the streams, then the server."""
        self._stop.set()
        super().handle_exit(sig, frame)


if __name__ == "__main__":
    main()
