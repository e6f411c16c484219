"""A node is started once and stopped once, whoever asks for it, how often, and from where."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    Atom,
    GenServer,
    Node,
    NodeDown,
    NodeError,
    NodeNotStarted,
    NotConnected,
    Process,
    Stop,
)
from quicdist.carrier.tcp.link import TcpLink
from quicdist.node import shutdown
from quicdist.node.interface import NodeInterface
from quicdist.node.lifecycle import NodeState

COOKIE = "lifecycle"
#: Seconds; twice as many are what a node waits for.
AT_ONCE = 30.0
SHUTDOWN = Atom("shutdown")


def lone(name: str = "alone@127.0.0.1") -> Node:
    """A node that has no carrier."""
    return Node(name, cookie=COOKIE, endpoints=[])


def listening(name: str = "listens@127.0.0.1", **options: Any) -> Node:
    return Node(name, cookie=COOKIE, carrier="tcp", epmd=False, host="127.0.0.1", **options)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not end at once on a busy machine is told from what is waited for."""
    monkeypatch.setattr(shutdown, "SHUTDOWN_TIME", 2 * AT_ONCE)


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    """A node that the test stops."""
    node = listening()
    await node.start()
    yield node
    await node.stop()


class TestStarting:
    async def test_a_node_that_runs_is_not_started_again(self) -> None:
        async with lone() as node:
            with pytest.raises(NodeError, match="has been started already"):
                await node.start()
            with pytest.raises(NodeError, match="has been started already"):
                async with node:
                    pass
            assert node.spawn(lambda *_: None).alive

    async def test_a_node_that_is_starting_is_not_started_again(self) -> None:
        node = listening()
        first = asyncio.create_task(node.start())
        await asyncio.sleep(0)
        with pytest.raises(NodeError, match="has been started already"):
            await node.start()
        await first
        assert node._local.lifecycle.state is NodeState.RUNNING
        await node.stop()

    async def test_entering_a_node_twice_at_once_succeeds_once(self) -> None:
        node = listening()

        async def enter() -> object:
            try:
                async with node:
                    await asyncio.sleep(0.01)
                    return await node.ping(node.name)
            except NodeError as error:
                return type(error).__name__

        assert list(await asyncio.gather(enter(), enter())) == [True, "NodeError"]

    async def test_a_node_that_is_entered_within_itself_says_so_and_runs_on(self) -> None:
        async with listening() as node:
            with pytest.raises(NodeError, match="each `async with` needs a Node of its own"):
                async with node:
                    pass
            assert node._local.lifecycle.state is NodeState.RUNNING
            assert await node.ping(node.name)

    async def test_a_node_that_has_stopped_is_not_started_again(self) -> None:
        node = lone()
        async with node:
            pass
        with pytest.raises(NodeError, match="cannot be started again: make a new Node"):
            async with node:
                pass

    async def test_a_start_that_fails_leaves_nothing_behind(self) -> None:
        async with listening("first@127.0.0.1") as first:
            port = first.addresses[0].port
            node = listening(port=port)
            node.process("body")(lambda process, message: None)
            with pytest.raises(Exception, match="Address already in use"):
                await node.start()
            assert node._local.lifecycle.state is NodeState.STOPPED
            with pytest.raises(NodeNotStarted, match="has stopped"):
                node.whereis("body")
        async with listening(port=port):
            pass

    async def test_a_name_that_is_taken_by_the_nodes_own_undoes_the_start(self) -> None:
        node = listening()
        node.process("net_kernel")(lambda process, message: None)
        with pytest.raises(NodeError, match="net_kernel"):
            await node.start()
        async with listening(port=node.addresses[0].port):
            pass

    async def test_a_start_that_is_cancelled_is_undone(self) -> None:
        node = listening()
        starting = asyncio.create_task(node.start())
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert node._local.lifecycle.state is NodeState.STOPPED

    async def test_stop_breaks_off_a_start(self) -> None:
        node = listening()
        starting = asyncio.create_task(node.start())
        await asyncio.sleep(0)
        await node.stop()
        with pytest.raises(NodeError, match="was stopped while it was starting"):
            await starting


