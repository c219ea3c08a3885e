"""Nobody's name, number or face is on the disk or on the road in the clear, and after a deletion nothing opens them.

The whole box is one small ext4 where root may mount one, and its image is read block by block, free ones too; elsewhere
it is a plain folder and its files are read.
"""

import argparse
import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from sentinel import cli, roster
from sentinel.cli import retention
from sentinel.rehearsal import Rehearsal, synthetic_person
from sync.cursor import Cursor
from sync.entry import Draft, Stamp
from sync.errors import VaultError
from sync.ledger import LedgerWriter
from sync.pack import ENCODING, unpack
from sync.spool import spool_append
from sync.stamp import now_stamp
from sync.vault import Vault

from .conftest import number_of, until_mode

pytestmark = [pytest.mark.models, pytest.mark.broker, pytest.mark.timeout(120)]

NAME, NUMBER = "样本龘靐", number_of(333)
IMAGE_MB = 40


class Box:
    """A disk of its own for everything a gate writes."""

    def __init__(self, folder: Path):
        self.place, self.image = folder / "d", folder / "image"
        self.place.mkdir()
        with self.image.open("wb") as file:
            file.truncate(IMAGE_MB << 20)
        lines = (["mkfs.ext4", "-q", "-m", "0", str(self.image)], ["mount", "-o", "loop", self.image, self.place])
        self.real = os.geteuid() == 0 and all(
            subprocess.run(line, capture_output=True, check=False).returncode == 0 for line in lines
        )

    def raw(self) -> bytes:
        """Return every byte of the disk, those of no file too."""
        if self.real:
            subprocess.run(["sync", "-f", str(self.place)], check=True)
            return self.image.read_bytes()
        files = [path for path in sorted(self.place.rglob("*")) if path.is_file()]
        return b"\0".join(path.read_bytes() for path in files)


@contextmanager
def box_in(folder: Path) -> Iterator[Box]:
    box = Box(folder)
    try:
        yield box
    finally:
        if box.real:
            subprocess.run(["umount", "-l", str(box.place)], check=False)


