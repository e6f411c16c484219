"""Programs, sessions and commands of the README and of pages of docs, run against a BEAM."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import io
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import pytest

import quicdist
from quicdist import Node, QuicDistError
from tests.support.beam import Beam
from tests.support.epmd import free_port, private_epmd
from tests.test_docs import ROOT, Block, blocks

README = ROOT / "README.md"
QUIC = ROOT / "docs" / "how-to" / "quic.md"
COMMAND_PAGE = ROOT / "docs" / "how-to" / "command.md"
COOKBOOK = ROOT / "docs" / "how-to" / "cookbook.md"
COMPATIBILITY = ROOT / "docs" / "reference" / "compatibility.md"
NODE_PAGE = ROOT / "docs" / "reference" / "node.md"
PROGRAM_LINES = 15
README_LINES = 135

#: A shell prompt with its expression, and the printed value.
PROMPT = re.compile(r"^\d+> (?P<source>.*)\.\n(?P<value>(?:(?!\d+> ).*\n)*)", re.M)
COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.M)
#: A line of a shell with its value.
LINE = re.compile(r"^(?P<source>.*)\.  +% (?P<value>.*)\n", re.M)
#: A printing line with its output.
PRINTED = re.compile(r"^\s*print\(.*\)  # (.*)$", re.M)


def section(title: str, page: Path = README) -> list[Block]:
    """The blocks of a section; of "" those before the first section."""
    text = page.read_text()
    begin = text.index(f"## {title}\n") if title else 0
    end = text.find("\n## ", begin + 1)
    lines = (text.count("\n", 0, begin), text.count("\n", 0, end if end >= 0 else len(text)))
    return [block for block in blocks(page) if lines[0] < block.line <= lines[1] + 1]


def in_language(found: list[Block], language: str) -> list[str]:
    return [block.body for block in found if block.language == language]


class Program:
    """A program of a page, run as a reader would run it."""

    def __init__(self, source: str, directory: Path) -> None:
        path = directory / "program.py"
        path.write_text(source)
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(path)], cwd=directory, stdout=subprocess.PIPE, text=True
        )

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def beam() -> Iterator[Beam]:
    """The BEAM of the README, started by its command."""
    command, *args = shlex.split(in_language(section(""), "sh")[1])
    assert command == "erl"
    with private_epmd(), Beam(args) as running:
        yield running


def with_the_command() -> dict[str, str]:
    """The environment in which quicdist is installed."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def shell(session: str) -> list[tuple[str, str]]:
    """The expressions of an Erlang session with the printed values."""
    found = [(match["source"], match["value"].rstrip("\n")) for match in PROMPT.finditer(session)]
    assert found, session
    return found


def pasted(lines: str) -> list[tuple[str, str]]:
    """The same for a block of lines without prompts."""
    found = [(match["source"], match["value"]) for match in LINE.finditer(lines)]
    assert len(found) == len(lines.splitlines()), lines
    return found


def printed_by_the_shell(source: str) -> str:
    return f'unicode:characters_to_binary(io_lib:format("~tp", [begin {source} end]))'


def test_the_readme_begins_with_commands_a_program_and_three_lines_of_erlang() -> None:
    found = section("")
    assert [block.language for block in found] == ["sh", "sh", "python", "erlang"]
    commands = [line.split("#")[0].strip() for line in found[0].body.splitlines()]
    assert commands == ["pip install .", "make demo", "make test"]
    assert len(found[2].body.splitlines()) == PROGRAM_LINES
    assert len(pasted(found[3].body)) == 3
    assert len(README.read_text().splitlines()) <= README_LINES


@pytest.mark.beam
def test_the_program_of_the_readme_connects_to_the_beam(beam: Beam, tmp_path: Path) -> None:
    (program,), (lines,) = in_language(section(""), "python"), in_language(section(""), "erlang")
    with Program(program, tmp_path) as running:
        assert running.read_line() == "True"
        assert running.read_line() == "[3, 2, 1]"
        for source, value in pasted(lines):
            assert beam.eval_bytes_now(printed_by_the_shell(source)).decode() == value
        running.process.terminate()
        assert running.process.wait(30) == 0


