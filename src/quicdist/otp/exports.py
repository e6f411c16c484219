"""The table of exported functions: those that other nodes may call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from quicdist.node.errors import NameRegistered
from quicdist.otp.executors import ExecutorOrFactory
from quicdist.term.names import FUNCTION, MODULE, Name, name_of

AnyFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ExportedFunction:
    """A function that other nodes may call.

    A ``blocking`` one runs in ``executor``, None: in a thread for each call.
    """

    function: AnyFunction
    signature: inspect.Signature | None
    blocking: bool = False
    executor: ExecutorOrFactory | None = None

    def takes(self, count: int) -> bool:
        """Whether it can be called with ``count`` arguments (its arity in Erlang)."""
        if self.signature is None:
            return True
        try:
            self.signature.bind(*range(count))
        except TypeError:
            return False
        return True


class Exports:
    """Exported functions by their names in Erlang: module and function."""

    def __init__(self) -> None:
        self._functions: dict[tuple[str, str], ExportedFunction] = {}
        #: Whether what functions print that other nodes call or spawn is written to the group leader of the
        #: call, so that it appears where the caller's own output does, as on a BEAM. False: it stays here.
        self.output_to_caller = True

    def add(
        self,
        module: Name,
        name: Name,
        function: AnyFunction,
        *,
        blocking: bool = False,
        executor: ExecutorOrFactory | None = None,
    ) -> None:
        """Let other nodes call ``function`` as ``module:name``. The same function may be added again, with
        another ``executor``.

        Raises :class:`NameRegistered` where another function has that name, and :class:`TypeError` for a
        coroutine function with ``blocking`` or ``executor``.
        """
        module, name = name_of(module, MODULE), name_of(name, FUNCTION)
        blocking = blocking or executor is not None
        if blocking and inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is a coroutine function, which always runs in the event loop")
        known = self._functions.get((module, name))
        if known is not None and known.function is not function:
            raise NameRegistered(f"{module}:{name} is exported already, as {known.function!r}")
        try:
            signature: inspect.Signature | None = inspect.signature(function)
        except (TypeError, ValueError):
            signature = None  # Some built-ins have none; they raise TypeError themselves.
        self._functions[module, name] = ExportedFunction(function, signature, blocking, executor)

    def add_namespace(self, module: Name, namespace: Any, **options: Any) -> None:
        """Let other nodes call every public function of a module, an object or a mapping as
        ``module:its_name``. Names with a leading underscore, and values that are not functions, are left out.

        A mapping may hold modules and mappings again: ``{"math": math}`` as ``"py"`` is
        ``'py.math':sqrt(2)``, and as ``"Elixir.Py"`` with ``"Math"`` for the key, ``Py.Math.sqrt(2)``
        in Elixir. ``options`` are those of :meth:`add`; coroutine functions always run in the event loop.
        """
        module = name_of(module, MODULE)
        items = namespace.items() if isinstance(namespace, Mapping) else _members(namespace)
        for name, member in items:
            name = name_of(name, FUNCTION)
            if name.startswith("_"):
                continue
            if isinstance(namespace, Mapping) and isinstance(member, Mapping | ModuleType):
                self.add_namespace(f"{module}.{name}", member, **options)
            elif callable(member) and not inspect.isclass(member):
                self.add(module, name, member, **({} if inspect.iscoroutinefunction(member) else options))

    def has_module(self, module: Name) -> bool:
        """Whether a function of this module is exported."""
        name = name_of(module, MODULE)
        return any(known == name for known, _ in self._functions)

    def find(self, module: str, function: str, arity: int) -> ExportedFunction | None:
        """The function exported as ``module:function/arity``."""
        export = self._functions.get((module, function))
        return export if export is not None and export.takes(arity) else None


def _members(namespace: Any) -> list[tuple[str, Any]]:
    if inspect.ismodule(namespace):
        # Names in __all__, else those that the module defines itself, not those it imports.
        public = getattr(namespace, "__all__", None)
        if public is not None:
            return [(name, getattr(namespace, name)) for name in public]
        return [
            (name, value)
            for name, value in vars(namespace).items()
            if getattr(value, "__module__", None) == namespace.__name__
        ]
    return [
        (name, getattr(namespace, name))
        for name in dir(namespace)
        # Reading a property would run it.
        if not name.startswith("_") and not isinstance(getattr(type(namespace), name, None), property)
    ]
