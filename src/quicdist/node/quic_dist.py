"""The functions of the module ``quic_dist``: user streams whose owner is a process, and connect options.

Data and events of a stream come to its owner as messages:

======================================================  ===============================================
``{quic_dist_stream, Ref, {data, Bin, Fin}}``           bytes came, or none; with ``Fin`` no more follow
``{quic_dist_stream, Ref, {reset, Code}}``              the stream was broken off, by either side
``{quic_dist_stream, Ref, closed}``                     both sides have finished
======================================================  ===============================================

``Ref`` is ``{quic_dist_stream, Node, StreamId}``. As in quic_dist, a stream whose owner ends is reset
with code 0. Unlike there, a process that does not receive slows the sender down: data in its mailbox count
against the stream's window.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from quicdist.carrier import DEFAULT_PRIORITY, StreamError, StreamLost, UserStream
from quicdist.node.endpoints import Endpoint, quic_carriers
from quicdist.node.process import Process
from quicdist.node.streams import StreamAcceptor, StreamInfo, Streams
from quicdist.protocol.names import node_name, parse_node_name
from quicdist.term import Atom
from quicdist.term.names import Name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quicdist.carrier import ConnectOptions
    from quicdist.carrier.user_stream import Buffer
    from quicdist.node.runtime import Runtime

TAG = Atom("quic_dist_stream")
DATA = Atom("data")
RESET = Atom("reset")
CLOSED = Atom("closed")

#: ``quic_dist:stream_ref()``: ``{quic_dist_stream, Node, StreamId}``.
StreamRef = tuple[Atom, Atom, int]


class QuicDist:
    """User streams, and options for dialling single nodes, by the names and rules of the module
    ``quic_dist``. ``process`` is the one that calls, ``self()`` there."""

    def __init__(
        self, streams: Streams, runtime: Callable[[], Runtime], endpoints: Sequence[Endpoint] = ()
    ) -> None:
        self._streams = streams
        self._runtime = runtime
        self._endpoints = endpoints
        self._owned: dict[Process, set[UserStream]] = {}
        self._accepting: dict[Process, list[StreamAcceptor]] = {}

    # -- how single nodes are dialled --------------------------------------------------------

    def set_connect_options(self, node: Name, options: ConnectOptions) -> None:
        """Dial ``node`` with these options from now on; earlier ones are replaced
        (``quic_dist:set_connect_options/2``, whose options apply to one dial only). An existing connection
        is not affected. Raises :class:`NodeError` if this node has no QUIC carrier."""
        name = str(parse_node_name(node_name(node)))
        for carrier in quic_carriers(self._endpoints):
            carrier.connect_options[name] = options

    def get_connect_options(self, node: Name) -> ConnectOptions:
        """The options set for ``node`` (``quic_dist:get_connect_options/1``). Raises
        :class:`NodeError` if this node has no QUIC carrier."""
        carrier = quic_carriers(self._endpoints)[0]
        from quicdist.carrier import ConnectOptions  # here it is loaded already

        return carrier.connect_options.get(node_name(node), ConnectOptions())

    def clear_connect_options(self, node: Name) -> None:
        """Remove the options set for ``node`` (``quic_dist:clear_connect_options/1``). Raises
        :class:`NodeError` if this node has no QUIC carrier."""
        for carrier in quic_carriers(self._endpoints):
            carrier.connect_options.pop(node_name(node), None)

    # -- opening and accepting -------------------------------------------------------------

    async def open_stream(
        self, process: Process, node: Name, *, priority: int = DEFAULT_PRIORITY
    ) -> StreamRef:
        """Open a stream to ``node``, owned by ``process`` (``open_stream/1,2``). Priorities go from
        16, the first served, to 255. Raises as :meth:`Streams.open`."""
        stream = await self._streams.open(node, priority)
        self._give(stream, process)
        return ref(stream)

    def accept_streams(self, process: Process, node: Name | None = None) -> None:
        """Let ``process`` accept streams that ``node`` opens (None: all nodes), round robin with other
        acceptors (``accept_streams/1``). The node need not be connected yet."""
        node = None if node is None else node_name(node)
        accepting = self._accepting.get(process)
        if accepting is None:
            accepting = self._accepting[process] = []
            process.on_end(lambda: self.stop_accepting(process, everything=True))
        if not any(acceptor.node == node for acceptor in accepting):
            take = functools.partial(self._give, process=process)
            accepting.append(self._streams.add(StreamAcceptor(self._streams, node, take)))

    def stop_accepting(self, process: Process, node: Name | None = None, *, everything: bool = False) -> None:
        """End :meth:`accept_streams` with the same ``node`` (``stop_accepting/1``), or with any node if
        ``everything`` is true."""
        node = None if node is None else node_name(node)
        accepting = self._accepting.get(process, [])
        for acceptor in list(accepting):
            if everything or acceptor.node == node:
                acceptor.stop()
                accepting.remove(acceptor)
        if everything:
            self._accepting.pop(process, None)

    # -- using a stream --------------------------------------------------------------------

    def send(self, process: Process, stream: StreamRef | UserStream, data: Buffer, fin: bool = False) -> None:
        """Send bytes; with ``fin`` they are the last (``send/2,3``). It does not wait: see
        :meth:`drain`. Raises :class:`StreamError` for a stream of another process and for an ended one,
        and what :meth:`UserStream.write` raises."""
        found = self._owned_by(process, stream)
        found.write(data)
        if fin:
            found.write_eof()

    async def drain(self, process: Process, stream: StreamRef | UserStream) -> None:
        """Wait while more bytes are buffered than the stream's limit."""
        await self._owned_by(process, stream).drain()

    def close_stream(self, process: Process, stream: StreamRef | UserStream) -> None:
        """End the sending direction (``close_stream/1``); data still arrive."""
        self._owned_by(process, stream).write_eof()

    def reset_stream(self, process: Process, stream: StreamRef | UserStream, code: int = 0) -> None:
        """Reset a stream, in both directions (``reset_stream/1,2``)."""
        self._owned_by(process, stream).reset(code)

    def controlling_process(
        self, process: Process | None, stream: StreamRef | UserStream, new_owner: Process
    ) -> None:
        """Give a stream to another process, which gets the data from now on
        (``controlling_process/2``). ``process`` is the present owner, None if Python code read the
        stream."""
        found = self._owned_by(process, stream)
        self._let_go(found)
        self._give(found, new_owner)

    def list_streams(self, node: Name | None = None) -> list[StreamInfo]:
        """The streams with ``node``, or all nodes (``list_streams/0,1``)."""
        return self._streams.list(node)

    def _owned_by(self, process: Process | None, stream: StreamRef | UserStream) -> UserStream:
        found = stream if isinstance(stream, UserStream) else self._find(stream)
        owner = self._streams.owners.get(found)
        if owner is not process:
            raise StreamError(found.node, f"{owner or 'no process'} owns {found!r}, not {process}")
        return found

    def _find(self, ref: StreamRef) -> UserStream:
        _, node, stream_id = ref
        stream = self._streams.find(str(node), stream_id)
        if stream is None:
            raise StreamError(str(node), f"there is no stream {stream_id} with {node}, or it has ended")
        return stream

    # -- owners ----------------------------------------------------------------------------

    def _give(self, stream: UserStream, process: Process) -> None:
        if not process.alive:
            stream.reset()
            return
        owned = self._owned.get(process)
        if owned is None:
            owned = self._owned[process] = set()
            process.on_end(lambda: self._owner_ended(process))
        owned.add(stream)
        self._streams.owners[stream] = process
        stream.hand_over(_Owner(self, self._runtime(), process, stream))

    def _let_go(self, stream: UserStream) -> None:
        process = self._streams.owners.pop(stream, None)
        if process is not None and process in self._owned:
            self._owned[process].discard(stream)

    def over(self, stream: UserStream) -> None:
        """A stream has ended and has no owner any more."""
        self._let_go(stream)

    def _owner_ended(self, process: Process) -> None:
        for stream in self._owned.pop(process, ()):
            self._streams.owners.pop(stream, None)
            stream.reset()


