"""Tasks of Elixir's ``Task.Supervisor`` on a Python node, and tasks on an Elixir node started in Python."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from quicdist import Atom, Node, Process, ProcessEnded, ProcessExit, RemoteError, TaskSupervisor, current_call
from tests.interop.carriers import CARRIERS
from tests.interop.test_services_elixir import running

#: Asks the same of PEER and of the Elixir node itself, and prints what differs.
COMPARE = """
defmodule Py do
  def add(a, b), do: a + b
  def double(x), do: x * 2
  def later(x) do
    Process.sleep(5)
    x
  end
  def bye(), do: exit(:bye)
  def ends(reason), do: exit(reason)
  def ball(), do: throw(:ball)
  def fails(), do: :erlang.error(:oops)
  def hangs(), do: Process.sleep(:infinity)
  def tell(pid, term), do: send(pid, term)
  def whoami(), do: self()
end

:logger.set_primary_config(:level, :none)
{:ok, _} = Task.Supervisor.start_link(name: :tasks)
{:ok, _} = Task.Supervisor.start_link(name: :one_task, max_children: 1)
tasks = fn node -> {:tasks, node} end
without_stack = fn {reason, stack} when is_list(stack) -> {reason, :stack}; reason -> reason end
down = fn ref ->
  receive do {:DOWN, ^ref, :process, _, reason} -> without_stack.(reason) after 5000 -> :silent end
end
trap = fn -> Process.flag(:trap_exit, true) end
quiet = fn node -> if Task.Supervisor.children(tasks.(node)) == [], do: :quiet, else: :again end
wait = fn wait, node -> if quiet.(node) == :quiet, do: :quiet, else: wait.(wait, node) end

