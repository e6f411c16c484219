"""Programs under ``python -W error -X dev``: no warning, no resource that is left open, nothing logged.

aioquic's lines about each connection are silent too, unless the program asks for them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from quicdist import make_development_certificates
from scripts.requirements import ROOT
from tests.cli.peers import echo_node, node_name, port_of

SLOW = re.compile(r"^(?:WARNING:asyncio:)?Executing <.* took [0-9.]+ seconds\n", re.M)

PAIR = """
import asyncio, logging, sys
import quicdist
from quicdist import Atom, Node

logging.basicConfig(level=logging.{level})

async def main():
    carrier, directory = sys.argv[1:]
    options = {{"cookie": "clean", "carrier": carrier, "host": "127.0.0.1", "epmd": False, "verify": False}}
    files = {{name: f"{{directory}}/{{name}}.pem" for name in ("cert", "key")}} if carrier != "tcp" else {{}}
    async with Node("one@127.0.0.1", port=0, **options, **files) as one:
        one.export("py", "add")(lambda a, b: a + b)
        table = {{"one@127.0.0.1": ("127.0.0.1", one.addresses[0].port)}}
        async with Node("two@127.0.0.1", nodes=table, listen=False, **options) as two:
            assert await two.call("one@127.0.0.1", "py", "add", [1, 2]) == 3
            if carrier == "quic":
                one.accept_streams(lambda stream: None)
                stream = await two.open_stream("one@127.0.0.1")
                stream.close()

{runner}(main())
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-X", "dev", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    # In its debug mode asyncio logs what took long, which depends on the machine.
    done.stderr = SLOW.sub("", done.stderr)
    return done


@pytest.mark.parametrize(
    ("carrier", "runner"), [("tcp", "quicdist.run"), ("tls", "asyncio.run"), ("quic", "quicdist.run")]
)
def test_two_nodes_leave_nothing_open_and_warn_of_nothing(carrier: str, runner: str, tmp_path: Path) -> None:
    make_development_certificates(tmp_path)
    done = run("-c", PAIR.format(level="WARNING", runner=runner), carrier, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_lines_of_aioquic_are_not_logged_unless_the_program_sets_a_level(tmp_path: Path) -> None:
    make_development_certificates(tmp_path)
    program = PAIR.format(level="INFO", runner="asyncio.run")
    silent = run("-c", program, "quic", tmp_path)
    assert silent.returncode == 0
    assert "INFO:quicdist.node:connected to" in silent.stderr
    assert "INFO:quic:" not in silent.stderr
    asked = program.replace(
        "async def main", "logging.getLogger('quic').setLevel(logging.INFO)\nasync def main"
    )
    assert "INFO:quic:" in run("-c", asked, "quic", tmp_path).stderr


@pytest.mark.parametrize(
    "command", [("--help",), ("certs", "{}"), ("decode", "--text", "8361ff"), ("completion", "bash")]
)
def test_the_command_warns_of_nothing(command: tuple[str, ...], tmp_path: Path) -> None:
    done = run("-m", "quicdist", *(each.format(tmp_path / "certs") for each in command))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_and_the_echo_example_warn_of_nothing(tmp_path: Path) -> None:
    make_development_certificates(tmp_path)
    name = node_name("clean")
    program = ("-W", "error", "-X", "dev", str(ROOT / "examples" / "echo_node.py"))
    files = ("--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem"))
    own = ("--name", name, "--cookie", "clean", "--host", "127.0.0.1", "--port", "0", *files)
    with echo_node(*program[1:], *own, script=Path(program[0])) as node:
        port = port_of(node.read_line())
        target = f"quic://{name}:{port}"
        options = ("--cookie", "clean", "--no-verify")
        for arguments in (
            ("ping", target),
            ("call", target, "echo", "echo", "[1]"),
            ("send", target, "echo", "x"),
        ):
            done = run("-m", "quicdist", *arguments, *options)
            assert (done.returncode, done.stderr) == (0, "")
        assert "Warning" not in node.end()
    assert node.process.returncode == 0
