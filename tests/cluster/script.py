"""What happens to a cluster under test: the same, whatever kinds of nodes it has."""

from __future__ import annotations

import asyncio

from tests.cluster.cluster import Cluster


async def whole_life(cluster: Cluster) -> None:
    """Nodes join, name processes, leave, are killed, are partitioned and come together again."""
    await joining(cluster)
    await names_and_groups(cluster)
    await one_leader(cluster)
    await locks(cluster)
    await leaving_and_dying(cluster)
    await partition(cluster)
    await silent_partition(cluster)
    await one_cut_connection(cluster)
    await leaving_one_by_one(cluster)


async def short_life(cluster: Cluster) -> None:
    """What of it takes a few seconds."""
    await joining(cluster)
    await names_and_groups(cluster)
    await one_leader(cluster)
    await locks(cluster)
    await partition(cluster)
    await one_cut_connection(cluster)
    first, *_ = cluster.places
    await cluster.kill(first)
    await cluster.quiet(f"{first} was killed")


async def joining(cluster: Cluster) -> None:
    first, *others = cluster.places
    await cluster.start(*cluster.places)
    for other in others:
        await cluster.meet(other, first)
    await cluster.quiet("all have joined")
    await sync(cluster)


async def names_and_groups(cluster: Cluster) -> None:
    async def name_and_group(place: str) -> None:
        label = await cluster.spawn(place)
        assert await cluster.register(f"name_{place}", label), f"{place} cannot register a name"
        await cluster.join("all", label)

    await asyncio.gather(*map(name_and_group, cluster.places))
    await cluster.quiet("each has registered a name and joined a group")

    first, *_, last = cluster.places
    one = await cluster.spawn(last)
    await cluster.join("some", one, one)
    cluster.note(f"a name that is taken: {await cluster.register(f'name_{first}', one)}")
    cluster.note(f"another name for it: {await cluster.register('another', one)}")
    cluster.note(f"a second name of a process: {await cluster.register('second', one)}")
    await cluster.quiet("a process joined a group twice")
    await cluster.leave("some", one)
    await cluster.unregister("another", first)
    await cluster.quiet("it left once; another node unregistered its name")
    for place in cluster.places:
        await cluster.send(place, f"name_{last}", f"from_{place}")
    cluster.note(f"sent by name: {await messages(cluster, [f'{last}.1'], len(cluster.places))}")
    await cluster.end(one)
    await cluster.end(f"{first}.1")
    await cluster.quiet("two processes have ended")


async def one_leader(cluster: Cluster) -> None:
    """All register the same name at the same time."""
    labels = [await cluster.spawn(place) for place in cluster.places]
    yes = await asyncio.gather(*(cluster.register("leader", label) for label in labels))
    cluster.note(f"of {len(labels)} that registered one name at once, {sum(yes)} succeeded")
    cluster.chosen_by_chance(labels)
    await cluster.quiet("there is one leader")
    for label in labels:
        await cluster.end(label)
    await cluster.quiet("it has ended")


async def locks(cluster: Cluster) -> None:
    first, *_, last = cluster.places
    steps: list[tuple[str, str]] = [
        *((first, "set_lock"), (last, "set_lock"), (first, "set_lock"), (last, "del_lock")),
        *((last, "set_lock"), (first, "del_lock"), (last, "set_lock"), (first, "del_lock")),
        *((last, "set_lock"), (last, "del_lock"), (last, "del_lock"), (first, "set_lock")),
    ]
    for place, command in steps:
        cluster.note(f"{place} {command}: {await cluster.do(place, command, 'resource', 'me')}")
    await cluster.do(first, "del_lock", "resource", "me")


async def leaving_and_dying(cluster: Cluster) -> None:
    first, second, *_, last = cluster.places
    await cluster.stop(second)
    await cluster.quiet(f"{second} has stopped")
    await back(cluster, second, by=last)
    await cluster.kill(last)
    await cluster.quiet(f"{last} was killed")
    await back(cluster, last, by=second)
    await cluster.kill(first)
    await cluster.quiet(f"{first} was killed")
    await back(cluster, first, by=last)


