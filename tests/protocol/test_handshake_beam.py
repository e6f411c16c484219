"""The handshake and the frames against a stock BEAM over a plain TCP socket, both roles."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from quicdist.protocol import (
    DEFAULT_FLAGS,
    MANDATORY,
    UNUSED,
    Acceptor,
    AliasSend,
    AltactFlag,
    AltactSigSend,
    DistFlag,
    Event,
    GivenName,
    HandshakeEnded,
    HandshakeFraming,
    LocalIdentity,
    MonitorP,
    NotAllowed,
    OldConnectionPending,
    PayloadMonitorPExit,
    PeerNamed,
    RegSend,
    SendSender,
    SimultaneousConnect,
    Status,
    StatusReceived,
    WrongCookie,
    WrongNodeName,
)
from quicdist.term import Atom, Pid, Reference
from tests.protocol.raw_node import RawLink, Registered, accept, dial, register, run
from tests.support.beam import Beam, tcp_args
from tests.support.epmd import Epmd, private_epmd

pytestmark = [pytest.mark.beam, pytest.mark.smoke]

#: Between the names that dial it, for OTP's rule on simultaneous connects.
BEAM = "m@127.0.0.1"
LOW, HIGH = LocalIdentity("a@127.0.0.1", 7), LocalIdentity("z@127.0.0.1", 7)
WITHOUT_FRAGMENTS = LocalIdentity("f@127.0.0.1", 7, DEFAULT_FLAGS & ~DistFlag.FRAGMENTS)


@dataclass
class Network:
    beam: Beam
    port: int
    epmd: Epmd
    pool: ThreadPoolExecutor

    def connect_node(self, name: str) -> Future[str]:
        return self.pool.submit(self.beam.eval_now, f"net_kernel:connect_node('{name}')")

    def wait_up(self, name: str) -> None:
        self._wait("nodeup", name)

    def wait_down(self, name: str) -> None:
        self._wait("nodedown", name)

    def _wait(self, what: str, name: str) -> None:
        source = f"receive {{{what}, '{name}', _}} -> came after 20000 -> {{missing, nodes(hidden)}} end"
        assert self.beam.eval_now(source) == "came"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with (
        private_epmd() as epmd,
        Beam(tcp_args(BEAM, more=["-kernel", "prevent_overlapping_partitions", "false"])) as beam,
        ThreadPoolExecutor(2) as pool,
    ):
        port = int(beam.eval_now('{port, P, _} = erl_epmd:port_please("m", "127.0.0.1"), P'))
        beam.eval_now("net_kernel:monitor_nodes(true, [{node_type, all}])")
        yield Network(beam, port, epmd, pool)


@pytest.fixture
def registered(network: Network) -> Iterator[Registered]:
    """We listen as ``z@127.0.0.1``."""
    node = register("z", network.epmd.port)
    yield node
    node.close()


def answers(status: Status, seen: list[Event] | None = None, **given: Any) -> Any:
    def answer(acceptor: Any, event: Event) -> None:
        if seen is not None:
            seen.append(event)
        if isinstance(event, PeerNamed):
            acceptor.send_status(GivenName(**given) if given else status)

    return answer


# -- dialling a BEAM -----------------------------------------------------------------------------


def test_dial(network: Network) -> None:
    seen: list[Event] = []
    link = dial(network.port, BEAM, HIGH, answer=lambda _, event: seen.append(event))
    assert seen == [StatusReceived(Status.OK)]
    network.wait_up(HIGH.name)
    peer = link.connection.peer
    assert peer.name == BEAM
    assert peer.creation == int(network.beam.eval_now("erts_internal:get_creation()"))
    assert not peer.hidden
    assert network.beam.eval_now("nodes(hidden)") == f"['{HIGH.name}']"
    link.close()
    network.wait_down(HIGH.name)


def exchange(network: Network, link: RawLink, size: int) -> None:
    """A binary there and back, over a process that is told of it by name and answers by pid."""
    local = link.local
    me = Pid(local.name, 1, 0, local.creation)
    payload = bytes(n * 7 % 251 for n in range(size))
    link.send(RegSend(me, UNUSED, Atom("beam_evaluator")), (me, Atom("hello"), payload))
    answer = "receive {From, hello, B} -> From ! {self(), B, erlang:md5(B)}, byte_size(B) end"
    assert network.beam.eval_now(f"(fun() -> {answer} end)()") == str(size)
    control, (pid, returned, _) = link.receive(SendSender)
    assert control == SendSender(pid, me)
    assert returned == payload


@pytest.mark.parametrize("size", [0, 100, 65_000, 65_536, 66_000, 1 << 20])
@pytest.mark.parametrize("local", [HIGH, WITHOUT_FRAGMENTS], ids=["fragments", "no-fragments"])
def test_messages_both_ways_in_either_form(network: Network, local: LocalIdentity, size: int) -> None:
    link = dial(network.port, BEAM, local)
    network.wait_up(local.name)
    exchange(network, link, size)
    form = bytes(link.raw[4:7])  # behind the length
    if not local.flags & DistFlag.FRAGMENTS:
        assert form == b"p\x83h"
    elif size >= 65_536:
        assert form[:2] == b"\x83E"
    else:
        assert form == b"\x83D\0"
    link.close()
    network.wait_down(local.name)


def test_a_monitor_and_its_end(network: Network) -> None:
    link = dial(network.port, BEAM, HIGH)
    network.wait_up(HIGH.name)
    me, ref = Pid(HIGH.name, 1, 0, 7), Reference(HIGH.name, (1, 2, 3), 7)
    link.send(MonitorP(me, Atom("nobody"), ref))
    control, reason = link.receive(PayloadMonitorPExit)
    assert control == PayloadMonitorPExit(Atom("nobody"), me, ref)
    assert reason == Atom("noproc")
    link.close()
    network.wait_down(HIGH.name)


def test_signals_to_aliases_and_names_as_each_otp_sends_and_takes_them(network: Network) -> None:
    """ALTACT_SIG_SEND from OTP 28 on, what it replaced before: we need not know which."""
    link = dial(network.port, BEAM, HIGH)
    network.wait_up(HIGH.name)
    me, ours = Pid(HIGH.name, 1, 0, 7), Reference(HIGH.name, (1, 2, 3), 7)
    link.send(RegSend(me, UNUSED, Atom("beam_evaluator")), (Atom("alias"), ours))
    network.beam.eval_now("(fun() -> receive {alias, A} -> A ! {alias(), self()} end end)()")
    control, (theirs, evaluator) = link.receive()
    if link.connection.peer.negotiated & DistFlag.ALTACT_SIG:
        assert control == AltactSigSend(AltactFlag.ALIAS, evaluator, ours)
    else:
        assert control == AliasSend(evaluator, ours)
    for flags, to in [
        (AltactFlag.ALIAS, theirs),
        (AltactFlag.NAME, Atom("beam_evaluator")),
        (AltactFlag.PRIO, evaluator),
    ]:
        link.send(AltactSigSend(flags, me, to), (Atom("altact"), to))
        assert network.beam.eval_now("receive {altact, _} -> taken end") == "taken"
    link.close()
    network.wait_down(HIGH.name)


def test_a_wrong_cookie(network: Network) -> None:
    with pytest.raises(WrongCookie, match=BEAM):
        dial(network.port, BEAM, HIGH, cookie="other")


def test_another_name_than_the_beams(network: Network) -> None:
    with pytest.raises(WrongNodeName, match=BEAM):
        dial(network.port, "x@127.0.0.1", HIGH)


@pytest.mark.parametrize("lacking", [DistFlag.BIG_CREATION, DistFlag.MAP_TAG])
def test_a_beam_refuses_us_without_a_mandatory_flag(network: Network, lacking: DistFlag) -> None:
    """It sends ``not_allowed`` for that."""
    with pytest.raises(NotAllowed, match=BEAM):
        dial(network.port, BEAM, LocalIdentity(HIGH.name, 7, MANDATORY & ~lacking))


def test_a_bad_name_is_dropped_by_the_beam(network: Network) -> None:
    with pytest.raises(HandshakeEnded, match="a status"):
        dial(network.port, BEAM, LocalIdentity("nohost", 7))


def test_status_alive_answered_true_replaces_the_connection(network: Network) -> None:
    old = dial(network.port, BEAM, HIGH)
    network.wait_up(HIGH.name)
    seen: list[Event] = []

    def answer(initiator: Any, event: Event) -> None:
        seen.append(event)
        initiator.send_alive_answer(True)
        old.close()  # the BEAM acknowledges no sooner

    link = dial(network.port, BEAM, HIGH, answer=answer)
    assert seen == [StatusReceived(Status.ALIVE)]
    network.wait_down(HIGH.name)
    network.wait_up(HIGH.name)
    exchange(network, link, 10)
    link.close()
    network.wait_down(HIGH.name)


def test_status_alive_answered_false_ends_the_dial(network: Network) -> None:
    old = dial(network.port, BEAM, HIGH)
    network.wait_up(HIGH.name)
    with pytest.raises(HandshakeEnded):
        dial(network.port, BEAM, HIGH, answer=lambda initiator, _: initiator.send_alive_answer(False))
    exchange(network, old, 10)
    old.close()
    network.wait_down(HIGH.name)


def test_a_beam_gives_us_a_name(network: Network) -> None:
    nameless = LocalIdentity("127.0.0.1", 0, DEFAULT_FLAGS | DistFlag.NAME_ME)
    link = dial(network.port, BEAM, nameless)
    assert link.local.name.endswith("@127.0.0.1")
    network.wait_up(link.local.name)
    exchange(network, link, 10)
    link.close()
    network.wait_down(link.local.name)


# -- being dialled by a BEAM ---------------------------------------------------------------------


def test_accept(network: Network, registered: Registered) -> None:
    result = network.connect_node(HIGH.name)
    seen: list[Event] = []
    link = accept(registered.listener, HIGH, answers(Status.OK, seen))
    assert result.result() == "true"
    (named,) = seen
    assert isinstance(named, PeerNamed)
    assert named.name == BEAM == link.connection.peer.name
    assert named.creation == int(network.beam.eval_now("erts_internal:get_creation()"))
    network.wait_up(HIGH.name)
    exchange(network, link, 200_000)
    link.close()
    network.wait_down(HIGH.name)


def test_a_beam_with_another_cookie(network: Network, registered: Registered) -> None:
    result = network.connect_node(HIGH.name)
    with pytest.raises(WrongCookie, match=BEAM):
        accept(registered.listener, HIGH, answers(Status.OK), cookie="other")
    assert result.result() == "false"


def test_a_beam_that_is_not_allowed(network: Network, registered: Registered) -> None:
    result = network.connect_node(HIGH.name)
    with pytest.raises(HandshakeEnded):
        accept(registered.listener, HIGH, answers(Status.NOT_ALLOWED))
    assert result.result() == "false"


def test_a_beam_drops_an_acceptor_without_a_mandatory_flag(network: Network, registered: Registered) -> None:
    """The other way round: a BEAM drops an acceptor that does not offer what it requires."""
    result = network.connect_node(HIGH.name)
    poor = LocalIdentity(HIGH.name, 7, MANDATORY & ~DistFlag.BIG_CREATION)
    with pytest.raises(HandshakeEnded, match=f"{BEAM} closed the connection while a challenge reply"):
        accept(registered.listener, poor, answers(Status.OK))
    assert result.result() == "false"


def test_a_beam_that_insists_on_being_alive(network: Network, registered: Registered) -> None:
    result = network.connect_node(HIGH.name)
    seen: list[Event] = []

    def answer(acceptor: Any, event: Event) -> list[Event] | None:
        seen.append(event)
        if isinstance(event, PeerNamed):
            acceptor.send_status(Status.ALIVE)
            return None
        assert isinstance(event, OldConnectionPending)
        assert not result.done()
        connected: list[Event] = acceptor.old_connection_down()
        return connected

    link = accept(registered.listener, HIGH, answer)
    assert seen[1:] == [OldConnectionPending(BEAM)]
    assert result.result() == "true"
    network.wait_up(HIGH.name)
    exchange(network, link, 10)
    link.close()
    network.wait_down(HIGH.name)


def test_we_give_a_beam_its_name(network: Network, registered: Registered) -> None:
    with Beam(["-name", "undefined@127.0.0.1", "-setcookie", "secret"]) as nameless:
        result = network.pool.submit(nameless.eval_now, f"net_kernel:connect_node('{HIGH.name}')")
        seen: list[Event] = []
        given = {"name": "given@127.0.0.1", "creation": 12345}
        link = accept(registered.listener, HIGH, answers(Status.NAMED, seen, **given))
        assert result.result() == "true"
        (named,) = seen
        assert isinstance(named, PeerNamed)
        assert named.wants_name
        assert named.name == "127.0.0.1"
        assert link.connection.peer.name == "given@127.0.0.1"
        assert nameless.eval_now("node()") == "'given@127.0.0.1'"
        assert nameless.eval_now("erts_internal:get_creation()") == "12345"
        link.close()


# -- both at once ----------------------------------------------------------------------------------


def test_simultaneous_connect_that_we_win(network: Network, registered: Registered) -> None:
    """Our name is the greater: the BEAM lets its own attempt go."""
    result = network.connect_node(HIGH.name)
    theirs, _ = registered.listener.accept()
    assert theirs.recv(4096)  # its name, never answered
    seen: list[Event] = []
    link = dial(network.port, BEAM, HIGH, answer=lambda _, event: seen.append(event))
    assert seen == [StatusReceived(Status.OK_SIMULTANEOUS)]
    assert result.result() == "true"
    theirs.close()
    network.wait_up(HIGH.name)
    exchange(network, link, 10)
    link.close()
    network.wait_down(HIGH.name)


def test_simultaneous_connect_that_we_lose(network: Network) -> None:
    registered = register("a", network.epmd.port)
    result = network.connect_node(LOW.name)
    sock, _ = registered.listener.accept()
    with pytest.raises(SimultaneousConnect, match=BEAM):
        dial(network.port, BEAM, LOW)
    acceptor = Acceptor(LOW, HandshakeFraming.PACKET_2, lambda node: "secret")
    link = run(sock, acceptor, answers(Status.OK_SIMULTANEOUS))
    assert result.result() == "true"
    network.wait_up(LOW.name)
    exchange(network, link, 10)
    link.close()
    network.wait_down(LOW.name)
    registered.close()
