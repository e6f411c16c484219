"""Spans of calls, with the SDK of OpenTelemetry, between Python nodes and with a stock BEAM."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from quicdist import Atom, CallTimeout, GenServer, ImproperList, Node, Process, Reference, RemoteError
from quicdist.discovery import StaticDiscovery
from quicdist.node import CallTracer, Span, TracedCall
from quicdist.opentelemetry import OpenTelemetryTracer
from quicdist.otp.trace_propagation import MAX_HEADERS, of_mfa, of_tag
from tests.support.beam import Beam, tcp_args
from tests.support.epmd import private_epmd

ONE, TWO, BEAM = "one@127.0.0.1", "two@127.0.0.1", "beam@127.0.0.1"


class Recorder:
    """A provider that keeps the spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = OpenTelemetryTracer(self.provider)

    def take(self) -> list[ReadableSpan]:
        spans = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return spans


@pytest.fixture
def one_spans() -> Recorder:
    return Recorder()


@pytest.fixture
def two_spans() -> Recorder:
    return Recorder()


class Server(GenServer):
    """Answers with the trace that it is called in, at once, after a while, or not at all."""

    async def _later(self) -> int:
        await asyncio.sleep(0)
        return trace_id()

    def handle_call(self, request: Any, sender: Any) -> Any:
        if request == Atom("fail"):
            raise ValueError("no")
        return self._later() if request == Atom("later") else trace_id()


def trace_id() -> int:
    return trace.get_current_span().get_span_context().trace_id


async def later() -> int:
    await asyncio.sleep(0)
    return trace_id()


@contextlib.asynccontextmanager
async def nodes(one: CallTracer | None, two: CallTracer | None) -> AsyncIterator[tuple[Node, Node]]:
    table = StaticDiscovery({})
    options: dict[str, Any] = {"cookie": "traces", "carrier": "tcp", "host": "127.0.0.1", "discovery": table}
    async with Node(TWO, tracer=two, **options) as there:
        there.exports.add("py", "trace", trace_id)
        there.exports.add("py", "later", later)
        there.exports.add("py", "blocking", trace_id, blocking=True)
        there.exports.add("py", "baggage", lambda: dict(baggage.get_all()))
        there.serve(Server(), name="server")
        async with Node(ONE, tracer=one, **options) as here:
            yield here, there


def of(span: ReadableSpan) -> tuple[str, SpanKind]:
    return span.name, span.kind


def same_trace(client: ReadableSpan, server: ReadableSpan) -> bool:
    """Whether the span of the callee is a child of that of the caller."""
    assert client.context is not None
    parent = server.parent
    return (
        parent is not None
        and parent.is_remote
        and (parent.trace_id, parent.span_id) == (client.context.trace_id, client.context.span_id)
    )


@pytest.mark.parametrize("function", ["trace", "later", "blocking"])
async def test_a_call_by_erpc_has_a_span_on_both_sides_in_one_trace(
    one_spans: Recorder, two_spans: Recorder, function: str
) -> None:
    async with nodes(one_spans.tracer, two_spans.tracer) as (one, _):
        for _ in range(2):
            seen = await one.call(TWO, "py", function)
            (client,), (server,) = one_spans.take(), two_spans.take()
            assert of(client) == (f"py:{function}/0", SpanKind.CLIENT)
            assert of(server) == (f"py:{function}/0", SpanKind.SERVER)
            assert same_trace(client, server)
            assert client.context is not None
            assert seen == client.context.trace_id, "the function runs in the span"
        assert client.attributes == {
            "rpc.system": "erlang_erpc",
            "rpc.service": "py",
            "rpc.method": f"{function}/0",
            "quicdist.node": ONE,
            "server.address": TWO,
        }


@pytest.mark.parametrize("request_", ["now", "later"])
async def test_a_call_of_a_server_has_a_span_on_both_sides_in_one_trace(
    one_spans: Recorder, two_spans: Recorder, request_: str
) -> None:
    async with nodes(one_spans.tracer, two_spans.tracer) as (one, two):
        await one.connect(TWO)
        for caller in (one, two):
            seen = await caller.gen_server_call(("server", TWO), Atom(request_))
            clients, servers = one_spans.take() + two_spans.take(), []
            servers = [each for each in clients if each.kind is SpanKind.SERVER]
            (client,) = (each for each in clients if each.kind is SpanKind.CLIENT)
            assert [of(each) for each in servers] == [("call server", SpanKind.SERVER)]
            assert client.name == "call server"
            assert same_trace(client, servers[0])
            assert client.context is not None
            assert seen == client.context.trace_id


