"""What all tests share: which BEAM there is, what is left out without it, and fixtures."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from hypothesis import settings

from tests.support.beam import Beam, BeamError, elixir_path, erl_applications, erl_facts, erl_path
from tests.support.epmd import private_epmd
from tests.support.ports import any_port
from tests.support.tasks import left_over

# What an example takes says nothing on a machine that others use too.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

OLDEST_OTP = 25
OLDEST_OTP_QUIC_DIST = 26

# -- which BEAM there is -----------------------------------------------------------------------


@dataclass
class Machine:
    """What this machine has for the tests that need a BEAM, looked up only if one is to run."""

    summary: str = ""
    #: Marker to the reason why its tests cannot run here; a marker that is not in it can.
    left_out: dict[str, str] = field(default_factory=dict)


MACHINE = pytest.StashKey[Machine]()


def look_around() -> Machine:
    erl = erl_path()
    how = (
        "to have them run, name an OTP 26 or later in QUICDIST_ERL (or PATH) and put the directory "
        "that holds erlang_quic's application (quic/ebin) on ERL_LIBS"
    )
    if erl is None:
        none = "there is no erl on this machine (Debian, Ubuntu: erlang-base)"
        return Machine(none, {"beam": none, "quic_dist": f"{none}; {how}"})
    try:
        release, quic = erl_facts()
    except (BeamError, OSError, ValueError, subprocess.SubprocessError) as error:
        broken = f"{erl} does not run: {error}"
        return Machine(broken, {"beam": broken, "quic_dist": broken})
    machine = Machine(f"{erl}, OTP {release}, application quic: {quic or 'not found'}")
    if release < OLDEST_OTP:
        machine.left_out["beam"] = f"{erl} is OTP {release}; the tests need {OLDEST_OTP} or later"
    if quic is None:
        machine.left_out["quic_dist"] = f"{erl} finds no application quic; {how}"
    elif release < OLDEST_OTP_QUIC_DIST:
        machine.left_out["quic_dist"] = f"{erl} is OTP {release}; {how}"
    elif "quic" not in erl_applications():
        machine.left_out["quic_dist"] = f"{erl} lacks what quic needs (Debian, Ubuntu: erlang-ssl)"
    return machine


def reason_to_leave_out(item: pytest.Item, machine: Machine) -> str | None:
    for name in ("quic_dist", "beam"):
        if item.get_closest_marker(name) and (reason := machine.left_out.get(name)):
            return f"{name}: {reason}"
    if item.get_closest_marker("elixir") and elixir_path() is None:
        return f"elixir: there is none beside {erl_path()} (Debian, Ubuntu: elixir)"
    for marker in item.iter_markers("otp_application"):
        for name in marker.args:
            if name not in erl_applications():
                package = f"erlang-{name.replace('_', '-')}"
                return f"{name}: {erl_path()} has no such application (Debian, Ubuntu: {package})"
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-beam",
        action="store_true",
        help="fail if no test that talks to a real BEAM was run and passed",
    )
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")
    parser.addoption("--gateway", action="store_true", help="run the tests with a BEAM behind a gateway too")
    parser.addoption("--tls", action="store_true", help="run the tests over every carrier over TLS too")


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of several processes that share the tests (pytest-xdist)."""
    return hasattr(config, "workerinput")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for marker in ("slow", "gateway", "tls"):
        if not config.getoption(f"--{marker}"):
            config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(marker)])
            items[:] = [item for item in items if not item.get_closest_marker(marker)]


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    if not any(item.get_closest_marker(name) for item in items for name in ("beam", "quic_dist")):
        return []
    machine = config.stash.setdefault(MACHINE, look_around())
    return [f"erl: {machine.summary}"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if not any(item.get_closest_marker(name) for name in ("quic_dist", "beam")):
        return
    if MACHINE not in item.config.stash:
        item.config.stash[MACHINE] = look_around()
    if reason := reason_to_leave_out(item, item.config.stash[MACHINE]):
        # From here, not from a marker: pytest then folds them all into one line of its summary.
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # What was logged may hold lone surrogates, which a worker cannot send.
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


class Counter:
    """Counts the tests with a BEAM that passed; with several workers, in the process that they report to."""

    def __init__(self) -> None:
        self.passed = {"beam": 0, "quic_dist": 0}
        self.reported = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name in self.passed.keys() & report.keywords:
            self.reported = True
            self.passed[name] += report.when == "call" and report.passed


COUNTER = pytest.StashKey[Counter]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTER] = Counter()
    config.pluginmanager.register(config.stash[COUNTER])


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if is_worker(config) or session.exitstatus != pytest.ExitCode.OK:
        return
    if config.getoption("--require-beam") and not any(config.stash[COUNTER].passed.values()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counter = config.stash[COUNTER]
    passed = counter.passed
    if counter.reported:
        machine = config.stash.setdefault(MACHINE, look_around())
        counts = ", ".join(f"{count} {name} tests passed" for name, count in passed.items())
        terminalreporter.write_line(f"erl: {machine.summary}; {counts}")
    if config.getoption("--require-beam") and not any(passed.values()):
        terminalreporter.write_line("--require-beam: no test against a real BEAM passed", red=True)


# -- fixtures ----------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _own_epmd(request: pytest.FixtureRequest) -> Iterator[None]:
    """An epmd for each worker: the nodes of two tests may have the same name."""
    if not is_worker(request.config) or "ERL_EPMD_PORT" in os.environ or shutil.which("epmd") is None:
        yield
        return
    with private_epmd():
        yield


@pytest.fixture(scope="module", autouse=True)
def _earlier_objects_are_not_collected() -> None:
    """Thousands of tests, and what is kept of those that ran, are millions of objects: a full collection,
    which many tests ask for, would look at them all."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def beam() -> Iterator[Beam]:
    """A stock BEAM that is no node of any cluster, to ask what OTP makes of something."""
    with Beam() as running:
        yield running


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Call it for a port of 127.0.0.1 that nobody holds, neither in TCP nor in UDP.

    For peers that must be told their port. What can listen on port 0 should do that instead.
    """
    given: set[int] = set()

    def find() -> int:
        while (port := any_port()) in given:
            pass
        given.add(port)
        return port

    return find


@pytest.fixture
def stops_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that leave calls unanswered on purpose: a node that stops does not wait for them long."""
    monkeypatch.setattr("quicdist.node.shutdown.SHUTDOWN_TIME", 0.1)


@pytest_asyncio.fixture
async def _no_task_outlives_the_test() -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    if left := await left_over(before):
        pytest.fail(left)


@pytest.fixture(autouse=True)
def _tasks_watched(request: pytest.FixtureRequest) -> None:
    # Set up before the test's own fixtures, so checked after they are torn down.
    if request.node.get_closest_marker("asyncio"):
        request.getfixturevalue("_no_task_outlives_the_test")


@pytest.fixture(scope="session", autouse=True)
def _programs_hear_sigint() -> Iterator[None]:
    """A program inherits that SIGINT is ignored, as it is for a job that a shell has in the background
    (``make test &`` in a script), but no handler: with one that does nothing in place of ``SIG_IGN``, pytest
    goes on ignoring it, and the programs that tests start and interrupt do not."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, lambda number, frame: None)
    yield
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture(scope="session", autouse=True)
def _faulthandler_is_on() -> None:
    assert faulthandler.is_enabled(), "a crash or a hang of the tests would leave no trace"
