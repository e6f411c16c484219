"""Nodes by DNS records, such as those of a headless service of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from quicdist.cluster.strategy import INTERVAL, Strategy, checked_interval
from quicdist.term.names import Name

if TYPE_CHECKING:
    from quicdist.discovery import DnsClient


class _DnsStrategy(Strategy):
    """The parts that the two strategies by DNS share."""

    disconnects = True

    def __init__(
        self,
        query: str,
        basename: str,
        *,
        interval: float = INTERVAL,
        disconnect: bool = True,
        nameservers: Sequence[tuple[str, int]] | None = None,
        timeout: float = 5.0,
    ) -> None:
        if not query or not basename or "@" in basename:
            raise ValueError(
                f"{type(self).__name__}({query!r}, {basename!r}): expected a name in the DNS, and the part "
                "of the nodes' names before the @"
            )
        self.query = query.rstrip(".")
        self.basename = basename
        self.interval = checked_interval(interval)
        self.disconnects = disconnect
        self._nameservers = nameservers
        self._timeout = timeout
        self._client: DnsClient | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.query!r}, {self.basename!r})"

    def _dns(self) -> DnsClient:
        if self._client is None:
            # Imported here, because dnspython takes a while to load.
            from quicdist.discovery import DnsClient

            # Every lookup asks: what may be cached is the business of the servers asked.
            self._client = DnsClient(self._nameservers, timeout=self._timeout, max_ttl=0.0)
        return self._client


class DnsPoll(_DnsStrategy):
    """A node ``basename@address`` for each A and AAAA record of ``query`` (libcluster's ``DNSPoll`` and
    ``Kubernetes.DNS``)::

        DnsPoll("app-headless.default.svc.cluster.local", "app")  # app@10.1.0.95, app@10.1.0.96

    It is asked every ``interval`` seconds, of ``nameservers`` (``(host, port)``; by default those of
    ``/etc/resolv.conf``), with ``timeout`` seconds for each question. A name with a dot in it is complete: no
    search domain is added. A node whose address is no longer there is disconnected, unless ``disconnect`` is
    false. A question that fails changes nothing; an answer without records lists no node.
    """

    async def nodes(self, own: str) -> Iterable[Name]:
        return [f"{self.basename}@{address}" for address in await self._dns().addresses(self.query)]


class DnsSrv(_DnsStrategy):
    """A node ``basename@target`` for each SRV record of ``query`` (libcluster's ``Kubernetes.DNSSRV``)::

        DnsSrv("app-headless.default.svc.cluster.local", "app")
        # app@app-0.app-headless.default.svc.cluster.local, ...

    The port in the records is not used: discovery finds the port. The parameters are those of
    :class:`DnsPoll`.
    """

    async def nodes(self, own: str) -> Iterable[Name]:
        services = await self._dns().services(self.query)
        return sorted({f"{self.basename}@{service.target}" for service in services if service.target})
