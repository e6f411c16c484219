"""The events of a connection of aioquic's, all at once."""

from __future__ import annotations

from collections import deque

from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StreamDataReceived


def take_events(quic: QuicConnection) -> list[QuicEvent]:
    """All events that wait. aioquic gives one at a time, and another thread could come between."""
    waiting = quic._events
    taken = list(waiting)
    waiting.clear()
    return taken


def events_waiting(quic: QuicConnection) -> int:
    """How many events wait to be taken."""
    return len(quic._events)


def join_events(quic: QuicConnection, start: int) -> None:
    """Join neighbouring pieces of one stream among the events that wait, from the one at ``start`` on: where
    nobody takes them for long, small pieces are to cost little more than their bytes."""
    waiting = quic._events
    fresh = [waiting.pop() for _ in range(len(waiting) - start)]
    run: list[StreamDataReceived] = []
    for event in reversed(fresh):
        if type(event) is StreamDataReceived and (not run or event.stream_id == run[-1].stream_id):
            run.append(event)
            continue
        _append_joined(waiting, run)
        run = []
        if type(event) is StreamDataReceived:
            run.append(event)
        else:
            waiting.append(event)
    _append_joined(waiting, run)


def _append_joined(waiting: deque[QuicEvent], run: list[StreamDataReceived]) -> None:
    if len(run) > 1:
        data = b"".join([event.data for event in run])
        last = run[-1]
        waiting.append(StreamDataReceived(data=data, end_stream=last.end_stream, stream_id=last.stream_id))
    else:
        waiting.extend(run)
