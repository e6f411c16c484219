"""Counts connections made, lost and refused. Nothing here is called for a message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields

from quicdist.carrier import AcceptError, Link, LinkStats
from quicdist.errors import QuicDistError

#: The reason of a connection that this node has closed.
CLOSED = "Closed"


def reason_of(error: BaseException | None) -> str:
    """The name of an error's class, or of its :class:`~quicdist.carrier.Refusal` (``Certificate``)."""
    if error is None:
        return CLOSED
    if isinstance(error, AcceptError) and error.refusal is not None:
        return error.refusal.name.capitalize()
    return type(error).__name__


class ConnectionCounters:
    """The counters of one node, by carrier and reason. They never decrease."""

    def __init__(self) -> None:
        #: Links made, by carrier.
        self.made: Counter[str] = Counter()
        #: Links that have ended, by carrier and reason.
        self.lost: Counter[tuple[str, str]] = Counter()
        #: Dials that failed, by carrier and reason.
        self.dials_failed: Counter[tuple[str, str]] = Counter()
        #: Incoming connections that did not become links, by carrier and reason.
        self.refused: Counter[tuple[str, str]] = Counter()
        #: Signals that were dropped because their node could not be connected in time.
        self.signals_dropped = 0
        #: The sums of the statistics of links that have ended, by carrier.
        self._ended: dict[str, LinkStats] = {}

    def link_made(self, link: Link) -> None:
        self.made[link.carrier_name] += 1

    def link_lost(self, link: Link, error: QuicDistError | None) -> None:
        self.lost[link.carrier_name, reason_of(error)] += 1
        _add(self._ended.setdefault(link.carrier_name, LinkStats()), link.stats)

    def totals(self, links: Iterable[Link]) -> dict[str, LinkStats]:
        """The sums of the statistics of all links there were, by carrier; ``links`` are those that are up."""
        totals = {carrier: stats.copy() for carrier, stats in self._ended.items()}
        for link in links:
            _add(totals.setdefault(link.carrier_name, LinkStats()), link.stats)
        return totals


def _add(to: LinkStats, more: LinkStats) -> None:
    for field in fields(LinkStats):
        setattr(to, field.name, getattr(to, field.name) + getattr(more, field.name))
