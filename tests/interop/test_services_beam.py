"""The services of a Python node, asked by a BEAM: it sees what it would see of another BEAM."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    HIBERNATE,
    Atom,
    CallTimeout,
    ChildSpec,
    Continue,
    GenServer,
    Global,
    NameRegistered,
    NodeError,
    NoReply,
    NoSuchProcess,
    NotConnected,
    Pid,
    Process,
    ProcessEnded,
    ProcessExit,
    RemoteError,
    Reply,
    Stop,
    Supervisor,
    Via,
    binary_to_term,
    current_call,
)
from tests.interop.carriers import CARRIERS
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams
from tests.interop.erlang_snippets import (
    APART,
    CALLS,
    CHILD_SPECS,
    COUNTER_ERL,
    GEN_SERVER,
    INTROSPECTION,
    IO,
    NET_KERNEL,
    PY_ERL,
    SIMPLE_ONE_FOR_ONE,
    SUPERVISOR,
    SUPERVISOR_ERL,
    SYS,
)

OK = Atom("ok")


#: The processes that run ``py:hangs/0``.
WHAT_HANGS = "[P || P <- processes(), {_, {py, hangs, 0}} <- [process_info(P, current_function)]]"
KILL_WHAT_HANGS = f"[exit(P, kill) || P <- {WHAT_HANGS}]"


class Counter(GenServer):
    """COUNTER_ERL in Python."""

    def __init__(self) -> None:
        self.count: Any = 0
        self.asked: list[Any] = []

    def get_state(self) -> Any:
        return {Atom("count"): self.count, Atom("asked"): self.asked}

    def replace_state(self, state: Any) -> None:
        self.count, self.asked = state[Atom("count")], state[Atom("asked")]

    async def handle_call(self, request: Any, sender: Any) -> Any:
        await asyncio.sleep(0)
        match request:
            case Atom(name="get"):
                return self.count
            case (Atom(name="add"), amount):
                self.count += amount
                return self.count
            case Atom(name="later"):
                self.asked.append(sender)
                return NoReply()
            case (Atom(name="then"), term):
                return Reply(Atom("first"), Continue(term))
            case (Atom(name="wait"), milliseconds):
                self.asked.append(sender)
                return NoReply(milliseconds / 1000)
            case (Atom(name="wait_replied"), milliseconds):
                return Reply(OK, milliseconds / 1000)
            case (Atom(name="stop"), reason):
                return Stop(reason, Atom("stopped"))
            case (Atom(name="stop_silent"), reason):
                return Stop(reason)
            case Atom(name="sleep"):
                return Reply(Atom("slept"), HIBERNATE)
            case (Atom(name="leave"), reason):
                raise ProcessExit(reason)
        return None

    def handle_cast(self, request: Any) -> Any:
        match request:
            case (Atom(name="add"), amount):
                self.count += amount
            case (Atom(name="stop"), reason):
                return Stop(reason)
            case (Atom(name="monitor"), what):
                self.process.monitor(what)
            case _:
                for sender in self.asked:
                    self.reply(sender, (Atom("counted"), self.count))
                self.asked = []
        return None

    def handle_info(self, message: Any) -> None:
        match message:
            case (Atom(name="add"), amount):
                self.count += amount
            case Atom(name="timeout"):
                for sender in self.asked:
                    self.reply(sender, Atom("timed_out"))
                self.asked, self.count = [], -1

    def handle_continue(self, argument: Any) -> None:
        self.count = (argument, self.count)

    def code_change(self, old_version: Any, extra: Any) -> None:
        if not isinstance(extra, int):
            raise ProcessExit((Atom("no"), old_version))
        self.count += extra

    def terminate(self, reason: Any) -> None:
        if self.process.node.whereis("undertaker"):
            self.process.send("undertaker", (Atom("terminated"), reason))


def offer(conformance: ConformancePair) -> None:
    """PY_ERL in Python."""
    node = conformance.node

    @node.export("py")
    def add(one: int, two: int) -> int:
        return one + two

    @node.export("py")
    async def later(term: Any) -> Any:
        await asyncio.sleep(0.005)
        return term

    @node.export("py")
    def leaves() -> None:
        raise ProcessExit(Atom("gone"))

    @node.export("py")
    def throws() -> None:
        raise RemoteError("throw", Atom("ball"))

    @node.export("py")
    async def fails() -> None:
        raise RemoteError("error", Atom("oops"), [(Atom("py"), Atom("fails"), 0, [])])

    @node.export("py")
    def tell(pid: Any, term: Any) -> Any:
        node.send(pid, term)
        return term

    @node.export("py")
    async def hangs() -> None:
        await asyncio.Event().wait()


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(
        request.param, tmp_path_factory.mktemp("beams"), [PY_ERL, COUNTER_ERL, SUPERVISOR_ERL]
    ) as both:
        yield both


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    """Our node with what PY_ERL has."""
    async with conformance_pair(beams) as both:
        offer(both)
        yield both


@pytest_asyncio.fixture
async def counters(conformance: ConformancePair) -> AsyncIterator[ConformancePair]:
    """Our node and the model with a server ``counter``."""
    conformance.node.serve(Counter(), name="counter")
    await conformance.model.eval("counter:start()")
    yield conformance
    await conformance.model.eval("catch gen_server:stop(counter)")


@pytest.mark.usefixtures("stops_soon")
class TestRpcServer:
    @pytest.mark.parametrize("call", CALLS)
    async def test_call(self, conformance: ConformancePair, call: str) -> None:
        got = await conformance.same(f"{APART} Apart(fun() -> {CALLS[call]} end)")
        assert "died" not in got

    async def test_server_calls_and_broadcasts(self, conformance: ConformancePair) -> None:
        def plain(process: Process, message: Any) -> None:
            match message:
                case (sender, body):
                    process.send(sender, (Atom("plain"), Atom(conformance.node.name), (Atom("got"), body)))
                case _:
                    process.send(message, Atom("alone"))

        conformance.node.spawn(plain, name="plain")
        await conformance.model.eval(
            "register(plain, spawn(fun() -> (fun F() -> receive {P, M} -> P ! {plain, node(), {got, M}}; "
            "P -> P ! alone end, F() end)() end))"
        )
        assert await conformance.same("rpc:server_call(PEER, plain, plain, snippet)") == "{got,snippet}"
        assert await conformance.same("rpc:server_call(PEER, nobody, plain, snippet)") == "{error,nodedown}"
        assert (
            await conformance.same("rpc:multi_server_call([PEER, 'nobody@127.0.0.1'], plain, q)")
            == "{[{got,q}],['nobody@127.0.0.1']}"
        )
        assert await conformance.same("rpc:sbcast([PEER], plain, self()), receive alone -> ok end") == "ok"
        assert await conformance.same("rpc:sbcast([PEER], plain, self())") == "{[PEER],[]}"
        assert await conformance.same("rpc:sbcast([PEER], nobody, self())") == "{[],[PEER]}"
        assert await conformance.same("rpc:abcast([PEER], plain, self()), receive alone -> ok end") == "ok"
        await conformance.eval("(fun F() -> receive _ -> F() after 0 -> ok end end)()")

    async def test_an_abandoned_call_goes_on(self, conformance: ConformancePair) -> None:
        """As in OTP: the caller has given up, the function has not, and nobody monitors it."""
        going_on = asyncio.Event()
        process: list[Process] = []

        @conformance.node.export("py")
        async def wait_for_it() -> None:
            process.append(current_call().process)
            await going_on.wait()
            conformance.node.send(("beam_evaluator", conformance.beam_name), Atom("went_on"))

        timeout = "{'EXIT',{{erpc,timeout},"
        assert (await conformance.eval("catch erpc:call(PEER, py, wait_for_it, [], 100)")).startswith(timeout)
        assert process
        going_on.set()
        assert await conformance.eval("receive went_on -> ok end") == "ok"

    async def test_who_calls(self, conformance: ConformancePair) -> None:
        @conformance.node.export("py")
        def caller() -> Any:
            return current_call().caller

        assert await conformance.eval("rpc:call(PEER, py, caller, []) =:= self()") == "true"
        rex = "gen_server:call({rex, PEER}, {call, py, caller, [], group_leader()}) =:= self()"
        assert await conformance.eval(rex) == "true"

    async def test_namespaces(self, conformance: ConformancePair) -> None:
        import math

        conformance.node.exports.add_namespace("py", {"math": math, "twice": lambda x: 2 * x})
        assert (
            await conformance.eval("{rpc:call(PEER, 'py.math', sqrt, [16]), rpc:call(PEER, py, twice, [2])}")
            == "{4.0,4}"
        )
        undef = await conformance.eval("rpc:call(PEER, 'py.math', '__loader__', [])")
        assert undef.startswith("{badrpc,{'EXIT',{undef,")


class TestGenServer:
    @pytest.mark.parametrize("call", GEN_SERVER)
    async def test_call(self, counters: ConformancePair, call: str) -> None:
        @counters.node.export("py")
        def pid_of(name: Atom) -> Pid:
            process = counters.node.whereis(name.name)
            assert process is not None
            return process.pid

        source = GEN_SERVER[call]
        got = await counters.same(f"{APART} Apart(fun() -> try {source} catch Cl:Rs -> {{Cl, Rs}} end end)")
        assert "badmatch" not in got
        assert "undef" not in got

    @pytest.mark.parametrize("call", SYS)
    async def test_sys(self, counters: ConformancePair, call: str) -> None:
        got = await counters.same(
            f"{APART} Apart(fun() -> try {SYS[call]} catch Cl:Rs -> {{Cl, Rs}} end end)"
        )
        assert "badmatch" not in got

    async def test_a_crash(self, counters: ConformancePair) -> None:
        """The caller gets ``{Reason, Stack}``, and the reason is the Python exception."""
        counters.node.serve(GenServer(), name="mute")
        got = await counters.eval(
            "try gen_server:call({mute, PEER}, hello) "
            "catch exit:{{{python_error, Class, Text}, [{_, F, _, _} | _]}, {gen_server, call, _}} ->"
            " {Class, Text, F} end"
        )
        assert got == (
            '{<<"NotImplementedError">>,<<"GenServer has no handle_call,'
            " got Atom('hello')\">>,'GenServer.handle_call'}"
        )

    async def test_terminate_is_called_before_others_hear_of_the_end(self, counters: ConformancePair) -> None:
        reasons: list[Any] = []
        counters.node.spawn(lambda _, message: reasons.append(message), name="undertaker")
        await counters.eval("gen_server:call({counter, PEER}, {stop, {shutdown, x}})")
        assert reasons == [(Atom("terminated"), (Atom("shutdown"), Atom("x")))]


class TestClients:
    """What our node asks of a BEAM; the answers are OTP's own by their nature."""

    async def test_erpc(self, conformance: ConformancePair) -> None:
        node, model = conformance.node, conformance.model_name
        assert await node.erpc.call(model, "py", "add", [1, 2]) == 3
        request = node.erpc.send_request(model, "py", "later", [Atom("x")])
        assert not await request.wait_response(0)
        assert await request == Atom("x")
        requests = [node.erpc.send_request(model, "py", "add", [n, n]) for n in range(3)]
        assert await asyncio.gather(*requests) == [0, 2, 4]
        with pytest.raises(CallTimeout, match="py:hangs/0"):
            await node.erpc.send_request(model, "py", "hangs").receive_response(0.02)

    async def test_what_failed_keeps_class_reason_and_stack(self, conformance: ConformancePair) -> None:
        async def raised(function: str) -> RemoteError:
            with pytest.raises(RemoteError) as caught:
                await conformance.node.erpc.call(conformance.model_name, "py", function)
            return caught.value

        error = await raised("fails")
        assert (error.kind, error.reason) == ("error", Atom("oops"))
        assert error.stack is not None
        assert error.stack[0][:3] == (Atom("py"), Atom("fails"), 0)
        assert (await raised("leaves")).kind == "exit"
        assert (await raised("throws")).reason == Atom("ball")

    async def test_multicall(self, conformance: ConformancePair) -> None:
        nodes = [conformance.beam_name, "nobody@127.0.0.1", conformance.model_name]
        results = await conformance.node.erpc.multicall(nodes, "py", "add", [1, 2])
        assert (results[0], results[2]) == (3, 3)
        assert isinstance(results[1], NotConnected)
        assert await conformance.node.rpc.multicall(nodes, "py", "add", [1, 2]) == (
            [3, 3],
            ["nobody@127.0.0.1"],
        )
        left = (Atom("badrpc"), (Atom("EXIT"), Atom("gone")))
        assert await conformance.node.rpc.multicall([conformance.model_name], "py", "leaves") == ([left], [])
        assert await conformance.node.rpc.multicall(
            [conformance.model_name], "py", "hangs", timeout=0.02
        ) == (
            [],
            [conformance.model_name],
        )

    async def test_an_abandoned_call_is_no_longer_monitored(self, conformance: ConformancePair) -> None:
        """As ``erpc`` does: the process lives, and nobody waits for its end."""
        await conformance.model.eval(KILL_WHAT_HANGS)  # left behind by other tests
        with pytest.raises(CallTimeout):
            await conformance.node.erpc.call(conformance.model_name, "py", "hangs", timeout=0.05)
        await conformance.node.is_auth(conformance.model_name)
        assert (
            await conformance.model.eval(f"[process_info(P, monitored_by) || P <- {WHAT_HANGS}]")
            == "[{monitored_by,[]}]"
        )

    async def test_block_call_and_broadcasts(self, conformance: ConformancePair) -> None:
        rpc, nodes = conformance.node.rpc, [conformance.beam_name, conformance.model_name]
        assert await rpc.block_call(nodes[1], "py", "add", [1, 2]) == 3
        with pytest.raises(RemoteError, match="gone"):
            await rpc.block_call(nodes[1], "py", "leaves")
        got: asyncio.Queue[Any] = asyncio.Queue()
        sink = conformance.node.spawn(lambda _, message: got.put_nowait(message))
        await conformance.model.eval(
            "register(echo, spawn(fun() -> (fun F() -> receive {P, M} -> P ! {echo, node(), M} end,"
            " F() end)() end))"
        )
        assert await rpc.sbcast(nodes, "echo", (sink.pid, Atom("hi"))) == ([nodes[1]], [nodes[0]])
        assert await got.get() == (Atom("echo"), Atom(nodes[1]), Atom("hi"))
        rpc.abcast(nodes, "echo", (sink.pid, Atom("hello")))
        assert (await got.get())[2] == Atom("hello")
        assert await rpc.server_call(nodes[1], "echo", Atom("echo"), 1) == 1
        assert await rpc.multi_server_call(nodes, "echo", 2) == ([2], [nodes[0]])
        await conformance.model.eval("exit(whereis(echo), kill)")

    async def test_gen_server(self, counters: ConformancePair) -> None:
        there, client = ("counter", counters.model_name), counters.node.gen_server
        assert await client.call(there, (Atom("add"), 2)) == 2
        client.cast(there, (Atom("add"), 1))
        assert await client.send_request(there, Atom("get")) == 3
        request = client.send_request(there, Atom("later"))
        assert not await request.wait_response(0.02)
        client.abcast([there[1]], "counter", Atom("answer"))
        assert await request == (Atom("counted"), 3)
        nodes = [counters.beam_name, counters.model_name, counters.node.name]
        assert await client.multi_call(nodes, "counter", Atom("get")) == (
            [(nodes[1], 3), (nodes[2], 0)],
            [nodes[0]],
        )
        with pytest.raises(CallTimeout, match="counter"):
            await client.call(there, Atom("later"), timeout=0.02)
        with pytest.raises(ProcessEnded) as caught:
            await client.call(there, (Atom("leave"), Atom("bye")))
        assert caught.value.reason == Atom("bye")
        with pytest.raises(NoSuchProcess):
            await client.call(there, Atom("get"))

    async def test_a_call_in_the_name_of_a_process(self, conformance: ConformancePair) -> None:
        await conformance.model.eval(
            "register(who, spawn(fun() -> receive {'$gen_call', {P, _} = From, who} -> gen:reply(From,"
            " P) end end))"
        )
        process = conformance.node.spawn(lambda _, message: None)
        assert (
            await conformance.node.gen_server.call(
                ("who", conformance.model_name), Atom("who"), process=process
            )
            == process.pid
        )

    async def test_sys(self, counters: ConformancePair) -> None:
        there, sys = ("counter", counters.model_name), counters.node.sys
        assert await sys.get_state(there) == {Atom("count"): 0, Atom("asked"): []}
        assert (await sys.get_status(there))[2] == (Atom("module"), Atom("gen_server"))
        await sys.suspend(there)
        request = counters.node.gen_server.send_request(there, (Atom("add"), 1))
        assert not await request.wait_response(0.02)
        await sys.resume(there)
        assert await request == 1
        await sys.terminate(there, (Atom("shutdown"), 1))
        await counters.model.eval("counter:start()")
        await counters.node.gen_server.stop(there)
        assert await counters.model.eval("whereis(counter)") == "undefined"

    async def test_global_names(self, counters: ConformancePair) -> None:
        node = counters.node
        await node.connect(counters.model_name)
        await counters.model.eval("yes = global:register_name({the, counter}, whereis(counter))")
        name = Global((Atom("the"), Atom("counter")))
        assert await node.gen_server.call(name, (Atom("add"), 4)) == 4
        node.gen_server.cast(name, (Atom("add"), 1))
        assert await node.gen_server.call(name, Atom("get")) == 5
        with pytest.raises(NoSuchProcess, match="nobody"):
            await node.gen_server.call(Global("nobody"), Atom("get"))
        # And a process of ours, by a global name.
        ours = node.whereis("counter")
        assert ours is not None
        assert await node.global_names.register_name("py_counter", ours)
        assert not await node.global_names.register_name("py_counter", ours)
        assert await counters.model.eval("gen_server:call({global, py_counter}, {add, 1})") == "1"
        await node.global_names.unregister_name("py_counter")
        assert await node.global_names.whereis_name("py_counter") is None
        assert await node.global_names.register_name("py_counter", ours)
        ours.stop()
        gone = "(fun F() -> case global:whereis_name(py_counter) of undefined -> gone; _ -> F() end end)()"
        assert await counters.model.eval(gone) == "gone"


