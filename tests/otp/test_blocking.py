"""Exported functions that run in threads and in executors."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, CallTimeout, Node, RemoteError, current_call, format_term
from quicdist.otp import dispatcher
from quicdist.otp.thread_pool import ThreadPool
from tests.otp import workers
from tests.support.pairs import CARRIERS, LISTENER, pair
from tests.term.test_values import VALUES

#: What a worker can do wrong, and the class and reason of the exception that the caller gets.
WRONG: dict[Callable[[], Any], tuple[str, str]] = {
    workers.throw: ("throw", "ball"),
    workers.leave: ("exit", "bye"),
    workers.cancel: ("exit", "cancelled"),
    workers.decode: ("error", '{python_error,<<"DecodeError">>,'),
    workers.not_alone: ("error", '{python_error,<<"NotAlone">>,<<"text of two">>}'),
    workers.no_text: ("error", '{python_error,<<"NoText">>,'),
    workers.first: ("error", '{python_error,<<"StopIteration">>,<<>>}'),
    workers.quit_: ("error", '{python_error,<<"SystemExit">>,<<"1">>}'),
    workers.interrupt: ("error", '{python_error,<<"KeyboardInterrupt">>,<<>>}'),
    workers.holds_a_lock: ("error", '{python_error,<<"ValueError">>,<<"has a lock">>}'),
}
#: The same for what cannot come back from another process.
NOT_RETURNED: dict[Callable[[], Any], str] = {
    workers.odd_reason: '{python_error,<<"TypeError">>,',
    workers.lock: '{python_error,<<"TypeError">>,',
    workers.unpicklable: '{python_error,<<"NotAlone">>,<<"not this one">>}',
    workers.unpickled: '{python_error,<<"NotAlone">>,<<"not here">>}',
    workers.deep: '{python_error,<<"RecursionError">>,',
    workers.no_term: '{python_error,<<"EncodeError">>,',
}


@pytest_asyncio.fixture(params=CARRIERS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    """The node that calls and the one that is called."""
    async with pair(request.param, tmp_path) as both:
        yield both


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """One for all tests that must not break it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield executor


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a function waits for that is to block until the test is over."""
    event = threading.Event()
    yield event
    event.set()


async def call(caller: Node, function: str, *arguments: Any, timeout: float = 60) -> Any:
    return await caller.call(LISTENER, "py", function, arguments, timeout=timeout)


async def failure(caller: Node, function: str, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(RemoteError) as caught:
        await call(caller, function, *arguments)
    reason = caught.value.reason
    if caught.value.kind == "signal":  # What cannot be encoded ends the process that answers.
        return "error", format_term(reason[0])
    return caught.value.kind, format_term(reason)


class TestThreads:
    async def test_abandoned_calls_do_not_block_other_calls(
        self, nodes: tuple[Node, Node], release: threading.Event
    ) -> None:
        caller, called = nodes
        called.export("py", "hang", blocking=True)(release.wait)
        called.export("py", blocking=True)(workers.echo)
        hanging = [call(caller, "hang", timeout=0.2) for _ in range(40)]
        ends = await asyncio.gather(*hanging, return_exceptions=True)
        assert all(isinstance(end, CallTimeout) for end in ends)
        assert await call(caller, "echo", 7) == 7

    async def test_a_call_beyond_the_limit_is_answered_at_once(
        self, tmp_path: Path, release: threading.Event, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dispatcher, "ThreadPool", partial(ThreadPool, limit=2))
        async with pair("tcp", tmp_path) as (caller, called):
            called.export("py", "hang", blocking=True)(release.wait)
            called.export("py")(workers.echo)
            hanging = [asyncio.create_task(call(caller, "hang")) for _ in range(3)]
            (refused,), left = await asyncio.wait(hanging, return_when=asyncio.FIRST_COMPLETED)
            assert str(refused.exception()).endswith("error: {erpc,system_limit}")
            assert await call(caller, "echo", 7) == 7
            release.set()
            assert await asyncio.gather(*left) == [True, True]

    async def test_current_call_works_in_a_thread(self, nodes: tuple[Node, Node]) -> None:
        caller, called = nodes

        def who() -> Any:
            return current_call().caller, current_call().process.pid, threading.current_thread().name

        called.export("py", blocking=True)(who)
        asked, runs, thread = await call(caller, "who")
        assert (asked.node, runs.node, thread) == (Atom(caller.name), Atom(LISTENER), b"py:who/0")
        with ThreadPoolExecutor(1, "mine") as executor:
            called.export("py", "who_in_a_pool", executor=executor)(who)
            asked, runs, thread = await call(caller, "who_in_a_pool")
        assert (asked.node, runs.node, thread) == (Atom(caller.name), Atom(LISTENER), b"mine_0")

    @pytest.mark.parametrize("function", WRONG, ids=lambda function: function.__name__)
    async def test_an_exception_in_a_thread_is_the_answer(
        self, nodes: tuple[Node, Node], function: Callable[[], Any]
    ) -> None:
        caller, called = nodes
        called.export("py", "wrong", blocking=True)(function)
        kind, reason = await failure(caller, "wrong")
        assert kind == WRONG[function][0]
        assert reason.startswith(WRONG[function][1])

    def test_a_blocking_coroutine_function_is_a_type_error(self) -> None:
        node = Node("alone@127.0.0.1", cookie="blocking", endpoints=[])
        for options in ({"blocking": True}, {"executor": ThreadPoolExecutor()}):
            with pytest.raises(TypeError, match="event loop"):
                node.export("py", **options)(TestThreads.test_current_call_works_in_a_thread)


class TestExecutors:
    @pytest.mark.parametrize("function", WRONG, ids=lambda function: function.__name__)
    async def test_an_exception_in_a_worker_is_the_answer(
        self, nodes: tuple[Node, Node], pool: ProcessPoolExecutor, function: Callable[[], Any]
    ) -> None:
        caller, called = nodes
        called.export("py", "wrong", executor=pool)(function)
        called.export("py", executor=pool)(workers.echo)
        kind, reason = await failure(caller, "wrong")
        assert kind == WRONG[function][0]
        assert reason.startswith(WRONG[function][1])
        assert await call(caller, "echo", 7) == 7

    @pytest.mark.parametrize("function", NOT_RETURNED, ids=lambda function: function.__name__)
    async def test_a_result_that_cannot_be_pickled_is_an_error_of_that_call(
        self, nodes: tuple[Node, Node], pool: ProcessPoolExecutor, function: Callable[[], Any]
    ) -> None:
        caller, called = nodes
        called.export("py", "wrong", executor=pool)(function)
        called.export("py", executor=pool)(workers.echo)
        kind, reason = await failure(caller, "wrong")
        assert kind == "error"
        assert reason.startswith(NOT_RETURNED[function])
        assert await call(caller, "echo", 7) == 7

    @pytest.mark.parametrize("argument", [threading.Lock(), workers.Unpicklable(), workers.Unpickled()])
    async def test_an_argument_that_cannot_be_pickled_is_an_error_of_that_call(
        self, node: Node, pool: ProcessPoolExecutor, argument: Any
    ) -> None:
        node.export("py", executor=pool)(workers.echo)
        with pytest.raises(RemoteError, match="python_error"):  # Only the node itself can send such a thing.
            await node.call(node.name, "py", "echo", [argument], timeout=60)
        assert await node.call(node.name, "py", "echo", [7], timeout=60) == 7

    async def test_a_function_that_a_worker_cannot_import_is_an_error_of_that_call(
        self, node: Node, pool: ProcessPoolExecutor
    ) -> None:
        node.export("py", "hidden", executor=pool)(lambda: 1)
        with pytest.raises(RemoteError, match="lambda"):
            await node.call(node.name, "py", "hidden", timeout=60)

    async def test_terms_reach_a_worker_and_return(
        self, nodes: tuple[Node, Node], pool: ProcessPoolExecutor
    ) -> None:
        caller, called = nodes
        called.export("py", executor=pool)(workers.echo)
        called.export("py", executor=pool)(workers.is_the_atom)
        terms = [value for value in VALUES if format_term(value)[:6] != "#Local"]
        assert await call(caller, "echo", terms) == terms
        assert await call(caller, "is_the_atom", Atom("an atom of this test")) is True

    async def test_an_executor_that_was_shut_down_is_an_error_of_the_call(
        self, nodes: tuple[Node, Node]
    ) -> None:
        caller, called = nodes
        executor = ThreadPoolExecutor()
        executor.shutdown()
        called.export("py", executor=executor)(workers.pid)
        assert "after shutdown" in (await failure(caller, "pid"))[1]

    async def test_cancelled_calls_end_with_their_process(self, node: Node, release: threading.Event) -> None:
        executor = ThreadPoolExecutor(1)
        node.export("py", "hang", executor=executor)(release.wait)
        node.export("py")(workers.echo)
        hanging = [node.erpc.send_request(node.name, "py", "hang") for _ in range(2)]
        await node.call(node.name, "py", "echo", [1])  # The others have come before it.
        executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(RemoteError, match="exit: cancelled"):
            await hanging[1]
        hanging[0].abandon()


class TestBrokenPools:
    async def test_calls_of_a_broken_pool_are_answered_and_logged_once(
        self, nodes: tuple[Node, Node], caplog: pytest.LogCaptureFixture
    ) -> None:
        caller, called = nodes
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
            for function in (workers.nap, workers.die, workers.pid):
                called.export("py", executor=executor)(function)
            waiting = [failure(caller, "die"), *(failure(caller, "nap", 60.0) for _ in range(3))]
            answers = await asyncio.gather(*waiting)
            answers.append(await failure(caller, "pid"))
        assert all("BrokenProcessPool" in reason for _, reason in answers)
        assert [record.levelname for record in caplog.records if "is broken" in record.message] == ["ERROR"]

    async def test_a_broken_pool_that_a_function_made_is_made_again(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        made: list[Executor] = []

        def make() -> Executor:
            made.append(ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
            return made[-1]

        async with pair("tcp", tmp_path) as (caller, called):
            called.export("py", executor=make)(workers.die)
            called.export("py", executor=make)(workers.pid)
            first = await call(caller, "pid")
            assert await call(caller, "pid") == first  # one for all exports that name it
            assert "BrokenProcessPool" in (await failure(caller, "die"))[1]
            assert await call(caller, "pid") != first
        assert len(made) == 2
        with pytest.raises(RuntimeError, match="shutdown"):  # The node has ended them.
            made[1].submit(workers.pid)

    async def test_a_function_that_makes_no_executor_is_an_error_of_the_call(self, node: Node) -> None:
        node.export("py", executor=workers.first)(workers.pid)
        with pytest.raises(RemoteError, match="StopIteration"):
            await node.call(node.name, "py", "pid", timeout=60)


async def _fails() -> None:
    raise ValueError("async")


@pytest.mark.parametrize(
    ("function", "options"),
    [(workers.not_alone, {}), (workers.not_alone, {"blocking": True}), (_fails, {})],
    ids=["plain", "blocking", "async"],
)
async def test_an_exception_of_an_export_is_logged_with_its_traceback(
    node: Node, caplog: pytest.LogCaptureFixture, function: Any, options: dict[str, Any]
) -> None:
    node.export("py", "fails", **options)(function)
    with caplog.at_level(logging.DEBUG, "quicdist.otp"), pytest.raises(RemoteError):
        await node.call(node.name, "py", "fails", timeout=60)
    (record,) = [record for record in caplog.records if record.message == "py:fails/0 failed"]
    assert record.levelno == logging.DEBUG
    assert record.name == "quicdist.otp"
    assert record.exc_info
    assert function.__name__ in caplog.text
