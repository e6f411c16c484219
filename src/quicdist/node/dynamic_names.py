"""Dynamic node names: given to nodes that ask for one, and asked for by this node.

Erlang Reference Manual, *Distributed Erlang*, *Dynamic Node Name*; OTP's ``net_kernel``
(``generate_node_name/2``, ``dyn_name_pool``), ``dist_util`` (DFLAG_NAME_ME).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Final

from quicdist.discovery import new_creation
from quicdist.protocol import DistFlag, GivenName, LocalIdentity
from quicdist.protocol.names import MAX_NODE_NAME, parse_node_name

#: The part before the ``@`` of a node that asks for its name.
UNDEFINED: Final = "undefined"
#: The name of a node that has none, and the node name of the own pids of one that was given its name.
NONODE: Final = "nonode@nohost"
#: The most names that are kept to be given again.
MAX_FREE: Final = 1000

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MAX_CREATION = (1 << 32) - 1


def is_dynamic(name: str) -> bool:
    """Whether a node of this name, ``undefined@host``, asks for its name."""
    return name.partition("@")[0] == UNDEFINED


class GivenNames:
    """The names that this node gives to others. A name whose connection has ended is given again, to a node
    of the same host, with the next creation."""

    def __init__(self) -> None:
        self._creations: dict[str, int] = {}
        #: By host: names and the creation to give them with, the last freed one at the end.
        self._free: dict[str, list[GivenName]] = {}
        self._free_names = 0

    def give(self, host: str, is_taken: Callable[[str], bool]) -> GivenName | None:
        """A name for a node of ``host`` that ``is_taken`` is false for; None if the host is too long."""
        given = self._reused(host)
        while given is None or given.name in self._creations or is_taken(given.name):
            name = f"{_base36(1 + secrets.randbelow(1 << 64))}@{host}"
            if len(name) > MAX_NODE_NAME:
                return None
            given = GivenName(name, new_creation())
        self._creations[given.name] = given.creation
        return given

    def _reused(self, host: str) -> GivenName | None:
        free = self._free.get(host)
        if not free:
            return None
        given = free.pop()
        self._free_names -= 1
        if not free:
            del self._free[host]
        return given

    def connection_ended(self, name: str) -> None:
        """The connection of a node, that may have been given its name, has ended."""
        creation = self._creations.pop(name, None)
        if creation is None:
            return
        host = name.partition("@")[2]
        while self._free_names >= MAX_FREE:
            self._reused(next(iter(self._free)))
        following = creation + 1 if creation < _MAX_CREATION else 4  # net_kernel:next_creation/1
        self._free.setdefault(host, []).append(GivenName(name, following))
        self._free_names += 1

    def not_connected(self, name: str) -> None:
        """The handshake with a node failed: it had a name and has not proved that it knows the cookie."""
        self._creations.pop(name, None)


class OwnName:
    """The name of this node: ``name``, or with ``undefined@host`` the one that the first node it connects to
    gives it, for as long as that connection lasts. ``renamed`` is called when it changes."""

    def __init__(self, name: str, renamed: Callable[[], None]) -> None:
        self._name = name
        self._renamed = renamed
        self.is_dynamic = is_dynamic(name)
        self.given: GivenName | None = None
        self._giver: str | None = None
        self._asking = asyncio.Lock()

    @property
    def current(self) -> str:
        """The name now; ``nonode@nohost`` if there is none."""
        if not self.is_dynamic:
            return self._name
        return NONODE if self.given is None else self.given.name

    def identity(self, flags: DistFlag) -> LocalIdentity:
        """What a node with a dynamic name says of itself in handshakes."""
        if self.given is not None:
            return LocalIdentity(self.given.name, self.given.creation, flags, NONODE)
        return LocalIdentity(parse_node_name(self._name).host, 0, flags | DistFlag.NAME_ME, NONODE)

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Around a dial: only one asks for a name, others wait and have it then."""
        if not self.is_dynamic or self.given is not None:
            yield
            return
        async with self._asking:
            if self.given is None:
                yield
                return
        yield

    def connected(self, node: str, identity: LocalIdentity) -> None:
        """``node`` is connected, and knows this node, whose name is dynamic, as ``identity``."""
        if self.given is None:
            self.given, self._giver = GivenName(identity.name, identity.creation), node
            self._renamed()

    def is_lost_with(self, node: str) -> bool:
        """The connection to ``node`` has ended: whether this node has no name any more."""
        if self._giver is None or node != self._giver:
            return False
        self.given = self._giver = None
        self._renamed()
        return True


def _base36(number: int) -> str:
    """As ``integer_to_list(Number, 36)`` writes it."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
