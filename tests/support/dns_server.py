"""A DNS server in the event loop of the test, which records its queries."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

#: The SOA record of negative answers: they may be cached for 60 seconds.
_SOA = "ns.test. admin.test. 1 3600 600 86400 60"


@dataclass
class DnsServer:
    """``records`` are lines of a zone file, ``name TTL type value``; they may be changed at any time."""

    records: list[str] = field(default_factory=list)
    #: ``name type`` of every query, in order.
    asked: list[str] = field(default_factory=list)
    #: Names without any answer, and names whose answer is a server failure.
    silent: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    address: tuple[str, int] = ("", 0)

    def asked_since(self) -> list[str]:
        """The queries since the last call."""
        asked, self.asked = self.asked, []
        return asked

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        self.asked.append(f"{name} {dns.rdatatype.to_text(question.rdtype)}")
        if name in self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA | dns.flags.AA
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
            return response.to_wire()
        owners = {dns.name.from_text(line.split(" ")[0]) for line in self.records}
        wanted: dns.name.Name | None = question.name
        while wanted is not None:
            wanted = self._add(response, wanted, question.rdtype)
        if not response.answer:
            if not any(own.is_subdomain(question.name) for own in owners):
                response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority.append(dns.rrset.from_text("test.", 3600, "IN", "SOA", _SOA))
        return response.to_wire()

    def _add(
        self, response: dns.message.Message, name: dns.name.Name, wanted: dns.rdatatype.RdataType
    ) -> dns.name.Name | None:
        """Add the records of ``name``; return the target of its CNAME, if any."""
        alias = None
        for line in self.records:
            owner, ttl, type_text, value = line.split(" ", 3)
            kind = dns.rdatatype.from_text(type_text)
            if dns.name.from_text(owner) == name and kind in (wanted, dns.rdatatype.CNAME):
                section = response.find_rrset(response.answer, name, dns.rdataclass.IN, kind, create=True)
                for record in dns.rrset.from_text(name, int(ttl), "IN", kind, value):
                    section.add(record, int(ttl))
                if kind == dns.rdatatype.CNAME:
                    alias = dns.name.from_text(value)
        return alias


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.server.answer(data)
        if answer is not None:
            self.transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def dns_server(*records: str) -> AsyncIterator[DnsServer]:
    """A server of ``records`` on a UDP port of 127.0.0.1, until the end of the block."""
    server = DnsServer(list(records))
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(server), ("127.0.0.1", 0))
    server.address = transport.get_extra_info("sockname")
    try:
        yield server
    finally:
        transport.close()