async def test_the_current_span_is_the_parent_and_baggage_is_carried(
    one_spans: Recorder, two_spans: Recorder
) -> None:
    tracer = one_spans.provider.get_tracer("test")
    async with nodes(one_spans.tracer, two_spans.tracer) as (one, _):
        token = context.attach(baggage.set_baggage("tenant", "blue"))
        try:
            with tracer.start_as_current_span("work") as work:
                assert await one.call(TWO, "py", "baggage") == {b"tenant": b"blue"}
        finally:
            context.detach(token)
        client, parent = one_spans.take()
        assert client.parent is not None
        assert client.parent.span_id == work.get_span_context().span_id
        assert parent.name == "work"


async def test_a_call_that_fails_is_an_error_on_both_sides(one_spans: Recorder, two_spans: Recorder) -> None:
    async with nodes(one_spans.tracer, two_spans.tracer) as (one, two):
        with pytest.raises(RemoteError, match="undef"):
            await one.call(TWO, "py", "nothing")
        (client,), (server,) = one_spans.take(), two_spans.take()
        assert (client.status.status_code, client.status.description) == (StatusCode.ERROR, "RemoteError")
        assert (server.status.status_code, server.status.description) == (StatusCode.ERROR, "error")
        assert client.attributes is not None
        assert client.attributes["error.type"] == "RemoteError"
        silent = two.spawn(lambda process, message: None, name="silent")
        with pytest.raises(CallTimeout):
            await one.gen_server_call(silent.pid, 1, timeout=0.01)
        call = asyncio.ensure_future(one.gen_server_call(("silent", TWO), 1, timeout=None))
        await asyncio.sleep(0)
        await one.call(TWO, "py", "trace")
        call.cancel()
        await asyncio.wait([call])
        outcomes = {each.name: each.status.description for each in one_spans.take()}
        assert outcomes == {"call": "CallTimeout", "py:trace/0": None, "call silent": "Cancelled"}


async def test_a_server_that_fails_ends_its_span(one_spans: Recorder, two_spans: Recorder) -> None:
    async with nodes(one_spans.tracer, two_spans.tracer) as (one, _):
        with pytest.raises(Exception, match=r"server on two@127\.0\.0\.1 ended"):
            await one.gen_server_call(("server", TWO), Atom("fail"))
        (server,) = two_spans.take()
        assert (server.name, server.status.description) == ("call server", "ValueError")


@pytest.mark.parametrize("traced", [ONE, TWO])
async def test_with_a_tracer_on_one_side_only_nothing_is_carried(
    one_spans: Recorder, two_spans: Recorder, traced: str
) -> None:
    one_tracer = one_spans.tracer if traced == ONE else None
    two_tracer = two_spans.tracer if traced == TWO else None
    async with nodes(one_tracer, two_tracer) as (one, two):
        tags: list[Any] = []

        async def plain(process: Process) -> None:
            while True:
                _, (pid, tag), _ = await process.receive()
                tags.append(tag)
                process.send(pid, (tag, 1))

        two.spawn(plain, name="plain")
        await one.call(TWO, "py", "trace")
        assert await one.gen_server_call(("plain", TWO), 1) == 1
        assert [isinstance(tag.tail, Reference) for tag in tags] == [True]
        spans = one_spans.take() + two_spans.take()
        assert spans[0].name == "py:trace/0"
        assert all(each.parent is None for each in spans)


async def test_a_plain_process_can_answer_a_call_with_headers(
    one_spans: Recorder, two_spans: Recorder
) -> None:
    async with nodes(one_spans.tracer, two_spans.tracer) as (one, two):

        async def plain(process: Process) -> None:
            _, (pid, tag), request = await process.receive()
            assert list(of_tag(tag)) == ["traceparent"]
            process.send(pid, (tag, request))

        two.spawn(plain, name="plain")
        await one.connect(TWO)
        assert await one.gen_server_call(("plain", TWO), Atom("question")) == Atom("question")


