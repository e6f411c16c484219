"""Nodes that are no BEAMs: small programs with Jinterface and ei, compiled for the tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import TracebackType

import pytest

_HERE = Path(__file__).parent
#: Where Debian's erlang-dev and erlang-jinterface put things.
_ERLANG = Path("/usr/lib/erlang")
_JARS = (Path("/usr/share/java/OtpErlang.jar"), *_ERLANG.glob("lib/jinterface-*/priv/OtpErlang.jar"))
_HEADERS = (Path("/usr/include/ei.h"), _ERLANG / "usr/include/ei.h")

KINDS = ("jinterface", "ei")


def compiled(kind: str, directory: Path) -> list[str]:
    """Compile the program of ``kind``; its command. Leaves the test out where the packages are missing."""
    return _jinterface(directory) if kind == "jinterface" else _ei(directory)


def _jinterface(directory: Path) -> list[str]:
    jar = next((jar for jar in _JARS if jar.exists()), None)
    if jar is None or shutil.which("javac") is None:
        pytest.skip("jinterface: needs a JDK and OtpErlang.jar (Debian, Ubuntu: erlang-jinterface)")
    source = _HERE / "JinterfaceNode.java"
    subprocess.run(["javac", "-cp", jar, "-d", directory, source], check=True, timeout=100)
    return ["java", "-Xshare:auto", "-cp", f"{jar}:{directory}", "JinterfaceNode"]


def _ei(directory: Path) -> list[str]:
    header = next((header for header in _HEADERS if header.exists()), None)
    if header is None or shutil.which("gcc") is None:
        pytest.skip("ei: needs gcc and ei.h (Debian, Ubuntu: erlang-dev)")
    program, library = directory / "ei_node", header.parent.parent / "lib"
    where = [f"-I{header.parent}", f"-L{library}"]
    command = ["gcc", "-pthread", *where, "-o", str(program), str(_HERE / "ei_node.c"), "-lei"]
    subprocess.run(command, check=True, timeout=100)
    return [str(program)]


class ForeignNode:
    """A running node; a context manager."""

    def __init__(self, command: list[str], name: str, cookie: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [*command, name, cookie],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        assert self._line() == "ready"

    def ask(self, *words: str) -> str:
        """Give a command; its answer. Blocks."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words) + "\n")
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> ForeignNode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