questions = [
  async: fn node -> Task.await(Task.Supervisor.async(tasks.(node), Py, :add, [1, 2])) end,
  a_capture: fn node ->
    Task.await(Task.Supervisor.async(tasks.(node), Function.capture(Py, :whoami, 0))) |> node()
  end,
  many: fn node ->
    for(n <- 1..50, do: Task.Supervisor.async(tasks.(node), Py, :later, [n])) |> Task.await_many()
  end,
  yield: fn node ->
    task = Task.Supervisor.async(tasks.(node), Py, :hangs, [])
    Process.unlink(task.pid)
    {Task.yield(task, 10), Task.shutdown(task, :brutal_kill), Process.monitor(task.pid) |> down.()}
  end,
  shutdown: fn node ->
    task = Task.Supervisor.async_nolink(tasks.(node), Py, :hangs, [])
    {Task.shutdown(task), Process.monitor(task.pid) |> down.()}
  end,
  await_time_out: fn node ->
    task = Task.Supervisor.async_nolink(tasks.(node), Py, :hangs, [])
    result =
      try do Task.await(task, 10) catch kind, {reason, {m, f, [_, time]}} -> {kind, reason, m, f, time} end
    {result, Task.Supervisor.terminate_child(tasks.(node), task.pid)}
  end,
  struct: fn node ->
    task = Task.Supervisor.async(tasks.(node), Py, :add, [1, 2])
    {Task.await(task), task.mfa, task.owner == self(), node(task.pid)}
  end,
  nolink: fn node ->
    task = Task.Supervisor.async_nolink(tasks.(node), Py, :add, [1, 2])
    receive do {ref, value} when ref == task.ref -> {value, down.(task.ref)} end
  end,
  nolink_exit: fn node ->
    Task.Supervisor.async_nolink(tasks.(node), Py, :bye, []).ref |> down.()
  end,
  nolink_throw: fn node -> Task.Supervisor.async_nolink(tasks.(node), Py, :ball, []).ref |> down.() end,
  nolink_error: fn node -> Task.Supervisor.async_nolink(tasks.(node), Py, :fails, []).ref |> down.() end,
  nolink_undef: fn node -> Task.Supervisor.async_nolink(tasks.(node), Py, :nothing, [1]).ref |> down.() end,
  normal: fn node -> Task.Supervisor.async_nolink(tasks.(node), Py, :ends, [:normal]).ref |> down.() end,
  shutdown_reason: fn node ->
    Task.Supervisor.async_nolink(tasks.(node), Py, :ends, [{:shutdown, :x}]).ref |> down.()
  end,
  await_of_a_failed_task: fn node ->
    task = Task.Supervisor.async_nolink(tasks.(node), Py, :bye, [])
    try do Task.await(task) catch kind, {reason, {m, f, _}} -> {kind, reason, m, f} end
  end,
  link: fn node ->
    trap.()
    task = Task.Supervisor.async(tasks.(node), Py, :bye, [])
    pid = task.pid
    receive do {:EXIT, ^pid, reason} -> {reason, down.(task.ref)} end
  end,
  owner_ends: fn node ->
    me = self()
    {owner, ref} = spawn_monitor(fn ->
      task = Task.Supervisor.async(tasks.(node), Py, :hangs, [])
      send(me, {:task, task.pid})
      receive do :go -> exit(:gone) end
    end)
    task = receive do {:task, pid} -> Process.monitor(pid) end
    send(owner, :go)
    {down.(ref), down.(task)}
  end,
  owner_ends_before_it_asks: fn node ->
    owner = spawn(fn -> :ok end)
    args = [{node(), owner, owner}, :monitor]
    # One that has ended before it is monitored does not tell its reason.
    Stream.repeatedly(fn ->
      {:ok, pid} = GenServer.call(tasks.(node), {:start_task, args, :temporary, nil})
      Process.monitor(pid) |> down.()
    end) |> Enum.find(&(&1 != :noproc))
  end,
  start_child: fn node ->
    {:ok, pid} = Task.Supervisor.start_child(tasks.(node), Py, :tell, [self(), :told])
    {is_pid(pid), receive do :told -> :told after 5000 -> :silent end}
  end,
  start_child_that_fails: fn node ->
    {:ok, pid} = Task.Supervisor.start_child(tasks.(node), Py, :later, [1])
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)
    down.(ref)
  end,
  transient: fn node ->
    {:ok, _} = Task.Supervisor.start_child(tasks.(node), Py, :tell, [self(), :told], restart: :transient)
    {receive do :told -> :told end, receive do :told -> :told after 50 -> :once end}
  end,
  permanent: fn node ->
    options = [restart: :permanent, shutdown: :brutal_kill]
    {:ok, pid} = Task.Supervisor.start_child(tasks.(node), Py, :hangs, [], options)
    ref = Process.monitor(pid)
    Process.exit(pid, :kill)
    reason = down.(ref)
    again = fn again ->
      case Task.Supervisor.children(tasks.(node)) do
        [other] when other != pid -> Task.Supervisor.terminate_child(tasks.(node), other)
        _ -> again.(again)
      end
    end
    {reason, again.(again), wait.(wait, node)}
  end,
  children: fn node ->
    task = Task.Supervisor.async_nolink(tasks.(node), Py, :hangs, [])
    result = {
      Task.Supervisor.children(tasks.(node)) == [task.pid],
      DynamicSupervisor.count_children(tasks.(node)),
      for({id, _, type, modules} <- DynamicSupervisor.which_children(tasks.(node)), do: {id, type, modules}),
      Task.Supervisor.terminate_child(tasks.(node), task.pid),
      Task.Supervisor.terminate_child(tasks.(node), task.pid),
      Task.Supervisor.terminate_child(tasks.(node), self())
    }
    {result, down.(task.ref)}
  end,
  max_children: fn node ->
    task = Task.Supervisor.async_nolink({:one_task, node}, Py, :hangs, [])
    refused = try do Task.Supervisor.async({:one_task, node}, Py, :add, [1, 2]) rescue e -> e.__struct__ end
    started = Task.Supervisor.start_child({:one_task, node}, Py, :add, [1, 2])
    {refused, started, Task.shutdown(task, :brutal_kill)}
  end,
  stream: fn node ->
    Task.Supervisor.async_stream(tasks.(node), 1..20, Py, :double, [], max_concurrency: 4) |> Enum.to_list()
  end,
  stream_nolink: fn node ->
    Task.Supervisor.async_stream_nolink(tasks.(node), [:normal, {:shutdown, 1}, :bye], Py, :ends, [])
    |> Enum.map(fn {kind, reason} -> {kind, without_stack.(reason)} end)
  end,
  stream_time_out: fn node ->
    options = [timeout: 10, on_timeout: :kill_task]
    Task.Supervisor.async_stream_nolink(tasks.(node), [:infinity], Process, :sleep, [], options)
    |> Enum.to_list()
  end,
  no_supervisor: fn node ->
    try do Task.Supervisor.async({:no_tasks, node}, Py, :add, [1, 2]) catch
      kind, {reason, {m, f, _}} -> {kind, reason, m, f}
    end
  end
]

