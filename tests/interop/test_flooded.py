"""A BEAM joins a node that strangers flood meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.cluster import Cluster

ROOT = Path(__file__).resolve().parent.parent.parent

_FLOODS = {
    # Initial packets of 400 ports of the address that the BEAM comes from.
    "initials": """
socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(400)]
datagrams = [raw.initial(raw.PING) for _ in range(100)]
def once(number):
    socks[number % 400].sendto(datagrams[number % 100], ("127.0.0.1", port))
rate = 2000
""",
    # TCP connections from there that say a name, and no more.
    "names": """
held = []
def once(number):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(named(f"stranger{number}@127.0.0.1"))
    held.append(sock)
    del held[:-300]
rate = 300
""",
}


@contextmanager
def flood(kind: str, port: int) -> Iterator[None]:
    code = f"""
import contextlib, socket, sys, time
from tests.hostile import raw_quic as raw
from tests.hostile.tcp import named
port = {port}
{_FLOODS[kind]}
print("begun", flush=True)
start = time.monotonic()
number = 0
while True:
    with contextlib.suppress(OSError):
        once(number)
    number += 1
    ahead = start + number / rate - time.monotonic()
    if ahead > 0.002:
        time.sleep(ahead)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)}
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            yield
        finally:
            process.kill()


async def test_a_beam_joins_a_flooded_node(pair: Cluster) -> None:
    port = next(one.port for one in pair.node.addresses)
    # What is loaded once is loaded before.
    assert await pair.eval("net_adm:ping(PY)") == "pong"
    await pair.eval("monitor_node(PY, true)")
    pair.node.disconnect(pair.beam_name)
    await pair.eval("receive {nodedown, PY} -> ok end")
    with flood("initials" if pair.carrier == "quic" else "names", port):
        for _ in range(4):
            start = time.monotonic()
            assert await pair.eval("net_adm:ping(PY)") == "pong"
            took = time.monotonic() - start
            assert took < 1.0
            await pair.eval("monitor_node(PY, true)")
            pair.node.disconnect(pair.beam_name)
            await pair.eval("receive {nodedown, PY} -> ok end")
