"""Elixir programs that connect as libcluster does and broadcast as Phoenix.PubSub does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quicdist import Atom, Node
from tests.brokers.page import run_program
from tests.interop.carriers import COOKIE
from tests.interop.cluster import names
from tests.support.beam import elixir_path
from tests.support.epmd import private_epmd
from tests.support.programs import running_program
from tests.test_docs import blocks

pytestmark = [pytest.mark.beam, pytest.mark.elixir]

SERVICES = Path(__file__).parents[2] / "docs" / "reference" / "services.md"

#: Connects to a node by the rule of Cluster.Strategy.Epmd or LocalEpmd, and has the process and the group of
#: Phoenix.PubSub's adapter for PG2 (release 2.1).
PROGRAM = """
[strategy, py] = System.argv()
py = String.to_atom(py)

defmodule Adapter do
  use GenServer
  @name MyApp.PubSub.Adapter
  def start_link(parent), do: GenServer.start_link(__MODULE__, parent, name: @name)
  def init(parent) do
    :ok = :pg.join(Phoenix.PubSub, @name, self())
    {:ok, parent}
  end
  def handle_info({:forward_to_local, topic, message, dispatcher}, parent) do
    send(parent, {:local, topic, message, dispatcher})
    {:noreply, parent}
  end
  def broadcast(topic, message) do
    for pid <- :pg.get_members(Phoenix.PubSub, @name), node(pid) != node() do
      send(pid, {:forward_to_local, topic, message, Phoenix.PubSub})
    end
  end
  def direct_broadcast(node, topic, message) do
    send({@name, node}, {:forward_to_local, topic, message, Phoenix.PubSub})
  end
end

{:ok, _} = :pg.start_link(Phoenix.PubSub)
{:ok, _} = Adapter.start_link(self())

defmodule MyApp.Cache do
  use GenServer
  def init(values), do: {:ok, values}
  def handle_call({:get, key}, _, values), do: {:reply, Map.get(values, key), values}
end
{:ok, _} = GenServer.start(MyApp.Cache, %{"key" => nil}, name: MyApp.Cache)

wanted =
  case strategy do
    "epmd" -> [py]
    "local_epmd" ->
      {:ok, names} = :erl_epmd.names()
      host = node() |> Atom.to_string() |> String.split("@") |> List.last()
      for {name, _port} <- names, full = :"#{name}@#{host}", full != node(), do: full
  end
connected = for node <- wanted -- :erlang.nodes(:connected), do: {node, :net_kernel.connect_node(node)}
IO.inspect({:connected, connected, Enum.member?(:erlang.nodes(:connected), py)})

{ref, members} = :pg.monitor(Phoenix.PubSub, MyApp.PubSub.Adapter)
unless Enum.any?(members, &(node(&1) == py)) do
  receive do
    {^ref, :join, _, [pid]} when node(pid) == py -> :ok
  end
end
Adapter.broadcast("room:1", {:message, "to all"})
Adapter.direct_broadcast(py, "room:2", %{text: "to one"})
receive do
  {:local, topic, message, dispatcher} -> IO.inspect({topic, message, dispatcher})
end
"""


@pytest.fixture(autouse=True)
def only_these_nodes() -> Iterator[None]:
    """LocalEpmd connects to all nodes of the machine."""
    with private_epmd():
        yield


@pytest.mark.parametrize(
    ("strategy", "hidden"),
    [("epmd", True), ("local_epmd", False)],
    ids=["Epmd, a hidden node", "LocalEpmd, a published node"],
)
async def test_an_elixir_node_connects_and_exchanges_broadcasts(strategy: str, hidden: bool) -> None:
    ours, theirs = names()
    received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
    async with Node(ours, cookie=COOKIE, carrier="tcp", host="127.0.0.1", hidden=hidden) as node:
        # The example of docs/reference/services.md.
        (pubsub,) = [b for b in blocks(SERVICES) if "Elixir.Phoenix.PubSub" in b.body]
        there: dict[str, Any] = {"node": node, "print": lambda *what: received.put_nowait(what)}
        exec(compile(pubsub.body, str(pubsub), "exec"), there)

        command = [elixir_path() or "", "--name", theirs, "--cookie", COOKIE, "-e", PROGRAM, strategy, ours]
        async with running_program(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        ) as program:
            async with asyncio.timeout(60):
                assert await received.get() == (b"room:1", (Atom("message"), b"to all"))
                assert await received.get() == (b"room:2", {Atom("text"): b"to one"})
                # The example of docs/how-to/joining.md.
                example = {
                    "py@10.0.0.5": f"too_{ours}",
                    "app@10.0.0.4": theirs,
                    "the release's cookie": COOKIE,
                }
                version, value = await run_program("Phoenix and other Elixir programs", example)
                assert version.startswith(b"1.")
                assert value is None
                there["broadcast"]("room:3", (Atom("message"), "from Python"))
                output, _ = await program.communicate()
    assert output.decode().splitlines() == [
        f'{{:connected, ["{ours}": true], true}}',
        '{"room:3", {:message, "from Python"}, Phoenix.PubSub}',
    ]
