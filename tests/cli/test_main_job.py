"""The main job to the letter: the command and the echo node as one types them, beside a BEAM ``a@127.0.0.1``
with quic_dist on UDP port 4501, cookie ``secret``."""

from __future__ import annotations

import fcntl
import shlex
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import run_program
from tests.cli.peers import copied_example, echo_node
from tests.support.beam import Beam, quic_args

BEAM, BEAM_PORT = "a@127.0.0.1", 4501
PYTHON, PYTHON_PORT = "py@127.0.0.1", 4503
NODES = {BEAM: ("127.0.0.1", BEAM_PORT), PYTHON: ("127.0.0.1", PYTHON_PORT)}
OPTIONS = shlex.split("--address a@127.0.0.1=127.0.0.1:4501 --cookie secret --name py@127.0.0.1 --no-verify")
ECHO_NODE = shlex.split(
    "--name py@127.0.0.1 --cookie secret --port 4503 --address a@127.0.0.1=127.0.0.1:4501 --no-verify"
)

pytestmark = pytest.mark.quic_dist


@pytest.fixture(scope="module")
def beam(tmp_path_factory: pytest.TempPathFactory, certs: Path) -> Iterator[Beam]:
    # These ports are fixed: one run of these tests at a time on one machine.
    with (Path(tempfile.gettempdir()) / "quicdist-main-job.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for port in (BEAM_PORT, PYTHON_PORT):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind(("0.0.0.0", port))
                except OSError as error:
                    pytest.skip(f"UDP port {port} is not to be had: {error.strerror}")
        directory = tmp_path_factory.mktemp("main-job")
        args = quic_args(
            BEAM, BEAM_PORT, directory, NODES, cert=certs / "cert.pem", key=certs / "key.pem", cookie="secret"
        )
        with Beam(args) as running:
            running.eval_now("{ok, _} = application:ensure_all_started(quic)")
            yield running


def test_ping(beam: Beam) -> None:
    assert run_program("ping", BEAM, *OPTIONS) == (0, "pong\n", "")


def test_call(beam: Beam) -> None:
    call = ("call", *OPTIONS, BEAM, "lists", "reverse", "[[1,2,3]]")
    assert run_program(*call) == (0, "[3,2,1]\n", "")


def test_the_beam_pings_the_echo_node_and_a_mebibyte_comes_back_whole(beam: Beam, tmp_path: Path) -> None:
    with echo_node(*ECHO_NODE, script=copied_example(tmp_path)) as node:
        assert node.read_line().startswith("py@127.0.0.1 listens on quic ")
        assert beam.eval_now("net_adm:ping('py@127.0.0.1')") == "pong"
        whole = (
            "Sent = rand:bytes(1 bsl 20), {echo,'py@127.0.0.1'} ! {self(), Sent}, "
            "receive Back -> {byte_size(Back), Back =:= Sent} after 30000 -> nothing end"
        )
        assert beam.eval_now(whole) == "{1048576,true}"
        assert beam.eval_now("gen_server:call({echo,'py@127.0.0.1'}, {a, \"term\"})") == '{a,"term"}'
        assert beam.eval_now("rpc:call('py@127.0.0.1', echo, echo, [hello])") == "hello"
        assert node.process.poll() is None
