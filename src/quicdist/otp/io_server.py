"""The I/O servers of a node: its group leader ``user``, and devices that a program makes.

Erlang's I/O protocol (stdlib User's Guide, *The Erlang I/O Protocol*): the output of ``io:format`` in a
function that this node calls on a BEAM appears on this program's standard output, and ``io:get_line`` there
reads what the program gives as input. Without an input, a read request is answered ``eof``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TextIO

from quicdist.errors import QuicDistError
from quicdist.logs import RateLimit, get_logger
from quicdist.node.exit_reason import DOWN
from quicdist.node.process import Process
from quicdist.otp.circuit_breaker import CircuitBreaker
from quicdist.otp.erpc import RemoteCall
from quicdist.otp.io_input import Input, InputSource
from quicdist.otp.standard_output import StandardOutput, Written
from quicdist.term import Atom, ImproperList, Pid, Reference

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
_GET_LINE, _GET_CHARS, _GET_UNTIL = Atom("get_line"), Atom("get_chars"), Atom("get_until")
_GET_PASSWORD = Atom("get_password")
_READING = (_GET_LINE, _GET_CHARS, _GET_UNTIL, _GET_PASSWORD)
_NO_TRANSLATION, _EIO = Atom("no_translation"), Atom("eio")
_START, _STOP, _FORMAT = Atom("start"), Atom("stop"), Atom("format")
#: The modules of the functions that ``get_until`` may name: they have no effects.
_PARSERS = (_IO_LIB, Atom("erl_scan"))
_CODECS = {UNICODE: "utf-8", _LATIN1: "latin-1"}
#: Options that are always set; others are not supported.
_AS_IT_IS = ((_ENCODING, UNICODE), (_ENCODING, Atom("utf8")))
#: Characters of one request; a larger one is refused, not cut.
_MAX_OUTPUT = 1 << 24

#: Seconds that the requesting node has to format.
FORMAT_TIME = 5.0
#: Requests that wait for formatting or for standard output; more are refused.
MAX_WAITING = 10_000
#: Requests that wait for input; more are refused.
MAX_READING = 100
#: Characters of one ``get_chars``.
_MAX_CHARS = 1 << 24


class IoServer:
    """Handles I/O requests. ``call`` runs ``io_lib`` on the requesting node, if it is connected, for
    formats that only Erlang can do; ``output`` is by default standard output, ``source`` the input.

    A write request is answered when the text is written, so that a process that prints faster than the
    output is read waits, as on a BEAM. If :class:`StandardOutput` is full, the answer is
    ``{error, terminated}``.

    Read requests are handled one after the other. One whose process ends, or whose node is lost, is dropped,
    and takes nothing from the input.
    """

    def __init__(
        self,
        call: RemoteCall,
        output: TextIO | None = None,
        is_connected: Callable[[str], bool] = lambda node: True,
        source: InputSource = None,
    ) -> None:
        self._call = call
        self._is_connected = is_connected
        self._breaker = CircuitBreaker()
        self._output = StandardOutput(output)
        self._input = Input(source)
        #: The option ``binary``: input as binaries, not as lists.
        self._binary = False
        #: Those of read requests.
        self._reading: set[asyncio.Future[Any]] = set()
        #: The tasks that wait for input, by the monitor of the process that asks.
        self._readers: dict[Reference, asyncio.Task[Any] | None] = {}
        self._tasks: set[asyncio.Future[Any]] = set()
        self._failures = RateLimit()

    def __call__(self, process: Process, message: Any) -> None:
        match message:
            case (tag, Pid() as sender, reply_as, request) if tag == IO_REQUEST:
                reads = isinstance(request, tuple) and bool(request) and request[0] in _READING
                if len(self._tasks) >= MAX_WAITING or (reads and len(self._reading) >= MAX_READING):
                    process.send(sender, (IO_REPLY, reply_as, (ERROR, _TERMINATED)))
                    return
                answer = self._answer(process, sender, request)
                if isinstance(answer, asyncio.Future):
                    # Not a task for each text: one that begins when its text is written already would answer
                    # before those of earlier texts.
                    self._tasks.add(answer)
                    answer.add_done_callback(partial(self._reply, process, sender, reply_as))
                elif isinstance(answer, Awaitable):
                    task = asyncio.ensure_future(_reply_later(process, sender, reply_as, answer))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    if reads:
                        self._reading.add(task)
                        task.add_done_callback(self._reading.discard)
                else:
                    process.send(sender, (IO_REPLY, reply_as, answer))

            case (tag, Reference() as reference, _, _, _) if tag == DOWN:
                reader = self._readers.pop(reference, None)
                if reader is not None:
                    self._reading.discard(reader)
                    reader.cancel()

    def _reply(self, process: Process, sender: Pid, reply_as: Any, written: Written) -> None:
        """The text of a request was written, or failed."""
        self._tasks.discard(written)
        if not written.cancelled():
            process.send(sender, (IO_REPLY, reply_as, self._outcome(written.result())))

    def set_input(self, source: InputSource) -> None:
        """Read from another source. Requests that wait go on with the one before."""
        before, self._input = self._input, Input(source)
        if not before.lock.locked():
            before.close()

    async def close(self) -> None:
        """Write the remaining texts, for two seconds at most, and end."""
        left = await self._output.close()
        if left:
            log.warning("%d texts were not written to standard output: the output is blocked", left)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._input.close()

    def _answer(self, process: Process, sender: Pid, request: Any) -> Any:
        """The answer, or an awaitable that returns it."""
        node = sender.node.name
        match request:
            case (Atom() as verb, *what) if verb == PUT_CHARS:
                return self._put_chars(node, what)
            case (Atom() as verb, list() as several) if verb == _REQUESTS:
                return self._several(process, sender, several)
            case Atom() if request == _GETOPTS:
                return [(_BINARY, self._binary), (_ENCODING, UNICODE)]
            case (Atom() as verb, list() as options) if verb == _SETOPTS:
                return self._set(options)
            case (Atom() as verb, _) if verb == _GET_GEOMETRY:
                return (ERROR, _ENOTSUP)
            case (Atom() as verb, *what) if verb in _READING:
                return self._get(process, sender, verb, what)
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
        return self._outcome(await answer) if isinstance(answer, asyncio.Future) else answer

    async def _several(self, process: Process, sender: Pid, requests: list[Any]) -> Any:
        """Handle several requests in order, nested ones too, until one fails."""
        answer: Any = _OK
        waiting = list(reversed(requests))
        while waiting:
            request = waiting.pop()
            match request:
                case (Atom() as verb, list() as several) if verb == _REQUESTS:
                    waiting.extend(reversed(several))
                    continue
            answer = self._answer(process, sender, request)
            if isinstance(answer, asyncio.Future):
                answer = self._outcome(await answer)
            elif isinstance(answer, Awaitable):
                answer = await answer
            if isinstance(answer, tuple) and answer[0] == ERROR:
                break
        return answer

    # -- input -------------------------------------------------------------------------------------

    def _get(self, process: Process, sender: Pid, verb: Atom, what: list[Any]) -> Any:
        """The answer to a read request, or an awaitable that returns it."""
        lengths = {_GET_LINE: 1, _GET_CHARS: 2, _GET_UNTIL: 4, _GET_PASSWORD: 0}
        if len(what) == lengths[verb]:  # without an encoding, from before Unicode
            what = [_LATIN1, *what]
        if len(what) != lengths[verb] + 1 or what[0] not in (UNICODE, _LATIN1):
            return (ERROR, _REQUEST)
        if verb == _GET_CHARS and not (type(what[2]) is int and 0 <= what[2] <= _MAX_CHARS):
            return (ERROR, verb)
        if verb == _GET_UNTIL and not _is_parser(*what[2:]):
            return (ERROR, what[3] if isinstance(what[3], Atom) else _REQUEST)
        if len(self._readers) >= MAX_READING:
            return (ERROR, _TERMINATED)
        return self._read(process, sender, verb, what)

    async def _read(self, process: Process, sender: Pid, verb: Atom, what: list[Any]) -> Any:
        reference = process.monitor(sender)
        self._readers[reference] = asyncio.current_task()
        try:
            given = self._input
            async with given.lock:
                prompt = "" if verb == _GET_PASSWORD else await self._prompt(sender.node.name, what[1])
                if prompt and not given.prompts:
                    self._output.write(prompt)
                return await self._from(given, sender.node.name, verb, what, prompt)
        except Exception as error:  # of the program's source
            note = self._failures.admit()
            if note is not None:
                log.error("input of the group leader failed%s", note, exc_info=error)
            return (ERROR, _EIO)
        finally:
            self._readers.pop(reference, None)
            process.demonitor(reference, flush=True)

    async def _from(self, given: Input, node: str, verb: Atom, what: list[Any], prompt: str) -> Any:
        if verb == _GET_UNTIL:
            return await self._get_until(given, node, what, prompt)
        text: str | None
        if verb == _GET_LINE:
            text = await given.line(prompt) or None
        elif verb == _GET_PASSWORD:
            text = await given.password(prompt)
        else:
            text = await given.chars(what[2], prompt)
            text = text if text or not what[2] else None
        return EOF if text is None else self._result(text, what[0])

    async def _get_until(self, given: Input, node: str, what: list[Any], prompt: str) -> Any:
        """``get_until``: the requesting node parses line by line, by ``io_lib:get_until/4``, until it has a
        result."""
        encoding, _, module, function, arguments = what
        state: Any = _START
        while True:
            line = await given.line(prompt)
            data = self._result(line, encoding) if line else EOF
            if isinstance(data, tuple):
                return data
            try:
                if not self._is_connected(node):
                    return (ERROR, function)
                with self._breaker.attempt(node, FORMAT_TIME):
                    state = await self._call(
                        node,
                        _IO_LIB.name,
                        _GET_UNTIL.name,
                        [state, data, encoding, (module, function, arguments)],
                        timeout=FORMAT_TIME,
                    )
            except QuicDistError as error:
                log.debug("%s:%s on %s: %s", module, function, node, error)
                return (ERROR, function)  # OTP's answer
            match state:
                case (tag, result, rest) if tag == _STOP:
                    text = "" if rest == EOF else characters(rest, _CODECS[encoding])
                    given.put_back(text or "")
                    return result
            if not line:
                return EOF  # a parser that goes on after the end

    async def _prompt(self, node: str, prompt: Any) -> str:
        """The text of a prompt: an atom, text, or ``{format, Format, Arguments}``."""
        match prompt:
            case Atom():
                return prompt.name
            case (tag, form, list() as arguments) if tag == _FORMAT:
                if not self._is_connected(node):
                    return ""
                try:
                    with self._breaker.attempt(node, FORMAT_TIME):
                        prompt = await self._call(
                            node, _IO_LIB.name, _FORMAT.name, [form, arguments], timeout=FORMAT_TIME
                        )
                except QuicDistError:
                    return ""
        return characters(prompt) or ""

    def _result(self, text: str, encoding: Atom) -> Any:
        """Text in the form of the options."""
        if encoding == _LATIN1 and max(text, default="") > "\xff":
            return (ERROR, (_NO_TRANSLATION, UNICODE, _LATIN1))
        if self._binary:
            return text.encode(_CODECS[encoding], "replace")
        return [ord(char) for char in text]

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
        """The answer, or the future of :class:`StandardOutput`, see :meth:`_outcome`."""
        latin1 = encoding == _LATIN1
        text = characters(chars, _CODECS[encoding])
        if text is None or (latin1 and max(text, default="") > "\xff"):
            return (ERROR, PUT_CHARS)
        written = self._output.write(text)
        return (ERROR, _TERMINATED) if written is None else written

    def _outcome(self, error: BaseException | None) -> Any:
        """The answer to a request to write, when its text was written or failed with ``error``."""
        if error is None:
            return _OK
        note = self._failures.admit()
        if note is not None:
            log.error("standard output cannot be written to: %s%s", error, note)
        return (ERROR, _TERMINATED)


def _is_parser(module: Any, function: Any, arguments: Any) -> bool:
    """Whether ``get_until`` may name a function."""
    return module in _PARSERS and isinstance(function, Atom) and isinstance(arguments, list)


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
