"""Discovery by DNS SRV records, as ``quic_discovery_dns`` does it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from quicdist.carrier import Address
from quicdist.carrier.quic import DEFAULT_PORT
from quicdist.discovery.contract import Backend, BackendDiscovery
from quicdist.discovery.errors import DnsError, Looked, NodeNotFound
from quicdist.discovery.srv import Chance, Service, in_order
from quicdist.logs import get_logger

if TYPE_CHECKING:
    from quicdist.discovery.dns_client import DnsClient

logger = get_logger("quicdist.discovery.dns")

#: ``quic_discovery_dns``'s service, before the host and the domain.
SERVICE = "_erlang-dist._quic"
#: The default domain of ``quic_discovery_dns``.
DEFAULT_DOMAIN = "local"
#: Targets of one node that are looked up and dialled.
MAX_TARGETS = 8

T = TypeVar("T")


class DnsBackend(Backend):
    """Asks for ``_erlang-dist._quic.<host>.<domain>``, and failing that for the host itself.

    Queries for ``a@host``, in order, until one has an answer:

    1. SRV of ``_erlang-dist._quic.host.domain``, as ``quic_discovery_dns`` asks. All records count,
       in the order of RFC 2782.
    2. SRV of ``_erlang-dist._quic.domain``, which its documentation names but which it does not
       query: one list for the whole cluster. Those records count that name the node's host.
    3. AAAA and A of ``host``, with ``default_port``. What the DNS does not know is left to the
       carrier, and so to this machine's resolver, which reads ``/etc/hosts``.
    """

    def __init__(
        self,
        domain: str = DEFAULT_DOMAIN,
        client: DnsClient | None = None,
        *,
        default_port: int = DEFAULT_PORT,
        chance: Chance | None = None,
    ) -> None:
        self.domain = domain.strip(".")
        self.client = client or _client()
        self.default_port = default_port
        self._chance = chance

    async def lookup(self, node: str, host: str) -> Address | None:
        return next(iter(await self.lookup_all(node, host)), None)

    async def lookup_all(self, node: str, host: str) -> Sequence[Address]:
        """Raises :class:`NodeNotFound` if the DNS says that there is no such service."""
        own = f"{SERVICE}.{host}.{self.domain}"
        services = await self._if_answered(self.client.services, own)
        if [service.target for service in services] == [""]:  # RFC 2782, Target: a lone "."
            raise NodeNotFound(node, [Looked(own, "the service is not available there (target is '.')")])
        if not services:
            listed = await self._if_answered(self.client.services, f"{SERVICE}.{self.domain}")
            services = tuple(one for one in listed if self._is_host_of(one, node, host))
        if not services:
            return [await self._located(host, self.default_port)]
        best = in_order(services, self._chance)[:MAX_TARGETS]
        return await asyncio.gather(*(self._located(service.target, service.port) for service in best))

    async def list_nodes(self, host: str) -> Sequence[tuple[str, int]]:
        """The nodes of the whole domain: of the target ``a.host.example.com``, ``a@host.example.com``.

        ``quic_discovery_dns`` asks for the SRV records of the bare domain; they count too where
        those of the documentation are not there. Raises :class:`DnsError`.
        """
        services = await self.client.services(f"{SERVICE}.{self.domain}")
        services = services or await self.client.services(self.domain)
        return [(_node_of(service.target), service.port) for service in sorted(services)]

    def _is_host_of(self, service: Service, node: str, host: str) -> bool:
        target = service.target.lower()
        return target in (host.lower(), f"{host}.{self.domain}".lower(), node.replace("@", ".").lower())

    async def _located(self, host: str, port: int) -> Address:
        if _is_ip(host):
            return Address(host, port)
        return Address(host, port, await self._if_answered(self.client.addresses, host))

    async def _if_answered(self, ask: Callable[[str], Awaitable[tuple[T, ...]]], name: str) -> tuple[T, ...]:
        """The answer to a query. A query that fails is logged and gives nothing, so that the next one is
        tried, as in ``quic_discovery_dns``."""
        try:
            return await ask(name)
        except DnsError as error:
            logger.warning("%s", error)
            return ()


class DnsDiscovery(BackendDiscovery):
    """Discovery by a :class:`DnsBackend`: ``DnsDiscovery("cluster.example.com")``.

    ``nameservers`` are ``(host, port)``, by default this machine's. ``timeout`` (seconds) bounds each
    question; an answer is kept for its time to live, and for ``max_ttl`` seconds at most. Nothing is
    registered: the owner of a zone maintains its records.
    """

    def __init__(
        self,
        domain: str = DEFAULT_DOMAIN,
        *,
        nameservers: Sequence[tuple[str, int]] | None = None,
        default_port: int = DEFAULT_PORT,
        timeout: float = 5.0,
        max_ttl: float | None = None,
    ) -> None:
        client = _client(nameservers, timeout=timeout, max_ttl=max_ttl)
        self.dns = DnsBackend(domain, client, default_port=default_port)
        super().__init__(self.dns, label=f"DNS, domain {self.dns.domain}")


def _client(*args: Any, **options: Any) -> DnsClient:
    # Most nodes ask no DNS, and dnspython takes a while to load.
    from quicdist.discovery.dns_client import DnsClient

    return DnsClient(*args, **options)


def _node_of(target: str) -> str:
    name, _, host = target.partition(".")
    return f"{name}@{host}" if host else target


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
