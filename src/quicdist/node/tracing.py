"""Traces of calls: what a tracer is told, and what it may not break.

:mod:`quicdist.opentelemetry` has a tracer. Without one, nothing here runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from quicdist.containment import contained
from quicdist.logs import get_logger

log = get_logger("quicdist.node.tracing")

#: The outcome of a call that returned; others are as in :class:`~quicdist.otp.CallMetrics`.
RETURNED = "return"
#: The outcome of a call whose caller no longer waits.
CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True)
class TracedCall:
    """One call. ``kind`` is ``"erpc"`` or ``"gen"``; ``peer`` is the other node, or this one; ``name`` is
    ``"lists:reverse/1"``, or for ``gen`` the registered name of the server, or ``""`` if it has none."""

    kind: str
    node: str
    peer: str
    name: str


class Span(Protocol):
    """One call while it lasts."""

    @property
    def headers(self) -> Mapping[str, str]:
        """For a call by this node: what is carried to a peer that has a tracer as well (W3C Trace
        Context)."""

    def active(self) -> AbstractContextManager[None]:
        """A context in which the span is the current one: the function that is called runs in it."""

    def end(self, outcome: str) -> None:
        """The call has ended."""


class CallTracer(Protocol):
    """Makes a span of each call: ``Node(tracer=...)``. What it raises is logged; the call goes on."""

    def client_span(self, call: TracedCall) -> Span:
        """This node calls another one, or itself."""

    def server_span(self, call: TracedCall, headers: Mapping[str, str]) -> Span:
        """This node is called. ``headers`` are those that the caller's span had, if they were carried."""


class SafeSpan:
    """A span whose failures are logged, and that ends once."""

    __slots__ = ("_ended", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._ended = False

    def headers(self) -> list[tuple[str, str]]:
        """The headers to be carried."""
        return contained(log, "headers of a span", lambda: list(self._span.headers.items())) or []

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """See :meth:`Span.active`."""
        with contextlib.ExitStack() as stack:
            contained(log, "a span", lambda: stack.enter_context(self._span.active()))
            yield

    def end(self, outcome: str) -> None:
        """See :meth:`Span.end`. Only the first call counts."""
        if not self._ended:
            self._ended = True
            contained(log, "the end of a span", self._span.end, outcome)


def client_span(tracer: CallTracer, call: TracedCall) -> SafeSpan | None:
    """The span of a call by this node; None if the tracer fails."""
    span = contained(log, "a tracer", tracer.client_span, call)
    return None if span is None else SafeSpan(span)


def server_span(tracer: CallTracer, call: TracedCall, headers: Mapping[str, str]) -> SafeSpan | None:
    """The span of a call of this node; None if the tracer fails."""
    span = contained(log, "a tracer", tracer.server_span, call, headers)
    return None if span is None else SafeSpan(span)
