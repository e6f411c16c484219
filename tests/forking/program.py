"""A node with a pool of forked workers, as a program of its own: ``python -m tests.forking.program``.

Its arguments are the name of the event loop, the node's name, and its other options as Python source.
"""

from __future__ import annotations

import ast
import asyncio
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from quicdist import Node, QuicDistError

NODE: list[Node] = []


def double(number: int) -> int:
    return 2 * number


def sockets() -> list[str]:
    """The Internet sockets that this process holds."""
    found = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        try:
            with socket.socket(fileno=os.dup(descriptor)) as sock:
                if sock.family in (socket.AF_INET, socket.AF_INET6):
                    found.append(f"{descriptor}: {sock!r}")
        except OSError:
            pass  # no socket, or the descriptor of the listing itself
    return found


def signals() -> list[str]:
    """What of this process's signal handling is not that of a new process."""
    found = []
    if (wakeup := signal.set_wakeup_fd(-1)) != -1:
        found.append(f"wakeup descriptor {wakeup}")
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        found.append(f"SIGTERM: {signal.getsignal(signal.SIGTERM)}")
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        found.append(f"SIGINT: {signal.getsignal(signal.SIGINT)}")
    return found


def uses() -> list[str]:
    """What comes of using the parent's node."""
    (node,) = NODE
    (process,) = (one for one in PROCESSES)

    def told(use: Callable[[], Any]) -> str:
        try:
            return repr(use())
        except QuicDistError as error:
            return f"{type(error).__name__}: {error}"

    async def call() -> Any:
        return await node.call(node.name, "py", "double", [1])

    return [
        told(lambda: node.send("rex", 1)),
        told(lambda: process.send(process.pid, 1)),
        told(lambda: node.spawn(print)),
        told(lambda: node.call_soon_threadsafe(print)),
        told(lambda: asyncio.run(call())),
        told(lambda: asyncio.run(node.connect("other@127.0.0.1"))),
    ]


PROCESSES: list[Any] = []


async def main(name: str, options: dict[str, Any]) -> None:
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("fork"))
    async with Node(name, **options) as node:
        NODE.append(node)
        PROCESSES.append(node.spawn(lambda process, message: None))
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

        @node.export("py")
        def is_stopping() -> bool:
            return stopped.is_set()

        @node.export("py")
        def default_signals() -> None:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)

        @node.export("py")
        def workers() -> list[int]:
            return [process.pid for process in multiprocessing.active_children() if process.pid]

        for function in (double, sockets, signals, uses):
            node.export("py", executor=pool)(function)
        print("up", flush=True)
        await stopped.wait()


def loop_factory(loop: str) -> Any:
    if loop != "uvloop":
        return None
    import uvloop

    return uvloop.new_event_loop


if __name__ == "__main__":
    loop, *arguments = sys.argv[1:]
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(main(arguments[0], ast.literal_eval(arguments[1])))
