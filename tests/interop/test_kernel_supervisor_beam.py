"""A BEAM does to the services of a node what ends a BEAM: they are there again, and it is served."""

from __future__ import annotations

import asyncio

import pytest

from quicdist import Atom
from tests.interop.cluster import Cluster
from tests.otp.test_standard_output import pipe, reads
from tests.support.beam import Beam, BeamError, tcp_args

#: Ends the service Name of the node that answers to sys, and waits for the news.
KILL = (
    "Kill = fun(Name) -> {status, Pid, _, _} = sys:get_status({Name, PY}), M = monitor(process, Pid), "
    "exit(Pid, kill), receive {'DOWN', M, _, _, Why} -> "
    "{Why, element(2, sys:get_status({Name, PY})) =/= Pid} end end"
)


async def test_services_that_a_beam_kills_are_there_again(
    pair: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    pair.node.export("m", "f")(lambda: Atom("value"))
    await pair.eval(KILL)
    for name in ("rex", "net_kernel"):
        assert await pair.eval(f"Kill({name})") == "{killed,true}"
        assert await pair.eval("net_adm:ping(PY)") == "pong"
        assert await pair.eval("rpc:call(PY, m, f, [])") == "value"
        assert await pair.eval("rpc:block_call(PY, m, f, [])") == "value"
    assert caplog.text.count("ended with killed and was started again") == 2


async def test_a_link_or_an_exit_signal_of_a_beam_does_not_end_them(pair: Cluster) -> None:
    for name in ("rex", "net_kernel"):
        before = pair.node.whereis(name)
        await pair.eval(
            f"{{status, Pid{name}, _, _}} = sys:get_status({{{name}, PY}}), exit(Pid{name}, boom), "
            f"spawn(fun() -> link(Pid{name}), net_adm:ping(PY), exit(boom) end), timer:sleep(100), ok"
        )
        await pair.eval("net_adm:ping(PY)")
        assert pair.node.whereis(name) is before


async def test_sys_holds_changes_and_ends_none_of_them(pair: Cluster) -> None:
    for name in ("rex", "net_kernel"):
        for call in ("suspend", "resume", "terminate"):
            more = ", boom" if call == "terminate" else ""
            answer = await pair.eval(f"catch sys:{call}({{{name}, PY}}{more})")
            assert answer.startswith("{error,{unknown_system_msg,"), answer
        answer = await pair.eval(
            f"catch sys:replace_state({{{name}, PY}}, fun(_) -> receive after infinity -> ok end end)"
        )
        assert answer.startswith("{'EXIT',{{unknown_system_msg,{replace_state,"), answer
        assert await pair.eval("net_adm:ping(PY)") == "pong"


async def test_what_it_prints_into_a_pipe_that_nobody_reads_makes_it_wait_alone(pair: Cluster) -> None:
    with pipe() as reading:
        printing = asyncio.ensure_future(
            pair.node.call(pair.beam_name, "io", "put_chars", ["x" * 1_000_000], timeout=60)
        )
        for _ in range(10):
            assert await pair.eval("net_adm:ping(PY)") == "pong"
        assert not printing.done()
        assert await asyncio.to_thread(reads, reading, 1_000_000) == "x" * 1_000_000
        assert await printing == Atom("ok")


@pytest.mark.beam
@pytest.mark.parametrize("name", ["rex", "net_kernel"])
async def test_a_beam_that_loses_one_halts(name: str) -> None:
    no_dump = ("-env", "ERL_CRASH_DUMP_SECONDS", "0")
    with Beam(tcp_args(f"lost_{name}@127.0.0.1", more=no_dump)) as beam:
        with pytest.raises((BeamError, OSError)):
            await beam.eval(f"exit(whereis({name}), kill), timer:sleep(30000)")
        assert await asyncio.to_thread(beam.process.wait, 30) == 1
        assert "Kernel pid terminated" in beam.logged()
