"""A handshake that is relayed between two nodes: what both agree on; every refusal; bad input."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicdist.protocol import (
    DEFAULT_FLAGS,
    Acceptor,
    Connected,
    DistFlag,
    Event,
    GivenName,
    HandshakeError,
    HandshakeFraming,
    Initiator,
    LocalIdentity,
    NotAllowed,
    OldConnectionPending,
    PeerNamed,
    SimultaneousConnect,
    Status,
    StatusReceived,
    WrongCookie,
)
from quicdist.protocol.handshake_messages import MAX_MESSAGE
from quicdist.protocol.handshake_relay import NOT_RELAYED, End, HandshakeRelay

ATOM_CACHE = DEFAULT_FLAGS | DistFlag.DIST_HDR_ATOM_CACHE | DistFlag.PUBLISHED
A, B = LocalIdentity("a@host1", 11, ATOM_CACHE), LocalIdentity("b@host2", 22, ATOM_CACHE)
PACKET_2, BARE = HandshakeFraming.PACKET_2, HandshakeFraming.BARE


class Run:
    """Two nodes with a relay between them."""

    def __init__(
        self,
        framings: tuple[HandshakeFraming, HandshakeFraming],
        *,
        status: Status = Status.OK,
        go_on: bool = True,
        cookies: tuple[str, str] = ("secret", "secret"),
        initiator: LocalIdentity = A,
        chop: random.Random | None = None,
    ) -> None:
        self.relay = HandshakeRelay(*framings, "the other node")
        self.initiator = Initiator(initiator, "b@host2", cookies[0], framings[0])
        self.acceptor = Acceptor(B, framings[1], lambda node: cookies[1])
        self.events: dict[End, list[Event]] = {end: [] for end in End}
        self._status, self._go_on, self._chop = status, go_on, chop

    def __call__(self) -> None:
        """Until nothing moves."""
        moved = True
        while moved:
            moved = False
            for end, node in ((End.INITIATOR, self.initiator), (End.ACCEPTOR, self.acceptor)):
                for message in node.data_to_send():
                    moved = True
                    for piece in self._pieces(message):
                        self.relay.receive_data(end, piece)
                for message in self.relay.data_to_send(end):
                    moved = True
                    for piece in self._pieces(message):
                        self._take(end, node.receive_data(piece))

    def _pieces(self, message: bytes) -> list[bytes]:
        if self._chop is None:
            return [message]
        at = self._chop.randrange(len(message) + 1)
        return [piece for piece in (message[:at], message[at:]) if piece]

    def _take(self, end: End, events: list[Event]) -> None:
        for event in events:
            self.events[end].append(event)
            if isinstance(event, PeerNamed):
                if self._status is Status.NAMED:
                    self.acceptor.send_status(GivenName("given@host1", 33))
                else:
                    self.acceptor.send_status(self._status)
            elif isinstance(event, StatusReceived) and event.status is Status.ALIVE:
                self.initiator.send_alive_answer(self._go_on)
            elif isinstance(event, OldConnectionPending):
                self._take(end, self.acceptor.old_connection_down())

    def connected(self, end: End) -> Connected:
        found = [event for event in self.events[end] if isinstance(event, Connected)]
        assert len(found) == 1
        return found[0]


framings = pytest.mark.parametrize("framings", [(PACKET_2, BARE), (BARE, PACKET_2)], ids=["dial", "accept"])


@framings
@pytest.mark.parametrize("status", [Status.OK, Status.OK_SIMULTANEOUS, Status.ALIVE])
@given(seed=st.integers(0, 1 << 32))
def test_two_nodes_are_connected_without_an_atom_cache(framings: Any, status: Status, seed: int) -> None:
    run = Run(framings, status=status, chop=random.Random(seed))
    run()
    assert run.relay.done
    for end, peer in ((End.INITIATOR, B), (End.ACCEPTOR, A)):
        seen = run.connected(end).peer
        assert (seen.name, seen.creation) == (peer.name, peer.creation)
        assert not seen.flags & NOT_RELAYED
        assert seen.flags & DistFlag.FRAGMENTS
        assert not seen.hidden
    # The relay has seen what the nodes really offered, and gives what they have agreed on.
    assert run.relay.peer(End.ACCEPTOR).flags & NOT_RELAYED
    assert run.relay.peer(End.ACCEPTOR).negotiated == run.connected(End.INITIATOR).peer.negotiated
    assert run.relay.identity(End.INITIATOR) == LocalIdentity(A.name, A.creation, ATOM_CACHE & ~NOT_RELAYED)


@framings
def test_a_node_that_asks_for_a_name_is_known_by_the_one_it_gets(framings: Any) -> None:
    nameless = dataclasses.replace(A, name="host1", flags=ATOM_CACHE | DistFlag.NAME_ME)
    run = Run(framings, status=Status.NAMED, initiator=nameless)
    run()
    assert run.relay.peer(End.INITIATOR).name == "given@host1"
    assert run.connected(End.ACCEPTOR).peer.name == "given@host1"


@framings
@pytest.mark.parametrize(
    ("status", "error"), [(Status.NOK, SimultaneousConnect), (Status.NOT_ALLOWED, NotAllowed)]
)
def test_a_refusal_is_relayed_and_ends_the_handshake(framings: Any, status: Status, error: Any) -> None:
    run = Run(framings, status=status)
    with pytest.raises(error):
        run()
    (message,) = run.relay.data_to_send(End.INITIATOR)
    with pytest.raises(error):
        run.initiator.receive_data(message)
    assert not run.relay.done
    assert run.relay.due is None


@framings
def test_a_dial_that_is_dropped_for_the_old_connection_ends_the_handshake(framings: Any) -> None:
    run = Run(framings, status=Status.ALIVE, go_on=False)
    with pytest.raises(HandshakeError):
        run()
    assert run.relay.data_to_send(End.ACCEPTOR)[-1].endswith(b"sfalse")


@framings
def test_a_wrong_cookie_is_detected_by_the_nodes(framings: Any) -> None:
    run = Run(framings, cookies=("secret", "wrong"))
    with pytest.raises(WrongCookie):
        run()
    assert not run.relay.done


@framings
def test_bytes_after_the_handshake_belong_to_the_link(framings: Any) -> None:
    run = Run(framings)
    run()
    run.relay.receive_data(End.ACCEPTOR, b"first frame")
    assert run.relay.leftover(End.ACCEPTOR) == b"first frame"
    assert run.relay.leftover(End.INITIATOR) == b""
    assert run.relay.data_to_send(End.INITIATOR) == []


@framings
@given(junk=st.binary(min_size=1, max_size=300), end=st.sampled_from(End), after_name=st.booleans())
def test_any_bytes_are_a_handshake_error_or_wait_for_more(
    framings: tuple[HandshakeFraming, HandshakeFraming], junk: bytes, end: End, after_name: bool
) -> None:
    relay = HandshakeRelay(framings[0], framings[1], "the other node")
    if after_name:
        for message in Initiator(A, "b@host2", "secret", framings[0]).data_to_send():
            relay.receive_data(End.INITIATOR, message)
    try:
        for _ in range(2 * (2 * MAX_MESSAGE // len(junk) + 2)):
            relay.receive_data(end, junk)
    except HandshakeError:
        return
    assert set(junk) == {0}  # ticks of quic_dist
    assert framings[list(End).index(end)] is BARE
