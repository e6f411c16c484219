"""What a called function prints goes to the group leader of the caller, as between two BEAMs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, Process, ProcessExit
from quicdist.otp import output
from tests.interop.carriers import CARRIERS
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams

#: The functions on the model.
SAY_ERL = r"""
-module(say).
-compile([export_all, nowarn_export_all]).
line(Text) -> io:format("~ts~n", [Text]), done.
parts() -> io:put_chars("a"), io:put_chars("b"), io:nl(), io:put_chars("c"), parts.
later() -> io:put_chars("one\n"), receive after 5 -> ok end, io:put_chars("two\n"), later.
blocks() -> io:put_chars("one\n"), receive after 5 -> ok end, io:put_chars("two\n"), blocks.
body(Pid) -> io:put_chars("body\n"), Pid ! printed.
fails() -> io:put_chars("before\n"), exit(because).
here(Node) -> rpc:call(Node, io, put_chars, [<<"nested\n">>]).
"""

#: Runs Body with a group leader of its own; the text written to it before Body returned, and its value.
CAPTURED = """
Captured = fun(Body) ->
  Loop = fun F(Text) -> receive
    {io_request, From, As, {put_chars, unicode, C}} -> From ! {io_reply, As, ok}, F([Text, C]);
    {io_request, From, As, {put_chars, unicode, M, N, A}} ->
      From ! {io_reply, As, ok}, F([Text, apply(M, N, A)]);
    {take, From} -> From ! {taken, unicode:characters_to_list(Text)} end end,
  Device = spawn(fun() -> Loop([]) end),
  Self = self(),
  {_, M} = spawn_monitor(fun() -> group_leader(Device, self()), V = Body(), Self ! {value, V} end),
  Value = receive {value, V} -> V; {'DOWN', M, _, _, Why} -> {died, Why} end,
  demonitor(M, [flush]),
  Device ! {take, self()}, receive {taken, Text} -> {Value, Text} end end,
"""

CALLS = {
    "rpc:call": 'rpc:call(PEER, say, line, [<<"h\u00e9 \u03bb"/utf8>>])',
    "erpc:call": "erpc:call(PEER, say, parts, [])",
    "rex": 'gen_server:call({rex, PEER}, {call, say, line, [<<"x">>], group_leader()})',
    "rpc:block_call": 'rpc:block_call(PEER, say, line, [<<"x">>])',
    "a coroutine": "rpc:call(PEER, say, later, [])",
    "a thread": "rpc:call(PEER, say, blocks, [])",
    "a failing function": "rpc:call(PEER, say, fails, [])",
    "spawn": 'P = spawn_monitor(PEER, say, line, [<<"x">>]), {_, M} = P,'
    " receive {'DOWN', M, _, _, R} -> R end",
    "a body": "spawn(PEER, say, body, [self()]), receive printed -> ok end, receive after 50 -> ok end",
    "a nested call": "rpc:call(PEER, say, here, [node()])",
    "several at once": 'rpc:multicall([PEER, PEER], say, line, [<<"same">>])',
}


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [SAY_ERL]) as both:
        yield both


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    """A node that has SAY_ERL in Python."""
    async with conformance_pair(beams) as both:
        node = both.node

        @node.export("say")
        def line(text: bytes) -> Any:
            print(text.decode())
            return Atom("done")

        @node.export("say")
        def parts() -> Any:
            print("a", end="")
            print("b")
            print("c", end="")
            return Atom("parts")

        @node.export("say")
        async def later() -> Any:
            print("one")
            await asyncio.sleep(0.005)
            print("two")
            return Atom("later")

        @node.export("say", blocking=True)
        def blocks() -> Any:
            print("one")
            time.sleep(0.005)
            print("two")
            return Atom("blocks")

        @node.export("say")
        def fails() -> None:
            print("before")
            raise ProcessExit(Atom("because"))

        @node.export("say")
        async def here(to: Atom) -> Any:
            return await node.call(to, "io", "put_chars", [b"nested\n"])

        @node.exports.process("say")
        async def body(process: Process, parent: Any) -> None:
            print("body")
            process.send(parent, Atom("printed"))

        yield both


@pytest.mark.parametrize("call", CALLS)
async def test_output_of_a_called_function_goes_to_the_callers_group_leader(
    conformance: ConformancePair, call: str, capsys: pytest.CaptureFixture[str]
) -> None:
    got = await conformance.same(f"{CAPTURED} Captured(fun() -> {CALLS[call]} end)")
    assert "died" not in got
    assert not got.endswith("[]}"), "nothing was printed"
    assert capsys.readouterr().out == ""


async def test_output_stays_here_when_it_is_switched_off(
    conformance: ConformancePair, capsys: pytest.CaptureFixture[str]
) -> None:
    conformance.node.exports.output_to_caller = False
    got = await conformance.eval(f"{CAPTURED} Captured(fun() -> rpc:call(PEER, say, parts, []) end)")
    assert got == "{parts,[]}"
    assert capsys.readouterr().out == "ab\nc"


async def test_a_group_leader_that_never_answers_delays_one_result_for_a_bounded_time(
    conformance: ConformancePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    await conformance.beam.eval("register(held, spawn(fun() -> receive never -> ok end end))")
    source = (
        "P = self(), spawn(fun() -> group_leader(whereis(held), self()),"
        ' P ! {said, rpc:call(PEER, say, line, [<<"x">>])} end), receive {said, A} -> A end'
    )
    monkeypatch.setattr(output, "FLUSH_TIME", 0.2)
    assert await conformance.eval(source) == "done"
    monkeypatch.setattr(output, "FLUSH_TIME", 600.0)
    assert await conformance.eval(source) == "done"
    await conformance.beam.eval("exit(whereis(held), kill)")


async def test_output_for_a_group_leader_that_has_ended_stays_here(
    conformance: ConformancePair, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = "D = spawn(fun() -> ok end), M = monitor(process, D), receive {'DOWN', M, _, _, _} -> ok end"
    source = (
        f"{dead}, P = self(), spawn(fun() -> group_leader(D, self()),"
        " P ! {r, rpc:call(PEER, say, later, [])} end), receive {r, R} -> R end"
    )
    assert await conformance.eval(source) == "later"
    await conformance.node.io.put_chars("user", "")  # what was queued before is written
    assert "two" in capsys.readouterr().out


async def test_output_of_a_beams_function_appears_here(
    conformance: ConformancePair, capsys: pytest.CaptureFixture[str]
) -> None:
    await conformance.node.call(conformance.model_name, "say", "parts")
    assert capsys.readouterr().out == "ab\nc"


async def test_standard_output_is_put_back_when_the_node_stops(beams: Beams) -> None:
    before = sys.stdout
    async with conformance_pair(beams) as both:

        @both.node.export("say")
        def line(text: bytes) -> None:
            print(text.decode())

        await both.eval(f'{CAPTURED} Captured(fun() -> rpc:call(PEER, say, line, [<<"x">>]) end)')
        assert sys.stdout is not before
    assert sys.stdout is before
