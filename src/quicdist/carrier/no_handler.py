"""Somebody to tell when those who were told are to be freed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final


def _ignore(*told: object) -> None:
    """It is of no interest any more."""


class _Nobody:
    """Takes every call, and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _ignore


#: Stands in place of a handler or a receiver whose connection is over: they hold each other otherwise, until
#: Python next looks for cycles.
NO_HANDLER: Final[Any] = _Nobody()
