"""The event queue of a connection. aioquic returns one event at a time; here all are taken at once, so that
another thread cannot come between.

Stream data are queued as events of the contract (:mod:`quicdist.carrier.quic.engine.aioquic.reassembly`).
The other events are aioquic's until they are taken.
"""

from __future__ import annotations

from collections import deque
from typing import cast

from aioquic.quic import events as theirs
from aioquic.quic.connection import QuicConnection

from quicdist.carrier.quic.engine.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    Event,
    HandshakeCompleted,
    StreamData,
    StreamReset,
)


def take_events(quic: QuicConnection) -> list[Event]:
    """Remove and return all waiting events."""
    waiting = cast("deque[Event | theirs.QuicEvent]", quic._events)
    taken: list[Event] = []
    for event in waiting:
        if type(event) is StreamData:
            taken.append(event)
        elif (own := _translated(event)) is not None:
            taken.append(own)
    waiting.clear()
    return taken


def _translated(event: object) -> Event | None:
    """The event of the contract for one of aioquic; None if there is none."""
    match event:
        case theirs.StreamReset() | theirs.StopSendingReceived():
            return StreamReset(event.stream_id, event.error_code)
        case theirs.HandshakeCompleted():
            return HandshakeCompleted(event.session_resumed, event.early_data_accepted)
        case theirs.ConnectionIdIssued():
            return ConnectionIdIssued(event.connection_id)
        case theirs.ConnectionIdRetired():
            return ConnectionIdRetired(event.connection_id)
        case theirs.ConnectionTerminated():
            return ConnectionTerminated()
    return None


def events_waiting(quic: QuicConnection) -> int:
    """The number of waiting events."""
    return len(quic._events)


def join_events(quic: QuicConnection, start: int) -> None:
    """Join neighbouring data of one stream among the waiting events, from index ``start`` on. Where they wait
    for long, small pieces must not cost much more memory than their bytes."""
    waiting = cast("deque[Event | theirs.QuicEvent]", quic._events)
    fresh = [waiting.pop() for _ in range(len(waiting) - start)]
    run: list[StreamData] = []
    for event in reversed(fresh):
        if type(event) is StreamData and (not run or event.stream_id == run[-1].stream_id):
            run.append(event)
            continue
        _append_joined(waiting, run)
        run = []
        if type(event) is StreamData:
            run.append(event)
        else:
            waiting.append(event)
    _append_joined(waiting, run)


def _append_joined(waiting: deque[Event | theirs.QuicEvent], run: list[StreamData]) -> None:
    if len(run) > 1:
        data = b"".join([event.data for event in run])
        last = run[-1]
        waiting.append(StreamData(last.stream_id, data, last.end_stream))
    else:
        waiting.extend(run)
