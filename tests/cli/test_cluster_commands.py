"""``names``, ``pids``, ``top`` and ``send`` against a BEAM, and the log of that BEAM."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.command import PROGRAM, Result, run, run_program
from tests.cli.peers import COOKIE, Peer, node_name, tcp_beam
from tests.support.beam import Beam, tcp_args

pytestmark = pytest.mark.beam


@pytest.fixture(scope="module")
def beam() -> Iterator[Peer]:
    with tcp_beam() as peer:
        assert peer.beam is not None
        loop = "fun F() -> receive {P, M} when is_pid(P) -> P ! {got, M}, F(); _ -> F() end end"
        peer.beam.eval_now(f"register(echo, spawn({loop}))")
        yield peer


def on(peer: Peer, command: str, *arguments: str) -> Result:
    """Run a command with the node as ``tcp://NAME@HOST``, which names the carrier."""
    return run(command, f"tcp://{peer.name}", *arguments, "--cookie", COOKIE)


def test_an_address_with_a_carrier_needs_no_option(beam: Peer) -> None:
    assert on(beam, "ping") == (0, "pong\n", "")


def test_a_node_over_another_carrier_is_an_error_that_names_the_carrier_and_what_epmd_knows(
    beam: Peer,
) -> None:
    status, out, err = run("ping", beam.name, "--cookie", COOKIE)
    assert (status, out) == (1, "pang\n")
    assert err.endswith(f"(carrier: quic; epmd knows {beam.name}: try tcp://{beam.name}, or tls://)\n")


def test_a_ping_as_json(beam: Peer) -> None:
    status, out, _ = on(beam, "ping", "--json")
    answer = json.loads(out)
    assert (status, answer["node"], answer["answer"]) == (0, beam.name, "pong")
    assert 0 < answer["seconds"] < 60


def test_names_are_those_of_epmd(beam: Peer) -> None:
    alive = beam.name.partition("@")[0]
    status, out, _ = run("names")
    assert status == 0
    assert [line.split()[1] for line in out.splitlines() if line.startswith(f"{alive} ")] == ["port"]
    listed = json.loads(run("names", "127.0.0.1", "--json").out)
    assert [each["host"] for each in listed if each["name"] == alive] == ["127.0.0.1"]


def test_pids_are_those_of_the_node(beam: Peer) -> None:
    assert beam.beam is not None
    status, out, _ = on(beam, "pids", "--json")
    assert status == 0
    listed = {each["pid"]: each for each in json.loads(out)}
    whole = beam.beam.eval_now("[pid_to_list(P) || P <- processes()]")
    assert all(f'"{pid}"' in whole for pid in list(listed)[:20])
    echo = beam.beam.eval_now("pid_to_list(whereis(echo))").strip('"')
    assert listed[echo]["name"] == "echo"
    assert "echo" in on(beam, "pids").out


def test_processes_of_a_node_without_runtime_tools_are_asked_for_one_by_one() -> None:
    name = node_name("bare")
    with Beam(tcp_args(name, COOKIE)) as beam:
        path = beam.eval_now('code:del_path("runtime_tools"), code:which(observer_backend)')
        assert path == "non_existing"
        status, out, err = run("pids", f"tcp://{name}", "--cookie", COOKIE, "--json")
    assert (status, err) == (0, "")
    names = {each["name"] for each in json.loads(out)}
    assert {"init", "kernel_sup", "net_kernel", "proc_lib:init_p/5"} <= names


class TestTop:
    def test_once_as_json_has_the_busiest_first(self, beam: Peer) -> None:
        status, out, _ = on(beam, "top", "--once", "--json", "--lines", "3")
        assert status == 0
        (line,) = out.splitlines()
        look = json.loads(line)
        assert look["node"] == beam.name
        reductions = [each["reductions"] for each in look["processes"]]
        assert len(reductions) == 3
        assert reductions == sorted(reductions, reverse=True)
        assert look["memory"]["total"] > 1_000_000

    def test_once_prints_a_table(self, beam: Peer) -> None:
        status, out, _ = on(beam, "top", "--once", "--sort", "memory", "--lines", "4")
        assert status == 0
        first, _, header, *rows = out.splitlines()
        assert first.startswith(beam.name)
        assert header.split()[:2] == ["pid", "name"]
        assert len(rows) == 4


def test_names_may_have_the_quotes_of_erlang(beam: Peer) -> None:
    assert on(beam, "call", "'lists'", "'reverse'", "[[1,2]]") == (0, "[2,1]\n", "")
    assert on(beam, "send", "'echo'", "{'$self',a}", "--replies", "1") == (0, "{got,a}\n", "")
    status, _, err = on(beam, "call", "'true'", "'it\\'s'", "[]")
    assert (status, err.splitlines()[0]) == (1, f"quicdist: true:it's/0 on {beam.name}: error: undef")


