"""One-shot: register a person or open the barrier by hand, with or without the gate.

It reads one request from its standard input, which is a socket (systemd's, or one that `sentinelctl` made), hands it to
the gate, and does it itself when the gate gives no answer: it takes the barrier lock, which the kernel freed when the
gate died, keeps the entry, pulses, answers, ends. It needs neither network nor camera, and imports neither.

The entry is kept before the pulse, within the bound of `barrier.append_bound_s`; what cannot be kept in time goes to
the spool, and the pulse is given whatever the disk says: no disk holds a person that staff let through.
"""

import argparse
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from drivers.barrier import Barrier, BarrierLock
from drivers.errors import BarrierBusy, DriverError
from sentinel import __version__
from sentinel.byhand import HandAct, hand_act, opens_again
from sentinel.control import Peer, ask, line_of, parse, peer_of, read_line, refusal
from sentinel.core.errors import NotPermitted, SentinelError, Unavailable, UsageError, is_expected
from sentinel.core.kinds import Barrier as BarrierEntry
from sentinel.core.kinds import Consent, Deletion, GalleryMove, TemplateChange
from sentinel.erasure import Erasures
from sentinel.keeper import Keeper, draft_of, spooled
from sentinel.keyroom import number_sealer, open_vault, signer
from sentinel.settings import Settings, find_config, load
from sentinel.storage import Storage
from sentinel.street_policy import overlaid
from sentinel.wiring import pins_of
from sync.errors import SyncError
from sync.ledger import LedgerWriter
from sync.spool import spool_append
from sync.stamp import now_stamp
from sync.vault import Vault

log = logging.getLogger(__name__)

GATE_ANSWERS_S = 1.0  # the gate answers within one turn, some 50 ms; after a second it is dead or hung
PATIENCE_S = 8.0  # a gate that is just starting holds the lock for a moment; then staff are told to use the key


