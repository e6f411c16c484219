"""Process groups between two Python nodes, and what no well-behaved node does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import Atom, NameRegistered, Node, NodeError, Process
from quicdist.otp.pg import Scope
from quicdist.term import Pid

JOIN, LEAVE = Atom("join"), Atom("leave")
G = Atom("g")


async def idle(process: Process) -> None:
    await process.receive()


class Changes:
    """What a scope tells of one group, or of all."""

    def __init__(self, scope: Scope, group: Any = None) -> None:
        self.came: asyncio.Queue[Any] = asyncio.Queue()
        self.process = scope.process.node.spawn(lambda _, message: self.came.put_nowait(message))
        if group is None:
            self.reference, self.before = scope.monitor_scope(self.process)
        else:
            self.reference, members = scope.monitor(group, self.process)
            self.before = {group: members}  # type: ignore[assignment]

    async def next(self) -> tuple[Any, ...]:
        reference, *change = await self.came.get()
        assert reference == self.reference
        return tuple(change)


async def test_two_nodes_see_each_others_members(one: Node, two: Node) -> None:
    here, there = one.pg.start("s"), two.pg.start("s")
    early, late = two.spawn(idle), two.spawn(idle)
    there.join("g", early)
    changes = Changes(here)
    await one.connect(two.name)
    assert await changes.next() == (JOIN, G, [early.pid])
    there.join("g", [late, early])
    assert await changes.next() == (JOIN, G, [late.pid, early.pid])
    assert here.get_members("g") == there.get_members("g") == [late.pid, early.pid, early.pid]
    assert (here.get_local_members("g"), there.get_local_members("g")) == ([], here.get_members("g"))
    assert here.which_groups() == [G]
    assert there.leave("g", [late, early])
    assert await changes.next() == (LEAVE, G, [late.pid, early.pid])
    assert here.get_members("g") == [early.pid]
    one.disconnect(two.name)
    assert await changes.next() == (LEAVE, G, [early.pid])
    assert here.which_groups() == []
    assert there.which_groups() == [G]


async def test_a_process_that_ends_leaves_all_its_groups_as_often_as_it_joined(node: Node) -> None:
    scope, process, changes = node.pg.start(), node.spawn(idle), None
    scope.join("g", [process, process])
    scope.join("h", process)
    changes = Changes(scope)
    assert changes.before == {G: [process.pid, process.pid], Atom("h"): [process.pid]}
    process.stop()
    came = [await changes.next() for _ in range(3)]
    assert sorted(str(group) for _, group, _ in came) == ["g", "g", "h"]
    assert {what for what, _, _ in came} == {LEAVE}
    assert scope.which_groups() == []
    assert scope.process.monitors == [changes.reference]


async def test_a_process_that_has_ended_joins_and_leaves_at_once(node: Node) -> None:
    scope, process = node.pg.start(), node.spawn(idle)
    process.stop()
    changes = Changes(scope, G)
    scope.join("g", process)
    assert [await changes.next() for _ in range(2)] == [(JOIN, G, [process.pid]), (LEAVE, G, [process.pid])]
    assert scope.get_members("g") == []


async def test_a_process_in_no_group_is_not_monitored(node: Node) -> None:
    scope, process = node.pg.start(), node.spawn(idle)
    scope.join("g", process)
    scope.join("h", process)
    assert not scope.leave("i", process)
    assert scope.leave("g", process)
    assert len(process.monitored_by) == 1
    assert scope.leave("h", process)
    assert not scope.leave("h", process)
    assert process.monitored_by == {}


async def test_groups_are_compared_as_in_erlang(node: Node) -> None:
    scope = node.pg.start()
    processes = [node.spawn(idle) for _ in range(4)]
    groups: list[Any] = [1, 1.0, True, [1]]
    for group, process in zip(groups, processes, strict=True):
        scope.join(group, process)
    assert [scope.get_members(group) for group in groups] == [[process.pid] for process in processes]
    assert scope.get_members((Atom("no"), b"such")) == []
    # None is the atom undefined, whichever way it is written.
    scope.join(None, processes[0])
    assert scope.get_members("undefined") == [processes[0].pid]


async def test_demonitor_drops_what_was_not_received(node: Node) -> None:
    scope, process = node.pg.start(), node.spawn(idle)
    watcher = node._local.runtime.add_process()
    reference, _ = scope.monitor("g", watcher)
    other, _ = scope.monitor_scope(watcher)
    scope.join("h", process)
    scope.join("g", process)
    assert watcher.message_queue_len == 3
    assert scope.demonitor(reference)
    assert not scope.demonitor(reference)
    scope.leave("g", process)
    assert [(await watcher.receive())[0] for _ in range(3)] == [other] * 3
    watcher.stop()
    scope.leave("h", process)
    assert scope.process.monitors == []


async def test_a_process_of_another_node_cannot_join(one: Node, two: Node) -> None:
    scope = one.pg.start()
    with pytest.raises(NodeError, match=r"is not local to one@127\.0\.0\.1"):
        scope.join("g", two.spawn(idle))
    assert scope.which_groups() == []


async def test_a_scope_whose_name_is_taken_is_an_error(node: Node) -> None:
    scope = node.pg.start("s")
    assert node.whereis("s") is scope.process
    with pytest.raises(NameRegistered):
        node.pg.start("s")


async def test_groups_of_an_ended_scope_are_gone_on_other_nodes(one: Node, two: Node) -> None:
    """The others hear of it as of the end of all its members; one that is started anew is found."""
    here, there = one.pg.start("s"), two.pg.start("s", rediscover=0.01)
    there.join("g", two.spawn(idle))
    changes = Changes(here)
    await one.connect(two.name)
    assert (await changes.next())[0] == JOIN
    there.process.stop()
    assert (await changes.next())[0] == LEAVE
    again = two.pg.start("s")
    again.join("h", two.spawn(idle))
    assert (await changes.next())[1] == Atom("h")


async def test_a_scope_that_starts_late_is_found(one: Node, two: Node) -> None:
    here = one.pg.start("s", rediscover=0.01)
    changes = Changes(here)
    await one.connect(two.name)
    two.process("s")(lambda process, message: None)  # another process of that name says nothing
    process = two.whereis("s")
    assert process is not None
    process.stop()
    there = two.pg.start("s")
    there.join("g", two.spawn(idle))
    assert (await changes.next())[:2] == (JOIN, G)
    assert len(here._peers) == 1


async def test_malformed_messages_change_nothing(one: Node, two: Node) -> None:
    await one.connect(two.name)
    scope, stranger = one.pg.start("s"), two.spawn(idle)
    changes = Changes(scope)
    peer = stranger.pid
    for message in (
        *((JOIN, peer, G, peer), (LEAVE, peer, [peer], [G]), "nonsense", (JOIN,), (Atom("discover"), 1)),
        (Atom("$gen_cast"), (Atom("sync"), peer, [7, (1, 2, 3), (G, 8), (G, [9, peer])])),
        *((Atom("$gen_cast"), "nonsense"), (LEAVE, peer, 7, 8), (LEAVE, peer, [8], [Atom("other")])),
    ):
        one.send("s", message)
    assert await changes.next() == (JOIN, G, [peer])
    assert scope.process.alive
    assert changes.came.empty()


async def test_a_scope_of_a_node_that_is_not_connected_causes_no_dial(one: Node) -> None:
    scope = one.pg.start("s")
    for number in range(100):
        made_up = Pid(f"n{number}@made-up.invalid", 1, 0, 1)
        one.send("s", (Atom("discover"), made_up))
        one.send("s", (Atom("$gen_cast"), (Atom("sync"), made_up, [(G, [made_up])])))
    assert scope.get_members(G) == []
    assert not scope._peers
    assert not any(one._local.connections.has(f"n{number}@made-up.invalid") for number in range(100))
