"""docs/how-to/supervising-python.md works: a BEAM supervises a child on a Python node that may be down."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, GenServer, Node
from tests.interop.carriers import CARRIERS
from tests.interop.cluster import beam_for_a_node
from tests.interop.conformance_pair import load
from tests.support.beam import Beam, elixir_path

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "how-to" / "supervising-python.md"

#: A supervisor of the BEAM above that process, with the usual intensity.
START = """
Options = #{node => 'NODE', start => {py, start_model, [<<"/models/1">>]}, min_delay => 50, max_delay => 400,
            start_timeout => 1000},
{ok, Sup} = supervisor:start_link(python_child_sup, [MODULE]),
unlink(Sup),
Holder = whereis(model)
"""
SUPERVISOR = """
-module(python_child_sup).
-export([init/1]).
init([Start]) -> {ok, {#{}, [#{id => model, start => Start, shutdown => 7000}]}}.
"""


def program(language: str, holds: str) -> str:
    """The program of that language on the page."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    (source,) = [each for each in found if holds in each]
    return str(source)


class Watched:
    """The process of the BEAM that holds the child, and the Python node, which comes and goes."""

    def __init__(self, beam: Beam, beam_name: str, options: dict[str, Any], module: str) -> None:
        self.beam = beam
        self.beam_name = beam_name
        self.module = module
        self._options = options
        #: Those whose init has begun.
        self.servers: asyncio.Queue[Model] = asyncio.Queue()
        #: Seconds.
        self.init_takes = 0.0

    @contextlib.asynccontextmanager
    async def node(
        self, *, connects: bool = True, exports: bool = True, init_takes: float = 0.0
    ) -> AsyncIterator[Node]:
        """Start the Python node."""
        self.init_takes = init_takes
        node = Node(**self._options)
        if exports:
            self.export(node)
        async with node:
            if connects:
                await node.connect(self.beam_name)
            yield node

    def export(self, node: Node) -> None:
        node.exports.child("py", "start_model")(lambda path: Model(self.servers, self.init_takes))

    async def server(self) -> Model:
        """The next one that is started."""
        async with asyncio.timeout(20):
            return await self.servers.get()

    async def call(self) -> str:
        """What a process of the BEAM gets that calls the child, once there is one."""
        return await self.beam.eval(
            f"(fun() -> F = fun F() -> case '{self.module}':call(model, hello, 5000) of"
            " {error, not_running} -> timer:sleep(10), F(); Answer -> Answer end end, F() end)()"
        )

    async def is_not_running(self) -> bool:
        return await self.beam.eval(f"'{self.module}':child(model)") == "{error,not_running}"

    async def is_well(self) -> bool:
        """Whether neither the process nor its supervisor was ever restarted."""
        return await self.beam.eval("is_process_alive(Sup) andalso whereis(model) =:= Holder") == "true"


class Model(GenServer):
    def __init__(self, started: asyncio.Queue[Model], init_takes: float) -> None:
        self._started = started
        self._init_takes = init_takes
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def init(self) -> None:
        self._started.put_nowait(self)
        await asyncio.sleep(self._init_takes)

    def handle_call(self, request: Any, sender: Any) -> Any:
        return (Atom("ok"), request)

    def terminate(self, reason: Any) -> None:
        self.ended.set_result(reason)


@pytest.fixture(scope="module")
def compiled_elixir(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The directories of the Elixir program of the page, compiled, and of Elixir's own applications. None
    where there is no Elixir."""
    command = elixir_path()
    if command is None:
        return []
    directory = tmp_path_factory.mktemp("elixir")
    source = directory / "python_child.ex"
    source.write_text(program("elixir", "defmodule PythonChild"))
    arguments = f'["{source}"], "{directory}", return_diagnostics: true'
    script = (
        f"{{:ok, _, _}} = Kernel.ParallelCompiler.compile_to_path({arguments}); "
        "IO.puts(Path.dirname(to_string(:code.lib_dir(:elixir))))"
    )
    done = subprocess.run([command, "-e", script], capture_output=True, text=True, timeout=60, check=True)
    assert "warning" not in done.stderr
    return [str(directory), *map(str, Path(done.stdout.splitlines()[-1]).glob("*/ebin"))]


class Erlang:
    """How the one in Erlang is loaded and started."""

    module = "python_child"
    start = "{python_child, start_link, [model, Options]}"

    def load(self, beam: Beam, request: pytest.FixtureRequest) -> None:
        load(beam, program("erlang", "-module(python_child)"))


class Elixir:
    """How the one in Elixir is."""

    module = "Elixir.PythonChild"
    start = "{'Elixir.PythonChild', start_link, [[{name, model} | maps:to_list(Options)]]}"

    def load(self, beam: Beam, request: pytest.FixtureRequest) -> None:
        directories = request.getfixturevalue("compiled_elixir")
        if not directories:
            pytest.skip("there is no elixir beside the erl under test")
        paths = ", ".join(f'"{directory}"' for directory in directories)
        beam.eval_now(f"ok = code:add_pathsa([{paths}]), {{ok, _}} = application:ensure_all_started(logger)")


@pytest_asyncio.fixture(params=[Erlang, Elixir])
async def language(request: pytest.FixtureRequest) -> Erlang | Elixir:
    made: Erlang | Elixir = request.param()
    return made


@pytest_asyncio.fixture(params=CARRIERS)
async def watched(
    request: pytest.FixtureRequest,
    language: Erlang | Elixir,
    tmp_path: Path,
) -> AsyncIterator[Watched]:
    with beam_for_a_node(request.param, tmp_path) as (beam, beam_name, options):
        language.load(beam, request)
        load(beam, SUPERVISOR)
        beam.eval_now("logger:set_primary_config(level, none)")
        beam.eval_now(START.replace("NODE", options["name"]).replace("MODULE", language.start))
        yield Watched(beam, beam_name, options, language.module)


async def test_the_whole_story(watched: Watched) -> None:
    """The node is not there for long enough that a supervisor would have given up; it comes, is slow; the
    child crashes; the node stops, and comes back; the BEAM ends the child."""
    await asyncio.sleep(1)
    assert await watched.is_not_running()

    async with watched.node(init_takes=0.3) as node:
        first = await watched.server()
        assert await watched.is_not_running()
        assert await watched.call() == "{ok,hello}"
        pid = first.process.pid
        # It is that process of the BEAM that the child is linked to.
        assert first.process.links == [first.process.parent]

        node._local.runtime.exit(first.process, Atom("crashed"))
        second = await watched.server()
        assert await watched.call() == "{ok,hello}"
        assert second.process.pid != pid
        assert await watched.is_well()
    # The BEAM was still connected when it ended.
    assert await second.ended == Atom("shutdown")
    assert await watched.is_not_running()

    async with watched.node(connects=False):  # found by trying again
        third = await watched.server()
        assert await watched.call() == "{ok,hello}"
        assert await watched.is_well()
        await watched.beam.eval("exit(Sup, shutdown)")
        assert await third.ended == Atom("shutdown")


async def test_the_node_is_there_before_the_function_is(watched: Watched) -> None:
    async with watched.node(exports=False) as node:
        await asyncio.sleep(0.3)
        assert await watched.is_not_running()
        watched.export(node)
        await watched.server()
        assert await watched.call() == "{ok,hello}"
        assert await watched.is_well()


async def test_an_init_that_hangs_is_ended_and_tried_again(watched: Watched) -> None:
    async with watched.node(init_takes=3600):
        hangs = await watched.server()
        watched.init_takes = 0.0
        second = await watched.server()
        assert not hangs.process.alive
        assert await watched.call() == "{ok,hello}"
        assert second.process.alive
        assert await watched.is_well()


async def test_a_connection_that_is_lost(watched: Watched) -> None:
    """Both sides take the other for dead: the child ends, another one is started."""
    async with watched.node() as node:
        first = await watched.server()
        assert await watched.call() == "{ok,hello}"
        node.disconnect(watched.beam_name)
        second = await watched.server()
        assert await first.ended == Atom("noconnection")
        assert await watched.call() == "{ok,hello}"
        assert second.process.alive
        assert await watched.is_well()