class TestNames:
    """``{global, Name}`` and ``{via, Module, Name}``, wherever a server is named."""

    @pytest.fixture(params=["global", "via"])
    def name(self, request: pytest.FixtureRequest) -> Any:
        name = (Atom("the"), Atom("counter"))
        return Global(name) if request.param == "global" else Via("global", name)

    async def test_of_a_server_of_a_beam(self, counters: ConformancePair, name: Any) -> None:
        node = counters.node
        await node.connect(counters.model_name)
        await counters.model.eval("yes = global:register_name({the, counter}, whereis(counter))")
        # In the order they were made, though each name is looked up anew.
        node.gen_server.cast(name, (Atom("add"), 1))
        first = node.gen_server.send_request(name, (Atom("add"), 10))
        node.send(name, (Atom("add"), 100))
        second = node.gen_server.send_request(name, (Atom("add"), 1000))
        assert [await first, await second] == [11, 1111]
        assert await node.gen_server_call(name, Atom("get")) == 1111
        assert (await node.sys.get_state(name))[Atom("count")] == 1111
        with pytest.raises(CallTimeout, match="counter"):
            await node.gen_server.call(name, Atom("later"), timeout=0.02)
        await node.gen_server.stop(name)
        assert await counters.model.eval("whereis(counter)") == "undefined"
        with pytest.raises(NoSuchProcess, match="counter"):
            await node.gen_server.call(name, Atom("get"))

    async def test_of_a_server_of_ours(self, counters: ConformancePair, name: Any) -> None:
        node, there = counters.node, "{global, {the, counter}}"
        await node.connect(counters.model_name)
        process = await node.gen_server.start(Counter(), name=name)
        assert process is not None
        assert await counters.model.eval(f"gen_server:call({there}, {{add, 1}})") == "1"
        assert await node.gen_server.call(name, Atom("get")) == 1
        with pytest.raises(NameRegistered):
            await node.gen_server.start(Counter(), name=name)
        process.stop()
        gone = (
            "(fun F() -> case global:whereis_name({the, counter}) of undefined -> gone; _ -> F() end end)()"
        )
        assert await counters.model.eval(gone) == "gone"
        # Without waiting: what is sent meanwhile waits for init.
        again = node.serve(Counter(), name=name)
        assert await node.gen_server.call(again, Atom("get")) == 0
        assert await counters.model.eval(f"gen_server:call({there}, {{stop, normal}})") == "stopped"
        assert await counters.model.eval(gone) == "gone"

    async def test_a_name_that_is_taken(self, counters: ConformancePair, name: Any) -> None:
        """A supervisor is told who has it, as by ``start_link``."""

        @counters.node.exports.child("py", "named", name=name)
        class Named(Counter): ...

        await counters.node.connect(counters.model_name)
        await counters.model.eval("yes = global:register_name({the, counter}, whereis(counter))")
        got = await counters.model.eval(
            f"(fun() -> case rpc:call('{counters.node.name}', py, named, []) of"
            " {error, {already_started, Pid}} -> Pid =:= whereis(counter); Other -> Other end end)()"
        )
        assert got == "true"
        await counters.model.eval("global:unregister_name({the, counter})")


