"""``code:ensure_loaded/1`` and ``erlang:function_exported/3``, with which tools find out what a node can do;
``ets`` for those that ask it directly.

OTP: ``code(3)``, ``erlang(3)``, ``ets(3)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quicdist.node.local_node import LocalNode
from quicdist.otp.exports import Exports
from quicdist.otp.introspection.refusals import UNDEFINED, Export, badarg
from quicdist.term import Atom

_MODULE, _ERROR, _NOFILE = Atom("module"), Atom("error"), Atom("nofile")


class ModuleFunctions:
    """The functions, with their names and arities on a BEAM."""

    def __init__(self, node: LocalNode, exports: Exports) -> None:
        self._node = node
        self._exports = exports

    def exports(self) -> Iterator[Export]:
        yield "code", "ensure_loaded", self.ensure_loaded
        yield "erlang", "function_exported", self.function_exported
        yield "ets", "all", self.all_tables
        yield "ets", "info", self.table_info

    def ensure_loaded(self, module: Any) -> tuple[Atom, Atom]:
        """Whether a function of this module is exported: ``{module, Module}``, or ``{error, nofile}``."""
        if not isinstance(module, Atom):
            raise badarg()
        return (_MODULE, module) if self._exports.has_module(module) else (_ERROR, _NOFILE)

    def function_exported(self, module: Any, function: Any, arity: Any) -> bool:
        """Whether other nodes can call or spawn it."""
        if not isinstance(module, Atom) or not isinstance(function, Atom) or type(arity) is not int:
            raise badarg()
        if not 0 <= arity <= 255:
            return False
        return self._node.spawnables.find(module.name, function.name, arity) is not None

    def all_tables(self) -> list[Any]:
        return []

    def table_info(self, table: Any, item: Any = None) -> Atom:
        return UNDEFINED
