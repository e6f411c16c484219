"""The programs of ``examples/``, each with a real BEAM: one BEAM for all of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from quicdist import Atom, Node, sync
from quicdist.testing import Beam
from tests.support.beam import elixir_path
from tests.support.pairs import LISTENER, pair
from tests.support.programs import running_program

np = pytest.importorskip("numpy", reason="needs the extra examples")
fastapi = pytest.importorskip("fastapi", reason="needs the extra examples")
httpx = pytest.importorskip("httpx", reason="needs the extra examples")

from examples.events.events import PubSub  # noqa: E402
from examples.fastapi_service.app import create_app  # noqa: E402
from examples.model_server import server as model_server  # noqa: E402
from examples.nx_tensor.nx_tensor import dtype_of, from_tensor, to_tensor, type_of  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def shop() -> Iterator[Beam]:
    """The BEAM of all examples."""
    with Beam() as beam:
        yield beam


def address(beam: Beam) -> str:
    host, port = beam.options["nodes"][beam.name]
    return f"{host}:{port}"


# -- FastAPI -----------------------------------------------------------------------------------


@pytest.mark.beam
async def test_the_http_service_answers_from_a_gen_server_and_turns_its_failures_into_statuses(
    shop: Beam,
) -> None:
    def load() -> None:
        source = str(EXAMPLES / "fastapi_service" / "stock.erl")
        shop.eval(
            f'{{ok, M, B}} = compile:file("{source}", [binary]), {{module, M}} = code:load_binary(M, "", B)'
        )
        shop.eval('{ok, _} = stock:start(#{<<"apple">> => 3}), ok')

    await asyncio.to_thread(load)
    app = create_app(shop.name, name="web@127.0.0.1", **shop.options)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        assert (await client.get("/stock/apple")).json() == {"item": "apple", "count": 3}
        first = await client.post("/stock/apple/orders", params={"amount": 2})
        assert (first.status_code, first.json()) == (200, {"item": "apple", "count": 1})
        second = await client.post("/stock/apple/orders", params={"amount": 2})
        assert (second.status_code, second.json()["error"]) == (409, "sold_out")
        await asyncio.to_thread(shop.eval, "sys:suspend(stock)")
        assert (await client.get("/stock/apple")).status_code == 504
        await asyncio.to_thread(shop.eval, "sys:resume(stock), gen_server:stop(stock)")
        gone = await client.get("/stock/apple")
        assert (gone.status_code, "stock" in gone.json()["error"]) == (503, True)


# -- the model server --------------------------------------------------------------------------


@pytest.mark.beam
async def test_a_beam_asks_the_model_in_a_process_pool(shop: Beam) -> None:
    with ProcessPoolExecutor(1) as pool:
        async with Node("model@127.0.0.1", **shop.options) as node:
            await model_server.serve(node, pool)
            await node.connect(shop.name)
            source = (
                "Rows = << <<X:32/float-little>> || X <- [1, 0, 0, 0, 0, 0, 0, 2] >>,"
                "Answer = erpc:call('model@127.0.0.1', model, predict, [Rows]),"
                "[X || <<X:32/float-little>> <= Answer]"
            )
            assert await asyncio.to_thread(shop.eval, source) == [1.0, 8.0]


async def test_an_array_goes_to_the_model_by_a_stream(tmp_path: Path) -> None:
    async with pair("quic", tmp_path) as (client, server):
        with ThreadPoolExecutor(1) as pool:
            server.accept_streams(lambda stream: model_server.predict_stream(stream, pool))
            features = np.random.default_rng(1).random((100_000, model_server.FEATURES), np.float32)
            answer = await model_server.ask(client, LISTENER, features)
        assert np.allclose(answer, features @ model_server.weights())


# -- the worker --------------------------------------------------------------------------------


@pytest.mark.beam
async def test_the_worker_answers_its_job_and_says_goodbye_at_sigterm(shop: Beam) -> None:
    environment = {
        **os.environ,
        "NODE": "worker@127.0.0.1",
        "COOKIE": shop.cookie,
        "CLUSTER": shop.name,
        "NODES": f"{shop.name}={address(shop)}",
    }
    await asyncio.to_thread(
        shop.eval,
        "Tester = self(), Watch = spawn(fun W() -> net_kernel:monitor_nodes(true, [{node_type, all}]),"
        "  R = fun R() -> receive {nodeup, 'worker@127.0.0.1', _} ->"
        "    K = erpc:send_request('worker@127.0.0.1', worker, job, [21, 0.5]),"
        "    put(answer, erpc:receive_response(K)), R();"
        "  {nodedown, 'worker@127.0.0.1', _} -> put(down, true), R();"
        "  {ask, From} when is_pid(From) -> case get(down) of true -> From ! {worker, get(answer)};"
        "      _ -> self() ! {ask, From}, receive after 10 -> R() end end end end, R() end),"
        "register(worker_watch, Watch), ok",
    )
    program = str(EXAMPLES / "worker" / "worker.py")
    pipe = asyncio.subprocess.PIPE
    async with running_program(sys.executable, program, env=environment, stderr=pipe) as worker:
        assert worker.stderr is not None
        lines: list[str] = []
        while "is there" not in (lines[-1] if lines else ""):
            lines.append((await asyncio.wait_for(worker.stderr.readline(), 30)).decode())
            assert lines[-1], lines
        worker.send_signal(signal.SIGTERM)  # while the job runs
        assert await worker.wait() == 0
        assert b"stopped" in await worker.stderr.read()
    answer = await asyncio.to_thread(
        shop.eval, "worker_watch ! {ask, self()}, receive {worker, A} -> A after 5000 -> none end"
    )
    assert answer == (Atom("done"), 42)


def test_the_unit_of_the_worker_is_valid() -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("needs systemd-analyze")
    unit = EXAMPLES / "worker" / "worker.service"
    done = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert "worker.service" not in done.stderr, done.stderr


def test_the_image_of_the_worker_has_what_it_copies() -> None:
    lines = (EXAMPLES / "worker" / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY")]
    assert copied == ["worker.py"]
    assert all((EXAMPLES / "worker" / name).exists() for name in copied)


# -- events ------------------------------------------------------------------------------------

#: The process and the group of Phoenix.PubSub's adapter (``Phoenix.PubSub.PG2``, phoenix_pubsub 2.1).
ADAPTER = """
Scope = 'Elixir.Phoenix.PubSub', Group = 'Elixir.MyApp.PubSub.Adapter',
case pg:start(Scope) of {ok, _} -> ok; {error, {already_started, _}} -> ok end,
spawn(fun() ->
    ok = pg:join(Scope, Group, self()),
    (fun Loop(Last) -> receive
        {forward_to_local, Topic, Message, _} -> Loop({Topic, Message});
        {last, From} -> From ! {last, Last}, Loop(Last);
        {broadcast, Topic, Message} ->
            % The other node may not have answered yet.
            Others = (fun Find() ->
                case [Pid || Pid <- pg:get_members(Scope, Group), node(Pid) =/= node()] of
                    [] -> receive after 10 -> Find() end;
                    Found -> Found
                end
            end)(),
            [Pid ! {forward_to_local, Topic, Message, Scope} || Pid <- Others],
            Loop(Last)
    end end)(none)
end)
"""


@pytest.mark.beam
async def test_events_of_phoenix_pubsub_arrive_and_broadcasts_reach_it(shop: Beam) -> None:
    adapter = await asyncio.to_thread(shop.eval, ADAPTER)
    async with Node("events@127.0.0.1", **shop.options) as node:
        pubsub = PubSub(node)
        prices, others = pubsub.subscribe("prices"), pubsub.subscribe("others")
        await node.connect(shop.name)
        await asyncio.wait_for(pubsub.joined(), 10)
        for topic in ("unknown", "prices", "others"):
            node.send(adapter, (Atom("broadcast"), topic, (Atom("price"), topic)))
        assert await asyncio.wait_for(prices.next(), 10) == (Atom("price"), b"prices")
        assert await asyncio.wait_for(others.next(), 10) == (Atom("price"), b"others")
        pubsub.broadcast("prices", (Atom("price"), 5))

        @node.process("inbox")
        async def inbox(process: Any) -> None:
            node.send(adapter, (Atom("last"), process.pid))
            answers.set_result(await process.receive())

        answers = asyncio.get_running_loop().create_future()
        assert await asyncio.wait_for(answers, 10) == (Atom("last"), (b"prices", (Atom("price"), 5)))


# -- a child in a supervision tree -----------------------------------------------------------------


@pytest.mark.beam
@pytest.mark.elixir
async def test_a_supervisor_in_elixir_starts_restarts_and_ends_its_child_in_python() -> None:
    elixir = elixir_path()
    assert elixir is not None
    pipe = asyncio.subprocess.PIPE
    counter = (sys.executable, "-m", "examples.supervised_child.counter", "--cookie", "tree", "--port", "0")
    async with running_program(*counter, cwd=str(ROOT), stdout=pipe) as python:
        assert python.stdout is not None
        port = (await asyncio.wait_for(python.stdout.readline(), 30)).decode().split()[-1]
        # No epmd: it dials the port of the Python node, and does not listen.
        flags = f"-start_epmd false -erl_epmd_port {port} -dist_listen false"
        command = (elixir, "--name", "tree@127.0.0.1", "--cookie", "tree", "--erl", flags)
        tree = str(EXAMPLES / "supervised_child" / "tree.exs")
        async with running_program(
            *command, tree, "py@127.0.0.1", stdout=pipe, stderr=asyncio.subprocess.STDOUT
        ) as elixir_program:
            out, _ = await asyncio.wait_for(elixir_program.communicate(), 60)
    starts = ("first", "second", "crashed", "restarted", "stopped")
    assert [line for line in out.decode().splitlines() if line.startswith(starts)] == [
        "first: 11",
        "second: 12",
        "crashed",
        "restarted: true, and counts from 11",
        "stopped: shutdown",
    ], out.decode()


# -- the notebook ------------------------------------------------------------------------------


@pytest.mark.beam
def test_the_notebook_runs_and_is_kept_without_outputs(shop: Beam, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra examples")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra examples")
    pytest.importorskip("ipykernel", reason="needs the extra examples")
    for name, value in [("BEAM", shop.name), ("COOKIE", shop.cookie), ("BEAM_ADDRESS", address(shop))]:
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(EXAMPLES / "notebook" / "quicdist.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    values = [
        output.data["text/plain"]
        for cell in code
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    assert values[0] == "True"
    assert values[1] == "[3, 2, 1]"
    assert values[3:] == ["Atom('ding')", "3.0"]


# -- Nx ----------------------------------------------------------------------------------------


@pytest.mark.beam
def test_an_nx_tensor_crosses_both_ways(shop: Beam) -> None:
    """The layout of the struct; Nx itself is not there."""
    with sync.Node("nx@127.0.0.1", **shop.options) as node:

        @node.export("py")
        def transpose(tensor: Any) -> Any:
            return to_tensor(from_tensor(tensor).T, ("y", "x"))

        node.connect(shop.name)
        tensor = (
            "#{'__struct__' => 'Elixir.Nx.Tensor', type => {f, 32}, shape => {2, 3}, names => [nil, nil],"
            " vectorized_axes => [], data => #{'__struct__' => 'Elixir.Nx.BinaryBackend',"
            " state => << <<X:32/float-native>> || X <- [1, 2, 3, 4, 5, 6] >>}}"
        )
        answer = shop.eval(
            f"#{{data := #{{state := S}}}} = T = erpc:call('nx@127.0.0.1', py, transpose, [{tensor}]),"
            "{lists:sort(maps:keys(T)), maps:get(type, T), maps:get(shape, T), maps:get(names, T),"
            " [X || <<X:32/float-native>> <= S]}"
        )
    keys, type_, shape, names, values = answer
    assert [str(key) for key in keys] == ["__struct__", "data", "names", "shape", "type", "vectorized_axes"]
    assert (type_, shape) == ((Atom("f"), 32), (3, 2))
    assert names == [Atom("y"), Atom("x")]
    assert values == [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]


@pytest.mark.parametrize("dtype", ["i1", "i8", "u1", "u8", "f2", "f4", "f8", "c8", "c16"])
def test_each_type_of_nx_that_numpy_has_makes_the_round_trip(dtype: str) -> None:
    array = np.arange(6).reshape(1, 2, 3).astype(dtype)
    back = from_tensor(to_tensor(array))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert (back == array).all()
    assert dtype_of(type_of(array.dtype)) == array.dtype


def test_what_is_no_tensor_of_the_binary_backend_is_refused() -> None:
    tensor = to_tensor(np.zeros(4, np.float32))
    with pytest.raises(ValueError, match=r"not a %Nx\.Tensor"):
        from_tensor({})
    with pytest.raises(ValueError, match="backend_transfer"):
        from_tensor({**tensor, Atom("data"): {Atom("__struct__"): Atom("Elixir.EXLA.Backend")}})
    with pytest.raises(ValueError, match="cannot reshape"):
        from_tensor({**tensor, Atom("shape"): (5,)})
    with pytest.raises(TypeError, match="bf"):
        from_tensor({**tensor, Atom("type"): (Atom("bf"), 16)})
