"""Stateless resets between a Python node and a BEAM with quic_dist, in both directions."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from quicdist import NodeDown
from quicdist.node import NodeEvent
from tests.interop.carriers import COOKIE
from tests.interop.cluster import beam_for_a_node, cluster
from tests.support.beam import erl_facts
from tests.support.programs import running_program

pytestmark = pytest.mark.quic_dist


@pytest.fixture(autouse=True)
def _version() -> None:
    if tuple(map(int, str(erl_facts()[1]).split("."))) < (1, 7):
        pytest.skip("quic_dist neither announces nor heeds stateless resets before 1.7.0")


PROGRAM = """
import asyncio, sys
from quicdist import Node

async def main():
    name, port, cert, key = sys.argv[1:]
    async with Node(name, cookie="{cookie}", carrier="quic", host="127.0.0.1", port=int(port), cert=cert,
                    key=key, verify=False) as node:
        print("up", flush=True)
        await node.run_forever()

asyncio.run(main())
"""


async def test_the_beam_notices_by_a_reset_that_our_node_was_started_again(tmp_path: Path) -> None:
    with beam_for_a_node("quic", tmp_path) as (beam, _, options):
        name = options["name"]
        program = PROGRAM.format(cookie=COOKIE)
        arguments = [name, str(options["port"]), str(options["cert"]), str(options["key"])]
        command = [sys.executable, "-c", program, *arguments]

        async def started(process: asyncio.subprocess.Process) -> None:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"up\n"

        async with running_program(*command, stdout=asyncio.subprocess.PIPE) as process:
            await started(process)
            assert await beam.eval(f"net_adm:ping('{name}')") == "pong"
            assert await beam.eval(f"monitor_node('{name}', true)") == "true"
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with running_program(*command, stdout=asyncio.subprocess.PIPE) as process:
            await started(process)
            # Something is sent on the old connection.
            await beam.eval(f"{{x, '{name}'}} ! hello")
            told = await beam.eval("receive {nodedown, _} -> down after 3000 -> nothing end")
            assert told == "down"
            assert await beam.eval(f"net_adm:ping('{name}')") == "pong"


async def test_a_reset_of_the_beam_ends_the_link(tmp_path: Path) -> None:
    async with cluster("quic", tmp_path) as pair:
        assert await pair.node.ping(pair.beam_name)
        events: asyncio.Queue[NodeEvent] = asyncio.Queue()
        pair.node.subscribe(events.put_nowait)
        # The process of the connection is gone, and says nothing.
        await pair.eval(
            "[exit(P, kill) || P <- processes(), {dictionary, D} <- [process_info(P, dictionary)], "
            "element(1, proplists:get_value('$initial_call', D, {x})) =:= quic_connection]"
        )
        pair.node.send(("x", pair.beam_name), b"hello")
        async with asyncio.timeout(30):
            event = await events.get()
        assert isinstance(event, NodeDown)
        assert "stateless reset" in str(event.error)
