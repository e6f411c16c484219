"""What real BEAMs running quic_dist sent, replayed byte by byte.

Each line of a transcript is a chunk of one stream, as the acceptor saw it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quicdist.protocol import (
    NO_PAYLOAD,
    Acceptor,
    Connected,
    ControlMessage,
    DemonitorP,
    DistConnection,
    DistFlag,
    HandshakeFraming,
    Initiator,
    LocalIdentity,
    MonitorP,
    PeerNamed,
    RegSend,
    Role,
    SendSender,
    Status,
    StatusReceived,
    StreamKind,
    StreamPlan,
)
from quicdist.term import Atom, Codec, ImproperList

VECTORS = Path(__file__).parent.parent / "vectors"
TRANSCRIPTS = sorted(VECTORS.glob("quic_dist-*.jsonl"))
LOCAL = LocalIdentity("py@127.0.0.1", 0x6B02FD16)

Message = tuple[ControlMessage, Any]


@dataclass
class Transcript:
    version: str
    cookie: str
    #: Direction, stream, bytes.
    chunks: list[tuple[str, int, bytes]]

    def handshake(self) -> list[tuple[str, bytes]]:
        return [(way, data) for way, stream, data in self.chunks if stream == 0]

    def messages(self, way: str) -> Iterator[tuple[int, bytes]]:
        return ((stream, data) for w, stream, data in self.chunks if w == way and stream)


@pytest.fixture(params=TRANSCRIPTS, ids=lambda path: path.stem)
def transcript(request: pytest.FixtureRequest) -> Transcript:
    head, *lines = map(json.loads, request.param.read_text().splitlines())
    chunks = [(line["dir"], line["stream"], bytes.fromhex(line["hex"])) for line in lines]
    return Transcript(head["quic_dist"], head["cookie"], chunks)


def accept(transcript: Transcript, step: int | None) -> Connected:
    """Our acceptor against the recorded dialler, whose bytes come ``step`` at a time.

    The challenge is the recorded one, so that the recorded digest answers it.
    """
    (_, name), _, (_, challenge), (_, reply), (_, ack) = transcript.handshake()
    ours = LOCAL
    acceptor = Acceptor(
        ours,
        HandshakeFraming.BARE,
        {"b@127.0.0.1": transcript.cookie}.__getitem__,
        challenge=int.from_bytes(challenge[9:13], "big"),
    )
    events: list[Any] = []
    for message in (name, reply):
        for start in range(0, len(message), step or len(message)):
            events += acceptor.receive_data(message[start : start + (step or len(message))])
            if isinstance(events[-1] if events else None, PeerNamed):
                acceptor.send_status(Status.OK)
                events.append(None)
    named, _, connected = events
    assert named.name == "b@127.0.0.1"
    status, _, acknowledged = acceptor.data_to_send()
    assert status == b"sok"
    assert acknowledged == ack
    assert isinstance(connected, Connected)
    return connected


@pytest.mark.parametrize("step", [None, 1, 7])
def test_the_handshake_as_acceptor(transcript: Transcript, step: int | None) -> None:
    peer = accept(transcript, step).peer
    legacy = transcript.version in ("0.11.0", "1.3.1")
    assert bool(peer.flags & DistFlag.DIST_HDR_ATOM_CACHE) is legacy
    assert not peer.negotiated & DistFlag.DIST_HDR_ATOM_CACHE
    assert peer.negotiated & DistFlag.FRAGMENTS
    assert not peer.hidden
    plan = StreamPlan.quic(Role.SERVER, peer)
    assert len(plan.sending) == (1 if legacy else 16)
    for _, stream, _ in transcript.chunks:
        assert plan.kind(stream) is (StreamKind.DATA if stream else StreamKind.CONTROL)


@pytest.mark.parametrize("joined", [False, True])
def test_the_handshake_as_initiator(transcript: Transcript, joined: bool) -> None:
    """Our initiator in the place of the recorded BEAM: the recorded acceptor must take it for it."""
    (_, name), (_, status), (_, challenge), (_, reply), (_, ack) = transcript.handshake()
    flags = DistFlag(int.from_bytes(name[1:9], "big"))
    identity = LocalIdentity("b@127.0.0.1", int.from_bytes(name[9:13], "big"), flags)
    dialler = Initiator(
        identity,
        "py@127.0.0.1",
        transcript.cookie,
        HandshakeFraming.BARE,
        challenge=int.from_bytes(reply[1:5], "big"),
    )
    assert dialler.data_to_send() == [name]
    for chunk in [status + challenge] if joined else [status, challenge]:
        events = dialler.receive_data(chunk)
    assert events == [StatusReceived(Status.OK)]
    assert dialler.data_to_send() == [reply]
    (connected,) = dialler.receive_data(ack)
    assert isinstance(connected, Connected)
    assert connected.peer.name == "py@127.0.0.1"


def connect(transcript: Transcript) -> DistConnection:
    connected = accept(transcript, None)
    plan = StreamPlan.quic(Role.SERVER, connected.peer)
    return DistConnection(connected.peer, connected.local, codec=Codec(), streams=plan)


def replay(transcript: Transcript, step: int | None = None) -> list[Message]:
    connection = connect(transcript)
    messages: list[Message] = []
    for stream, data in transcript.messages("in"):
        for start in range(0, len(data), step or len(data)):
            messages += connection.receive(stream, data[start : start + (step or len(data))])
    assert connection.messages_in == len(messages)
    assert connection.bytes_in == sum(len(data) for _, data in transcript.messages("in"))
    return messages


def test_messages_chunk_by_chunk(transcript: Transcript) -> None:
    messages = replay(transcript)
    ping, *_ = messages
    assert isinstance(ping[0], MonitorP)
    assert ping[0].to_proc == Atom("net_kernel")
    assert ping[1] is NO_PAYLOAD
    control, call = messages[1]
    assert isinstance(control, RegSend)
    assert control.to_name == Atom("net_kernel")
    tag, (pid, alias), request = call
    assert tag == Atom("$gen_call")
    assert pid == control.from_pid
    assert alias == ImproperList([Atom("alias")], ping[0].ref)
    assert request == (Atom("is_auth"), Atom("b@127.0.0.1"))
    assert isinstance(messages[2][0], DemonitorP)
    assert messages[2][0].ref == ping[0].ref


def test_a_message_in_fragments(transcript: Transcript) -> None:
    """240 000 bytes, sent as four fragments."""
    large = [payload for _, payload in replay(transcript) if isinstance(payload, tuple) and len(payload) == 4]
    binaries = [item for payload in large for item in payload if isinstance(item, bytes)]
    assert max(map(len, binaries)) == 240_000
    assert max(binaries, key=len) == b"fragment-me-" * 20_000


@pytest.mark.parametrize("step", [1, 3, 1000, 4096])
def test_messages_in_other_pieces(transcript: Transcript, step: int) -> None:
    assert replay(transcript, step) == replay(transcript)


def test_messages_joined(transcript: Transcript) -> None:
    """All of a stream at once; the order within each stream stays."""
    connection = connect(transcript)
    streams: dict[int, bytes] = {}
    for stream, data in transcript.messages("in"):
        streams[stream] = streams.get(stream, b"") + data
    messages = [m for stream, data in streams.items() for m in connection.receive(stream, data)]
    expected = replay(transcript)
    assert len(messages) == len(expected)
    assert sorted(map(repr, messages)) == sorted(map(repr, expected))


def test_what_was_sent_is_sent_again(transcript: Transcript) -> None:
    """Our bytes for the answers are those that the recorded BEAM understood."""
    connection = connect(transcript)
    reader = connect(transcript)
    sent = list(transcript.messages("out"))
    for stream, data in sent:
        ((control, payload),) = reader.receive(stream, data)
        assert isinstance(control, SendSender)
        _, chunks = connection.send(control, payload)
        assert b"".join(chunks) == data
    assert len(sent) == 2
