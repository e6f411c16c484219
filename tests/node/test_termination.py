"""SIGTERM and SIGINT to programs with nodes: other processes, for a signal is the whole process's."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator

import pytest

# What each program begins with. It prints a line when a signal may come, and what happens then.
HEAD = """
import asyncio, os, signal, sys, threading, time
import quicdist
from quicdist import Atom, GenServer, Node

def say(*what):
    print(*what, flush=True)

class Server(GenServer):
    async def terminate(self, reason):
        say("terminate", reason)
        await asyncio.sleep(0.05)
        say("terminated")

def node(name="py@127.0.0.1"):
    return Node(name, cookie="c", carrier="tcp", epmd=False, host="127.0.0.1", listen=False)
"""

RUN_FOREVER = """
async def main():
    async with node() as it:
        it.serve(Server())
        asyncio.get_running_loop().call_soon(say, "up")  # when the handlers are set
        await it.run_forever()
    say("left")
    return 7
"""

WAITS = """
async def main():
    async with node() as it:
        it.serve(Server())
        say("up")
        await asyncio.Event().wait()
"""

#: ``quicdist.run`` takes uvloop, which the tests have.
RUNNERS = {"asyncio.run": "asyncio.run(main())", "quicdist.run": "quicdist.run(main())"}
WITHOUT_UVLOOP = "import quicdist.node.event_loop as events; events.new_event_loop = None"

SIGNALS = [signal.SIGTERM, signal.SIGINT]


class Program:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdout is not None
        self._out = process.stdout

    async def read(self) -> str:
        return (await self._out.readline()).decode().strip()

    async def expect(self, *lines: str) -> None:
        for line in lines:
            assert await self.read() == line

    def kill(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            self._process.send_signal(number)

    async def rest(self) -> tuple[int, list[str]]:
        """Its exit status, negative where a signal has ended it, and what it still said."""
        out = await self._out.read()
        return await self._process.wait(), out.decode().split("\n")[:-1]


@contextlib.asynccontextmanager
async def program(*parts: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "\n".join(map(textwrap.dedent, (HEAD, *parts)))),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


STOPPED = ["terminate shutdown", "terminated"]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("runner", RUNNERS)
async def test_run_forever_returns_when_the_node_has_stopped(runner: str, number: signal.Signals) -> None:
    async with program(RUN_FOREVER, RUNNERS[runner]) as it:
        await it.expect("up")
        it.kill(number)
        status, said = await it.rest()
        assert said[:3] == [*STOPPED, "left"]
        assert status == 0


class TestAMainThatWaitsForSomethingElse:
    @pytest.mark.parametrize("first", ["", WITHOUT_UVLOOP])
    async def test_is_cancelled_by_sigterm_and_ends_with_143(self, first: str) -> None:
        async with program(WAITS, first, "quicdist.run(main())") as it:
            await it.expect("up")
            it.kill(signal.SIGTERM)
            assert await it.rest() == (128 + signal.SIGTERM, STOPPED)

    @pytest.mark.parametrize("runner", RUNNERS)
    async def test_is_cancelled_by_sigint_and_raises_keyboard_interrupt(self, runner: str) -> None:
        end = "\nexcept KeyboardInterrupt:\n    say('interrupted')"
        async with program(WAITS, f"try:\n    {RUNNERS[runner]}{end}") as it:
            await it.expect("up")
            it.kill(signal.SIGINT)
            assert await it.rest() == (0, [*STOPPED, "interrupted"])

    async def test_an_uncaught_keyboard_interrupt_ends_the_program_by_the_signal(self) -> None:
        async with program(WAITS, "quicdist.run(main())") as it:
            await it.expect("up")
            it.kill(signal.SIGINT)
            status, said = await it.rest()
            assert (status, said[:2], said[-1]) == (-signal.SIGINT, STOPPED, "KeyboardInterrupt")

    async def test_a_signal_before_main_has_begun_cancels_it(self) -> None:
        source = """
        async def main():
            say("not reached")

        os.kill(os.getpid(), signal.SIGTERM)
        """
        begin = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})"
        unblocked = """
        from quicdist.carrier.termination import termination
        first = termination._set_handlers
        def set_handlers():
            first()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        termination._set_handlers = set_handlers
        quicdist.run(main())
        """
        async with program(begin, source, unblocked) as it:
            assert await it.rest() == (128 + signal.SIGTERM, [])

    async def test_that_goes_on_is_left_to_a_second_signal(self) -> None:
        source = """
        async def main():
            async with node():
                say("up")
                while True:
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        say("cancelled")
        """
        async with program(source, "quicdist.run(main())") as it:
            await it.expect("up")
            it.kill(signal.SIGTERM)
            await it.expect("cancelled")
            it.kill(signal.SIGTERM)
            assert await it.rest() == (128 + signal.SIGTERM, [])


SLOW = """
class Slow(GenServer):
    async def terminate(self, reason):
        say("terminate", reason)
        await asyncio.sleep(60)

