"""A program that forks children of two connected nodes, and prints how each child ended:
``python -m tests.forking.ends LOOP OPTIONS``."""

from __future__ import annotations

import ast
import asyncio
import gc
import multiprocessing
import os
import sys
from typing import Any

from quicdist import Node
from tests.forking.program import loop_factory

SERVER, CLIENT = "server@127.0.0.1", "client@127.0.0.1"
#: Children of each kind.
TIMES = 5


def status(pid: int) -> int:
    """How a child ended: the negative number of its signal, if it was one."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def ends_at_once() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


def collects_garbage() -> int:
    pid = os.fork()
    if pid == 0:
        gc.collect()
        os._exit(0)
    return pid


def exits() -> int:
    pid = os.fork()
    if pid == 0:
        raise SystemExit(0)
    return pid


async def leaves_the_block(options: dict[str, Any], port: int) -> int:
    """The child leaves the ``async with`` block of its copy of a node."""
    async with client(options, port) as node:
        await node.connect(SERVER)
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    return await asyncio.to_thread(status, pid)


def client(options: dict[str, Any], port: int) -> Node:
    return Node(CLIENT, **options, listen=False, nodes={SERVER: ("127.0.0.1", port)})


async def main(options: dict[str, Any]) -> None:
    async with Node(SERVER, **options, port=0) as server:
        port = server.addresses[0].port
        async with client(options, port) as node:
            await node.connect(SERVER)
            for ending in (ends_at_once, collects_garbage):
                found = {await asyncio.to_thread(status, ending()) for _ in range(TIMES)}
                assert await node.ping(SERVER)
                print(ending.__name__, found, flush=True)
            child = multiprocessing.get_context("fork").Process(target=gc.collect)
            child.start()
            await asyncio.to_thread(child.join)
            assert await node.ping(SERVER)
            print("is_of_multiprocessing", {child.exitcode}, flush=True)
        print("leaves_the_block", {await leaves_the_block(options, port)}, flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory(sys.argv[1])) as runner:
        runner.run(main(ast.literal_eval(sys.argv[2])))
    print("exits, after the loop", {status(exits()) for _ in range(TIMES)}, flush=True)
