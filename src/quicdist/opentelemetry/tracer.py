"""A span for each call, on the side of the caller and on that of the callee."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import SpanKind, Status, StatusCode

from quicdist.node import TracedCall
from quicdist.node.tracing import RETURNED

_SCOPE = "quicdist"


class OpenTelemetryTracer:
    """Makes spans by OpenTelemetry: ``Node(tracer=OpenTelemetryTracer())``.

    Each call by this node has a span of kind CLIENT, each call of an exported function or of a server's
    ``handle_call`` one of kind SERVER. The parent of a CLIENT span is the current span; that of a SERVER span
    is the CLIENT span, if the caller is a Python node with a tracer: then its context is carried, by default
    as W3C Trace Context and Baggage.

    ``tracer_provider`` is the global one by default, ``propagator`` too.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        propagator: TextMapPropagator | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        self._propagator = propagator

    def client_span(self, call: TracedCall) -> OpenTelemetrySpan:
        """See :class:`~quicdist.node.CallTracer`."""
        span = self._tracer.start_span(
            _name(call), kind=SpanKind.CLIENT, attributes={**_attributes(call), "server.address": call.peer}
        )
        here = trace.set_span_in_context(span)
        headers: dict[str, str] = {}
        self._propagation.inject(headers, context=here)
        return OpenTelemetrySpan(span, here, headers)

    def server_span(self, call: TracedCall, headers: Mapping[str, str]) -> OpenTelemetrySpan:
        """See :class:`~quicdist.node.CallTracer`."""
        parent = self._propagation.extract(dict(headers), context=Context())
        span = self._tracer.start_span(
            _name(call),
            context=parent,
            kind=SpanKind.SERVER,
            attributes={**_attributes(call), "client.address": call.peer},
        )
        return OpenTelemetrySpan(span, trace.set_span_in_context(span, parent), {})

    @property
    def _propagation(self) -> TextMapPropagator:
        return self._propagator or propagate.get_global_textmap()


class OpenTelemetrySpan:
    """See :class:`~quicdist.node.Span`."""

    def __init__(self, span: trace.Span, here: Context, headers: Mapping[str, str]) -> None:
        self._span = span
        self._here = here
        self._headers = headers

    @property
    def headers(self) -> Mapping[str, str]:
        """What is carried to the callee."""
        return self._headers

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Run in the context of the span."""
        token = context.attach(self._here)
        try:
            yield
        finally:
            context.detach(token)

    def end(self, outcome: str) -> None:
        """End the span; an outcome other than ``return`` is an error."""
        if outcome != RETURNED:
            self._span.set_attribute("error.type", outcome)
            self._span.set_status(Status(StatusCode.ERROR, outcome))
        self._span.end()


def _name(call: TracedCall) -> str:
    """A name of low cardinality, as the conventions for RPC want it."""
    return call.name if call.kind == "erpc" else f"call {call.name}".rstrip()


def _attributes(call: TracedCall) -> dict[str, str]:
    service, _, method = call.name.partition(":")
    found = {"rpc.system": f"erlang_{call.kind}", "quicdist.node": call.node}
    if call.kind == "erpc":
        return found | {"rpc.service": service, "rpc.method": method}
    return found | ({"rpc.service": service} if service else {})
