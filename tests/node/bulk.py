"""Bulk transfers between a node and one of :mod:`tests.node.streams_peer`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from quicdist import Atom, Process

#: The body of a process that transfers, and of another one that sends small messages meanwhile.
Bulk = Callable[[Process, Process], Awaitable[None]]


def sending(peer: str, size: int) -> Bulk:
    async def bulk(process: Process, other: Process) -> None:
        process.send(("size", peer), (process.pid, bytes(size)))
        assert await process.receive() == size

    return bulk


def receiving(peer: str, size: int) -> Bulk:
    async def bulk(process: Process, other: Process) -> None:
        process.send(("push", peer), (process.pid, size))
        assert len(await process.receive()) == size

    return bulk


def streaming_out(peer: str, size: int) -> Bulk:
    async def bulk(process: Process, other: Process) -> None:
        async with await process.node.open_stream(peer) as stream:
            await stream.send(bytes(size))
            stream.write_eof()
            assert await stream.read() == b""

    return bulk


def streaming_in(peer: str, size: int) -> Bulk:
    async def bulk(process: Process, other: Process) -> None:
        node = process.node
        async with node.accept_streams() as streams:
            process.send(("stream", peer), (Atom(node.name), size))
            stream = await anext(aiter(streams))
        assert len(await stream.read()) == size
        stream.write_eof()

    return bulk


WAYS: dict[str, Callable[[str, int], Bulk]] = {
    "sending": sending,
    "receiving": receiving,
    "streaming_out": streaming_out,
    "streaming_in": streaming_in,
}
