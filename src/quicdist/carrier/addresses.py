"""Addresses of nodes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


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
