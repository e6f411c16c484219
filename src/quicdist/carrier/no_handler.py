"""A handler that ignores every call: a null object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final


def _ignore(*arguments: object) -> None:
    """Does nothing."""


class _NoHandler:
    """Has every method; none does anything."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _ignore


#: Replaces the handler or receiver of a connection that is over: otherwise they hold each other until the
#: garbage collector runs.
NO_HANDLER: Final[Any] = _NoHandler()
