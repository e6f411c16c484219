"""The Python node of the demo: ``echo_node.py``, and some functions to call on it.

rpc:call(Node, py, add, [1, 2])              1 + 2
rpc:call(Node, py, ping, [Other])            the result of the node's ping of another node
rpc:call(Node, py, call, [Other, M, F, A])   the result of the node's call to another node
rpc:call(Node, py, mortal, [])               a process that exits with the first message as reason
rpc:call(Node, py, watch, [Pid])             the exit reason of Pid, after it got `watched`
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import click

from examples import echo_node
from quicdist import ANY, Atom, Node, Pid, Process, ProcessExit
from quicdist.cli import make_node, node_options


def offer(node: Node) -> None:
    """Export the functions that the demo calls."""

    @node.export("py")
    def add(one: int, two: int) -> int:
        return one + two

    @node.export("py")
    async def ping(other: Atom) -> bool:
        return await node.ping(other.name)

    @node.export("py")
    async def call(other: Atom, module: Atom, function: Atom, arguments: list[Any]) -> Any:
        return await node.call(other.name, module.name, function.name, arguments, timeout=10)

    @node.export("py")
    def mortal() -> Pid:
        async def body(process: Process) -> None:
            raise ProcessExit(await process.receive())

        return node.spawn(body).pid

    @node.export("py")
    async def watch(pid: Pid) -> Any:
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def body(process: Process) -> None:
            reference = process.monitor(pid)
            process.send(pid, Atom("watched"))
            down = await process.receive((Atom("DOWN"), reference, ANY, ANY, ANY))
            ended.set_result(down[4])

        node.spawn(body)
        return await ended


@click.command()
@node_options
def main(**options: Any) -> None:
    echo_node.log_to_stderr()
    asyncio.run(run(make_node(**options, host="127.0.0.1", port=0)))


async def run(node: Node) -> None:
    """Run the node until the demo stops it, or ends."""
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), os.kill, os.getpid(), signal.SIGTERM)
    offer(node)
    await echo_node.run(node)


if __name__ == "__main__":
    main()