USES: dict[str, Callable[[Node], Any]] = {
    "spawn": lambda node: node.spawn(lambda *_: None),
    "serve": lambda node: node.serve(GenServer()),
    "send": lambda node: node.send("name", 1),
    "whereis": lambda node: node.whereis("name"),
    "call": lambda node: node.call("a@127.0.0.1", "m", "f"),
    "ping": lambda node: node.is_auth("a@127.0.0.1"),
    "connect": lambda node: node.connect("a@127.0.0.1"),
    "gen_server_call": lambda node: node.gen_server_call("name", 1),
    "open_stream": lambda node: node.open_stream("a@127.0.0.1"),
    "call_soon_threadsafe": lambda node: node.call_soon_threadsafe(print),
    "pg": lambda node: node.pg.start(),
}


async def used(node: Node, use: str) -> None:
    result = USES[use](node)
    if isinstance(result, Awaitable):
        await result


class TestUseAtTheWrongTime:
    @pytest.mark.parametrize("use", USES)
    async def test_use_before_the_start_raises_node_not_started(self, use: str) -> None:
        with pytest.raises(NodeNotStarted, match="has not been started: use it in `async with`"):
            await used(lone(), use)

    @pytest.mark.parametrize("use", USES)
    async def test_use_after_the_stop_raises_node_not_started(self, use: str) -> None:
        node = lone()
        async with node:
            pass
        with pytest.raises(NodeNotStarted, match="has stopped"):
            await used(node, use)

    async def test_run_forever_before_the_start(self) -> None:
        with pytest.raises(NodeNotStarted, match="has not been started"):
            await lone().run_forever()

    async def test_run_forever_after_the_stop_returns(self) -> None:
        async with lone() as node:
            pass
        await node.run_forever()

    async def test_register_after_the_stop(self) -> None:
        async with lone() as node:
            pass
        with pytest.raises(NodeNotStarted, match="has stopped"):
            node.process("name")(lambda process, message: None)

    async def test_stop_before_the_start_does_nothing(self) -> None:
        node = lone()
        await node.stop()
        async with node:
            assert node.spawn(lambda *_: None).alive


class TestStopping:
    async def test_a_second_stop_waits_for_the_first(self, node: Node) -> None:
        order = []

        class Server(GenServer):
            async def terminate(self, reason: Any) -> None:
                await asyncio.sleep(0.02)
                order.append("terminated")

        node.serve(Server())

        async def stop() -> None:
            await node.stop()
            order.append("stopped")

        await asyncio.gather(stop(), stop(), node.run_forever())
        await node.stop()
        assert order == ["terminated", "stopped", "stopped"]

    async def test_goes_on_when_who_awaits_it_is_cancelled(self, node: Node) -> None:
        process = node.serve(Slow())
        stopping = asyncio.create_task(node.stop())
        await process.server.terminating.wait()  # type: ignore[attr-defined]
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert node._local.lifecycle.state is NodeState.STOPPING
        await node.stop()
        assert process.server.terminated  # type: ignore[attr-defined]

    async def test_leaving_the_block_waits_for_it_when_cancelled(self) -> None:
        go_on = asyncio.Event()
        slow = Slow(go_on)

        async def block() -> None:
            async with lone() as node:
                node.serve(slow)

        left = asyncio.create_task(block())
        await slow.terminating.wait()
        for _ in range(3):
            left.cancel()
            await asyncio.sleep(0.005)
            assert not left.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert slow.terminated

    async def test_what_the_block_raised_is_raised(self) -> None:
        with pytest.raises(ZeroDivisionError):
            async with lone():
                raise ZeroDivisionError

    async def test_in_another_event_loop_is_refused(self, node: Node) -> None:
        with pytest.raises(NodeError, match="belongs to another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(node.stop()))
        assert node._local.lifecycle.state is NodeState.RUNNING

    async def test_stop_from_another_thread_stops_the_node(self, node: Node) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(node.stop(), loop).result(10))
        assert node._local.lifecycle.state is NodeState.STOPPED

    async def test_that_is_cancelled_itself_ends_what_there_is(self, node: Node) -> None:
        """The program ends without having waited for the stop: asyncio cancels all tasks."""
        slow = Slow()
        process = node.serve(slow)
        stopping = node._local.lifecycle.begin_stop()
        await slow.terminating.wait()
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert not process.alive
        assert node._local.lifecycle.state is NodeState.STOPPED


