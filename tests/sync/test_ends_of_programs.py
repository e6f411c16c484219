"""How programs with a node of ``quicdist.sync`` end: by themselves, by Ctrl-C, by SIGTERM; and forks."""

from __future__ import annotations

import asyncio
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quicdist import NodeDown
from quicdist.sync import Node, loop_thread

ROOT = Path(__file__).resolve().parent.parent.parent


class Peer:
    """A node, and the programs that dial it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.port = node.addresses[0].port
        self.down: queue.Queue[NodeDown] = queue.Queue()
        node.subscribe(lambda event: self.down.put(event) if isinstance(event, NodeDown) else None)

    def start(self, program: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.sync.programs", program, str(self.port)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, program: str, *signals: signal.Signals) -> tuple[int, str, str]:
        """Its status, output and errors; the signals are sent when it is connected."""
        running = self.start(program)
        try:
            assert running.stdout is not None
            first = running.stdout.readline() if signals else ""
            for number in signals:
                running.send_signal(number)
            out, err = running.communicate(timeout=30)
        finally:
            running.kill()
            running.communicate()
        return running.returncode, first + out, err


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Node(
        "peer@127.0.0.1", cookie="programs", carrier="tcp", epmd=False, host="127.0.0.1", port=0
    ) as node:
        yield Peer(node)


def test_a_program_that_forgets_its_node_ends_and_the_node_is_stopped(peer: Peer) -> None:
    assert peer.run("never_stops_its_node") == (0, "connected\n", "")
    assert peer.down.get(timeout=30).node == "program@127.0.0.1"


def test_ctrl_c_ends_a_call_that_waits(peer: Peer) -> None:
    called, over = threading.Event(), asyncio.Event()

    @peer.node.export("py", "wait")
    async def wait() -> None:
        called.set()
        await over.wait()

    running = peer.start("waits_in_a_call")
    assert called.wait(30)
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=30) == ("interrupted\n", "")
    assert running.returncode == 0
    peer.node.call_soon_threadsafe(over.set)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_node_that_runs_forever(peer: Peer, number: signal.Signals) -> None:
    assert peer.run("runs_forever", number) == (0, "connected\nstopped\n", "")


def test_a_forked_process_cannot_use_the_node_and_leaves_its_block(peer: Peer) -> None:
    status, out, err = peer.run("forks")
    *refused, last = out.splitlines()
    assert (status, last, err) == (0, "parent", "")
    assert len(refused) == 3
    assert all("a process forked from it cannot use the node" in text for text in refused)


def test_ctrl_c_while_nodes_stop_at_exit_ends_the_program_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted:
        stopping = False

        def begin_stop(self) -> None:
            self.stopping = True

        def join(self, timeout: float) -> None:
            raise KeyboardInterrupt

    thread = Interrupted()
    monkeypatch.setattr(loop_thread, "_running", {thread})
    loop_thread._stop_all()
    assert thread.stopping
