"""The client side of Erlang's I/O protocol: text to and from any I/O device of the cluster.

OTP: ``io(3)``; stdlib User's Guide, *The Erlang I/O Protocol*. A device is a process that implements
this protocol, such as a group leader, or ``("user", node)``.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any, TextIO

from quicdist.node.code_output import code_output
from quicdist.node.errors import NodeError
from quicdist.node.exit_reason import DOWN
from quicdist.node.patterns import ANY, AnyOf
from quicdist.node.process import Process
from quicdist.node.reports import shown
from quicdist.node.runtime import Runtime
from quicdist.otp.errors import CallTimeout
from quicdist.otp.gen import GenClient, described
from quicdist.otp.io_input import InputSource
from quicdist.otp.io_server import (
    EOF,
    ERROR,
    IO_REPLY,
    IO_REQUEST,
    PUT_CHARS,
    UNICODE,
    IoServer,
    characters,
)
from quicdist.otp.output import Outputs
from quicdist.otp.rpc import mailbox
from quicdist.term import Atom, charlist, parse_term
from quicdist.term.names import Name

_GET_LINE, _GET_CHARS, _GET_UNTIL = Atom("get_line"), Atom("get_chars"), Atom("get_until")
_GET_PASSWORD = Atom("get_password")
_IO_LIB, _FREAD = Atom("io_lib"), Atom("fread")
_TERMINATED, _BADARG = Atom("terminated"), Atom("badarg")


class IoClient:
    """Writes to I/O devices and reads from them. A device is a pid, process, ``name`` or
    ``(name, node)``; in an exported function ``current_call().process.group_leader`` is that of the
    caller. ``timeout`` is in seconds."""

    def __init__(
        self,
        runtime: Runtime,
        gen: GenClient,
        outputs: Outputs,
        user: IoServer,
        make_server: Callable[..., IoServer],
    ) -> None:
        self._runtime = runtime
        self._gen = gen
        self._outputs = outputs
        self._user = user
        self._make_server = make_server
        self._closes: set[asyncio.Future[None]] = set()

    # -- devices of this node ----------------------------------------------------------------------

    def set_input(self, source: InputSource) -> None:
        """Set the input of this node's group leader, which functions read that this node calls on a BEAM
        (``io:get_line`` and so on there). None, the default: end of input.

        ``source`` is a text file such as ``sys.stdin``, an asynchronous iterable of lines, an object with a
        coroutine method ``readline``, or a function that is called with the prompt and returns a line, or
        None at the end; it may be a coroutine function. It is read when somebody waits for input. Raises
        TypeError for anything else.
        """
        self._user.set_input(source)

    def start_device(
        self, source: InputSource = None, output: TextIO | None = None, *, name: Name | None = None
    ) -> Process:
        """Start an I/O device of this node: a process that reads from ``source``, as of :meth:`set_input`,
        and writes to ``output``, by default standard output. It can be the group leader of processes
        (:meth:`~quicdist.Process.set_group_leader`)."""
        server = self._make_server(output, source)
        process = self._runtime.spawn(server, name=name)
        process.on_end(lambda: self._closing(server))
        return process

    def _closing(self, server: IoServer) -> None:
        task = asyncio.ensure_future(server.close())
        self._closes.add(task)
        task.add_done_callback(self._closes.discard)

    # -- any device ----------------------------------------------------------------------------------

    async def put_chars(self, device: Any, text: str, *, timeout: float | None = None) -> None:
        """Write ``text`` and wait until it is written (``io:put_chars/2``). Raises the errors of
        :meth:`request`."""
        await self.request(device, (PUT_CHARS, UNICODE, text), timeout=timeout)

    async def get_line(self, device: Any, prompt: str = "", *, timeout: float | None = None) -> str:
        """Read a line, with its line end (``io:get_line/2``); an empty string at the end of input.
        Raises the errors of :meth:`request`."""
        line = await self.request(device, (_GET_LINE, UNICODE, prompt), timeout=timeout)
        return _text(device, line)

    async def get_chars(
        self, device: Any, count: int, prompt: str = "", *, timeout: float | None = None
    ) -> str:
        """Read ``count`` characters, fewer at the end of input (``io:get_chars/3``). Raises the errors of
        :meth:`request`."""
        chars = await self.request(device, (_GET_CHARS, UNICODE, prompt, count), timeout=timeout)
        return _text(device, chars)

    async def get_password(self, device: Any, *, timeout: float | None = None) -> str:
        """Read a line that a terminal does not show, without its end (``io:get_password/1``). Raises the
        errors of :meth:`request`: not every device can."""
        line = await self.request(device, (_GET_PASSWORD, UNICODE), timeout=timeout)
        return _text(device, line).removesuffix("\n")

    async def read(self, device: Any, prompt: str = "", *, timeout: float | None = None) -> Any:
        """Read a term, up to a line that ends in a full stop (``io:read/2``). Raises EOFError at the end of
        input, :class:`~quicdist.term.ParseError` for what is no term, and the errors of :meth:`request`.
        ``timeout`` is for each line."""
        text = ""
        while not text.rstrip().endswith("."):
            line = await self.get_line(device, prompt, timeout=timeout)
            if not line:
                raise EOFError(f"end of input of {described(device)}")
            text += line
        return parse_term(text)

    async def fread(
        self, device: Any, form: str, prompt: str = "", *, timeout: float | None = None
    ) -> list[Any] | None:
        """Read values by a format such as ``"~d ~s"``; None at the end of input (``io:fread/3``). The
        device's node parses it, so it is a BEAM's. Raises the errors of :meth:`request`."""
        request = (_GET_UNTIL, UNICODE, prompt, _IO_LIB, _FREAD, [charlist(form)])
        answer = await self.request(device, request, timeout=timeout)
        match answer:
            case (Atom(name="ok"), list() as found):
                return found
            case Atom() if answer == EOF:
                return None
        raise NodeError(f"expected values from {described(device)}, got {shown(answer)}")

    async def getopts(self, device: Any, *, timeout: float | None = None) -> dict[str, Any]:
        """The options of a device (``io:getopts/1``). Raises the errors of :meth:`request`."""
        options = await self.request(device, Atom("getopts"), timeout=timeout)
        return {str(option[0]): option[1] for option in options}

    async def setopts(self, device: Any, *, timeout: float | None = None, **options: Any) -> None:
        """Set options of a device, such as ``binary=True`` or ``encoding=Atom("latin1")``
        (``io:setopts/2``). Raises the errors of :meth:`request`."""
        pairs = [(Atom(name), value) for name, value in options.items()]
        await self.request(device, (Atom("setopts"), pairs), timeout=timeout)

    async def request(self, device: Any, request: Any, *, timeout: float | None = None) -> Any:
        """Send a request of the I/O protocol and return the answer (``io:request/2``).

        Raises :class:`NodeError` where it is ``{error, Reason}``, :class:`NoSuchProcess`,
        :class:`NotConnected`, :class:`ProcessEnded` and :class:`CallTimeout`.
        """
        self._runtime.check_loop()
        printed = code_output.get()
        if printed is not None:
            printed.flush()
        await self._outputs.settle(device)
        async with mailbox(self._runtime) as process:
            reference = process.monitor(device)
            # From the same process as writers, so that all requests keep their order.
            source = self._gen.process.pid
            self._runtime.send(source, device, (IO_REQUEST, process.pid, reference, request))
            pattern = AnyOf((IO_REPLY, reference, ANY), (DOWN, reference, ANY, ANY, ANY))
            try:
                message = await process.receive(pattern, timeout=timeout)
            except TimeoutError:
                raise CallTimeout(described(device), timeout or 0.0) from None
        if message[0] == DOWN:
            gone = self._gen.down_error(device, message[4])
            if isinstance(gone, NodeError):
                gone.exit_reason = (_TERMINATED, [])
            raise gone
        answer = message[2]
        if isinstance(answer, tuple) and len(answer) == 2 and answer[0] == ERROR:
            failed = NodeError(f"{described(device)} answered {shown(answer)} to {shown(request)}")
            # The reason of OTP's functions (io:conv_reason/1).
            failed.exit_reason = (answer[1] if answer[1] == _TERMINATED else _BADARG, [])
            raise failed
        return answer

    def writer(self, device: Any) -> io.TextIOBase:
        """A text file that writes lines to a device, for ``print(..., file=...)``. A line is sent when
        it is complete, or by ``flush``. It does not wait for the answer: output that the device cannot
        write is lost."""
        return _Writer(self._runtime, self._gen, device)


def _text(device: Any, answer: Any) -> str:
    """The text of an answer; empty at the end of input."""
    text = "" if answer == EOF else characters(answer)
    if text is None:
        raise NodeError(f"expected text from {described(device)}, got {shown(answer)}")
    return text


class _Writer(io.TextIOBase):
    def __init__(self, runtime: Runtime, gen: GenClient, device: Any) -> None:
        self._runtime = runtime
        self._pid = gen.process.pid
        self._device = device
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        lines, end, rest = (self._line + text).rpartition("\n")
        self._line = rest
        self._send(lines + end)
        return len(text)

    def flush(self) -> None:
        line, self._line = self._line, ""
        self._send(line)

    def _send(self, text: str) -> None:
        if text:
            reference = self._runtime.identifiers.reference()
            request = (IO_REQUEST, self._pid, reference, (PUT_CHARS, UNICODE, text))
            self._runtime.send(self._pid, self._device, request)
