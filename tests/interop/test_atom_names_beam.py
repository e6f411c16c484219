"""Node names as a BEAM gives them, atoms, used wherever a node is named."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import ANY, Atom, Node, Process, RemoteError, StreamRefused, StreamsNotSupported
from tests.interop.cluster import Cluster

ERLANG, LISTS = Atom("erlang"), Atom("lists")
DOWN = Atom("DOWN")

#: A process that answers {From, X} with {Name, Node, X}, as rpc:server_call/4 wants it.
SERVER = """
register(echo, spawn(fun() -> (fun F() -> receive {From, X} -> From ! {echo, node(), X}, F() end end)() end))
"""


async def test_its_own_name_names_a_beam_everywhere(pair: Cluster) -> None:
    node = pair.node
    pid = await node.call(pair.beam_name, "erlang", "whereis", [Atom("init")])
    name: Atom = await node.call(pair.beam_name, "erlang", "node", [])
    assert pid.node is name
    await pair.eval(SERVER)

    assert await node.ping(name)
    await node.is_auth(name)
    await node.connect(name)
    assert await node.call(name, LISTS, Atom("reverse"), [[1, 2]]) == [2, 1]
    node.cast(name, ERLANG, Atom("send"), [pid, 1])
    await node.drain(name)
    assert await node.erpc.multicall([name], ERLANG, Atom("node"), []) == [name]
    assert await node.rpc.multicall([name], ERLANG, Atom("node"), []) == ([name], [])
    assert await node.rpc.block_call(name, ERLANG, Atom("node"), []) == name
    assert await node.rpc.server_call(name, Atom("echo"), Atom("echo"), 1) == 1
    assert await node.rpc.multi_server_call([name], Atom("echo"), 1) == ([1], [])
    assert await node.rpc.sbcast([name, pair.beam_name], Atom("echo"), 1) == ([name, pair.beam_name], [])
    replies, bad = await node.gen_server.multi_call([name], Atom("kernel_sup"), Atom("count_children"))
    assert (replies[0][0], bad) == (name, [])
    assert await node.gen_server_call((Atom("kernel_sup"), name), Atom("count_children")) == replies[0][1]
    assert node.net_kernel.node_info(name).node == pair.beam_name
    assert node.list_streams(name) == []
    assert node.disconnect(name)
    assert node.nodes("connected") == []
    assert await node.ping(name)


async def test_processes_are_spawned_on_a_beam_by_its_own_name(pair: Cluster) -> None:
    name = Atom(pair.beam_name)
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def spawns(process: Process) -> None:
        one = await process.spawn_on(name, ERLANG, Atom("apply"), [ERLANG, Atom("node"), []])
        two, monitor = await process.spawn_monitor_on(name, ERLANG, Atom("exit"), [Atom("why")])
        down = await process.receive((DOWN, monitor, ANY, ANY, ANY))
        request = process.spawn_request(name, ERLANG, Atom("node"), [])
        *_, three = await process.receive((Atom("spawn_reply"), request, Atom("ok"), ANY))
        done.set_result((one.node, two.node, three.node, down[4]))

    pair.node.spawn(spawns)
    assert await done == (name, name, name, Atom("why"))


async def written_to(node: Node, name: Atom) -> bytes:
    stream = await node.open_stream(name)
    stream.write(b"x")
    return await stream.read()


async def test_streams_of_bytes_to_a_beam_by_its_own_name(pair: Cluster) -> None:
    name = Atom(pair.beam_name)
    process = pair.node.spawn(lambda process, message: None)
    if await pair.eval("erlang:function_exported(quic_dist, open_stream, 2)") == "false":
        # TCP has no streams; a gateway has, and refuses them in the name of its BEAM.
        with pytest.raises((StreamsNotSupported, StreamRefused)):
            await written_to(pair.node, name)
        return
    await pair.eval("quic_dist:accept_streams(PY)")
    acceptor = pair.node.accept_streams(node=name)
    assert acceptor.node == pair.beam_name
    stream = await pair.node.open_stream(name)
    stream.write(b"x")
    reference = await pair.node.quic_dist.open_stream(process, name)
    assert [info.node for info in pair.node.list_streams(name)] == [pair.beam_name] * 2
    pair.node.quic_dist.reset_stream(process, reference)
    stream.reset()
    acceptor.stop()


async def test_text_is_one_argument_only_inside_a_list(pair: Cluster) -> None:
    """``string:uppercase("abc")`` there is a call with one argument, ``["abc"]`` here."""
    with pytest.raises(TypeError, match="give a list of one"):
        await pair.node.call(pair.beam_name, "string", "uppercase", "abc")
    assert await pair.node.call(pair.beam_name, "string", "uppercase", ["abc"]) == b"ABC"
    with pytest.raises(RemoteError):
        await pair.node.call(pair.beam_name, "string", "uppercase", list("abc"))
