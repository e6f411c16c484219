"""A published Python node takes part in ``global`` of BEAMs: names, locks, ``global:sync``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quicdist import Atom, Node, Pid, Process
from tests.interop.cluster import COOKIE, names
from tests.otp.conftest import ended
from tests.support.beam import Beam, tcp_args

pytestmark = pytest.mark.beam

#: A process on a BEAM that lives until it is told to end, or is killed.
HOLDER = "spawn(fun() -> receive stop -> ok end end)"


class Peer:
    """A BEAM and its name."""

    def __init__(self, beam: Beam, name: str) -> None:
        self.beam = beam
        self.name = name

    async def eval(self, source: str) -> str:
        # In a fun, because variables of the evaluator stay bound.
        return await self.beam.eval(f"(fun() -> {source} end)()")

    async def names(self) -> str:
        return await self.eval("lists:sort(global:registered_names())")


@pytest.fixture(scope="module")
def peers() -> Iterator[tuple[Peer, Peer]]:
    """Two BEAMs, not connected."""
    (_, one), (_, two) = names(), names()
    with Beam(tcp_args(one, COOKIE)) as first, Beam(tcp_args(two, COOKIE)) as second:
        for beam in (first, second):
            beam.eval_now("logger:set_primary_config(level, none)")
        yield Peer(first, one), Peer(second, two)


@pytest.fixture
async def parted(peers: tuple[Peer, Peer]) -> AsyncIterator[tuple[Peer, Peer]]:
    """Both, each alone and without names, also after the test."""
    yield peers
    for peer in peers:
        await peer.eval("[erlang:disconnect_node(N) || N <- nodes(connected)]")
        await peer.eval("[global:unregister_name(N) || N <- global:registered_names()]")
        assert await peer.names() == "[]"


@asynccontextmanager
async def published(**options: Any) -> AsyncIterator[Node]:
    """A Python node of ``parted``; it knows what epmd knows."""
    name, _ = names()
    async with Node(name, cookie=COOKIE, carrier="tcp", host="127.0.0.1", hidden=False, **options) as node:
        yield node


def holder(node: Node) -> Process:
    """A process that lives until it gets a message."""

    async def hold(process: Process) -> None:
        await process.receive()

    return node.spawn(hold)


def atoms(terms: list[Any]) -> list[str]:
    return sorted(str(term) for term in terms)


async def unregistered(node: Node, name: str) -> None:
    """Wait until a name is gone at the Python node."""
    async with asyncio.timeout(10):
        while await node.global_names.whereis_name(name) is not None:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("dials", ["python", "beam"])
async def test_names_of_both_sides_are_known_on_both_after_sync(
    parted: tuple[Peer, Peer], dials: str
) -> None:
    one, _ = parted
    async with published() as node:
        assert await node.global_names.register_name("of_python", holder(node))
        await one.eval(f"yes = global:register_name(of_beam, {HOLDER})")
        if dials == "python":
            await node.connect(one.name)
        else:
            assert await one.eval(f"net_kernel:connect_node('{node.name}')") == "true"
        assert await one.eval("global:sync()") == "ok"
        await node.global_names.sync()
        assert await one.names() == "[of_beam,of_python]"
        assert atoms(await node.global_names.registered_names()) == ["of_beam", "of_python"]
        assert await one.eval("node(global:whereis_name(of_python))") == f"'{node.name}'"
        pid = await node.global_names.whereis_name("of_beam")
        assert isinstance(pid, Pid)
        assert pid.node == Atom(one.name)


async def test_names_registered_and_unregistered_while_connected_are_the_same_everywhere(
    parted: tuple[Peer, Peer],
) -> None:
    one, two = parted
    async with published() as node:
        await node.connect(one.name)
        await two.eval(f"net_kernel:connect_node('{one.name}')")
        for peer in parted:
            assert await peer.eval("global:sync()") == "ok"
        await node.global_names.sync([two.name])
        assert sorted(node.nodes()) == sorted([one.name, two.name])
        names_ = node.global_names
        process = holder(node)
        assert await names_.register_name("py", process)
        assert not await names_.register_name("py", holder(node))
        assert not await names_.register_name("py2", process)  # it has a name
        assert await two.eval(f"global:register_name(py, {HOLDER})") == "no"
        assert await two.eval(f"global:register_name({{two, <<1>>}}, {HOLDER})") == "yes"
        assert await names_.whereis_name((Atom("two"), b"\1")) is not None
        assert [await peer.names() for peer in parted] == ["[py,{two,<<1>>}]"] * 2
        await names_.unregister_name((Atom("two"), b"\1"))
        await one.eval("global:unregister_name(py)")
        assert [await peer.names() for peer in parted] == ["[]", "[]"]
        assert await names_.registered_names() == []


async def test_a_name_ends_with_its_process_and_outlives_each_beam(parted: tuple[Peer, Peer]) -> None:
    one, two = parted
    async with published() as node:
        await node.connect(one.name)
        await node.global_names.sync()
        process = holder(node)
        await node.global_names.register_name("py", process)
        node.disconnect(one.name)
        assert await node.global_names.whereis_name("py") == process.pid
        await two.eval(f"net_kernel:connect_node('{node.name}'), global:sync()")
        assert await two.eval("node(global:whereis_name(py))") == f"'{node.name}'"
        await two.eval("monitor(process, global:whereis_name(py)), ok")
        node.send(process, Atom("stop"))
        await unregistered(node, "py")
        # The monitor of global on the BEAM fires as this one does.
        await two.eval("receive {'DOWN', _, process, _, _} -> ok end, sys:get_status(global_name_server)")
        assert await two.names() == "[]"


async def test_a_server_of_either_side_is_called_by_its_global_name(parted: tuple[Peer, Peer]) -> None:
    one, _ = parted
    async with published() as node:
        await node.connect(one.name)
        await node.global_names.sync()
        echo = holder(node)
        await node.global_names.register_name("py", echo)
        assert await one.eval("global:send(py, hello), ok") == "ok"
        async with asyncio.timeout(10):
            await ended(echo)


async def test_the_functions_of_global_answer_calls_of_a_beam(parted: tuple[Peer, Peer]) -> None:
    one, _ = parted
    async with published() as node:
        await node.connect(one.name)
        await node.global_names.sync()
        there = f"fun(F, A) -> rpc:call('{node.name}', global, F, A) end"
        answers = await one.eval(
            f"There = {there}, P = {HOLDER},"
            " yes = There(register_name, [beam, P]), no = There(register_name, [beam, P]),"
            " true = P =:= global:whereis_name(beam), true = P =:= There(whereis_name, [beam]),"
            " undefined = There(whereis_name, [nobody]),"
            " yes = There(re_register_name, [beam, self()]),"
            " Pid = There(send, [beam, hello]), Pid = self(), receive hello -> ok end,"
            " {badrpc, {'EXIT', {badarg, {nobody, hello}}}} = There(send, [nobody, hello]),"
            " ok = There(sync, []), ok = There(unregister_name, [beam]),"
            " {There(registered_names, []), global:registered_names()}"
        )
        assert answers == "{[],[]}"
