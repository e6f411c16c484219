"""Traces and metrics for OpenTelemetry. It needs ``pip install 'quicdist[opentelemetry]'``.

Only the API is used: the program sets up the SDK and its exporters, and without them nothing is recorded.
"""

from quicdist.opentelemetry.instruments import observe
from quicdist.opentelemetry.tracer import OpenTelemetryTracer

__all__ = ["OpenTelemetryTracer", "observe"]
