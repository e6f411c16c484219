"""Nodes by the epmds of hosts (libcluster's ``LocalEpmd`` and ``ErlangHosts``)."""

from __future__ import annotations

import asyncio
import fnmatch
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from quicdist.cluster.hosts_file import read_hosts_file
from quicdist.cluster.strategy import INTERVAL, Strategy, checked_interval
from quicdist.discovery import DiscoveryError, EpmdDiscovery, RegisteredName
from quicdist.logs import RateLimit, get_logger
from quicdist.term.names import Name

log = get_logger("quicdist.cluster")

_LOOPBACK = "127.0.0.1"


class EpmdHosts(Strategy):
    """All nodes that the epmds of ``hosts`` know: the name ``a`` at the epmd of ``host1`` is ``a@host1``::

        EpmdHosts(["host1", "host2"])
        EpmdHosts(["host1"], pattern="app*")

    ``hosts`` are written as in the names of the nodes. ``pattern`` selects names before the ``@``, with
    ``*`` and ``?`` (:mod:`fnmatch`). ``port`` is epmd's, by default ``$ERL_EPMD_PORT`` or 4369. ``interval``
    is the seconds between two lookups; None looks up once. ``timeout`` (seconds) bounds each question.

    A host without an answer lists nothing; the lookup fails where no host answers. A node that its epmd no
    longer knows is not dialled any more, and stays connected: a restarted epmd knows no names for a while.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        *,
        pattern: str = "*",
        port: int | None = None,
        interval: float | None = INTERVAL,
        timeout: float = 10.0,
    ) -> None:
        if isinstance(hosts, str | bytes):
            raise TypeError(f"expected a list of hosts, such as [{hosts!r}]")
        self.hosts = tuple(hosts)
        self.interval = None if interval is None else checked_interval(interval)
        self._pattern = pattern
        self._epmd = EpmdDiscovery(port=port, timeout=timeout)
        self._failures = RateLimit()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.hosts)!r})"

    async def nodes(self, own: str) -> Iterable[Name]:
        return await self._names_of({host: host for host in self.hosts})

    async def _names_of(self, hosts: dict[str, str]) -> Sequence[Name]:
        """The nodes of several epmds: each host in a node's name, and the host whose epmd is asked for it."""
        answers = await asyncio.gather(*map(self._names, hosts.values()))
        failures = [answer for answer in answers if isinstance(answer, DiscoveryError)]
        if failures and len(failures) == len(answers):
            raise failures[0]
        for failure in failures:
            note = self._failures.admit(str(failure))
            if note is not None:
                log.warning("%s%s", failure, note)
        return [
            f"{entry.name}@{host}"
            for host, answer in zip(hosts, answers, strict=True)
            if not isinstance(answer, DiscoveryError)
            for entry in answer
            if fnmatch.fnmatchcase(entry.name, self._pattern)
        ]

    async def _names(self, host: str) -> list[RegisteredName] | DiscoveryError:
        try:
            return await self._epmd.names(host)
        except DiscoveryError as error:
            return error


class LocalEpmd(EpmdHosts):
    """All nodes that the epmd of this machine knows, with the host of this node's name (libcluster's
    ``LocalEpmd``, which looks up once). The parameters are those of :class:`EpmdHosts`."""

    def __init__(
        self,
        *,
        pattern: str = "*",
        port: int | None = None,
        interval: float | None = INTERVAL,
        timeout: float = 10.0,
    ) -> None:
        super().__init__((), pattern=pattern, port=port, interval=interval, timeout=timeout)

    def __repr__(self) -> str:
        return "LocalEpmd()"

    async def nodes(self, own: str) -> Iterable[Name]:
        return await self._names_of({own.partition("@")[2]: _LOOPBACK})


class ErlangHosts(EpmdHosts):
    """All nodes that the epmds of the hosts in the file ``.hosts.erlang`` know (libcluster's
    ``ErlangHosts``, ``net_adm:world/0``).

    The file holds atoms, each with a full stop after it. Without a ``path`` it is looked for in the current
    directory, the home directory, and ``$ROOTDIR``, the root of OTP, in that order
    (``net_adm:host_file/0``). It is read again at each lookup, which fails without it. The other parameters
    are those of :class:`EpmdHosts`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        pattern: str = "*",
        port: int | None = None,
        interval: float | None = INTERVAL,
        timeout: float = 10.0,
    ) -> None:
        super().__init__((), pattern=pattern, port=port, interval=interval, timeout=timeout)
        self._path = None if path is None else Path(path)

    def __repr__(self) -> str:
        return "ErlangHosts()" if self._path is None else f"ErlangHosts({str(self._path)!r})"

    async def nodes(self, own: str) -> Iterable[Name]:
        self.hosts = tuple(await asyncio.to_thread(read_hosts_file, self._path))
        return await super().nodes(own)