class Slow(GenServer):
    """``terminate`` waits for ``until``, or a little."""

    def __init__(self, until: asyncio.Event | None = None) -> None:
        self.terminating = asyncio.Event()
        self.terminated = False
        self.until = until

    async def terminate(self, reason: Any) -> None:
        self.terminating.set()
        await (asyncio.sleep(0.05) if self.until is None else self.until.wait())
        self.terminated = True


class TestStoppingFromInside:
    """What the stop waits for does not wait for the stop."""

    async def over(self, node: Node) -> None:
        async with asyncio.timeout(AT_ONCE):
            await node.run_forever()

    async def test_stop_in_a_body_does_not_wait_for_the_stop(self, node: Node) -> None:
        after = []

        async def body(process: Process) -> None:
            await node.stop()
            after.append(node._local.lifecycle.state)

        process = node.spawn(body)
        await self.over(node)
        assert (after, process.exit_reason) == ([NodeState.STOPPING], Atom("normal"))

    async def test_a_body_that_traps_exits(self, node: Node) -> None:
        got = []

        async def body(process: Process) -> None:
            process.trap_exit = True
            await node.stop()
            try:
                await process.receive()
            finally:
                got.append(node._local.lifecycle.state)

        process = node.spawn(body)
        await self.over(node)
        assert (got, process.exit_reason) == ([NodeState.STOPPING], SHUTDOWN)

    @pytest.mark.parametrize("traps", [False, True])
    async def test_stop_in_a_callback_of_a_server_does_not_wait_for_the_stop(
        self, node: Node, traps: bool
    ) -> None:
        reasons = []

        class Server(GenServer):
            async def init(self) -> None:
                self.process.trap_exit = traps

            async def handle_cast(self, request: Any) -> None:
                await node.stop()

            def terminate(self, reason: Any) -> None:
                reasons.append(reason)

        node.gen_server_cast(node.serve(Server()), 1)
        await self.over(node)
        assert reasons == [SHUTDOWN]

    async def test_a_server_that_stops_itself_as_well(self, node: Node) -> None:
        class Server(GenServer):
            async def handle_call(self, request: Any, sender: Any) -> Stop:
                await node.stop()
                return Stop(reply="stopping")

        assert await node.gen_server_call(node.serve(Server()), 1) == "stopping"
        await self.over(node)

    @pytest.mark.parametrize("how", ["await", "task"])
    async def test_an_exported_function_is_answered(self, node: Node, how: str) -> None:
        @node.export("py")
        async def shut_down() -> str:
            if how == "await":
                await node.stop()
            else:
                self.stopping = asyncio.create_task(node.stop())
            return "stopping"

        nodes = {node.name: ("127.0.0.1", node.addresses[0].port)}
        async with listening("other@127.0.0.1", listen=False, nodes=nodes) as other:
            assert await other.call(node.name, "py", "shut_down") == b"stopping"
            await self.over(node)

    async def test_a_task_that_an_exported_function_left_behind_waits(self, node: Node) -> None:
        tasks = []

        @node.export("py")
        async def shut_down() -> None:
            async def later() -> NodeState:
                await asyncio.sleep(0.01)
                await node.stop()
                return node._local.lifecycle.state

            tasks.append(asyncio.create_task(later()))

        await node.call(node.name, "py", "shut_down")
        assert await tasks[0] is NodeState.STOPPED

    async def test_stop_in_a_task_of_a_subscriber_stops_the_node(self, node: Node) -> None:
        tasks = []
        node.subscribe(lambda event: tasks.append(asyncio.ensure_future(node.stop())))
        nodes = {node.name: ("127.0.0.1", node.addresses[0].port)}
        async with listening("other@127.0.0.1", listen=False, nodes=nodes) as other:
            await other.connect(node.name)
            await self.over(node)
        await asyncio.gather(*tasks)

    async def test_a_subscriber_that_is_told_of_the_stop_itself(self, node: Node) -> None:
        events: list[Any] = []

        def told(event: Any) -> None:
            events.append(event)
            if isinstance(event, NodeDown):
                events.append(asyncio.ensure_future(node.stop()))

        node.subscribe(told)
        nodes = {node.name: ("127.0.0.1", node.addresses[0].port)}
        async with listening("other@127.0.0.1", listen=False, nodes=nodes) as other:
            await other.connect(node.name)
            assert await other.ping(node.name)
            await node.stop()
        assert events[1] == NodeDown("other@127.0.0.1", None)
        await events[2]


