"""The metrics page: HTTP on loopback, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from quicdist.forking import close_in_children
from quicdist.gateway.errors import GatewayError

#: Seconds for a request to come and its answer to be taken, and the limit of a request, in bytes.
REQUEST_TIME: Final = 5.0
MAX_REQUEST: Final = 8192
#: Requests at once.
MAX_REQUESTS: Final = 16

_TYPE = "Content-Type: text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """One metric: its name, ``counter`` or ``gauge``, what it means, and its values by their labels."""

    name: str
    kind: str
    meaning: str
    values: Sequence[tuple[dict[str, str], int]]


def page(metrics: Iterable[Metric]) -> str:
    """The page of some metrics."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.values:
            shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            lines.append(f"{metric.name}{{{shown}}} {value}" if shown else f"{metric.name} {value}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class MetricsPage:
    """Answers ``GET /metrics`` with the metrics that ``collect`` returns."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self.port = 0

    async def listen(self, host: str, port: int) -> None:
        """Raises :class:`GatewayError`."""
        try:
            self._server = await asyncio.start_server(self._connected, host, port, limit=MAX_REQUEST)
        except OSError as error:
            raise GatewayError(f"no metrics page at {host}:{port}: {error.strerror or error}") from error
        for sock in self._server.sockets:
            close_in_children(sock.fileno())
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._answering:
            task.cancel()
        if self._answering:
            await asyncio.wait(self._answering)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._answering) < MAX_REQUESTS:
                self._answering.add(task)
                async with asyncio.timeout(REQUEST_TIME):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # The client has gone, or sends no request.
        except asyncio.CancelledError:
            pass  # The gateway stops.
        finally:
            self._answering.discard(task)
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "only GET is answered\n")
        if words[1].partition(b"?")[0] != b"/metrics":
            return _response("404 Not Found", "the page is /metrics\n")
        return _response("200 OK", page(self._collect()), body=words[0] == b"GET")


def _response(status: str, text: str, *, body: bool = True) -> bytes:
    raw = text.encode()
    lines = (f"HTTP/1.1 {status}", _TYPE, f"Content-Length: {len(raw)}", "Connection: close", "", "")
    return "\r\n".join(lines).encode() + (raw if body else b"")
