"""Servers: their beginning, what their callbacks ask for, and their end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from quicdist import (
    IGNORE,
    Atom,
    CallTimeout,
    Continue,
    GenServer,
    NameRegistered,
    Node,
    NoReply,
    NoSuchProcess,
    Process,
    ProcessEnded,
    Reply,
    Stop,
)
from tests.otp.conftest import ended
from tests.support.pairs import LISTENER, pair

NORMAL, SHUTDOWN, KILL = Atom("normal"), Atom("shutdown"), Atom("kill")


class Plain(GenServer):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.noted = asyncio.Event()

    def handle_call(self, request: Any, sender: Any) -> Any:
        if callable(request):
            return request(self, sender)
        return request

    def handle_cast(self, request: Any) -> Any:
        return request(self) if callable(request) else self.notes.append(request)

    def handle_info(self, message: Any) -> Any:
        self.notes.append(message)
        self.noted.set()

    def handle_continue(self, argument: Any) -> Any:
        self.notes.append(("continue", argument))

    def terminate(self, reason: Any) -> None:
        self.notes.append(("terminate", reason))


class TestBeginning:
    async def test_messages_wait_for_init(self, node: Node) -> None:
        go = asyncio.Event()

        class Slow(Plain):
            async def init(self) -> Continue:
                await go.wait()
                return NoReply(Continue("more"))  # type: ignore[return-value]

        server = Slow()
        node.serve(server, name="slow")
        request = node.gen_server.send_request("slow", 1)
        node.send("slow", "info")
        assert not await request.wait_response(0.01)
        go.set()
        assert await request == 1
        assert server.notes == [("continue", "more"), "info"]

    async def test_start_waits_for_init(self, node: Node) -> None:
        class Slow(Plain):
            async def init(self) -> None:
                await asyncio.sleep(0)
                self.notes.append("init")

        server = Slow()
        process = await node.gen_server.start(server, name="slow")
        assert process is node.whereis("slow")
        assert server.notes == ["init"]

    @pytest.mark.parametrize("waits", [False, True])
    async def test_start_raises_what_init_raises(self, node: Node, waits: bool) -> None:
        class Fails(Plain):
            def init(self) -> Any:
                if waits:
                    return self.later()
                raise ValueError("no good")

            async def later(self) -> None:
                await asyncio.sleep(0)
                raise ValueError("no good")

        server = Fails()
        with pytest.raises(ValueError, match="no good"):
            await node.gen_server.start(server, name="fails")
        assert server.notes == []  # OTP calls no terminate/2 then
        assert server.process.exit_reason[0] == (Atom("python_error"), "ValueError", "no good")
        assert node.whereis("fails") is None

    async def test_init_can_return_stop_or_ignore(self, node: Node) -> None:
        class Says(Plain):
            def __init__(self, result: Any) -> None:
                super().__init__()
                self.result = result

            def init(self) -> Any:
                return self.result

        assert await node.gen_server.start(Says(IGNORE)) is None
        with pytest.raises(ProcessEnded) as caught:
            await node.gen_server.start(Says(Stop(Atom("not_today"))))
        assert caught.value.reason == Atom("not_today")

    async def test_a_server_that_ends_during_init_is_not_started(self, node: Node) -> None:
        class Slow(Plain):
            async def init(self) -> None:
                await asyncio.Event().wait()

        server = Slow()
        starting = asyncio.ensure_future(node.gen_server.start(server))
        await asyncio.sleep(0)
        server.process.stop(Atom("enough"))
        with pytest.raises(ProcessEnded):
            await starting
        assert server.notes == []

    async def test_a_taken_name_is_name_registered(self, node: Node) -> None:
        node.serve(Plain(), name="taken")
        with pytest.raises(NameRegistered, match="taken"):
            await node.gen_server.start(Plain(), name="taken")


class TestCallbacks:
    async def test_messages_wait_while_a_coroutine_callback_runs(self, node: Node) -> None:
        server, go = Plain(), asyncio.Event()
        process = node.serve(server)

        async def wait(_: Any, __: Any) -> int:
            await go.wait()
            return 1

        first = node.gen_server.send_request(process, wait)
        node.gen_server.cast(process, "cast")
        second = node.gen_server.send_request(process, 2)
        assert not await second.wait_response(0.01)
        assert server.notes == []
        go.set()
        assert [await first, await second] == [1, 2]
        assert server.notes == ["cast"]

    async def test_continue_can_return_continue(self, node: Node) -> None:
        class Chain(Plain):
            def handle_continue(self, argument: int) -> Any:
                self.notes.append(argument)
                return NoReply(Continue(argument - 1)) if argument else None

        server = Chain()
        assert await node.gen_server.call(node.serve(server), lambda *_: Reply(1, Continue(5000))) == 1
        assert server.notes == list(range(5000, -1, -1))

    async def test_timeout_comes_unless_a_message_comes_first(self, node: Node) -> None:
        server = Plain()
        process = node.serve(server)
        node.gen_server.cast(process, lambda _: NoReply(60.0))
        node.gen_server.cast(process, lambda _: None)
        node.gen_server.cast(process, lambda _: NoReply(0))
        await server.noted.wait()
        assert server.notes == [Atom("timeout")]

    async def test_a_reply_to_a_cast_is_bad_return_value(self, node: Node) -> None:
        process = node.serve(Plain())
        node.gen_server.cast(process, lambda _: Reply(1))
        assert (await ended(process))[0] == Atom("bad_return_value")

    async def test_a_reply_that_cannot_be_encoded_ends_the_server(self, one: Node, two: Node) -> None:
        server = Plain()
        two.serve(server, name="server")
        server.handle_call = lambda *_: object()  # type: ignore[method-assign]
        with pytest.raises(ProcessEnded, match="EncodeError"):
            await one.gen_server.call(("server", two.name), 1)
        assert server.notes[0][0] == "terminate"

    async def test_a_stop_reply_that_cannot_be_encoded_is_the_reason(self, one: Node, two: Node) -> None:
        server = Plain()
        two.serve(server, name="server")
        server.handle_call = lambda *_: Stop(NORMAL, object())  # type: ignore[method-assign]
        with pytest.raises(ProcessEnded, match="EncodeError"):
            await one.gen_server.call(("server", two.name), 1)

    async def test_a_malformed_call_goes_to_handle_info(self, node: Node) -> None:
        server = Plain()
        process = node.serve(server)
        odd = [
            (Atom("$gen_call"), Atom("nobody"), 1),
            (Atom("$gen_call"), 1),
            [Atom("$gen_cast"), 1],
            (Atom("system"), 1, 2),
            (Atom("$gen_cast"), 1, 2),
        ]
        for message in odd:
            node.send(process, message)
        assert server.notes == odd

    async def test_default_callbacks(self, node: Node, caplog: pytest.LogCaptureFixture) -> None:
        process = node.serve(GenServer())
        node.send(process, "surprise")
        assert "surprise" in caplog.text
        assert process.alive
        node.gen_server.cast(process, 1)
        assert "has no handle_cast" in str(await ended(process))


class TestEnd:
    async def test_stop_calls_terminate_then_replies_then_ends(self, node: Node) -> None:
        order: list[str] = []

        class Ends(Plain):
            async def terminate(self, reason: Any) -> None:  # type: ignore[override]
                await asyncio.sleep(0)
                order.append(f"terminate {reason}")

        process = node.serve(Ends())
        process.on_end(lambda: order.append("end"))
        assert await node.gen_server.call(process, lambda *_: Stop(SHUTDOWN, "bye")) == "bye"
        assert order == ["terminate shutdown", "end"]

    async def test_an_exception_in_a_callback_is_the_reason(self, node: Node) -> None:
        server = Plain()
        process = node.serve(server)

        async def fails(*_: Any) -> None:
            await asyncio.sleep(0)
            raise ValueError("no good")

        with pytest.raises(ProcessEnded) as caught:
            await node.gen_server.call(process, fails)
        assert caught.value.reason == process.exit_reason
        assert server.notes == [("terminate", process.exit_reason)]

    async def test_an_exception_in_terminate_is_the_reason(self, node: Node) -> None:
        class Fails(Plain):
            def terminate(self, reason: Any) -> None:
                raise LookupError("no way out")

        process = node.serve(Fails())
        node.gen_server.cast(process, lambda _: Stop())
        assert (await ended(process))[0] == (Atom("python_error"), "LookupError", "no way out")

    async def test_terminate_is_called_after_kill(self, node: Node) -> None:
        server = Plain()
        process = node.serve(server)
        node.spawn(lambda *_: None).exit(process, KILL)
        assert server.notes == [("terminate", Atom("killed"))]

    async def test_a_cancelled_coroutine_ends_the_server(self, node: Node) -> None:
        process = node.serve(Plain())

        async def cancelled(*_: Any) -> None:
            raise asyncio.CancelledError

        with pytest.raises(ProcessEnded) as caught:
            await node.gen_server.call(process, cancelled)
        assert caught.value.reason == Atom("cancelled")

    @pytest.mark.parametrize("trap", [False, True])
    async def test_the_exit_of_the_parent_ends_the_server(self, node: Node, trap: bool) -> None:
        parent = node.spawn(lambda *_: None)
        server = Plain()
        process = await node.gen_server.start(server, link_to=parent)
        assert process is not None
        process.trap_exit = trap
        parent.stop(SHUTDOWN)
        assert await ended(process) == SHUTDOWN
        assert server.notes == [("terminate", SHUTDOWN)]

    async def test_the_exit_of_another_link_is_a_message_if_trapped(self, node: Node) -> None:
        server = Plain()
        process = node.serve(server)
        process.trap_exit = True
        other = node.spawn(lambda *_: None)
        other.link(process)
        other.stop(SHUTDOWN)
        assert server.notes == [(Atom("EXIT"), other.pid, SHUTDOWN)]

    async def test_gen_server_stop_ends_the_server(self, node: Node) -> None:
        server = Plain()
        process = node.serve(server)
        await node.gen_server.stop(process, SHUTDOWN)
        assert process.exit_reason == SHUTDOWN
        with pytest.raises(NoSuchProcess):
            await node.gen_server.stop(process)

    async def test_messages_in_the_queue_are_dropped_at_the_end(self, node: Node) -> None:
        server = Plain()
        process = node.serve(server)

        async def stops(*_: Any) -> Stop:
            await asyncio.sleep(0)
            return Stop()

        requests = [node.gen_server.send_request(process, request) for request in (stops, 2)]
        for request in requests:
            with pytest.raises(ProcessEnded):
                await request
        assert server.notes == [("terminate", NORMAL)]


class TestClient:
    async def test_calls_and_casts_on_the_same_node(self, node: Node) -> None:
        process = node.serve(Plain(), name="server")
        for to in ("server", Atom("server"), process, process.pid, ("server", node.name)):
            assert await node.gen_server.call(to, 1) == 1
        with pytest.raises(NoSuchProcess, match="nobody"):
            await node.gen_server.call("nobody", 1)
        with pytest.raises(CallTimeout):
            await node.gen_server.call("server", lambda *_: NoReply(), timeout=0.01)
        assert await node.gen_server.multi_call([node.name], "server", 1) == ([(node.name, 1)], [])

    async def test_a_call_from_a_given_process(self, node: Node) -> None:
        server = node.serve(Plain())

        async def body(process: Process) -> None:
            assert (
                await node.gen_server.call(server, lambda _, sender: sender[0], process=process)
                == process.pid
            )

        assert await ended(node.spawn(body)) == NORMAL

    async def test_sys_functions_on_the_same_node(self, node: Node) -> None:
        class Held(Plain):
            def __init__(self) -> None:
                super().__init__()
                self.number = 7
                self.lock = asyncio.Lock()
                self._secret = 1

        process = node.serve(Held())
        state = await node.sys.get_state(process)
        assert state[Atom("number")] == 7
        assert b"Lock" in bytes(state[Atom("lock")], "utf-8")
        assert set(state) == {Atom("notes"), Atom("noted"), Atom("number"), Atom("lock")}
        await node.sys.suspend(process)
        request = node.gen_server.send_request(process, 1)
        assert not await request.wait_response(0.01)
        await node.sys.resume(process)
        assert await request == 1
        await node.sys.terminate(process, SHUTDOWN)
        assert await ended(process) == SHUTDOWN


async def test_a_node_that_stops_waits_for_terminate(caplog: pytest.LogCaptureFixture) -> None:
    done: list[Any] = []

    class Ends(GenServer):
        async def terminate(self, reason: Any) -> None:
            await asyncio.sleep(0.01)
            done.append(reason)

    async with Node("stops@127.0.0.1", cookie="c", endpoints=[]) as node:
        node.serve(Ends())
    assert done == [SHUTDOWN]


async def test_a_terminate_that_never_ends_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("quicdist.node.shutdown.SHUTDOWN_TIME", 0.01)

    class Stays(GenServer):
        async def terminate(self, reason: Any) -> None:
            await asyncio.Event().wait()

    async with Node("stops@127.0.0.1", cookie="c", endpoints=[]) as node:
        node.serve(Stays())
    assert "has not ended within 0.01 s of shutdown and is killed" in caplog.text


async def test_a_server_that_is_stopped_by_its_name_over_quic_is_monitored_before_it_ends(
    tmp_path: Path,
) -> None:
    """Monitor and request are in order, also where pairs of processes have streams of their own."""
    async with pair("quic", tmp_path) as (dialler, listener):
        for _ in range(20):
            listener.serve(Plain(), name="plain")
            await dialler.gen_server.stop(("plain", LISTENER))
            assert listener.whereis("plain") is None
