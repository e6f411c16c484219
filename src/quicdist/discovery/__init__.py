"""Discovery: finds the addresses of nodes, and registers this node's name."""

from typing import TYPE_CHECKING

from quicdist.discovery.chain import ChainDiscovery
from quicdist.discovery.contract import (
    Backend,
    BackendDiscovery,
    Discovery,
    Family,
    RegisteredName,
    alive_name,
    new_creation,
)
from quicdist.discovery.dns import DnsBackend, DnsDiscovery
from quicdist.discovery.epmd import EpmdDiscovery
from quicdist.discovery.errors import (
    DiscoveryError,
    DnsError,
    EpmdError,
    EpmdTimeout,
    EpmdUnreachable,
    Looked,
    NodeNameTaken,
    NodeNotFound,
)
from quicdist.discovery.resolve import resolve
from quicdist.discovery.static import StaticDiscovery, StaticTable

if TYPE_CHECKING:
    from quicdist.discovery.dns_client import DnsClient
else:
    from quicdist.lazy import lazy_names

    # It loads dnspython.
    __getattr__, __dir__ = lazy_names(__name__, {"quicdist.discovery.dns_client": "DnsClient"})

__all__ = [
    "Backend",
    "BackendDiscovery",
    "ChainDiscovery",
    "Discovery",
    "DiscoveryError",
    "DnsBackend",
    "DnsClient",
    "DnsDiscovery",
    "DnsError",
    "EpmdDiscovery",
    "EpmdError",
    "EpmdTimeout",
    "EpmdUnreachable",
    "Family",
    "Looked",
    "NodeNameTaken",
    "NodeNotFound",
    "RegisteredName",
    "StaticDiscovery",
    "StaticTable",
    "alive_name",
    "new_creation",
    "resolve",
]
