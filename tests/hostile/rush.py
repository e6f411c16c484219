"""Connections that come for seconds on end, from a process of their own: 3000 a second over TCP, and QUIC
handshakes as fast as it can make them.

Faster, about 10000 a second, they fill what the kernel holds ready, and it drops those of others too."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time

from tests.hostile.field import Attack, Field
from tests.hostile.processes import ROOT

#: What the flooding process runs. Connections are made and kept, 300 of them at a time; each counts as three
#: headers of IP and TCP.
_TCP = """
import contextlib, socket, sys, time, json
sys.path[:0] = json.loads(sys.argv[1])
from tests.hostile.tcp import named
port, seconds, sources, says = map(int, sys.argv[2:6])
rate = 1000 if says else 3000
held, start, number = [], time.monotonic(), 0
while time.monotonic() - start < seconds:
    number += 1
    if (ahead := start + number / rate - time.monotonic()) > 0.001:
        time.sleep(ahead)
    sock = socket.socket()
    sock.setblocking(False)
    if sources > 1:
        sock.bind((f"127.77.{number % sources // 200}.{1 + number % sources % 200}", 0))
    with contextlib.suppress(BlockingIOError, OSError):
        sock.connect(("127.0.0.1", port))
    if says:
        with contextlib.suppress(OSError):
            sock.send(named(f"rush{number}@127.0.0.1"))
    held.append(sock)
    if len(held) > 300:
        held.pop(0).close()
print(json.dumps({"made": number, "sent": 120 * number}))
"""
_QUIC = """
import sys, time, json, logging
sys.path[:0] = json.loads(sys.argv[1])
logging.getLogger("quic").setLevel(logging.CRITICAL)
from tests.hostile.field import Field
from tests.hostile.raw_quic import Stranger
port, seconds, sources, says = map(int, sys.argv[2:6])
field = Field(victim=None, quic=("127.0.0.1", port), tcp=("127.0.0.1", 0), tls={}, liar_port=0)
held, start, number = [], time.monotonic(), 0
while time.monotonic() - start < seconds:
    number += 1
    held.append(Stranger(field, field.source() if sources > 1 else "127.0.0.1"))
    for one in held[-40:]:
        one.pump(0.0)
    if len(held) > 100:
        held.pop(0).sock.close()
print(json.dumps({"made": number, "sent": field.sent}))
"""


def _rush(field: Field, code: str, port: int, sources: int, says: bool, seconds: int = 3) -> None:
    command = [sys.executable, "-c", code, json.dumps(sys.path), str(port), str(seconds), str(sources)]
    with subprocess.Popen([*command, str(int(says))], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.read())
    field.sent += said["sent"]
    field.note(f"{said['made']} in {seconds} s")
    time.sleep(0.2)


ATTACKS = [
    dataclasses.replace(attack, carrier="tcp")
    for attack in (
        Attack("rush-tcp", "3000 TCP connections a second of one address",
               lambda field: _rush(field, _TCP, field.tcp[1], 1, False)),
        Attack("rush-tcp-many", "the same of 1000 addresses",
               lambda field: _rush(field, _TCP, field.tcp[1], 1000, False)),
        Attack("rush-tcp-names", "1000 TCP connections a second that say a name, of 1000 addresses",
               lambda field: _rush(field, _TCP, field.tcp[1], 1000, True)),
    )
] + [
    Attack("rush-quic", "QUIC handshakes of one address, as fast as it goes",
           lambda field: _rush(field, _QUIC, field.quic[1], 1, False)),
    Attack("rush-quic-many", "the same of many addresses",
           lambda field: _rush(field, _QUIC, field.quic[1], 1000, False)),
]  # fmt: skip
