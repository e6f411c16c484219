"""User streams with the real ``quic_dist``, opened by either side.

QUICDIST_ERL chooses the version: 0.11.0 has none, 1.3.1 begins at other ids than 1.4.0 and later.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    Atom,
    Process,
    StreamRefused,
    StreamReset,
    StreamsNotSupported,
    UserStream,
)
from tests.interop.cluster import Cluster, cluster
from tests.support.beam import erl_facts

pytestmark = pytest.mark.quic_dist

MIB = 1024 * 1024

#: A process that sends back what comes on streams, and what it is told, to the evaluator.
ECHO = """
Evaluator = self(),
Echo = spawn(fun() ->
  ok = quic_dist:accept_streams(PY),
  Evaluator ! accepting,
  Loop = fun(F) -> receive
    {quic_dist_stream, Ref, {data, Bin, Fin}} -> ok = quic_dist:send(Ref, Bin, Fin), F(F);
    Other -> Evaluator ! {told, Other}, F(F)
  end end,
  Loop(Loop) end),
receive accepting -> ok end
"""


def version() -> tuple[int, ...]:
    found = erl_facts()[1]
    assert found is not None
    return tuple(map(int, found.split(".")))


def first_ids() -> tuple[int, int]:
    """The first user streams of the client and the server."""
    return (68, 65) if version() >= (1, 4) else (20, 17)


@pytest.fixture
def _streams() -> None:
    if version() < (1,):
        pytest.skip("this quic_dist has no user streams; what that means here has a test of its own")


@pytest_asyncio.fixture
async def quic(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster("quic", tmp_path) as both:
        yield both


@pytest_asyncio.fixture(params=["we dial", "the beam dials"])
async def connected(request: pytest.FixtureRequest, quic: Cluster, _streams: None) -> Cluster:
    """Connected by either side: who dials has the even stream ids."""
    if request.param == "we dial":
        await quic.node.connect(quic.beam_name)
    else:
        assert await quic.eval("net_kernel:connect_node(PY)") == "true"
    quic.dialled = request.param == "we dial"  # type: ignore[attr-defined]
    return quic


async def test_a_version_without_streams_is_told_by_name(quic: Cluster) -> None:
    if version() >= (1,):
        stream = await quic.node.open_stream(quic.beam_name)
        assert stream.stream_id == first_ids()[0]
        return
    with pytest.raises(StreamsNotSupported, match=quic.beam_name):
        await quic.node.open_stream(quic.beam_name)
    # And nothing was garbled.
    assert await quic.node.ping(quic.beam_name)


class TestOpenedByUs:
    async def test_there_and_back_and_the_end(self, connected: Cluster) -> None:
        await connected.eval(ECHO)
        stream = await connected.node.open_stream(connected.beam_name, priority=64)
        assert stream.stream_id == first_ids()[0 if connected.dialled else 1]  # type: ignore[attr-defined]
        stream.write(b"one")
        assert await stream.readexactly(3) == b"one"
        stream.write(b"two")
        stream.write_eof()
        assert await stream.read() == b"two"
        assert stream.closed
        assert connected.node.list_streams() == []

    async def test_the_beam_lists_it(self, connected: Cluster) -> None:
        await connected.eval(ECHO)
        stream = await connected.node.open_stream(connected.beam_name)
        stream.write(b"x")
        assert await stream.readexactly(1) == b"x"
        listed = await connected.eval(
            "[#{ref := R, priority := P, recv_fin := F, owner := O}] = quic_dist:list_streams(PY), "
            "{R, P, F, O =:= Echo}"
        )
        ours = f"{{quic_dist_stream,'{connected.node.name}',{stream.stream_id}}}"
        assert listed == f"{{{ours},128,false,true}}"

    async def test_nobody_accepts(self, connected: Cluster) -> None:
        stream = await connected.node.open_stream(connected.beam_name)
        stream.write(b"anybody?")
        with pytest.raises(StreamRefused, match=connected.beam_name) as caught:
            await stream.read()
        assert caught.value.code == 0x100
        assert await connected.node.ping(connected.beam_name)

    async def test_refused_streams_cost_nothing_for_good(self, connected: Cluster) -> None:
        """More than the 100 that quic_dist allows at once."""
        if version() < (1, 4):
            pytest.skip("quic_dist 1.3.1 never makes room again for a stream that it has refused")
        for _ in range(250):
            stream = await connected.node.open_stream(connected.beam_name)
            stream.write(b"anybody?")
            with pytest.raises(StreamRefused):
                await stream.read()

    async def test_streams_that_end_make_room_for_others(self, connected: Cluster) -> None:
        await connected.eval(ECHO)

        async def use(number: int) -> bytes:
            async with await connected.node.open_stream(connected.beam_name) as stream:
                stream.write(b"%d" % number)
                stream.write_eof()
                return await stream.read()

        # quic_dist allows 100 at once, those of its own kind included: more wait.
        answers = await asyncio.gather(*(use(number) for number in range(250)))
        assert answers == [b"%d" % number for number in range(250)]

    async def test_our_reset_is_told_to_its_owner(self, connected: Cluster) -> None:
        await connected.eval(ECHO)
        stream = await connected.node.open_stream(connected.beam_name)
        stream.write(b"x")
        await stream.readexactly(1)
        stream.reset(77)
        told = await connected.eval("receive {told, T} -> T end")
        ours = f"{{quic_dist_stream,'{connected.node.name}',{stream.stream_id}}}"
        assert told == f"{{quic_dist_stream,{ours},{{reset,77}}}}"
        with pytest.raises(StreamReset, match="0x4d"):
            await stream.read()
        assert await connected.eval("quic_dist:list_streams(PY)") == "[]"

    async def test_its_reset_is_told_to_us(self, connected: Cluster) -> None:
        await connected.eval(
            "Evaluator = self(), spawn(fun() -> ok = quic_dist:accept_streams(PY), Evaluator ! accepting, "
            "receive {quic_dist_stream, Ref, _} -> quic_dist:reset_stream(Ref, 513) end end), "
            "receive accepting -> ok end"
        )
        stream = await connected.node.open_stream(connected.beam_name)
        stream.write(b"x")
        with pytest.raises(StreamReset) as caught:
            await stream.read()
        assert caught.value.code == 513
        assert not isinstance(caught.value, StreamRefused)
        with pytest.raises(StreamReset):
            stream.write(b"more")

    async def test_an_owner_that_ends_resets_with_0(self, connected: Cluster) -> None:
        await connected.eval(ECHO)
        stream = await connected.node.open_stream(connected.beam_name)
        stream.write(b"x")
        await stream.readexactly(1)
        await connected.eval("exit(Echo, kill)")
        with pytest.raises(StreamReset) as caught:
            await stream.read()
        assert caught.value.code == 0

    async def test_handed_over_on_the_beam(self, connected: Cluster) -> None:
        await connected.eval(
            "Evaluator = self(), "
            "Worker = spawn(fun() -> receive {quic_dist_stream, R, {data, B, true}} -> "
            'ok = quic_dist:send(R, [<<"worker got ">>, B], true) end end), '
            "spawn(fun() -> ok = quic_dist:accept_streams(PY), Evaluator ! accepting, "
            "receive {quic_dist_stream, R, {data, B, false}} -> "
            "ok = quic_dist:controlling_process(R, Worker), Evaluator ! {first, B}, "
            "receive never -> ok end end end), receive accepting -> ok end"
        )
        stream = await connected.node.open_stream(connected.beam_name)
        stream.write(b"one")
        assert await connected.eval("receive {first, B} -> B end") == "one"
        stream.write(b"two")
        stream.write_eof()
        assert await stream.read() == b"worker got two"

    async def test_megabytes_in_both_directions(self, connected: Cluster) -> None:
        await connected.eval(ECHO)
        stream = await connected.node.open_stream(connected.beam_name)
        # More than quic_dist's 4 MiB a stream: its window has to be raised on the way.
        data = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(6 * MIB // 32))

        async def write() -> None:
            await stream.send(data)
            stream.write_eof()

        writing = asyncio.create_task(write())
        back = hashlib.sha256()
        async for chunk in stream:
            back.update(chunk)
        await writing
        assert back.digest() == hashlib.sha256(data).digest()


class TestOpenedByTheBeam:
    OPEN = '{ok, Ref} = quic_dist:open_stream(PY), ok = quic_dist:send(Ref, <<"hello">>), element(3, Ref)'

    async def test_there_and_back_and_the_end(self, connected: Cluster) -> None:
        served: asyncio.Queue[UserStream] = asyncio.Queue()

        async def serve(stream: UserStream) -> None:
            served.put_nowait(stream)
            async for data in stream:
                stream.write(data.upper())

        connected.node.accept_streams(serve)
        expected = first_ids()[1 if connected.dialled else 0]  # type: ignore[attr-defined]
        assert await connected.eval(self.OPEN) == str(expected)
        stream = await served.get()
        assert (stream.stream_id, stream.node) == (expected, connected.beam_name)
        got = await connected.eval("receive {quic_dist_stream, Ref, D1} -> D1 end")
        assert got == '{data,<<"HELLO">>,false}'
        await connected.eval('ok = quic_dist:send(Ref, <<"bye">>, true)')
        # Its owner hears of the end once, when both sides have finished.
        told = await connected.eval(
            "F = fun(F, Acc) -> receive {quic_dist_stream, Ref, {data, B, Fin}} -> F(F, [{B, Fin} | Acc]); "
            "{quic_dist_stream, Ref, closed} -> lists:reverse([closed | Acc]) end end, "
            "L = F(F, []), {iolist_to_binary([B || {B, _} <- L]), [X || {_, X} <- L, X], lists:last(L)}"
        )
        assert told == '{<<"BYE">>,[true],closed}'
        assert await connected.eval("quic_dist:list_streams(PY)") == "[]"

    async def test_nobody_accepts(self, connected: Cluster) -> None:
        await connected.eval(self.OPEN)
        assert await connected.eval("receive {quic_dist_stream, Ref, T} -> T end") == "{reset,256}"
        assert await connected.eval("quic_dist:list_streams(PY)") == "[]"

    async def test_refused_streams_cost_nothing_for_good(self, connected: Cluster) -> None:
        """More than the 128 that may be open at once."""
        got = await connected.eval(
            "[begin {ok, R} = quic_dist:open_stream(PY), ok = quic_dist:send(R, <<1>>), "
            "receive {quic_dist_stream, R, T} -> T after 5000 -> nothing end end || _ <- lists:seq(1, 300)], "
            "ok",
        )
        assert got == "ok"
        last = await connected.eval(
            "{ok, R9} = quic_dist:open_stream(PY), ok = quic_dist:send(R9, <<1>>), "
            "receive {quic_dist_stream, R9, T9} -> T9 after 5000 -> nothing end"
        )
        assert last == "{reset,256}"

    async def test_our_reset_is_told_to_its_owner(self, connected: Cluster) -> None:
        connected.node.accept_streams(lambda stream: stream.reset(99))
        await connected.eval(self.OPEN)
        assert await connected.eval("receive {quic_dist_stream, Ref, T} -> T end") == "{reset,99}"

    async def test_its_reset_is_told_to_us(self, connected: Cluster) -> None:
        async with connected.node.accept_streams() as streams:
            await connected.eval(self.OPEN)
            stream = await anext(aiter(streams))
        assert await stream.readexactly(5) == b"hello"
        await connected.eval("ok = quic_dist:reset_stream(Ref, 1234)")
        with pytest.raises(StreamReset) as caught:
            await stream.read()
        assert caught.value.code == 1234

    async def test_processes_take_turns(self, connected: Cluster) -> None:
        got: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
        for number in range(2):
            process = connected.node.spawn(
                lambda _, message, number=number: got.put_nowait((number, message))
            )
            connected.node.quic_dist.accept_streams(process, connected.beam_name)
        ids = [int(await connected.eval(self.OPEN.replace("Ref", f"Ref{n}"))) for n in range(4)]
        took = sorted([await got.get() for _ in range(4)], key=lambda item: item[1][1][2])
        tag = Atom("quic_dist_stream")
        assert [message for _, message in took] == [
            (tag, (tag, Atom(connected.beam_name), stream_id), (Atom("data"), b"hello", False))
            for stream_id in sorted(ids)
        ]
        assert sorted(number for number, _ in took) == [0, 0, 1, 1]


async def test_a_process_and_an_erlang_process(connected: Cluster) -> None:
    """The same messages at both ends."""
    await connected.eval(ECHO)
    told: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    async def body(process: Process) -> None:
        quic_dist = process.node.quic_dist
        ref = await quic_dist.open_stream(process, connected.beam_name, priority=16)
        quic_dist.send(process, ref, b"one")
        messages = [await process.receive()]
        quic_dist.send(process, ref, b"two", fin=True)
        while messages[-1][2] != Atom("closed"):
            messages.append(await process.receive())
        assert all(message[:2] == (Atom("quic_dist_stream"), ref) for message in messages)
        told.set_result([message[2] for message in messages])

    connected.node.spawn(body)
    data = Atom("data")
    assert await told in (
        [(data, b"one", False), (data, b"two", True), Atom("closed")],
        [(data, b"one", False), (data, b"two", False), (data, b"", True), Atom("closed")],
    )
