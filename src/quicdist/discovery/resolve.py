"""Host names to IP addresses, by the event loop's resolver."""

from __future__ import annotations

import socket
from typing import Literal

from quicdist.carrier import Address
from quicdist.carrier.event_loops import getaddrinfo
from quicdist.discovery.errors import DiscoveryError

_FAMILIES = {None: socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}


async def resolve(host: str, port: int, family: Literal["inet", "inet6"] | None = None) -> list[Address]:
    """The addresses of ``host`` in the resolver's order, at least one.

    Raises :class:`DiscoveryError`.
    """
    try:
        found = await getaddrinfo(host, port, family=_FAMILIES[family], kind=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot hold
        kind = f" ({family})" if family else ""
        raise no_address(host, f"{error.args[-1] if error.args else error}{kind}") from error
    return list(dict.fromkeys(Address(str(where[0]), port) for *_, where in found))


def no_address(host: str, reason: str) -> DiscoveryError:
    return DiscoveryError(f"host {host} has no address: {reason}")
