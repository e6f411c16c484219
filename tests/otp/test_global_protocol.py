"""``global`` between several simulated nodes: the same names everywhere, whatever the order of messages."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from quicdist.otp.global_steps import Sleep, Steps
from quicdist.term import Atom
from tests.support.global_simulation import OldNode, SimulatedNode, World

SEEDS = range(25)
NODES = ["a@near", "b@near", "c@far", "d@far", "e@near"]


def all_linked(world: World, names: list[str]) -> bool:
    return all(world.linked(one, other) for one, other in itertools.combinations(names, 2))


def quiet(world: World) -> None:
    """Run until nothing happens; then no registration is locked."""
    world.run()
    for node in world.nodes.values():
        assert not node.has_global_lock, node.name


@pytest.mark.parametrize("seed", SEEDS)
def test_nodes_that_meet_in_any_order_have_the_same_names(seed: int) -> None:
    world = World(seed)
    nodes = world.add(*NODES)
    for node in nodes:
        node.register(Atom(node.name), node.spawn())
    quiet(world)
    for one, other in itertools.pairwise(NODES):
        world.connect(one, other)
        world.run_some(world.random.randrange(60))
    quiet(world)
    assert all_linked(world, NODES)
    for node in nodes:
        assert set(node.names()) == {Atom(name) for name in NODES}
        assert set(node.known_nodes()) == set(NODES) - {node.name}
        assert set(node.protocol.syncers.synced) == set(NODES) - {node.name}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_conflict_is_resolved_once_and_the_same_everywhere(seed: int) -> None:
    world = World(seed)
    nodes = world.add(*NODES)
    shared = Atom("shared")
    for node in nodes:
        node.register(shared, node.spawn())
        world.run()
    pairs = list(itertools.combinations(NODES, 2))
    world.random.shuffle(pairs)
    for one, other in pairs:
        world.connect(one, other)
        world.run_some(world.random.randrange(30))
    quiet(world)
    winners = {node.names()[shared] for node in nodes}
    assert len(winners) == 1
    assert winners.pop() not in world.killed
    # Each meeting of two parts resolves one conflict.
    assert world.resolved == [shared] * (len(NODES) - 1)
    assert len(world.killed) == len(NODES) - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_of_concurrent_registrations_of_a_name_one_is_accepted(seed: int) -> None:
    world = World(seed)
    nodes = world.add(*NODES)
    for name in NODES[1:]:
        world.connect(NODES[0], name)
    quiet(world)
    accepted: list[bool] = []
    for node in nodes:
        node.register(Atom("wanted"), node.spawn(), done=accepted.append)
    quiet(world)
    assert sorted(accepted) == [False] * 4 + [True]
    assert len({node.names()[Atom("wanted")] for node in nodes}) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_registrations_while_nodes_meet_are_known_everywhere(seed: int) -> None:
    world = World(seed)
    nodes = world.add(*NODES)
    for one, other in itertools.pairwise(NODES):
        world.connect(one, other)
    for number, node in enumerate(nodes):
        world.run_some(world.random.randrange(80))
        node.register(number, node.spawn())
    quiet(world)
    for node in nodes:
        assert sorted(node.names()) == list(range(len(NODES)))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_names_of_a_node_that_dies_go_and_others_stay(seed: int) -> None:
    world = World(seed)
    nodes = world.add(*NODES)
    for node in nodes:
        node.register(Atom(node.name), node.spawn())
    for one, other in itertools.combinations(NODES, 2):
        world.connect(one, other)
    quiet(world)
    world.stop("c@far")
    quiet(world)
    rest = [name for name in NODES if name != "c@far"]
    for name in rest:
        assert set(world.nodes[name].names()) == {Atom(other) for other in rest}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_that_dies_at_any_time_leaves_no_lock_and_no_name(seed: int) -> None:
    # Its death may cut an exchange short, after which OTP's nodes too may miss a name.
    world = World(seed)
    nodes = world.add(*NODES)
    for node in nodes:
        node.register(Atom(node.name), node.spawn())
    for one, other in itertools.combinations(NODES, 2):
        world.connect(one, other)
    world.run_some(world.random.randrange(800))
    world.stop("c@far")
    quiet(world)
    for name, node in world.nodes.items():
        assert not node.locks.items()
        assert Atom("c@far") not in node.names()
        assert Atom(name) in node.names()
        assert "c@far" not in node.known_nodes()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_connection_leaves_partitions_that_do_not_overlap(seed: int) -> None:
    world = World(seed)
    nodes = world.add(*NODES)
    for node in nodes:
        node.register(Atom(node.name), node.spawn())
    for one, other in itertools.combinations(NODES, 2):
        world.connect(one, other)
    quiet(world)
    cut = frozenset(world.random.sample(NODES, 2))
    world.cut.add(cut)
    world.disconnect(*cut)
    quiet(world)
    for node in nodes:
        part = {name for name in NODES if world.linked(node.name, name)} | {node.name}
        for other in part:
            assert part == {name for name in NODES if world.linked(other, name)} | {other}
        assert set(node.names()) == {Atom(name) for name in part}
        assert not cut <= part
    # The partitions join again when the connection can be made.
    world.cut.clear()
    for name in NODES[1:]:
        world.connect(NODES[0], name)
        quiet(world)
    assert all_linked(world, NODES)
    assert all(set(node.names()) == {Atom(name) for name in NODES} for node in nodes)


def test_a_lost_connection_ends_no_other_one_where_that_is_switched_off() -> None:
    world = World(1)
    world.add(*NODES, prevent_overlapping_partitions=False)
    for one, other in itertools.combinations(NODES, 2):
        world.connect(one, other)
    quiet(world)
    world.disconnect(NODES[0], NODES[1])
    quiet(world)
    linked = [pair for pair in itertools.combinations(NODES, 2) if world.linked(*pair)]
    assert len(linked) == 9


def test_others_are_not_told_of_a_hidden_node_that_goes() -> None:
    world = World(1)
    one, two = world.add(*NODES[:2])
    world.connect(NODES[0], NODES[1])
    quiet(world)
    one.protocol.node_down("hidden@far")
    quiet(world)
    assert len(two.protocol._lost) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_locks_exclude_each_other(seed: int) -> None:
    world = World(seed)
    nodes = world.add(*NODES[:3])
    for name in NODES[1:3]:
        world.connect(NODES[0], name)
    quiet(world)
    inside: list[Any] = []
    entered: list[Any] = []

    def critical(who: Any) -> Steps[None]:
        inside.append(who)
        entered.append(who)
        assert len(inside) == 1
        yield Sleep(world.random.random())
        inside.remove(who)

    for node in nodes * 2:
        pid = node.spawn()
        node.trans(pid, (Atom("resource"), pid), NODES[:3], lambda pid=pid: critical(pid))  # type: ignore[misc]
    quiet(world)
    assert len(entered) == 6
    assert not any(node.locks.items() for node in nodes)


def test_a_sync_waits_for_the_exchange_and_not_for_a_node_that_goes() -> None:
    world = World(3)
    one, _two, _three = world.add(*NODES[:3])
    done: list[str] = []
    world.connect(NODES[0], NODES[1])
    one.protocol.sync([NODES[1]], lambda: done.append("two"))
    one.protocol.sync([NODES[2], "nobody@far"], lambda: done.append("three"))
    assert done == []
    world.stop(NODES[2])
    quiet(world)
    assert sorted(done) == ["three", "two"]
    assert NODES[1] in one.protocol.syncers.synced


@pytest.mark.parametrize("version", [5, 6, 7])
def test_an_older_node_is_spoken_to_in_its_version(version: int) -> None:
    """OTP 23 and 24 have 5 to 7: no ``init_connect_ack``, no tag in ``lock_set``; before 6 the lockers send
    to each other, before 7 nodes have no versions."""
    world = World(1)
    one, two = world.add(*NODES[:2])
    world.connect(NODES[0], NODES[1])
    one.register(Atom("ours"), one.spawn())
    quiet(world)
    old = OldNode(world, "old@far")
    world.nodes[old.name] = old
    world.connect(one.name, old.name)
    world.run()
    ((_, (_, tag), _, _),) = old.casts
    name, pid, his_tag = Atom(old.name), old.spawn(), 77
    locker: tuple[Any, ...] = (Atom("locker"), Atom("no_longer_a_pid"), [], old.locker)
    one.handle_cast((Atom("init_connect"), (version, his_tag), name, locker))
    while not old.to_locker and len(old.casts) == 1:
        assert world.step()
    offer = (Atom("lock_set"), one.locker, True, [Atom(NODES[1])])
    if version == 5:
        assert old.to_locker == [offer]
        one.locker_got((Atom("lock_set"), old.locker, True, []))
        world.run_some(50)
    else:
        assert old.casts[1:] == [offer]
        old.casts.pop()
        one.handle_cast((Atom("lock_set"), old.locker, True, []))
        world.run_some(50)
    (exchange,) = old.casts[1:]
    assert exchange[0] == Atom("exchange")
    assert [entry[0] for entry in exchange[2]] == [Atom("ours")]
    one.handle_cast((Atom("exchange"), name, [(Atom("his"), pid, "smaller")], [], tag))
    world.run_some(50)
    known = Atom(NODES[1]) if version < 7 else (Atom(NODES[1]), 8)
    assert old.casts[-1] == (Atom("resolved"), Atom(one.name), [], [known], Atom("unused"), [], his_tag)
    old.cast_to(one, "resolved", name, [], [], Atom("unused"), [], tag)
    assert two.names() == one.names()
    assert two.names()[Atom("his")] == pid
    assert one.protocol.known.versions[old.name] == version
    # Another begin, out of turn, ends the connection: an old node does not know cancel_connect.
    one.protocol.known.pending[old.name] = version
    one.handle_cast((Atom("init_connect"), (version, 78), name, locker))
    quiet(world)
    assert not world.linked(one.name, old.name)


def _garbage(node: SimulatedNode, peer: SimulatedNode, number: int) -> list[Any]:
    """Messages of every kind in wrong shapes, with tags and pids of others."""
    name, other = Atom(peer.name), Atom("nobody@nowhere")
    tag = node.protocol._my_tag(peer.name)
    kinds: tuple[str, ...] = (
        "init_connect",
        "exchange",
        "resolved",
        "new_nodes",
        "in_sync",
        "lock_set",
        "exchange_ops",
    )
    kinds += (
        "lost_connection",
        "remove_connection",
        "cancel_connect",
        "init_connect_ack",
        "nodeup",
        "nodedown",
    )
    fields: list[Any] = [
        name,
        other,
        tag,
        number,
        -1,
        8.0,
        [],
        [(1, 2)],
        (8, number),
        (8, "x"),
        (99,),
        b"",
        {},
    ]
    fields += [peer.locker, node.locker, peer.spawn(), True, (Atom("locker"), 1, {}, node.locker), None]
    return [
        (Atom(kind), *(node.world.random.choice(fields) for _ in range(size)))
        for kind in kinds
        for size in range(7)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_messages_in_wrong_shapes_change_nothing_that_lasts(seed: int) -> None:
    world = World(seed)
    one, two, three = world.add(*NODES[:3])
    for node in (one, two, three):
        node.register(Atom(node.name), node.spawn())
    world.connect(NODES[0], NODES[2])
    quiet(world)
    world.connect(NODES[0], NODES[1])
    for number in range(30):
        for message in _garbage(one, two, number):
            if message[0].name not in ("remove_connection", "lost_connection", "new_nodes", "resolved"):
                one.handle_cast(message)
                one.protocol.handle_info(message)
        world.run_some(5)
    quiet(world)
    assert {Atom(NODES[0]), Atom(NODES[2])} <= set(one.names())
    assert len(one.protocol._attempts) <= 2
    assert not one.locks.items()
    one.register(Atom("still"), one.spawn())
    quiet(world)
    assert Atom("still") in three.names()
