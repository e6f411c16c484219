"""The client side of Erlang's I/O protocol: text to and from any I/O device of the cluster.

OTP: ``io(3)``; stdlib User's Guide, *The Erlang I/O Protocol*. A device is a process that implements
this protocol, such as a group leader, or ``("user", node)``.
"""

from __future__ import annotations

import io
from typing import Any

from quicdist.node.errors import NodeError
from quicdist.node.exit_reason import DOWN
from quicdist.node.patterns import ANY, AnyOf
from quicdist.node.reports import shown
from quicdist.node.runtime import Runtime
from quicdist.otp.errors import CallTimeout
from quicdist.otp.gen import GenClient, described
from quicdist.otp.io_server import EOF, ERROR, IO_REPLY, IO_REQUEST, PUT_CHARS, UNICODE, characters
from quicdist.otp.rpc import mailbox
from quicdist.term import Atom

_GET_LINE = Atom("get_line")
_TERMINATED, _BADARG = Atom("terminated"), Atom("badarg")


class IoClient:
    """Writes to I/O devices and reads from them. A device is a pid, process, ``name`` or
    ``(name, node)``; in an exported function ``current_call().process.group_leader`` is that of the
    caller. ``timeout`` is in seconds."""

    def __init__(self, runtime: Runtime, gen: GenClient) -> None:
        self._runtime = runtime
        self._gen = gen

    async def put_chars(self, device: Any, text: str, *, timeout: float | None = None) -> None:
        """Write ``text`` and wait until it is written (``io:put_chars/2``). Raises the errors of
        :meth:`request`."""
        await self.request(device, (PUT_CHARS, UNICODE, text), timeout=timeout)

    async def get_line(self, device: Any, prompt: str = "", *, timeout: float | None = None) -> str:
        """Read a line, with its line end (``io:get_line/2``); an empty string at the end of input.
        Raises the errors of :meth:`request`."""
        line = await self.request(device, (_GET_LINE, UNICODE, prompt), timeout=timeout)
        text = "" if line == EOF else characters(line)
        if text is None:
            raise NodeError(f"expected text from {described(device)}, got {shown(line)}")
        return text

    async def request(self, device: Any, request: Any, *, timeout: float | None = None) -> Any:
        """Send a request of the I/O protocol and return the answer (``io:request/2``).

        Raises :class:`NodeError` where it is ``{error, Reason}``, :class:`NoSuchProcess`,
        :class:`NotConnected`, :class:`ProcessEnded` and :class:`CallTimeout`.
        """
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
