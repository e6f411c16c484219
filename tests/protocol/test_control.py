"""Control messages: each as OTP encodes it, there and back; and malformed ones."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist.protocol import (
    UNUSED,
    AliasSend,
    AliasSendTT,
    AltactFlag,
    AltactSigSend,
    AltactSigSendTT,
    ControlMessage,
    DemonitorP,
    Exit,
    Exit2,
    Exit2TT,
    ExitTT,
    FrameError,
    GroupLeader,
    Link,
    MonitorP,
    MonitorPExit,
    NodeLink,
    Op,
    PayloadExit,
    PayloadExit2,
    PayloadExit2TT,
    PayloadExitTT,
    PayloadMonitorPExit,
    RegSend,
    RegSendTT,
    Send,
    SendSender,
    SendSenderTT,
    SendTT,
    SpawnReply,
    SpawnReplyFlag,
    SpawnReplyTT,
    SpawnRequest,
    SpawnRequestTT,
    Unlink,
    UnlinkId,
    UnlinkIdAck,
    decode_control,
)
from quicdist.term import Atom, Codec, Pid, Reference
from tests.support.beam import Beam

P, Q, G = Pid("b@h", 10, 0, 4), Pid("a@h", 20, 1, 5), Pid("b@h", 30, 0, 4)
R = Reference("b@h", (1, 2, 3), 4)
NAME, REASON, TOKEN = Atom("echo"), (Atom("error"), [1]), (Atom("tok"), 1)
MFA = (Atom("erlang"), Atom("self"), 0)
BIG = 0xFFFFFFFFFFFFFFFF

#: The class, its elements, the tuple as erl_dist_protocol writes it, whether a payload follows, and
#: between whom it is ordered. In the Erlang source F, T and G are pids, R is a reference.
MESSAGES: list[tuple[ControlMessage, str, bool, Any]] = [
    (Link(P, Q), "{1,F,T}", False, (P, Q)),
    (Send(UNUSED, Q), "{2,'',T}", True, (UNUSED, Q)),
    (Exit(P, Q, REASON), "{3,F,T,{error,[1]}}", False, (P, Q)),
    (Unlink(P, Q), "{4,F,T}", False, (P, Q)),
    (NodeLink(), "{5}", False, None),
    (RegSend(P, UNUSED, NAME), "{6,F,'',echo}", True, (P, NAME)),
    (GroupLeader(P, Q), "{7,F,T}", False, (P, Q)),
    (Exit2(P, Q, REASON), "{8,F,T,{error,[1]}}", False, (P, Q)),
    (SendTT(UNUSED, Q, TOKEN), "{12,'',T,{tok,1}}", True, (UNUSED, Q)),
    (ExitTT(P, Q, TOKEN, REASON), "{13,F,T,{tok,1},{error,[1]}}", False, (P, Q)),
    (RegSendTT(P, UNUSED, NAME, TOKEN), "{16,F,'',echo,{tok,1}}", True, (P, NAME)),
    (Exit2TT(P, Q, TOKEN, REASON), "{18,F,T,{tok,1},{error,[1]}}", False, (P, Q)),
    (MonitorP(P, Q, R), "{19,F,T,R}", False, (P, Q)),
    (MonitorP(P, NAME, R), "{19,F,echo,R}", False, (P, NAME)),
    (DemonitorP(P, Q, R), "{20,F,T,R}", False, (P, Q)),
    (DemonitorP(P, NAME, R), "{20,F,echo,R}", False, (P, NAME)),
    (MonitorPExit(P, Q, R, REASON), "{21,F,T,R,{error,[1]}}", False, (P, Q)),
    (MonitorPExit(NAME, Q, R, REASON), "{21,echo,T,R,{error,[1]}}", False, (NAME, Q)),
    (SendSender(P, Q), "{22,F,T}", True, (P, Q)),
    (SendSenderTT(P, Q, TOKEN), "{23,F,T,{tok,1}}", True, (P, Q)),
    (PayloadExit(P, Q), "{24,F,T}", True, (P, Q)),
    (PayloadExitTT(P, Q, TOKEN), "{25,F,T,{tok,1}}", True, (P, Q)),
    (PayloadExit2(P, Q), "{26,F,T}", True, (P, Q)),
    (PayloadExit2TT(P, Q, TOKEN), "{27,F,T,{tok,1}}", True, (P, Q)),
    (PayloadMonitorPExit(P, Q, R), "{28,F,T,R}", True, (P, Q)),
    (PayloadMonitorPExit(NAME, Q, R), "{28,echo,T,R}", True, (NAME, Q)),
    (SpawnRequest(R, P, G, MFA, [Atom("monitor")]), "{29,R,F,G,{erlang,self,0},[monitor]}", True, (P, P)),
    (SpawnRequest(R, P, G, MFA, []), "{29,R,F,G,{erlang,self,0},[]}", True, (P, P)),
    (SpawnRequestTT(R, P, G, MFA, [], TOKEN), "{30,R,F,G,{erlang,self,0},[],{tok,1}}", True, (P, P)),
    (SpawnReply(R, P, SpawnReplyFlag.MONITOR, Q), "{31,R,F,2,T}", False, (Q, P)),
    (SpawnReply(R, P, 0, Atom("notsup")), "{31,R,F,0,notsup}", False, (Atom("notsup"), P)),
    (SpawnReplyTT(R, P, 3, Q, TOKEN), "{32,R,F,3,T,{tok,1}}", False, (Q, P)),
    (AliasSend(P, R), "{33,F,R}", True, (P, R)),
    (AliasSendTT(P, R, TOKEN), "{34,F,R,{tok,1}}", True, (P, R)),
    (UnlinkId(1, P, Q), "{35,1,F,T}", False, (P, Q)),
    (UnlinkId(BIG, P, Q), "{35,16#ffffffffffffffff,F,T}", False, (P, Q)),
    (UnlinkIdAck(1 << 40, P, Q), "{36,1 bsl 40,F,T}", False, (P, Q)),
    (AltactSigSend(AltactFlag.PRIO, P, Q), "{37,1,F,T}", True, (P, Q)),
    (AltactSigSend(AltactFlag.ALIAS, P, R), "{37,4,F,R}", True, (P, R)),
    (AltactSigSend(AltactFlag.NAME, P, NAME), "{37,8,F,echo}", True, (P, NAME)),
    (AltactSigSend(AltactFlag.EXIT | AltactFlag.PRIO, P, Q), "{37,17,F,T}", True, (P, Q)),
    (AltactSigSendTT(AltactFlag.TOKEN, P, Q, TOKEN), "{37,2,F,T,{tok,1}}", True, (P, Q)),
]
each = pytest.mark.parametrize(
    ("message", "source", "payload", "pair"), MESSAGES, ids=[f"{m.op.name}-{s}" for m, s, *_ in MESSAGES]
)


def test_every_operation_is_in_the_table() -> None:
    assert {message.op for message, *_ in MESSAGES} == set(Op)


@each
def test_there_and_back(message: ControlMessage, source: str, payload: bool, pair: Any) -> None:
    for _ in range(2):  # by the table of types, then by the types remembered
        term, _ = Codec().decode(Codec().encode(message.to_term()))
        decoded = decode_control(term)
        assert decoded == message
        assert type(decoded) is type(message)
    assert message.to_term()[0] == message.op
    assert message.has_payload is payload
    assert type(message).pair(message) == pair


@pytest.mark.beam
@each
def test_as_otp_encodes_it(
    beam: Beam, message: ControlMessage, source: str, payload: bool, pair: Any
) -> None:
    codec = Codec()
    terms = dict(zip("FTGR", (P, Q, G, R), strict=True))
    bindings = ", ".join(
        f"{name} = binary_to_term(<<{','.join(map(str, codec.term_to_binary(term)))}>>)"
        for name, term in terms.items()
    )
    made = beam.eval_bytes_now(f"(fun() -> {bindings}, _ = {{F, T, G, R}}, term_to_binary({source}) end)()")
    assert decode_control(codec.binary_to_term(made)) == message
    same = f"(fun() -> {bindings}, _ = {{F, T, G, R}}, binary_to_term(Data) =:= {source} end)()"
    assert beam.eval_now(same, codec.term_to_binary(message.to_term())) == "true"


def test_messages_of_two_operations_are_not_equal() -> None:
    assert Link(P, Q) != GroupLeader(P, Q)
    assert Link(P, Q) != (P, Q)
    assert Link(P, Q) == Link(P, Q)
    assert len({Link(P, Q), Link(P, Q)}) == 1


def test_messages_can_be_matched() -> None:
    match decode_control((22, P, Q)):
        case SendSender(from_pid, to_pid):
            assert (from_pid, to_pid) == (P, Q)
        case other:
            raise AssertionError(other)


def test_names_that_python_has_values_for() -> None:
    """``true``, ``false`` and ``undefined`` (or ``nil``) reach us as True, False and None."""
    assert decode_control((6, P, UNUSED, True)) == RegSend(P, UNUSED, Atom("true"))
    assert decode_control((19, P, False, R)) == MonitorP(P, Atom("false"), R)
    assert decode_control((19, P, None, R)) == MonitorP(P, Atom("undefined"), R)
    assert decode_control((19, P, None, R), none=Atom("nil")) == MonitorP(P, Atom("nil"), R)
    assert decode_control((31, R, P, 0, None)) == SpawnReply(R, P, 0, Atom("undefined"))
    altact = AltactSigSend(AltactFlag.NAME, P, Atom("true"))
    assert decode_control((37, 8, P, True)) == altact


def test_the_unused_element_may_be_anything() -> None:
    assert decode_control((2, Atom("cookie"), Q)) == Send(Atom("cookie"), Q)
    assert decode_control((2, None, Q)) == Send(None, Q)


@pytest.mark.parametrize(
    ("term", "expected", "came"),
    [
        (None, "a tuple that begins with an operation", "None"),
        ((), "a tuple", r"\(\)"),
        ([1, P, Q], "a tuple", "1"),
        ((Atom("link"), P, Q), "a tuple", "link"),
        ((True, P, Q), "a tuple", "True"),
        ((9, P, Q), "a tuple", "9"),
        ((99, P, Q), "a tuple", "99"),
        ((-1,), "a tuple", "-1"),
        ((1, P), "LINK with 3 elements", "2: "),
        ((1, P, Q, Q), "LINK with 3 elements", "4: "),
        ((1, P, 7), "LINK with to_pid a Pid", "7 in "),
        ((1, Atom("a"), Q), "LINK with from_pid a Pid", "a"),
        ((1, None, Q), "LINK with from_pid a Pid", "None"),
        ((6, P, UNUSED, b"echo"), "REG_SEND with to_name a Atom", "b'echo'"),
        ((6, P, UNUSED, Q), "REG_SEND with to_name a Atom", "a@h"),
        ((19, P, Q, P), "MONITOR_P with ref a Reference", "b@h"),
        ((19, P, R, R), "MONITOR_P with to_proc a Atom or Pid", "Ref"),
        ((29, R, P, G, MFA, Atom("x")), "SPAWN_REQUEST with opt_list a list", "x"),
        ((29, R, P, G, (1, 2), []), "Module, Function, Arity", r"\(1, 2\)"),
        ((29, R, P, G, (Atom("m"), Atom("f"), b""), []), "Module, Function, Arity", "b''"),
        ((31, R, P, b"", Q), "SPAWN_REPLY with flags a int", "b''"),
        ((31, R, P, True, Q), "SPAWN_REPLY with flags a int", "True"),
        ((35, 0, P, Q), "UNLINK_ID with id in", "0"),
        ((35, 1 << 64, P, Q), "UNLINK_ID with id in", str(1 << 64)),
        ((36, -1, P, Q), "UNLINK_ID_ACK with id in", "-1"),
        ((37, 0, P), "ALTACT_SIG_SEND with 4 or 5 elements", "3: "),
        ((37, 4, P, Q), "whose flags fit", "a@h"),
        ((37, 8, P, R), "whose flags fit", "Ref"),
        ((37, 0, P, NAME), "whose flags fit", "echo"),
        ((37, 2, P, Q), "whose flags fit", "a@h"),
        ((37, 0, P, Q, TOKEN), "whose flags fit", "tok"),
    ],
)
def test_malformed(term: Any, expected: str, came: str) -> None:
    for _ in range(2):
        with pytest.raises(FrameError, match=f"from b@h: expected.*{expected}.*got .*{came}") as caught:
            decode_control(term, "b@h")
        assert caught.value.node == "b@h"


def test_values_are_checked_after_types_were_found_good() -> None:
    assert decode_control((35, 5, P, Q)) == UnlinkId(5, P, Q)
    with pytest.raises(FrameError):
        decode_control((35, 0, P, Q))


NESTED: list[Any] = []
for _ in range(5000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "element",
    [b"x" * 100_000, 10**10_000, [b"x"] * 100_000, NESTED, {1: 10**10_000}],
    ids=["binary", "integer", "list", "nested", "map"],
)
def test_an_error_stays_short(element: Any) -> None:
    for term in ((1, P, element), element, (element,), (35, element, P, Q)):
        with pytest.raises(FrameError) as caught:
            decode_control(term)
        assert len(str(caught.value)) < 1000
