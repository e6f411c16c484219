"""The connection: messages to bytes and back, in both forms, whole and in fragments; bad input."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quicdist.protocol import (
    DEFAULT_FLAGS,
    NO_PAYLOAD,
    TICK,
    UNUSED,
    AliasSend,
    AltactFlag,
    AltactSigSend,
    AltactSigSendTT,
    ControlMessage,
    DemonitorP,
    DistConnection,
    DistFlag,
    Exit,
    Exit2,
    FrameError,
    FrameTooLong,
    Link,
    MonitorP,
    MonitorPExit,
    NodeLink,
    PayloadExit,
    PayloadExit2,
    PayloadMonitorPExit,
    RefusedPayload,
    RegSend,
    Role,
    Send,
    SendSender,
    SendSenderTT,
    SendTT,
    SpawnReply,
    SpawnRequest,
    StreamPlan,
)
from quicdist.term import (
    Atom,
    Codec,
    DecodeError,
    EncodeError,
    Limits,
    Local,
    Pid,
    Record,
    Reference,
)
from tests.protocol.pair import A, connection, peer

P, Q = Pid("a@host", 1, 0, 11), Pid("b@host", 2, 0, 22)
R = Reference("b@host", (1, 2, 3), 22)
FRAGMENTS, PASS_THROUGH = DEFAULT_FLAGS, DEFAULT_FLAGS & ~DistFlag.FRAGMENTS
forms = pytest.mark.parametrize("flags", [FRAGMENTS, PASS_THROUGH], ids=["dist-header", "pass-through"])
CODEC = Codec()
CONTROL = CODEC.encode(SendSender(P, Q).to_term())


def joined(connection: DistConnection, control: ControlMessage, payload: Any = NO_PAYLOAD) -> bytes:
    return b"".join(connection.send(control, payload)[1])


def framed(*frames: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


# -- forms ---------------------------------------------------------------------------------------


def test_the_dist_header_form() -> None:
    data = joined(connection(FRAGMENTS), SendSender(P, Q), [1])
    assert data == framed(b"\x83D\0" + CONTROL + CODEC.encode([1]))
    data = joined(connection(FRAGMENTS), Link(P, Q))
    assert data == framed(b"\x83D\0" + CODEC.encode((1, P, Q)))


def test_the_pass_through_form() -> None:
    data = joined(connection(PASS_THROUGH), SendSender(P, Q), [1])
    assert data == framed(b"p\x83" + CONTROL + b"\x83" + CODEC.encode([1]))
    data = joined(connection(PASS_THROUGH), Link(P, Q))
    assert data == framed(b"p\x83" + CODEC.encode((1, P, Q)))


@forms
@pytest.mark.parametrize("size", [0, 1, 1000, 16_000, 17_000, 65_000, 66_000, 300_000])
def test_there_and_back(flags: DistFlag, size: int) -> None:
    sender, receiver = connection(flags), connection(flags)
    sent = [(Link(P, Q), NO_PAYLOAD), (SendSender(P, Q), b"x" * size), (NodeLink(), NO_PAYLOAD)]
    data = b"".join(joined(sender, *message) for message in sent)
    assert receiver.receive(0, data) == sent
    assert sender.messages_out == receiver.messages_in == 3
    assert sender.bytes_out == receiver.bytes_in == len(data)
    frames = 4 if size == 300_000 else 1
    assert len(data) // 65536 + 1 >= (frames if flags & DistFlag.FRAGMENTS else 1)


def test_without_fragments_a_message_is_one_frame_whatever_its_size() -> None:
    data = joined(connection(PASS_THROUGH), SendSender(P, Q), b"x" * 500_000)
    assert struct.unpack_from(">I", data)[0] == len(data) - 4


def test_fragments_are_of_the_size_asked_for() -> None:
    sender = connection(fragment_size=1000)
    data, position, sizes = joined(sender, SendSender(P, Q), b"x" * 5000), 0, []
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        sizes.append(length)
        position += 4 + length
    assert sizes[0] == 1000 + 19
    assert set(sizes[1:-1]) == {1000 + 18}
    assert connection().receive(0, data) == [(SendSender(P, Q), b"x" * 5000)]


def test_sequences_are_numbered_over_all_streams() -> None:
    """A BEAM tells them apart by this number alone, whatever stream they come on."""
    sender = connection(fragment_size=100, streams=StreamPlan.quic(Role.CLIENT, peer()))
    numbers = []
    for n in range(10):
        _, chunks = sender.send(SendSender(Pid("a@host", n, 0, 11), Q), b"x" * 200)
        numbers.append(struct.unpack_from(">Q", b"".join(chunks), 6)[0])
    assert len(set(numbers)) == 10


def test_a_control_message_is_never_divided() -> None:
    token = b"t" * 500
    sender, receiver = connection(fragment_size=100), connection()
    data = joined(sender, SendSenderTT(P, Q, token), b"x" * 250)
    assert CODEC.encode((23, P, Q, token)) in data
    assert receiver.receive(0, data) == [(SendSenderTT(P, Q, token), b"x" * 250)]


def test_a_large_binary_is_not_copied_on_its_way_out() -> None:
    payload = b"x" * 40_000
    _, chunks = connection().send(SendSender(P, Q), payload)
    assert any(chunk is payload for chunk in chunks)
    payload = b"x" * 400_000
    _, chunks = connection().send(SendSender(P, Q), payload)
    assert sum(isinstance(c, memoryview) and c.obj is payload for c in chunks) == 7


terms = st.recursive(
    st.integers()
    | st.binary(max_size=300)
    | st.text(max_size=20).map(lambda text: Atom(f"a{text}"))
    | st.just(P)
    | st.just(R),
    lambda inner: st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple),
    max_leaves=20,
)


@settings(deadline=None)
@given(
    st.lists(terms, min_size=1, max_size=5),
    st.sampled_from([FRAGMENTS, PASS_THROUGH]),
    st.integers(1, 400),
    st.lists(st.integers(1, 500), min_size=1, max_size=10),
)
def test_any_messages_in_any_pieces(
    payloads: list[Any], flags: DistFlag, fragment_size: int, steps: list[int]
) -> None:
    sender, receiver = connection(flags, fragment_size=fragment_size), connection(flags)
    data = b"".join(joined(sender, SendSender(P, Q), payload) for payload in payloads)
    got: list[Any] = []
    position = turn = 0
    while position < len(data):
        step = steps[turn % len(steps)]
        got += receiver.receive(0, data[position : position + step])
        position += step
        turn += 1
    assert got == [(SendSender(P, Q), payload) for payload in payloads]


# -- ticks ---------------------------------------------------------------------------------------


def test_ticks_are_counted_and_not_given() -> None:
    conn = connection(streams=StreamPlan.quic(Role.CLIENT, peer()))
    assert conn.tick() == (0, TICK)
    assert conn.ticks_out == 1
    assert conn.receive(0, TICK + TICK[:2]) == []
    assert conn.receive(0, TICK[2:]) == []
    message = joined(connection(), Link(P, Q))
    assert conn.receive(1, TICK + message + TICK) == [(Link(P, Q), NO_PAYLOAD)]
    assert conn.ticks_in == 4
    assert conn.messages_in == 1


# -- streams -------------------------------------------------------------------------------------


def test_a_pair_takes_one_stream() -> None:
    conn = connection(streams=StreamPlan.quic(Role.CLIENT, peer()))
    taken = {
        conn.send(SendSender(P, Q), 1)[0],
        conn.send(Link(P, Q))[0],
        conn.send(PayloadExit(P, Q), 1)[0],
        conn.send(PayloadMonitorPExit(P, Q, R), 1)[0],
        conn.send(SpawnReply(R, Q, 0, P))[0],
    }
    assert len(taken) == 1
    senders = [Pid("a@host", n, 0, 11) for n in range(100)]
    assert len({conn.send(SendSender(s, Q), 1)[0] for s in senders}) > 8


def test_the_pair_can_be_told() -> None:
    """The owner of an alias or a name is known above: order then holds for all three."""
    conn = connection(streams=StreamPlan.quic(Role.SERVER, peer()))
    for n in range(50):
        s = Pid("a@host", n, 0, 11)
        by_pid, _ = conn.send(SendSender(s, Q), 1)
        assert conn.send(AliasSend(s, R), 1, pair=(s, Q))[0] == by_pid
        assert conn.send(RegSend(s, UNUSED, Atom("q")), 1, pair=(s, Q))[0] == by_pid
        assert conn.send(PayloadMonitorPExit(Atom("s"), Q, R), 1, pair=(s, Q))[0] == by_pid


def test_streams_are_read_on_their_own() -> None:
    conn = connection(streams=StreamPlan.quic(Role.CLIENT, peer()))
    one = joined(connection(), SendSender(P, Q), b"one" * 1000)
    two = joined(connection(), SendSender(P, Q), b"two" * 1000)
    assert conn.receive(1, one[:100]) == []
    assert conn.receive(5, two) == [(SendSender(P, Q), b"two" * 1000)]
    assert conn.receive(1, one[100:]) == [(SendSender(P, Q), b"one" * 1000)]


def test_messages_on_the_control_stream_are_taken() -> None:
    conn = connection(streams=StreamPlan.quic(Role.CLIENT, peer()))
    assert conn.receive(0, joined(connection(), Link(P, Q))) == [(Link(P, Q), NO_PAYLOAD)]


@pytest.mark.parametrize("stream", [65, 68, 2, 3])
def test_other_streams_are_not_ours(stream: int) -> None:
    conn = connection(streams=StreamPlan.quic(Role.CLIENT, peer()))
    with pytest.raises(ValueError, match=f"stream {stream} carries no distribution messages"):
        conn.receive(stream, TICK)


# -- what was not negotiated ---------------------------------------------------------------------

PLAIN = DEFAULT_FLAGS & ~(DistFlag.SEND_SENDER | DistFlag.EXIT_PAYLOAD | DistFlag.ALTACT_SIG)


@pytest.mark.parametrize(
    ("flags", "message", "payload", "sent", "with_payload"),
    [
        (PLAIN, SendSender(P, Q), 1, Send(UNUSED, Q), 1),
        (PLAIN, SendSenderTT(P, Q, 9), 1, SendTT(UNUSED, Q, 9), 1),
        (PLAIN, PayloadExit(P, Q), 1, Exit(P, Q, 1), NO_PAYLOAD),
        (PLAIN, PayloadExit2(P, Q), 1, Exit2(P, Q, 1), NO_PAYLOAD),
        (PLAIN, PayloadMonitorPExit(P, Q, R), 1, MonitorPExit(P, Q, R, 1), NO_PAYLOAD),
        (PLAIN, RegSend(P, UNUSED, Atom("x")), 1, RegSend(P, UNUSED, Atom("x")), 1),
        (PLAIN, AltactSigSend(AltactFlag.PRIO, P, Q), 1, Send(UNUSED, Q), 1),
        (PLAIN, AltactSigSend(AltactFlag.EXIT, P, Q), 1, Exit2(P, Q, 1), NO_PAYLOAD),
        (PLAIN | DistFlag.SEND_SENDER, AltactSigSend(0, P, Q), 1, SendSender(P, Q), 1),
        (PLAIN, AltactSigSend(AltactFlag.ALIAS, P, R), 1, AliasSend(P, R), 1),
        (PLAIN, AltactSigSend(AltactFlag.NAME, P, Atom("x")), 1, RegSend(P, UNUSED, Atom("x")), 1),
        (PLAIN, AltactSigSendTT(AltactFlag.TOKEN, P, Q, 9), 1, SendTT(UNUSED, Q, 9), 1),
        (DEFAULT_FLAGS, AltactSigSend(AltactFlag.PRIO, P, Q), 1, AltactSigSend(1, P, Q), 1),
    ],
)
def test_what_is_sent_instead(
    flags: DistFlag, message: ControlMessage, payload: Any, sent: ControlMessage, with_payload: Any
) -> None:
    assert connection().receive(0, joined(connection(flags), message, payload)) == [(sent, with_payload)]


MFA = (Atom("m"), Atom("f"), 0)


@pytest.mark.parametrize(
    ("lacking", "message", "payload"),
    [
        (DistFlag.ALTACT_SIG, AltactSigSend(AltactFlag.EXIT | AltactFlag.ALIAS, P, R), 1),
        (DistFlag.ALTACT_SIG | DistFlag.ALIAS, AltactSigSend(AltactFlag.ALIAS, P, R), 1),
        (DistFlag.ALIAS, AliasSend(P, R), 1),
        (DistFlag.DIST_MONITOR, MonitorP(P, Q, R), NO_PAYLOAD),
        (DistFlag.DIST_MONITOR_NAME, MonitorP(P, Q, R), NO_PAYLOAD),
        (DistFlag.DIST_MONITOR, MonitorP(P, Atom("x"), R), NO_PAYLOAD),
        (DistFlag.DIST_MONITOR, DemonitorP(P, Q, R), NO_PAYLOAD),
        (DistFlag.DIST_MONITOR, PayloadMonitorPExit(P, Q, R), 1),
        (DistFlag.DIST_MONITOR | DistFlag.EXIT_PAYLOAD, PayloadMonitorPExit(P, Q, R), 1),
        (DistFlag.SPAWN, SpawnRequest(R, P, P, MFA, []), []),
        (DistFlag.SPAWN, SpawnReply(R, P, 0, Atom("badopt")), NO_PAYLOAD),
    ],
)
def test_without_the_flag_a_signal_that_has_no_older_form_is_not_sent(
    lacking: DistFlag, message: ControlMessage, payload: Any
) -> None:
    assert connection().send(message, payload)[1]
    peer = connection(DEFAULT_FLAGS & ~lacking)
    assert peer.send(message, payload)[1] == []
    assert (peer.messages_out, peer.bytes_out) == (0, 0)
    # And not the next one of its kind from memory.
    assert peer.send(message, payload)[1] == []


def test_negotiating_an_atom_cache_is_a_value_error() -> None:
    cached = peer(DEFAULT_FLAGS | DistFlag.DIST_HDR_ATOM_CACHE)
    spoken = type(cached)(cached.name, 1, cached.flags, cached.flags)
    with pytest.raises(ValueError, match="atom cache"):
        DistConnection(spoken, A, codec=Codec(), streams=StreamPlan.single())


# -- errors on the way out -------------------------------------------------------------------------


@forms
def test_what_cannot_be_encoded_leaves_the_connection_as_it_was(flags: DistFlag) -> None:
    sender, receiver = connection(flags, fragment_size=100), connection(flags)
    with pytest.raises(EncodeError):
        sender.send(SendSender(P, Q), [b"x" * 1000, object()])
    with pytest.raises(EncodeError):
        sender.send(SendSenderTT(P, Q, object()), 1)
    assert (sender.messages_out, sender.bytes_out) == (0, 0)
    data = joined(sender, SendSender(P, Q), b"x" * 1000)
    assert receiver.receive(0, data) == [(SendSender(P, Q), b"x" * 1000)]


def test_payloads_missing_and_one_too_many() -> None:
    with pytest.raises(ValueError, match="SEND_SENDER needs a payload"):
        connection().send(SendSender(P, Q))
    with pytest.raises(ValueError, match="LINK takes no payload"):
        connection().send(Link(P, Q), None)
    assert connection().send(SendSender(P, Q), None)


# -- errors on the way in --------------------------------------------------------------------------

GOOD = b"\x83D\0" + CONTROL + CODEC.encode(1)
NO_REASON = "expected nothing behind"


@pytest.mark.parametrize(
    ("frame", "text", "undecodable"),
    [
        (b"\x83", "a distribution header or pass-through", False),
        (b"\x83D", "a distribution header or pass-through", False),
        (b"\x83h\1a\5", "a distribution header or pass-through", False),
        (b"p\x84" + CONTROL, "a distribution header or pass-through", False),
        (b"hello", "hello", False),
        (b"\x83D\1" + CONTROL, "no atom cache reference", False),
        (b"\x83D\0", "stream 0", True),
        (b"\x83D\0\x83" + CONTROL, "stream 0", True),
        (b"\x83D\0" + CONTROL, "stream 0", True),
        (GOOD[:-1], "stream 0", True),
        (b"\x83D\0" + CONTROL + b"\xff", "255", True),
        (GOOD + b"\0", "nothing after SEND_SENDER, got '.x00'", False),
        (b"\x83D\0" + CODEC.encode((1, P, Q)) + b"j", "nothing after LINK", False),
        (b"p\x83" + CONTROL, "a payload for SEND_SENDER", False),
        (b"p\x83" + CONTROL + CODEC.encode(1), "a payload for SEND_SENDER", False),
        (b"\x83D\0" + CODEC.encode((99,)), r"\(99\)", False),
        (b"\x83D\0" + CODEC.encode((1, P, 1)), "LINK with to_pid", False),
        (b"\x83F" + bytes(16), "a first fragment", False),
    ],
)
def test_malformed_frames(frame: bytes, text: str, undecodable: bool) -> None:
    receiver = connection()
    with pytest.raises(FrameError, match=f"(b@host.*{text}|{text}.*b@host)") as caught:
        receiver.receive(0, framed(GOOD, frame, GOOD))
    assert caught.value.node == "b@host"
    assert caught.value.messages == [(SendSender(P, Q), 1)]
    assert isinstance(caught.value.__cause__, DecodeError) is undecodable
    with pytest.raises(FrameError) as again:  # it does not pick up again in the middle of something
        receiver.receive(0, framed(GOOD))
    assert again.value is caught.value
    # Alone in a chunk, it is read in another way.
    with pytest.raises(FrameError) as alone:
        connection().receive(0, framed(frame))
    assert str(alone.value) == str(caught.value)


def test_fragments_without_having_been_negotiated() -> None:
    data = joined(connection(fragment_size=10), SendSender(P, Q), b"x" * 100)
    with pytest.raises(FrameError, match="distribution header or pass-through"):
        connection(PASS_THROUGH).receive(0, data)


def test_bounds() -> None:
    big = joined(connection(), SendSender(P, Q), b"x" * 5000)
    with pytest.raises(FrameTooLong, match="a frame from b@host"):
        connection(max_frame=4000).receive(0, big)
    parts = joined(connection(fragment_size=1000), SendSender(P, Q), b"x" * 5000)
    ((control, refused),) = connection(max_frame=4000).receive(0, parts)
    assert control == SendSender(P, Q)
    assert type(refused) is RefusedPayload
    assert str(refused.error).startswith("a message in fragments from b@host has 5000 bytes")
    assert connection(max_frame=4000, max_message=6000).receive(0, parts)
    with pytest.raises(FrameError, match="at most 0 messages"):
        connection(max_partial_messages=0).receive(0, parts)


def test_the_codecs_limits_hold() -> None:
    nested: list[Any] = []
    for _ in range(500):
        nested = [nested]
    data = joined(connection(), SendSender(P, Q), nested)
    shallow = connection(codec=Codec(limits=Limits(max_depth=200)))
    after = joined(connection(), SendSender(P, Q), "after")
    ((control, refused), (_, last)) = shallow.receive(0, data + after)
    assert control == SendSender(P, Q)
    assert type(refused) is RefusedPayload
    assert isinstance(refused.error, DecodeError)
    assert refused.error.too_deep
    assert last == b"after"


def test_of_a_payload_that_is_too_deep_the_beginning_is_given() -> None:
    nested: list[Any] = []
    for _ in range(500):
        nested = [nested]
    call = (Atom("$gen_call"), (P, Atom("tag")), nested)
    shallow = connection(codec=Codec(limits=Limits(max_depth=200)))
    ((_, refused),) = shallow.receive(0, joined(connection(), SendSender(P, Q), call))
    assert refused.begun == call[:2]
    short = connection(max_message=4000)
    ((_, refused),) = short.receive(
        0, joined(connection(fragment_size=1000), SendSender(P, Q), (*call[:2], b"x" * 5000))
    )
    assert refused.begun == call[:2]


def test_a_native_record_to_a_peer_without_them_is_an_encode_error() -> None:
    record = Record("m", "r", {"f": 1})
    older = connection(DEFAULT_FLAGS & ~DistFlag.NATIVE_RECORDS)
    for term in (record, [(1, record)]):
        with pytest.raises(EncodeError, match="a native record: the peer does not support it"):
            older.send(SendSender(P, Q), term)
        assert connection().receive(0, joined(connection(), SendSender(P, Q), term)) == [
            (SendSender(P, Q), term)
        ]


def test_a_local_term_is_not_sent() -> None:
    with pytest.raises(EncodeError, match="only the node that wrote it"):
        connection().send(SendSender(P, Q), Local(b"abc"))


def test_the_codecs_none_holds_for_names() -> None:
    receiver = connection(codec=Codec(none="nil"))
    data = joined(connection(), RegSend(P, UNUSED, Atom("nil")), Atom("undefined"))
    assert receiver.receive(0, data) == [(RegSend(P, UNUSED, Atom("nil")), Atom("undefined"))]


# -- what is remembered of the last message ------------------------------------------------------

DESTINATIONS = [Q, Pid("b@host", 3, 0, 22), Atom("name"), Atom("other"), R]


def over_quic(flags: DistFlag = FRAGMENTS) -> DistConnection:
    return connection(flags, streams=StreamPlan.quic(Role.CLIENT, peer(flags)))


def to(destination: Any, sender: Pid) -> ControlMessage:
    if isinstance(destination, Pid):
        return SendSender(sender, destination)
    if isinstance(destination, Atom):
        return RegSend(sender, UNUSED, destination)
    return AltactSigSend(int(AltactFlag.ALIAS), sender, destination)


@forms
@pytest.mark.parametrize("altact", [True, False])
@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from(DESTINATIONS),
            st.sampled_from([P, Pid("a@host", 4, 0, 11)]),
            st.sampled_from([None, None, (P, Q), (P, "x")]),
            st.binary(max_size=8),
        ),
        max_size=12,
    )
)
@settings(max_examples=40)
def test_messages_after_others_are_as_if_alone(
    flags: DistFlag, altact: bool, messages: list[tuple[Any, Pid, Any, bytes]]
) -> None:
    if not altact:
        flags &= ~DistFlag.ALTACT_SIG
    sender, receiver = over_quic(flags), over_quic(flags)
    for destination, source, pair, payload in messages:
        control = to(destination, source)
        stream_id, parts = sender.send(control, payload, pair=pair)
        alone_id, alone = over_quic(flags).send(to(destination, source), payload, pair=pair)
        assert (stream_id, b"".join(parts)) == (alone_id, b"".join(alone))
        ((came, content),) = receiver.receive(stream_id, b"".join(parts))
        expected = control if altact or type(control) is not AltactSigSend else AliasSend(source, destination)
        assert (came, content) == (expected, payload)


def test_a_control_message_that_begins_like_the_last_is_not_taken_for_it() -> None:
    receiver = over_quic()
    for number in (1, 256, 1):
        control = SendSender(P, Pid("b@host", number, 0, 22))
        ((came, _),) = receiver.receive(4, joined(connection(FRAGMENTS), control, b""))
        assert came == control
    with pytest.raises(FrameError):  # the remembered control message, and then no payload
        receiver.receive(4, framed(b"\x83D\0" + CODEC.encode(control.to_term())))
