# A supervision tree in Elixir with a child in Python. The argument is the Python node.
[py] = System.argv()
py = String.to_atom(py)

children = [
  %{id: :counter, start: {:erpc, :call, [py, :python, :start_counter, [10]]}}
]

{:ok, supervisor} = Supervisor.start_link(children, strategy: :one_for_one)
counter = {:counter, py}
IO.puts("first: #{GenServer.call(counter, :next)}")
IO.puts("second: #{GenServer.call(counter, :next)}")

[{:counter, before, _, _}] = Supervisor.which_children(supervisor)
monitor = Process.monitor(before)
catch_exit = fn -> try do GenServer.call(counter, :crash) catch :exit, _ -> :crashed end end
IO.puts("#{catch_exit.()}")

receive do
  {:DOWN, ^monitor, _, _, _} -> :ok
end

# A call waits until the supervisor has restarted its child.
[{:counter, now, _, _}] = Supervisor.which_children(supervisor)
IO.puts("restarted: #{now != before}, and counts from #{GenServer.call(now, :next)}")
monitor = Process.monitor(now)
:ok = Supervisor.stop(supervisor)

receive do
  {:DOWN, ^monitor, _, _, reason} -> IO.puts("stopped: #{reason}")
end
