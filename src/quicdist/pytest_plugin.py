"""The pytest plugin: nodes, a fake BEAM and a real one as fixtures. See ``docs/how-to/testing.md``.

pytest loads this module in every run on a machine that has quicdist installed, so it imports nothing of
quicdist before a test asks for one of its fixtures."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from quicdist import Node, sync
    from quicdist.testing import Beam, FakeBeam

_MARKER = (
    "quicdist(**options): options of quicdist.Node for the nodes of quicdist_node, quicdist_pair and "
    'fake_beam, such as carrier="quic"'
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)
    if config.pluginmanager.hasplugin("asyncio"):
        # Fixtures that pytest-asyncio runs, in the event loop of the test.
        config.pluginmanager.import_plugin("quicdist.pytest_asyncio_fixtures")


@pytest.fixture(scope="session")
def quicdist_discovery() -> Any:
    """Where the nodes of all fixtures find each other."""
    from quicdist.discovery import StaticDiscovery

    return StaticDiscovery()


@pytest.fixture
def quicdist_options(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, quicdist_discovery: Any
) -> dict[str, Any]:
    """Options of the nodes of the other fixtures, those of the mark ``quicdist`` included: nodes that are
    made with them find each other. A free port of 127.0.0.1, no epmd, a cookie of the tests."""
    marker = request.node.get_closest_marker("quicdist")
    if marker is not None and marker.args:
        pytest.fail(f"the mark quicdist has options by name, not {marker.args!r}", pytrace=False)
    options: dict[str, Any] = {
        "cookie": "quicdist-tests",
        "carrier": "tcp",
        "host": "127.0.0.1",
        "port": 0,
        "discovery": quicdist_discovery,
        **(marker.kwargs if marker is not None else {}),
    }
    if {"quic", "tls"} & (
        {options["carrier"]} if isinstance(options["carrier"], str) else {*options["carrier"]}
    ):
        from quicdist import make_development_certificates

        files = make_development_certificates(tmp_path_factory.mktemp("quicdist"))
        options = {"cert": files.cert, "key": files.key, "cacert": files.ca, **options}
    return options


def _of(request: pytest.FixtureRequest, name: str) -> Any:
    """The fixture for coroutines or for plain functions, as the test is one."""
    is_coroutine = inspect.iscoroutinefunction(getattr(request.node, "obj", None))
    if is_coroutine and not request.config.pluginmanager.hasplugin("asyncio"):
        pytest.fail(f"{name} in a coroutine function needs pytest-asyncio", pytrace=False)
    return request.getfixturevalue(f"_{name}_{'async' if is_coroutine else 'sync'}")


@pytest.fixture
def quicdist_node(request: pytest.FixtureRequest) -> Node | sync.Node:
    """A node that runs: a ``quicdist.Node`` in a coroutine function, else a ``quicdist.sync.Node``."""
    node: Node | sync.Node = _of(request, "quicdist_node")
    return node


@pytest.fixture
def quicdist_pair(request: pytest.FixtureRequest) -> tuple[Node, Node] | tuple[sync.Node, sync.Node]:
    """Two nodes that run and know each other's address, of the same classes as ``quicdist_node``. They are
    not connected yet: the first message connects them."""
    pair: tuple[Node, Node] | tuple[sync.Node, sync.Node] = _of(request, "quicdist_pair")
    return pair


@pytest.fixture
def _quicdist_node_sync(quicdist_options: dict[str, Any]) -> Iterator[sync.Node]:
    from quicdist.sync import Node
    from quicdist.testing.names import node_names

    with Node(next(node_names()), **quicdist_options) as node:
        yield node


@pytest.fixture
def _quicdist_pair_sync(quicdist_options: dict[str, Any]) -> Iterator[tuple[sync.Node, sync.Node]]:
    from quicdist.sync import Node
    from quicdist.testing.names import node_names

    names = node_names()
    with Node(next(names), **quicdist_options) as one, Node(next(names), **quicdist_options) as two:
        yield one, two


@pytest.fixture
def fake_beam(quicdist_options: dict[str, Any]) -> Iterator[FakeBeam]:
    """A node that the program under test takes for a BEAM, and that answers what the test tells it to: see
    :class:`quicdist.testing.FakeBeam`."""
    from quicdist.testing import FakeBeam
    from quicdist.testing.names import node_names

    options = {name: value for name, value in quicdist_options.items() if name not in ("host", "port")}
    with FakeBeam(f"fake-{next(node_names())}", **options) as beam:
        yield beam


@pytest.fixture(scope="session")
def _quicdist_beam() -> Iterator[Beam | None]:
    from quicdist.testing import Beam
    from quicdist.testing.real_beam import erl_path

    if erl_path() is None:
        yield None
        return
    with ExitStack() as stack:
        yield stack.enter_context(Beam())


@pytest.fixture
def beam(_quicdist_beam: Beam | None) -> Beam:
    """A real BEAM, one for all tests of the run: see :class:`quicdist.testing.Beam`. The test is skipped
    where there is no ``erl``, neither on ``PATH`` nor in the environment variable ``QUICDIST_ERL``."""
    if _quicdist_beam is None:
        pytest.skip("needs a BEAM: there is no erl, neither on PATH nor in QUICDIST_ERL")
    return _quicdist_beam