async def main():
    async with node() as it:
        it.serve(Slow())
        asyncio.get_running_loop().call_soon(say, "up")  # when the handlers are set
        await it.run_forever()
"""


class TestASecondSignal:
    @pytest.mark.parametrize(
        ("runner", "first", "second"),
        [
            ("asyncio.run", signal.SIGTERM, signal.SIGTERM),
            ("asyncio.run", signal.SIGINT, signal.SIGINT),
            ("quicdist.run", signal.SIGTERM, signal.SIGINT),
        ],
    )
    async def test_a_second_signal_ends_the_program_at_once(
        self, runner: str, first: signal.Signals, second: signal.Signals
    ) -> None:
        async with program(SLOW, RUNNERS[runner]) as it:
            await it.expect("up")
            it.kill(first)
            await it.expect("terminate shutdown")
            it.kill(second)
            assert await it.rest() == (128 + second, [])

    @pytest.mark.parametrize("runner", RUNNERS)
    async def test_ends_a_program_whose_event_loop_is_blocked(self, runner: str) -> None:
        source = """
        class Blocks(GenServer):
            def terminate(self, reason):
                say("terminate", reason)
                time.sleep(60)
        """
        async with program(source, SLOW.replace("Slow()", "Blocks()"), RUNNERS[runner]) as it:
            await it.expect("up")
            it.kill(signal.SIGTERM)
            await it.expect("terminate shutdown")
            it.kill(signal.SIGTERM)
            assert await it.rest() == (128 + signal.SIGTERM, [])

    async def test_while_what_run_left_is_waited_for(self) -> None:
        """asyncio waits at the end of a program for what runs in its threads."""
        source = """
        async def main():
            async with node() as it:
                asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
                asyncio.get_running_loop().call_soon(say, "up")
                await it.run_forever()
            say("left")
        """
        async with program(source, "quicdist.run(main())") as it:
            await it.expect("up")
            it.kill(signal.SIGTERM)
            await it.expect("left")
            it.kill(signal.SIGTERM)
            it.kill(signal.SIGTERM)
            assert await it.rest() == (128 + signal.SIGTERM, [])


class TestHandlers:
    async def test_the_handlers_before_are_restored(self) -> None:
        source = """
        def handlers():
            return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

        async def main():
            before = handlers()
            async with node() as it:
                waiting = asyncio.create_task(it.run_forever())
                await asyncio.sleep(0)
                inside = handlers()
                await it.stop()
                await waiting
            assert handlers() == before
            return before, inside

        outside = handlers()
        before, inside = asyncio.run(main())
        assert before[0] is signal.SIG_DFL and not set(before) & set(inside)
        assert handlers() == outside
        before, inside = quicdist.run(main())
        assert before == inside and not set(before) & set(outside)
        assert handlers() == outside
        say("done")
        """
        async with program(source) as it:
            assert await it.rest() == (0, ["done"])

    @pytest.mark.parametrize("runner", RUNNERS)
    @pytest.mark.parametrize("how", ["signal.signal", "loop"])
    async def test_of_the_program_are_left_alone(self, how: str, runner: str) -> None:
        set_up = {
            "signal.signal": "signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(come))",
            "loop": "loop.add_signal_handler(signal.SIGTERM, come)",
        }
        source = f"""
        async def main():
            loop = asyncio.get_running_loop()
            def come():
                say("own handler")
                tasks.append(loop.create_task(it.stop()))
            tasks = []
            {set_up[how]}
            async with node() as it:
                it.serve(Server())
                asyncio.get_running_loop().call_soon(say, "up")
                await it.run_forever()
            say("left")
        """
        async with program(source, RUNNERS[runner]) as it:
            await it.expect("up")
            it.kill(signal.SIGTERM)
            assert await it.rest() == (0, ["own handler", *STOPPED, "left"])

    async def test_are_not_set_where_a_signal_is_ignored(self) -> None:
        source = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
        async with program(source, RUN_FOREVER, "asyncio.run(main())") as it:
            await it.expect("up")
            it.kill(signal.SIGINT)
            it.kill(signal.SIGTERM)
            assert await it.rest() == (0, [*STOPPED, "left"])

    async def test_are_not_set_outside_the_main_thread(self) -> None:
        source = """
        async def main():
            async with node() as it:
                asyncio.get_running_loop().call_later(0.1, lambda: asyncio.ensure_future(it.stop()))
                await it.run_forever()
                say(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)

        for runner in (asyncio.run, quicdist.run):
            thread = threading.Thread(target=lambda: runner(main()))
            thread.start()
            thread.join()
        """
        async with program(source) as it:
            assert await it.rest() == (0, ["True", "True"])

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -15), (signal.SIGINT, 3)])
    async def test_do_nothing_in_a_forked_child(self, number: signal.Signals, status: int) -> None:
        source = f"""
        import warnings
        warnings.simplefilter("ignore")  # that there are threads where it forks

        async def main():
            async with node() as it:
                waiting = asyncio.create_task(it.run_forever())
                await asyncio.sleep(0)
                pid = os.fork()
                if pid == 0:
                    try:
                        os.kill(os.getpid(), {int(number)})
                        time.sleep(60)
                    except KeyboardInterrupt:
                        os._exit(3)
                say(os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1]))
                say(it._local.lifecycle.state.name)
        """
        async with program(source, "asyncio.run(main())") as it:
            assert await it.rest() == (0, [str(status), "RUNNING"])


@pytest.mark.parametrize("runner", RUNNERS)
async def test_several_nodes_stop(runner: str) -> None:
    source = """
    async def one(name):
        async with node(name) as it:
            it.serve(Server())
            asyncio.get_running_loop().call_soon(say, "up")
            await it.run_forever()

    async def main():
        await asyncio.gather(one("a@127.0.0.1"), one("b@127.0.0.1"))
        say("left")
    """
    async with program(source, RUNNERS[runner]) as it:
        await it.expect("up", "up")
        it.kill(signal.SIGTERM)
        status, said = await it.rest()
        assert (status, sorted(said)) == (0, sorted([*STOPPED, *STOPPED, "left"]))


async def test_run_forever_after_the_signal_returns_at_once() -> None:
    source = """
    async def main():
        async with node("a@127.0.0.1") as it:
            asyncio.get_running_loop().call_soon(say, "up")
            await it.run_forever()
        async with node("b@127.0.0.1") as it:
            await it.run_forever()
        say("left")
    """
    async with program(source, "quicdist.run(main())") as it:
        await it.expect("up")
        it.kill(signal.SIGTERM)
        assert await it.rest() == (0, ["left"])


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_while_the_node_starts(number: signal.Signals) -> None:
    source = """
    from quicdist.discovery import StaticDiscovery

    class Slow(StaticDiscovery):
        async def register_node(self, *_):
            say("registering")
            await asyncio.Event().wait()

        async def unregister_node(self, name):
            say("unregistered", name)

    async def main():
        async with Node("py@127.0.0.1", cookie="c", carrier="tcp", host="127.0.0.1", discovery=Slow({})):
            say("up")

    try:
        quicdist.run(main())
    except BaseException as error:
        say(repr(error))
    """
    async with program(source) as it:
        await it.expect("registering")
        it.kill(number)
        raised = "SystemExit(143)" if number is signal.SIGTERM else "KeyboardInterrupt()"
        assert await it.rest() == (0, ["unregistered py@127.0.0.1", raised])


@pytest.mark.parametrize("runner", RUNNERS)
async def test_a_keyboard_interrupt_that_code_raises_stops_the_node(runner: str) -> None:
    """It leaves the event loop; what asyncio cancels then is the block of the node."""
    source = """
    def interrupt(process, message):
        raise KeyboardInterrupt

    async def main():
        async with node() as it:
            it.serve(Server())
            it.send(it.spawn(interrupt), 1)
            await it.run_forever()
    """
    end = "\nexcept KeyboardInterrupt:\n    say('interrupted')"
    async with program(source, f"try:\n    {RUNNERS[runner]}{end}") as it:
        assert await it.rest() == (0, [*STOPPED, "interrupted"])
