"""What other nodes may call and spawn, for programs without an event loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from quicdist.otp.node_exports import NodeExports
from quicdist.sync.methods import Facade, in_loop
from quicdist.sync.process import body_of
from quicdist.term.names import FUNCTION, Name, name_of

F = TypeVar("F", bound=Callable[..., Any])


class Exports(Facade[NodeExports]):
    """``node.exports``: functions and processes that other nodes may call and spawn.

    Plain functions run in threads, one for each call, unless ``blocking=False`` says that they are fast and
    can run in the thread of the node."""

    child = in_loop(NodeExports.child)
    introspection = in_loop(NodeExports.introspection)
    has_module = in_loop(NodeExports.has_module)
    find = in_loop(NodeExports.find)

    @property
    def output_to_caller(self) -> bool:
        """Whether what functions print that other nodes call or spawn is written where the caller's own
        output appears."""
        return self._inner.output_to_caller

    @output_to_caller.setter
    def output_to_caller(self, to_caller: bool) -> None:
        self._inner.output_to_caller = to_caller

    def add(
        self, module: Name, name: Name, function: Callable[..., Any], *, blocking: bool = True, **options: Any
    ) -> None:
        """Let other nodes call ``function`` as ``module:name``; see
        :meth:`quicdist.otp.exports.Exports.add`."""
        blocking = blocking and not inspect.iscoroutinefunction(function)
        self._thread.call(self._inner.add, module, name, function, blocking=blocking, **options)

    def add_namespace(self, module: Name, namespace: Any, *, blocking: bool = True, **options: Any) -> None:
        """Let other nodes call every public function of a module, an object or a mapping as
        ``module:its_name``."""
        self._thread.call(self._inner.add_namespace, module, namespace, blocking=blocking, **options)

    def process(self, module: Name, function: Name | None = None) -> Callable[[F], F]:
        """Decorator: let other nodes spawn a function as ``module:function`` (by default its own name). It is
        called in a thread, with the new process and the arguments."""

        def exported(body: F) -> F:
            name = name_of(function or body.__name__, FUNCTION)
            self._thread.call(lambda: self._inner.process(module, name)(body_of(self._thread, body, (None,))))
            return body

        return exported
