"""A fake BEAM answers as the test tells it to, and keeps what came."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quicdist import ANY, Atom, CallTimeout, NoSuchProcess, ProcessEnded, RemoteError
from quicdist.sync import Node
from quicdist.testing import FakeBeam, Received

NAME = "program@127.0.0.1"
NEXT = Atom("next")


@pytest.fixture
def beam() -> Iterator[FakeBeam]:
    with FakeBeam() as beam:
        yield beam


@pytest.fixture
def node(beam: FakeBeam) -> Iterator[Node]:
    """The program under test."""
    with Node(NAME, **beam.options) as node:
        yield node


def test_a_function_returns_what_it_was_told(beam: FakeBeam, node: Node) -> None:
    count = beam.function("stock", "count", 1).returns_each([5, 6])
    assert [node.call(beam.name, "stock", "count", ["apple"]) for _ in range(3)] == [5, 6, 6]
    assert count.calls == [[b"apple"]] * 3
    assert beam.received == [Received("function", "stock:count/1", [b"apple"], NAME)] * 3
    assert beam.function("stock", "count", 1) is count


def test_functions_differ_by_arity_and_others_are_undefined(beam: FakeBeam, node: Node) -> None:
    beam.function("m", "f", 1).returns(1)
    beam.function("m", "f", 2).returns(2)
    assert (node.call(beam.name, "m", "f", [0]), node.call(beam.name, "m", "f", [0, 0])) == (1, 2)
    for function, arguments in [("f", [0, 0, 0]), ("g", [])]:
        with pytest.raises(RemoteError) as caught:
            node.call(beam.name, "m", function, arguments)
        assert (caught.value.kind, caught.value.reason) == ("error", Atom("undef"))
    beam.function("m", "f").returns(3)
    assert node.call(beam.name, "m", "f", [0, 0, 0]) == 3


@pytest.mark.parametrize("kind", ["error", "exit", "throw"])
def test_a_function_fails_as_it_was_told(beam: FakeBeam, node: Node, kind: str) -> None:
    beam.function("m", "f").raises("badarg", kind)
    with pytest.raises(RemoteError) as caught:
        node.call(beam.name, "m", "f")
    assert (caught.value.kind, caught.value.reason) == (kind, Atom("badarg"))


def test_a_kind_of_failure_that_erlang_has_not_is_a_value_error(beam: FakeBeam) -> None:
    with pytest.raises(ValueError, match='kind is "error", "exit" or "throw", not \'fatal\''):
        beam.function("m", "f").raises("badarg", "fatal")


def test_a_function_of_the_test_runs_with_the_arguments(beam: FakeBeam, node: Node) -> None:
    beam.function("m", "add", 2).runs(lambda one, two: one + two)
    assert node.call(beam.name, "m", "add", [1, 2]) == 3
    beam.function("m", "add", 2).raises("badarith")
    with pytest.raises(RemoteError):
        node.call(beam.name, "m", "add", [1, 2])


def test_a_function_and_a_server_that_hang_time_out_and_do_not_delay_the_stop(
    beam: FakeBeam, node: Node
) -> None:
    beam.function("m", "f").hangs()
    beam.server("s").on_call().hangs()
    with pytest.raises(CallTimeout):
        node.call(beam.name, "m", "f", timeout=0.05)
    with pytest.raises(CallTimeout):
        node.gen_server_call(("s", beam.name), NEXT, timeout=0.05)


def test_a_server_answers_by_pattern_and_keeps_casts_and_messages(beam: FakeBeam, node: Node) -> None:
    counter = beam.server("counter")
    counter.on_call(NEXT).returns_each([1, 2])
    counter.on_call((Atom("add"), int)).runs(lambda request: request[1] + 1)
    to = ("counter", beam.name)
    assert [node.gen_server_call(to, NEXT) for _ in range(2)] == [1, 2]
    assert node.gen_server_call(to, (Atom("add"), 4)) == 5
    node.gen_server_cast(to, Atom("reset"))
    node.send(to, (Atom("info"), 1))
    beam.wait_for((Atom("info"), ANY), to="counter")
    assert counter.casts == [Atom("reset")]
    assert counter.messages == [(Atom("info"), 1)]
    assert [one.kind for one in beam.received] == ["call", "call", "call", "cast", "message"]


def test_a_request_that_no_pattern_matches_ends_the_server_and_the_next_call_finds_a_new_one(
    beam: FakeBeam, node: Node
) -> None:
    beam.server("counter").on_call(NEXT).returns(1)
    with pytest.raises(ProcessEnded, match="function_clause"):
        node.gen_server_call(("counter", beam.name), Atom("other"))
    assert node.gen_server_call(("counter", beam.name), NEXT) == 1


def test_a_server_that_the_test_ends_is_gone_until_it_is_asked_for(beam: FakeBeam, node: Node) -> None:
    beam.server("counter").on_call().returns(1)
    with node.mailbox() as inbox:
        reference = inbox.monitor(("counter", beam.name))
        assert node.gen_server_call(("counter", beam.name), NEXT) == 1
        beam.server("counter").stop(Atom("gone"))
        down = inbox.receive((Atom("DOWN"), reference, ANY, ANY, ANY), timeout=30)
        assert down[4] == Atom("gone")
    with pytest.raises(NoSuchProcess):
        node.gen_server_call(("counter", beam.name), NEXT)
    beam.server("counter").on_call().returns(2)
    assert node.gen_server_call(("counter", beam.name), NEXT) == 2


def test_a_server_sends_messages_to_the_program(beam: FakeBeam, node: Node) -> None:
    with node.mailbox("inbox"):
        inbox = node.whereis("inbox")
        assert inbox is not None
        node.connect(beam.name)
        beam.server("source").send(("inbox", NAME), (Atom("event"), 1))
        assert inbox.receive(timeout=30) == (Atom("event"), 1)


def test_waiting_for_what_does_not_come_says_what_came(beam: FakeBeam, node: Node) -> None:
    beam.server("log")
    node.gen_server_cast(("log", beam.name), Atom("hello"))
    beam.wait_for(Atom("hello"))
    with pytest.raises(AssertionError, match="cast log: hello"):
        beam.wait_for(Atom("other"), to="log", timeout=0.01)


def test_a_fake_that_stops_is_a_node_that_goes_down(beam: FakeBeam, node: Node) -> None:
    with node.mailbox() as inbox:
        node.net_kernel.monitor_nodes(inbox, True, [("node_type", "all")])
        node.connect(beam.name)
        assert inbox.receive(timeout=30)[0] == Atom("nodeup")
        beam.stop()
        assert inbox.receive(timeout=30)[0] == Atom("nodedown")
