"""The handshake, initiator and acceptor against each other in memory, and against bad peers."""

from __future__ import annotations

import dataclasses
import struct

import pytest

from quicdist.protocol import (
    DEFAULT_FLAGS,
    MANDATORY,
    Acceptor,
    Connected,
    ConnectionAlive,
    DistFlag,
    GivenName,
    HandshakeEnded,
    HandshakeError,
    HandshakeFraming,
    LocalIdentity,
    MalformedHandshake,
    MandatoryFlagsMissing,
    NotAllowed,
    OldConnectionPending,
    Peer,
    PeerNamed,
    SimultaneousConnect,
    Status,
    StatusReceived,
    WrongCookie,
    WrongNodeName,
    gen_digest,
)
from quicdist.protocol.flags import expand
from quicdist.protocol.handshake_messages import encode_challenge, encode_name_message, encode_reply
from tests.protocol.pair import COOKIE, FRAMINGS, A, B, acceptor, finish, greet, handshake, initiator, one
from tests.support.beam import Beam

BARE, PREFIXED = HandshakeFraming.BARE, HandshakeFraming.PACKET_2
both = pytest.mark.parametrize("framing", FRAMINGS)


def framed(framing: HandshakeFraming, message: bytes) -> bytes:
    return message if framing is BARE else len(message).to_bytes(framing.value, "big") + message


# -- the digest --------------------------------------------------------------------------------


@pytest.mark.beam
@pytest.mark.parametrize("cookie", ["secret", "", "caf\u00e9"])
@pytest.mark.parametrize("challenge", [0, 1, 0xFFFFFFFF])
def test_the_digest_is_otps(beam: Beam, challenge: int, cookie: str) -> None:
    points = list(map(ord, cookie))
    wanted = beam.eval_bytes_now(
        f"erlang:md5([atom_to_list(list_to_atom({points})) | integer_to_list({challenge})])"
    )
    assert gen_digest(challenge, cookie) == wanted


# -- all goes well -----------------------------------------------------------------------------


@both
def test_both_ends_know_each_other(framing: HandshakeFraming) -> None:
    a = LocalIdentity("a@host", 11, DEFAULT_FLAGS & ~DistFlag.ALIAS)
    b = LocalIdentity("b@host", 22, DEFAULT_FLAGS | DistFlag.PUBLISHED)
    b_seen, a_seen = handshake(framing, a, b)
    shared = DEFAULT_FLAGS & ~DistFlag.ALIAS
    assert b_seen == Peer("b@host", 22, b.flags, shared)
    assert a_seen == Peer("a@host", 11, a.flags, shared)
    assert a_seen.hidden
    assert not b_seen.hidden


