"""What is wrong with a command before anything is done: exit status 2, and why."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import quicdist
from tests.cli.command import PROGRAM, run, run_program

NODE = "a@127.0.0.1"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["ping"], "Missing argument 'NODE'."),
        (
            ["ping", "a"],
            "Invalid value for 'NODE': 'a' is not a node name: it must be of the form alive@host",
        ),
        (["ping", NODE, "b@127.0.0.1"], "Got unexpected extra argument (b@127.0.0.1)"),
        (
            ["ping", NODE, "--name", "py"],
            "Invalid value for '--name': 'py' is not a node name: it must be of the form alive@host",
        ),
        (
            ["ping", NODE, "--name", "p y@127.0.0.1"],
            "Invalid value for '--name': 'p y@127.0.0.1' is not a node name: it has a character that",
        ),
        (
            ["ping", NODE, "--carrier", "udp"],
            "Invalid value for '--carrier': 'udp' is not one of 'quic', 'tcp', 'tls'.",
        ),
        (["ping", NODE, "--timeout", "0"], "Invalid value for '--timeout': 0.0 is not in the range x>0."),
        (["ping", NODE, "--timeout", "soon"], "Invalid value for '--timeout': 'soon' is not a valid float"),
        (["ping", NODE, "--timeout", "nan"], "Invalid value for '--timeout': 'nan' is no number of seconds"),
        (["names", "--timeout", "nan"], "Invalid value for '--timeout': 'nan' is no number of seconds"),
        (
            ["ping", NODE, "--name", NODE],
            f"--name {NODE} is the name of the other node: two nodes need two names",
        ),
        (
            ["call", NODE, "m" * 256, "f"],
            "Invalid value for MODULE: an atom has at most 255 characters, not 256",
        ),
        (["send", NODE, "'a','b'", "x"], "Invalid value for NAME: 1:4: expected the end of the text"),
        (
            ["ping", NODE, "--cookie", ""],
            "Invalid value for --cookie: a cookie has 1 to 255 characters, this one 0",
        ),
        (["ping", NODE, "--cert", __file__], "--cert and --key go together: only one of them is given"),
        (
            ["ping", NODE, "--cacert", "no/such.pem"],
            "Invalid value for '--cacert': File 'no/such.pem' does not exist.",
        ),
        (["nodes"], "no nodes: name some, or --epmd, --dns, --srv, or a --config with topologies"),
        (["nodes", "--dns", "app"], "Invalid value for --dns: 'app' is not of the form NAME@QUERY"),
        (["call", NODE, "lists"], "Missing argument 'FUNCTION'."),
        (
            ["call", NODE, "lists", "reverse", "[[1,2,3]"],
            "Invalid value for ARGS: 1:9: expected ',', '|' or ']' in a list, got the end of the text",
        ),
        (
            ["call", NODE, "lists", "reverse", "{1,2}"],
            "Invalid value for ARGS: {1,2} is no list of arguments: write [{1,2}]",
        ),
        (
            ["call", NODE, "lists", "reverse", "[1|2]"],
            "Invalid value for ARGS: [1|2] is no list of arguments: write [[1|2]]",
        ),
        (["call", NODE, "lists", "reverse", "[X]"], "Invalid value for ARGS: 1:2: "),
        (["certs"], "Missing argument 'DIR'."),
        (["no-such-command"], "No such command 'no-such-command'."),
    ],
)
def test_wrong_usage(arguments: list[str], reason: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("Usage: quicdist ")
    last = err.splitlines()[-1]
    assert last.removeprefix("Error: ").startswith(reason)


@pytest.mark.parametrize(
    "address",
    ["", "a", NODE, f"{NODE}=", f"{NODE}=127.0.0.1", f"{NODE}=:4433", f"{NODE}=h:0", f"{NODE}=h:65536",
     f"{NODE}=h:x", f"{NODE}=::1:4433", "a=h:4433", f"{NODE}=[::1:4433", f"{NODE}=h:\uff14"],
)  # fmt: skip
def test_an_address_that_is_none(address: str) -> None:
    status, out, err = run("ping", NODE, "--address", address)
    assert (status, out) == (2, "")
    assert (
        f"Invalid value for '--address': {address!r} is not of the form name@host=[CARRIER://]HOST:PORT"
        in err
    )


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["ping", "-h"], ["call", "--help"], ["certs", "--help"]]
)
def test_help(arguments: list[str]) -> None:
    result = run(*arguments)
    assert "Usage: quicdist" in result.out + result.err
    assert result.status == (0 if arguments else 2)


@pytest.mark.parametrize("command", ["ping", "call"])
def test_the_shared_options(command: str) -> None:
    options = set(re.findall(r"^  (--[a-z/ -]+)", run(command, "--help").out, re.M))
    assert {option.split()[0] for option in options} == {
        *("--name", "--cookie", "--carrier", "--address", "--cert", "--key", "--cacert"),
        *("--verify", "--timeout", "--config", "--vm-args", "--json"),
    }


def test_the_program(tmp_path: Path) -> None:
    assert run_program("--version") == (0, f"quicdist, version {quicdist.__version__}\n", "")
    status, out, err = run_program("ping", "a")
    assert (status, out) == (2, "")
    assert err.endswith("'a' is not a node name: it must be of the form alive@host\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_command_that_is_started_without_a_standard_stream_ends_as_usual(closed: str) -> None:
    command = f"{PROGRAM} ping {NODE}:1 --no-verify --cookie c --timeout 5 {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ("" if closed == ">&-" else "pang\n")
    assert done.stderr.startswith("" if closed == "2>&-" else f"quicdist: cannot reach node {NODE}: ")


@pytest.mark.parametrize("arguments", ["--help", "decode --text 836a"])
def test_a_full_disk_is_an_error_in_words(arguments: str) -> None:
    command = f"{PROGRAM} {arguments} > /dev/full"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "quicdist: [Errno 28] No space left on device\n")
