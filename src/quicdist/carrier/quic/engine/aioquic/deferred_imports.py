"""Defers what aioquic imports and few connections use.

``aioquic.tls`` imports service_identity (with attrs), pyOpenSSL and certifi. They are a fifth of its import
time, and only needed to verify a certificate: not on the side that listens, not with a pre-shared key, not
with ``verify`` off. So aioquic is given modules that import the real ones when an attribute is first used.
(``importlib.util.LazyLoader`` loads with the import statement itself up to Python 3.11.)

``tests/test_loading.py`` fails where a new aioquic uses them when it is imported.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Final

NAMES: Final = ("certifi", "service_identity", "OpenSSL")


class _Deferred(ModuleType):
    """Stands for the module of its name, which is imported with the first use of an attribute."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # the import statement looks for __path__
            raise AttributeError(attribute)
        name = self.__name__
        if sys.modules.get(name) is self:  # another thread imports it at this moment
            del sys.modules[name]
        try:
            return getattr(importlib.import_module(name), attribute)
        except AttributeError:
            return importlib.import_module(f"{name}.{attribute}")


def import_tls() -> None:
    """Import ``aioquic.tls`` with deferred modules in place of those of ``NAMES`` that are not loaded."""
    deferred = {name: _Deferred(name) for name in NAMES if name not in sys.modules}
    if "OpenSSL" in deferred:
        vars(deferred["OpenSSL"])["crypto"] = _Deferred("OpenSSL.crypto")
    sys.modules.update(deferred)
    try:
        importlib.import_module("aioquic.tls")
    finally:
        for name, module in deferred.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