class Ear:
    """Whoever listens to everything on the broker, as a stranger with a cable would."""

    def __init__(self, port: int):
        self.heard: list[bytes] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.subscribe("#", qos=1)
        self._client.loop_start()
        assert subscribed.wait(10)

    def _hear(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        told = dict(getattr(message.properties, "UserProperty", ()))
        self.heard += [message.topic.encode(), message.payload, repr(told).encode()]
        if ENCODING in told:
            self.heard.append(unpack(message.payload, told[ENCODING]))

    def stop(self) -> bytes:
        self._client.disconnect()
        self._client.loop_stop()
        return b"\n".join(self.heard)


def forms_of(secret: bytes) -> Iterator[bytes]:
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for shift in range(3):  # base64 of the bytes wherever they stand in what was encoded
        whole = base64.b64encode(bytes(shift) + secret)
        yield whole[4 if shift else 0 : len(whole) - 4]


def canaries(vectors: list[bytes]) -> set[bytes]:
    """Return every form in which the canary's name, number or template could be met."""
    secrets = [vector[:64] for vector in vectors] + [vector[64:128] for vector in vectors]
    for words in (NAME, NUMBER):
        secrets += [words.encode(form) for form in ("utf-8", "utf-16-le", "utf-16-be", "gb18030")]
    escaped = NAME.encode("unicode_escape")
    return {form for secret in secrets for form in forms_of(secret)} | {escaped, escaped.upper()}


def live(stage: Rehearsal, face: Path, vault: Vault) -> None:
    """Let the canary pass by face and card, be registered by hand, and come home from a spool."""
    until_mode(stage, "automatic", 60.0)
    stage.world("arrive", picture=str(face), card={"name": NAME, "number": NUMBER}, skin_celsius=36.4)
    stage.wait(lambda: found(stage, "passage", 1), 20.0)
    assert stage.ctl("register", "--reason", "forgot-card", stdin=f"{NUMBER}\n{NAME}\n").returncode == 0
    body = {"reason": "spooled here", "person": vault.token(NUMBER)}
    personal = {"name": NAME, "number": NUMBER}
    draft = Draft(kind="registration", version=1, body=body, personal=personal)
    spool_append(stage.directory / "state" / "spool.jsonl", draft, now_stamp(), vault)
    stage.wait(lambda: found(stage, "registration", 2), 20.0)
    stage.wait(lambda: receipted(stage), 20.0)


def found(stage: Rehearsal, kind: str, count: int) -> bool | None:
    with stage.reader() as reader:
        return True if len(reader.newest(100, kind)) >= count else None


def receipted(stage: Rehearsal) -> bool | None:
    with stage.reader() as reader, Cursor(stage.directory / "state" / "uplink.db") as cursor:
        return True if cursor.balance(reader.epochs()).pending == 0 else None


def test_a_raw_scan_finds_nobody_and_after_a_deletion_nothing_opens(tmp_path_factory, models_dir, faces_dir):
    debug = {'level = "info"': 'level = "debug"'}
    with (
        box_in(tmp_path_factory.mktemp("r")) as box,
        Rehearsal(box.place, models_dir=models_dir, settings=debug) as stage,
    ):
        stage.start("world", "broker", "street", "gate")
        ear = Ear(stage.broker_port)
        stage.enrol([synthetic_person(NAME, NUMBER, [faces_dir / "obama.jpg"])])
        stage.start("uplink")
        vault = Vault.open(stage.directory / "secrets")
        live(stage, faces_dir / "obama2.jpg", vault)
        members = roster.load_all(stage.directory / "state" / "roster.db", vault)
        wanted = canaries([one.vector for one in members[vault.token(NUMBER)].templates])
        assert len(wanted) > 40
        with stage.reader() as reader:
            parts = [(part.personal_key, part.personal) for part in reader.sealed_parts()]
        assert len(parts) >= 3 and all(vault.unseal(*part)["name"] == NAME for part in parts)
        erased = stage.ctl("retention", "erase", "--number", "-", "--yes", stdin=f"{NUMBER}\n")
        assert (erased.returncode, NUMBER in erased.stdout + erased.stderr) == (0, False), erased.stderr
        check_day_keys_go(stage, box, vault, wanted, ear, parts)


def check_day_keys_go(
    stage: Rehearsal, box: Box, vault: Vault, wanted: set[bytes], ear: Ear, parts: list[tuple[str, bytes]]
) -> None:
    with stage.reader() as reader:
        assert list(reader.sealed_parts()) == [], "everybody here was the canary"
    stage.stop("uplink")
    stage.kill("gate")
    with LedgerWriter.open(stage.directory / "state" / "ledger.db", vault=vault, stamp=at(0)) as writer:
        part = writer.append(Draft(kind="passage", version=1, body={}, personal={"name": NAME, "number": NUMBER}), 5.0)
    heard, before = ear.stop(), box.raw()
    assert len(heard) > 1000 and b"passage" in heard, "the stranger heard the road"
    assert [form for form in wanted if form in heard] == []
    assert [form for form in wanted if form in before] == []
    names = vault.names()
    wrapped = vault.wrapped(names)
    assert part.personal in before and all(one in before for one in wrapped.values()), "the scan sees what is there"
    run_later(stage, 40)
    assert vault.names() == ()
    after = box.raw()
    assert [name for name, one in wrapped.items() if one in after] == []
    assert [form for form in wanted if form in after] == []
    assert b'"personal_key":"spool"' not in after, "that key never dies: what it sealed is overwritten"
    left = Vault.open(stage.directory / "secrets")  # the device key is all that is left, and it opens no part
    for name, personal in [*parts, (part.personal_key, part.personal)]:
        for key in {name, *names, "spool"}:
            with pytest.raises(VaultError):
                left.unseal(key, personal)
    told = stage.ctl_json("check", "ledger")
    assert (told["chain"]["ok"], told["personal"]["present"], told["personal"]["missing"]) == (True, 0, [])
    assert told["personal"]["erased"] == len(parts) + 1


def run_later(stage: Rehearsal, days: int) -> None:
    """Run the retention as a maintainer would so many days later, by a clock that can be trusted."""
    vault = Vault.open(stage.directory / "secrets")
    LedgerWriter.open(stage.directory / "state" / "ledger.db", vault=vault, stamp=at(days)).close("a start of that day")
    known = argparse.Namespace(config=stage.config, json=False, lang="en", plain=True, quiet=False, stamp=at(days))
    args = cli.build_parser(("retention",)).parse_args(["retention", "run", "--yes"], known)
    assert retention.run_run(args) == 0


def at(days: int):
    moment = datetime.now(UTC) + timedelta(days=days)
    return lambda: Stamp(
        wall_ns=int(moment.timestamp() * 1e9), boot_ns=1, boot_id="later", clock_trusted=True
    )
