"""The processes of another node, as ``etop`` sees them.

A node with ``runtime_tools``, and a Python node that exports its introspection, sends them in one message
(``observer_backend:etop_collect/1``). Other nodes are asked for each process (``erlang:process_info/2``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from quicdist import Atom, Pid, RemoteError, format_term
from quicdist.cli.failure import CommandFailed

if TYPE_CHECKING:
    from quicdist import Node, Process

#: Processes that are asked for one by one, and how many at the same time.
MAX_ASKED: Final = 5000
_AT_ONCE: Final = 100

_UNDEF = Atom("undef")
_ITEMS: Final = tuple(
    map(
        Atom,
        (
            *("registered_name", "initial_call", "current_function"),
            *("message_queue_len", "memory", "reductions"),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process. ``name`` is its registered name, or the function it was spawned with; ``reductions`` are
    those since it began, in :func:`since` those since the last look. ``memory`` is in bytes."""

    pid: str
    name: str
    reductions: int
    memory: int
    messages: int
    current: str

    def as_json(self) -> dict[str, Any]:
        return {each: getattr(self, each) for each in self.__slots__}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A node at one time. ``memory`` is in bytes, by kind; ``load`` has the busy and the whole time of each
    scheduler; ``left_out`` are the processes that were too many."""

    node: str
    processes: tuple[ProcessFacts, ...]
    run_queue: int | None = None
    memory: Mapping[str, int] = field(default_factory=dict)
    load: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    left_out: int = 0


class ProcessSource:
    """Asks a node for its processes, again and again; see :func:`process_source`."""

    def __init__(
        self, local: Node, node: str, timeout: float, answers: asyncio.Queue[Any], own: Process
    ) -> None:
        self._local = local
        self._node = node
        self._timeout = timeout
        self._answers = answers
        self._own = own
        self._has_backend = True

    async def look(self) -> Snapshot:
        """The node now. Raises :class:`~quicdist.QuicDistError`, :class:`CommandFailed`."""
        if self._has_backend:
            try:
                return await self._collected()
            except RemoteError as error:
                if error.reason != _UNDEF:
                    raise
                self._has_backend = False
        return await self._asked()

    async def _call(self, module: str, function: str, *arguments: Any) -> Any:
        return await self._local.call(self._node, module, function, arguments, timeout=self._timeout)

    async def _collected(self) -> Snapshot:
        await self._call("observer_backend", "etop_collect", self._own.pid)
        try:
            answer = await asyncio.wait_for(self._answers.get(), self._timeout)
        except TimeoutError:
            raise CommandFailed(
                f"{self._node} sent no processes within {self._timeout:g} s (observer_backend:etop_collect/1)"
            ) from None
        match answer:
            case (Pid(), (_, _, int(), _, load, int(run_queue), _, list(memory), list(found))):
                return Snapshot(
                    self._node,
                    tuple(_facts(*each[1:]) for each in found if isinstance(each, tuple) and len(each) == 8),
                    run_queue,
                    {str(pair[0]): pair[1] for pair in _pairs(memory, int)},
                    _load(load),
                )
        text = format_term(answer)[:200]
        raise CommandFailed(f"{self._node} sent no #etop_info of observer_backend:etop_collect/1 but {text}")

    async def _asked(self) -> Snapshot:
        try:
            pids = await self._call("erlang", "processes")
        except RemoteError as error:
            if error.reason != _UNDEF:
                raise
            raise CommandFailed(
                f"{self._node} does not tell of its processes: a Python node has to call "
                "node.exports.introspection()"
            ) from error
        if not isinstance(pids, list):
            raise CommandFailed(f"{self._node} returned no list of pids for erlang:processes/0")
        gate = asyncio.Semaphore(_AT_ONCE)

        async def ask(pid: Any) -> ProcessFacts | None:
            async with gate:
                found = await self._call("erlang", "process_info", pid, list(_ITEMS))
            return _asked_facts(pid, found)

        facts = await asyncio.gather(*map(ask, pids[:MAX_ASKED]))
        return Snapshot(
            self._node,
            tuple(each for each in facts if each is not None),
            left_out=max(len(pids) - MAX_ASKED, 0),
        )


@asynccontextmanager
async def process_source(local: Node, node: str, timeout: float) -> AsyncIterator[ProcessSource]:
    """A source of the processes of ``node``, seen by ``local``, which is running."""
    answers: asyncio.Queue[Any] = asyncio.Queue(maxsize=2)

    def take(process: Process, message: Any) -> None:
        if not answers.full():  # the answer to a look that was given up
            answers.put_nowait(message)

    own = local.spawn(take)
    yield ProcessSource(local, node, timeout, answers, own)


def since(now: Snapshot, before: Snapshot | None) -> Snapshot:
    """``now`` with the reductions of each process since ``before``."""
    if before is None:
        return now
    old = {each.pid: each.reductions for each in before.processes}
    return replace(
        now,
        processes=tuple(
            replace(each, reductions=each.reductions - old.get(each.pid, 0)) for each in now.processes
        ),
    )


def busy(now: Snapshot, before: Snapshot | None) -> float | None:
    """The part of the time that the schedulers were busy since ``before``, 0 to 1."""
    if before is None:
        return None
    active = total = 0
    for number, (is_active, is_total) in now.load.items():
        was_active, was_total = before.load.get(number, (is_active, is_total))
        active += is_active - was_active
        total += is_total - was_total
    return active / total if total > 0 else None


#: The keys by which processes are sorted; the largest first, names in order.
SORT_KEYS: Final = ("reductions", "memory", "messages", "name", "pid")


def ordered(processes: Iterable[ProcessFacts], key: str) -> list[ProcessFacts]:
    """The processes by one of :data:`SORT_KEYS`; where that is equal, by memory."""
    if key == "pid":
        return sorted(processes, key=lambda each: [int(part) for part in each.pid.strip("<>").split(".")])
    if key == "name":
        return sorted(processes, key=lambda each: each.name)
    return sorted(processes, key=lambda each: (getattr(each, key), each.memory), reverse=True)


# -- from terms, which another node chose ------------------------------------------------------


def _facts(
    pid: Any, memory: Any, reductions: Any, name: Any, _: Any, current: Any, messages: Any
) -> ProcessFacts:
    """Of ``#etop_proc_info{pid, mem, reds, name, runtime, cf, mq}``."""
    return ProcessFacts(
        format_term(pid), _text(name), _count(reductions), _count(memory), _count(messages), _text(current)
    )