class _Owner:
    """Converts the data and events of a stream to messages to its owner."""

    __slots__ = ("_process", "_quic_dist", "_ref", "_runtime")

    def __init__(self, quic_dist: QuicDist, runtime: Runtime, process: Process, stream: UserStream) -> None:
        self._quic_dist = quic_dist
        self._runtime = runtime
        self._process = process
        self._ref = ref(stream)

    def stream_data(self, stream: UserStream, data: bytes, fin: bool) -> None:
        taken = functools.partial(stream.consumed, len(data))
        self._runtime.submit(self._deliver, (TAG, self._ref, (DATA, data, fin)), taken)

    def _deliver(self, message: Any, taken: Callable[[], None]) -> None:
        process = self._process
        if process.alive and type(process).handle is Process.handle:
            process.mailbox.put(message, taken=taken)
        else:
            self._runtime.signal_queue.hand_over(process, message)
            taken()

    def stream_reset(self, stream: UserStream, code: int) -> None:
        self._tell(stream, (RESET, code))

    def stream_closed(self, stream: UserStream) -> None:
        self._tell(stream, CLOSED)

    def stream_lost(self, stream: UserStream, error: StreamLost) -> None:
        # As in quic_dist there is no message: monitors report that the node is down.
        self._quic_dist.over(stream)

    def _tell(self, stream: UserStream, what: Any) -> None:
        self._quic_dist.over(stream)
        self._runtime.deliver(self._process, (TAG, self._ref, what))


def ref(stream: UserStream) -> StreamRef:
    """``{quic_dist_stream, Node, StreamId}``."""
    return (TAG, Atom(stream.node), stream.stream_id)
