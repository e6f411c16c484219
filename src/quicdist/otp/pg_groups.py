"""Groups of processes: who is in which of them, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quicdist.term import Atom, Pid
from quicdist.term.identity import exact_form


class Groups:
    """The members that one node has in each group. Groups are terms, told apart as Erlang does, and
    there as long as they have a member; a process can be in one several times.

    ``none`` is the atom that ``None`` stands for.
    """

    __slots__ = ("_groups", "_none")

    def __init__(self, none: Atom | None) -> None:
        self._none = none
        self._groups: dict[bytes, tuple[Any, list[Pid]]] = {}

    def __getitem__(self, group: Any) -> list[Pid]:
        """The members, none where there is no such group."""
        found = self._groups.get(self.key(group))
        return found[1] if found is not None else []

    def key(self, group: Any) -> bytes:
        """What is the same for two groups if Erlang takes them for the same."""
        return exact_form(group, self._none)

    def keyed(self) -> dict[bytes, Any]:
        """The groups there are, by their keys."""
        return {key: group for key, (group, _) in self._groups.items()}

    def pairs(self) -> list[tuple[Any, list[Pid]]]:
        """``[{Group, Pids}]``."""
        return [(group, list(pids)) for group, pids in self._groups.values()]

    def join(self, group: Any, pids: Iterable[Pid]) -> None:
        """Add members, also such that are in it already; the newest come first, as with OTP."""
        _, members = self._groups.setdefault(self.key(group), (group, []))
        members[:0] = pids
        self._drop_if_empty(group)

    def leave(self, group: Any, pids: Iterable[Pid]) -> None:
        """Take each out once, those that are in it (Erlang's ``--``)."""
        members = self[group]
        for pid in pids:
            if pid in members:
                members.remove(pid)
        self._drop_if_empty(group)

    def _drop_if_empty(self, group: Any) -> None:
        if not self[group]:
            self._groups.pop(self.key(group), None)


def surplus(these: list[Pid], others: list[Pid]) -> list[Pid]:
    """``These -- Others``."""
    left = list(these)
    for pid in others:
        if pid in left:
            left.remove(pid)
    return left