async def back(cluster: Cluster, place: str, *, by: str) -> None:
    """A node starts again under its name, and registers its name again."""
    await cluster.start(place)
    label = await cluster.spawn(place)
    # Alone, it can register any name; the cluster then has it too.
    assert await cluster.register(f"name_{place}", label), f"{place} cannot register a name"
    await cluster.join("all", label)
    await cluster.quiet(f"{place} has started again, alone")
    await cluster.meet(place, by)
    await cluster.quiet(f"{place} is back")


async def partition(cluster: Cluster) -> None:
    """Both sides of a partition register the same names; what ``global`` makes of it when they meet."""
    here, there = halves(cluster)
    cluster.part(here, there)
    await cluster.quiet("in two partitions")
    one, other = here[0], there[-1]
    owners = {
        resolver: [await cluster.spawn(place) for place in (one, other)]
        for resolver in ("random_exit_name", "random_notify_name", "notify_all_name")
    }
    for resolver, labels in owners.items():
        for label in labels:
            assert await cluster.register(resolver, label, resolver), f"{label} cannot register {resolver}"
            await cluster.join("split", label)
    await cluster.quiet("both sides have registered the same names")
    cluster.heal()
    await cluster.meet(other, one)
    await cluster.quiet("together again")
    await until_one_is_dead(cluster, owners["random_exit_name"])
    for resolver, number in (("random_notify_name", 1), ("notify_all_name", 2)):
        told = await messages(cluster, owners[resolver], number)
        cluster.note(f"{resolver}: {told}")
    await sync(cluster)


async def silent_partition(cluster: Cluster) -> None:
    """Nothing arrives any more, and nobody is told."""
    here, there = halves(cluster)
    cluster.part(here, there, silently=True)
    await cluster.quiet("in two partitions, by missing ticks")
    await cluster.register("lonely", await cluster.spawn(here[-1]))
    await cluster.quiet("a name in one of them")
    cluster.heal()
    await cluster.meet(here[0], there[0])
    await cluster.quiet("together again after silence")


async def one_cut_connection(cluster: Cluster) -> None:
    """Two nodes lose each other; all others are connected to both."""
    first, *_, last = cluster.places
    await cluster.cut_one(first, last)
    await cluster.quiet("the partitions do not overlap", by_chance=True)
    cluster.heal()
    await cluster.meet(*cluster.places)
    await cluster.quiet("the connection is back")
    await sync(cluster)


def halves(cluster: Cluster) -> tuple[list[str], list[str]]:
    half = len(cluster.places) // 2
    return cluster.places[:half], cluster.places[half:]


async def leaving_one_by_one(cluster: Cluster) -> None:
    *leaving, _ = cluster.places
    for place in leaving:
        await cluster.stop(place)
        await cluster.quiet(f"{place} has left")


async def sync(cluster: Cluster) -> None:
    for place in cluster.places:
        cluster.note(f"global:sync() at {place}: {await cluster.do(place, 'sync')}")


async def messages(cluster: Cluster, labels: list[str], number: int) -> list[str]:
    """So many messages of these processes, sorted."""
    found: list[str] = []
    async with asyncio.timeout(30):
        while len(found) < number:
            for label in labels:
                found += await cluster.messages(label)
            await asyncio.sleep(0.02)
    return sorted(found)


async def until_one_is_dead(cluster: Cluster, labels: list[str]) -> None:
    async with asyncio.timeout(30):
        alive = len(labels)
        while alive > 1:
            await asyncio.sleep(0.02)
            alive = sum([await cluster.alive(label) for label in labels])
    cluster.note(f"alive of {'/'.join(sorted(labels))}: {alive}")