def _asked_facts(pid: Any, found: Any) -> ProcessFacts | None:
    """Of the answer of ``process_info/2``; None for a process that has ended."""
    if not isinstance(found, list):
        return None
    items = {str(pair[0]): pair[1] for pair in _pairs(found, object)}
    name = items.get("registered_name") or items.get("initial_call")
    return ProcessFacts(
        format_term(pid),
        _text(name),
        _count(items.get("reductions")),
        _count(items.get("memory")),
        _count(items.get("message_queue_len")),
        _text(items.get("current_function")),
    )


def _text(term: Any) -> str:
    match term:
        case (Atom() as module, Atom() as function, int() as arity):
            return f"{format_term(module)}:{format_term(function)}/{arity}"
        case Atom():
            return str(term)
        case None:
            return ""
    return format_term(term)[:100]


def _count(term: Any) -> int:
    return term if type(term) is int else 0


def _pairs(terms: Iterable[Any], kind: type) -> list[tuple[Any, Any]]:
    return [
        each
        for each in terms
        if isinstance(each, tuple)
        and len(each) == 2
        and isinstance(each[0], Atom)
        and isinstance(each[1], kind)
    ]


def _load(term: Any) -> dict[int, tuple[int, int]]:
    found = {}
    for each in term if isinstance(term, list) else ():
        match each:
            case (int(number), int(active), int(total)):
                found[number] = (active, total)
    return found
