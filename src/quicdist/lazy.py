"""Imports names of a package when they are first used (PEP 562).

A program loads only what it uses: one that encodes terms loads no TLS, one over TCP no QUIC.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any


def lazy_names(
    package: str, sources: Mapping[str, str], *, submodules: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of ``package``, in that order.

    ``sources`` has the names to import, with blanks between them, by the module they come from.
    ``submodules`` can be used as attributes of the package without an import of their own.

    Type checkers do not understand this, so the package has the same imports under ``TYPE_CHECKING`` and
    calls this function in the ``else`` branch. A missing name is then still an error for them.
    """
    home = {name: module for module, names in sources.items() for name in names.split()}

    def __getattr__(name: str) -> Any:
        if name in home:
            value = getattr(importlib.import_module(home[name]), name)
        elif name in submodules:
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        # The next use finds it without this function.
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home, *submodules})

    return __getattr__, __dir__
