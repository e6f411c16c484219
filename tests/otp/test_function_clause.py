"""A missing case of a callback is ``function_clause``; whatever else a callback does is left alone."""

# ruff: noqa: RET503 - that nothing is returned where no case matches is the subject

from __future__ import annotations

import asyncio
import contextlib
import functools
import linecache
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from quicdist import Atom, Continue, GenServer, Node, NoReply, ProcessEnded, format_term
from quicdist.otp.function_clause import NO_CLAUSE, with_clauses

KIND = SimpleNamespace(first="first")


class Base(GenServer):
    """Two cases each; ``cleared`` shows that a callback ran once."""

    def init(self) -> None:
        self.cleared = 0
        self.open = True

    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case b"one":
                return 1
            case b"nothing":
                return None

    async def handle_cast(self, request: Any) -> Any:
        await asyncio.sleep(0)
        match request:
            case (b"known", _):
                self.cleared += 1

    def handle_info(self, message: Any) -> Any:
        match message:
            case b"known":
                self.cleared += 1

    def handle_continue(self, argument: Any) -> Any:
        match argument:
            case b"known":
                self.cleared += 1


class Inherits(Base):
    """Callbacks of a base class."""


class AsksSuper(Base):
    def handle_call(self, request: Any, sender: Any) -> Any:
        return super().handle_call(request, sender) or b"other"


class EndsInSuper(Base):
    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case b"two":
                return 2
            case b"super":
                return super().handle_call(b"one", sender)


class Guarded(Base):
    """Whose guards and cases change what they look at: tried twice, they would say no."""

    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case _ if self.open:
                self.open = False
            case [*_]:
                request.clear()
            case {"key": _}:
                request.pop("key")
            case _ if (request := len(request)) == 3:
                del request
            case KIND.first:
                KIND.first = "changed"
            case b"private" if self.__private():
                return b"mangled"

    def __private(self) -> bool:
        return True


class WithLock(Base):
    def init(self) -> None:
        super().init()
        self.lock = asyncio.Lock()

    async def handle_call(self, request: Any, sender: Any) -> Any:
        async with self.lock:
            match request:
                case b"one":
                    return 1


class Irrefutable(Base):
    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case b"one":
                return 1
            case other:
                self.cleared += len(other)


class NotLast(Base):
    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case b"one":
                return 1
        self.cleared += 1


class OtherSubject(Base):
    def handle_call(self, request: Any, sender: Any) -> Any:
        match self.open:
            case False:
                return 1


class Conditional(Base):
    def handle_call(self, request: Any, sender: Any) -> Any:
        if self.open:
            match request:
                case b"one":
                    return 1


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any) -> Any:
        return function(*args)

    return wrapped


