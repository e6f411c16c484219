"""The span of a call while a callback of a server handles it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from quicdist.containment import dispose
from quicdist.node.process import Process
from quicdist.node.tracing import RETURNED, CallTracer, SafeSpan, TracedCall, server_span
from quicdist.otp.gen_messages import From
from quicdist.otp.trace_propagation import of_tag


def in_server_span(tracer: CallTracer, process: Process, sender: From, callback: Callable[[], Any]) -> Any:
    """What ``callback`` returns, called in a span that ends when it, or the coroutine that it returns, has
    ended. A reply that is sent later is not part of it."""
    call = TracedCall("gen", process.runtime.name, sender[0].node.name, process.name or "")
    span = server_span(tracer, call, of_tag(sender[1]))
    if span is None:
        return callback()
    try:
        with span.active():
            result = callback()
    except BaseException as error:
        span.end(type(error).__name__)
        raise
    if isinstance(result, Awaitable):
        return _awaited(result, span)
    span.end(RETURNED)
    return result


async def _awaited(result: Awaitable[Any], span: SafeSpan) -> Any:
    try:
        with span.active():
            value = await result
    except BaseException as error:
        span.end(type(error).__name__)
        raise
    finally:
        dispose(result)
    span.end(RETURNED)
    return value
