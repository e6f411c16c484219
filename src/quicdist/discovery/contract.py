"""The contract between a node and its discovery.

Two layers, as in ``quic_dist``. The node asks a :class:`Discovery`, which has the callbacks of OTP's
``-epmd_module`` (``erl_epmd(3)``). One of them, :class:`BackendDiscovery`, asks a
:class:`Backend`, which has the callbacks of the behaviour ``quic_discovery``.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from quicdist.carrier import Address
from quicdist.containment import describe, settle
from quicdist.discovery.errors import DiscoveryError, Looked, NodeNotFound
from quicdist.discovery.resolve import no_address, resolve
from quicdist.protocol.names import node_name
from quicdist.term.names import Name

#: OTP's names for IPv4 and IPv6.
Family = Literal["inet", "inet6"]


class RegisteredName(NamedTuple):
    """One line of ``erl_epmd:names/1``: a node's name without its host, and its port."""

    name: str
    port: int


def alive_name(node: Name) -> str:
    """The part of a node's name before the ``@``, which is all that epmd knows of it."""
    return node_name(node).partition("@")[0]


def new_creation() -> int:
    """A creation for a node that gets none from epmd: 32 random bits, not below 4.

    0 to 3 are the creations of nodes before OTP 23 (``net_kernel:create_creation/0``).
    """
    return 4 + secrets.randbelow((1 << 32) - 4)


class Discovery(ABC):
    """Where nodes are. One object may serve several nodes and carriers of one program."""

    @abstractmethod
    async def register_node(self, name: str, port: int, family: Family = "inet") -> int:
        """Make the node ``name`` findable at ``port``; its creation for as long as it lives.

        ``name`` may be whole (``a@host``) or without the host. Raises :class:`NodeNameTaken`.
        """

    @abstractmethod
    async def port_please(self, name: str, host: str) -> int:
        """The port at which the node ``name`` (without host) on ``host`` listens.

        Raises :class:`NodeNotFound`.
        """

    @abstractmethod
    async def address_please(self, name: str, host: str, family: Family | None = None) -> Address:
        """Where to dial the node ``name`` (without host) of ``host``.

        With a ``family`` the address is an IP address of that family. Without, it may still be a
        host name, and the carrier tries all of its addresses. Raises :class:`NodeNotFound`.
        """

    async def addresses_please(self, name: str, host: str, family: Family | None = None) -> Sequence[Address]:
        """All places where the node ``name`` of ``host`` may be, the best first, at least one.

        The dialling node tries them in order. Raises :class:`NodeNotFound`.
        """
        return [await self.address_please(name, host, family)]

    @abstractmethod
    async def names(self, host: str) -> list[RegisteredName]:
        """The nodes known on ``host``."""

    async def unregister_node(self, name: str) -> None:
        """Undo :meth:`register_node`; nothing happens if ``name`` is not registered."""
        return

    async def close(self) -> None:
        """Undo every registration and close connections."""
        return

    async def lookup(self, node: Name, family: Family | None = None) -> Address:
        """:meth:`address_please` for a whole node name, ``name@host``."""
        name, _, host = node_name(node).partition("@")
        return await self.address_please(name, host, family)

    async def lookup_all(self, node: Name, family: Family | None = None) -> Sequence[Address]:
        """:meth:`addresses_please` for a whole node name, ``name@host``."""
        name, _, host = node_name(node).partition("@")
        return await self.addresses_please(name, host, family)


class Backend(Protocol):
    """Finds nodes without epmd: the behaviour ``quic_discovery`` of erlang_quic.

    Only :meth:`lookup` must be there; an object without the others will do.
    """

    async def init(self, options: Mapping[str, Any]) -> None:
        """Called once, before anything else, with the options of ``{quic, [{dist, …}]}``."""
        return

    async def register(self, node: str, port: int) -> None:
        """Make ``node`` (``name@host``) findable at ``port``."""
        return

    async def unregister(self, node: str) -> None:
        """Undo :meth:`register`."""
        return

    @abstractmethod
    async def lookup(self, node: str, host: str) -> Address | tuple[str, int] | None:
        """Where ``node`` is (its host name or IP address, its port); None if that is not known."""

    async def lookup_all(self, node: str, host: str) -> Sequence[Address]:
        """All places where ``node`` may be, the best first; none if it is not known."""
        found = await self.lookup(node, host)
        return [] if found is None else [_address(found)]

    async def list_nodes(self, host: str) -> Sequence[tuple[Name, int]]:
        """The nodes known (``name@host``), each with its port; those of other hosts may be there."""
        return ()


