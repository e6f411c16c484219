"""``examples/demo.py``: exits with 0 only if every line held, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.demo_report import CannotGoOn, DoesNotHold, Report
from quicdist import QuicDistError
from tests.support.beam import erl_path

ROOT = Path(__file__).resolve().parent.parent.parent
LEFT_OUT = "the part with a BEAM is left out"


class Run:
    """A run of the demo, told from others by a mark in the environment of all its programs."""

    def __init__(self, directory: Path, **env: str) -> None:
        self.mark = f"QUICDIST_DEMO_TEST={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "demo.py")],
            env={**os.environ, **env, name: value, "TMPDIR": str(directory), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self) -> tuple[int, str]:
        """Its exit status, and all it printed."""
        out, _ = self.process.communicate(timeout=90)
        return self.process.returncode, out

    def close(self) -> None:
        """However the test ends, its program does."""
        self.process.kill()
        self.process.communicate()

    def left_behind(self) -> list[str]:
        """The programs of this run that still run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes().split(b"\0"):
                    found.append((path.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # another user's, or gone meanwhile
                continue
        return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A short path: the demo's temporary files."""
    path = tmp_path / "t"
    path.mkdir()
    return path


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[..., Run]]:
    """Starts a run with these variables in its environment."""
    with contextlib.ExitStack() as stack:

        def start(**env: str) -> Run:
            return stack.enter_context(contextlib.closing(Run(directory, **env)))

        yield start


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="there is no /proc to look into"
)


@needs_proc
def test_without_erl(start: Callable[..., Run], directory: Path) -> None:
    run = start(PATH=str(directory / "nothing"), QUICDIST_ERL="")
    status, out = run.end()
    assert status == 0, out
    assert "✗" not in out
    assert "all 15 lines held" in out
    assert out.count(LEFT_OUT) == 1
    assert run.left_behind() == []
    assert list(directory.iterdir()) == []


@pytest.mark.beam
@needs_proc
def test_with_a_beam_and_two_at_once(start: Callable[..., Run], directory: Path) -> None:
    erl = erl_path()
    assert erl is not None
    runs = [start(QUICDIST_ERL=erl) for _ in range(2)]
    for run in runs:
        status, out = run.end()
        assert status == 0, out
        assert LEFT_OUT not in out
        assert "Python and a stock BEAM, over TCP" in out
        assert "[3,2,1]" in out
        assert run.left_behind() == []
    assert list(directory.iterdir()) == []


@pytest.mark.quic_dist
def test_with_quic_dist(start: Callable[..., Run]) -> None:
    status, out = start().end()
    assert status == 0, out
    assert "starts: OTP" in out.partition("-proto_dist quic")[2]
    assert "all 33 lines held" in out


@needs_proc
def test_a_line_that_does_not_hold(start: Callable[..., Run]) -> None:
    """An erl that is none: what needs no BEAM still runs, the exit status says that all is not well."""
    run = start(QUICDIST_ERL="/bin/false")
    status, out = run.end()
    assert status == 1
    assert "✗ /bin/false is looked at" in out
    assert "✗ 1 of 16 lines did not hold" in out
    assert run.left_behind() == []


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted(start: Callable[..., Run], directory: Path, number: signal.Signals) -> None:
    run = start(PATH=str(directory / "nothing"), QUICDIST_ERL="")
    assert run.process.stdout is not None
    while "a second node joins" not in run.process.stdout.readline():
        assert run.process.poll() is None
    run.process.send_signal(number)
    status, out = run.end()
    assert status == 130
    assert "Traceback" not in out
    assert _soon(lambda: run.left_behind() == [])
    assert list(directory.iterdir()) == []


def _soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not holds():  # a killed process is reaped by init, which tells nobody
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class TestReport:
    async def test_lines_that_hold_and_lines_that_do_not(self, capsys: pytest.CaptureFixture[str]) -> None:
        report = Report()
        async with report.line("one") as line:
            line.expect(1, 1)
        async with report.line("two") as line:
            line.expect(1, 2)
        async with report.line("three", timeout=0.01):
            await report_nothing()
        async with report.line("four"):
            raise QuicDistError("the reason")
        assert (report.held, report.failed) == (1, 3)
        assert report.close(time.monotonic()) == 1
        out = capsys.readouterr().out
        assert [line.split() for line in out.splitlines() if line.strip()] == [
            ["✓", "one", "1"],
            ["✗", "two", "expected", "2,", "got", "1"],
            ["✗", "three", "nothing", "came", "within", "0.01", "s"],
            ["✗", "four", "the", "reason"],
            ["✗", "3", "of", "4", "lines", "did", "not", "hold", "(0.0", "s)"],
        ]

    async def test_a_report_without_lines_is_none(self) -> None:
        assert Report().close(time.monotonic()) == 1

    async def test_an_essential_line(self) -> None:
        report = Report()
        with pytest.raises(CannotGoOn):
            async with report.line("it", essential=True):
                raise DoesNotHold
        assert report.failed == 1

    async def test_a_mistake_in_the_demo_is_no_line(self) -> None:
        with pytest.raises(ZeroDivisionError):
            async with Report().line("it"):
                1 / 0  # noqa: B018


async def report_nothing() -> None:
    import asyncio

    await asyncio.Event().wait()
