"""Faults between two stock BEAMs over two gateways: what the BEAMs see, and how soon."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from quicdist.carrier.security.certificates import CertificateFiles
from tests.gateway.gateways import A, B, Pair, gateway_pair

pytestmark = pytest.mark.beam

#: Seconds.
TICKTIME = 2

#: What a BEAM says of the end; the second if the other one was the first to see it, and has dialled again.
GONE = ("[{nodedown_reason,connection_closed}]", "[{nodedown_reason,wait_pending}]")

#: Watches a node go down: the reason, within so many milliseconds.
WATCH = "(fun() -> net_kernel:monitor_nodes(true, [nodedown_reason]), net_adm:ping('{node}') end)()"
DOWN = "(fun() -> receive {{nodedown, '{node}', I}} -> I after {ms} -> late end end)()"


@pytest.fixture(scope="module")
def pair(certificates: CertificateFiles) -> Iterator[Pair]:
    beam = ("-kernel", "net_ticktime", str(TICKTIME))
    with gateway_pair(certificates, "--net-ticktime", str(TICKTIME), more=beam, cable=True) as pair:
        yield pair


@pytest.fixture
def watched(pair: Pair) -> Pair:
    """Both watch each other; no event of an earlier test is left."""
    for beam, node in ((pair.a, B), (pair.b, A)):
        deadline = time.monotonic() + 20
        while beam.eval_now(WATCH.format(node=node)) != "pong":
            assert time.monotonic() < deadline, pair.logged()
            time.sleep(0.1)
        beam.eval_now(
            "(fun F() -> receive {nodedown, _, _} -> F(); {nodeup, _, _} -> F() after 0 -> ok end end)()"
        )
    return pair


def down(pair: Pair, beam: int, seconds: float) -> tuple[str, float]:
    """The reason why one of the two saw the other go down, and after how many seconds."""
    watcher, node = ((pair.a, B), (pair.b, A))[beam]
    begun = time.monotonic()
    reason = watcher.eval_now(DOWN.format(node=node, ms=round(seconds * 1000)))
    return reason, time.monotonic() - begun


def test_a_cable_out_is_seen_by_both_within_the_ticktime(watched: Pair) -> None:
    cable = watched.cable
    assert cable is not None
    cable.plugged = False
    try:
        reason, took = down(watched, 0, 4 * TICKTIME)
        assert reason in GONE
        assert took < 1.5 * TICKTIME
        assert down(watched, 1, 2 * TICKTIME)[0] in GONE
    finally:
        cable.plugged = True
    assert f" has sent nothing for {TICKTIME} s" in watched.logged()


@pytest.mark.gateway
def test_a_short_outage_is_not_seen(watched: Pair) -> None:
    cable = watched.cable
    assert cable is not None
    cable.plugged = False
    time.sleep(TICKTIME / 4)
    cable.plugged = True
    assert watched.a.eval_now(f"erpc:call('{B}', erlang, node, [])") == f"'{B}'"
    assert down(watched, 0, 0)[0] == "late"


@pytest.mark.gateway
def test_sigterm_sends_what_was_read_before_it_closes(watched: Pair) -> None:
    gateway = watched.gateways[0]
    sent = f"""(fun() ->
        Sink = spawn('{B}', fun Loop() -> receive {{count, To}} -> To ! {{seen, get(n)}};
            _ -> put(n, case get(n) of undefined -> 1; N -> N + 1 end) end, Loop() end),
        Mark = erpc:call('{B}', erlang, whereis, [init]), true = is_pid(Mark),
        [Sink ! <<N:80000>> || N <- lists:seq(1, 300)],
        register(sink_of_test, spawn(fun() -> receive stop -> ok end end)),
        Sink ! {{count, self()}}, receive {{seen, N}} -> N end end)()"""
    assert watched.a.eval_now(sent) == "300"
    assert gateway.terminate() == 0
    # Closed, not lost: both see it at once, though nothing was timed out.
    for beam in (0, 1):
        reason, took = down(watched, beam, TICKTIME)
        assert (reason, took < TICKTIME / 2) == ("[{nodedown_reason,connection_closed}]", True)
    gateway.start()
    deadline = time.monotonic() + 20
    while gateway.metrics()[f'quicdist_gateway_local_node_up{{node="{A}"}}'] != 1:
        assert time.monotonic() < deadline, gateway.logged()
        time.sleep(0.1)  # the BEAM registers again by itself, every two seconds
    assert watched.b.eval_now(f"net_adm:ping('{A}')") == "pong"


@pytest.mark.gateway
def test_a_killed_gateway_is_seen_at_once_by_its_node_and_in_the_ticktime_by_the_other(
    watched: Pair,
) -> None:
    gateway = watched.gateways[1]
    gateway.kill()
    try:
        reason, took = down(watched, 1, TICKTIME)
        assert (reason, took < 1) == ("[{nodedown_reason,connection_closed}]", True)
        reason, took = down(watched, 0, 4 * TICKTIME)
        assert (reason, took < 1.5 * TICKTIME) == ("[{nodedown_reason,connection_closed}]", True)
    finally:
        gateway.start()


def test_a_killed_node_is_seen_at_once(watched: Pair) -> None:
    os.kill(int(watched.b.eval_now("list_to_integer(os:getpid())")), signal.SIGKILL)
    reason, took = down(watched, 0, TICKTIME)
    assert (reason, took < 2) == ("[{nodedown_reason,connection_closed}]", True)
    # When nobody is registered for the name, a dial is refused with the reason.
    gateway, deadline = watched.gateways[1], time.monotonic() + 20
    while gateway.metrics()[f'quicdist_gateway_local_node_up{{node="{B}"}}']:
        assert time.monotonic() < deadline, gateway.logged()
        time.sleep(0.05)  # the kernel closes the sockets of a killed program one by one
    assert watched.a.eval_now(f"net_adm:ping('{B}')") == "pang"
    assert f"refused: {B} is not running" in watched.logged()
