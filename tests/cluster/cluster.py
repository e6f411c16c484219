"""Runs a script in a cluster, and awaits that every node sees what it has to see."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from quicdist.term import Atom, Pid
from tests.cluster.members import BeamMember, Member, MemberError, PythonMember, full_name
from tests.cluster.network import Network
from tests.cluster.world import Label, View, World, place_of
from tests.support.beam import erl_facts

#: Seconds until all nodes must see the same.
DEADLINE = 30.0
#: Seconds between two looks at what they see.
_AGAIN = 0.05


class NotQuiet(AssertionError):
    """The nodes do not see what they have to see within the deadline."""


#: The kind of a place that has a Python node.
PYTHON = "python"


class Cluster:
    """``kinds`` are the places, ``n1``, ``n2`` and so on, and what runs at each: the path of an ``erl``, or
    :data:`PYTHON`. Methods do what they say in the nodes and in the
    :class:`World`; :meth:`quiet` compares the two, and writes the record. A record has no pids and no outcome
    of chance: two clusters that behave alike have equal records."""

    def __init__(self, kinds: Mapping[str, str], say: Callable[[str], None] = lambda line: None) -> None:
        self.kinds = dict(kinds)
        self._oldest = min(set(kinds.values()) - {PYTHON}, key=lambda erl: erl_facts(erl)[0])
        self.world = World()
        self.record: list[str] = []
        self._say = say
        self._network = Network()
        self._members: dict[str, Member] = {}
        self._labels: dict[Pid, Label] = {}
        self._pids: dict[Label, Pid] = {}
        #: The processes that have not been found dead; kept by :meth:`agree`.
        self._living: set[Label] = set()
        self._resolvers: dict[str, str] = {}
        self.impersonal_labels: dict[Label, str] = {}

    @property
    def places(self) -> list[str]:
        return list(self.kinds)

    async def close(self) -> None:
        for member in self._members.values():
            await member.kill()
        await self._network.close()

    # -- nodes -------------------------------------------------------------------------------------

    async def start(self, *places: str) -> None:
        """Start nodes that are not connected with any other."""

        async def start(place: str) -> None:
            port = await self._network.epmd_port(place)
            erl = self.kinds[place]
            self._members[place] = (
                await PythonMember.start(place, port)
                if erl == PYTHON
                else await BeamMember.start(place, port, erl, self._oldest)
            )

        await asyncio.gather(*map(start, places))
        for place in places:
            self.world.started(place)

    async def meet(self, one: str, *others: str) -> None:
        """``one`` connects to others, and thereby their partitions with each other."""
        for other in others:
            if await self.do(one, "ping", Atom(full_name(other))) is not True:
                raise NotQuiet("\n".join([f"{one} cannot ping {other}", *self._logs()]))
        self.world.met(one, *others)

    async def stop(self, place: str) -> None:
        """Stop a node in order."""
        await self._members.pop(place).stop()
        self._down(place)

    async def kill(self, place: str) -> None:
        """End a node by SIGKILL."""
        member = self._members.pop(place)
        self._down(place)
        await member.kill()

    def _down(self, place: str) -> None:
        self.world.down(place)
        self._living = {label for label in self._living if place_of(label) != place}

    def part(self, one: Iterable[str], other: Iterable[str], *, silently: bool = False) -> None:
        """Cut all connections between two sides, which hold every place. Nodes are told at once, or,
        ``silently``, have to notice by missing ticks."""
        (self._network.silence if silently else self._network.cut)(one, other)
        self.world.parted((one, other))

    def cut(self, some: Iterable[str], others: Iterable[str]) -> None:
        """Cut the connections between these, in the midst of other things; :meth:`agree` tells what came of
        it."""
        self._network.cut(some, others)

    async def cut_one(self, one: str, other: str) -> None:
        """Cut the connections between two nodes alone. Nodes then have to form partitions that do not overlap
        (``prevent_overlapping_partitions``); which, chance decides. Wait for them."""
        self._network.cut([one], [other])
        start = monotonic()
        while True:
            views = await self._views()
            components = {frozenset(view.nodes) for view in views.values()}
            overlap = sum(map(len, components)) > len(views)
            together = any({one, other} <= component for component in components)
            if not overlap and not together:
                break
            if monotonic() - start > DEADLINE:
                raise NotQuiet(self._difference(f"{one} and {other} cut", [], views))
            await asyncio.sleep(_AGAIN)
        self.world.components = [set(component) for component in components]

    def heal(self) -> None:
        """Let connections be made again; :meth:`meet` makes one."""
        self._network.heal()

    async def do(self, place: str, *command: Any) -> Any:
        if place not in self._members:
            raise MemberError(f"{place} does not run")
        return await self._members[place].do(*command)

    # -- processes, names and groups ---------------------------------------------------------------

    async def spawn(self, place: str) -> Label:
        pid = await self.do(place, "spawn")
        label = f"{place}.{1 + sum(label.startswith(f'{place}.') for label in self._pids)}"
        self._pids[label], self._labels[pid] = pid, label
        self._living.add(label)
        return label

    async def end(self, label: Label) -> None:
        await self.do(place_of(label), "stop", self._pids[label])
        self.world.ended(label)

    async def alive(self, label: Label) -> bool:
        answer = await self.do(place_of(label), "alive", self._pids[label])
        assert isinstance(answer, bool)
        return answer

    async def messages(self, label: Label) -> list[str]:
        """What a process was sent since the last time, pids as labels."""
        return [
            self._text(message) for message in await self.do(place_of(label), "messages", self._pids[label])
        ]

    async def register(self, name: str, label: Label, resolver: str = "random_exit_name") -> bool:
        """Register a name with ``global``, at the node of the process."""
        registered = await self.do(place_of(label), "register", Atom(name), self._pids[label], Atom(resolver))
        if registered:
            self._resolvers[name] = resolver
            self.world.names.add((name, label))
        return bool(registered)

    async def unregister(self, name: str, place: str) -> None:
        owner = self.world.owner(name, place)
        await self.do(place, "unregister", Atom(name))
        self.world.names.discard((name, owner or ""))

    async def send(self, place: str, name: str, message: str) -> None:
        await self.do(place, "send", Atom(name), Atom(message))

    async def join(self, group: str, *labels: Label) -> None:
        for label in labels:
            await self.do(place_of(label), "join", Atom(group), self._pids[label])
            self.world.groups.setdefault(group, Counter())[label] += 1

    async def leave(self, group: str, label: Label) -> None:
        await self.do(place_of(label), "leave", Atom(group), self._pids[label])
        self.world.groups[group][label] -= 1

    # -- quiet points ------------------------------------------------------------------------------

    async def quiet(self, step: str, *, by_chance: bool = False) -> None:
        """Wait until every node sees what it has to see, twice in a row, and record it, unless the
        partitions are ``by_chance``."""
        start = monotonic()
        outcomes = self._outcomes()
        in_a_row = 0
        while in_a_row < 2:
            views = await self._views()
            found = [w for w in outcomes if all(view == w.view(place) for place, view in views.items())]
            in_a_row = in_a_row + 1 if found else 0
            if not found and monotonic() - start > DEADLINE:
                raise NotQuiet(self._difference(step, outcomes, views))
            await asyncio.sleep(_AGAIN)
        (self.world,) = found
        seen = {str(self._impersonal(self.world.view(place))) for place in self.world.up}
        self.record += [step] if by_chance else [f"{step}: {view}" for view in sorted(seen)]
        self._say(f"{step}: quiet after {monotonic() - start:.1f} s")

    async def agree(self, step: str) -> None:
        """Wait until all nodes are connected and see the same groups, twice in a row. Names that were
        registered while connections were lost can be unknown to a node afterwards, with BEAMs alone too: so
        all are unregistered, and then new ones have to be seen by all."""
        start = monotonic()
        self.world.components = [set(self.world.up)]
        first, *others = self.world.up
        await asyncio.gather(*(self.do(first, "ping", Atom(full_name(other))) for other in others))
        self.world.names.clear()
        in_a_row = 0
        while in_a_row < 2:
            views = await self._views()
            await self._forget_the_dead()
            differ = [
                place for place, view in views.items() if replace(view, names=()) != self.world.view(place)
            ]
            in_a_row = in_a_row + 1 if not differ else 0
            if monotonic() - start > DEADLINE:
                raise NotQuiet(self._difference(step, [self.world], views))
            if differ:
                await self.do(first, "ping", Atom(full_name(differ[-1])))
            await asyncio.sleep(_AGAIN)
        names = {view.names for view in views.values()}
        for name, place in {(name, place) for place, view in views.items() for name, _ in view.names}:
            await self.unregister(name, place)
        self._say(
            f"{step}: agreed after {monotonic() - start:.1f} s, names "
            + (f"too: {len(names.pop())}" if len(names) == 1 else "not equal")
        )
        self.record.append(step)

    async def _forget_the_dead(self) -> None:
        for label in list(self._living):
            if not await self.alive(label):
                self._living.discard(label)
                self.world.ended(label)

    def _outcomes(self) -> list[World]:
        """The world as it is once ``global`` has resolved its conflicts of names, by each choice it has."""
        worlds = [self.world]
        for name, labels in self.world.conflicts().items():
            resolver = self._resolvers[name]
            if resolver != "notify_all_name":
                self.chosen_by_chance(labels)
            worlds = [outcome for world in worlds for outcome in world.resolved(name, labels, resolver)]
        return worlds

    def chosen_by_chance(self, labels: Iterable[Label]) -> None:
        """The record is not to tell these processes apart."""
        labels = sorted(labels)
        self.impersonal_labels |= dict.fromkeys(labels, f"one of {'/'.join(labels)}")

    def _impersonal(self, view: View) -> View:
        def of(label: Label) -> Label:
            return self.impersonal_labels.get(label, label)

        return View(
            view.nodes,
            tuple((name, of(label)) for name, label in view.names),
            tuple((group, tuple(sorted(map(of, members)))) for group, members in view.groups),
        )

    def note(self, what: str) -> None:
        """Add an observation to the record."""
        self.record.append(what)
        self._say(what)

    async def _views(self) -> dict[str, View]:
        up = self.world.up
        return dict(zip(up, await asyncio.gather(*map(self.view, up)), strict=True))

    async def view(self, place: str) -> View:
        nodes, names, groups = await self.do(place, "facts")
        seen = sorted(str(node).partition("@")[0] for node in nodes)
        return View(
            tuple(sorted([place, *seen])),
            tuple(sorted((str(name), self._label(pid)) for name, pid in names)),
            tuple(
                sorted((str(group), tuple(sorted(map(self._label, pids)))) for group, pids in groups if pids)
            ),
        )

    def _difference(self, step: str, outcomes: Sequence[World], views: Mapping[str, View]) -> str:
        text = [f"{step}: not equal within {DEADLINE:.0f} s"]
        for place, view in views.items():
            text.append(f"  {place} ({self.kinds[place]}) sees {view}")
            for expected in {world.view(place) for world in outcomes} - {view}:
                text.append(f"     expected: {expected}")
        return "\n".join([*text, *self._logs()])

    def _logs(self) -> list[str]:
        logs = {place: member.logged() for place, member in self._members.items()}
        return [f"log of {place}:\n{log[-4000:]}" for place, log in logs.items() if log]

    def _label(self, pid: Any) -> Label:
        return self._labels.get(pid, f"unknown {pid}")

    def _text(self, value: Any) -> str:
        if isinstance(value, tuple):
            return "{" + ",".join(map(self._text, value)) + "}"
        return self._label(value) if isinstance(value, Pid) else str(value)


@contextlib.asynccontextmanager
async def running_cluster(
    kinds: Mapping[str, str], say: Callable[[str], None] = lambda line: None
) -> AsyncIterator[Cluster]:
    """A cluster of which no node runs yet; all of it is taken down at the end."""
    cluster = Cluster(kinds, say)
    try:
        yield cluster
    finally:
        await cluster.close()
