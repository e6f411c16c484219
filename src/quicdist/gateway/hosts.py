"""The loopback addresses of remote hosts, one for each.

The local BEAM has to resolve a remote host to the address of the gateway, and the address has to say which
host is meant. Linux accepts all of 127.0.0.0/8; on macOS and the BSDs each address has to be added to the
loopback interface first.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from quicdist.gateway.errors import GatewayError

#: The address of the local node and its epmd.
LOCAL = "127.0.0.1"
#: The first address that is given to a remote host.
_FIRST = ipaddress.IPv4Address("127.0.0.2")
#: Remote hosts, at most.
MAX_HOSTS = 4096


class RemoteHosts:
    """Remote hosts and their loopback addresses. ``hosts`` maps names of hosts to an address, or to None for
    the next one that is free, from 127.0.0.2 on in the order given. A host whose name is a loopback address
    has that address.

    Raises :class:`GatewayError` for an address that is not a loopback address or is given twice.
    """

    def __init__(self, hosts: Mapping[str, str | None]) -> None:
        if len(hosts) > MAX_HOSTS:
            raise GatewayError(f"{len(hosts)} remote hosts; {MAX_HOSTS} is the most")
        self._addresses: dict[str, str] = {}
        taken: dict[str, str] = {}
        for host, address in hosts.items():
            chosen = address or (host if _is_loopback(host) else None)
            if chosen is not None:
                self._take(host, _checked(host, chosen), taken)
        free = (str(_FIRST + step) for step in range(MAX_HOSTS * 2))
        for host in hosts:
            if host not in self._addresses:
                self._take(host, next(each for each in free if each not in taken), taken)

    def _take(self, host: str, address: str, taken: dict[str, str]) -> None:
        if address in taken:
            raise GatewayError(f"{host} and {taken[address]} have the same address, {address}")
        taken[address] = host
        self._addresses[host] = address

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Each host with its address."""
        return iter(self._addresses.items())

    def __len__(self) -> int:
        return len(self._addresses)

    @property
    def addresses(self) -> frozenset[str]:
        """The addresses of all remote hosts."""
        return frozenset(self._addresses.values())

    def inetrc(self, own: str) -> str:
        """The file for ``ERL_INETRC``, by which a BEAM, and no other program, resolves the remote hosts to
        these addresses, and ``own``, the host of the local node, to 127.0.0.1 (ERTS User's Guide, *Inet
        Configuration*)."""
        lines = [
            "%% Written by quicdist gateway: the loopback address of each host.",
            *(
                f"{{host, {{{address.replace('.', ',')}}}, [{_erlang_string(host)}]}}."
                for host, address in ((own, LOCAL), *self)
                if not _is_address(host)
            ),
            "{lookup, [file, native]}.",
        ]
        return "\n".join(lines) + "\n"


def hosts_of(nodes: Iterable[str], own: str) -> dict[str, str | None]:
    """The hosts in the names of ``nodes``, without ``own``, the host of the local node."""
    return {host: None for host in (node.partition("@")[2] for node in nodes) if host and host != own}


def _erlang_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _checked(host: str, address: str) -> str:
    if not _is_loopback(address) or address == LOCAL:
        raise GatewayError(
            f"the address of {host} is {address}; it must be in 127.0.0.0/8 and not {LOCAL}, the local node's"
        )
    return address