class BackendDiscovery(Discovery):
    """Answers a node's questions by asking a :class:`Backend`, as ``quic_epmd`` does.

    ``default_port`` is where a node that the back end does not know is assumed to listen, on the
    host in its name (``quic_epmd`` assumes 4433); None assumes nothing.
    """

    def __init__(
        self,
        backend: Backend,
        options: Mapping[str, Any] | None = None,
        *,
        label: str | None = None,
        default_port: int | None = None,
    ) -> None:
        self.backend = backend
        self.label = label or type(backend).__name__
        self.default_port = default_port
        self._options = dict(options or {})
        self._initialised = False

    async def register_node(self, name: str, port: int, family: Family = "inet") -> int:
        await self._init()
        await self._ask("register", name, port)
        return new_creation()

    async def port_please(self, name: str, host: str) -> int:
        return (await self._find(name, host))[0].port

    async def address_please(self, name: str, host: str, family: Family | None = None) -> Address:
        return (await self.addresses_please(name, host, family))[0]

    async def addresses_please(self, name: str, host: str, family: Family | None = None) -> Sequence[Address]:
        found = await self._find(name, host)
        if family is None:
            return found
        resolved: list[Address] = []
        looked: list[Looked] = []
        for address in found:
            try:
                resolved.extend(await _of_family(address, family))
            except DiscoveryError as error:
                looked.append(Looked(self.label, f"{address}, but {error}"))
        if not resolved:
            raise NodeNotFound(f"{name}@{host}", looked)
        return resolved

    async def names(self, host: str) -> list[RegisteredName]:
        await self._init()
        return [
            RegisteredName(alive_name(node), port)
            for node, port in await self._ask("list_nodes", host) or ()
            if node_name(node).partition("@")[2] in ("", host)
        ]

    async def unregister_node(self, name: str) -> None:
        await self._ask("unregister", name)

    async def _find(self, name: str, host: str) -> Sequence[Address]:
        await self._init()
        node = f"{name}@{host}"
        if hasattr(self.backend, "lookup_all"):
            found = list(await self._ask("lookup_all", node, host))
        else:
            one = await self._ask("lookup", node, host)
            found = [] if one is None else [one]
        if found:
            return list(map(_address, found))
        if self.default_port is not None:
            return [Address(host, self.default_port)]
        raise NodeNotFound(node, [Looked(self.label, "not known there")])

    async def _init(self) -> None:
        if self._initialised:
            return
        self._initialised = True
        try:
            await self._ask("init", self._options)
        except DiscoveryError:
            self._initialised = False
            raise

    async def _ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the back end, if it has it. An exception that is not a :class:`DiscoveryError` is
        raised as one."""
        function = getattr(self.backend, method, None)
        if function is None:
            return None

        async def call() -> Any:
            return await function(*arguments)

        answer, error = await settle(call())
        if error is None:
            return answer
        if isinstance(error, DiscoveryError):
            raise error
        kind = type(error).__qualname__
        raise DiscoveryError(f"{self.label}: {method} raised {kind}: {describe(error)}") from error


def _address(found: Address | tuple[str, int]) -> Address:
    return found if isinstance(found, Address) else Address(*found)


async def _of_family(address: Address, family: Family) -> list[Address]:
    """The IP addresses of that family. Raises :class:`DiscoveryError`."""
    if not address.addresses:
        return await resolve(address.host, address.port, family)
    own = [ip for ip in address.addresses if (":" in ip) == (family == "inet6")]
    if not own:
        raise no_address(address.host, f"there is none for {family}")
    return [Address(ip, address.port) for ip in own]
