"""``node.exports``: the functions and processes that other nodes may call and spawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from quicdist.node.local_node import LocalNode
from quicdist.otp.child_start import start_link_export
from quicdist.otp.exports import Exports
from quicdist.otp.net_kernel import NetKernel
from quicdist.otp.server_names import GlobalOrVia
from quicdist.otp.sys_client import SysClient
from quicdist.term.names import FUNCTION, MODULE, Name, name_of

F = TypeVar("F", bound=Callable[..., Any])


class NodeExports(Exports):
    """Functions and processes that other nodes may call and spawn, by Erlang module and function.

    - :meth:`add`, :meth:`add_namespace` and the decorator ``@node.export``: functions that others call
      by ``rpc`` and ``erpc``, or spawn.
    - :meth:`process`: bodies of processes that others spawn.
    - :meth:`child`: processes and servers that supervisors of other nodes start.
    - :meth:`introspection`: what the observer, ``etop`` and similar tools call.
    """

    def __init__(
        self, node: LocalNode, net_kernel: Callable[[], NetKernel], sys: Callable[[], SysClient]
    ) -> None:
        super().__init__()
        self._node = node
        self._net_kernel = net_kernel
        self._sys = sys
        self._shows_itself = False

    def process(self, module: Name, function: Name | None = None) -> Callable[[F], F]:
        """Decorator: let other nodes spawn a function as ``module:function`` (by default its own
        name), ``spawn(Node, Module, Function, Args)`` in Erlang.

        The function is called with the new process and ``Args``. If it is a coroutine function it is the
        body of the process; the process of a plain function ends when it returns. Raises
        :class:`NameRegistered` where another function has that name.
        """

        def exported(body: F) -> F:
            name = name_of(function or body.__name__, FUNCTION)
            self._node.spawnables.offer_body(name_of(module, MODULE), name, body)
            return body

        return exported

    def child(
        self, module: Name, function: Name | None = None, *, name: Name | GlobalOrVia | None = None
    ) -> Callable[[F], F]:
        """Decorator: let supervisors of other nodes start a class of servers (:class:`GenServer`,
        :class:`GenStatem`, :class:`GenEvent`), a function that returns a server, or a coroutine function
        as the body of a process.

        A call of ``module:function`` by ``rpc`` or ``erpc`` starts it with the arguments of the call,
        linked to the caller and registered under ``name``, and returns ``{ok, Pid}`` as ``start_link``
        does. Raises :class:`NameRegistered` where another function has that name.
        """

        def exported(factory: F) -> F:
            self.add(
                module,
                function or factory.__name__,
                start_link_export(lambda: self._node.runtime, factory, name),
            )
            return factory

        return exported

    def introspection(self) -> None:
        """Let other nodes look at this one: its processes and their messages, memory, load, connections and
        libraries, as the observer, ``etop``, ``c:ni/0`` and ``rpc:pinfo/1`` show them: see
        ``docs/how-to/observing.md``. A second call does nothing."""
        if not self._shows_itself:
            # Imported here, because most nodes do not need it, and it loads much.
            from quicdist.otp.introspection import Introspection

            Introspection(self._node, self._net_kernel, self._sys).export(self)
            self._shows_itself = True
