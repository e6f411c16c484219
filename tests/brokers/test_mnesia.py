"""Mnesia of two BEAMs to which a Python node is connected, compared with a BEAM without Mnesia."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from quicdist import Node
from tests.interop.carriers import COOKIE
from tests.interop.cluster import names
from tests.support.beam import Beam, tcp_args

pytestmark = [pytest.mark.beam, pytest.mark.otp_application("mnesia")]

#: Evaluated on A in this order; B and Other are the names of the other nodes.
STEPS = {
    "start": "{mnesia:start(), rpc:call(B, mnesia, start, [])}",
    "events": "mnesia:subscribe(system)",
    "join": "mnesia:change_config(extra_db_nodes, [B, Other])",
    "join it alone": "mnesia:change_config(extra_db_nodes, [Other])",
    "running": "lists:sort(mnesia:system_info(running_db_nodes)) =:= lists:sort([node(), B])",
    "table": "mnesia:create_table(t, [{ram_copies, [node(), B]}])",
    "table there": "mnesia:create_table(u, [{ram_copies, [node(), Other]}])",
    "copy there": "mnesia:add_table_copy(t, Other, ram_copies)",
    "write": "mnesia:transaction(fun() -> mnesia:write({t, 1, one}) end)",
    "read": "rpc:call(B, mnesia, dirty_read, [t, 1])",
    "global lock": "mnesia:transaction(fun() -> mnesia:lock({global, x, [node(), B, Other]}, write) end)",
    "locked after it": "mnesia:transaction(fun() -> mnesia:lock({table, t}, write), done end)",
}
#: The same, once the other node has stopped.
AFTERWARDS = {
    "gone": "(fun F() -> case lists:member(Other, nodes(connected)) of"
    " true -> timer:sleep(10), F(); false -> gone end end)()",
    "read": "mnesia:transaction(fun() -> mnesia:read(t, 1) end)",
    "running": "lists:sort(mnesia:system_info(running_db_nodes)) =:= lists:sort([node(), B])",
    "events since": "(fun F() -> receive {mnesia_system_event, E} -> [E | F()] after 0 -> [] end end)()",
    "stop": "{rpc:call(B, mnesia, stop, []), mnesia:stop()}",
}


@asynccontextmanager
async def other_node(kind: str, name: str) -> AsyncIterator[None]:
    if kind == "beam":
        with await asyncio.to_thread(Beam, tcp_args(name, COOKIE)):
            yield
    else:
        async with Node(name, cookie=COOKIE, carrier="tcp", host="127.0.0.1", hidden=kind == "hidden"):
            yield


async def record(kind: str) -> list[str]:
    other, a = names()
    b = a.replace("beam", "second")
    args = [tcp_args(name, COOKIE, more=["-mnesia", "schema_location", "ram"]) for name in (a, b)]
    one, two = await asyncio.gather(*(asyncio.to_thread(Beam, each) for each in args))
    with one, two:

        async def answers(steps: dict[str, str]) -> list[str]:
            found = []
            for step, source in steps.items():
                answer = await one.eval(source)
                for name, short in ((other, "other"), (a, "a"), (b, "b")):
                    answer = answer.replace(f"'{name}'", short)
                found.append(f"{step}: {answer}")
            return found

        async with other_node(kind, other):
            await one.eval(
                f"B = '{b}', Other = '{other}', [pong, pong] = [net_adm:ping(N) || N <- [B, Other]]"
            )
            before = await answers(STEPS)
        return before + await answers(AFTERWARDS)


async def test_mnesia_works_beside_a_python_node_as_beside_a_beam_without_it() -> None:
    with_beam, hidden, published = [await record(kind) for kind in ("beam", "hidden", "published")]
    assert {"join: {ok,[b]}", "read: [{t,1,one}]", "read: {atomic,[{t,1,one}]}"} <= set(with_beam)
    assert published == with_beam
    assert hidden == with_beam
