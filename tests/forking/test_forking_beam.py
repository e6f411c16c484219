"""A BEAM, and a node whose program has forked workers and is killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quicdist import make_development_certificates
from tests.forking.running import program
from tests.interop.cluster import COOKIE, names
from tests.interop.conftest import CARRIERS
from tests.support.beam import Beam, quic_args, tcp_args

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_killed_node_is_gone_and_can_start_again(
    carrier: str, how: signal.Signals, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    ours, theirs = names()
    options: dict[str, Any] = {"cookie": COOKIE, "carrier": carrier, "host": "127.0.0.1"}
    if carrier == "tcp":
        args = tcp_args(theirs, COOKIE)
    else:
        files = make_development_certificates(tmp_path / "certs")
        table = {ours: ("127.0.0.1", free_port()), theirs: ("127.0.0.1", free_port())}
        port = table[theirs][1]
        args = quic_args(theirs, port, tmp_path, table, cert=files.cert, key=files.key, cookie=COOKIE)
        certificates = {"cert": str(files.cert), "key": str(files.key), "verify": False}
        options |= {"port": table[ours][1], "nodes": table, **certificates}
    with Beam(args) as beam:
        if carrier == "quic":
            await beam.eval("{ok, _} = application:ensure_all_started(quic)")
        async with program("asyncio", ours, options) as first:
            assert await first.line() == "up"
            assert await beam.eval(f"rpc:call('{ours}', py, double, [21])") == "42"
            await beam.eval(f"monitor_node('{ours}', true), rpc:call('{ours}', py, default_signals, [])")
            first.kill(how)
            if carrier == "quic":  # Nothing of UDP tells a peer that it was killed.
                await beam.eval(f"erlang:disconnect_node('{ours}')")
            down = await beam.eval(f"receive {{nodedown, '{ours}'}} -> down after 10000 -> up end")
            assert down == "down"
            assert first.workers
            for worker in first.workers:
                os.kill(worker, 0)  # they live
            async with program("asyncio", ours, options) as second:
                assert await second.line() == "up"
                assert await beam.eval(f"rpc:call('{ours}', py, double, [4])") == "8"
