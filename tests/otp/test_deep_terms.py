"""Terms nested so deep that Python's own ``repr``, ``==``, ``hash`` and ``pickle`` give up or crash on
them: whoever does that with one fails alone, and the node does not."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from quicdist import Atom, GenServer, Node, Process, RemoteError, Stop, Supervisor
from quicdist.node.errors import ProcessEnded
from quicdist.otp.gen_messages import GEN_CALL, SYSTEM, From
from quicdist.term import ImproperList, Map, exactly_equal
from tests.otp.test_kernel_supervisor import SERVICES, pid_of
from tests.support.head_of_line import in_process

DEPTH = 2_000


def nested(wrap: Callable[[Any], Any], levels: int = DEPTH) -> Any:
    term: Any = Atom("bottom")
    for _ in range(levels):
        term = wrap(term)
    return term


DEEP = {
    "list": nested(lambda term: [term]),
    "tuple": nested(lambda term: (term,)),
    "improper": nested(lambda term: ImproperList([term], 1)),
    "map": nested(lambda term: {1: term}),
    "key": nested(lambda term: Map([([term], 1)]), DEPTH // 2),
}
deep = pytest.mark.parametrize("term", DEEP.values(), ids=DEEP)


class Server(GenServer):
    def handle_call(self, request: Any, sender: From) -> Any:
        match request:
            case (b"echo", term):
                return term
            case (b"stop", term):
                return Stop(term)
            case (b"equal", term):
                return term == request[1]
            case (b"hash", term):
                return hash(term)
            case (b"repr", term):
                return repr(term)


@deep
async def test_a_deep_term_is_sent_replied_and_used_as_a_reason(
    one: Node, two: Node, term: Any, caplog: pytest.LogCaptureFixture
) -> None:
    two.serve(Server(), name="server")
    two.export("m", "same")(lambda term: term)

    @two.export("m")
    def fails(term: Any) -> None:
        raise RemoteError("error", term)

    async def use(process: Process) -> None:
        same = await one.gen_server.call(("server", two.name), ("echo", term))
        assert exactly_equal(same, term)
        assert exactly_equal(await one.call(two.name, "m", "same", [term]), term)
        assert exactly_equal(await one.rpc.block_call(two.name, "m", "same", [term]), term)
        with pytest.raises(RemoteError) as remote:
            await one.call(two.name, "m", "fails", [term])
        assert exactly_equal(remote.value.reason, term)
        assert len(str(remote.value)) < 2000
        with pytest.raises(ProcessEnded) as ended:
            await one.gen_server.call(("server", two.name), ("stop", term))
        assert exactly_equal(ended.value.reason, term)
        assert len(str(ended.value)) < 2000
        # A case that is missing, with the request in the reason and in the report.
        two.serve(Server(), name="server")
        with pytest.raises(ProcessEnded, match="function_clause"):
            await one.gen_server.call(("server", two.name), term)

    await in_process(one, use)
    assert one.nodes("connected") == [two.name]
    assert "Logging error" not in caplog.text
    assert len(caplog.text) < 50_000


@deep
@pytest.mark.parametrize("what", ["equal", "hash", "repr"])
async def test_a_recursion_error_ends_only_the_process_that_raises_it(
    one: Node, two: Node, term: Any, what: str
) -> None:
    server = two.serve(Server(), name="server")
    try:
        await one.gen_server.call(("server", two.name), (what, term))
    except ProcessEnded:
        assert not server.alive
    assert one.nodes("connected") == [two.name]
    assert await one.ping(two.name)


@deep
async def test_services_and_supervisors_survive_a_request_with_a_deep_term(
    one: Node, two: Node, term: Any
) -> None:
    supervisor = two.serve(Supervisor([]), name="supervisor")
    two.pg.start("scope")

    async def ask(process: Process) -> None:
        before = {name: pid_of(two, name) for name in SERVICES}
        own = process.pid
        tag = ImproperList([Atom("alias")], process.alias())
        for name in (*SERVICES, "supervisor", "scope"):
            messages = [
                term,
                (GEN_CALL, (own, tag), term),
                (GEN_CALL, (own, tag), (Atom("restart_child"), term)),
                (GEN_CALL, (own, tag), (Atom("start_child"), {Atom("id"): term})),
                (GEN_CALL, (own, tag), (Atom("call"), term, term, term, own)),
                (GEN_CALL, (own, tag), (Atom("call"), Atom("m"), Atom("f"), term, own)),
                (Atom("$gen_cast"), term),
                (SYSTEM, (own, tag), term),
                (SYSTEM, (own, tag), (Atom("debug"), term)),
                (Atom("io_request"), own, tag, term),
                (Atom("io_request"), own, tag, (Atom("put_chars"), Atom("unicode"), term)),
                (Atom("io_request"), own, tag, (Atom("setopts"), [term])),
                (Atom("log"), Atom("error"), term, {Atom("pid"): own}),
                (Atom("log"), Atom("error"), Atom("report"), {1: term}),
                (Atom("join"), own, term, [own]),
            ]
            for message in messages:
                process.send((name, two.name), message)
            assert await one.ping(two.name, timeout=60)
        process.exit(before["rex"], term)
        process.spawn_request(two.name, "m", "f", [term])
        assert await one.ping(two.name)
        assert {name: pid_of(two, name) for name in SERVICES} == before
        assert supervisor.alive

    await in_process(one, ask)
    assert one.nodes("connected") == [two.name]


def echoes(term: Any) -> Any:
    return term


async def test_a_process_pool_refuses_a_deep_term_and_stays_usable(one: Node, two: Node) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        two.export("m", executor=pool)(echoes)
        for term in DEEP.values():
            with pytest.raises(RemoteError):
                await one.call(two.name, "m", "echoes", [term], timeout=30)
            assert await one.call(two.name, "m", "echoes", ["shallow"], timeout=30) == b"shallow"