def registering(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


class Wrapped(Base):
    @wrapping
    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case b"one":
                return 1


class Registered(Base):
    @registering
    @registering
    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case b"one":
                return 1


def nested(limit: int) -> type[GenServer]:
    class Nested(Base):
        def handle_call(self, request: Any, sender: Any, *, add: int = 10) -> Any:
            def larger(value: int) -> bool:
                return value > limit

            match request:
                case int() if larger(request):
                    return [request + add for _ in range(limit)]

    return Nested


async def answer(node: Node, kind: type[GenServer], *requests: Any) -> list[Any]:
    """What a server answers; ``function_clause`` where it ended with that."""
    answers = []
    process = await node.gen_server.start(kind())
    assert process is not None
    for request in requests:
        try:
            answers.append(await node.gen_server.call(process, request))
        except ProcessEnded as ended:
            answers.append(ended.reason[0].name)
            process = await node.gen_server.start(kind())
            assert process is not None
    process.stop()
    return answers


@pytest.mark.parametrize(
    ("kind", "requests", "expected"),
    [
        (Base, [b"one", b"nothing", b"two"], [1, None, "function_clause"]),
        (Inherits, [b"one", b"two"], [1, "function_clause"]),
        (AsksSuper, [b"one", b"two"], [1, b"other"]),
        (EndsInSuper, [b"super", b"one"], [1, "function_clause"]),
        (WithLock, [b"one", b"two"], [1, "function_clause"]),
        (Registered, [b"one", b"two"], [1, "function_clause"]),
        (nested(2), [3, 2], [[13, 13], "function_clause"]),
        (Irrefutable, [b"two"], [None]),
        (NotLast, [b"two"], [None]),
        (OtherSubject, [b"two"], [None]),
        (Conditional, [b"two"], [None]),
        (Wrapped, [b"one", b"two"], [1, None]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
async def test_a_missing_case_of_handle_call_is_function_clause(
    node: Node, kind: type[GenServer], requests: list[Any], expected: list[Any]
) -> None:
    assert await answer(node, kind, *requests) == expected


async def test_a_request_with_a_matching_case_is_handled_once(node: Node) -> None:
    requests = [b"open", [1], {"key": 1}, b"abc", "first", b"private", b"none"]
    expected = [None, None, None, None, None, b"mangled", "function_clause"]
    assert await answer(node, Guarded, *requests) == expected


@pytest.mark.parametrize("callback", ["handle_cast", "handle_continue"])
async def test_other_callbacks_end_with_function_clause_too(node: Node, callback: str) -> None:
    class Server(Base):
        def handle_info(self, message: Any) -> Any:
            return NoReply(Continue(message))

    server = Server()
    process = await node.gen_server.start(server)
    assert process is not None
    known = (b"known", 1) if callback == "handle_cast" else b"known"
    for request in (known, b"unknown"):
        node.send(process, (Atom("$gen_cast"), request) if callback == "handle_cast" else request)
    await process.finished()
    assert server.cleared == 1
    kind, [(module, name, arguments, where)] = process.exit_reason
    assert (kind.name, name.name, arguments) == ("function_clause", callback, [b"unknown"])
    assert module.name.startswith("tests.otp.test_function_clause.")
    assert "test_function_clause.py" in format_term(where)


async def test_a_message_that_handle_info_has_no_case_for_is_logged(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    server = Base()
    process = await node.gen_server.start(server)
    assert process is not None
    node.send(process, b"known")
    node.send(process, b"unknown")
    assert await node.gen_server.call(process, b"one") == 1
    assert server.cleared == 1
    assert 'got an unexpected message: <<"unknown">>' in caplog.text


SOURCE = """
from quicdist import GenServer

class Server(GenServer):
    def handle_call(self, request, sender):
        match request:
            case b"one":
                return 1
"""


def made(source: str, filename: str) -> type[GenServer]:
    names: dict[str, Any] = {"__name__": "made"}
    exec(compile(source, filename, "exec"), names)
    kind: type[GenServer] = names["Server"]
    return kind


async def test_without_a_source_no_missing_case_is_detected(node: Node) -> None:
    assert await answer(node, made(SOURCE, "<made>"), b"one", b"two") == [1, None]


@pytest.mark.parametrize(
    "source", [SOURCE.replace("return 1", "return 2"), SOURCE.replace("match", "mat("), "\n" * 3]
)
async def test_with_a_changed_source_no_missing_case_is_detected(node: Node, source: str) -> None:
    with sourced("<changed>", source):
        assert await answer(node, made(SOURCE, "<changed>"), b"one", b"two") == [1, None]


async def test_a_source_in_linecache_alone_is_enough(node: Node) -> None:
    with sourced("<cell 1>", SOURCE):
        assert await answer(node, made(SOURCE, "<cell 1>"), b"one", b"two") == [1, "function_clause"]


@contextlib.contextmanager
def sourced(name: str, source: str) -> Any:
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        yield
    finally:
        del linecache.cache[name]


async def test_a_callback_replaced_while_it_runs_is_the_one_that_is_called(node: Node) -> None:
    class Server(Base):
        pass

    server = Server()
    process = await node.gen_server.start(server)
    assert await node.gen_server.call(process, b"one") == 1
    server.handle_call = lambda request, sender: b"of the object"  # type: ignore[method-assign]
    assert await node.gen_server.call(process, b"two") == b"of the object"
    del server.handle_call
    Server.handle_call = lambda self, request, sender: b"of the class"  # type: ignore[method-assign]
    assert await node.gen_server.call(process, b"two") == b"of the class"


def test_the_class_is_not_changed() -> None:
    before = Base.handle_call
    function, version = with_clauses(Base, Base.matching_callbacks)["handle_call"]
    assert Base.handle_call is before is function
    assert version(Base(), b"two", None) is NO_CLAUSE
    assert before(Base(), b"two", None) is None
    names = Base.matching_callbacks
    assert with_clauses(Base, names) is with_clauses(Base, names)
