"""Makes blocking methods of the asynchronous ones, with their signatures, types and docstrings.

The classes of this package list which methods they have; how these are called, and what they return, is
written down once, in the asynchronous classes.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, cast, overload

from quicdist.sync.loop_thread import LoopThread

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")
R = TypeVar("R", covariant=True)
I = TypeVar("I")  # noqa: E741


class Facade(Generic[I]):
    """An object that belongs to the thread of a node, for all other threads. ``inner`` is the asynchronous
    one."""

    def __init__(self, thread: LoopThread, inner: I) -> None:
        self._thread = thread
        self._inner = inner

    @property
    def inner(self) -> I:
        """The asynchronous object, for coroutines in the thread of the node."""
        return self._inner

    def __repr__(self) -> str:
        return f"<quicdist.sync of {self._inner!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Facade) and self._inner is other._inner

    def __hash__(self) -> int:
        return hash(id(self._inner))


class Method(Protocol[P, R]):
    """A method as type checkers see it."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[P, R]: ...


def unwrapped(value: Any) -> Any:
    """An argument as the asynchronous method takes it."""
    return value.inner if isinstance(value, Facade) else value


def _method(function: Callable[..., Any], convert: Callable[[LoopThread, Any], Any] | None) -> Any:
    @functools.wraps(function)
    def method(self: Facade[Any], *args: Any, **options: Any) -> Any:
        args = tuple(unwrapped(value) for value in args)
        options = {name: unwrapped(value) for name, value in options.items()}
        value = self._thread.call(function, self._inner, *args, **options)
        return value if convert is None else convert(self._thread, value)

    return method


def blocking(function: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Method[P, T]:
    """A method that waits for a coroutine."""
    return cast("Method[P, T]", _method(function, None))


def in_loop(function: Callable[Concatenate[Any, P], T]) -> Method[P, T]:
    """A method that calls a plain one in the thread of the node."""
    return cast("Method[P, T]", _method(function, None))


def blocking_to(
    function: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], convert: Callable[[LoopThread, T], U]
) -> Method[P, U]:
    """As :func:`blocking`, with another value."""
    return cast("Method[P, U]", _method(function, convert))


def in_loop_to(
    function: Callable[Concatenate[Any, P], T], convert: Callable[[LoopThread, T], U]
) -> Method[P, U]:
    """As :func:`in_loop`, with another value."""
    return cast("Method[P, U]", _method(function, convert))


async def next_of(iterator: AsyncIterator[T]) -> T | None:
    """The next value of an iterator; None at its end."""
    return await anext(iterator, None)


def same_options(
    init: Callable[Concatenate[Any, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Give ``__init__`` the signature of another class's."""

    def decorated(own: Callable[..., None]) -> Callable[Concatenate[Any, P], None]:
        return cast("Callable[Concatenate[Any, P], None]", functools.wraps(init)(own))

    return decorated