class TestNetKernel:
    @pytest.mark.parametrize("call", NET_KERNEL)
    async def test_asked_by_a_beam(self, conformance: ConformancePair, call: str) -> None:
        await conformance.same(
            f"{APART} Apart(fun() -> try {NET_KERNEL[call]} catch Cl:Rs -> {{Cl, Rs}} end end)"
        )

    async def test_nodes(self, conformance: ConformancePair) -> None:
        node, name = conformance.node, conformance.beam_name
        assert node.nodes("known") == [node.name]
        await node.connect(name)
        assert (node.nodes(), node.nodes("hidden"), node.nodes("connected")) == ([], [name], [name])
        assert node.nodes("hidden", "this") == [name, node.name]
        node.disconnect(name)
        assert node.nodes("connected") == []
        assert node.nodes("known") == [name, node.name]

    async def test_monitor_nodes(self, conformance: ConformancePair) -> None:
        """The messages that a BEAM gets for a hidden node, for the same options."""
        node, model = conformance.node, Atom(conformance.model_name)
        options: list[Any] = [
            [("node_type", Atom("all"))],
            ["nodedown_reason", ("node_type", Atom("hidden"))],
            {"node_type": Atom("all"), "nodedown_reason": True},
            {"node_type": "visible"},
            None,
        ]
        got: list[list[Any]] = []
        for option in options:
            messages: list[Any] = []
            got.append(messages)
            to = node.spawn(lambda _, message, kept=messages: kept.append(message))
            node.net_kernel.monitor_nodes(to, options=option)
        await node.connect(conformance.model_name)
        node.disconnect(conformance.model_name)
        up, down, kind = Atom("nodeup"), Atom("nodedown"), (Atom("node_type"), Atom("hidden"))
        reason = (Atom("nodedown_reason"), Atom("disconnect"))
        assert got == [
            [(up, model, [kind]), (down, model, [kind])],
            [(up, model, [kind]), (down, model, [reason, kind])],
            [(up, model, dict([kind])), (down, model, dict([kind, reason]))],
            [],
            [],
        ]

    async def test_allow(self, conformance: ConformancePair) -> None:
        conformance.node.net_kernel.allow([conformance.model_name])
        assert await conformance.eval("net_adm:ping(PEER)") == "pang"
        with pytest.raises(NotConnected, match="allow"):
            await conformance.node.connect(conformance.beam_name)
        assert await conformance.node.ping(conformance.model_name)
        assert await conformance.model.eval(
            f"gen_server:call({{net_kernel, '{conformance.node.name}'}}, allowed)"
        ) == (f"{{ok,['{conformance.model_name}']}}")

    async def test_a_cookie_for_one_node(self, conformance: ConformancePair) -> None:
        await conformance.model.eval(f"erlang:set_cookie('{conformance.node.name}', other)")
        assert not await conformance.node.ping(conformance.model_name)
        conformance.node.net_kernel.set_cookie(conformance.model_name, "other")
        assert await conformance.node.ping(conformance.model_name)
        assert await conformance.node.ping(conformance.beam_name)
        await conformance.model.eval(f"erlang:set_cookie('{conformance.node.name}', erlang:get_cookie())")


