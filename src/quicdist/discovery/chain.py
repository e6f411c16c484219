"""Several discoveries, asked in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from quicdist.carrier import Address
from quicdist.containment import describe, settle
from quicdist.discovery.contract import Discovery, Family, RegisteredName
from quicdist.discovery.errors import DiscoveryError, Looked, NodeNameTaken, NodeNotFound
from quicdist.logs import get_logger

logger = get_logger("quicdist.discovery.chain")


class ChainDiscovery(Discovery):
    """The first of several that knows a node: ``ChainDiscovery(StaticDiscovery({…}), EpmdDiscovery())``.

    A node is registered with each. One that cannot be reached is logged and left out, as long as
    another took the node: a node also runs without epmd.
    """

    def __init__(self, *discoveries: Discovery) -> None:
        if not discoveries:
            raise DiscoveryError("ChainDiscovery needs at least one discovery")
        self.discoveries: Sequence[Discovery] = discoveries

    async def register_node(self, name: str, port: int, family: Family = "inet") -> int:
        """Register with each; the creation is that of the first which took the node.

        Raises :class:`NodeNameTaken` if any of them says so (and undoes the others), and what the
        first said if all of them failed.
        """
        creations: list[int] = []
        failures: list[DiscoveryError] = []
        try:
            for discovery in self.discoveries:
                try:
                    creations.append(await discovery.register_node(name, port, family))
                except NodeNameTaken:
                    raise
                except DiscoveryError as error:
                    failures.append(error)
        except BaseException:
            # Those after the one that failed have nothing registered, which they take for done.
            undone = self.discoveries[: len(creations) + len(failures)]
            await settle(_all(partial(discovery.unregister_node, name) for discovery in undone))
            raise
        if not creations:
            raise failures[0]
        for failure in failures:
            logger.warning("%s is not registered: %s", name, failure)
        return creations[0]

    async def port_please(self, name: str, host: str) -> int:
        return (await self.address_please(name, host)).port

    async def address_please(self, name: str, host: str, family: Family | None = None) -> Address:
        return (await self.addresses_please(name, host, family))[0]

    async def addresses_please(self, name: str, host: str, family: Family | None = None) -> Sequence[Address]:
        """Raises :class:`NodeNotFound` with the answer of each."""
        looked: list[Looked] = []
        for discovery in self.discoveries:
            found, error = await settle(discovery.addresses_please(name, host, family))
            if error is None:
                return list(found)
            if isinstance(error, NodeNotFound):
                looked.extend(error.looked)
            else:
                kind = "" if isinstance(error, DiscoveryError) else f"{type(error).__qualname__}: "
                looked.append(Looked(type(discovery).__name__, f"{kind}{describe(error)}"))
        raise NodeNotFound(f"{name}@{host}", looked)

    async def names(self, host: str) -> list[RegisteredName]:
        """The names of all of them; the first that knows a name gives its port.

        Raises what the last said if all of them failed.
        """
        found: dict[str, RegisteredName] = {}
        failures: list[DiscoveryError] = []
        for discovery in self.discoveries:
            try:
                for entry in await discovery.names(host):
                    found.setdefault(entry.name, entry)
            except DiscoveryError as error:
                failures.append(error)
        if len(failures) == len(self.discoveries):
            raise failures[-1]
        return list(found.values())

    async def unregister_node(self, name: str) -> None:
        """Unregister with each, all at once. Raises what the first raised that failed."""
        await _all(partial(discovery.unregister_node, name) for discovery in self.discoveries)

    async def close(self) -> None:
        """Close each, all at once. Raises what the first raised that failed."""
        await _all(discovery.close for discovery in self.discoveries)


async def _all(functions: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Call and await all of them: one that fails, or takes long, does not keep the others from ending."""
    results = await asyncio.gather(*(settle(_called(function)) for function in functions))
    errors = [error for _, error in results if error is not None]
    for error in errors[1:]:
        logger.error("%r failed as well", error, exc_info=error)
    if errors:
        raise errors[0]


async def _called(function: Callable[[], Awaitable[None]]) -> None:
    await function()
