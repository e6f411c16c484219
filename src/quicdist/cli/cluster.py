"""What ``quicdist nodes`` looks up and prints."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from quicdist.cli.unreachable import explain
from quicdist.containment import describe
from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist import Node
    from quicdist.cluster import Strategy


def strategies(
    listed: Sequence[str], hosts: Sequence[str], dns: Sequence[str], srv: Sequence[str]
) -> list[Strategy]:
    """The strategies by the options of the command. Raises :class:`click.UsageError`."""
    from quicdist.cluster import DnsPoll, DnsSrv, EpmdHosts, StaticNodes

    found: list[Strategy] = []
    if listed:
        found.append(StaticNodes(*listed))
    if hosts:
        found.append(EpmdHosts(hosts))
    for option, kind, given in (("--dns", DnsPoll, dns), ("--srv", DnsSrv, srv)):
        for text in given:
            basename, at, query = text.partition("@")
            if not (basename and at and query):
                raise click.BadParameter(f"{text!r} is not of the form NAME@QUERY", param_hint=option)
            found.append(kind(query, basename))
    return found


async def look(node: Node, timeout: float) -> tuple[list[tuple[str, str]], bool]:
    """Start a node, and wait until each node of its cluster is connected or could not be reached. Returns a
    line for each of them and for each strategy without an answer, in two parts, and whether all is well."""
    async with node:
        cluster = node.cluster
        events = cluster.events()
        settled = asyncio.ensure_future(cluster.settled())

        async def tried() -> None:
            while not all([*cluster.missing.values(), *cluster.unanswered.values()]):
                await anext(events)

        tasks = {settled, asyncio.ensure_future(tried())}
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        missing, unanswered = cluster.missing, cluster.unanswered
        await asyncio.gather(
            *(explain(error, node) for error in missing.values() if isinstance(error, QuicDistError))
        )
        lines = [(name, "up") for name in cluster.connected]
        lines += [(name, f"down: {_why(error, timeout)}") for name, error in missing.items()]
        lines.sort()
        lines += [(name, f"no answer: {_why(error, timeout)}") for name, error in unanswered.items()]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return lines, not missing and not unanswered


def _why(error: BaseException | None, timeout: float) -> str:
    if error is None:
        return f"nothing within {timeout:g} s"
    return describe(error) + "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
