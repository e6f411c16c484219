"""A BEAM, and a node whose program has forked workers and is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.forking.running import program
from tests.interop.carriers import CARRIERS, over_tcp, reachable
from tests.interop.cluster import names

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_killed_node_is_gone_and_can_start_again(
    carrier: str, how: signal.Signals, tmp_path: Path
) -> None:
    ours, theirs = names()
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(reachable(carrier, ours, [theirs], tmp_path))
        ours, options = found.ours, found.options
        for name in ("cert", "key"):
            if name in options:
                options[name] = str(options[name])  # for the program's arguments
        beam = stack.enter_context(found.peers[0].start())
        async with program("asyncio", ours, options) as first:
            assert await first.line() == "up"
            assert await beam.eval(f"rpc:call('{ours}', py, double, [21])") == "42"
            await beam.eval(f"monitor_node('{ours}', true), rpc:call('{ours}', py, default_signals, [])")
            first.kill(how)
            if not over_tcp(carrier):  # Nothing of UDP tells a peer that it was killed.
                await beam.eval(f"erlang:disconnect_node('{ours}')")
            down = await beam.eval(f"receive {{nodedown, '{ours}'}} -> down after 10000 -> up end")
            assert down == "down"
            assert first.workers
            for worker in first.workers:
                os.kill(worker, 0)  # they live
            async with program("asyncio", ours, options) as second:
                assert await second.line() == "up"
                assert await beam.eval(f"rpc:call('{ours}', py, double, [4])") == "8"
