"""Joining a cluster: what a BEAM sees of a Python node, and the node of the BEAM."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from quicdist import (
    Atom,
    CallTimeout,
    NodeDown,
    NodeUp,
    NoSuchProcess,
    NotConnected,
    Process,
    ProcessEnded,
    ProcessExit,
    RemoteError,
)
from quicdist.carrier import SetupTimeout
from quicdist.node import NodeEvent
from quicdist.protocol import HandshakeError
from tests.interop.carriers import CARRIERS
from tests.interop.cluster import Cluster, cluster

MEBIBYTE = 1 << 20


def watch(pair: Cluster) -> asyncio.Queue[NodeEvent]:
    events: asyncio.Queue[NodeEvent] = asyncio.Queue()
    pair.node.subscribe(events.put_nowait)
    return events


class TestPing:
    @pytest.fixture
    def pair(self, lasting_pair: Cluster) -> Cluster:
        return lasting_pair

    async def test_us_first(self, pair: Cluster) -> None:
        assert await pair.node.ping(pair.beam_name)
        assert pair.node.nodes("connected") == [pair.beam_name]
        assert await pair.eval("nodes(hidden)") == f"['{pair.node.name}']"
        assert await pair.eval("nodes()") == "[]"

    async def test_the_beam_first(self, pair: Cluster) -> None:
        assert await pair.eval("net_adm:ping(PY)") == "pong"
        assert pair.node.nodes("connected") == [pair.beam_name]
        assert await pair.node.ping(pair.beam_name)

    async def test_nobody_there(self, pair: Cluster) -> None:
        assert not await pair.node.ping("nobody@127.0.0.1")
        with pytest.raises(NotConnected, match=r"nobody@127\.0\.0\.1"):
            await pair.node.connect("nobody@127.0.0.1")


class TestNodeEvents:
    async def test_up_and_down_by_us(self, pair: Cluster) -> None:
        events = watch(pair)
        await pair.eval("net_kernel:monitor_nodes(true, [{node_type, all}])")
        await pair.node.connect(pair.beam_name)
        assert await events.get() == NodeUp(pair.beam_name)
        pair.node.disconnect(pair.beam_name)
        down = await events.get()
        assert isinstance(down, NodeDown)
        assert down.error is None
        assert (
            await pair.eval("receive {nodeup, PY, _} -> receive {nodedown, PY, _} -> both end end")
        ) == "both"

    async def test_down_by_the_beam(self, pair: Cluster) -> None:
        if pair.carrier == "quic":
            pytest.skip(
                "quic_dist 1.8.1 tells nobody of disconnect_node: another BEAM does not notice either"
            )
        await pair.node.connect(pair.beam_name)
        events = watch(pair)
        assert await pair.eval("erlang:disconnect_node(PY)") == "true"
        down = await events.get()
        assert isinstance(down, NodeDown)
        assert down.node == pair.beam_name

    async def test_a_connection_made_again(self, pair: Cluster) -> None:
        for _ in range(3):
            assert await pair.node.ping(pair.beam_name)
            await pair.eval("monitor_node(PY, true)")
            pair.node.disconnect(pair.beam_name)
            assert await pair.eval("receive {nodedown, PY} -> net_adm:ping(PY) end") == "pong"
            await pair.eval("monitor_node(PY, true)")
            pair.node.disconnect(pair.beam_name)
            await pair.eval("receive {nodedown, PY} -> ok end")


class TestCallOut:
    @pytest.fixture
    def pair(self, lasting_pair: Cluster) -> Cluster:
        return lasting_pair

    async def test_a_function(self, pair: Cluster) -> None:
        assert await pair.node.call(pair.beam_name, "lists", "reverse", [[1, 2, 3]]) == [3, 2, 1]
        assert await pair.node.call(pair.beam_name, "erlang", "node") == Atom(pair.beam_name)

    @pytest.mark.parametrize(
        ("call", "kind", "reason"),
        [
            (("erlang", "error", [Atom("oops")]), "error", Atom("oops")),
            (("erlang", "exit", [Atom("bye")]), "exit", Atom("bye")),
            (("erlang", "throw", [Atom("ball")]), "throw", Atom("ball")),
            (("nomodule", "nofunction", [1]), "error", Atom("undef")),
        ],
    )
    async def test_an_exception(self, pair: Cluster, call: Any, kind: str, reason: Any) -> None:
        with pytest.raises(RemoteError) as caught:
            await pair.node.call(pair.beam_name, *call)
        assert (caught.value.kind, caught.value.reason) == (kind, reason)

    async def test_many_at_once(self, pair: Cluster) -> None:
        calls = (pair.node.call(pair.beam_name, "erlang", "+", [n, 1]) for n in range(200))
        assert await asyncio.gather(*calls) == list(range(1, 201))

    async def test_what_it_prints_appears_here(
        self, pair: Cluster, capsys: pytest.CaptureFixture[str]
    ) -> None:
        await pair.node.call(pair.beam_name, "io", "format", [list(b"~p and ~ts~n"), [Atom("one"), "zwölf"]])
        assert capsys.readouterr().out == "one and zwölf\n"

    async def test_a_cast(self, pair: Cluster) -> None:
        got: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        receiver = pair.node.spawn(lambda _, message: got.set_result(message))
        pair.node.cast(pair.beam_name, "erlang", "send", [receiver.pid, 7])
        assert await got == 7


class TestCallOutThatHangs:
    """It leaves a process on the BEAM."""

    async def test_the_process_that_runs_it_is_killed(self, pair: Cluster) -> None:
        await pair.node.connect(pair.beam_name)
        await pair.eval("register(killer, spawn(fun() -> receive P -> exit(P, kill) end end))")
        call = pair.node.call(pair.beam_name, "timer", "sleep", [Atom("infinity")])
        task = asyncio.create_task(call)
        await pair.eval(
            "F = fun(G) -> case [P || P <- processes(), {current_function, {timer, sleep, 1}} =="
            " process_info(P, current_function)] of [P] -> killer ! P, ok; _ -> G(G) end end, F(F)"
        )
        with pytest.raises(RemoteError) as caught:
            await task
        assert (caught.value.kind, caught.value.reason) == ("signal", Atom("killed"))

    async def test_too_slow(self, pair: Cluster) -> None:
        await pair.node.connect(pair.beam_name)
        with pytest.raises(CallTimeout):
            await pair.node.call(pair.beam_name, "timer", "sleep", [Atom("infinity")], timeout=0.05)


class TestCallIn:
    @pytest.fixture
    def pair(self, lasting_pair: Cluster) -> Cluster:
        return lasting_pair

    async def test_rpc_call(self, pair: Cluster) -> None:
        @pair.node.export("py", "add")
        def add(one: int, two: int) -> int:
            return one + two

        assert await pair.eval("rpc:call(PY, py, add, [1, 2])") == "3"
        assert await pair.eval("erpc:call(PY, py, add, [1, 2])") == "3"

    async def test_coroutines_and_blocking_functions(self, pair: Cluster) -> None:
        import threading

        @pair.node.export("py")
        async def later(value: Any) -> Any:
            await asyncio.sleep(0)
            return value

        @pair.node.export("py", blocking=True)
        def thread() -> bool:
            return threading.current_thread() is threading.main_thread()

        assert await pair.eval("rpc:call(PY, py, later, [{a, b}])") == "{a,b}"
        assert await pair.eval("rpc:call(PY, py, thread, [])") == "false"

    async def test_an_exception(self, pair: Cluster) -> None:
        @pair.node.export("py")
        def fails() -> None:
            raise ValueError("no good")

        @pair.node.export("py")
        def leaves() -> None:
            raise ProcessExit(Atom("gone"))

        got = await pair.eval(
            "{badrpc, {'EXIT', {Reason, [{M, F, A, _} | _]}}} = rpc:call(PY, py, fails, []),{Reason, M, F, A}"
        )
        assert got == (
            '{{python_error,<<"ValueError">>,<<"no good">>},'
            f"'{__name__}','TestCallIn.test_an_exception.<locals>.fails',0}}"
        )
        assert await pair.eval("rpc:call(PY, py, leaves, [])") == "{badrpc,{'EXIT',gone}}"

    @pytest.mark.parametrize("call", ['os, system, [<<"true">>]', 'builtins, eval, [<<"1">>]', "py, add, []"])
    async def test_nothing_else_can_be_called(self, pair: Cluster, call: str) -> None:
        pair.node.exports.add("py", "add", lambda one, two: one + two)
        module, function, arguments = (part.strip() for part in call.split(",", 2))
        expected = f"{{badrpc,{{'EXIT',{{undef,[{{{module},{function},{arguments},[]}}]}}}}}}"
        assert await pair.eval(f"rpc:call(PY, {call})") == expected
        # What a BEAM says of a function of its own that is not there.
        there = await pair.eval("rpc:call(node(), no, such, [])")
        assert there == "{badrpc,{'EXIT',{undef,[{no,such,[],[]}]}}}"

    async def test_rex(self, pair: Cluster) -> None:
        pair.node.exports.add("py", "add", lambda one, two: one + two)
        assert await pair.eval("rpc:block_call(PY, py, add, [1, 2])") == "3"
        assert await pair.eval(
            "gen_server:call({rex, PY}, {call, py, nothing, [], group_leader()})"
        ) == await pair.eval("gen_server:call(rex, {call, py, nothing, [], group_leader()})")

    async def test_casts(self, pair: Cluster) -> None:
        got: asyncio.Queue[Any] = asyncio.Queue()
        pair.node.exports.add("py", "note", got.put_nowait)
        await pair.eval("erpc:cast(PY, py, note, [1]), rpc:cast(PY, py, note, [2])")
        assert {await got.get(), await got.get()} == {1, 2}


class TestMonitorsAndLinks:
    async def test_the_beam_monitors_us(self, pair: Cluster) -> None:
        async def body(process: Process) -> None:
            await process.receive()

        pair.node.spawn(body, name="mortal")
        await pair.eval("Ref = monitor(process, {mortal, PY}), {mortal, PY} ! stop")
        got = await pair.eval("receive {'DOWN', Ref, process, Object, Reason} -> {Object, Reason} end")
        assert got == f"{{{{mortal,'{pair.node.name}'}},normal}}"

    async def test_we_monitor_the_beam(self, pair: Cluster) -> None:
        await pair.eval("register(mortal, spawn(fun() -> receive R -> exit(R) end end))")
        got: asyncio.Queue[Any] = asyncio.Queue()
        watcher = pair.node.spawn(lambda _, message: got.put_nowait(message))
        target = (Atom("mortal"), Atom(pair.beam_name))
        reference = watcher.monitor(target)
        watcher.send(target, (Atom("because"), 1))
        assert await got.get() == (
            Atom("DOWN"), reference, Atom("process"), target, (Atom("because"), 1)
        )  # fmt: skip

    async def test_noproc_both_ways(self, pair: Cluster) -> None:
        got: asyncio.Queue[Any] = asyncio.Queue()
        watcher = pair.node.spawn(lambda _, message: got.put_nowait(message))
        watcher.monitor(("nobody", pair.beam_name))
        assert (await got.get())[4] == Atom("noproc")
        reason = "Ref2 = monitor(process, {nobody, PY}), receive {'DOWN', Ref2, _, _, R} -> R end"
        assert await pair.eval(reason) == "noproc"

    async def test_noconnection_when_the_beam_is_killed(self, pair: Cluster) -> None:
        if pair.carrier == "quic":
            pytest.skip("a killed BEAM says no goodbye over QUIC: ticks tell, in tests of their own")
        got: asyncio.Queue[Any] = asyncio.Queue()
        watcher = pair.node.spawn(lambda _, message: got.put_nowait(message))
        await pair.node.connect(pair.beam_name)
        watcher.monitor(("net_kernel", pair.beam_name))
        pair.beam.kill()
        assert (await got.get())[4] == Atom("noconnection")

    async def test_a_crash_with_its_traceback_over_a_link(self, pair: Cluster) -> None:
        async def body(process: Process) -> None:
            process.link(await process.receive())
            raise ValueError("no good")

        pair.node.spawn(body, name="crasher")
        got = await pair.eval(
            "process_flag(trap_exit, true), {crasher, PY} ! self(), "
            "receive {'EXIT', From, {Error, [{_, _, _, [{file, File}, {line, _}]} | _]}} -> "
            "{node(From), Error, filename:basename(File)} end"
        )
        expected = '{python_error,<<"ValueError">>,<<"no good">>}'
        assert got == f"{{'{pair.node.name}',{expected},\"test_join.py\"}}"


class TestGenServer:
    async def test_calls_out(self, pair: Cluster) -> None:
        await pair.eval(
            "register(adder, spawn(fun() -> F = fun(G) -> receive {'$gen_call', From, {A, B}} -> "
            "gen:reply(From, A + B), G(G) end end, F(F) end))"
        )
        assert await pair.node.gen_server_call(("adder", pair.beam_name), (1, 2)) == 3
        with pytest.raises(ProcessEnded):
            await pair.node.gen_server_call(("adder", pair.beam_name), (1, Atom("x")))
        with pytest.raises(NoSuchProcess, match="adder"):
            await pair.node.gen_server_call(("adder", pair.beam_name), (1, 2))


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_wrong_cookie_both_ways(
    carrier: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster(carrier, tmp_path, beam_cookie="other") as pair:
        assert await pair.eval("net_adm:ping(PY)") == "pang"
        assert pair.beam_name in caplog.text
        assert "cookie" in caplog.text
        with pytest.raises(NotConnected) as caught:
            await pair.node.connect(pair.beam_name)
        # quic_dist before 2.0 says nothing.
        known = (HandshakeError, SetupTimeout)
        assert any(
            isinstance(attempt, known) and "cookie" in str(attempt) for attempt in caught.value.attempts
        )
        assert pair.node.nodes("connected") == []
