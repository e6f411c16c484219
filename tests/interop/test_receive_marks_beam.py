"""What a BEAM sends by a new reference is received without a look at older messages."""

from __future__ import annotations

import asyncio
from typing import Any

from quicdist import ANY, AnyOf, Atom, Process
from tests.interop.cluster import Cluster
from tests.node.test_receive_marks import OLD

DOWN, OK, SPAWN_REPLY = Atom("DOWN"), Atom("ok"), Atom("spawn_reply")

#: Answers {Reference, X} to {Pid or alias, Reference, X}, once.
SERVER = """
register(once, spawn(fun() -> receive {To, Reference, X} -> To ! {Reference, X} end end))
"""


async def test_answers_ends_and_spawn_replies_behind_older_messages(pair: Cluster) -> None:
    await pair.eval(SERVER)
    done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    once, name = (Atom("once"), Atom(pair.beam_name)), pair.beam_name

    async def asks(process: Process) -> None:
        for _ in range(3):
            process.send(process, OLD)  # raises where a pattern looks at it
        found = []
        reference = process.monitor(once, alias="reply_demonitor")
        process.send(once, (reference, reference, 1))
        answer = await process.receive(AnyOf((reference, ANY), (DOWN, reference, ANY, ANY, ANY)))
        found.append(answer[-1])
        reference = process.monitor((Atom("nobody"), name))
        found.append((await process.receive((DOWN, reference, ANY, ANY, ANY)))[-1])
        _, reference = await process.spawn_monitor_on(name, "erlang", "exit", [Atom("why")])
        found.append((await process.receive((DOWN, reference, ANY, ANY, ANY)))[-1])
        reference = process.spawn_request(name, "erlang", "exit", [Atom("not")], monitor=True)
        found.append((await process.receive((SPAWN_REPLY, reference, ANY, ANY)))[2])
        found.append((await process.receive((DOWN, reference, ANY, ANY, ANY)))[-1])
        found.append(process.message_queue_len)
        done.set_result(found)

    process = pair.node.spawn(asks)
    ended = asyncio.Event()
    process.on_end(ended.set)
    await ended.wait()
    assert process.exit_reason == Atom("normal")
    assert done.result() == [1, Atom("noproc"), Atom("why"), OK, Atom("not"), 3]