class TestPublished:
    """A node that is not hidden. With ``connect_all=False`` it takes no part in ``global``, as a BEAM with
    ``-connect_all false``."""

    async def test_names_and_locks_of_global_are_shared(self, beams: Beams) -> None:
        async with conformance_pair(beams, hidden=False) as conformance:
            node, names = conformance.node, conformance.node.global_names
            own = node.spawn(lambda *_: None)
            assert await names.register_name("before", own)
            await conformance.eval("yes = global:register_name(of_beam, self())")
            await node.connect(conformance.beam_name)
            assert await conformance.eval("global:sync(), lists:sort(global:registered_names())") == (
                "[before,of_beam]"
            )
            await names.sync()
            assert await names.whereis_name("of_beam") is not None
            assert await names.register_name("after", node.spawn(lambda *_: None))
            assert await conformance.eval("node(global:whereis_name('after'))") == f"'{node.name}'"
            assert await conformance.eval("global:set_lock({resource, self()})") == "true"
            assert not await names.set_lock(("resource", "other"), retries=0)
            await conformance.eval("global:del_lock({resource, self()}), global:unregister_name(of_beam)")
            assert await names.whereis_name("of_beam") is None

    async def test_global_answers_as_that_of_a_beam(self, beams: Beams) -> None:
        there = "There = fun(F, A) -> rpc:call(PEER, global, F, A) end, "
        ask = "Ask = fun(R) -> gen_server:call({global_name_server, PEER}, R) end, "
        holder = "spawn(fun() -> receive stop -> ok end end)"
        async with conformance_pair(beams, hidden=False) as conformance:
            for source in (
                f"{ask} [Ask(R) || R <- [get_protocol_version, get_names_ext, {{unregister, nobody}}]]",
                f"{ask} tuple_size(Ask(info))",
                f"{ask} [lists:member(node(), Ask(get_known)), lists:member(node(), Ask(get_synced))]",
                f"{there} [There(sync, []), There(sync, [[node(), PEER]]), There(whereis_name, [nobody])]",
                f"{there} P = {holder}, R = [There(register_name, [a, P]), There(register_name, [a, P]),"
                " There(register_name, [b, P]), There(whereis_name, [a]) =:= P, global:whereis_name(a) =:= P,"
                " There(registered_names, []), There(unregister_name, [a]), global:registered_names()], R",
                *(
                    f"{there} [There(register_name, [a, {holder}, {method}]), There(unregister_name, [a])]"
                    for method in ("fun global:notify_all_name/3", "{global, random_notify_name}")
                ),
                f"{there} [There(re_register_name, [a, self()]), There(send, [a, hello]) =:= self(),"
                " receive hello -> got end, There(unregister_name, [a])]",
                f"{there} There(send, [nobody, hello])",
                f"{there} There(register_name, [a, no_pid]) =:= ok",
                f"{there} [There(register_name_external, [a, {holder}]), length(There(registered_names, [])),"
                " There(unregister_name_external, [a])]",
                "[global:set_lock({r, 1}, [PEER], 0), global:set_lock({r, 1}, [PEER], 0),"
                " global:set_lock({r, 2}, [PEER], 0), global:del_lock({r, 2}, [PEER]),"
                " global:set_lock({r, 2}, [PEER], 0), global:del_lock({r, 1}, [PEER]),"
                " global:set_lock({r, 2}, [PEER], 0), global:del_lock({r, 2}, [PEER])]",
                f"{there} [There(set_lock, [{{r, 1}}]), There(set_lock, [{{r, 1}}, [node(), PEER], 0]),"
                " There(del_lock, [{r, 1}]), There(del_lock, [{r, 1}, [node()]])]",
                "{P, M} = spawn_monitor(fun() -> global:set_lock({r, 1}, [PEER], 0), exit(done) end),"
                " receive {'DOWN', M, process, P, done} -> global:set_lock({r, 2}, [PEER]) end",
                "global:del_lock({r, 2}, [PEER])",
                "global:trans({r, self()}, fun() -> inside end, [node(), PEER])",
                f"{there} P = {holder}, [There(resolve_it, [fun global:F/3, a, P, P]) =:= V"
                " || {F, V} <- [{random_notify_name, P}, {notify_all_name, none}]]",
                f"{there} P = {holder}, There(resolve_it, [{{no, fun_}}, a, P, P]) =:= P",
                # The default, a local fun of the module global.
                f"{there} [P, Q] = [{holder}, {holder}], yes = global:register_name(a, P),"
                " [{a, P, Method, _}] = ets:lookup(global_names, a), M = monitor(process, P),"
                " Kept = There(resolve_it, [Method, a, P, Q]),"
                " receive {'DOWN', M, _, _, R} -> {Kept =:= Q, erlang:fun_info(Method, type), R} end",
            ):
                await conformance.node.connect(conformance.beam_name)
                await conformance.model.eval(f"pong = net_adm:ping('{conformance.beam_name}')")
                await conformance.same(
                    "net_adm:ping(PEER), ok = global:sync([PEER]), "
                    f"ok = rpc:call(PEER, global, sync, [[node()]]), {source}"
                )

    async def test_nobody_loses_a_connection_for_it(self, beams: Beams) -> None:
        async with conformance_pair(beams, hidden=False, connect_all=False) as conformance:
            node, one, two = conformance.node, conformance.beam_name, conformance.model_name
            await conformance.model.eval(f"pong = net_adm:ping('{one}'), ok = global:sync(['{one}'])")
            await node.connect(one)
            await node.connect(two)
            assert node.nodes() == [one, two]
            assert await conformance.eval("lists:member(PEER, nodes())") == "true"
            # global goes on for the others.
            assert await conformance.eval("global:trans({lock, self()}, fun() -> done end)") == "done"
            assert await conformance.eval("global:register_name(some_name, self())") == "yes"
            assert await conformance.model.eval("is_pid(global:whereis_name(some_name))") == "true"
            await conformance.eval("global:unregister_name(some_name)")
            await conformance.eval("monitor_node(PEER, true)")
            node.disconnect(one)
            await conformance.eval("receive {nodedown, PEER} -> ok end")
            # What global does about it, it has done when it answers.
            for beam in (conformance.beam, conformance.model):
                await beam.eval("sys:get_status(global_name_server)")
            assert await conformance.eval(f"lists:member('{two}', nodes())") == "true"
            assert await node.ping(two)


