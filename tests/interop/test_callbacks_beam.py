"""Callbacks of a server beside those of a BEAM: what ``init`` returns, a missing case, messages received in a
callback; and a child that a supervisor of a BEAM starts again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import ANY, IGNORE, Atom, Continue, GenServer, NoReply, ProcessEnded, ProcessExit, Reply, Stop
from tests.interop.carriers import CARRIERS
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams
from tests.interop.erlang_snippets import APART, SUPERVISOR_ERL

OK, ERROR = Atom("ok"), Atom("error")

CALLBACKS_ERL = """
-module(callbacks).
-behaviour(gen_server).
-compile([export_all, nowarn_export_all]).
start(Arg) -> gen_server:start(callbacks, Arg, []).
start_async(Arg) -> start(Arg).

init(ignore) -> ignore;
init({stop, R}) -> {stop, R};
init({exit, R}) -> exit(R);
init({own_exit, R}) -> exit(self(), R), receive never -> ok end;
init(tick) -> self() ! tick, {ok, []};
init({tick, then}) -> self() ! tick, {ok, [], {continue, then}};
init({fails, then, R}) -> {ok, [], {continue, {exit, R}}}.
handle_call(notes, _, S) -> {reply, lists:reverse(S), S};
handle_call(receive_go, _, S) -> receive {go, X} -> {reply, X, S} end;
handle_call({receive_go, T}, _, S) -> receive {go, X} -> {reply, X, S} after T -> {reply, none, S} end;
handle_call({n, N}, _, S) -> {reply, N, [N | S]};
handle_call({sends, M}, _, S) -> self() ! M, {reply, sent, S};
handle_call({continue, X}, _, S) -> {reply, ok, S, {continue, X}}.
handle_cast({note, X}, S) -> {noreply, [X | S]}.
handle_continue({exit, R}, _) -> exit(R);
handle_continue(then, S) -> self() ! after_then, {noreply, [then | S]}.
handle_info(M, S) -> {noreply, [M | S]}.
terminate(_, _) -> ok.
code_change(_, S, _) -> {ok, S}.
"""


class Callbacks(GenServer):
    """CALLBACKS_ERL in Python."""

    def __init__(self, argument: Any) -> None:
        self._argument = argument
        self._notes: list[Any] = []

    def init(self) -> Any:
        match self._argument:
            case Atom(name="ignore"):
                return IGNORE
            case (Atom(name="stop"), reason):
                return Stop(reason)
            case (Atom(name="exit"), reason):
                raise ProcessExit(reason)
            case (Atom(name="own_exit"), reason):
                self.process.exit(self.process, reason)
            case Atom(name="tick"):
                self.process.send(self.process.pid, Atom("tick"))
            case (Atom(name="tick"), then):
                self.process.send(self.process.pid, Atom("tick"))
                return NoReply(Continue(then))
            case (Atom(name="fails"), _, reason):
                return NoReply(Continue((Atom("exit"), reason)))
        return None

    async def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case Atom(name="notes"):
                return self._notes
            case Atom(name="receive_go"):
                return (await self.process.receive((Atom("go"), ANY)))[1]
            case (Atom(name="receive_go"), milliseconds):
                try:
                    return (await self.process.receive((Atom("go"), ANY), timeout=milliseconds / 1000))[1]
                except TimeoutError:
                    return Atom("none")
            case (Atom(name="n"), number):
                self._notes.append(number)
                return number
            case (Atom(name="sends"), message):
                self.process.send(self.process.pid, message)
                return Atom("sent")
            case (Atom(name="continue"), term):
                return Reply(OK, Continue(term))

    def handle_cast(self, request: Any) -> Any:
        match request:
            case (Atom(name="note"), term):
                self._notes.append(term)

    def handle_continue(self, argument: Any) -> Any:
        match argument:
            case (Atom(name="exit"), reason):
                raise ProcessExit(reason)
            case Atom(name="then"):
                self._notes.append(argument)
                self.process.send(self.process.pid, Atom("after_then"))

    def handle_info(self, message: Any) -> None:
        self._notes.append(message)


class AsyncCallbacks(Callbacks):
    async def init(self) -> Any:
        await asyncio.sleep(0)
        return super().init()


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [CALLBACKS_ERL, SUPERVISOR_ERL]) as both:
        yield both


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    async with conformance_pair(beams) as both:
        node = both.node

        async def start(server: GenServer) -> Any:
            try:
                process = await node.gen_server.start(server)
            except ProcessEnded as ended:
                return (ERROR, ended.reason)
            return Atom("ignore") if process is None else (OK, process.pid)

        node.exports.add("callbacks", "start", lambda argument: start(Callbacks(argument)))
        node.exports.add("callbacks", "start_async", lambda argument: start(AsyncCallbacks(argument)))
        yield both


STARTED = "{{ok, P}} = rpc:call(PEER, callbacks, {start}, [{argument}])"
END_OF_IT = "M = monitor(process, P), receive {'DOWN', M, _, _, R} -> R end"


@pytest.mark.parametrize("start", ["start", "start_async"])
@pytest.mark.parametrize(
    "argument",
    ["ignore", *(f"{{{how}, {reason}}}" for how in ("stop", "exit") for reason in ("gone", "normal"))],
)
async def test_a_server_that_is_not_started(conformance: ConformancePair, start: str, argument: str) -> None:
    await conformance.same(f"rpc:call(PEER, callbacks, {start}, [{argument}])")


@pytest.mark.parametrize("start", ["start", "start_async"])
async def test_a_server_that_ends_itself_in_init(conformance: ConformancePair, start: str) -> None:
    assert (
        await conformance.same(f"rpc:call(PEER, callbacks, {start}, [{{own_exit, gone}}])") == "{error,gone}"
    )


@pytest.mark.parametrize("start", ["start", "start_async"])
@pytest.mark.parametrize("argument", ["tick", "{tick, then}"])
async def test_what_a_server_sends_itself_in_init_comes_after_it(
    conformance: ConformancePair, start: str, argument: str
) -> None:
    got = await conformance.same(
        f"{STARTED.format(start=start, argument=argument)},"
        " A = gen_server:call(P, {sends, x}), gen_server:call(P, {n, 1}), {A, gen_server:call(P, notes)}"
    )
    assert "tick" in got


@pytest.mark.parametrize("start", ["start", "start_async"])
async def test_a_server_that_fails_after_init_was_started(conformance: ConformancePair, start: str) -> None:
    got = await conformance.same(
        f"{APART} Apart(fun() -> {{ok, P}} = rpc:call(PEER, callbacks, {start}, [{{fails, then, gone}}]),"
        " M = monitor(process, P), receive {'DOWN', M, _, _, R} -> lists:member(R, [gone, noproc]) end end)"
    )
    assert got == "true"


@pytest.mark.parametrize(
    ("callback", "act"),
    [
        ("handle_call", "catch gen_server:call(P, unknown)"),
        ("handle_call", "catch gen_server:call(P, {n, 1, 2})"),
        ("handle_cast", "gen_server:cast(P, unknown)"),
        ("handle_continue", "gen_server:call(P, {continue, unknown})"),
    ],
)
async def test_a_missing_case(conformance: ConformancePair, callback: str, act: str) -> None:
    got = await conformance.same(
        f"{STARTED.format(start='start', argument='tick')}, gen_server:call(P, {{n, 1}}),"
        f" M = monitor(process, P), {act},"
        " receive {'DOWN', M, _, _, {R, [{_, F, _, _} | _]}} -> {R, F} end"
    )
    assert got == f"{{function_clause,{callback}}}"


async def test_a_call_that_meets_a_missing_case_fails_with_it(conformance: ConformancePair) -> None:
    got = await conformance.same(
        f"{STARTED.format(start='start', argument='tick')},"
        " try gen_server:call(P, unknown) catch exit:{{R, [{_, F, _, _} | _]}, {gen_server, call, [_, Q]}} ->"
        " {R, F, Q} end"
    )
    assert got == "{function_clause,handle_call,unknown}"


async def test_a_message_received_in_a_callback(conformance: ConformancePair) -> None:
    """It is taken out of the middle; calls and other messages wait, in their order."""
    got = await conformance.same(
        f"{STARTED.format(start='start', argument='tick')}, gen_server:call(P, notes),"
        " Ask = fun(Q) -> gen_server:send_request(P, Q) end,"
        " Rs = [Ask(receive_go), Ask({n, 1})], P ! skipped, gen_server:cast(P, {note, 2}), P ! {go, 7},"
        " More = [Ask({n, 3}), Ask({receive_go, 0}), Ask(notes)],"
        " [begin {reply, X} = gen_server:wait_response(R, 8000), X end || R <- Rs ++ More]"
    )
    assert got == "[7,1,3,none,[tick,1,skipped,2,3]]"


@pytest.mark.parametrize("reason", ["gone", "kill", "shutdown"])
async def test_an_exit_signal_ends_a_callback_that_receives(
    conformance: ConformancePair, reason: str
) -> None:
    got = await conformance.same(
        f"{STARTED.format(start='start', argument='tick')}, M = monitor(process, P),"
        f" gen_server:send_request(P, receive_go), exit(P, {reason}), receive {{'DOWN', M, _, _, R}} -> R end"
    )
    assert got == ("killed" if reason == "kill" else reason)


class Device(GenServer):
    """What one at a time can hold: it takes a while to close."""

    held = 0
    overlaps = 0

    def init(self) -> Any:
        Device.overlaps += Device.held
        Device.held += 1

    def handle_info(self, message: Any) -> Any:
        raise ProcessExit(message)

    async def terminate(self, reason: Any) -> None:
        await asyncio.sleep(0.02)
        Device.held -= 1


async def test_a_supervisor_of_a_beam_starts_the_next_child_when_the_old_one_has_closed(
    conformance: ConformancePair,
) -> None:
    """Its ``'EXIT'`` comes after ``terminate``, but after ``kill``."""
    conformance.node.exports.child("callbacks", "device")(Device)
    Device.held = Device.overlaps = 0
    got = await conformance.eval(
        f"{APART} Apart(fun() -> Start = {{erpc, call, [PEER, callbacks, device, []]}},"
        " S = one_sup:start({#{intensity => 10}, [#{id => device, start => Start}]}),"
        " Child = fun() -> [{_, P, _, _}] = supervisor:which_children(S), P end,"
        " Other = fun Other(P) -> case Child() of Q when is_pid(Q), Q =/= P -> Q; _ -> Other(P) end end,"
        " ok = supervisor:terminate_child(S, device), {ok, P1} = supervisor:restart_child(S, device),"
        " exit(P1, gone), P2 = Other(P1), P2 ! crash, P3 = Other(P2), P3 ! normal, P4 = Other(P3),"
        " M = monitor(process, P4), exit(S, shutdown), receive {'DOWN', M, _, _, R} -> R end end)"
    )
    assert got == "shutdown"
    assert (Device.held, Device.overlaps) == (0, 0)
