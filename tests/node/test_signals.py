"""Signals between processes of one node and of two: what OTP's manuals say of each.

Every test runs with the second process on the same node and on another.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import quicdist.protocol as wire
from quicdist import Atom, NameRegistered, NoSuchProcess, Process, ProcessExit
from quicdist.protocol import ProtocolError
from quicdist.term import Pid, Reference
from tests.node.sides import Side, connected

NORMAL, KILL, KILLED, NOPROC = Atom("normal"), Atom("kill"), Atom("killed"), Atom("noproc")
NOCONNECTION, EXIT, DOWN, BOOM = Atom("noconnection"), Atom("EXIT"), Atom("DOWN"), Atom("boom")


@pytest.fixture(params=["same node", "two nodes"])
def sides(request: pytest.FixtureRequest) -> tuple[Side, Side]:
    one, two = connected()
    return (one, one) if request.param == "same node" else (one, two)


def down(reference: Reference, process: Any, reason: Any) -> tuple[Any, ...]:
    return (DOWN, reference, Atom("process"), process, reason)


class TestMessages:
    def test_a_message_to_a_pid_is_delivered(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        sender, _ = here.mailbox()
        receiver, messages = there.mailbox()
        sender.send(receiver.pid, [1, 2])
        assert messages == [[1, 2]]

    def test_a_message_to_a_registered_name_is_delivered(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        sender, _ = here.mailbox()
        receiver, messages = there.mailbox()
        there.runtime.register("box", receiver)
        sender.send(("box", there.runtime.name), 1)
        assert messages == [1]

    def test_to_an_alias_until_it_is_taken_back(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        sender, _ = here.mailbox()
        receiver, messages = there.mailbox()
        alias = receiver.alias()
        sender.send(alias, 1)
        assert receiver.unalias(alias)
        sender.send(alias, 2)
        assert not receiver.unalias(alias)
        assert messages == [1]

    def test_a_message_to_a_missing_process_is_dropped(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        sender, _ = here.mailbox()
        gone, messages = there.mailbox()
        gone.stop()
        sender.send(gone.pid, 1)
        sender.send(("nobody", there.runtime.name), 1)
        assert messages == []

    def test_to_a_local_name_nobody_has_is_an_error(self) -> None:
        here, _ = connected()
        sender, _ = here.mailbox()
        with pytest.raises(NoSuchProcess, match="nobody"):
            sender.send("nobody", 1)

    def test_handlers_that_answer_each_other_do_not_recurse(self) -> None:
        here, _ = connected()
        count = 0

        def bounce(process: Process, left: int) -> None:
            nonlocal count
            count += 1
            if left:
                process.send("other" if process.name == "one" else "one", left - 1)

        here.runtime.spawn(bounce, name="one")
        other = here.runtime.spawn(bounce, name="other")
        other.send("one", 20_000)
        assert count == 20_001


class TestLinks:
    def test_an_exit_takes_the_other_along(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        one, two = here.mailbox()[0], there.mailbox()[0]
        one.link(two.pid)
        two.stop(BOOM)
        assert one.exit_reason == BOOM

    def test_a_crash_ends_the_linked_process(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        one, two = here.mailbox()[0], there.mailbox()[0]
        one.link(two.pid)
        one.stop(BOOM)
        assert two.exit_reason == BOOM

    def test_a_normal_exit_removes_the_link_and_ends_no_process(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        one, two = here.mailbox()[0], there.mailbox()[0]
        one.link(two.pid)
        two.stop(NORMAL)
        assert one.alive
        assert not one.links

    def test_trapped(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        (one, messages), two = here.mailbox(), there.mailbox()[0]
        one.trap_exit = True
        one.link(two.pid)
        two.stop(NORMAL)
        assert messages == [(EXIT, two.pid, NORMAL)]

    def test_with_nobody_is_an_exit_with_noproc(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        one, two = here.mailbox()[0], there.mailbox()[0]
        two.stop()
        one.link(two.pid)
        assert one.exit_reason == NOPROC

    def test_an_exit_after_unlink_gives_no_message(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        (one, messages), two = here.mailbox(), there.mailbox()[0]
        one.trap_exit = True
        one.link(two.pid)
        one.unlink(two.pid)
        assert not one.relations.unlinking
        two.stop(BOOM)
        assert messages == []

    def test_a_lost_connection_is_noconnection_once(self) -> None:
        here, there = connected()
        (one, messages), two = here.mailbox(), there.mailbox()[0]
        one.trap_exit = True
        one.link(two.pid)
        here.lose("two@host")
        here.lose("two@host")
        assert messages == [(EXIT, two.pid, NOCONNECTION)]

    def test_an_exit_that_crosses_an_unlink_is_ignored(self) -> None:
        here, there = connected()
        (one, messages), two = here.mailbox(), there.mailbox()[0]
        one.trap_exit = True
        one.link(two.pid)
        del there.peers["one@host"]
        here.peers["two@host"].signals.dispatch = lambda *_: None  # type: ignore[method-assign]
        one.unlink(two.pid)
        here.signals.dispatch("two@host", wire.PayloadExit(two.pid, one.pid), BOOM)
        assert messages == []
        # What was known of the link goes with the process it was to, answered or not.
        assert one.relations.unlinking == {}

    def test_an_acknowledgement_of_an_older_unlink_changes_nothing(self) -> None:
        here, there = connected()
        one, two = here.mailbox()[0], there.mailbox()[0]
        here.peers["two@host"].signals.dispatch = lambda *_: None  # type: ignore[method-assign]
        one.link(two.pid)
        one.unlink(two.pid)
        unlink_id = one.relations.unlinking[two.pid]
        here.signals.dispatch("two@host", wire.UnlinkIdAck(unlink_id + 1, two.pid, one.pid), None)
        assert one.relations.unlinking == {two.pid: unlink_id}
        here.signals.dispatch("two@host", wire.UnlinkIdAck(unlink_id, two.pid, one.pid), None)
        assert one.relations.unlinking == {}

    def test_nobody_can_forge_the_exit_of_a_process_elsewhere(self) -> None:
        here, there = connected()
        one, two = here.mailbox()[0], there.mailbox()[0]
        one.link(two.pid)
        with pytest.raises(ProtocolError, match="three@host"):
            here.signals.dispatch("three@host", wire.PayloadExit(two.pid, one.pid), BOOM)
        assert one.alive


class TestExit:
    @pytest.mark.parametrize(
        ("reason", "ends_with"),
        [(BOOM, BOOM), (KILL, KILLED), (NORMAL, None)],
        ids=["boom", "kill", "normal"],
    )
    def test_an_untrapped_exit_signal_ends_the_process(
        self, sides: tuple[Side, Side], reason: Atom, ends_with: Atom | None
    ) -> None:
        here, there = sides
        one, two = here.mailbox()[0], there.mailbox()[0]
        one.exit(two.pid, reason)
        assert two.exit_reason == ends_with

    @pytest.mark.parametrize("reason", [BOOM, NORMAL])
    def test_trapped(self, sides: tuple[Side, Side], reason: Atom) -> None:
        here, there = sides
        one, (two, messages) = here.mailbox()[0], there.mailbox()
        two.trap_exit = True
        one.exit(two.pid, reason)
        assert messages == [(EXIT, one.pid, reason)]

    def test_kill_cannot_be_trapped(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        one, (two, messages) = here.mailbox()[0], there.mailbox()
        two.trap_exit = True
        one.exit(two.pid, KILL)
        assert two.exit_reason == KILLED
        assert messages == []


class TestMonitors:
    def test_a_monitored_pid_that_ends_gives_down(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        (one, messages), two = here.mailbox(), there.mailbox()[0]
        reference = one.monitor(two.pid)
        two.stop(BOOM)
        assert messages == [down(reference, two.pid, BOOM)]
        assert not one.monitors

    def test_a_monitored_name_whose_process_ends_gives_down(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        (one, messages), two = here.mailbox(), there.mailbox()[0]
        there.runtime.register("two", two)
        reference = one.monitor(("two", there.runtime.name))
        two.stop(BOOM)
        assert messages == [down(reference, (Atom("two"), Atom(there.runtime.name)), BOOM)]

    def test_monitoring_an_unregistered_name_gives_down_noproc(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        one, messages = here.mailbox()
        reference = one.monitor(("nobody", there.runtime.name))
        assert messages == [down(reference, (Atom("nobody"), Atom(there.runtime.name)), NOPROC)]

    def test_a_removed_monitor_gives_no_down(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        (one, messages), two = here.mailbox(), there.mailbox()[0]
        one.demonitor(one.monitor(two.pid))
        assert not two.monitored_by
        two.stop(BOOM)
        assert messages == []

    def test_a_monitor_gives_noconnection_when_the_connection_is_lost(self) -> None:
        here, there = connected()
        (one, messages), two = here.mailbox(), there.mailbox()[0]
        reference = one.monitor(two.pid)
        here.lose("two@host")
        assert messages == [down(reference, two.pid, NOCONNECTION)]

    def test_the_watchers_end_leaves_nothing_behind(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        one, two = here.mailbox()[0], there.mailbox()[0]
        one.monitor(two.pid)
        one.stop()
        assert not two.monitored_by

    def test_with_an_alias_that_goes_with_it(self, sides: tuple[Side, Side]) -> None:
        here, there = sides
        (one, messages), (two, _) = here.mailbox(), there.mailbox()
        reference = one.monitor(two.pid, alias=True)
        two.send(reference, 1)
        one.demonitor(reference)
        two.send(reference, 2)
        assert messages == [1]


class TestBodies:
    async def test_receives_in_order_and_selectively(self) -> None:
        here, _ = connected()
        got: list[Any] = []

        async def body(process: Process) -> None:
            got.append(await process.receive((Atom("b"), int)))
            got.append(await process.receive())
            got.append(await process.receive())

        process = here.runtime.spawn(body)
        for message in (1, (Atom("b"), 2), 3):
            process.send(process.pid, message)
        await ended(process)
        assert got == [(Atom("b"), 2), 1, 3]
        assert process.exit_reason == NORMAL

    async def test_receive_times_out(self) -> None:
        here, _ = connected()

        async def body(process: Process) -> None:
            with pytest.raises(TimeoutError):
                await process.receive(timeout=0)
            process.send(process.pid, 1)
            with pytest.raises(TimeoutError):
                await process.receive(Atom("never"), timeout=0.001)
            assert await process.receive(timeout=0) == 1

        process = here.runtime.spawn(body)
        await ended(process)
        assert process.exit_reason == NORMAL

    async def test_a_body_that_raises_ends_with_the_python_error_as_reason(self) -> None:
        here, _ = connected()

        async def body(_: Process) -> None:
            raise ValueError("no good")

        process = here.runtime.spawn(body)
        await ended(process)
        (kind, name, text), stack = process.exit_reason
        assert (kind, name, text) == (Atom("python_error"), "ValueError", "no good")
        module, _, _, where = stack[0]
        assert module == Atom(__name__)
        assert dict(where)[Atom("line")] > 0

    async def test_a_body_that_raises_process_exit_ends_with_its_reason(self) -> None:
        here, _ = connected()

        async def body(_: Process) -> None:
            raise ProcessExit((Atom("shutdown"), 1))

        process = here.runtime.spawn(body)
        await ended(process)
        assert process.exit_reason == (Atom("shutdown"), 1)

    async def test_an_exit_signal_stops_it_where_it_waits(self) -> None:
        here, _ = connected()
        cleaned: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def body(process: Process) -> None:
            try:
                await process.receive()
            finally:
                cleaned.set_result(None)

        process = here.runtime.spawn(body)
        await asyncio.sleep(0)
        killer, _ = here.mailbox()
        killer.exit(process.pid, BOOM)
        assert process.exit_reason == BOOM
        await cleaned


class TestNames:
    def test_one_name_one_process(self) -> None:
        here, _ = connected()
        one, two = here.mailbox()[0], here.mailbox()[0]
        here.runtime.register("box", one)
        with pytest.raises(NameRegistered):
            here.runtime.register("box", two)
        with pytest.raises(NameRegistered):
            here.runtime.register("other", one)

    def test_free_again_when_the_process_ends(self) -> None:
        here, _ = connected()
        one, _ = here.mailbox()
        here.runtime.register("box", one)
        one.stop()
        assert here.runtime.whereis("box") is None

    def test_a_taken_name_leaves_no_process_behind(self) -> None:
        here, _ = connected()
        here.runtime.spawn(lambda *_: None, name="box")
        before = here.runtime.processes()
        with pytest.raises(NameRegistered):
            here.runtime.spawn(lambda *_: None, name="box")
        assert here.runtime.processes() == before


class TestSpawning:
    def request(
        self, here: Side, options: list[Any], arguments: list[Any]
    ) -> tuple[Process, list[Any], list[Any]]:
        parent, messages = here.mailbox()
        parent.trap_exit = True
        replies: list[Any] = []
        here.spawning.request(
            "two@host", parent.pid, parent.pid, ("m", "f"), arguments, options, replies.append
        )
        return parent, messages, replies

    def test_a_spawn_request_runs_an_offered_function(self) -> None:
        here, there = connected()
        started: list[Any] = []
        there.spawning.offer("m", "f", 1, lambda process, arguments: started.append((process.pid, arguments)))
        _, _, replies = self.request(here, [], [1])
        assert started == [(replies[0], [1])]

    def test_a_spawn_request_with_a_link_links_the_process(self) -> None:
        here, there = connected()
        there.spawning.offer("m", "f", 0, lambda process, _: process.stop(BOOM))
        _, messages, replies = self.request(here, [Atom("link")], [])
        assert isinstance(replies[0], Pid)
        # The link was made by the request, so the parent holds it from the reply on.
        assert there.sent[-1] == wire.PayloadExit(replies[0], here.runtime.processes()[0].pid)
        assert messages == [(EXIT, replies[0], BOOM)]

    def test_a_function_that_is_not_offered_ends_with_undef(self) -> None:
        here, _ = connected()
        _, messages, replies = self.request(here, [Atom("link")], [5])
        assert messages == [
            (EXIT, replies[0], (Atom("undef"), [(Atom("m"), Atom("f"), [5], [])])),
        ]

    def test_an_unknown_option_is_badopt(self) -> None:
        here, _ = connected()
        _, _, replies = self.request(here, [Atom("nonsense")], [])
        assert replies == [Atom("badopt")]

    def test_a_spawn_request_without_a_connection_fails_with_noconnection(self) -> None:
        here, _ = connected()
        here.lose("two@host")
        _, _, replies = self.request(here, [], [])
        assert replies == [NOCONNECTION]


async def ended(process: Process) -> None:
    """Wait until a process has ended."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    process.on_end(lambda: over.set_result(None))
    await over