class TestSupervisedByABeam:
    async def start(
        self, conformance: ConformancePair, function: str, flags: str = "#{intensity => 5, period => 1}"
    ) -> None:
        child = f"#{{id => py, start => {{rpc, call, [PEER, py, {function}, [x]]}}, shutdown => 1000}}"
        await conformance.eval(f"register(sup, one_sup:start({{{flags}, [{child}]}}))")

    async def stop(self, conformance: ConformancePair) -> None:
        await conformance.eval(
            "case whereis(sup) of undefined -> ok; P -> M = monitor(process, P), exit(P, shutdown),"
            " receive {'DOWN', M, _, _, R} -> R end end"
        )

    async def test_a_server_is_started_linked_and_started_again(self, conformance: ConformancePair) -> None:
        started: asyncio.Queue[GenServer] = asyncio.Queue()

        @conformance.node.exports.child("py", "start_link", name="supervised")
        class Supervised(Counter):
            def __init__(self, argument: Any) -> None:
                super().__init__()
                assert argument == Atom("x")

            async def init(self) -> None:
                self.process.trap_exit = True
                started.put_nowait(self)

        await self.start(conformance, "start_link")
        first = await started.get()
        assert (
            await conformance.eval(
                "[{py, P, worker, [rpc]}] = supervisor:which_children(sup), "
                "{links, L} = process_info(whereis(sup), links), {node(P), lists:member(P, L)}"
            )
            == f"{{'{conformance.node.name}',true}}"
        )
        # It crashes, is killed, and ends in order: a permanent child is started each time.
        await conformance.eval("catch gen_server:call({supervised, PEER}, {leave, crash})")
        await started.get()
        await conformance.eval("[{py, P, _, _}] = supervisor:which_children(sup), exit(P, kill)")
        await started.get()
        await conformance.eval("gen_server:call({supervised, PEER}, {stop, normal})")
        last = await started.get()
        assert not first.process.alive
        assert await conformance.eval("gen_server:call({supervised, PEER}, get)") == "0"
        await self.stop(conformance)
        assert last.process.exit_reason == Atom("shutdown")

    async def test_the_body_of_a_process(self, conformance: ConformancePair) -> None:
        @conformance.node.exports.child("py")
        async def body(process: Process, argument: Any) -> None:
            process.send(await process.receive(), argument)

        await self.start(conformance, "body")
        for _ in range(3):
            assert (
                await conformance.eval(
                    "(fun F() -> case supervisor:which_children(sup) of "
                    "[{py, P, _, _}] when is_pid(P) -> M = monitor(process, P), P ! self(), "
                    "X = receive x -> x end, receive {'DOWN', M, _, _, normal} -> X end; _ -> F() end end)()"
                )
                == "x"
            )
        await self.stop(conformance)

    async def test_what_cannot_start(self, conformance: ConformancePair) -> None:
        @conformance.node.exports.child("py")
        class Fails(GenServer):
            def __init__(self, _: Any) -> None: ...

            def init(self) -> Stop:
                return Stop(Atom("not_today"))

        got = await conformance.eval(
            f"{APART} Apart(fun() -> process_flag(trap_exit, true),"
            " Child = #{id => py, start => {rpc, call, [PEER, py, 'Fails', [x]]}},"
            " supervisor:start_link(one_sup, {#{}, [Child]}) end)"
        )
        assert got == "{error,{shutdown,{failed_to_start_child,py,not_today}}}"

    async def test_the_supervisor_gives_up(self, conformance: ConformancePair) -> None:
        servers: list[GenServer] = []

        @conformance.node.exports.child("py", "mortal")
        class Mortal(Counter):
            def __init__(self, _: Any) -> None:
                super().__init__()
                servers.append(self)

        await self.start(conformance, "mortal", "#{intensity => 1, period => 60}")
        assert (
            await conformance.eval(
                "M = monitor(process, sup), Kill = fun() -> [{py, P, _,"
                " _}] = supervisor:which_children(sup), "
                "W = monitor(process, P), exit(P, kill), receive {'DOWN', W, _, _, R} -> R end end, "
                "Kill(), Kill(), receive {'DOWN', M, _, _, Why} -> Why end"
            )
            == "shutdown"
        )
        assert len(servers) == 2


