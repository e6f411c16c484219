"""Addresses of nodes, and the sources that limits apply to."""

from __future__ import annotations

import dataclasses
import socket
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node can be reached: a host name or IP address, and a port.

    ``addresses`` are the IP addresses of ``host`` where they are known already: a carrier then tries
    these and asks no resolver.
    """

    host: str
    port: int
    addresses: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class NetAddress:
    """OTP's ``#net_address{}``: where a carrier listens, and how.

    ``protocol`` is the carrier's family (``"quic"``, ``"tcp"``), ``family`` OTP's address family
    (``"inet"``, ``"inet6"``). ``port`` is 0 where it is not known yet.
    """

    host: str
    port: int
    protocol: str
    family: str = "inet"

    def __str__(self) -> str:
        return f"{self.protocol} {Address(self.host, self.port)}"


#: A source: what limits for unauthenticated peers apply to. An IPv4 address or an IPv6 /64, which is the
#: least that one host is assigned (RFC 6177; RFC 4291, section 2.5.1), as 4 or 8 bytes.
Source = bytes

#: The prefix of IPv4-mapped IPv6 addresses, ``::ffff:0:0/96`` (RFC 4291, section 2.5.5.2).
_MAPPED: Final = bytes(10) + b"\xff\xff"
_PREFIX: Final = 8


def source_of(host: str) -> Source:
    """The source of an IP address in text, with or without a scope id. IPv4 in IPv6 is IPv4."""
    try:
        if ":" not in host:
            return socket.inet_aton(host)
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return host.encode()[:_PREFIX]
    return packed[12:] if packed.startswith(_MAPPED) else packed[:_PREFIX]
