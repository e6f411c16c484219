"""Completion of the command by a shell."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import click
import pytest

from quicdist.cli.main import COMMANDS
from tests.cli.command import PROGRAM, run
from tests.cli.peers import Peer, tcp_beam


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_a_module_of_its_name(name: str) -> None:
    command = getattr(importlib.import_module(f"quicdist.cli.commands.{name}"), name)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_the_command(shell: str) -> None:
    status, out, err = run("completion", shell)
    assert (status, err) == (0, "")
    assert f"_QUICDIST_COMPLETE={shell}_complete" in out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
class TestBash:
    def complete(self, *words: str) -> list[str]:
        """What bash offers for the last word, by the function that the script defines."""
        script = f"""
        eval "$(quicdist completion bash)"
        COMP_WORDS=(quicdist {" ".join(map(repr, words))}) COMP_CWORD={len(words)}
        _quicdist_completion quicdist
        printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    def test_commands(self) -> None:
        assert self.complete("pi") == ["pids", "ping"]

    def test_options(self) -> None:
        assert {"--carrier", "--cacert", "--cert"} <= set(self.complete("ping", "--c"))
        assert self.complete("ping", "--carrier", "t") == ["tcp", "tls"]

    @pytest.fixture
    def beam(self) -> Iterator[Peer]:
        with tcp_beam() as peer:
            yield peer

    @pytest.mark.beam
    def test_nodes_are_those_of_epmd(self, beam: Peer) -> None:
        assert self.complete("ping", beam.name[:-3]) == [beam.name]
        assert self.complete("ping", f"tcp://{beam.name[:-3]}") == [f"tcp://{beam.name}"]