for {name, question} <- questions do
  ask = fn node ->
    task = Task.async(fn ->
      try do question.(node) catch kind, reason -> {kind, reason, __STACKTRACE__} end
    end)
    answer = Task.await(task, 20_000)
    wait.(wait, node)
    String.replace(inspect(answer), Atom.to_string(node), "NODE")
  end
  {ours, theirs} = {ask.(PEER), ask.(node())}
  IO.puts("#{name}: #{if ours == theirs, do: "same", else: ours <> " is not " <> theirs}")
end
"""

SERVE = """
:logger.set_primary_config(:level, :none)
defmodule Work do
  def fails(), do: exit(:bye)
  def hangs(), do: Process.sleep(:infinity)
end
{:ok, _} = Task.Supervisor.start_link(name: :tasks)
IO.puts("ready")
IO.read(:stdio, :line)
"""


def offer(node: Node) -> None:
    """The module ``Py`` of the script, and its supervisors."""
    node.serve(TaskSupervisor(), name="tasks")
    node.serve(TaskSupervisor(max_children=1), name="one_task")
    export = node.export("Elixir.Py")

    def add(one: int, two: int) -> int:
        return one + two

    def double(number: int) -> int:
        return number * 2

    async def later(term: Any) -> Any:
        await asyncio.sleep(0.005)
        return term

    def bye() -> None:
        raise ProcessExit(Atom("bye"))

    def ends(reason: Any) -> None:
        raise ProcessExit(reason)

    def ball() -> None:
        raise RemoteError("throw", Atom("ball"))

    def fails() -> None:
        raise RemoteError("error", Atom("oops"), [(Atom("Elixir.Py"), Atom("fails"), 0, [])])

    async def hangs() -> None:
        await asyncio.Event().wait()

    def tell(pid: Any, term: Any) -> None:
        node.send(pid, term)

    def whoami() -> Any:
        return current_call().process.pid

    for function in (add, double, later, bye, ends, ball, fails, hangs, tell, whoami):
        export(function)
    node.export("Elixir.Process", "sleep")(lambda _: hangs())


@pytest.mark.elixir
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_tasks_started_in_elixir_give_the_same_as_on_an_elixir_node(
    carrier: str, tmp_path: Path
) -> None:
    async with running(COMPARE, carrier, tmp_path, offer) as script:
        output, _ = await script.process.communicate()
    lines = [line for line in output.decode().splitlines() if line]
    assert [line for line in lines if not line.endswith(": same")] == []
    assert len(lines) == 28


@pytest.mark.elixir
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_python_starts_tasks_on_an_elixir_node(carrier: str, tmp_path: Path) -> None:
    async with running(SERVE, carrier, tmp_path, lambda node: None) as script:
        assert script.process.stdout is not None
        assert await script.process.stdout.readline() == b"ready\n"
        node, supervisor = script.node, ("tasks", script.name)
        tasks = node.task_supervisor
        task = await tasks.async_nolink(supervisor, "Elixir.String", "upcase", ["abc"])
        assert await task == b"ABC"
        many = [await tasks.async_nolink(supervisor, "Elixir.Kernel", "+", [n, 1]) for n in range(20)]
        assert await asyncio.gather(*many) == list(range(1, 21))
        with pytest.raises(ProcessEnded) as ended:
            await (await tasks.async_nolink(supervisor, "Elixir.Work", "fails"))
        assert ended.value.reason == Atom("bye")

        pid = await tasks.start_child(supervisor, "Elixir.Work", "hangs", shutdown="brutal_kill")
        assert await tasks.children(supervisor) == [pid]
        assert await tasks.terminate_child(supervisor, pid)
        assert not await tasks.terminate_child(supervisor, pid)

        async def links(process: Process) -> None:
            process.trap_exit = True
            await tasks.async_link(supervisor, "Elixir.Work", "fails", process=process)
            got.append((await process.receive())[2])

        got: list[Any] = []
        await node.spawn(links).finished()
        assert got == [Atom("bye")]