@pytest.mark.beam
def test_the_commands_of_the_page_on_the_command_print_what_is_shown(beam: Beam) -> None:
    session = "".join(in_language(blocks(COMMAND_PAGE), "console"))
    commands = [(match["command"], match["output"]) for match in COMMAND.finditer(session)]
    assert len(commands) == len(re.findall(r"^\$ ", session, re.M))
    for command, output in commands:
        done = subprocess.run(
            ["sh", "-c", command], capture_output=True, text=True, check=False, env=with_the_command()
        )
        assert done.stdout + done.stderr == output


class Printed(io.StringIO):
    """Standard output whose lines can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self._written = asyncio.Event()

    def write(self, text: str) -> int:
        self._written.set()
        return super().write(text)

    async def lines(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.getvalue().count("\n") < count:
                self._written.clear()
                await self._written.wait()


@pytest.mark.beam
@pytest.mark.parametrize("page", [COOKBOOK, NODE_PAGE], ids=["cookbook.md", "node.md"])
async def test_the_examples_of_a_page_print_what_is_shown(
    beam: Beam, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks run in order, as in one program and one shell."""
    printed = Printed()
    expected: list[str] = []
    async with Node("py@127.0.0.1", cookie="secret", carrier="tcp", host="127.0.0.1") as node:
        monkeypatch.setattr(sys, "stdout", printed)
        names: dict[str, object] = {"node": node, "__name__": "cookbook"}
        for block in blocks(page):
            if block.language == "python":
                await printed.lines(len(expected))  # lines in the order of the blocks
                expected += PRINTED.findall(block.body)
                code = compile(block.body, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                result = FunctionType(code, names)()
                if inspect.isawaitable(result):
                    await result
            elif block.language == "erl":
                for source, value in shell(block.body):
                    assert (await beam.eval_bytes(printed_by_the_shell(source))).decode() == value
        await printed.lines(len(expected))
    assert printed.getvalue().splitlines() == expected
    assert len(expected) > 3


@pytest.mark.quic_dist
def test_the_page_on_quic_connects_both_nodes_with_one_configuration(tmp_path: Path) -> None:
    """The files, commands, program and lines of the page, with the ports and paths of this test."""
    found = blocks(QUIC)
    own = {
        "4501": str(free_port()),
        "4503": str(free_port()),
        "certs/": f"{tmp_path}/certs/",
        "vm.args": f"{tmp_path}/vm.args",
        " sys\n": f" {tmp_path}/sys\n",
    }

    def with_own(text: str) -> str:
        return re.sub("|".join(map(re.escape, own)), lambda match: own[match[0]], text)

    (sys_config, lines), (vm_args,) = in_language(found, "erlang"), in_language(found, "")
    (tmp_path / "sys.config").write_text(with_own(sys_config))
    (tmp_path / "vm.args").write_text(with_own(vm_args))
    certs, erl = in_language(found, "sh")[0].splitlines()
    subprocess.run(shlex.split(certs), cwd=tmp_path, check=True, capture_output=True, env=with_the_command())
    command, *args = shlex.split(with_own(f"{erl}\n"))
    assert command == "erl"
    (program,) = in_language(found, "python")
    with Beam(args) as beam, Program(program, tmp_path) as running:
        assert running.read_line() == "True"
        assert running.read_line() == "[3, 2, 1]"
        for source, value in pasted(lines):
            assert beam.eval_bytes_now(printed_by_the_shell(source)).decode() == value


def test_the_table_of_features_names_existing_tests() -> None:
    table = COMPATIBILITY.read_text().partition("## Features of quic_dist")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|") and not line.startswith("| **")][2:]
    assert len(rows) > 60
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, name in named:
            assert re.search(rf"def {name}\(", (ROOT / "tests" / path).read_text()), row


def test_every_error_is_in_the_docs() -> None:
    text = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    for module in pkgutil.walk_packages(quicdist.__path__, "quicdist."):
        if module.name != "quicdist.__main__":
            importlib.import_module(module.name)
    names = {error.__name__ for error in errors(QuicDistError)}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_errors_of_the_quicdist_namespace_are_marked() -> None:
    text = NODE_PAGE.read_text().partition("\n## Errors\n")[2]
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    named = re.findall(r"`(\w+)`( \*)?", " ".join(rows))
    assert len(named) > 20
    assert {name for name, mark in named if bool(mark) != hasattr(quicdist, name)} == set()


def errors(base: type[Exception]) -> list[type[Exception]]:
    """The subclasses of ``base`` without subclasses."""
    below = [error for error in base.__subclasses__() if error.__module__.startswith("quicdist.")]
    return [base] if not below else [leaf for error in below for leaf in errors(error)]
