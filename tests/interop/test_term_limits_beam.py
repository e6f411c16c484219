"""Terms at the limits, both ways: whoever waits for one is told, and the connection stays for all others."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, EncodeError, GenServer, Process, RemoteError
from quicdist.otp.gen_messages import From
from quicdist.term import Limits, Local, Record, term_to_binary
from tests.interop.carriers import CARRIERS
from tests.interop.cluster import Cluster, cluster
from tests.support.head_of_line import in_process

TOO_LARGE = 1 << 4_194_240
MIB = 1 << 20

#: Nests depth times, as a program does that appends a line at a time to what it has.
_NESTED = "Nested = fun(Depth) -> lists:foldl(fun(_, Acc) -> [Acc, <<$.>>] end, [], lists:seq(1, Depth)) end"


@contextlib.asynccontextmanager
async def same_connection(pair: Cluster) -> AsyncIterator[None]:
    """The connection of before is still there afterwards, and a monitor across it has not fired."""
    await pair.node.connect(pair.beam_name)
    link = pair.node._local.connections.link(pair.beam_name)
    await pair.eval("(fun() -> M = monitor(process, {net_kernel, PY}), put(watch, M), M end)()")
    yield
    assert await pair.eval("receive {'DOWN', _, _, {net_kernel, PY}, R} -> R after 0 -> none end") == "none"
    assert pair.node._local.connections.link(pair.beam_name) is link
    assert await pair.eval("net_adm:ping(PY)") == "pong"


class Large(GenServer):
    def handle_call(self, request: Any, sender: From) -> Any:
        return TOO_LARGE


async def test_a_result_beyond_the_largest_integer_is_an_error_of_its_caller(pair: Cluster) -> None:
    pair.node.export("math", "factorial")(math.factorial)
    pair.node.serve(Large(), name="large")
    async with same_connection(pair):
        failed = '\'EXIT\',{{python_error,<<"EncodeError">>,<<"an integer of'
        called = await pair.eval("rpc:call(PY, math, factorial, [300000])")
        assert called.startswith("{badrpc,{" + failed), called
        called = await pair.eval("rpc:block_call(PY, math, factorial, [300000])")
        assert called.startswith("{badrpc,{" + failed), called
        called = await pair.eval("catch erpc:call(PY, math, factorial, [300000])")
        assert called.startswith("{'EXIT',{signal,{{python_error,<<\"EncodeError\">>"), called
        called = await pair.eval("catch gen_server:call({large, PY}, now)")
        assert called.startswith("{'EXIT',{{{python_error,<<\"EncodeError\">>"), called


@pytest.mark.parametrize(
    "term",
    [TOO_LARGE, [{-TOO_LARGE: 1}], Local(b"\0" * 8), float("inf")],
    ids=["integer", "key", "local", "float"],
)
async def test_what_a_beam_would_close_the_connection_for_is_not_sent(pair: Cluster, term: Any) -> None:
    async def send(process: Process) -> None:
        with pytest.raises(EncodeError):
            process.send(("beam_evaluator", pair.beam_name), term)
        with pytest.raises(EncodeError):
            await pair.node.call(pair.beam_name, "erlang", "node", [term])

    async with same_connection(pair):
        await in_process(pair.node, send)


async def test_a_native_record_goes_to_those_only_who_know_it(pair: Cluster) -> None:
    knows = int((await pair.eval("erlang:system_info(otp_release)")).strip('"')) >= 29
    record = Record("m", "r", {"f": 1})
    async with same_connection(pair):
        if knows:
            assert await pair.node.call(pair.beam_name, "erlang", "hd", [[record]]) == record
        else:
            with pytest.raises(EncodeError, match="native record"):
                await pair.node.call(pair.beam_name, "erlang", "hd", [[record]])


@pytest.mark.parametrize("depth", [20_000, 100_000])
async def test_deep_iodata_comes_back_as_between_two_beams(pair: Cluster, depth: int) -> None:
    @pair.node.process("echo")
    def echo(process: Process, message: Any) -> None:
        process.send(message[0], message[1])

    await pair.eval(_NESTED)
    async with same_connection(pair):
        assert (
            await pair.eval(
                f"Sent{depth} = Nested({depth}), {{echo, PY}} ! {{self(), Sent{depth}}}, "
                f"receive Sent{depth} -> came after 30000 -> lost end"
            )
            == "came"
        )
        there = await pair.node.call(pair.beam_name, "lists", "seq", [1, 3])
        assert there == [1, 2, 3]


# -- terms deeper than this node takes -------------------------------------------------------------


@pytest_asyncio.fixture(params=CARRIERS)
async def shallow(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster(request.param, tmp_path, limits=Limits(max_depth=50), max_frame=MIB) as both:
        await both.eval(_NESTED)
        yield both


class Echo(GenServer):
    def handle_call(self, request: Any, sender: From) -> Any:
        return request


async def test_a_call_with_a_term_too_deep_is_told(shallow: Cluster) -> None:
    shallow.node.serve(Echo(), name="echo")
    shallow.node.export("m", "same")(lambda term: term)
    async with same_connection(shallow):
        called = await shallow.eval("catch gen_server:call({echo, PY}, Nested(100), 60000)")
        assert called.startswith("{'EXIT',{{system_limit,<<\"nested deeper than 50"), called
        assert await shallow.eval("gen_server:call({echo, PY}, Nested(20)) =:= Nested(20)") == "true"
        called = await shallow.eval("catch erpc:call(PY, m, same, [Nested(100)])")
        assert called.startswith("{'EXIT',{{erpc,system_limit}"), called
        called = await shallow.eval(
            "try spawn_monitor(PY, m, same, [Nested(100)]) catch error:Why -> Why end"
        )
        assert called == "system_limit"


async def test_an_exit_with_a_reason_too_deep_is_told(shallow: Cluster) -> None:
    async def watch(process: Process) -> None:
        process.trap_exit = True
        for way in ("spawn(fun() -> link(Pid), exit(Nested(100)) end)", "exit(Pid, Nested(100))"):
            await shallow.eval(
                f"(fun() -> Pid = binary_to_term(Data), {way} end)()", term_to_binary(process.pid)
            )
            tag, _, reason = await process.receive(timeout=10)
            assert tag == Atom("EXIT")
            assert reason[0] == Atom("system_limit")
        await shallow.eval("register(doomed, spawn(fun() -> receive die -> exit(Nested(100)) end end))")
        reference = process.monitor(("doomed", shallow.beam_name))
        process.send(("doomed", shallow.beam_name), Atom("die"))
        down = await process.receive(timeout=10)
        assert (down[0], down[1], down[4][0]) == (Atom("DOWN"), reference, Atom("system_limit"))

    async with same_connection(shallow):
        await in_process(shallow.node, watch)


async def test_a_result_too_deep_is_an_error_of_the_call(shallow: Cluster) -> None:
    nested = b"\x83" + b"l\0\0\0\x01" * 100 + b"j" * 101
    async with same_connection(shallow):
        with pytest.raises(RemoteError, match="system_limit"):
            await shallow.node.call(shallow.beam_name, "erlang", "binary_to_term", [nested])


async def test_another_message_too_deep_is_lost_alone(
    shallow: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    came: list[Any] = []
    shallow.node.process("box")(lambda process, message: came.append(message))
    async with same_connection(shallow):
        await shallow.eval("[{box, PY} ! X || X <- [1, Nested(100), 2]], ok")
        await shallow.eval("net_adm:ping(PY)")
        assert came == [1, 2]
    (line,) = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert line.startswith(f"REG_SEND from {shallow.beam_name} was dropped: nested deeper than 50")


async def test_a_message_longer_than_the_limit_is_lost_alone(shallow: Cluster) -> None:
    came: list[Any] = []
    shallow.node.process("box")(lambda process, message: came.append(message))
    shallow.node.serve(Echo(), name="echo")
    async with same_connection(shallow):
        await shallow.eval(f"[{{box, PY}} ! X || X <- [1, binary:copy(<<0>>, {2 * MIB}), 2]], ok")
        called = await shallow.eval(
            "{'EXIT', {Limit, _}} = "
            f"(catch gen_server:call({{echo, PY}}, binary:copy(<<0>>, {2 * MIB}))), Limit"
        )
        assert called.startswith('{system_limit,<<"a message in fragments from beam'), called
        with pytest.raises(RemoteError, match="system_limit"):
            await shallow.node.call(shallow.beam_name, "binary", "copy", [b"x", 2 * MIB])
        assert came == [1, 2]
