"""A DNS client on dnspython, which caches answers for their time to live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from quicdist import dependencies

dependencies.check("dnspython")

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver

from quicdist.discovery.dns_cache import TtlCache
from quicdist.discovery.errors import DnsError
from quicdist.discovery.srv import Service

#: Names kept, each with one type.
CACHE_SIZE = 1000
#: The default limit for the time that a name is cached, in seconds.
MAX_TTL = 86400.0
#: The limit for the time that a negative answer is cached, in seconds (RFC 2308, section 5, advises hours).
MAX_NEGATIVE_TTL = 300.0
#: Records of one answer that are used; an answer over TCP can have more.
MAX_RECORDS = 256


class DnsClient:
    """Asks for SRV, A and AAAA records.

    ``nameservers`` are ``(host, port)``; None takes those of this machine (``/etc/resolv.conf``).
    ``timeout`` bounds each question, ``max_ttl`` how long an answer is kept (both seconds),
    ``cache_size`` how many are.
    """

    def __init__(
        self,
        nameservers: Sequence[tuple[str, int]] | None = None,
        *,
        timeout: float = 5.0,
        max_ttl: float | None = None,
        cache_size: int = CACHE_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timeout = timeout
        self._nameservers = nameservers
        self._max_ttl = MAX_TTL if max_ttl is None else max_ttl
        self._cache: TtlCache[tuple[str, str], tuple[str, ...]] = TtlCache(cache_size, clock)
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def services(self, name: str) -> tuple[Service, ...]:
        """The SRV records of ``name``, none if there are none. Raises :class:`DnsError`."""
        return tuple(map(_service, await self._ask(name, "SRV")))

    async def addresses(self, host: str) -> tuple[str, ...]:
        """The IPv6 and the IPv4 addresses of ``host``, none if there are none.

        Both are asked for at once (RFC 8305, section 3). One of them is enough where the other has
        no answer; raises :class:`DnsError` if neither has.
        """
        answers = await asyncio.gather(self._ask(host, "AAAA"), self._ask(host, "A"), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if len(failures) == len(answers) or not isinstance(failure, DnsError):
                raise failure
        return tuple(ip for answer in answers if not isinstance(answer, BaseException) for ip in answer)

    # -- asking ----------------------------------------------------------------------------

    async def _ask(self, name: str, kind: str) -> tuple[str, ...]:
        key = name.lower(), kind
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        records, ttl = await self._query(name, kind)
        self._cache.put(key, records, min(ttl, self._max_ttl))
        return records

    async def _query(self, name: str, kind: str) -> tuple[tuple[str, ...], float]:
        question = f"{name} {kind}"
        try:
            # A name with a dot in it is whole: it is not tried in the domains of this machine.
            whole = dns.name.from_text(name, None if "." not in name else dns.name.root)
            answer = await self._own_resolver().resolve(
                whole,
                kind,
                lifetime=self.timeout,
                search=not whole.is_absolute(),
                raise_on_no_answer=False,
            )
        except dns.resolver.NXDOMAIN as error:
            responses = error.responses()  # type: ignore[no-untyped-call]
            return (), min(map(_negative_ttl, responses.values()), default=0.0)
        except (dns.exception.Timeout, TimeoutError) as error:
            raise DnsError(question, f"no answer within {self.timeout:g} s") from error
        except (dns.exception.DNSException, OSError) as error:
            raise DnsError(question, str(error) or type(error).__name__) from error
        if answer.rrset is None:
            return (), _negative_ttl(answer.response)
        records = tuple(record.to_text() for record in list(answer)[:MAX_RECORDS])
        return records, float(answer.chaining_result.minimum_ttl)

    def _own_resolver(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            resolver = dns.asyncresolver.Resolver(configure=self._nameservers is None)
            if self._nameservers is not None:
                resolver.nameservers = [
                    dns.nameserver.Do53Nameserver(host, port) for host, port in self._nameservers
                ]
            self._resolver = resolver
        return self._resolver


def _service(record: str) -> Service:
    priority, weight, port, target = record.split(" ", 3)
    return Service(int(priority), int(weight), int(port), target.removesuffix("."))


def _negative_ttl(response: dns.message.Message) -> float:
    """How long a negative answer may be cached: by the SOA of the zone (RFC 2308, section 5)."""
    if not isinstance(response, dns.message.QueryMessage) or not response.authority:
        return 0.0
    return min(float(response.resolve_chaining().minimum_ttl), MAX_NEGATIVE_TTL)