def main(argv: list[str] | None = None) -> None:
    """Serve the one request on standard input and exit with its code."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s: %(message)s")
    try:
        sock = socket.socket(fileno=os.dup(sys.stdin.fileno()))
        peer = peer_of(sock)
    except OSError as error:
        print(f"sentinel-manual: standard input is no socket ({error}); use: sentinelctl register", file=sys.stderr)
        sys.exit(UsageError.exit_code)
    with sock, ExitStack() as afterwards:  # what may take long on a sick disk comes after the answer
        sock.settimeout(PATIENCE_S)
        answer = _answer(sock, peer, args.config, afterwards)
        sock.sendall(line_of(answer))
    sys.exit(0 if answer["ok"] else answer["exit_code"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sentinel-manual",
        description="Register a person or open the barrier by hand. Started by systemd or sentinelctl, not by people.",
        epilog="For people: sentinelctl register --help",
    )
    parser.add_argument("--config", help="the settings file (default: $SENTINEL_CONFIG or /etc/sentinel/gate.toml)")
    return parser


def _answer(sock: socket.socket, peer: Peer, config: str | None, afterwards: ExitStack) -> Mapping[str, Any]:
    try:
        settings = overlaid(load(find_config(config)))
        request = parse(read_line(sock)) | {"operator": peer.name}
        return serve(request, peer, settings, afterwards)
    except Exception as error:
        if not is_expected(error):
            log.exception("a request by hand failed")
        return refusal(error)


def serve(
    request: Mapping[str, Any], peer: Peer, settings: Settings, afterwards: ExitStack
) -> Mapping[str, Any]:
    """Return the answer to a request, from the gate or by our own hand; what is left to end goes to `afterwards`.

    Raises: Unavailable when neither the gate answers nor the barrier is free. UsageError for a wrong request.
    """
    if request["verb"] == "delete" and peer.uid not in (0, os.getuid()):
        raise NotPermitted("who may open the barrier may not delete; run sentinelctl retention as the gate's user")
    lock = BarrierLock(settings.paths.barrier_lock)
    give_up = time.monotonic() + PATIENCE_S
    while True:
        until = time.monotonic() + GATE_ANSWERS_S  # a gate that wakes up later must not open for who has left
        try:
            return ask(settings.paths.control_socket, {**request, "until_mono": until}, GATE_ANSWERS_S)
        except Unavailable as gone:
            log.debug("%s", gone)
        try:
            # A short wait is the pause of this loop: the gate may be starting, or dying, right now.
            lock.acquire(wait_s=0.2)
        except BarrierBusy as busy:
            if time.monotonic() > give_up:
                kept = _keep_unopened(request, peer, settings)
                raise Unavailable(
                    f"{busy}, and it does not answer{kept}; open with the key switch, then: "
                    "systemctl restart sentinel-gate"
                ) from busy
            continue
        afterwards.enter_context(lock)
        _end_restore(settings)
        return _do_it(request, peer, settings, afterwards)


def _keep_unopened(request: Mapping[str, Any], peer: Peer, settings: Settings) -> str:
    """Put a registration into the spool that a hung gate neither takes nor opens for; say so, or say nothing."""
    if request["verb"] != "register":
        return ""
    vault = _vault(settings)
    act = _act({**request, "open": False}, peer, settings, vault)
    draft = draft_of(act.entry, act.personal, act.request)
    spool_append(settings.paths.spool, spooled(draft), now_stamp(), vault)
    return " (the registration is kept)"


def _end_restore(settings: Settings) -> None:
    """End a restore of a backup that somebody died over, before its files are used; a person is let through anyway."""
    if settings.paths.restoring.exists():
        from sentinel.restoring import finish  # not once a year, and this process starts in a blink

        try:
            finish(settings)
        except (OSError, ValueError) as error:
            log.error("a restore could not be ended: %s; run: sentinelctl backup restore", error)


def _vault(settings: Settings) -> Vault | None:
    try:
        return open_vault(settings, create=True)
    except (SyncError, SentinelError) as error:
        # Who it was cannot be kept then; that somebody was let through, and by whom, can.
        log.error("the vault cannot be opened: %s; the entry is kept without its personal part", error)
        return None


def _act(request: Mapping[str, Any], peer: Peer, settings: Settings, vault: Vault | None) -> HandAct:
    return hand_act(
        request,
        operator=peer.name,
        written_by="one-shot",
        lane=settings.gate.lane,
        direction=settings.gate.direction,
        token_of=vault.token if vault else None,
        seal_number=number_sealer(settings),
        sign=signer(settings) if vault else None,
    )


def _do_it(
    request: Mapping[str, Any], peer: Peer, settings: Settings, afterwards: ExitStack
) -> Mapping[str, Any]:
    vault = _vault(settings)
    act = _act(request, peer, settings, vault)
    keeper = Keeper(
        open_ledger=partial(_open_ledger, settings, vault),
        spool=settings.paths.spool,
        vault=vault,
        stamp=now_stamp,
        bound_s=settings.barrier.append_bound_s,
        storage=Storage.of(settings),
        erasures=Erasures.of(settings, vault) if vault else None,
    )
    afterwards.callback(keeper.close, "one-shot done")
    try:
        keeper.tend()
    except SyncError as error:
        log.error("the ledger cannot be opened: %s; the entry goes to the spool", error)
    return _keep_and_pulse(act, keeper, settings, afterwards)


def _open_ledger(settings: Settings, vault: Vault | None) -> LedgerWriter:
    start_body = {"version": __version__}
    return LedgerWriter.open(
        settings.paths.ledger, vault=vault, owner="one-shot", start_body=start_body,
        quota_bytes=settings.storage.quota_mb << 20,
    )  # fmt: skip


def _keep_and_pulse(
    act: HandAct, keeper: Keeper, settings: Settings, afterwards: ExitStack
) -> Mapping[str, Any]:
    kept = keeper.keep(act.entry, personal=act.personal, request=act.request)
    opens = opens_again(act, kept.before, now_stamp())
    if opens:
        try:
            _pulse(settings, afterwards)
        except DriverError as error:
            keeper.keep(BarrierEntry(event="not-moved", after=kept.key))
            kept_but = f"the entry is kept, but the barrier did not move ({error}); use the key switch"
            raise Unavailable(kept_but) from error
    elif isinstance(act.entry, Consent | TemplateChange | GalleryMove | Deletion):
        if kept.key is None:
            raise Unavailable(f"the {act.entry.KIND} could not be recorded ({kept.problem}); nothing was changed")
        if isinstance(act.entry, Deletion):
            keeper.erase(act.entry)
            afterwards.callback(keeper.carry_out)  # before the ledger is closed; whoever asked looks when it is done
    return {"ok": True, "key": kept.key, "kept": kept.how, "opened": opens, "by": "one-shot"}


def _pulse(settings: Settings, afterwards: ExitStack) -> None:
    pulse_s = settings.barrier.pulse_s
    barrier = Barrier(pins_of(settings), passage_s=settings.barrier.passage_s, on_event=log.debug)
    afterwards.callback(barrier.close)
    barrier.pulse(pulse_s)
    afterwards.callback(time.sleep, pulse_s)  # the lines fall back when this process lets them go


if __name__ == "__main__":
    main()
