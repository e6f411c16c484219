"""The services of a Python node, asked in Elixir; and those of an Elixir node, asked by it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from quicdist import (
    Atom,
    GenServer,
    Node,
    NoReply,
    ProcessExit,
    RemoteError,
    Stop,
)
from tests.interop.carriers import CARRIERS, reachable
from tests.interop.cluster import names
from tests.support.beam import elixir_path
from tests.support.programs import running_program

#: Asks the same of PEER and of the Elixir node itself, and prints what differs.
COMPARE = """
defmodule Counter do
  use GenServer
  def init(count), do: {:ok, count}
  def handle_call({:add, n}, _, count), do: {:reply, count + n, count + n}
  def handle_call(:get, _, count), do: {:reply, count, count}
  def handle_call(:nothing, _, count), do: {:reply, nil, count}
  def handle_call(:later, from, count) do
    GenServer.reply(from, {:later, count})
    {:noreply, count}
  end
  def handle_call({:stop, reason}, _, count), do: {:stop, reason, :stopped, count}
  def handle_cast({:add, n}, count), do: {:noreply, count + n}
  def handle_info({:add, n}, count), do: {:noreply, count + n}
end

defmodule Py do
  def upcase(text), do: String.upcase(text)
  def bye(), do: exit(:bye)
end

{:ok, _} = GenServer.start(Counter, 0, name: :counter)
counter = fn node -> {:counter, node} end

questions = [
  ping: fn node -> Node.ping(node) end,
  call: fn node -> GenServer.call(counter.(node), {:add, 2}) end,
  cast: fn node -> {GenServer.cast(counter.(node), {:add, 3}), GenServer.call(counter.(node), :get)} end,
  send: fn node -> {send(counter.(node), {:add, 3}), GenServer.call(counter.(node), :get)} end,
  nothing: fn node -> GenServer.call(counter.(node), :nothing) end,
  later: fn node -> GenServer.call(counter.(node), :later) end,
  multi_call: fn node -> GenServer.multi_call([node], :counter, {:add, 1}) end,
  abcast: fn node ->
    {GenServer.abcast([node], :counter, {:add, 1}), GenServer.call(counter.(node), :get)}
  end,
  nobody: fn node -> GenServer.call({:nobody, node}, :get) end,
  get_state: fn node -> :sys.get_state(counter.(node)) end,
  replace_state: fn node -> :sys.replace_state(counter.(node), fn count -> count * 2 end) end,
  rpc: fn node -> :rpc.call(node, Py, :upcase, ["grüße"]) end,
  erpc: fn node -> :erpc.call(node, Py, :upcase, ["abc"]) end,
  erpc_exit: fn node -> :erpc.call(node, Py, :bye, []) end,
  rpc_exit: fn node -> :rpc.call(node, Py, :bye, []) end,
  monitor: fn node ->
    ref = Process.monitor(counter.(node))
    answer = GenServer.call(counter.(node), {:stop, {:shutdown, :x}})
    receive do {:DOWN, ^ref, type, object, reason} -> {answer, type, object, reason} end
  end
]

for {name, question} <- questions do
  ask = fn node ->
    # In a process of its own: a node that asks itself does so over no wire, but as others do.
    task = Task.async(fn -> try do question.(node) catch kind, reason -> {kind, reason} end end)
    String.replace(inspect(Task.await(task, 20_000)), Atom.to_string(node), "NODE")
  end
  {ours, theirs} = {ask.(PEER), ask.(node())}
  IO.puts("#{name}: #{if ours == theirs, do: "same", else: ours <> " is not " <> theirs}")
end
"""

SERVE = """
defmodule Shelf do
  use Agent
  def start(), do: Agent.start(fn -> %{} end, name: :shelf)
  def put(key, value), do: Agent.update(:shelf, &Map.put(&1, key, value))
end

defmodule Sum do
  use GenServer
  def init(sum), do: {:ok, sum}
  def handle_call({:add, n}, _, sum), do: {:reply, {:ok, sum + n}, sum + n}
  def handle_call(:nothing, _, sum), do: {:reply, nil, sum}
