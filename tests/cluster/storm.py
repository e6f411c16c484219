"""All at once: nodes register names and join groups while others are killed and connections are cut.

What comes of it, chance decides. But once the network is whole again all nodes have to agree.
"""

from __future__ import annotations

import asyncio
from random import Random

from quicdist.term import Atom
from tests.cluster.cluster import Cluster
from tests.cluster.members import MemberError

_NAMES = [f"s{number}" for number in range(5)]
_GROUPS = ["g0", "g1"]
_RESOLVERS = ["random_exit_name", "random_notify_name", "notify_all_name"]


async def storm(seed: int, rounds: int, cluster: Cluster) -> None:
    await cluster.start(*cluster.places)
    await cluster.meet(*cluster.places)
    await cluster.quiet("start")
    for number in range(rounds):
        random = Random(f"{seed} {number}")
        busy = {
            place: asyncio.ensure_future(_busy(cluster, place, random.random())) for place in cluster.places
        }
        weather = await _weather(cluster, random)
        for place, task in busy.items():
            try:
                await task
            except (MemberError, ConnectionError):
                assert place not in cluster.world.up, f"{place} was not killed"
        cluster.heal()
        await cluster.start(*sorted(set(cluster.places) - set(cluster.world.up)))
        await cluster.agree(f"round {number}: {weather}")
        for name, place in zip(_NAMES, cluster.places, strict=False):
            assert await cluster.register(name, await cluster.spawn(place)), f"{place} cannot register {name}"
        await cluster.quiet("new names")


async def _busy(cluster: Cluster, place: str, seed: float) -> None:
    """One node's own share of the storm."""
    random = Random(seed)
    labels = [await cluster.spawn(place) for _ in range(2)]
    for _ in range(random.randint(5, 15)):
        label = random.choice(labels)
        match random.randint(0, 5):
            case 0 | 1:
                name = random.choice(_NAMES)
                await cluster.register(name, label, _RESOLVERS[_NAMES.index(name) % 3])
            case 2:
                await cluster.do(place, "unregister", Atom(random.choice(_NAMES)))
            case 3 | 4:
                await cluster.join(random.choice(_GROUPS), label)
            case 5:
                await cluster.end(labels.pop(0))
                labels.append(await cluster.spawn(place))


async def _weather(cluster: Cluster, random: Random) -> str:
    said = []
    for _ in range(random.randint(1, 3)):
        await asyncio.sleep(random.random() * 0.3)  # how far the others have got is part of the chance
        up = cluster.world.up
        match random.randint(0, 3):
            case 0 if len(up) > 2:
                place = random.choice(up)
                await cluster.kill(place)
                said.append(f"kill {place}")
            case 1:
                side = random.sample(up, len(up) // 2)
                cluster.cut(side, [place for place in up if place not in side])
                said.append(f"cut {sorted(side)}")
            case 2:
                one, other = random.sample(up, 2)
                cluster.cut([one], [other])
                said.append(f"cut {one} {other}")
            case _:
                cluster.heal()
                said.append("heal")
    return ", ".join(said)
