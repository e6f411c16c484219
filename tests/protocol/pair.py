"""Two ends of a handshake or of a connection, joined in memory."""

from __future__ import annotations

from quicdist.protocol import (
    DEFAULT_FLAGS,
    Acceptor,
    Connected,
    DistConnection,
    DistFlag,
    Event,
    GivenName,
    HandshakeFraming,
    Initiator,
    LocalIdentity,
    Peer,
    PeerNamed,
    Status,
    StatusReceived,
    StreamPlan,
)
from quicdist.term import Codec

A = LocalIdentity("a@host", 11)
B = LocalIdentity("b@host", 22)
COOKIE = "secret"
FRAMINGS = list(HandshakeFraming)


def initiator(
    framing: HandshakeFraming, local: LocalIdentity = A, peer: str = B.name, cookie: str = COOKIE
) -> Initiator:
    return Initiator(local, peer, cookie, framing)


def acceptor(framing: HandshakeFraming, local: LocalIdentity = B, cookie: str = COOKIE) -> Acceptor:
    return Acceptor(local, framing, lambda node: cookie)


def one(events: list[Event]) -> Event:
    """The only event in ``events``."""
    assert len(events) == 1, events
    return events[0]


def greet(
    dialler: Initiator, answerer: Acceptor, status: Status, name: str = "", creation: int = 0
) -> list[Event]:
    """Carry the name over, answer it with ``status``; what the dialler makes of what comes back."""
    named = one(answerer.receive_data(b"".join(dialler.data_to_send())))
    assert isinstance(named, PeerNamed)
    answerer.send_status(GivenName(name, creation) if status is Status.NAMED else status)
    return [event for message in answerer.data_to_send() for event in dialler.receive_data(message)]


def finish(dialler: Initiator, answerer: Acceptor) -> tuple[Connected, Connected]:
    """From the challenge reply to both being connected."""
    accepted = one(answerer.receive_data(b"".join(dialler.data_to_send())))
    dialled = one(dialler.receive_data(b"".join(answerer.data_to_send())))
    assert isinstance(accepted, Connected)
    assert isinstance(dialled, Connected)
    return dialled, accepted


def handshake(framing: HandshakeFraming, a: LocalIdentity = A, b: LocalIdentity = B) -> tuple[Peer, Peer]:
    """Both peers of a handshake in which nothing went wrong: b as a sees it, a as b sees it."""
    dialler, answerer = initiator(framing, a, b.name), acceptor(framing, b)
    events = greet(dialler, answerer, Status.OK)
    assert events == [StatusReceived(Status.OK)]
    dialled, accepted = finish(dialler, answerer)
    return dialled.peer, accepted.peer


def peer(flags: DistFlag = DEFAULT_FLAGS, name: str = B.name) -> Peer:
    return Peer(name, 22, flags, flags & DEFAULT_FLAGS)


def connection(
    flags: DistFlag = DEFAULT_FLAGS,
    *,
    codec: Codec | None = None,
    streams: StreamPlan | None = None,
    max_frame: int = 1 << 20,
    max_message: int | None = None,
    max_partial_messages: int = 64,
    fragment_size: int = 64 * 1024,
) -> DistConnection:
    """One end of a connection to a peer that offered ``flags``."""
    return DistConnection(
        peer(flags),
        A,
        codec=codec or Codec(),
        streams=streams or StreamPlan.single(),
        max_frame=max_frame,
        max_message=max_message,
        max_partial_messages=max_partial_messages,
        fragment_size=fragment_size,
    )
