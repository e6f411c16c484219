"""The nodes that a node stays connected to, for threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from quicdist.cluster import Strategy
from quicdist.errors import QuicDistError
from quicdist.node import Cluster as AsyncCluster
from quicdist.node import ClusterEvent
from quicdist.node import ClusterEvents as AsyncClusterEvents
from quicdist.sync.loop_thread import LoopThread
from quicdist.sync.methods import Facade, blocking, in_loop, in_loop_to, next_of


class ClusterEvents(Facade[AsyncClusterEvents]):
    """The events of a cluster, as an iterator, which ends with the node or :meth:`close`."""

    close = in_loop(AsyncClusterEvents.close)

    @property
    def dropped(self) -> int:
        """How many events a slow reader has missed."""
        return self._inner.dropped

    def __iter__(self) -> Iterator[ClusterEvent]:
        while (event := self._thread.call(next_of, self._inner)) is not None:
            yield event


def _events(thread: LoopThread, events: AsyncClusterEvents) -> ClusterEvents:
    return ClusterEvents(thread, events)


def unsubscriber(thread: LoopThread, unsubscribe: Callable[[], None]) -> Callable[[], None]:
    """The function that ends a subscription, for any thread."""
    return lambda: thread.call(unsubscribe)


class Cluster(Facade[AsyncCluster]):
    """The nodes that a node stays connected to: ``node.cluster``."""

    settled = blocking(AsyncCluster.settled)
    events = in_loop_to(AsyncCluster.events, _events)
    subscribe = in_loop_to(AsyncCluster.subscribe, unsubscriber)

    @property
    def strategies(self) -> Sequence[Strategy]:
        """The strategies, in the order in which they were given."""
        return self._inner.strategies

    @property
    def nodes(self) -> list[str]:
        """The nodes that the strategies list, without this one."""
        return list(self._ask("nodes"))

    @property
    def connected(self) -> list[str]:
        """Those of :attr:`nodes` that are connected."""
        return list(self._ask("connected"))

    @property
    def missing(self) -> dict[str, QuicDistError | None]:
        """Those of :attr:`nodes` that are not connected, each with the error of the last attempt, or None."""
        return dict(self._ask("missing"))

    @property
    def unanswered(self) -> dict[str, BaseException | None]:
        """The strategies, by their names, that have not listed any nodes yet, each with its last error."""
        return dict(self._ask("unanswered"))

    def _ask(self, attribute: str) -> Any:
        return self._thread.call(getattr, self._inner, attribute)
