"""Frames that are relayed: their kinds, their receivers, the owners of aliases; bad input."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicdist.protocol import (
    DEFAULT_FLAGS,
    MAX_FRAME,
    MAX_PARTIAL_MESSAGES,
    NO_PAYLOAD,
    AliasSend,
    ControlMessage,
    DistConnection,
    DistFlag,
    FrameError,
    FrameTooLong,
    MonitorP,
    PayloadMonitorPExit,
    SendSender,
    SpawnRequest,
    StreamPlan,
)
from quicdist.protocol.relay import (
    MAX_OWNERS,
    AliasOwners,
    FrameKind,
    RelayConnection,
    Route,
    Routes,
    operation_of,
    receiver_of,
)
from quicdist.term import Atom, Codec, Pid, Reference
from tests.protocol.pair import A, connection, peer
from tests.protocol.test_control import MESSAGES

P, Q = Pid("a@host", 1, 0, 11), Pid("b@host", 2, 0, 22)
FRAGMENTS, PASS_THROUGH = DEFAULT_FLAGS, DEFAULT_FLAGS & ~DistFlag.FRAGMENTS
forms = pytest.mark.parametrize("flags", [FRAGMENTS, PASS_THROUGH], ids=["dist-header", "pass-through"])


def relay() -> RelayConnection:
    return RelayConnection(peer(FRAGMENTS), A, streams=StreamPlan.single(), max_frame=MAX_FRAME)


def frames_of(sender: DistConnection, control: ControlMessage, payload: Any = NO_PAYLOAD) -> list[Any]:
    """The frames of a message, as a gateway receives them."""
    return relay().receive(0, b"".join(sender.send(control, payload)[1]))


def frame_of(control: ControlMessage, payload: Any = NO_PAYLOAD) -> bytes:
    ((kind, frame),) = frames_of(connection(FRAGMENTS), control, payload)
    assert kind is FrameKind.WHOLE
    return bytes(frame)


def etf(term: Any) -> bytes:
    return Codec().encode(term)


@forms
@pytest.mark.parametrize(("message", "payload", "pair"), [(m, p, pair) for m, _, p, pair in MESSAGES])
def test_the_receiver_of_every_operation_is_the_second_of_its_pair(
    message: ControlMessage, payload: bool, pair: Any, flags: DistFlag
) -> None:
    frames = frames_of(connection(flags), message, [1, 2] if payload else NO_PAYLOAD)
    assert [kind for kind, _ in frames] == [FrameKind.WHOLE]
    assert receiver_of(frames[0][1]) == (None if pair is None else etf(pair[1]))
    assert operation_of(frames[0][1]) == message.op


def test_a_large_message_is_a_first_frame_others_and_a_last_one() -> None:
    frames = frames_of(connection(FRAGMENTS), SendSender(P, Q), b"x" * 300_000)
    kinds = [kind for kind, _ in frames]
    assert kinds == [FrameKind.FIRST, *[FrameKind.NEXT] * (len(kinds) - 2), FrameKind.LAST]
    assert receiver_of(frames[0][1]) == etf(Q)
    assert [kind.ends_message for kind in kinds] == [False] * (len(kinds) - 1) + [True]


@pytest.mark.parametrize(
    "frame",
    [
        b"\x83D\x01\x68\x03",  # an atom cache reference
        b"\x83E" + bytes(8),  # a fragment header that is cut off
        b"\x83E" + bytes(16) + b"\0",  # 0 fragments
        b"\x83F" + bytes(16),
        b"\x83h\x01\x61\x01",
        b"pp",
        b"\0",
    ],
)
def test_a_frame_in_no_negotiated_form_is_refused(frame: bytes) -> None:
    with pytest.raises(FrameError, match="frame from b@host: expected"):
        relay().receive(0, len(frame).to_bytes(4, "big") + frame)


@given(st.binary(max_size=80), st.sampled_from([b"\x83D\0", b"p\x83", b"\x83E" + bytes(17)]))
def test_a_control_message_of_any_bytes_has_a_receiver_or_none(rest: bytes, head: bytes) -> None:
    for frame in (head + rest, head + b"h\x04a\x06" + rest, head + b"h\x03a\x16" + rest):
        receiver = receiver_of(frame)
        assert receiver is None or receiver in frame
        AliasOwners().learn(frame)


def test_nested_tags_are_no_receiver_and_cost_nothing() -> None:
    assert receiver_of(b"\x83D\0h\x03a\x16" + b"X" * 100_000) is None


def test_a_frame_that_is_too_long_is_refused_before_any_of_it_is_kept() -> None:
    with pytest.raises(FrameTooLong, match=str(MAX_FRAME + 1)):
        relay().receive(0, (MAX_FRAME + 1).to_bytes(4, "big") + bytes(100))


@pytest.mark.parametrize("message", [m for m, _, payload, _ in MESSAGES if payload])
def test_a_long_message_in_one_frame_is_divided_into_fragments_of_a_beam(message: ControlMessage) -> None:
    payload = random.Random(1).randbytes(1_000_000)
    sender = DistConnection(
        peer(FRAGMENTS), A, codec=Codec(), streams=StreamPlan.single(), fragment_size=1 << 30
    )
    ((kind, frame),) = frames_of(sender, message, payload)
    assert kind is FrameKind.WHOLE
    for _ in range(2):
        divided = relay().divide(frame)
        assert divided is not None
        data = b"".join(divided)
        assert max(len(each) for _, each in relay().receive(0, data)) < 66_000
        ((got, what),) = connection(FRAGMENTS).receive(0, data)
        assert (got, what) == (message, payload)


def test_only_long_messages_with_a_payload_are_divided_and_where_fragments_are_negotiated() -> None:
    ((_, long),) = frames_of(connection(PASS_THROUGH), SendSender(P, Q), bytes(1_000_000))
    assert relay().divide(long) is None
    short = frame_of(SendSender(P, Q), bytes(60_000))
    assert relay().divide(short) is None
    unknown = b"\x83D\0h\x03a\x16" + b"m\x00\x0f\x00\x00" + bytes(0xF0000)
    assert relay().divide(unknown) is None


# -- fragments ---------------------------------------------------------------------------------------


def test_all_fragments_of_a_message_have_the_route_of_the_first() -> None:
    frames = frames_of(connection(FRAGMENTS), SendSender(P, Q), bytes(300_000))
    first, *others, last = (frame for _, frame in frames)
    routes = Routes("b@host")
    route = Route(b"q", 4)
    routes.begin(first, route)
    assert all(routes.next(frame, last=False) is route for frame in others)
    assert routes.next(last, last=True) is route
    with pytest.raises(FrameError, match="expected a first one of sequence 1"):
        routes.next(last, last=True)


def test_more_incomplete_messages_than_allowed_are_refused() -> None:
    routes = Routes("b@host")
    for sequence in range(MAX_PARTIAL_MESSAGES):
        routes.begin(b"\x83E" + sequence.to_bytes(8, "big") + bytes(9), Route(None, 4))
    with pytest.raises(FrameError, match=f"expected at most {MAX_PARTIAL_MESSAGES} incomplete messages"):
        routes.begin(b"\x83E" + b"\xff" * 8 + bytes(9), Route(None, 4))


# -- aliases -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(1, 2, 3), (1, 2, 3, 4, 5)])
def test_the_alias_of_a_call_is_the_same_receiver_as_its_process(words: tuple[int, ...]) -> None:
    owners = AliasOwners()
    alias = Reference("a@host", words, 11)
    owners.learn(frame_of(MonitorP(P, Atom("server"), alias)))
    reply = receiver_of(frame_of(AliasSend(Q, alias), 1))
    down = receiver_of(frame_of(PayloadMonitorPExit(Q, P, alias), 1))
    assert reply is not None
    assert down is not None
    assert owners.key(reply) == owners.key(down) == owners.key(etf(P))


def test_the_alias_of_a_spawn_request_is_the_same_receiver_as_its_process() -> None:
    owners = AliasOwners()
    alias = Reference("a@host", (1, 2, 3, 4, 5), 11)
    owners.learn(frame_of(SpawnRequest(alias, P, P, (Atom("m"), Atom("f"), 0), []), []))
    assert owners.key(etf(alias)) == owners.key(etf(P))


def test_all_aliases_of_a_process_are_one_receiver_where_they_say_so() -> None:
    owners = AliasOwners()
    owners.learn(frame_of(MonitorP(P, Q, Reference("a@host", (1, 2, 3, 4, 5), 11))))
    assert owners.key(etf(Reference("a@host", (7, 8, 9, 4, 5), 11))) == owners.key(etf(P))


def test_an_alias_that_was_used_before_it_is_known_stays_a_receiver_of_its_own() -> None:
    owners = AliasOwners()
    alias = Reference("a@host", (1, 2, 3, 4, 5), 11)
    before = owners.key(etf(alias))
    owners.learn(frame_of(MonitorP(P, Q, alias)))
    assert owners.key(etf(alias)) == before != owners.key(etf(P))


def test_owners_beyond_the_limit_are_forgotten_the_oldest_first() -> None:
    owners = AliasOwners()
    aliases = [Reference("a@host", (number, 0, 0), 11) for number in range(MAX_OWNERS + 1)]
    for alias in aliases:
        owners.learn(b"\x83D\0" + etf(MonitorP(P, Q, alias).to_term()))
    assert owners.key(etf(aliases[-1])) == owners.key(etf(P))
    assert owners.key(etf(aliases[0])) != owners.key(etf(P))
