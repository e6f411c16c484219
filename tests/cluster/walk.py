"""A random life of a cluster, by a seed: nodes and processes come and go, partitions form and heal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

from tests.cluster.cluster import Cluster
from tests.cluster.world import Label, place_of

_NAMES = [f"w{number}" for number in range(6)]
_GROUPS = ["g0", "g1"]
_RESOLVERS = ["random_exit_name", "random_notify_name", "notify_all_name"]


async def walk(seed: int, rounds: int, cluster: Cluster) -> None:
    """The same seed makes the same steps, in a cluster of whatever nodes."""
    await _Walk(cluster, seed).run(rounds)


class _Walk:
    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._random = Random(seed)
        self._alive: list[Label] = []
        self._resolvers: dict[str, str] = {}

    async def run(self, rounds: int) -> None:
        cluster = self._cluster
        await cluster.start(*cluster.places)
        await cluster.meet(*cluster.places)
        await cluster.quiet("start")
        for number in range(rounds):
            what = await self._round()
            await cluster.quiet(f"round {number}: {what}")
            await self._forget_chance(f"round {number}")
        await self._together()
        await cluster.quiet("end")

    async def _round(self) -> str:
        up = self._cluster.world.up
        down = [place for place in self._cluster.places if place not in up]
        small = [self._name, self._name, self._name, self._unname, self._group, self._group]
        large = [self._kill, self._stop] if len(up) > 2 else []
        large += [self._back] * 2 if down else []
        large += [self._together] * 2 if self._apart else [self._part]
        chance = self._random.random()
        if chance < 0.4:
            return await self._random.choice(large)()
        if chance < 0.5:
            return await self._end()
        return ", ".join([await self._random.choice(small)() for _ in range(self._random.randint(1, 5))])

    @property
    def _apart(self) -> bool:
        return len(self._cluster.world.components) > 1

    # -- processes, names, groups ------------------------------------------------------------------

    async def _spawn(self, places: Iterable[str]) -> Label:
        label = await self._cluster.spawn(self._random.choice(sorted(places)))
        self._alive.append(label)
        return label

    def _some(self) -> Label | None:
        return self._random.choice(self._alive) if self._alive else None

    async def _name(self) -> str:
        free = [name for name in _NAMES if not any(name == taken for taken, _ in self._cluster.world.names)]
        name = self._random.choice(free or _NAMES)
        # One resolver for a name: which of two would count, chance decides.
        resolver = self._resolvers.setdefault(name, self._random.choice(_RESOLVERS))
        # One in each partition, for a conflict when they meet.
        where = self._cluster.world.components if free else [self._cluster.world.up]
        labels = [await self._spawn(places) for places in sorted(where, key=sorted)]
        registered = [await self._cluster.register(name, label, resolver) for label in labels]
        return f"register {name} {resolver} at {labels}: {registered}"

    async def _unname(self) -> str:
        place = self._random.choice(self._cluster.world.up)
        name = self._random.choice(_NAMES)
        if self._cluster.world.owner(name, place) is None:
            return f"{name} is not registered"
        await self._cluster.unregister(name, place)
        return f"unregister {name} at {place}"

    async def _group(self) -> str:
        label = self._some() or await self._spawn(self._cluster.world.up)
        group = self._random.choice(_GROUPS)
        members = self._cluster.world.groups.get(group, Counter())
        if members[label] and self._random.random() < 0.5:
            await self._cluster.leave(group, label)
            return f"{label} leaves {group}"
        await self._cluster.join(group, label)
        return f"{label} joins {group}"

    async def _end(self) -> str:
        label = self._some()
        if label is None:
            return "nobody to end"
        await self._end_of(label)
        return f"end {label}"

    async def _end_of(self, label: Label) -> None:
        self._alive.remove(label)
        await self._cluster.end(label)

    async def _forget_chance(self, step: str) -> None:
        """End the processes among which chance has chosen, so that the rest of the walk does not depend on
        it."""
        chosen = sorted(label for label in self._alive if label in self._cluster.impersonal_labels)
        for label in chosen:
            await self._end_of(label)
        if chosen:
            await self._cluster.quiet(f"{step}: ended those among whom chance chose")

    # -- nodes -------------------------------------------------------------------------------------

    def _gone(self, place: str) -> None:
        self._alive = [label for label in self._alive if place_of(label) != place]

    async def _kill(self) -> str:
        place = self._random.choice(self._cluster.world.up)
        await self._cluster.kill(place)
        self._gone(place)
        return f"kill {place}"

    async def _stop(self) -> str:
        place = self._random.choice(self._cluster.world.up)
        await self._cluster.stop(place)
        self._gone(place)
        return f"stop {place}"

    async def _back(self) -> str:
        up = self._cluster.world.up
        place = self._random.choice([place for place in self._cluster.places if place not in up])
        await self._cluster.start(place)
        return f"start {place}"

    async def _part(self) -> str:
        places = self._cluster.places
        side = self._random.sample(places, self._random.randint(1, len(places) - 1))
        other = [place for place in places if place not in side]
        self._cluster.part(side, other)
        return f"part {sorted(side)}"

    async def _together(self) -> str:
        self._cluster.heal()
        met = []
        while len(self._cluster.world.components) > 1:
            one, other, *_ = sorted(map(sorted, self._cluster.world.components))
            pair = self._random.choice(one), self._random.choice(other)
            await self._cluster.meet(*pair)
            met.append(pair)
            if len(self._cluster.world.components) > 1:
                await self._cluster.quiet(f"{pair} met")
                await self._forget_chance(f"{pair} met")
        return f"met {met}"
