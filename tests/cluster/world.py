"""What every node of a cluster has to see: the script's own account of names, groups and partitions."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

#: A process of the script: the place where it runs, and a number.
Label = str


def place_of(label: Label) -> str:
    """``n1`` of ``n1.3``."""
    return label.partition(".")[0]


@dataclass(frozen=True)
class View:
    """What a node sees, with the script's labels in place of pids."""

    nodes: tuple[str, ...]
    names: tuple[tuple[str, Label], ...]
    groups: tuple[tuple[str, tuple[Label, ...]], ...]

    def __str__(self) -> str:
        names = " ".join(f"{name}={label}" for name, label in self.names)
        groups = " ".join(f"{group}={','.join(members)}" for group, members in self.groups)
        return f"nodes {' '.join(self.nodes)}; names {names or 'none'}; groups {groups or 'none'}"


@dataclass
class World:
    """``components`` are the places that see each other, by partition."""

    components: list[set[str]] = field(default_factory=list)
    #: A name can be registered once in each component.
    names: set[tuple[str, Label]] = field(default_factory=set)
    groups: dict[str, Counter[Label]] = field(default_factory=dict)

    @property
    def up(self) -> list[str]:
        return sorted(place for component in self.components for place in component)

    def component(self, place: str) -> set[str]:
        return next(component for component in self.components if place in component)

    def started(self, place: str) -> None:
        self.components.append({place})

    def met(self, *places: str) -> None:
        """The components of these places have become one."""
        together = [self.component(place) for place in places]
        self.components = [component for component in self.components if component not in together]
        self.components.append(set().union(*together))

    def down(self, place: str) -> None:
        self.components = [rest for component in self.components if (rest := component - {place})]
        for _, label in list(self.names):
            if place_of(label) == place:
                self.ended(label)
        for members in list(self.groups.values()):
            for label in list(members):
                if place_of(label) == place:
                    del members[label]

    def parted(self, sides: Iterable[Iterable[str]]) -> None:
        """Each component falls apart along ``sides``."""
        self.components = [
            both for component in self.components for side in sides if (both := component & set(side))
        ]

    def ended(self, label: Label) -> None:
        self.names = {(name, owner) for name, owner in self.names if owner != label}
        for members in self.groups.values():
            members.pop(label, None)

    def owner(self, name: str, place: str) -> Label | None:
        """The owner of a name, as ``place`` sees it."""
        component = self.component(place)
        return next((label for n, label in self.names if n == name and place_of(label) in component), None)

    def view(self, place: str) -> View:
        component = self.component(place)
        names = sorted((name, label) for name, label in self.names if place_of(label) in component)
        groups = []
        for group, members in sorted(self.groups.items()):
            seen = sorted(label for label in members.elements() if place_of(label) in component)
            if seen:
                groups.append((group, tuple(seen)))
        return View(tuple(sorted(component)), tuple(names), tuple(groups))

    def conflicts(self) -> dict[str, list[Label]]:
        """The names that have several owners in one component, and these."""
        owners: dict[tuple[int, str], list[Label]] = {}
        for name, label in sorted(self.names):
            at = self.components.index(self.component(place_of(label)))
            owners.setdefault((at, name), []).append(label)
        return {name: labels for (_, name), labels in owners.items() if len(labels) > 1}

    def resolved(self, name: str, labels: Iterable[Label], resolver: str) -> list[World]:
        """The worlds that a resolver of ``global`` can make of this one, in which these processes have
        registered the same name."""
        worlds = []
        for winner in labels if resolver != "notify_all_name" else [None]:
            world = copy.deepcopy(self)
            for loser in set(labels) - {winner}:
                world.names.discard((name, loser))
                if resolver == "random_exit_name":
                    world.ended(loser)
            worlds.append(world)
        return worlds