async def test_a_tracer_that_fails_changes_no_call(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def client_span(self, call: TracedCall) -> Span:
            raise ValueError("no client span")

        def server_span(self, call: TracedCall, headers: Mapping[str, str]) -> Span:
            return BrokenSpan()

    class BrokenSpan:
        @property
        def headers(self) -> Mapping[str, str]:
            raise ValueError("no headers")

        def active(self) -> Any:
            raise ValueError("not active")

        def end(self, outcome: str) -> None:
            raise SystemExit(1)

    class BrokenSpans(Broken):
        def client_span(self, call: TracedCall) -> Span:
            return BrokenSpan()

    for tracer in (Broken(), BrokenSpans()):
        async with nodes(tracer, tracer) as (one, _):
            assert await one.call(TWO, "py", "trace") == 0
            assert await one.gen_server_call(("server", TWO), Atom("later")) == 0
    assert {record.message for record in caplog.records} >= {
        "a tracer failed",
        "headers of a span failed",
        "a span failed",
        "the end of a span failed",
    }


@pytest.mark.parametrize(
    "headers",
    [
        *(Atom("no"), [1], [(b"a", 1)], [(b"\xff", b"x")], [(b"a", bytes(9000))], {b"a": b"b"}),
        [(b"traceparent", b"nonsense")],
        [(b"traceparent", b"00-" + b"f" * 32 + b"-" + b"0" * 16 + b"-01")] * 100,
    ],
    ids=lambda each: repr(each)[:20],
)
async def test_headers_that_are_none_are_ignored(two_spans: Recorder, headers: Any) -> None:
    mfa = (Atom("quicdist"), Atom("traced"), [headers, Atom("py"), Atom("trace"), []])
    found, inner = of_mfa(mfa)
    assert inner == (Atom("py"), Atom("trace"), [])
    assert len(found) <= MAX_HEADERS
    assert of_tag(ImproperList([ImproperList([Atom("alias")], 1)], (Atom("traceparent"), headers))) == found
    async with nodes(None, two_spans.tracer) as (one, _):
        assert await one.call(TWO, *mfa) != 0
    (span,) = two_spans.take()
    assert (span.name, span.parent) == ("py:trace/0", None)


@pytest.fixture(scope="module")
def beam() -> Iterator[Beam]:
    with private_epmd(), Beam(tcp_args(BEAM)) as running:
        yield running


@pytest.mark.beam
async def test_a_beam_is_asked_once_and_sees_calls_without_headers(beam: Beam, one_spans: Recorder) -> None:
    await beam.eval(
        "Self = self(), Server = spawn(fun Loop() -> receive {'$gen_call', From, Request} -> "
        "Self ! {From, Request}, gen:reply(From, ok), Loop() end end), register(server, Server)"
    )
    await beam.eval(
        "erlang:trace(new_processes, true, [call]), erlang:trace_pattern({erpc, execute_call, 4}, true, [])"
    )
    logged = beam.logged()
    async with Node(ONE, cookie="secret", carrier="tcp", host="127.0.0.1", tracer=one_spans.tracer) as one:
        for _ in range(2):
            assert await one.call(BEAM, "lists", "reverse", [[1, 2]]) == [2, 1]
            assert await one.gen_server_call(("server", BEAM), Atom("ask")) == Atom("ok")
        names = [each.name for each in one_spans.take()]
        assert names == ["lists:reverse/1", "call server"] * 2
    calls = await beam.eval(
        "F = fun F() -> receive {trace, _, call, {_, _, [_, M, N, _]}} -> [{M, N} | F()] "
        "after 0 -> [] end end, F()"
    )
    assert calls == "[{quicdist,features},{lists,reverse},{lists,reverse}]"
    tags = await beam.eval(
        "G = fun G() -> receive {{_, [alias | Ref]}, ask} when is_reference(Ref) -> [plain | G()]; "
        "Other -> [Other | G()] after 0 -> [] end end, G()"
    )
    assert tags == "[plain,plain]"
    assert beam.logged() == logged