end

{:ok, _} = Shelf.start()
{:ok, _} = GenServer.start(Sum, 0, name: :sum)
IO.puts("ready")
IO.read(:stdio, :line)
"""


#: quic_dist tells much of what it does on standard output.
QUIET = """
:logger.set_primary_config(:level, :none)
{:ok, _} = Application.ensure_all_started(:quic)
"""


class Counter(GenServer):
    """What the Elixir module of that name does."""

    def __init__(self) -> None:
        self.count = 0

    def get_state(self) -> int:
        return self.count

    def replace_state(self, state: int) -> None:
        self.count = state

    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case (Atom(name="add"), amount):
                self.count += amount
                return self.count
            case Atom(name="get"):
                return self.count
            case Atom(name="later"):
                self.reply(sender, (Atom("later"), self.count))
                return NoReply()
            case (Atom(name="stop"), reason):
                return Stop(reason, Atom("stopped"))
        return None

    def handle_cast(self, request: Any) -> None:
        self.count += request[1]

    def handle_info(self, message: Any) -> None:
        self.count += message[1]


class Script:
    """An Elixir node that runs a script, and our node."""

    def __init__(self, node: Node, name: str, process: asyncio.subprocess.Process) -> None:
        self.node = node
        self.name = name
        self.process = process


@contextlib.asynccontextmanager
async def running(
    source: str, carrier: str, directory: Path, offer: Callable[[Node], None]
) -> AsyncIterator[Script]:
    ours, theirs = names()
    with reachable(carrier, ours, [theirs], directory) as found:
        (peer,) = found.peers
        script = directory / "script.exs"
        if carrier == "quic":
            source = QUIET + source
        script.write_text(source.replace("PEER", f':"{found.ours}"'))
        async with Node(found.ours, none="nil", **found.options) as node:
            offer(node)
            async with running_program(
                str(elixir_path()),
                *("--erl", " ".join(peer.args), str(script)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Elixir wants to hear of UTF-8.
                env=os.environ | peer.environment | {"LC_ALL": "C.UTF-8"},
            ) as process:
                yield Script(node, peer.name, process)


def offer(node: Node) -> None:
    node.serve(Counter(), name="counter")

    @node.export("Elixir.Py")
    def upcase(text: bytes) -> bytes:
        return text.decode().upper().encode()

    @node.export("Elixir.Py")
    def bye() -> None:
        raise ProcessExit(Atom("bye"))


@pytest.mark.elixir
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_asked_in_elixir(carrier: str, tmp_path: Path) -> None:
    async with running(COMPARE, carrier, tmp_path, offer) as script:
        output, _ = await script.process.communicate()
    lines = [line for line in output.decode().splitlines() if line]
    assert [line for line in lines if not line.endswith(": same")] == []
    assert len(lines) == 16


@pytest.mark.elixir
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_elixir_asked(carrier: str, tmp_path: Path) -> None:
    async with running(SERVE, carrier, tmp_path, lambda node: None) as script:
        assert script.process.stdout is not None
        assert await script.process.stdout.readline() == b"ready\n"
        node, there = script.node, script.name
        assert await node.call(there, "Elixir.String", "upcase", ["abc"]) == b"ABC"
        assert await node.call(there, "Elixir.Map", "get", [{1: 2}, 3]) is None
        assert await node.gen_server.call(("sum", there), (Atom("add"), 5)) == (Atom("ok"), 5)
        assert await node.gen_server.call(("sum", there), Atom("nothing")) is None
        assert await node.sys.get_state(("sum", there)) == 5
        assert await node.call(there, "Elixir.Shelf", "put", ["key", [1, 2]]) == Atom("ok")
        assert await node.sys.get_state(("shelf", there)) == {b"key": [1, 2]}
        with pytest.raises(RemoteError) as caught:
            await node.call(there, "Elixir.String", "to_existing_atom", ["no such atom, surely"])
        assert (caught.value.kind, caught.value.reason) == ("error", Atom("badarg"))
