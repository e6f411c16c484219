"""A Python node of a cluster under test: ``python -m tests.cluster.python_member NAME``.

It does what ``cluster_member.erl`` does in a BEAM. Commands and answers are terms, each after its length in 4
bytes, on the standard input and output.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from typing import Any

import quicdist
from quicdist import Node, Process
from quicdist.term import Atom, Pid, binary_to_term, term_to_binary
from tests.cluster.members import COOKIE, HOST, NET_TICKTIME

_OK = Atom("ok")


class Commands:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._pg = node.pg.start()
        self._processes: dict[Pid, Process] = {}
        #: What each process was sent.
        self._messages: dict[Pid, list[Any]] = {}

    async def do(self, command: tuple[Any, ...]) -> Any:
        match command:
            case (Atom("ping"), node):
                return await self._node.ping(node)
            case (Atom("spawn"),):
                process = self._node.spawn(self._record)
                self._processes[process.pid] = process
                self._messages[process.pid] = []
                return process.pid
            case (Atom("stop"), pid):
                self._processes[pid].stop(Atom("shutdown"))
            case (Atom("alive"), pid):
                return self._processes[pid].alive
            case (Atom("messages"), pid):
                messages, self._messages[pid] = self._messages[pid], []
                return messages
            case (Atom("join"), group, pid):
                self._pg.join(group, pid)
            case (Atom("leave"), group, pid):
                self._pg.leave(group, pid)
            case _:
                return await self._with_global(command)
        return _OK

    async def _with_global(self, command: tuple[Any, ...]) -> Any:
        names = self._node.global_names
        match command:
            case (Atom("register"), name, pid, Atom(name=resolver)):
                return await names.register_name(name, pid, resolver, timeout=None)
            case (Atom("unregister"), name):
                await names.unregister_name(name, timeout=None)
            case (Atom("send"), name, message):
                await names.send(name, message)
            case (Atom("set_lock"), resource, requester):
                return await names.set_lock((resource, (Atom(self._node.name), requester)), retries=0)
            case (Atom("del_lock"), resource, requester):
                await names.del_lock((resource, (Atom(self._node.name), requester)))
            case (Atom("sync"),):
                await names.sync()
            case (Atom("facts"),):
                return list(map(Atom, self._node.nodes())), await self._named(), self._groups()
            case _:
                raise NotImplementedError(str(command[0]))
        return _OK

    async def _named(self) -> list[tuple[Any, Pid]]:
        names = self._node.global_names
        named = [(name, await names.whereis_name(name)) for name in await names.registered_names()]
        return [(name, pid) for name, pid in named if pid is not None]

    def _groups(self) -> list[tuple[Any, list[Pid]]]:
        return [(group, self._pg.get_members(group)) for group in self._pg.which_groups()]

    async def _record(self, process: Process) -> None:
        async for message in process:
            self._messages[process.pid].append(message)


async def main() -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    node = Node(sys.argv[1], cookie=COOKIE, carrier="tcp", host=HOST, hidden=False, net_ticktime=NET_TICKTIME)
    async with node:
        commands = Commands(node)
        answer("ok", node.name)
        while size := await reader.read(4):
            command = binary_to_term(await reader.readexactly(int.from_bytes(size, "big")))
            try:
                answer("ok", await commands.do(command))
            except Exception:
                answer("error", traceback.format_exc())


def answer(kind: str, value: Any) -> None:
    packet = term_to_binary((Atom(kind), value))
    sys.stdout.buffer.write(len(packet).to_bytes(4, "big") + packet)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    quicdist.run(main())
