"""A published Python node takes part in ``global`` of BEAMs: names, locks, ``global:sync``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quicdist import Atom, Node, Pid, Process
from tests.interop.carriers import COOKIE
from tests.interop.cluster import names
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
async def published(*, name: str | None = None, hidden: bool = False, **options: Any) -> AsyncIterator[Node]:
    """A Python node that finds others by epmd."""
    given = {"cookie": COOKIE, "carrier": "tcp", "host": "127.0.0.1", **options}
    async with Node(name or names()[0], hidden=hidden, **given) as node:
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


def listener(node: Node) -> tuple[Process, asyncio.Queue[Any]]:
    """A process that puts what it gets into a queue."""
    messages: asyncio.Queue[Any] = asyncio.Queue()
    return node.spawn(lambda _, message: messages.put_nowait(message)), messages


class TestConflicts:
    """The BEAM's name ``beam...`` is smaller than the Python node's, ``py...``: it finds the conflicts."""

    async def meet(self, node: Node, peer: Peer) -> None:
        await node.connect(peer.name)
        await node.global_names.sync()
        assert await peer.eval("global:sync()") == "ok"

    async def test_random_exit_name_kills_the_process_on_the_greater_node(
        self, parted: tuple[Peer, Peer]
    ) -> None:
        one, _ = parted
        async with published() as node:
            process = holder(node)
            await node.global_names.register_name("shared", process)
            await one.eval(f"yes = global:register_name(shared, {HOLDER})")
            await self.meet(node, one)
            await process.finished()
            assert process.exit_reason == Atom("killed")
            pid = await node.global_names.whereis_name("shared")
            assert pid is not None
            assert await one.eval("node(global:whereis_name(shared))") == f"'{pid.node}'" == f"'{one.name}'"

    async def test_random_notify_name_tells_the_process_that_loses(self, parted: tuple[Peer, Peer]) -> None:
        one, _ = parted
        async with published() as node:
            process, messages = listener(node)
            await node.global_names.register_name("shared", process)
            await one.eval(f"yes = global:register_name(shared, {HOLDER}, fun global:random_notify_name/3)")
            await self.meet(node, one)
            assert await messages.get() == (Atom("global_name_conflict"), Atom("shared"))
            assert process.alive
            assert (await node.global_names.whereis_name("shared")).node == Atom(one.name)  # type: ignore[union-attr]

    async def test_notify_all_name_unregisters_the_name(self, parted: tuple[Peer, Peer]) -> None:
        one, _ = parted
        async with published() as node:
            process, messages = listener(node)
            await node.global_names.register_name("shared", process, "notify_all_name")
            await one.eval(
                f"P = {HOLDER}, register(kept, P),"
                " yes = global:register_name(shared, P, fun global:notify_all_name/3)"
            )
            await self.meet(node, one)
            conflict, name, _ = await messages.get()
            assert (conflict, name) == (Atom("global_name_conflict"), Atom("shared"))
            assert await one.names() == "[]"
            assert await node.global_names.registered_names() == []
            await one.eval("kept ! stop")

    @pytest.mark.parametrize("ours_is_smaller", [True, False])
    async def test_a_resolver_of_python_decides(
        self, parted: tuple[Peer, Peer], ours_is_smaller: bool
    ) -> None:
        # The node with the smaller name calls the resolver of its own process.
        one, _ = parted
        alive = "a" if ours_is_smaller else "z"
        async with published(name=names()[0].replace("py", alive)) as node:
            asked: list[Any] = []

            @node.export("resolvers")
            async def theirs(name: Any, incoming: Pid, own: Pid) -> Pid:
                asked.append((name, incoming.node, own.node))
                return incoming if incoming.node == Atom(one.name) else own

            process = holder(node)
            await node.global_names.register_name("shared", process, ("resolvers", "theirs"))
            await one.eval(f"yes = global:register_name(shared, {HOLDER}, fun global:random_notify_name/3)")
            await self.meet(node, one)
            expected = [(Atom("shared"), Atom(one.name), Atom(node.name))] if ours_is_smaller else []
            assert asked == expected
            assert await one.eval("node(global:whereis_name(shared))") == f"'{one.name}'"
            assert (await node.global_names.whereis_name("shared")).node == Atom(one.name)  # type: ignore[union-attr]


class TestLocks:
    async def test_a_lock_of_python_excludes_a_beam_and_goes_with_its_process(
        self, parted: tuple[Peer, Peer]
    ) -> None:
        one, _ = parted
        async with published() as node:
            await node.connect(one.name)
            await node.global_names.sync()
            process = holder(node)
            lock = (Atom("resource"), 1)
            assert await node.global_names.set_lock(lock, process=process)
            assert await node.global_names.set_lock(lock, process=process)  # again
            assert await one.eval("global:set_lock({resource, 2}, [node() | nodes()], 0)") == "false"
            assert await one.eval("global:set_lock({resource, 1}, [node() | nodes()], 0)") == "true"
            assert await one.eval("global:del_lock({resource, 1})") == "true"
            node.send(process, Atom("stop"))
            await process.finished()
            assert await one.eval("global:set_lock({resource, 2})") == "true"
            assert not await node.global_names.set_lock(lock, retries=0)
            assert await node.global_names.trans(lock, lambda: 1, retries=0) == Atom("aborted")
            await one.eval("global:del_lock({resource, 2})")
            assert await node.global_names.trans(lock, lambda: 1) == 1

    async def test_a_lock_of_a_beam_goes_with_the_connection(self, parted: tuple[Peer, Peer]) -> None:
        one, _ = parted
        async with published() as node:
            await node.connect(one.name)
            await node.global_names.sync()
            assert await one.eval("global:set_lock({resource, 2})") == "true"
            assert not await node.global_names.set_lock(("resource", 1), retries=0)
            node.disconnect(one.name)
            assert await node.global_names.set_lock(("resource", 1))
            await one.eval("global:del_lock({resource, 2})")

    async def test_transactions_of_both_sides_never_overlap(self, parted: tuple[Peer, Peer]) -> None:
        one, _ = parted
        async with published() as node:
            inside: list[Atom] = []
            overlaps: list[Atom] = []

            @node.export("section")
            def enter(who: Atom) -> None:
                overlaps.extend(inside)
                inside.append(who)

            @node.export("section")
            def leave(who: Atom) -> None:
                inside.remove(who)

            await node.connect(one.name)
            await node.global_names.sync()
            theirs = asyncio.create_task(
                one.eval(
                    f"There = fun(F, I) -> rpc:call('{node.name}', section, F, [I]) end,"
                    " Work = fun(I) -> There(enter, I), timer:sleep(1), There(leave, I) end,"
                    " Me = self(), Spawned = [spawn_monitor(fun() -> [global:trans({section, self()},"
                    " fun() -> Work(I) end) || _ <- lists:seq(1, 3)] end) || I <- [b1, b2]],"
                    " [receive {'DOWN', M, _, _, normal} -> ok end || {_, M} <- Spawned]"
                )
            )

            async def work(who: Atom) -> None:
                async def critical() -> None:
                    enter(who)
                    await asyncio.sleep(0.001)
                    leave(who)

                for _ in range(3):
                    await node.global_names.trans(("section", who), critical)

            await asyncio.gather(work(Atom("p1")), work(Atom("p2")))
            assert await theirs == "[ok,ok]"
            assert overlaps == []


class TestPartitions:
    async def mesh(self, node: Node, parted: tuple[Peer, Peer]) -> None:
        one, two = parted
        await node.connect(one.name)
        await two.eval(f"true = net_kernel:connect_node('{one.name}')")
        await node.global_names.sync([one.name, two.name])
        for peer in parted:
            assert await peer.eval("global:sync()") == "ok"

    async def nodes_of_both(self, parted: tuple[Peer, Peer], node: Node) -> list[str]:
        return [await peer.eval(f"lists:member('{node.name}', nodes())") for peer in parted]

    async def test_a_lost_connection_between_two_beams_splits_the_three(
        self, parted: tuple[Peer, Peer]
    ) -> None:
        one, two = parted
        async with published() as node:
            await self.mesh(node, parted)
            gone = asyncio.Event()
            node.subscribe(lambda event: gone.set())
            await one.eval(f"erlang:disconnect_node('{two.name}')")
            await gone.wait()
            # The Python node ends with one of the two, at most.
            assert len(node.nodes()) <= 1
            await one.eval(f"false = lists:member('{two.name}', nodes())")

    async def test_the_python_node_tells_the_others_of_a_connection_that_it_lost(
        self, parted: tuple[Peer, Peer]
    ) -> None:
        one, two = parted
        async with published() as node:
            await self.mesh(node, parted)
            await two.eval(f"monitor_node('{one.name}', true)")
            node.disconnect(one.name)
            await two.eval(f"receive {{nodedown, '{one.name}'}} -> ok end")

    async def test_no_other_connection_ends_where_that_is_switched_off(
        self, parted: tuple[Peer, Peer]
    ) -> None:
        one, two = parted
        async with published(prevent_overlapping_partitions=False) as node:
            await self.mesh(node, parted)
            await one.eval(f"erlang:disconnect_node('{two.name}')")
            # What the BEAMs do about it they have done when they answer; they tell each other, not to
            # Python alone: the BEAMs ask the Python node, which leaves its connections.
            for peer in parted:
                await peer.eval("sys:get_status(global_name_server)")
            assert sorted(node.nodes()) == sorted([one.name, two.name])


async def test_the_names_of_a_killed_node_vanish_and_others_stay(parted: tuple[Peer, Peer]) -> None:
    one, _ = parted
    _, third = names()
    with Beam(tcp_args(third, COOKIE)) as beam:
        async with published() as node:
            await node.connect(one.name)
            await beam.eval(f"net_kernel:connect_node('{node.name}'), global:sync()")
            await node.global_names.sync([one.name, third])
            await beam.eval(f"yes = global:register_name(of_third, {HOLDER})")
            await one.eval(f"yes = global:register_name(of_one, {HOLDER})")
            await node.global_names.register_name("py", holder(node))
            assert atoms(await node.global_names.registered_names()) == ["of_one", "of_third", "py"]
            beam.kill()
            await unregistered(node, "of_third")
            assert atoms(await node.global_names.registered_names()) == ["of_one", "py"]


async def test_global_sync_returns_while_an_application_starts(parted: tuple[Peer, Peer]) -> None:
    """As RabbitMQ boots: it connects, then waits in ``global:sync/0`` in the start of its application."""
    one, two = parted
    async with published() as node:
        await node.connect(one.name)
        assert await two.eval(f"net_kernel:connect_node('{one.name}'), global:sync()") == "ok"
        assert await two.eval("global:trans({boot, self()}, fun() -> booted end)") == "booted"
        await node.global_names.sync([two.name])
        assert sorted(node.nodes()) == sorted([one.name, two.name])


async def test_a_hidden_node_answers_for_itself_and_registers_at_a_beam(parted: tuple[Peer, Peer]) -> None:
    one, _ = parted
    async with published(hidden=True) as node:
        await node.connect(one.name)
        assert await one.eval("global:sync()") == "ok"
        assert await node.global_names.register_name("of_hidden", holder(node))
        assert await one.eval("node(global:whereis_name(of_hidden))") == f"'{node.name}'"
        # As of a hidden BEAM, whose own table is empty.
        assert await one.eval(f"rpc:call('{node.name}', global, registered_names, [])") == "[]"
        assert await one.eval(f"global:set_lock({{resource, 1}}, ['{node.name}'], 0)") == "true"
        assert not await node.global_names.set_lock(("resource", 2), retries=0)
        await one.eval(f"global:del_lock({{resource, 1}}, ['{node.name}'])")


async def test_a_published_node_that_stops_ends_no_connection_of_others(parted: tuple[Peer, Peer]) -> None:
    one, two = parted
    async with published() as node:
        await node.connect(one.name)
        await two.eval(f"true = net_kernel:connect_node('{one.name}')")
        await node.global_names.sync([one.name, two.name])
        for peer in parted:
            await peer.eval(f"ok = global:sync(), monitor_node('{node.name}', true)")
        assert await node.global_names.register_name("py", holder(node))
        assert await one.eval(f"global:register_name(of_one, {HOLDER})") == "yes"
    for peer in parted:
        await peer.eval(f"receive {{nodedown, '{node.name}'}} -> ok end")
    # What the BEAMs tell each other about it has arrived when both have answered twice.
    for peer in (*parted, *parted):
        await peer.eval("sys:get_status(global_name_server)")
        assert await peer.names() == "[of_one]"
    assert await one.eval("nodes()") == f"['{two.name}']"


async def test_disconnect_leaves_the_cluster_and_ends_no_connection_of_others(
    parted: tuple[Peer, Peer],
) -> None:
    one, two = parted
    async with published() as node:
        await node.connect(one.name)
        await two.eval(f"true = net_kernel:connect_node('{one.name}')")
        await node.global_names.sync([one.name, two.name])
        for peer in parted:
            await peer.eval(f"ok = global:sync(), monitor_node('{node.name}', true)")
        assert sorted(node.global_names.disconnect()) == sorted([one.name, two.name])
        for peer in parted:
            await peer.eval(f"receive {{nodedown, '{node.name}'}} -> ok end")
        assert node.nodes() == []
        assert await one.eval("sys:get_status(global_name_server), nodes()") == f"['{two.name}']"
