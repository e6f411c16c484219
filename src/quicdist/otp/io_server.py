"""The I/O server of a node's group leader ``user``: writes to standard output.

Erlang's I/O protocol (stdlib User's Guide, *The Erlang I/O Protocol*): the output of ``io:format`` in a
function that this node calls on a BEAM appears on this program's standard output. There is no input: a
read request is answered ``eof``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TextIO

from quicdist.logs import RateLimit, get_logger
from quicdist.node.process import Process
from quicdist.otp.circuit_breaker import CircuitBreaker
from quicdist.otp.erpc import RemoteCall
from quicdist.otp.standard_output import StandardOutput, Written
from quicdist.term import Atom, ImproperList, Pid

log = get_logger("quicdist.otp")

#: The name of a node's own group leader.
USER = "user"

IO_REQUEST, IO_REPLY = Atom("io_request"), Atom("io_reply")
PUT_CHARS, UNICODE = Atom("put_chars"), Atom("unicode")
EOF, ERROR = Atom("eof"), Atom("error")
_OK = Atom("ok")
_REQUEST, _REQUESTS = Atom("request"), Atom("requests")
_ENOTSUP, _TERMINATED = Atom("enotsup"), Atom("terminated")
_LATIN1 = Atom("latin1")
_IO_LIB = Atom("io_lib")
_BINARY, _ENCODING = Atom("binary"), Atom("encoding")
_GETOPTS, _SETOPTS, _GET_GEOMETRY = Atom("getopts"), Atom("setopts"), Atom("get_geometry")
_READING = tuple(map(Atom, ("get_line", "get_chars", "get_until", "get_password")))
#: Options that are always set; others are not supported.
_AS_IT_IS = ((_ENCODING, UNICODE), (_ENCODING, Atom("utf8")))
#: Characters of one request; a larger one is refused, not cut.
_MAX_OUTPUT = 1 << 24

#: Seconds that the requesting node has to format.
FORMAT_TIME = 5.0
#: Requests that wait for formatting or for standard output; more are refused.
MAX_WAITING = 10_000


class IoServer:
    """Handles I/O requests. ``call`` runs ``io_lib`` on the requesting node, if it is connected, for
    formats that only Erlang can do; ``output`` is by default standard output.

    A write request is answered when the text is written, so that a process that prints faster than the
    output is read waits, as on a BEAM. If :class:`StandardOutput` is full, the answer is
    ``{error, terminated}``.
    """

    def __init__(
        self,
        call: RemoteCall,
        output: TextIO | None = None,
        is_connected: Callable[[str], bool] = lambda node: True,
    ) -> None:
        self._call = call
        self._is_connected = is_connected
        self._breaker = CircuitBreaker()
        self._output = StandardOutput(output)
        #: The option ``binary``; without effect, since there is no input.
        self._binary = False
        self._tasks: set[asyncio.Future[Any]] = set()
        self._failures = RateLimit()

    def __call__(self, process: Process, message: Any) -> None:
        match message:
            case (tag, Pid() as sender, reply_as, request) if tag == IO_REQUEST:
                if len(self._tasks) >= MAX_WAITING:
                    process.send(sender, (IO_REPLY, reply_as, (ERROR, _TERMINATED)))
                    return
                answer = self._answer(sender.node.name, request)
                if isinstance(answer, Awaitable):
                    task = asyncio.ensure_future(_reply_later(process, sender, reply_as, answer))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                else:
                    process.send(sender, (IO_REPLY, reply_as, answer))

    async def close(self) -> None:
        """Write the remaining texts, for two seconds at most, and end."""
        left = await self._output.close()
        if left:
            log.warning("%d texts were not written to standard output: the output is blocked", left)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _answer(self, node: str, request: Any) -> Any:
        """The answer, or an awaitable that returns it."""
        match request:
            case (Atom() as verb, *what) if verb == PUT_CHARS:
                return self._put_chars(node, what)
            case (Atom() as verb, list() as several) if verb == _REQUESTS:
                return self._several(node, several)
            case Atom() if request == _GETOPTS:
                return [(_BINARY, self._binary), (_ENCODING, UNICODE)]
            case (Atom() as verb, list() as options) if verb == _SETOPTS:
                return self._set(options)
            case (Atom() as verb, _) if verb == _GET_GEOMETRY:
                return (ERROR, _ENOTSUP)
            case (Atom() as verb, *_) if verb in _READING:
                return EOF
        return (ERROR, _REQUEST)

    def _put_chars(self, node: str, what: list[Any]) -> Any:
        if len(what) in (1, 3):  # without an encoding, from before Unicode
            what = [_LATIN1, *what]
        match what:
            case [encoding, chars] if encoding in (UNICODE, _LATIN1):
                return self._put(chars, encoding)
            case [encoding, module, Atom() as function, list() as arguments] if (
                # Only io_lib: no other function is called for a request.
                encoding in (UNICODE, _LATIN1) and module == _IO_LIB
            ):
                return self._format(node, encoding, function, arguments)
        return (ERROR, _REQUEST)

    async def _format(self, node: str, encoding: Atom, function: Atom, arguments: list[Any]) -> Any:
        if not self._is_connected(node):
            return (ERROR, function)
        try:
            with self._breaker.attempt(node, FORMAT_TIME):
                chars = await self._call(node, _IO_LIB.name, function.name, arguments, timeout=FORMAT_TIME)
        except Exception as error:
            log.debug("io_lib:%s on %s: %s", function, node, error)
            return (ERROR, function)  # OTP's answer
        answer = self._put(chars, encoding)
        return await answer if isinstance(answer, Awaitable) else answer

    async def _several(self, node: str, requests: list[Any]) -> Any:
        """Handle several requests in order, nested ones too, until one fails."""
        answer: Any = _OK
        waiting = list(reversed(requests))
        while waiting:
            request = waiting.pop()
            match request:
                case (Atom() as verb, list() as several) if verb == _REQUESTS:
                    waiting.extend(reversed(several))
                    continue
            answer = self._answer(node, request)
            if isinstance(answer, Awaitable):
                answer = await answer
            if isinstance(answer, tuple) and answer[0] == ERROR:
                break
        return answer

    def _set(self, options: list[Any]) -> Any:
        binary = self._binary
        for option in options:
            match option:
                case Atom(name="binary" | "list" as name):
                    binary = name == "binary"
                case (Atom(name="binary"), bool() as value):
                    binary = value
                case _ if option not in _AS_IT_IS:
                    return (ERROR, _ENOTSUP)
        self._binary = binary
        return _OK

    def _put(self, chars: Any, encoding: Atom) -> Any:
        latin1 = encoding == _LATIN1
        text = characters(chars, "latin-1" if latin1 else "utf-8")
        if text is None or (latin1 and max(text, default="") > "\xff"):
            return (ERROR, PUT_CHARS)
        written = self._output.write(text)
        return (ERROR, _TERMINATED) if written is None else self._written(written)

    async def _written(self, written: Written) -> Any:
        error = await written
        if error is None:
            return _OK
        note = self._failures.admit()
        if note is not None:
            log.error("standard output cannot be written to: %s%s", error, note)
        return (ERROR, _TERMINATED)


async def _reply_later(process: Process, sender: Pid, reply_as: Any, answer: Awaitable[Any]) -> None:
    process.send(sender, (IO_REPLY, reply_as, await answer))


def characters(chars: Any, encoding: str = "utf-8") -> str | None:
    """The text of ``chardata()``: binaries and code points in nested lists. None for what is not text,
    or too long."""
    parts: list[str] = []
    size = 0
    stack = [chars]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(reversed(item))
            continue
        if isinstance(item, ImproperList):  # the tail can be a binary
            stack.append(item.tail)
            stack.extend(reversed(item.elements))
            continue
        try:
            if isinstance(item, str):  # of a process of this node
                part = item
            else:
                part = item.decode(encoding) if isinstance(item, bytes) else chr(item)
        except (UnicodeDecodeError, TypeError, ValueError, OverflowError):
            return None
        size += len(part)
        if size > _MAX_OUTPUT:
            return None
        parts.append(part)
    return "".join(parts)
