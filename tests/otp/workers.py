"""Functions for process pools: a worker imports this module."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
import time
from typing import Any, NoReturn

from quicdist import Atom, ProcessExit, RemoteError, binary_to_term


class NoText(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class NotAlone(Exception):
    """Pickles, and does not unpickle: its constructor takes two arguments, its ``args`` has one."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


class Unpickled:
    """Pickles, and does not unpickle."""

    def __reduce__(self) -> Any:
        return _refuse, ()


class Unpicklable:
    """Does not pickle, and says so by an exception that does not unpickle."""

    def __reduce__(self) -> NoReturn:
        raise NotAlone("not ", "this one")


def _refuse() -> NoReturn:
    raise NotAlone("not ", "here")


def echo(term: Any) -> Any:
    return term


def pid() -> int:
    return os.getpid()


def is_the_atom(term: Any) -> bool:
    return term is Atom("an atom of this test")


def throw() -> NoReturn:
    raise RemoteError("throw", Atom("ball"))


def leave() -> NoReturn:
    raise ProcessExit(Atom("bye"))


def decode() -> Any:
    return binary_to_term(b"junk")


def not_alone() -> NoReturn:
    raise NotAlone("text ", "of two")


def no_text() -> NoReturn:
    raise NoText


def first() -> Any:
    return next(iter(()))


def quit_() -> NoReturn:
    raise SystemExit(1)


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def cancel() -> NoReturn:
    raise asyncio.CancelledError


def holds_a_lock() -> NoReturn:
    error = ValueError("has a lock")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    raise error


def odd_reason() -> NoReturn:
    raise ProcessExit(threading.Lock())


def lock() -> Any:
    return threading.Lock()


def unpickled() -> Any:
    return Unpickled()


def unpicklable() -> Any:
    return Unpicklable()


def deep() -> Any:
    term: list[Any] = []
    for _ in range(100_000):
        term = [term]
    return term


def no_term() -> Any:
    return pickle.PickleError  # pickles, and is no Erlang term


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def prints() -> None:
    print("from a worker")
