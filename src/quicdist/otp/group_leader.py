"""The group leader: where the output of functions that run elsewhere on our behalf arrives.

Erlang's I/O protocol (stdlib User's Guide, *The Erlang I/O Protocol*), output only: what a
function called on a BEAM prints with ``io:format`` appears on this program's standard output.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TextIO

from quicdist.node.process import Process
from quicdist.term import Atom, ImproperList, Pid

_IO_REQUEST = Atom("io_request")
_IO_REPLY = Atom("io_reply")
_PUT_CHARS = Atom("put_chars")
_OK = Atom("ok")
_ERROR = Atom("error")
_ENOTSUP = Atom("enotsup")
_UNICODE = Atom("unicode")
_LATIN1 = Atom("latin1")
_IO_LIB = Atom("io_lib")
#: Characters printed for one request; a larger one is refused, not cut.
_MAX_OUTPUT = 1 << 24

#: Calls a function on another node: node, module, function, arguments.
RemoteCall = Callable[[str, str, str, list[Any]], Awaitable[Any]]


class GroupLeader:
    """A handler for I/O requests. ``call`` formats, on the node that asks, what only Erlang's own
    ``io_lib`` can; ``output`` is standard output unless another is given."""

    def __init__(self, output: TextIO | None = None) -> None:
        self.call: RemoteCall | None = None
        self._output = output
        self._formatting: set[asyncio.Task[None]] = set()

    def __call__(self, process: Process, message: Any) -> None:
        match message:
            case (tag, Pid() as sender, reply_as, request) if tag == _IO_REQUEST:
                self._request(process, sender, reply_as, request)

    def _request(self, process: Process, sender: Pid, reply_as: Any, request: Any) -> None:
        match request:
            case (verb, encoding, chars) if verb == _PUT_CHARS and encoding in (_UNICODE, _LATIN1):
                answer = self._put(chars, encoding)
            case (verb, encoding, module, Atom() as function, list(arguments)) if (
                # Only io_lib: a group leader runs nothing else for anyone.
                verb == _PUT_CHARS and encoding in (_UNICODE, _LATIN1) and module == _IO_LIB
            ):
                task = asyncio.ensure_future(
                    self._format(process, sender, reply_as, encoding, function, arguments)
                )
                self._formatting.add(task)
                task.add_done_callback(self._formatting.discard)
                return
            case _:
                answer = (_ERROR, _ENOTSUP)
        process.send(sender, (_IO_REPLY, reply_as, answer))

    async def _format(
        self,
        process: Process,
        sender: Pid,
        reply_as: Any,
        encoding: Atom,
        function: Atom,
        arguments: list[Any],
    ) -> None:
        answer: Any = (_ERROR, _ENOTSUP)
        try:
            assert self.call is not None
            chars = await self.call(sender.node.name, "io_lib", function.name, arguments)
            answer = self._put(chars, encoding)
        finally:
            process.send(sender, (_IO_REPLY, reply_as, answer))

    def _put(self, chars: Any, encoding: Atom) -> Any:
        text = characters(chars, "latin-1" if encoding == _LATIN1 else "utf-8")
        if text is None:
            return (_ERROR, _PUT_CHARS)
        output = self._output or sys.stdout
        output.write(text)
        output.flush()
        return _OK


def characters(chars: Any, encoding: str = "utf-8") -> str | None:
    """The text of ``chardata()``: binaries and code points in lists as deep as they like. None
    where it is no text, or longer than a group leader takes."""
    parts: list[str] = []
    size = 0
    stack = [chars]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(reversed(item))
            continue
        if isinstance(item, ImproperList):  # a tail may be a binary
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
