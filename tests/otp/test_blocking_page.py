"""The program of docs/how-to/blocking-work.md, as the one who reads it would run it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.beam import Beam, tcp_args
from tests.support.epmd import private_epmd
from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "blocking-work.md"


async def ended(process: int) -> None:
    """Wait for the end of a process that is no child of ours."""
    descriptor, over = os.pidfd_open(process), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        await asyncio.wait_for(over.wait(), 30)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


#: Until the pool is known to be broken, and has been replaced.
_FIT_AGAIN = """
F = fun F() -> case rpc:call('py@127.0.0.1', py, fit, [[4, 8]]) of
    {badrpc, {'EXIT', {{python_error, <<"BrokenProcessPool">>, _}, _}}} -> F(); Fitted -> Fitted end end, F()
"""


@pytest.mark.beam
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_the_program_with_a_pool(tmp_path: Path) -> None:
    (source,) = [block.body for block in blocks(PAGE) if "ProcessPoolExecutor(2" in block.body]
    path = tmp_path / "program.py"
    path.write_text(source)
    with private_epmd(), Beam(tcp_args("a@127.0.0.1")) as beam:
        program = await asyncio.create_subprocess_exec(sys.executable, path, stdout=subprocess.PIPE)
        try:
            assert program.stdout is not None
            assert await program.stdout.readline() == b"ready\n"
            assert await beam.eval("rpc:call('py@127.0.0.1', py, fit, [[1, 2, 6]])") == "3.0"
            first = workers_of(program.pid)[0]
            os.kill(first, signal.SIGKILL)
            await ended(first)
            assert await beam.eval(_FIT_AGAIN) == "6.0"
            workers = workers_of(program.pid)
            assert workers
            await beam.eval("monitor_node('py@127.0.0.1', true)")
        finally:
            program.kill()
            await program.communicate()
        assert await beam.eval("receive {nodedown, 'py@127.0.0.1'} -> down after 10000 -> up end") == "down"
        for worker in workers:
            await ended(worker)


def workers_of(process: int) -> list[int]:
    """The workers of its pool: the children of its fork server."""
    return [worker for child in children(process) if is_fork_server(child) for worker in children(child)]


def children(process: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found


def is_fork_server(process: int) -> bool:
    return "multiprocessing.forkserver" in Path(f"/proc/{process}/cmdline").read_text()
