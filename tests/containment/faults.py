"""What code of a program can do wrong, and the exit reason that Erlang sees of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quicdist import Atom, ProcessExit

PYTHON_ERROR = Atom("python_error")
GONE = Atom("gone")


class Mute(Exception):
    """An exception without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Own(BaseException):
    """One that ``except Exception`` lets pass."""


def raising(make: Callable[[], BaseException]) -> Callable[[], Any]:
    def fault() -> Any:
        raise make()

    return fault


def asks_a_cancelled_task() -> Any:
    answer: Any = asyncio.Future(loop=_loop)
    answer.cancel()
    return answer.result()


def cancels_its_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def recurses() -> Any:
    return recurses()


#: A future needs one; this one never runs.
_loop = asyncio.new_event_loop()
_loop.close()


@dataclass(frozen=True)
class Fault:
    """``do`` is what goes wrong. ``reason`` is what a process ends with, or the name of the Python
    exception that it is made of; ``in_coroutine`` where that is another one in a coroutine.
    ``gives`` says that ``do`` returns something that cannot be sent, ``never`` that it does not
    return."""

    name: str
    do: Callable[[], Any]
    reason: str | Atom
    in_coroutine: str | None = None
    gives: bool = False
    never: bool = False
    #: Only a coroutine can do it to itself.
    needs_task: bool = False

    def plain(self, *_: Any, **__: Any) -> Any:
        return self.do()

    async def awaited(self, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(0)
        if self.never:
            await asyncio.Event().wait()
        result = self.do()
        await asyncio.sleep(0)
        return result

    @property
    def raises(self) -> bool:
        return not self.gives and not self.never

    def matches(self, reason: Any) -> bool:
        """Whether an exit reason is that of this fault, in a form that an Erlang shell prints
        readably."""
        if isinstance(self.reason, Atom):
            return bool(reason == self.reason)
        match reason:
            case ((kind, str() | bytes() as name, str() | bytes() as text), list(stack)):
                return (
                    kind == PYTHON_ERROR
                    and _text(name) in (self.reason, self.in_coroutine)
                    and _text(text).isprintable()
                    and all(map(is_frame, stack))
                )
        return False


def is_frame(frame: Any) -> bool:
    """``{Module, Function, Arity, [{file, String}, {line, Line}]}``."""
    match frame:
        case (Atom(), Atom(), int(), [(Atom(name="file"), list(file)), (Atom(name="line"), int())]):
            return all(isinstance(char, int) for char in file)
    return False


def _text(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode()


#: What threads wait for that do not return, until it is enough.
over = threading.Event()


def release() -> None:
    """Let the threads go that wait."""
    over.set()
    over.clear()


ALL = [
    Fault("Exception", raising(lambda: ValueError("wrong")), "ValueError"),
    Fault("CancelledError", raising(asyncio.CancelledError), Atom("cancelled")),
    Fault("result of a cancelled task", asks_a_cancelled_task, Atom("cancelled")),
    Fault("own task cancelled", cancels_its_task, Atom("cancelled"), needs_task=True),
    Fault("SystemExit", raising(lambda: SystemExit(3)), "SystemExit"),
    Fault("GeneratorExit", raising(GeneratorExit), "GeneratorExit"),
    Fault("StopIteration", raising(lambda: StopIteration(1)), "StopIteration", "RuntimeError"),
    Fault("StopAsyncIteration", raising(StopAsyncIteration), "StopAsyncIteration"),
    Fault("no text", raising(Mute), "Mute"),
    Fault("RecursionError", recurses, "RecursionError"),
    Fault("MemoryError", raising(MemoryError), "MemoryError"),
    Fault("ProcessExit", raising(lambda: ProcessExit(GONE)), GONE),
    Fault("BaseException", raising(lambda: Own("own")), "Own"),
    Fault("ExceptionGroup", raising(lambda: ExceptionGroup("two", [Mute(), ValueError()])), "ExceptionGroup"),
    Fault("a reason that cannot be sent", raising(lambda: ProcessExit(object())), "EncodeError"),
    Fault("a reply that cannot be sent", object, "EncodeError", gives=True),
    Fault("never returns", lambda: over.wait(60), "", never=True),
]
