"""``examples/demo.py`` exits with 0 only if every step succeeded, and leaves no process or file behind."""

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

from examples.demo_report import DemoAborted, Report, StepFailed
from quicdist import QuicDistError
from tests.support.beam import erl_path

ROOT = Path(__file__).resolve().parent.parent.parent
SKIPPED = "the part with a BEAM is skipped"


class Run:
    """A run of the demo, identified by a variable in the environment of all its programs."""

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
        """End the program, however the test ends."""
        self.process.kill()
        self.process.communicate()

    def left_behind(self) -> list[str]:
        """The programs of this run that are still running."""
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


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@needs_proc
def test_the_demo_without_erl_skips_the_beams(start: Callable[..., Run], directory: Path) -> None:
    run = start(PATH=str(directory / "nothing"), QUICDIST_ERL="")
    status, out = run.end()
    assert status == 0, out
    assert "✗" not in out
    assert "all 15 steps succeeded" in out
    assert out.count(SKIPPED) == 1
    assert run.left_behind() == []
    assert list(directory.iterdir()) == []


@pytest.mark.beam
@needs_proc
def test_two_demos_with_a_beam_succeed_at_the_same_time(start: Callable[..., Run], directory: Path) -> None:
    erl = erl_path()
    assert erl is not None
    runs = [start(QUICDIST_ERL=erl) for _ in range(2)]
    for run in runs:
        status, out = run.end()
        assert status == 0, out
        assert SKIPPED not in out
        assert "Python and a stock BEAM, over TCP" in out
        assert "[3,2,1]" in out
        assert run.left_behind() == []
    assert list(directory.iterdir()) == []


@pytest.mark.quic_dist
def test_the_demo_with_quic_dist_succeeds(start: Callable[..., Run]) -> None:
    status, out = start().end()
    assert status == 0, out
    assert "starts: OTP" in out.partition("-proto_dist quic")[2]
    assert "all 33 steps succeeded" in out


@needs_proc
def test_the_demo_with_a_broken_erl_fails(start: Callable[..., Run]) -> None:
    """With an erl that does not work, the steps without a BEAM still run, and the exit status is 1."""
    run = start(QUICDIST_ERL="/bin/false")
    status, out = run.end()
    assert status == 1
    assert "✗ find the version of /bin/false" in out
    assert "✗ 1 of 16 steps failed" in out
    assert run.left_behind() == []


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_demo_leaves_nothing_behind(
    start: Callable[..., Run], directory: Path, number: signal.Signals
) -> None:
    run = start(PATH=str(directory / "nothing"), QUICDIST_ERL="")
    assert run.process.stdout is not None
    while "connect a second node" not in run.process.stdout.readline():
        assert run.process.poll() is None
    run.process.send_signal(number)
    status, out = run.end()
    assert status == 130
    assert "Traceback" not in out
    assert _soon(lambda: run.left_behind() == [])
    assert list(directory.iterdir()) == []


def _soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not holds():  # init reaps a killed process; there is no event for it
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class TestReport:
    async def test_steps_that_succeed_and_fail_are_printed_and_counted(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        report = Report()
        async with report.line("one") as line:
            line.expect(1, 1)
        async with report.line("two") as line:
            line.expect(1, 2)
        async with report.line("three", timeout=0.01):
            await report_nothing()
        async with report.line("four"):
            raise QuicDistError("the reason")
        assert (report.succeeded, report.failed) == (1, 3)
        assert report.close(time.monotonic()) == 1
        out = capsys.readouterr().out
        assert [line.split() for line in out.splitlines() if line.strip()] == [
            ["✓", "one", "1"],
            ["✗", "two", "expected", "2,", "got", "1"],
            ["✗", "three", "no", "result", "within", "0.01", "s"],
            ["✗", "four", "the", "reason"],
            ["✗", "3", "of", "4", "steps", "failed", "(0.0", "s)"],
        ]

    async def test_a_report_without_steps_fails(self) -> None:
        assert Report().close(time.monotonic()) == 1

    async def test_a_failed_essential_step_aborts_the_demo(self) -> None:
        report = Report()
        with pytest.raises(DemoAborted):
            async with report.line("it", essential=True):
                raise StepFailed
        assert report.failed == 1

    async def test_a_programming_error_of_the_demo_propagates(self) -> None:
        with pytest.raises(ZeroDivisionError):
            async with Report().line("it"):
                1 / 0  # noqa: B018


async def report_nothing() -> None:
    import asyncio

    await asyncio.Event().wait()
