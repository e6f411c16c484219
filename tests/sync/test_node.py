"""A node of ``quicdist.sync``: calls, processes, servers, exports, streams, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import quicdist
from quicdist import (
    Atom,
    CallTimeout,
    EncodeError,
    GenServer,
    NodeDown,
    NodeError,
    NodeNotStarted,
    NodeUp,
    NotConnected,
    ProcessExit,
    RemoteError,
)
from quicdist.sync import Node, Process, UserStream
from tests.support.pairs import COOKIE, DIALLER, LISTENER, carrier_options

PING, PONG = Atom("ping"), Atom("pong")


@pytest.fixture(params=["tcp", "quic"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """The dialling node and the listening one."""
    options = {"cookie": COOKIE, **carrier_options(request.param, tmp_path)}
    with Node(LISTENER, host="127.0.0.1", port=0, **options) as listener:
        table = {LISTENER: ("127.0.0.1", listener.addresses[0].port)}
        with Node(DIALLER, nodes=table, listen=False, **options) as dialler:
            yield dialler, listener


@pytest.fixture
def node() -> Iterator[Node]:
    with Node("sync@127.0.0.1", cookie=COOKIE, carrier="tcp", epmd=False, host="127.0.0.1") as node:
        yield node


class Counter(GenServer):
    def init(self) -> None:
        self.count = 0

    def handle_call(self, request: Any, sender: Any) -> int:
        self.count += 1
        return self.count


# -- between two nodes -------------------------------------------------------------------------


def test_a_call_returns_the_value_of_the_function(pair: tuple[Node, Node]) -> None:
    dialler, listener = pair
    listener.export("py", "add")(lambda one, two: one + two)
    assert dialler.ping(LISTENER)
    assert dialler.call(LISTENER, "py", "add", [1, 2]) == 3
    assert dialler.erpc.multicall([LISTENER, LISTENER], "py", "add", [1, 1], timeout=30) == [2, 2]
    request = dialler.erpc.send_request(LISTENER, "py", "add", [3, 4])
    assert request.receive_response(5) == 7
    assert request.done()
    assert dialler.nodes("connected") == [LISTENER]


def test_a_call_raises_the_errors_of_the_asynchronous_node(pair: tuple[Node, Node]) -> None:
    dialler, listener = pair
    forever = threading.Event()
    listener.export("py", "wait")(forever.wait)
    with pytest.raises(RemoteError, match="undef"):
        dialler.call(LISTENER, "py", "nothing")
    with pytest.raises(CallTimeout):
        dialler.call(LISTENER, "py", "wait", timeout=0.05)
    with pytest.raises(NotConnected):
        dialler.connect("nobody@127.0.0.1")
    with pytest.raises(EncodeError):
        dialler.send(("x", LISTENER), object())
    forever.set()


def test_an_exported_function_may_call_other_nodes_itself(pair: tuple[Node, Node]) -> None:
    dialler, listener = pair

    @dialler.export("py")
    def double(number: int) -> int:
        return 2 * number

    @listener.export("py")
    def by_way_of_the_other(number: int) -> Any:
        return listener.call(DIALLER, "py", "double", [number])

    assert dialler.call(LISTENER, "py", "by_way_of_the_other", [21], timeout=10) == 42


def test_a_server_is_called_and_its_callbacks_run_in_the_thread_of_the_node(pair: tuple[Node, Node]) -> None:
    dialler, listener = pair
    process = listener.serve(Counter(), name="counter")
    assert isinstance(process, Process)
    assert dialler.gen_server_call(("counter", LISTENER), Atom("next")) == 1
    assert dialler.gen_server.call(process.pid, Atom("next")) == 2
    dialler.gen_server.stop(("counter", LISTENER))
    assert not process.alive
    assert listener.whereis("counter") is None


def test_a_stream_carries_bytes_both_ways(tmp_path: Path) -> None:
    options = {"cookie": COOKIE, **carrier_options("quic", tmp_path)}
    with Node(LISTENER, host="127.0.0.1", port=0, **options) as listener:

        def double(stream: UserStream) -> None:
            for piece in stream:
                stream.send(piece)
            stream.write_eof()

        listener.accept_streams(double)
        table = {LISTENER: ("127.0.0.1", listener.addresses[0].port)}
        with (
            Node(DIALLER, nodes=table, listen=False, **options) as dialler,
            dialler.open_stream(LISTENER) as stream,
        ):
            stream.send(b"x" * 300_000)
            stream.write_eof()
            assert stream.read() == b"x" * 300_000


def test_an_acceptor_without_a_handler_is_an_iterator(tmp_path: Path) -> None:
    options = {"cookie": COOKIE, **carrier_options("quic", tmp_path)}
    with Node(LISTENER, host="127.0.0.1", port=0, **options) as listener:
        acceptor = listener.accept_streams()
        table = {LISTENER: ("127.0.0.1", listener.addresses[0].port)}
        with Node(DIALLER, nodes=table, listen=False, **options) as dialler:
            sent = dialler.open_stream(LISTENER)
            sent.write(b"hello")
            sent.write_eof()
            streams = iter(acceptor)
            assert next(streams).readexactly(5) == b"hello"
            acceptor.stop()
            assert list(streams) == []


def test_subscribers_are_told_of_nodes(pair: tuple[Node, Node]) -> None:
    dialler, _ = pair
    events: list[Any] = []
    down = threading.Event()

    def told(event: Any) -> None:
        events.append(event)
        if isinstance(event, NodeDown):
            down.set()

    unsubscribe = dialler.subscribe(told)
    dialler.connect(LISTENER)
    assert dialler.disconnect(LISTENER)
    assert down.wait(5)
    assert [type(event) for event in events] == [NodeUp, NodeDown]
    unsubscribe()


# -- processes ---------------------------------------------------------------------------------


def test_a_plain_function_is_a_body_in_a_thread_of_its_own(node: Node) -> None:
    threads: list[str] = []

    @node.process("echo")
    def echo(process: Process) -> None:
        for sender, message in process:
            threads.append(threading.current_thread().name)
            process.send(sender, message)

    with node.mailbox() as inbox:
        node.send("echo", (inbox.pid, PING))
        assert inbox.receive(timeout=30) == PING
    assert threads == ["quicdist echo"]


def test_a_plain_function_with_one_parameter_more_is_called_with_each_message(node: Node) -> None:
    with node.mailbox() as inbox:

        def answer(process: Process, message: Any) -> None:
            process.send(inbox.pid, (message, PONG))

        process = node.spawn(answer)
        for number in range(3):
            node.send(process, number)
        assert [inbox.receive(timeout=30) for _ in range(3)] == [(number, PONG) for number in range(3)]


def test_a_coroutine_function_is_a_body_in_the_thread_of_the_node(node: Node) -> None:
    with node.mailbox() as inbox:

        async def body(process: quicdist.Process) -> None:
            process.send(inbox.pid, (await process.receive(), Atom("async")))

        node.send(node.spawn(body), PING)
        assert inbox.receive(timeout=30) == (PING, Atom("async"))


def test_what_a_body_returns_and_raises_ends_its_process(node: Node) -> None:
    with node.mailbox() as inbox:

        def fails(process: Process) -> None:
            raise ProcessExit(Atom("tired"))

        def returns(process: Process, first: int, second: int) -> None:
            process.send(inbox.pid, first + second)

        bodies: list[tuple[Callable[..., Any], tuple[int, ...], Atom]] = [
            (fails, (), Atom("tired")),
            (returns, (1, 2), Atom("normal")),
        ]
        for body, args, reason in bodies:
            process = inbox.spawn(body, *args)
            reference = inbox.monitor(process)
            *_, down = inbox.receive((Atom("DOWN"), reference, quicdist.ANY, quicdist.ANY, quicdist.ANY))
            assert down in (reason, Atom("noproc"))
            process.finished()
            assert process.exit_reason == reason
        assert inbox.receive(timeout=30) == 3


def test_a_receive_of_a_process_that_is_ended_raises_process_exit(node: Node) -> None:
    inbox = node.mailbox("inbox")
    over = threading.Event()
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            inbox.receive()
        except ProcessExit as error:
            raised.append(error)
        over.set()

    threading.Thread(target=wait).start()
    node.whereis("inbox")  # the receive has begun, or begins after the end: both raise
    inbox.stop(Atom("enough"))
    assert over.wait(5)
    assert [str(error) for error in raised] == ["exit: enough"]


def test_a_receive_raises_timeout_error_and_selects_by_pattern(node: Node) -> None:
    with node.mailbox() as inbox:
        with pytest.raises(TimeoutError):
            inbox.receive(timeout=0)
        for message in (1, (PING, 2)):
            node.send(inbox, message)
        assert inbox.receive((PING, int), timeout=30) == (PING, 2)
        assert inbox.messages == [1]


def test_a_function_that_fits_no_body_is_refused(node: Node) -> None:
    with pytest.raises(TypeError, match="cannot be the body of a process"):
        node.spawn(lambda: None)
    with pytest.raises(TypeError, match="takes the process and 2 arguments"):
        node.spawn(lambda process: None, 1, 2)


# -- threads -----------------------------------------------------------------------------------


def test_many_threads_use_one_node_at_once(pair: tuple[Node, Node]) -> None:
    dialler, listener = pair
    listener.export("py", "same", blocking=False)(lambda value: value)
    with ThreadPoolExecutor(16) as pool:
        calls = pool.map(lambda number: dialler.call(LISTENER, "py", "same", [number]), range(200))
        assert list(calls) == list(range(200))


def test_a_node_that_is_used_in_its_own_thread_raises_an_error_in_place_of_a_deadlock(node: Node) -> None:
    class Asks(GenServer):
        def handle_call(self, request: Any, sender: Any) -> Any:
            try:
                return node.nodes()
            except NodeError as error:
                return str(error)

    node.serve(Asks(), name="asks")
    answer = node.gen_server_call("asks", PING)
    assert "was used in the thread of its event loop" in answer
    assert "self.process.node" in answer


def test_a_node_that_does_not_run_raises_node_not_started() -> None:
    node = Node("sync@127.0.0.1", cookie=COOKIE, carrier="tcp", epmd=False, host="127.0.0.1")
    for use in (lambda: node.connect("a@b"), lambda: node.send("a", 1), node.nodes, lambda: node.erpc):
        with pytest.raises(NodeNotStarted, match="has not been started"):
            use()
    node.export("py", "one")(lambda: 1)  # but it can be told what it will have
    node.process("waits")(lambda process, message: None)
    with node:
        assert node.call(node.name, "py", "one") == 1
        assert node.whereis("waits") is not None
        with pytest.raises(NodeError, match="started already"):
            node.start()
    for use in (lambda: node.connect("a@b"), lambda: node.send("a", 1), node.nodes, lambda: node.erpc):
        with pytest.raises(NodeNotStarted, match="has stopped"):
            use()
    node.stop()  # a second time does nothing
    with pytest.raises(NodeError, match="make a new Node"):
        node.start()


def test_a_node_that_cannot_start_leaves_no_thread() -> None:
    with Node(LISTENER, cookie=COOKIE, carrier="tcp", epmd=False, host="127.0.0.1", port=0) as first:
        port = first.addresses[0].port
        second = Node("b@127.0.0.1", cookie=COOKIE, carrier="tcp", epmd=False, host="127.0.0.1", port=port)
        with pytest.raises(quicdist.ListenError):
            second.start()
        assert [thread.name for thread in threading.enumerate() if "b@" in thread.name] == []


def test_a_call_that_waits_when_the_node_stops_raises(node: Node) -> None:
    raised: list[BaseException] = []
    inbox = node.mailbox()

    def wait() -> None:
        try:
            inbox.receive()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    node.stop()
    thread.join(5)
    assert [type(error) for error in raised] in ([ProcessExit], [NodeNotStarted])


def test_an_exported_function_can_stop_its_node(node: Node) -> None:
    node.export("py", "halt")(node.stop)
    assert node.call(node.name, "py", "halt", timeout=30) is None
    node.run_forever()
    with pytest.raises(NodeNotStarted):
        node.nodes()
