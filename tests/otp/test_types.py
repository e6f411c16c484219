"""The types that a program sees in its handlers; mypy checks the ``assert_type`` calls with all tests."""

from __future__ import annotations

from typing import Any, assert_type

from quicdist import Atom, Call, GenServer, Node, Pid, Process, Reference, Request, UserStream, current_call
from quicdist.otp.gen_messages import From


class Typed(GenServer):
    def handle_call(self, request: Any, sender: From) -> Any:
        assert_type(self.process, Process)
        assert_type(sender[0], Pid)
        assert_type(self.process.node.name, str)
        assert_type(self.process.node.whereis("nobody"), Process | None)
        assert_type(self.process.node.nodes("known"), list[str])
        assert_type(self.process.links, list[Pid])
        assert_type(self.process.make_ref(), Reference)
        return self.process.node.name


async def body(process: Process) -> None:
    node = process.node
    assert_type(await node.ping(node.name), bool)
    assert_type(node.spawn(lambda process, message: None), Process)
    assert_type(process.spawn(lambda process, message: None), Process)
    assert_type(node.disconnect("nobody@127.0.0.1"), bool)
    process.send(await process.receive(), node.name)


async def typed_requests(node: Node) -> None:
    """Not called: an ``int`` is what the program says the other node answers."""
    request: Request[int] = node.erpc.send_request("a@h", "m", "f")
    assert_type(request.done(), bool)
    assert_type(await request, int)
    assert_type(await request.receive_response(1.0), int)
    assert_type(await request.wait_response(), bool)
    assert_type(node.gen_server.send_request("name", 1), Request[Any])
    assert_type(await node.open_stream("a@h"), UserStream)
    assert_type(current_call(), Call)
    assert_type(current_call().caller, Pid | None)
    assert_type(await node.erpc.multicall(["a@h"], "m", "f"), list[Any])
    assert_type(await node.rpc.multicall(["a@h"], "m", "f"), tuple[list[Any], list[str]])
    assert_type(await node.rpc.multicall([Atom("a@h")], "m", "f"), tuple[list[Any], list[Atom]])
    assert_type(await node.gen_server.multi_call(["a@h"], "name", 1), tuple[list[tuple[str, Any]], list[str]])
    assert_type(await node.global_names.whereis_name("name"), Pid | None)


async def test_a_typed_server_and_body_run(node: Node) -> None:
    server = await node.gen_server.start(Typed())
    assert_type(server, Process | None)
    assert await node.gen_server_call(server, 1) == node.name
    asking = node.spawn(body)
    request: Request[str] = Request(lambda: "the body", lambda: None)
    node.spawn(lambda process, message: request.succeed(message), name="hears")
    process = node.whereis("hears")
    assert process is not None
    node.send(asking, process.pid)
    assert await request == node.name
