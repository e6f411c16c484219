"""The functions of this node that other nodes may spawn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from quicdist.node.errors import NameRegistered
from quicdist.node.process import Process

#: Starts the work of a spawned process, called with it and its list of arguments. May end the process.
Starter = Callable[[Process, list[Any]], None]
#: Finds the starter of ``module:function/arity``, None if it knows none.
Resolver = Callable[[str, str, int], Starter | None]


class Spawnables:
    """Functions by the Erlang module, function and arity they are spawned as."""

    def __init__(self) -> None:
        self._starters: dict[tuple[str, str, int], Starter] = {}
        self._bodies: dict[tuple[str, str], Callable[..., Any]] = {}
        self._resolvers: list[Resolver] = []
        #: Entered with the process while its body starts.
        self.entering: Callable[[Process], AbstractContextManager[None]] | None = None

    def offer(self, module: str, function: str, arity: int, starter: Starter) -> None:
        """Let other nodes spawn ``module:function/arity``, which ``starter`` begins."""
        self._starters[module, function, arity] = starter

    def offer_body(self, module: str, name: str, function: Callable[..., Any]) -> None:
        """Let other nodes spawn ``module:name`` as a process whose body is ``function``, called
        with the process and the arguments. Raises :class:`NameRegistered` if another is."""
        known = self._bodies.setdefault((module, name), function)
        if known is not function:
            raise NameRegistered(f"{module}:{name} can be spawned already, as {known!r}")

    def ask(self, resolver: Resolver) -> None:
        """Ask ``resolver``, after earlier ones, for functions that were not offered."""
        self._resolvers.append(resolver)

    def find(self, module: str, function: str, arity: int) -> Starter | None:
        """The starter of ``module:function/arity``; None if there is none."""
        starter = self._starters.get((module, function, arity))
        if starter is not None:
            return starter
        body = self._bodies.get((module, function))
        if body is not None and _takes(body, arity + 1):
            return self._body_starter(body)
        for resolver in self._resolvers:
            found = resolver(module, function, arity)
            if found is not None:
                return found
        return None

    def _body_starter(self, function: Callable[..., Any]) -> Starter:
        start = body_starter(function)
        entering = self.entering
        if entering is None:
            return start

        def started(process: Process, arguments: list[Any]) -> None:
            with entering(process):
                start(process, arguments)

        return started


def body_starter(function: Callable[..., Any]) -> Starter:
    """Starts ``function`` as the body of the process: called with the process and the arguments.
    The process ends when it returns, with ``normal``, or when its coroutine does."""

    def start(process: Process, arguments: list[Any]) -> None:
        result = function(process, *arguments)
        if not inspect.isawaitable(result):
            process.stop()
        elif process.alive:
            process.run(result)
        elif inspect.iscoroutine(result):
            result.close()

    return start


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True  # some built-ins have no signature; they raise when called wrongly
    return True