class TestSupervisorOfOurs:
    """A BEAM asks our supervisor what it asks its own."""

    @pytest_asyncio.fixture
    async def supervised(self, conformance: ConformancePair) -> AsyncIterator[ConformancePair]:
        specs = [
            ChildSpec("one", Counter),
            ChildSpec("two", Counter, restart="transient", shutdown="brutal_kill"),
            ChildSpec("three", Counter, restart="temporary", shutdown="infinity"),
        ]
        await conformance.node.gen_server.start(Supervisor(specs), name="sup")
        await conformance.model.eval(f"register(sup, one_sup:start({{#{{}}, {CHILD_SPECS}}}))")
        yield conformance
        await conformance.model.eval("catch gen_server:stop(sup)")

    @pytest.mark.parametrize("snippet", SUPERVISOR)
    async def test_snippet(self, supervised: ConformancePair, snippet: str) -> None:
        got = await supervised.same(f"{APART} Apart(fun() -> {SUPERVISOR[snippet]} end)")
        assert "died" not in got

    @pytest.mark.parametrize("snippet", SIMPLE_ONE_FOR_ONE)
    async def test_simple_one_for_one(self, conformance: ConformancePair, snippet: str) -> None:
        class Child(Counter):
            def __init__(self, _: Any) -> None:
                super().__init__()

        supervisor = Supervisor([ChildSpec("one", Child, restart="transient")], strategy="simple_one_for_one")
        await conformance.node.gen_server.start(supervisor, name="simple")
        await conformance.model.eval(
            "register(simple, one_sup:start({#{strategy => simple_one_for_one},"
            " [#{id => one, start => {gen_server, start_link, [counter, []]}, restart => transient}]}))"
        )
        got = await conformance.same(f"{APART} Apart(fun() -> {SIMPLE_ONE_FOR_ONE[snippet]} end)")
        assert "died" not in got
        await conformance.model.eval("catch gen_server:stop(simple)")


