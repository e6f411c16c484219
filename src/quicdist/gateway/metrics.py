"""The metrics page: HTTP on loopback, in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from quicdist.gateway.local_server import LocalServer

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
        self._server = LocalServer("show the metrics page", self._page, most=MAX_REQUESTS, limit=MAX_REQUEST)
        self.listen = self._server.listen
        self.close = self._server.close

    @property
    def port(self) -> int:
        return self._server.port

    async def _page(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_TIME):
            writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
            await writer.drain()

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
