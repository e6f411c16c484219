"""The real observer, pointed at a Python node: each tab and the window of a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from quicdist import ChildSpec, GenEvent, GenServer, GenStatem, NextState, Node, Process, Supervisor
from quicdist.term import Atom
from tests.interop.carriers import COOKIE
from tests.interop.cluster import names
from tests.support.beam import tcp_args
from tests.support.observer import TABS, Observer, beam_with_display, virtual_display, what_is_missing

pytestmark = pytest.mark.beam


class Counter(GenServer):
    """A server with a state to show."""

    def __init__(self) -> None:
        self.count = 7


class Door(GenStatem):
    """A state machine."""

    def init(self) -> NextState:
        return NextState("open")


async def waits(_: Process) -> None:
    await asyncio.Event().wait()


@pytest_asyncio.fixture
async def observer(tmp_path: Path) -> AsyncIterator[Observer]:
    """The observer of a BEAM, and a node with a server, a supervisor and a process with messages."""
    if (missing := what_is_missing()) is not None:
        pytest.skip(missing)
    ours, theirs = names()
    async with Node(ours, cookie=COOKIE, carrier="tcp", host="127.0.0.1") as node:
        node.exports.introspection()
        node.serve(Door(), name="door")
        node.serve(GenEvent({}), name="events")
        supervisor = Supervisor([ChildSpec("counter", Counter, name="counter")])
        await node.gen_server.start(supervisor, name="counter_sup")
        waiting = node.spawn(waits, name="waiting")
        for number in range(20):
            waiting.send(waiting.pid, (Atom("message"), number))
        with (
            virtual_display() as display,
            beam_with_display(tcp_args(theirs, COOKIE, hidden=True), display, str(tmp_path)) as beam,
        ):
            shown = Observer(beam, ours)
            await shown.open()
            yield shown
            assert "crashed" not in beam.logged()
            assert "REPORT" not in beam.logged()


async def test_every_tab_and_process_window_of_the_observer_shows_the_node(observer: Observer) -> None:
    for tab in TABS:
        assert await observer.show(tab) == observer.node, tab
    for name in ("counter", "waiting", "counter_sup", "door", "events", "net_kernel", "user"):
        pages = await observer.show_process(name, page=4)
        assert pages == '["Process Information","Messages","Dictionary","Stack Trace","State"]'
    assert await observer.show("System", count=0) == observer.node
    assert await observer.is_running()
