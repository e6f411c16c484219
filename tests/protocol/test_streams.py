"""Stream ids and which stream a message takes."""

from __future__ import annotations

from collections import Counter

import pytest

from quicdist.protocol import (
    DEFAULT_FLAGS,
    AliasSend,
    DistFlag,
    RegSend,
    Role,
    SendSender,
    StreamKind,
    StreamPlan,
)
from quicdist.protocol.control_messages import UNUSED
from quicdist.term import Atom, Pid, Reference
from tests.protocol.pair import peer

MODERN = peer(DEFAULT_FLAGS)
LEGACY = peer(DEFAULT_FLAGS | DistFlag.DIST_HDR_ATOM_CACHE)
CONTROL, DATA, USER, UNUSED_STREAM = StreamKind.CONTROL, StreamKind.DATA, StreamKind.USER, StreamKind.UNUSED


@pytest.mark.parametrize(
    ("role", "to", "sending"),
    [
        (Role.CLIENT, MODERN, tuple(range(4, 65, 4))),
        (Role.SERVER, MODERN, tuple(range(1, 62, 4))),
        (Role.CLIENT, LEGACY, (4,)),
        (Role.SERVER, LEGACY, (1,)),
    ],
    ids=["client", "server", "client-legacy", "server-legacy"],
)
def test_the_streams_that_are_sent_on(role: Role, to: object, sending: tuple[int, ...]) -> None:
    assert to in (MODERN, LEGACY)
    plan = StreamPlan.quic(role, MODERN if to is MODERN else LEGACY)
    assert plan.sending == sending


def test_kinds_of_streams() -> None:
    modern, legacy = StreamPlan.quic(Role.CLIENT, MODERN), StreamPlan.quic(Role.SERVER, LEGACY)
    kinds = {0: CONTROL, 1: DATA, 4: DATA, 61: DATA, 64: DATA, 65: USER, 68: USER, 69: USER, 72: USER}
    assert {stream: modern.kind(stream) for stream in kinds} == kinds
    kinds = {0: CONTROL, 1: DATA, 4: DATA, 13: DATA, 16: DATA, 17: USER, 20: USER, 64: USER}
    assert {stream: legacy.kind(stream) for stream in kinds} == kinds
    assert [modern.kind(stream) for stream in (2, 3, 66)] == [UNUSED_STREAM] * 3
    assert (modern.first_user_stream(True), modern.first_user_stream(False)) == (65, 68)
    assert (legacy.first_user_stream(True), legacy.first_user_stream(False)) == (17, 20)


def test_one_stream_for_everything() -> None:
    plan = StreamPlan.single()
    assert plan.kind(0) is CONTROL
    assert plan.choose(("a", "b")) == plan.choose(None) == plan.control == 0


def test_a_pair_has_one_stream_and_pairs_are_spread() -> None:
    plan = StreamPlan.quic(Role.CLIENT, MODERN)
    pairs = [(Pid("a@h", n, 0, 1), Pid("b@h", m, 0, 1)) for n in range(40) for m in range(40)]
    chosen = [plan.choose(SendSender.pair(SendSender(*pair))) for pair in pairs]
    again = [plan.choose(SendSender.pair(SendSender(*pair))) for pair in pairs]
    assert chosen == again
    spread = Counter(chosen)
    assert set(spread) == set(plan.sending)
    assert max(spread.values()) < 2 * len(pairs) / 16


def test_signals_without_a_pair_take_the_first() -> None:
    assert StreamPlan.quic(Role.SERVER, MODERN).choose(None) == 1


def test_pid_name_and_alias_are_destinations_of_their_own() -> None:
    p = Pid("a@h", 1, 0, 1)
    alias = Reference("b@h", (1, 2, 3), 1)
    assert RegSend.pair(RegSend(p, UNUSED, Atom("x"))) == (p, Atom("x"))
    assert AliasSend.pair(AliasSend(p, alias)) == (p, alias)


def test_a_pair_keeps_its_stream_when_its_name_is_freed() -> None:
    plan = StreamPlan.quic(Role.CLIENT, MODERN)
    sender = Pid("a@h", 7, 0, 1)
    chosen: set[int] = set()
    kept: list[Atom] = []
    for number in range(100):
        chosen.add(plan.choose(RegSend.pair(RegSend(sender, UNUSED, Atom("some_name")))))
        # Made anew each time, and kept: the next object for the name cannot have the same place.
        kept.append(Atom(f"another {number}"))
    assert len(chosen) == 1