def test_a_port_in_the_address_is_the_one_that_is_dialled(beam: Peer) -> None:
    (port,) = (each["port"] for each in json.loads(run("names", "--json").out)
               if each["name"] == beam.name.partition("@")[0])  # fmt: skip
    assert run("ping", f"tcp://{beam.name}:{port}", "--cookie", COOKIE) == (0, "pong\n", "")
    for command in ("ping", "nodes"):
        status, out, err = run(command, f"tcp://{beam.name}:1", "--cookie", COOKIE)
        assert status == 1
        assert f"cannot connect to {beam.name} at 127.0.0.1:1: Connection refused (carrier: tcp)" in out + err


class TestNodes:
    def test_a_node_that_is_down_names_the_carrier_tried(self, beam: Peer) -> None:
        status, out, _ = run("nodes", beam.name, "--cookie", COOKIE)
        assert status == 1
        assert out.endswith(f"(carrier: quic; epmd knows {beam.name}: try tcp://{beam.name}, or tls://)\n")

    def test_no_node_is_an_error(self) -> None:
        status, out, err = run("nodes", "--dns", "app@nohost.invalid", "--json", "--timeout", "5")
        assert (status, json.loads(out), err) == (1, [], "quicdist: no node was found\n")


class TestSend:
    def test_ctrl_c_ends_the_wait_for_replies_without_a_report(self, beam: Peer) -> None:
        assert beam.beam is not None
        command = [str(PROGRAM), "send", f"tcp://{beam.name}", "beam_evaluator", "sent", "--cookie", COOKIE]
        with subprocess.Popen([*command, "--replies", "1"], stderr=subprocess.PIPE, text=True) as sending:
            beam.beam.eval_now("receive sent -> ok after 30000 -> error(late) end")
            sending.send_signal(signal.SIGINT)
            _, err = sending.communicate(timeout=30)
        assert (sending.returncode, err) == (1, "\nAborted!\n")

    def test_the_replies_are_printed(self, beam: Peer) -> None:
        sent = "{'$self',#{a => \"text\"}}"
        assert on(beam, "send", "echo", sent, "--replies", "1") == (0, '{got,#{a => "text"}}\n', "")
        status, out, _ = on(beam, "send", "echo", "{'$self',<<\"x\">>}", "--replies", "1", "--json")
        assert (status, json.loads(out)) == (0, ["got", "x"])

    def test_a_message_arrives_before_the_command_ends(self, beam: Peer) -> None:
        assert beam.beam is not None
        assert on(beam, "send", "beam_evaluator", "{hello,1}") == (0, "", "")
        assert beam.beam.eval_now("receive {hello, N} -> N after 0 -> nothing end") == "1"

    def test_a_name_that_is_not_registered(self, beam: Peer) -> None:
        text = f"quicdist: no process is registered as nobody on {beam.name} (noproc)\n"
        assert on(beam, "send", "nobody", "hello") == (1, "", text)
        assert on(beam, "send", "nobody", "hello", "--replies", "1") == (1, "", text)

    def test_too_few_replies(self, beam: Peer) -> None:
        status, out, err = on(beam, "send", "echo", "hello", "--replies", "2", "--timeout", "0.3")
        assert (status, out) == (1, "")
        assert err.startswith(f"quicdist: 0 of 2 messages came back from echo on {beam.name}")


def test_a_call_as_json(beam: Peer) -> None:
    status, out, _ = on(beam, "call", "lists", "last", '[[{ok,#{n => [1.5,<<"t">>,<<255>>]}}]]', "--json")
    assert (status, json.loads(out)) == (0, ["ok", {"n": [1.5, "t", "<<255>>"]}])


def test_a_term_written_by_a_beam_is_decoded(beam: Peer) -> None:
    assert beam.beam is not None
    term = '[{a,"b",#{c => <<1:3>>}},1.5]'
    hexed = beam.beam.eval_now(f"binary_to_list(binary:encode_hex(term_to_binary({term}, [compressed])))")
    assert run("decode", "--text", hexed.strip('"')) == (0, f"{term}\n", "")


def test_one_shot_nodes_leave_the_log_of_the_beam_empty(beam: Peer) -> None:
    assert beam.beam is not None
    before = beam.beam.logged()
    for arguments in (("ping",), ("call", "lists", "reverse", "[[1]]"), ("pids",), ("send", "echo", "x")):
        command, *rest = arguments
        assert run_program(command, f"tcp://{beam.name}", *rest, "--cookie", COOKIE).status == 0
    assert on(beam, "call", "timer", "sleep", "[500]", "--timeout", "0.1").status == 1
    # The log handler of the BEAM has written what it was given before it answers.
    beam.beam.eval_now("logger_std_h:filesync(default)")
    assert beam.beam.logged() == before