@both
def test_in_single_bytes(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    ends = (answerer, dialler)
    events = []
    for turn in range(6):
        for message in ends[1 - turn % 2].data_to_send():
            for byte in message:
                for event in ends[turn % 2].receive_data(bytes([byte])):
                    events.append(type(event))
                    if isinstance(event, PeerNamed):
                        answerer.send_status(Status.OK_SIMULTANEOUS)
    assert events == [PeerNamed, StatusReceived, Connected, Connected]


@both
@pytest.mark.parametrize("status", [Status.OK, Status.OK_SIMULTANEOUS])
def test_status_and_challenge_joined(framing: HandshakeFraming, status: Status) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    answerer.receive_data(b"".join(dialler.data_to_send()))
    answerer.send_status(status)
    assert dialler.receive_data(b"".join(answerer.data_to_send())) == [StatusReceived(status)]
    finish(dialler, answerer)


@both
def test_status_and_challenge_are_two_elements_to_send(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    answerer.receive_data(b"".join(dialler.data_to_send()))
    answerer.send_status(Status.OK)
    status, challenge = answerer.data_to_send()
    assert status == framed(framing, b"sok")
    assert challenge.startswith(b"N" if framing is BARE else b"\0")


@both
def test_frames_behind_the_handshake_are_left_over(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    greet(dialler, answerer, Status.OK)
    frames = b"\0\0\0\0\0\0\0\5p..."
    accepted = one(answerer.receive_data(b"".join(dialler.data_to_send()) + frames))
    assert isinstance(accepted, Connected)
    assert accepted.leftover == frames
    dialled = one(dialler.receive_data(b"".join(answerer.data_to_send()) + frames))
    assert isinstance(dialled, Connected)
    assert dialled.leftover == frames
    with pytest.raises(RuntimeError):
        dialler.receive_data(b"more")


def test_extra_data_is_ignored_where_the_protocol_says_so() -> None:
    for framing in FRAMINGS:
        dialler, answerer = initiator(framing), acceptor(framing)
        name = encode_name_message(A.flags, A.creation, A.name) + b"extra"
        assert one(answerer.receive_data(framed(framing, name))) == PeerNamed(A.name, A.flags, A.creation)
        challenge = encode_challenge(B.flags, 77, B.creation, B.name) + b"extra"
        dialler.data_to_send()
        dialler.receive_data(framed(framing, b"sok"))
        dialler.receive_data(framed(framing, challenge))
        (reply,) = dialler.data_to_send()
        assert reply[-16:] == gen_digest(77, "secret")


def test_ticks_of_quic_dist_between_the_messages_are_ignored() -> None:
    dialler, answerer = initiator(BARE), acceptor(BARE)
    tick = b"\0\0\0\0"
    answerer.receive_data(tick + b"".join(dialler.data_to_send()))
    answerer.send_status(Status.OK)
    for message in answerer.data_to_send():
        dialler.receive_data(b"\0\0")
        dialler.receive_data(b"\0\0" + tick + message)
    finish(dialler, answerer)


# -- statuses ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("status", "error"), [(Status.NOK, SimultaneousConnect), (Status.NOT_ALLOWED, NotAllowed)]
)
def test_refusals(framing: HandshakeFraming, status: Status, error: type[HandshakeError]) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    with pytest.raises(error, match="b@host") as caught:
        greet(dialler, answerer, status)
    assert caught.value.node == "b@host"
    assert dialler.over
    assert answerer.over


@both
def test_alive_and_true(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    assert greet(dialler, answerer, Status.ALIVE) == [StatusReceived(Status.ALIVE)]
    dialler.send_alive_answer(True)
    assert answerer.receive_data(b"".join(dialler.data_to_send())) == []
    assert dialler.receive_data(b"".join(answerer.data_to_send())) == []
    # The cookie is checked before the old connection is touched, and the ack waits for its end.
    events = answerer.receive_data(b"".join(dialler.data_to_send()))
    assert events == [OldConnectionPending("a@host")]
    assert answerer.data_to_send() == []
    connected = one(answerer.old_connection_down())
    assert isinstance(connected, Connected)
    assert isinstance(one(dialler.receive_data(b"".join(answerer.data_to_send()))), Connected)


@both
def test_alive_and_false(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    greet(dialler, answerer, Status.ALIVE)
    dialler.send_alive_answer(False)
    assert dialler.over
    with pytest.raises(ConnectionAlive, match="a@host"):
        answerer.receive_data(b"".join(dialler.data_to_send()))


NAMELESS = LocalIdentity("host", 0, DEFAULT_FLAGS | DistFlag.NAME_ME)


@both
def test_a_node_is_given_a_name(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing, NAMELESS), acceptor(framing)
    events = greet(dialler, answerer, Status.NAMED, "dyn\u00e9@host", 99)
    assert events == [StatusReceived(Status.NAMED, "dyn\u00e9@host", 99)]
    dialled, accepted = finish(dialler, answerer)
    assert (dialled.local.name, dialled.local.creation) == ("dyn\u00e9@host", 99)
    assert (accepted.peer.name, accepted.peer.creation) == ("dyn\u00e9@host", 99)


@both
def test_a_node_that_gives_no_names(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing, NAMELESS), acceptor(framing)
    named = one(answerer.receive_data(b"".join(dialler.data_to_send())))
    assert isinstance(named, PeerNamed)
    assert named.wants_name
    assert named.name == "host"
    with pytest.raises(HandshakeError, match="host"):
        answerer.send_status(Status.OK)
    with pytest.raises(NotAllowed):
        dialler.receive_data(b"".join(answerer.data_to_send()))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (b"sok", HandshakeError),
        (b"snamed:\0\6x@else\0\0\0\1", MalformedHandshake),
        (b"snamed:\0\6b@host\0\0\0\1", MalformedHandshake),
        (b"snamed:\0\4else\0\0\0\1", MalformedHandshake),
        (b"snamed:\0\2\xff\xff\0\0\0\1", MalformedHandshake),
        (b"snamed:\0\6x@host\0\0", MalformedHandshake),
    ],
)
def test_bad_answers_to_a_node_without_a_name(status: bytes, error: type[HandshakeError]) -> None:
    dialler = initiator(PREFIXED, NAMELESS)
    with pytest.raises(error):
        dialler.receive_data(framed(PREFIXED, status))


def test_a_name_that_was_not_asked_for() -> None:
    with pytest.raises(MalformedHandshake, match="unasked"):
        initiator(BARE).receive_data(b"snamed:\0\6x@host\0\0\0\1")
    answerer = acceptor(BARE)
    answerer.receive_data(encode_name_message(A.flags, 1, A.name))
    with pytest.raises(ValueError, match="did not ask"):
        answerer.send_status(GivenName("x@host", 1))


# -- cookies, flags, names -----------------------------------------------------------------------


@both
def test_a_wrong_cookie_as_the_acceptor_sees_it(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing, cookie="other"), acceptor(framing)
    greet(dialler, answerer, Status.OK)
    with pytest.raises(WrongCookie, match="a@host") as caught:
        answerer.receive_data(b"".join(dialler.data_to_send()))
    assert caught.value.node == "a@host"
    assert answerer.data_to_send() == []


@both
def test_a_wrong_cookie_as_the_dialler_sees_it(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    greet(dialler, answerer, Status.OK)
    dialler.data_to_send()
    error = dialler.connection_closed()  # what OTP does on a wrong digest
    assert isinstance(error, WrongCookie)
    assert "b@host" in str(error)


@both
def test_a_wrong_digest_in_the_acknowledgement(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    greet(dialler, answerer, Status.OK)
    with pytest.raises(WrongCookie, match="b@host"):
        dialler.receive_data(framed(framing, b"a" + bytes(16)))


@both
def test_a_dialler_without_a_mandatory_flag(framing: HandshakeFraming) -> None:
    lacking = DistFlag.UNLINK_ID | DistFlag.BIG_CREATION
    poor = LocalIdentity("a@host", 1, MANDATORY & ~lacking)
    dialler, answerer = initiator(framing, poor), acceptor(framing)
    with pytest.raises(MandatoryFlagsMissing) as caught:
        answerer.receive_data(b"".join(dialler.data_to_send()))
    assert caught.value.missing == lacking
    text = str(caught.value)
    assert all(word in text for word in ("a@host", "b@host", "UNLINK_ID", "BIG_CREATION"))
    assert "ALIAS" not in text
    with pytest.raises(NotAllowed):
        dialler.receive_data(b"".join(answerer.data_to_send()))


@both
def test_an_acceptor_without_a_mandatory_flag(framing: HandshakeFraming) -> None:
    poor = dataclasses.replace(B, flags=MANDATORY & ~DistFlag.V4_NC)
    dialler, answerer = initiator(framing), acceptor(framing, poor)
    with pytest.raises(MandatoryFlagsMissing, match=r"b@host lacks .* a@host requires: V4_NC"):
        greet(dialler, answerer, Status.OK)
    assert dialler.data_to_send() == []


@both
def test_another_node_answers(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing, peer="c@host"), acceptor(framing)
    with pytest.raises(WrongNodeName, match=r"dialled c@host.*'b@host'"):
        greet(dialler, answerer, Status.OK)


def test_a_cookie_outside_latin_1() -> None:
    with pytest.raises(ValueError, match="latin-1"):
        initiator(BARE, cookie="\u0142")


# -- the old name message, as a node sends it that does not know whether its peer has version 6 ----
# What OTP 27 and 29 answer was seen with BEAMs; OTP 25 closes the connection.

packets = pytest.mark.parametrize("framing", [HandshakeFraming.PACKET_2, HandshakeFraming.PACKET_4])


def old_name(flags: int, version: int = 5) -> bytes:
    return struct.pack(">cHI", b"n", version, flags & 0xFFFFFFFF) + b"a@host"


def complement(flags: int, creation: int) -> bytes:
    return struct.pack(">cII", b"c", flags >> 32, creation)


def answered_ok(framing: HandshakeFraming, name: bytes) -> Acceptor:
    answerer = acceptor(framing)
    named = one(answerer.receive_data(framed(framing, name)))
    assert isinstance(named, PeerNamed)
    assert named.name == "a@host"
    answerer.send_status(Status.OK)
    return answerer


@packets
@pytest.mark.parametrize("version", [5, 6])
def test_an_old_name_is_followed_by_a_complement(framing: HandshakeFraming, version: int) -> None:
    answerer = answered_ok(framing, old_name(DEFAULT_FLAGS, version))
    status, challenge = answerer.data_to_send()
    assert status == framed(framing, b"sok")
    (theirs,) = struct.unpack_from(">I", challenge, framing.value + 9)
    reply = encode_reply(7, gen_digest(theirs, COOKIE))
    data = framed(framing, complement(DEFAULT_FLAGS, 77)) + framed(framing, reply)
    connected = one(answerer.receive_data(data))
    assert isinstance(connected, Connected)
    peer = connected.peer
    assert (peer.name, peer.creation, peer.flags) == ("a@host", 77, expand(DEFAULT_FLAGS))
    assert answerer.data_to_send() == [framed(framing, b"a" + gen_digest(7, COOKIE))]


@packets
@pytest.mark.parametrize("lacking", [DistFlag.HANDSHAKE_23, DistFlag.BIG_CREATION, DistFlag.UNLINK_ID])
def test_an_old_name_without_a_mandatory_flag(framing: HandshakeFraming, lacking: DistFlag) -> None:
    answerer = acceptor(framing)
    with pytest.raises(MandatoryFlagsMissing) as caught:
        answerer.receive_data(framed(framing, old_name(MANDATORY & ~lacking)))
    assert caught.value.missing == lacking
    assert answerer.data_to_send() == [framed(framing, b"snot_allowed")]


@packets
def test_a_complement_without_a_mandatory_flag(framing: HandshakeFraming) -> None:
    answerer = answered_ok(framing, old_name(DEFAULT_FLAGS))
    answerer.data_to_send()
    with pytest.raises(MandatoryFlagsMissing) as caught:
        answerer.receive_data(framed(framing, complement(0, 77)))
    assert caught.value.missing == DistFlag.V4_NC
    assert answerer.data_to_send() == [framed(framing, b"snot_allowed")]


@packets
@pytest.mark.parametrize("message", [b"c", complement(DEFAULT_FLAGS, 7) + b"x", encode_reply(7, bytes(16))])
def test_what_is_no_complement(framing: HandshakeFraming, message: bytes) -> None:
    answerer = answered_ok(framing, old_name(DEFAULT_FLAGS))
    with pytest.raises(MalformedHandshake, match="expected a complement"):
        answerer.receive_data(framed(framing, message))


def test_an_old_name_over_quic_has_no_end() -> None:
    with pytest.raises(MalformedHandshake, match="one of version 5"):
        acceptor(BARE).receive_data(old_name(DEFAULT_FLAGS))


# -- malformed -----------------------------------------------------------------------------------

NAME = encode_name_message(A.flags, 1, A.name)
CHALLENGE = encode_challenge(B.flags, 1, 1, B.name)


def name_with_length(length: int) -> bytes:
    return NAME[:13] + struct.pack(">H", length) + NAME[15:]


@both
@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"n", MalformedHandshake),
        (b"n\0\5\0\0\0\0", MalformedHandshake),
        (b"n\0\5\0\0\0\0nohost", MalformedHandshake),
        (b"x" + NAME[1:], MalformedHandshake),
        (b"sok", MalformedHandshake),
        (b"GET / HTTP/1.1\r\n\r\n", MalformedHandshake),
        (encode_name_message(A.flags, 1, "nohost"), MalformedHandshake),
        (encode_name_message(A.flags, 1, "a@b@c"), MalformedHandshake),
        (encode_name_message(A.flags | DistFlag.NAME_ME, 0, "a@host"), MalformedHandshake),
        (NAME.replace(b"a@host", b"a@ho\n."), MalformedHandshake),
        (name_with_length(0), MalformedHandshake),
        (name_with_length(256), MalformedHandshake),
    ],
)
def test_what_is_no_name(framing: HandshakeFraming, message: bytes, error: type[HandshakeError]) -> None:
    answerer = acceptor(framing)
    with pytest.raises(error):
        answerer.receive_data(framed(framing, message))
    assert answerer.over


@pytest.mark.parametrize("message", [b"", b"N", NAME[:-1]])
def test_truncated_in_its_frame(message: bytes) -> None:
    with pytest.raises(MalformedHandshake):
        acceptor(PREFIXED).receive_data(framed(PREFIXED, message))


@both
@pytest.mark.parametrize("message", [b"sno", b"sokay", b"x", b"strue", b"S", NAME, b"s"])
def test_what_is_no_status(framing: HandshakeFraming, message: bytes) -> None:
    dialler = initiator(framing)
    if framing is BARE and message in (b"sno", b"s"):
        assert dialler.receive_data(message) == []  # may still become one
        message = b"!"
    with pytest.raises(MalformedHandshake, match="b@host"):
        dialler.receive_data(framed(framing, message))


@both
@pytest.mark.parametrize("message", [b"a" + bytes(16), b"sok", CHALLENGE[:17] + b"\1\0" + CHALLENGE[19:]])
def test_what_is_no_challenge(framing: HandshakeFraming, message: bytes) -> None:
    dialler = initiator(framing)
    with pytest.raises(MalformedHandshake):
        dialler.receive_data(framed(framing, b"sok") + framed(framing, message))


@both
@pytest.mark.parametrize("message", [b"a" + bytes(16), b"R" + bytes(20), NAME])
def test_what_is_no_reply(framing: HandshakeFraming, message: bytes) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    greet(dialler, answerer, Status.OK)
    with pytest.raises(MalformedHandshake, match="a@host"):
        answerer.receive_data(framed(framing, message))


@both
def test_what_is_no_answer_to_alive(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    greet(dialler, answerer, Status.ALIVE)
    with pytest.raises(MalformedHandshake, match="true or false"):
        answerer.receive_data(framed(framing, b"smaybe"))


def test_what_is_too_long_is_refused_before_it_is_buffered() -> None:
    with pytest.raises(MalformedHandshake, match="2049 bytes"):
        acceptor(PREFIXED).receive_data(b"\x08\x01")
    with pytest.raises(MalformedHandshake, match="got a name of 256 bytes"):
        acceptor(BARE).receive_data(name_with_length(256)[:15])


def test_a_peer_that_sends_on_while_it_has_to_wait() -> None:
    answerer = acceptor(PREFIXED)
    answerer.receive_data(framed(PREFIXED, NAME))
    with pytest.raises(MalformedHandshake, match="before an answer"):
        answerer.receive_data(bytes(5000))


@both
def test_closed_in_the_middle(framing: HandshakeFraming) -> None:
    dialler, answerer = initiator(framing), acceptor(framing)
    assert "a name message" in str(answerer.connection_closed())
    error = dialler.connection_closed()
    assert isinstance(error, HandshakeEnded)
    assert "b@host closed the connection while a status was expected" in str(error)


def test_out_of_turn_calls() -> None:
    dialler, answerer = initiator(BARE), acceptor(BARE)
    for call in (
        lambda: dialler.send_alive_answer(True),
        lambda: answerer.send_status(Status.OK),
        answerer.old_connection_down,
    ):
        with pytest.raises(RuntimeError):
            call()
