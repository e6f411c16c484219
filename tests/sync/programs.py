"""Programs with a node of ``quicdist.sync``, for the tests of their ends. The first argument says which."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

from quicdist import NodeNotStarted, ProcessExit
from quicdist.sync import Node

PEER = "peer@127.0.0.1"


def node() -> Node:
    """A node that dials the test's."""
    return Node(
        "program@127.0.0.1",
        cookie="programs",
        carrier="tcp",
        epmd=False,
        listen=False,
        nodes={PEER: ("127.0.0.1", int(sys.argv[2]))},
    )


def say(text: str) -> None:
    print(text, flush=True)


def never_stops_its_node() -> None:
    """The main thread ends, and a call of another thread goes on until the interpreter ends."""
    running = node()
    running.start()
    running.connect(PEER)
    inbox = running.mailbox()

    def wait() -> None:
        with contextlib.suppress(ProcessExit, NodeNotStarted):
            inbox.receive()

    threading.Thread(target=wait, daemon=True).start()
    say("connected")


def waits_in_a_call() -> None:
    """Is interrupted in a call."""
    with node() as running:
        running.connect(PEER)
        try:
            running.call(PEER, "py", "wait")
        except KeyboardInterrupt:
            assert running.ping(PEER)  # it is still there
            say("interrupted")


def say_when_signals_are_handled() -> None:
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.01)
    say("connected")


def runs_forever() -> None:
    """Is stopped by a signal."""
    with node() as running:
        running.connect(PEER)
        threading.Thread(target=say_when_signals_are_handled, daemon=True).start()
        running.run_forever()
        say("stopped")


def forks() -> None:
    """Uses its node in a forked process, which then leaves the block."""
    with node() as running:
        running.connect(PEER)
        child = os.fork()
        if child == 0:
            for use in (running.nodes, lambda: running.ping(PEER), running.mailbox):
                try:
                    use()
                except NodeNotStarted as error:
                    say(str(error))
        else:
            assert os.waitpid(child, 0)[1] == 0
            assert running.ping(PEER)
            say("parent")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
