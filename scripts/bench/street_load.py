"""Make what benches of the road send, and the broker that carries it."""

import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sync.broker import BrokerLost, Message, MqttBroker
from sync.entry import Entry, Key, Stamp, canonical, entry_hash
from sync.flight import Flight


def bodies() -> Iterator[dict[str, object]]:
    """Yield passages as the gate writes them: what differs from person to person differs here."""
    chance = random.Random(1)
    while True:
        skin = round(chance.gauss(36.4, 0.3), 1)
        yield {
            "outcome": "open", "method": chance.choice(["card+face", "card", "face"]), "reasons": ["accepted"],
            "lane": f"lane-{chance.randint(1, 3)}", "direction": chance.choice(["in", "out"]), "mode": "automatic",
            "person": chance.randbytes(16).hex(), "card_kind": "resident", "temperature": "normal",
            "skin_celsius": skin, "raw_celsius": round(skin - 0.3, 1), "compensation_celsius": 0.3,
            "ambient_celsius": round(chance.gauss(21, 2), 1), "temperature_limit_celsius": 37.3,
            "similarity": round(chance.uniform(0.45, 0.85), 4), "similarity_required": 0.4,
            "face_model": "sface-2021dec", "decision_ms": chance.randint(180, 900),
        }  # fmt: skip


def chained(tip: tuple[int, int, bytes], entries: int) -> Iterator[Entry]:
    """Yield entries that follow this tip, some seconds apart."""
    epoch, seq, prev = tip
    chance, wall_ns, boot = random.Random(2), time.time_ns() - 10**15, "0f8b7c1e-90ab-4cde-8f01-23456789abcd"
    for number, body in zip(range(seq + 1, seq + 1 + entries), bodies(), strict=False):
        wall_ns += chance.randrange(10**9, 10**10)
        stamp = Stamp(wall_ns=wall_ns, boot_ns=wall_ns - 10**18, boot_id=boot, clock_trusted=True)
        made = Entry(key=Key(epoch, number), kind="passage", version=1, stamp=stamp, body=canonical(body), prev=prev)
        made = replace(made, hash=entry_hash(made))
        prev = made.hash
        yield made


def batches_of(topic: str, events: list[bytes], size: int) -> list[Message]:
    """Return the messages a forwarder would send."""
    made = []
    for at in range(0, len(events), size):
        flight = Flight(id=f"b-{at}", keys=[], events=events[at : at + size])
        payload, properties = flight.message("zstd")
        made.append(Message(topic=topic, payload=payload, properties=properties))
    return made


def start_mosquitto(directory: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a broker on a free port and wait until it runs."""
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = directory / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    probe = MqttBroker(f"mqtt://127.0.0.1:{port}", "probe")
    for _ in range(100):
        try:
            probe.connect(1.0)
            break
        except BrokerLost:
            time.sleep(0.05)
    probe.close()
    return process, probe.url
