"""Spawning across nodes, where the wire does what a BEAM at the other end seldom does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import quicdist.protocol as wire
from quicdist import Atom, NameRegistered, Process
from quicdist.node import SpawnError
from quicdist.node.spawnables import Spawnables, body_starter
from quicdist.protocol import ControlMessage, DistFlag, ProtocolError
from quicdist.term import Pid, Reference, TermError
from tests.node.sides import Side, connected

BOOM, EXIT, DOWN = Atom("boom"), Atom("EXIT"), Atom("DOWN")
NOCONNECTION = Atom("noconnection")
CHILD = Pid("two@host", 99, 0, 7)
LINK_AND_MONITOR = 3


class Silent:
    """``one@host``, with a process that has asked ``two@host`` for another; what comes of it is
    told by the test, signal by signal."""

    def __init__(self, **options: Any) -> None:
        self.here = Side("one@host")
        self.here.peers["two@host"] = self  # type: ignore[assignment]
        self.signals = self
        self.sent: list[tuple[ControlMessage, Any]] = []
        self.parent, self.messages = self.here.mailbox()
        self.parent.trap_exit = True
        self.reference = self.parent.spawn_request("two@host", "m", "f", [1], link=True, **options)

    def dispatch(self, _: str, control: ControlMessage, payload: Any) -> None:
        self.sent.append((control, payload))

    def comes(self, control: ControlMessage, payload: Any = None) -> None:
        self.here.signals.dispatch("two@host", control, payload)

    def reply(self, result: Any = CHILD, flags: int = LINK_AND_MONITOR) -> None:
        self.comes(wire.SpawnReply(self.reference, self.parent.pid, flags, result))

    def exit(self, child: Pid = CHILD) -> None:
        self.comes(wire.PayloadExit(child, self.parent.pid), BOOM)

    def down(self) -> None:
        self.comes(wire.PayloadMonitorPExit(CHILD, self.parent.pid, self.reference), BOOM)

    @property
    def replied(self) -> tuple[Any, ...]:
        return (Atom("spawn_reply"), self.reference, Atom("ok"), CHILD)

    @property
    def down_message(self) -> tuple[Any, ...]:
        return (DOWN, self.reference, Atom("process"), CHILD, BOOM)


EXITED = (EXIT, CHILD, BOOM)


class TestTheEndOvertakesTheBeginning:
    """On parallel streams the signals of a child may be here before the SPAWN_REPLY: quic_dist
    sends that by another stream."""

    def test_an_exit_before_the_reply_is_delivered_after_it(self) -> None:
        asked = Silent()
        asked.exit()
        assert asked.messages == []
        asked.reply(flags=1)
        assert asked.messages == [asked.replied, EXITED]
        assert asked.parent.links == []

    def test_a_down_before_the_reply_implies_the_reply(self) -> None:
        asked = Silent(monitor=True)
        asked.down()
        assert asked.messages == [asked.replied, asked.down_message]
        asked.reply()
        assert asked.parent.links == [CHILD]
        asked.exit()
        assert asked.messages == [asked.replied, asked.down_message, EXITED]

    @pytest.mark.parametrize(
        "order", ["exit down reply", "down exit reply", "exit reply down", "down reply exit"]
    )
    def test_exit_and_down_in_any_order_follow_the_reply(self, order: str) -> None:
        asked = Silent(monitor=True)
        for step in order.split():
            getattr(asked, step)()
        assert asked.messages[0] == asked.replied
        assert sorted(map(str, asked.messages[1:])) == sorted(map(str, [EXITED, asked.down_message]))
        assert asked.parent.links == asked.parent.monitors == []

    def test_several_children_of_one_parent(self) -> None:
        asked = Silent()
        first = asked.reference
        second = asked.parent.spawn_request("two@host", "m", "f", [], link=True)
        other = Pid("two@host", 98, 0, 7)
        asked.exit(other)
        asked.exit()
        for reference, child in ((first, CHILD), (second, other)):
            asked.comes(wire.SpawnReply(reference, asked.parent.pid, 1, child))
        assert [message[1] for message in asked.messages if message[0] == EXIT] == [CHILD, other]

    def test_early_exits_are_kept_for_pending_requests_only(self) -> None:
        asked = Silent()
        for number in range(1000):
            asked.exit(Pid("two@host", number, 1, 7))
        asked.reply(flags=1)
        asked.exit()
        assert asked.messages == [asked.replied, EXITED]
        assert asked.here.spawning._early == {}

    def test_an_exit_without_a_spawn_request_is_ignored(self) -> None:
        asked = Silent()
        asked.reply(flags=1)
        asked.exit(Pid("two@host", 5, 5, 7))
        assert asked.messages == [asked.replied]


class TestRequests:
    def test_an_abandoned_request_delivers_no_messages(self) -> None:
        asked = Silent(monitor=True)
        assert asked.parent.spawn_request_abandon(asked.reference)
        assert not asked.parent.spawn_request_abandon(asked.reference)
        assert asked.parent.monitors == []
        asked.reply()
        assert asked.messages == []
        assert asked.sent[1:] == [
            (wire.DemonitorP(asked.parent.pid, CHILD, asked.reference), wire.NO_PAYLOAD),
            (wire.PayloadExit(asked.parent.pid, CHILD), Atom("abandoned")),
        ]

    def test_a_request_of_another_process_cannot_be_abandoned(self) -> None:
        asked = Silent()
        other, _ = asked.here.mailbox()
        assert not other.spawn_request_abandon(asked.reference)
        asked.reply(flags=1)
        assert asked.messages == [asked.replied]

    def test_the_parent_ends_first(self) -> None:
        asked = Silent()
        asked.parent.stop((BOOM, 1))
        asked.reply(flags=1)
        assert asked.sent[1:] == [(wire.PayloadExit(asked.parent.pid, CHILD), (BOOM, 1))]

    def test_a_request_to_a_node_without_spawn_fails_with_notsup(self) -> None:
        here, _ = connected()
        here.runtime.offers = lambda node, flag: not flag & DistFlag.SPAWN
        parent, messages = here.mailbox()
        reference = parent.spawn_request("two@host", "m", "f", monitor=True)
        assert messages == [(Atom("spawn_reply"), reference, Atom("error"), Atom("notsup"))]
        assert parent.monitors == []

    def test_an_answer_from_another_node_is_none(self) -> None:
        asked = Silent()
        reply = wire.SpawnReply(asked.reference, asked.parent.pid, 1, Pid("three@host", 1, 0, 1))
        asked.here.signals.dispatch("three@host", reply, None)
        assert asked.messages == []

    def test_what_cannot_be_sent_leaves_nothing_behind(self) -> None:
        here, _ = connected()

        def refuse(*_: Any) -> bool:
            raise TermError("no Erlang term")

        here.runtime._transmit = refuse
        parent, _ = here.mailbox()
        with pytest.raises(TermError):
            parent.spawn_request("two@host", "m", "f", [object()], monitor=True, alias=True)
        assert parent.monitors == []
        assert parent.relations.aliases == {}
        here.runtime.connection_lost("two@host")

    @pytest.mark.parametrize("wrong", [{"reply": "maybe"}, {"alias": True}, {"monitor": True, "alias": "x"}])
    def test_wrong_options(self, wrong: dict[str, Any]) -> None:
        here, _ = connected()
        parent, _ = here.mailbox()
        with pytest.raises(ValueError, match=r"is one of|is that of"):
            parent.spawn_request("two@host", "m", "f", **wrong)

    async def test_waiting_for_one_that_cannot_be(self) -> None:
        here, _ = connected()
        here.lose("two@host")
        parent, _ = here.mailbox()
        with pytest.raises(SpawnError, match=r"m:f/1 on two@host: noconnection"):
            await parent.spawn_on("two@host", "m", "f", [1])

    async def test_cancelled_while_waiting(self) -> None:
        asked = Silent()
        asked.reply(flags=1)
        waiting = asyncio.create_task(asked.parent.spawn_on("two@host", "m", "f", link=True))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        request = asked.sent[-1][0]
        assert isinstance(request, wire.SpawnRequest)
        asked.comes(wire.SpawnReply(request.req_id, asked.parent.pid, 1, CHILD))
        assert asked.sent[-1] == (wire.PayloadExit(asked.parent.pid, CHILD), Atom("abandoned"))

    async def test_a_process_spawned_on_the_own_node_is_linked_and_monitored(self) -> None:
        here, _ = connected()
        here.spawning.functions.offer_body("m", "f", lambda process, reason: process.stop(reason))
        parent, messages = here.mailbox()
        parent.trap_exit = True
        pid, reference = await parent.spawn_monitor_on("one@host", "m", "f", [BOOM], link=True)
        assert sorted(map(str, messages)) == sorted(
            map(str, [(EXIT, pid, BOOM), (DOWN, reference, Atom("process"), pid, BOOM)])
        )


class TestSpawnables:
    def test_a_function_answers_to_the_arities_it_takes(self) -> None:
        functions = Spawnables()

        def body(process: Process, one: int, two: int = 2) -> None: ...

        functions.offer_body("m", "f", body)
        found = [functions.find("m", "f", arity) is not None for arity in range(4)]
        assert found == [False, True, True, False]

    def test_one_name_one_function(self) -> None:
        functions = Spawnables()
        functions.offer_body("m", "f", print)
        with pytest.raises(NameRegistered, match="m:f"):
            functions.offer_body("m", "f", repr)

    def test_others_are_asked_last_and_in_turn(self) -> None:
        functions = Spawnables()
        starters = [body_starter(lambda _: None) for _ in range(3)]
        functions.offer("m", "f", 0, starters[0])
        functions.ask(lambda module, name, arity: starters[1] if arity < 2 else None)
        functions.ask(lambda module, name, arity: starters[2] if arity < 3 else None)
        found = [functions.find("m", "f", arity) for arity in range(4)]
        assert found == [*starters, None]

    def test_a_request_in_the_name_of_another_node(self) -> None:
        here, there = connected()
        parent, _ = there.mailbox()
        forged = Reference("three@host", (1, 2, 3), 1)
        request = wire.SpawnRequest(forged, parent.pid, parent.pid, (Atom("m"), Atom("f"), 0), [])
        before = here.runtime.processes()
        with pytest.raises(ProtocolError, match="three@host"):
            here.signals.dispatch("two@host", request, [])
        assert here.runtime.processes() == before
