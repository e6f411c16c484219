"""``node.exports``: what other nodes may call and spawn on a node, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from quicdist.node.runtime import Runtime
from quicdist.node.spawnables import Spawnables
from quicdist.otp.child_start import start_link_export
from quicdist.otp.exports import Exports
from quicdist.otp.introspection import Introspection
from quicdist.otp.server_names import GlobalOrVia
from quicdist.term.names import FUNCTION, MODULE, Name, name_of

F = TypeVar("F", bound=Callable[..., Any])


class NodeExports(Exports):
    """What other nodes may call and spawn on a node, by Erlang module and function.

    - :meth:`add`, :meth:`add_namespace` and the decorator ``@node.export``: functions that others call
      by ``rpc`` and ``erpc``, or spawn.
    - :meth:`process`: bodies of processes that others spawn.
    - :meth:`child`: processes and servers that supervisors of other nodes start.
    - :meth:`introspection`: ``erlang:process_info`` and what else the observer asks for.
    """

    def __init__(
        self, spawnables: Spawnables, runtime: Callable[[], Runtime], introspection: Introspection
    ) -> None:
        super().__init__()
        self._spawnables = spawnables
        self._runtime = runtime
        self._introspection = introspection

    def process(self, module: Name, function: Name | None = None) -> Callable[[F], F]:
        """Decorator: let other nodes spawn a function as ``module:function`` (by default its own
        name), ``spawn(Node, Module, Function, Args)`` in Erlang.

        It is the body of the new process, called with the process and ``Args``: a coroutine
        function, or one that is over when it returns. Raises :class:`NameRegistered` where another
        body has that name.
        """

        def exported(body: F) -> F:
            name = name_of(function or body.__name__, FUNCTION)
            self._spawnables.offer_body(name_of(module, MODULE), name, body)
            return body

        return exported

    def child(
        self, module: Name, function: Name | None = None, *, name: Name | GlobalOrVia | None = None
    ) -> Callable[[F], F]:
        """Decorator: let supervisors of other nodes start a :class:`GenServer` class, a function
        that gives one, or a coroutine function as the body of a process.

        Called as ``module:function`` by ``rpc`` or ``erpc`` it starts one, with the arguments
        given, linked to the process that calls, and answers ``{ok, Pid}`` as ``start_link`` does.
        ``name`` registers it. Raises :class:`NameRegistered` where another function is exported so.
        """

        def exported(factory: F) -> F:
            self.add(module, function or factory.__name__, start_link_export(self._runtime, factory, name))
            return factory

        return exported

    def introspection(self) -> None:
        """Let other nodes look at this one's processes: ``erlang:process_info``, ``processes``,
        ``whereis`` and their kin, as ``rpc:pinfo/1`` and the observer ask for them."""
        self._introspection.export(self)