class TestIo:
    @pytest.mark.parametrize("snippet", IO)
    async def test_asked_by_a_beam(
        self, conformance: ConformancePair, snippet: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        conformance.node.exports.introspection()
        with (tmp_path / "out").open("w", encoding="utf-8") as out:
            monkeypatch.setattr("sys.stdout", out)
            user = "U = rpc:call(PEER, erlang, whereis, [user])"
            got = await conformance.same(f"{user}, {APART} Apart(fun() -> {IO[snippet]} end)")
        assert "died" not in got
        if snippet == "format":
            assert (tmp_path / "out").read_text() == '{a,"b"} åλ\n'

    async def test_a_device_of_a_beam(self, conformance: ConformancePair, tmp_path: Path) -> None:
        """Files, which OTP serves by the same protocol; and the group leader of who calls."""
        io, path = conformance.node.io, tmp_path / "device"
        to = await opened(conformance, f'file:open("{path}", [write, {{encoding, utf8}}])')
        await io.put_chars(to, "åλ one\n")
        print("two", 2, file=io.writer(to))
        with pytest.raises(NodeError, match=r"answered \{error,"):
            await io.request(to, Atom("nonsense"))
        print("three", end="", file=(writer := io.writer(to)))
        writer.flush()
        await io.put_chars(to, "\n")
        assert path.read_text() == "åλ one\ntwo 2\nthree\n"
        source = await opened(conformance, f'file:open("{path}", [read, {{encoding, utf8}}])')
        assert [await io.get_line(source) for _ in range(4)] == ["åλ one\n", "two 2\n", "three\n", ""]
        await conformance.model.eval("[exit(P, kill) || {_, P} <- get()], erase()")
        with pytest.raises(NoSuchProcess):
            await io.put_chars(to, "gone")
        with pytest.raises(CallTimeout, match="beam_evaluator"):
            await io.put_chars(("beam_evaluator", conformance.model_name), "nothing", timeout=0.02)


async def opened(conformance: ConformancePair, how: str) -> Pid:
    """A device that stays open."""
    source = f"(fun() -> {{ok, D}} = {how}, put(make_ref(), D), term_to_binary(D) end)()"
    pid = binary_to_term(await conformance.model.eval_bytes(source))
    assert isinstance(pid, Pid)
    return pid


class TestIntrospection:
    @pytest.mark.parametrize("snippet", INTROSPECTION)
    async def test_snippet(self, counters: ConformancePair, snippet: str) -> None:
        counters.node.exports.introspection()
        got = await counters.same(f"{APART} Apart(fun() -> {INTROSPECTION[snippet]} end)")
        assert "died" not in got

    async def test_only_if_it_is_wanted(self, counters: ConformancePair) -> None:
        assert "undef" in await counters.eval("rpc:call(PEER, erlang, processes, [])")
