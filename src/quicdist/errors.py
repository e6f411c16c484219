"""The root of every error this package raises on purpose."""

from __future__ import annotations

from typing import Any


class QuicDistError(Exception):
    """Something this package expected did not hold; the message says what, where and with whom.

    Errors cross process pools: each is pickled as its text and attributes, whatever its
    constructor takes.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.args), self.__dict__


def _unpickled(kind: type[QuicDistError], args: tuple[Any, ...]) -> QuicDistError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error
