"""``quicdist trace``: the messages of the command's own connection."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.cli.command import PROGRAM, run
from tests.cli.peers import Peer, node_name, tcp_beam

pytestmark = pytest.mark.beam


@pytest.fixture(scope="module")
def beam() -> Iterator[Peer]:
    with tcp_beam() as peer:
        yield peer


def test_the_messages_of_a_call(beam: Peer) -> None:
    status, out, err = run("trace", beam.name, "lists", "reverse", "[[1,2]]", *beam.options)
    assert (status, err) == (0, "")
    connected, *lines = out.splitlines()
    assert connected.startswith(f"connected to {beam.name}, tcp://127.0.0.1:")
    messages = [re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} (->|<-) ([A-Z_0-9]+) (.*)", line) for line in lines]
    assert [each and each.group(1, 2) for each in messages] == [
        ("->", "SPAWN_REQUEST"),
        ("<-", "SPAWN_REPLY"),
        ("<-", "PAYLOAD_MONITOR_P_EXIT"),
    ]
    assert messages[0] is not None
    assert "mfa={erpc,execute_call,4} opt_list=[monitor]: [" in messages[0][3]
    assert ",lists,reverse,[[1,2]]]" in messages[0][3]


def test_what_a_beam_sends_to_a_registered_process_as_json(beam: Peer) -> None:
    assert beam.beam is not None
    name = node_name("traced")
    command = [str(PROGRAM), "trace", beam.name, *beam.options, "--name", name]
    beam.beam.eval_now("net_kernel:monitor_nodes(true, [{node_type, all}])")
    with subprocess.Popen(
        [*command, "--register", "taker", "--count", "2", "--json"], stdout=subprocess.PIPE, text=True
    ) as tracing:
        beam.beam.eval_now(f"receive {{nodeup, '{name}', _}} -> ok after 30000 -> error(late) end")
        beam.beam.eval_now(
            f"{{taker, '{name}'}} ! {{hello, 1}}, erlang:monitor(process, {{taker, '{name}'}})"
        )
        out, _ = tracing.communicate(timeout=30)
    beam.beam.eval_now("net_kernel:monitor_nodes(false, [{node_type, all}])")
    sent, monitored = map(json.loads, out.splitlines())
    assert tracing.returncode == 0
    assert (sent["op"], sent["direction"], sent["to_name"]) == ("REG_SEND", "in", "taker")
    assert (sent["node"], sent["payload"]) == (beam.name, ["hello", 1])
    assert (monitored["op"], monitored["to_proc"]) == ("MONITOR_P", "taker")


def test_a_function_needs_a_module(beam: Peer) -> None:
    status, _, err = run("trace", beam.name, "lists", *beam.options)
    assert status == 2
    assert "MODULE needs a FUNCTION" in err


def test_a_connection_that_the_beam_ends_ends_the_trace(beam: Peer) -> None:
    assert beam.beam is not None
    name = node_name("ended")
    beam.beam.eval_now("net_kernel:monitor_nodes(true, [{node_type, all}])")
    command = [str(PROGRAM), "trace", beam.name, *beam.options, "--name", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tracing:
        beam.beam.eval_now(f"receive {{nodeup, '{name}', _}} -> ok after 30000 -> error(late) end")
        beam.beam.eval_now(f"erlang:disconnect_node('{name}')")
        _, err = tracing.communicate(timeout=30)
    assert tracing.returncode == 1
    assert err == f"quicdist: connection to {beam.name} lost: the peer closed it\n"


def test_without_a_function_it_says_that_it_is_connected_and_ctrl_c_ends_it(beam: Peer) -> None:
    command = [str(PROGRAM), "trace", beam.name, *beam.options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tracing:
        assert tracing.stdout is not None
        assert tracing.stdout.readline() == f"connected to {beam.name}, tcp\n"
        tracing.send_signal(signal.SIGINT)
        out, err = tracing.communicate(timeout=30)
    assert (tracing.returncode, out.strip(), err) == (0, "", "")
