"""What a strategy is, and those that need no network: a fixed list, and one of the program that changes."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Protocol

from quicdist.protocol.names import node_name, node_names, parse_node_name
from quicdist.term import Atom
from quicdist.term.names import Name

#: Seconds between two lookups (libcluster's ``polling_interval``).
INTERVAL = 5.0


class Strategy(Protocol):
    """Says which nodes a cluster has. One object serves one node.

    Only :meth:`nodes` must be there. A class of your own derives from this one to get the defaults::

        class Consul(Strategy):
            disconnects = True

            async def nodes(self, own):
                return [f"app@{address}" for address in await addresses_of("app")]
    """

    #: Seconds between the end of one lookup and the next; None looks up once.
    interval: float | None = INTERVAL
    #: Whether a node that an answer no longer lists is disconnected.
    disconnects: bool = False

    @abstractmethod
    async def nodes(self, own: str) -> Iterable[Name]:
        """The names of all nodes that there are now, for the node ``own``, which may be among them.

        An exception means that this is not known: the last answer stays valid, and the lookup is repeated
        with a back-off. :class:`StopAsyncIteration` means that the last answer will not change any more.
        """


class StaticNodes(Strategy):
    """A fixed list of nodes (libcluster's ``Epmd``)::

        StaticNodes("a@10.0.0.1", "b@10.0.0.2")

    Raises :class:`~quicdist.protocol.InvalidNodeName`.
    """

    interval = None

    def __init__(self, *nodes: Name) -> None:
        self._nodes = [str(parse_node_name(node_name(node))) for node in nodes]

    def __repr__(self) -> str:
        return f"StaticNodes({', '.join(map(repr, self._nodes))})"

    async def nodes(self, own: str) -> Iterable[Name]:
        return self._nodes


#: The list of a program: an asynchronous iterable of lists, or a function that returns one.
ChangingList = AsyncIterable[Iterable[Name]] | Callable[[], Iterable[Name] | Awaitable[Iterable[Name]]]


class ChangingNodes(Strategy):
    """A list that the program keeps.

    ``source`` is an asynchronous iterable, of which each item is the list of all nodes from then on, or a
    function or coroutine function without arguments, which is called every ``interval`` seconds and returns
    that list. A node that is no longer listed is disconnected, unless ``disconnect`` is false.

    When the iterable ends, its last list stays valid. Raises :class:`TypeError` for another ``source``, and
    :class:`ValueError` unless ``interval`` is above 0.
    """

    def __init__(self, source: ChangingList, *, interval: float = INTERVAL, disconnect: bool = True) -> None:
        self._source = source
        self._iterator: AsyncIterator[Iterable[Name]] | None = None
        self.disconnects = disconnect
        if isinstance(source, AsyncIterable):
            self._iterator = aiter(source)
            self.interval = 0.0
        elif callable(source):
            self.interval = checked_interval(interval)
        else:
            raise TypeError(
                "expected an asynchronous iterable of lists of node names, or a function that returns such "
                f"a list, got {type(source).__name__}"
            )

    def __repr__(self) -> str:
        name = getattr(self._source, "__qualname__", None) or type(self._source).__qualname__
        return f"ChangingNodes({name})"

    async def nodes(self, own: str) -> Iterable[Name]:
        if self._iterator is not None:
            return await anext(self._iterator)
        assert callable(self._source)
        found = self._source()
        return await found if inspect.isawaitable(found) else found


#: What ``Node(cluster=...)`` accepts.
ClusterSource = Strategy | ChangingList | Iterable[Name | Strategy | ChangingList]


def as_strategies(source: ClusterSource | None) -> tuple[Strategy, ...]:
    """The strategies that ``Node(cluster=...)`` means. Names in a list become one :class:`StaticNodes`."""
    if source is None:
        return ()
    if isinstance(source, str | Atom | bytes):
        raise TypeError(f"expected a list of node names or a strategy, such as cluster=[{source!r}]")
    one = _as_strategy(source)
    if one is not None:
        return (one,)
    if not isinstance(source, Iterable):
        raise TypeError(f"expected a list of node names or a strategy, got {type(source).__name__}")
    names: list[Any] = []
    strategies: list[Strategy] = []
    for entry in source:
        strategy = None if isinstance(entry, str | Atom) else _as_strategy(entry)
        if strategy is None:
            names.append(entry)
        else:
            strategies.append(strategy)
    listed = [StaticNodes(*node_names(names))] if names else []
    return (*listed, *strategies)


def _as_strategy(source: Any) -> Strategy | None:
    if isinstance(source, type):
        raise TypeError(f"expected a strategy, got the class {source.__name__}: write {source.__name__}(...)")
    if callable(getattr(source, "nodes", None)):
        strategy: Strategy = source
        return strategy
    if isinstance(source, AsyncIterable) or callable(source):
        return ChangingNodes(source)
    return None


def checked_interval(interval: float | None) -> float:
    """``interval``, if it is above 0. Raises :class:`ValueError`."""
    if interval is None or not interval > 0:
        raise ValueError(f"interval is {interval!r}: expected seconds above 0")
    return interval
