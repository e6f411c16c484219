"""The members of process groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quicdist.term import Atom, Pid
from quicdist.term.identity import exact_form


class Groups:
    """The members of each group on one node.

    Groups are terms, compared as Erlang does (``=:=``); a group without members does not exist. A process
    can be in a group several times. ``none`` is the atom for ``None``.
    """

    __slots__ = ("_groups", "_none")

    def __init__(self, none: Atom | None) -> None:
        self._none = none
        self._groups: dict[bytes, tuple[Any, list[Pid]]] = {}

    def __getitem__(self, group: Any) -> list[Pid]:
        """The members of a group; an empty list if it does not exist."""
        found = self._groups.get(self.key(group))
        return found[1] if found is not None else []

    def key(self, group: Any) -> bytes:
        """A key that is equal for groups that are equal in Erlang."""
        return exact_form(group, self._none)

    def keyed(self) -> dict[bytes, Any]:
        """All groups by key."""
        return {key: group for key, (group, _) in self._groups.items()}

    def pairs(self) -> list[tuple[Any, list[Pid]]]:
        """``[{Group, Pids}]``."""
        return [(group, list(pids)) for group, pids in self._groups.values()]

    def join(self, group: Any, pids: Iterable[Pid]) -> None:
        """Add members, also if they are in the group; the newest come first, as in OTP."""
        _, members = self._groups.setdefault(self.key(group), (group, []))
        members[:0] = pids
        self._drop_if_empty(group)

    def leave(self, group: Any, pids: Iterable[Pid]) -> None:
        """Remove each member one time, if it is in the group (Erlang's ``--``)."""
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