class TestANodeThatFails:
    async def test_run_forever_raises_why(self) -> None:
        node = lone()

        async def block() -> None:
            async with node:
                asyncio.get_running_loop().call_soon(node._local.fail, NodeError("the services are gone"))
                await node.run_forever()

        with pytest.raises(NodeError, match="the services are gone"):
            await block()
        assert node._local.lifecycle.state is NodeState.STOPPED
        with pytest.raises(NodeError, match="the services are gone"):
            await node.run_forever()

    async def test_run_forever_in_another_task_raises_why(self) -> None:
        async def block() -> None:
            async with lone() as node:
                waiting = asyncio.create_task(node.run_forever())
                asyncio.get_running_loop().call_soon(node._local.fail, NodeError("the services are gone"))
                await asyncio.wait({waiting})
                assert isinstance(waiting.exception(), NodeError)
                await asyncio.sleep(0.01)  # and nothing is cancelled

        with pytest.raises(NodeError, match="the services are gone"):
            await block()

    async def test_the_block_is_cancelled_and_raises_why(self) -> None:
        slow = Slow()

        async def block() -> None:
            async with lone() as node:
                node.serve(slow)
                asyncio.get_running_loop().call_soon(node._local.fail, NodeError("the services are gone"))
                await asyncio.Event().wait()

        with pytest.raises(NodeError, match="the services are gone"):
            await block()
        assert slow.terminated
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    async def test_a_cancellation_from_outside_stays_one(self) -> None:
        async def block() -> None:
            async with lone() as node:
                node._local.fail(NodeError("the services are gone"))
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_soon(task.cancel)
                await asyncio.Event().wait()

        with pytest.raises((asyncio.CancelledError, NodeError)):
            await asyncio.create_task(block())

    async def test_what_the_block_raises_meanwhile_is_raised(self) -> None:
        async def block() -> None:
            async with lone() as node:
                node._local.fail(NodeError("the services are gone"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await block()

    async def test_it_is_logged_and_fails_once(self, caplog: pytest.LogCaptureFixture) -> None:
        async with lone() as node:
            pass
        node._local.fail(NodeError("too late"))
        await node.run_forever()
        assert "too late" not in caplog.text

        async def block() -> None:
            async with lone() as node:
                node._local.fail(NodeError("first"))
                node._local.fail(NodeError("second"))

        with pytest.raises(NodeError, match="first"):
            await block()
        assert "node alone@127.0.0.1 stops: first" in caplog.text


async def test_a_stop_waits_for_connections_that_were_disconnected_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is queued is transmitted, and the socket is closed."""
    monkeypatch.setattr("quicdist.carrier.tcp.link.FIN_TIME", 0.2)
    async with listening() as other:
        nodes = {other.name: ("127.0.0.1", other.addresses[0].port)}
        async with listening("disconnects@127.0.0.1", listen=False, nodes=nodes) as node:
            await node.connect(other.name)
            theirs = other._local.connections.link(node.name)
            ours = node._local.connections.link(other.name)
            assert isinstance(theirs, TcpLink)
            assert isinstance(ours, TcpLink)
            theirs._transport.pause_reading()  # so that it does not close as well
            node.disconnect(other.name)
        assert ours._transport.get_extra_info("socket").fileno() == -1


async def test_a_dial_under_way_ends_with_the_node() -> None:
    """The peer takes the connection and says nothing."""
    came: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    silent = await asyncio.start_server(lambda _, writer: came.put_nowait(writer), "127.0.0.1", 0)
    nodes = {"silent@127.0.0.1": ("127.0.0.1", silent.sockets[0].getsockname()[1])}
    node = listening("dials@127.0.0.1", nodes=nodes, setup_time=2 * AT_ONCE)
    await node.start()
    dial = asyncio.create_task(node.connect("silent@127.0.0.1"))
    writer = await came.get()
    async with asyncio.timeout(AT_ONCE):
        await node.stop()
    with pytest.raises(NotConnected):
        await dial
    writer.close()
    silent.close()


async def test_a_dial_over_quic_ends_with_the_node() -> None:
    """Nobody answers the first datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.setblocking(False)
        nodes = {"silent@127.0.0.1": silent.getsockname()}
        node = Node("dials@127.0.0.1", cookie=COOKIE, nodes=nodes, listen=False, setup_time=2 * AT_ONCE)
        await node.start()
        dial = asyncio.create_task(node.connect("silent@127.0.0.1"))
        await asyncio.get_running_loop().sock_recv(silent, 2000)
        async with asyncio.timeout(AT_ONCE):
            await node.stop()
        with pytest.raises(NotConnected):
            await dial


async def test_a_handshake_on_its_way_in_ends_with_the_node() -> None:
    node = listening(setup_time=2 * AT_ONCE)
    await node.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", node.addresses[0].port)
    name = b"N" + bytes(14) + b"peer@127.0.0.1"
    writer.write(len(name).to_bytes(2, "big") + name)
    async with asyncio.timeout(AT_ONCE):
        await asyncio.sleep(0)
        await node.stop()
        await reader.read()
    writer.close()


async def test_a_process_knows_its_node() -> None:
    async with lone() as node:
        # The assignment is what mypy checks: that Node has what processes are promised.
        interface: NodeInterface[Process] = node
        process = node.spawn(lambda process, message: None, name="name")
        assert process.node is interface
        assert process.node.whereis("name") is process
        assert process.node.nodes("this") == [node.name]


class TestRepr:
    async def test_it_has_name_state_and_carriers(self) -> None:
        node = listening()
        assert repr(node) == "<Node listens@127.0.0.1 new, over tcp>"
        async with node:
            assert repr(node) == "<Node listens@127.0.0.1 running, over tcp>"
        assert repr(node) == "<Node listens@127.0.0.1 stopped, over tcp>"

    def test_several_carriers_stand_in_their_order(self) -> None:
        node = Node("a@127.0.0.1", cookie=COOKIE, carrier=("quic", "tcp"), verify=False, listen=False)
        assert repr(node) == "<Node a@127.0.0.1 new, over quic, tcp>"

    def test_a_node_without_carriers_says_so(self) -> None:
        assert repr(lone()) == "<Node alone@127.0.0.1 new, no carrier>"


async def test_signals_of_processes_that_send_while_the_node_stops_are_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Their connections are closed before they end."""
    async with listening("other@127.0.0.1") as other:
        node = listening(nodes={other.name: ("127.0.0.1", other.addresses[0].port)})
        await node.start()
        await node.connect(other.name)

        async def sends(process: Process) -> None:
            while True:
                await process.send_wait(("nobody", other.name), bytes(100_000))

        process = node.spawn(sends)
        await asyncio.sleep(0)
        await node.stop()
        assert process.exit_reason == SHUTDOWN
    assert not [each for each in caplog.records if "are dropped" in each.message]
