"""A node's name in discovery: registered when the node starts, unregistered when it stops.

Discovery may be code of the program. An exception there, or a call that never returns, can make a start
fail, but not a stop.
"""

from __future__ import annotations

import asyncio

from quicdist.containment import NotReturned, settle_within
from quicdist.discovery import Discovery, DiscoveryError, Family, NodeNameTaken
from quicdist.errors import QuicDistError
from quicdist.logs import get_logger
from quicdist.node.exit_reason import named

log = get_logger("quicdist.node")

#: Seconds that registering may take. EpmdDiscovery takes longest: 30 s, if it has to start an epmd that does
#: not answer.
REGISTER_TIME = 60.0
#: Seconds that unregistering and closing may take, each.
WITHDRAW_TIME = 5.0

#: By identity: the discovery objects in use, and the number of nodes that use each.
_in_use: dict[int, tuple[Discovery, int]] = {}


class Registrations:
    """The entries of one node in discovery."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._used: dict[int, Discovery] = {}
        self._registered: list[Discovery] = []

    def use(self, discovery: Discovery) -> None:
        """The node uses ``discovery`` until :meth:`withdraw`."""
        key = id(discovery)
        if key not in self._used:
            self._used[key] = discovery
            _in_use[key] = discovery, _in_use.get(key, (discovery, 0))[1] + 1

    async def register(self, discovery: Discovery, port: int, family: Family) -> int:
        """Register the node at ``port``; returns its creation.

        Raises the error that discovery raises; :class:`DiscoveryError` for an error that is not of this
        package, and after ``REGISTER_TIME`` seconds.
        """
        what = f"registering {self._name} with {type(discovery).__name__}"
        # Counted as registered from now on: a registration that fails or is cancelled may be half done.
        self._registered.append(discovery)
        creation, error = await settle_within(
            lambda: discovery.register_node(self._name, port, family), REGISTER_TIME
        )
        if isinstance(error, NodeNameTaken):
            self._registered.remove(discovery)  # the name is another node's
        if isinstance(error, QuicDistError):
            raise error
        if error is not None:
            raise DiscoveryError(f"{what} failed: {named(error)}") from error
        if not isinstance(creation, int) or not 0 < creation < 1 << 32:
            raise DiscoveryError(f"{what} gave the creation {creation!r}: an integer of 32 bits is needed")
        return creation

    async def withdraw(self) -> None:
        """Unregister the node, and close discovery objects that no other node uses."""
        registered, self._registered = self._registered, []
        await asyncio.gather(*(self._unregister(discovery) for discovery in registered))
        used, self._used = self._used, {}
        await asyncio.gather(*(self._close(discovery) for discovery in used.values()))

    async def _unregister(self, discovery: Discovery) -> None:
        _, error = await settle_within(lambda: discovery.unregister_node(self._name), WITHDRAW_TIME)
        self._report("unregistering", discovery, error)

    async def _close(self, discovery: Discovery) -> None:
        _, users = _in_use.pop(id(discovery))
        if users > 1:
            _in_use[id(discovery)] = discovery, users - 1
            return
        _, error = await settle_within(discovery.close, WITHDRAW_TIME)
        self._report("closing", discovery, error)

    def _report(self, doing: str, discovery: Discovery, error: BaseException | None) -> None:
        if error is not None:
            expected = isinstance(error, QuicDistError | NotReturned)
            log.error(
                "%s %s with %s failed: %s",
                *(doing, self._name, type(discovery).__name__, named(error)),
                exc_info=None if expected else error,
            )
