"""A node in this process that stands in for a BEAM: it answers what the test tells it to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from quicdist import ANY, NO_REPLY, Atom, GenServer, RemoteError, Stop, current_call
from quicdist.discovery import StaticDiscovery
from quicdist.node.patterns import matcher
from quicdist.sync import Node
from quicdist.term import format_term
from quicdist.term.names import FUNCTION, MODULE, REGISTERED_NAME, Name, name_of
from quicdist.testing.answers import Answer

_UNDEF, _FUNCTION_CLAUSE = Atom("undef"), Atom("function_clause")


@dataclass(frozen=True, slots=True)
class Received:
    """Something that came to a fake BEAM."""

    #: ``function``: a call by ``rpc`` or ``erpc``. ``call`` and ``cast``: to a server. ``message``: any
    #: other.
    kind: Literal["function", "call", "cast", "message"]
    #: ``module:function/arity``, or the name of a server.
    to: str
    #: The list of arguments, the request, or the message.
    value: Any
    #: The node that called; None for casts and messages, which do not say it.
    node: str | None = None


class FakeServer:
    """A registered name of a fake BEAM, which answers ``gen_server:call`` and keeps casts and messages."""

    def __init__(self, beam: FakeBeam, name: str) -> None:
        self.name = name
        self._beam = beam
        self._answers: list[tuple[Callable[[Any], Any], Answer]] = []

    def __repr__(self) -> str:
        return f"<FakeServer {self.name} of {self._beam.name}>"

    def on_call(self, pattern: Any = ANY) -> Answer:
        """The answer to requests that match a pattern, as those of ``receive`` are. Patterns are tried in
        their order. A request that none matches ends the server with ``function_clause``, and the next call
        finds a new one."""
        what = "any request" if pattern is ANY else repr(pattern)
        answer = Answer(f"{self.name} to {what}")
        self._answers.append((matcher(pattern), answer))
        return answer

    @property
    def casts(self) -> list[Any]:
        """The requests of ``gen_server:cast``, in the order in which they came."""
        return self._values("cast")

    @property
    def messages(self) -> list[Any]:
        """The messages sent to it, in the order in which they came."""
        return self._values("message")

    def _values(self, kind: str) -> list[Any]:
        return [one.value for one in self._beam.received if one.kind == kind and one.to == self.name]

    def answer_to(self, request: Any) -> Answer | None:
        """The answer that the test has given for a request."""
        return next((answer for matches, answer in self._answers if matches(request)), None)

    def send(self, to: Any, message: Any) -> None:
        """Send a message as this server does."""
        process = self._beam.node.whereis(self.name)
        assert process is not None
        process.send(to, message)

    def stop(self, reason: Any = Atom("normal")) -> None:  # noqa: B008 - immutable
        """End the server, so that its links and monitors fire, and calls find no process. ``beam.server``
        starts it again."""
        self._beam.end_server(self.name, reason)


class _Server(GenServer):
    """The process of a fake server."""

    def __init__(self, fake: FakeServer, beam: FakeBeam) -> None:
        self._fake = fake
        self._beam = beam

    async def handle_call(self, request: Any, sender: Any) -> Any:
        self._beam.note(Received("call", self._fake.name, request, sender[0].node.name))
        answer = self._fake.answer_to(request)
        if answer is None:
            where: tuple[Any, ...] = (Atom(self._fake.name), Atom("handle_call"), [request], [])
            return Stop((_FUNCTION_CLAUSE, [where]), NO_REPLY)
        answer.calls.append(request)
        try:
            return await answer.value((request,), self._beam.over)
        except RemoteError as error:
            return Stop(error.exit_reason, NO_REPLY)

    def handle_cast(self, request: Any) -> None:
        self._beam.note(Received("cast", self._fake.name, request))

    def handle_info(self, message: Any) -> None:
        self._beam.note(Received("message", self._fake.name, message))

    def terminate(self, reason: Any) -> None:
        self._beam.server_ended(self._fake)


class FakeBeam:
    """A node in a thread of this process that the program under test takes for a BEAM::

        with FakeBeam() as beam:
            beam.function("stock", "count", 1).returns(5)
            counter = beam.server("counter")
            counter.on_call(Atom("next")).returns_each([1, 2, 3])

            program = Program(Node("py@127.0.0.1", **beam.options))
            ...
            assert beam.received == [...]

    The program reaches it with :attr:`options`: its address, cookie and carrier. ``options`` of the
    constructor are those of :class:`quicdist.Node`; it listens on a free port of 127.0.0.1, by default over
    TCP."""

    def __init__(
        self,
        name: Name = "beam@127.0.0.1",
        *,
        cookie: Name = "fake-beam",
        carrier: str = "tcp",
        discovery: StaticDiscovery | None = None,
        **options: Any,
    ) -> None:
        self.name = str(name)
        self.cookie = str(cookie)
        self._carrier = carrier
        discovery = discovery or StaticDiscovery()
        self.node = Node(
            name, cookie=cookie, carrier=carrier, host="127.0.0.1", port=0, discovery=discovery, **options
        )
        #: Ends what hangs when the fake stops.
        self.over = asyncio.Event()
        self._changed = threading.Condition()
        self._received: list[Received] = []
        self._functions: dict[tuple[str, str], dict[int | None, Answer]] = {}
        self._servers: dict[str, FakeServer] = {}
        self._stopping = False

    def __repr__(self) -> str:
        return f"<FakeBeam {self.name}, {len(self._received)} received>"

    def __enter__(self) -> Self:
        self.node.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the node: the program sees ``nodedown``. What hangs ends with it."""
        self._stopping = True
        try:
            self.node.call_soon_threadsafe(self.over.set)
        except RuntimeError:  # NodeNotStarted: it has stopped already
            return
        self.node.stop()

    @property
    def options(self) -> dict[str, Any]:
        """Options of a ``Node`` that reaches this one: ``Node("py@127.0.0.1", **beam.options)``."""
        (address,) = self.node.addresses
        return {
            "cookie": self.cookie,
            "carrier": self._carrier,
            "nodes": {self.name: (address.host, address.port)},
            "listen": False,
        }

    # -- what it answers -------------------------------------------------------------------

    def function(self, module: Name, function: Name, arity: int | None = None) -> Answer:
        """The answer to calls of ``module:function/arity`` by ``rpc`` and ``erpc``; without ``arity``, of all
        that have no answer of their own. Other functions are ``undef``. Asked again it is the same object."""
        key = name_of(module, MODULE), name_of(function, FUNCTION)
        if key not in self._functions:
            self._functions[key] = {}
            self.node.exports.add(*key, self._exported(*key))
        shown = f"{key[0]}:{key[1]}" + ("" if arity is None else f"/{arity}")
        return self._functions[key].setdefault(arity, Answer(shown))

    def _exported(self, module: str, function: str) -> Callable[..., Any]:
        async def call(*arguments: Any) -> Any:
            caller = current_call().caller
            node = None if caller is None else caller.node.name
            to = f"{module}:{function}/{len(arguments)}"
            self.note(Received("function", to, list(arguments), node))
            answers = self._functions[module, function]
            answer = answers.get(len(arguments)) or answers.get(None)
            if answer is None:
                raise RemoteError("error", _UNDEF, [(Atom(module), Atom(function), list(arguments), [])])
            answer.calls.append(list(arguments))
            return await answer.value(arguments, self.over)

        return call

    def server(self, name: Name) -> FakeServer:
        """The server registered under ``name``, started if there is none."""
        key = name_of(name, REGISTERED_NAME)
        fake = self._servers.setdefault(key, FakeServer(self, key))
        if self.node.whereis(key) is None:
            self.node.serve(_Server(fake, self), name=key)
        return fake

    # -- what came -------------------------------------------------------------------------

    @property
    def received(self) -> list[Received]:
        """All that came, in order."""
        with self._changed:
            return list(self._received)

    def wait_for(self, value: Any = ANY, *, to: str | None = None, timeout: float = 5.0) -> Received:
        """Wait for something whose value matches a pattern, as those of ``receive`` are; with ``to``, for
        this server or ``module:function/arity``. It may have come already. Blocks: in a coroutine, use
        :meth:`wait_for_async`.

        Raises AssertionError, which lists what came, after ``timeout`` seconds.
        """
        matches = matcher(value)

        def found() -> Received | None:
            of_it = (one for one in self._received if to in (None, one.to))
            return next((one for one in of_it if matches(one.value)), None)

        with self._changed:
            if self._changed.wait_for(found, timeout):
                one = found()
                assert one is not None
                return one
            came = "".join(f"\n  {_shown(one)}" for one in self._received) or " nothing"
            raise AssertionError(
                f"{self.name} has not received {value!r}{f' to {to}' if to else ''} within {timeout:g} s. "
                f"It has received:{came}"
            )

    async def wait_for_async(
        self, value: Any = ANY, *, to: str | None = None, timeout: float = 5.0
    ) -> Received:
        """:meth:`wait_for` in a coroutine."""
        return await asyncio.to_thread(self.wait_for, value, to=to, timeout=timeout)

    # -- for its servers -------------------------------------------------------------------

    def note(self, received: Received) -> None:
        """Keep something that came."""
        with self._changed:
            self._received.append(received)
            self._changed.notify_all()

    def end_server(self, name: str, reason: Any) -> None:
        """End a server, and do not start it again."""
        server = self._servers.pop(name)
        if self.node.whereis(server.name) is not None:
            self.node.gen_server.stop(server.name, reason)

    def server_ended(self, fake: FakeServer) -> None:
        """A server has ended: start it again, unless the test has ended it."""
        if self._servers.get(fake.name) is fake and not self._stopping:
            self.node.call_soon_threadsafe(self._start_again, fake)

    def _start_again(self, fake: FakeServer) -> None:
        node = self.node.inner
        if node.whereis(fake.name) is None and not self._stopping:
            node.serve(_Server(fake, self), name=fake.name)


def _shown(one: Received) -> str:
    try:
        value = format_term(one.value)
    except (TypeError, ValueError):
        value = repr(one.value)
    return f"{one.kind} {one.to}: {value}"
