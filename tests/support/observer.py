"""The real observer of a BEAM on a virtual display, driven without a mouse; for tests and for screenshots.

It needs OTP's ``observer`` and ``wx``, and the program ``Xvfb``.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.beam import Beam, erl_applications

#: The tabs, in order, and what each has to receive until it has shown something: messages, and how many.
TABS = {
    "System": ("_", 0),
    "Load Charts": ("{stats, 1, _, _, _}", 2),
    "Memory Allocators": ("{_, {promise_reply, _}}", 2),
    "Applications": ("{delivery, _, app, _, _}", 1),
    "Processes": ("{holder_updated, _}", 1),
    "Ports": ("{active, _}", 1),
    "Sockets": ("{active, _}", 1),
    "Table Viewer": ("{active, _}", 1),
    "Trace Overview": ("{active, _}", 1),
}

#: The state of the observer, and its panels: ``{Tag, Panel, Title}``.
_STATE = """
[State | _] = [S || S <- sys:get_state(observer), is_tuple(S), element(1, S) =:= state],
Fields = tuple_to_list(State),
[Panels] = [F || [{sys_panel, _, _} | _] = F <- Fields],
"""

#: Waits for messages to a process while something is done.
_RECEIVED = """
Watch = fun(Pid, Do, Is, Count) ->
  Ref = monitor(process, observer),
  erlang:trace(Pid, true, ['receive']),
  Do(),
  Wait = fun Wait(0) -> ok; Wait(Left) ->
    receive
      {trace, Pid, 'receive', Message} -> case Is(Message) of true -> Wait(Left - 1); false -> Wait(Left) end;
      {'DOWN', Ref, process, _, Why} -> exit({observer_ended, Why})
    after 30000 -> exit({late, Left, process_info(Pid, current_stacktrace)})
    end
  end,
  Wait(Count),
  erlang:trace(Pid, false, ['receive']),
  demonitor(Ref, [flush]),
  (fun Flush() -> receive {trace, Pid, 'receive', _} -> Flush() after 0 -> ok end end)()
end,
"""

_OPEN = """
case whereis(observer) of undefined -> ok = observer:start(); _ -> ok end,
STATE
[Nodes] = [F || F <- Fields, is_list(F), lists:member(NODE, F)],
Before = length(lists:takewhile(fun(N) -> N =/= NODE end, Nodes)),
observer ! {wx, 1001 + Before, undefined, [], {wxCommand, command_menu_selected, "", 0, 0}},
NODE = observer_wx:get_active_node(),
{sys_panel, System, _} = hd(Panels),
wx_object:call(System, get_config)
"""

_SHOW = """
STATE
WATCH
{_, Panel, Title} = lists:keyfind("TITLE", 3, Panels),
observer ! {get_debug_info, self()},
{Env, Notebook} = receive {observer_debug, E, N, _} -> {E, N} end,
wx:set_env(Env),
Index = length(lists:takewhile(fun({_, _, T}) -> T =/= Title end, Panels)),
Select = fun() -> wxNotebook:setSelection(Notebook, Index) end,
Watch(wx_object:get_pid(Panel), Select, fun(M) -> case M of PATTERN -> true; _ -> false end end, COUNT),
wx_object:call(Panel, get_config),
observer_wx:get_active_node()
"""

_PROCESS = """
STATE
WATCH
{_, Panel, _} = lists:keyfind(pro_panel, 1, Panels),
Pid = rpc:call(NODE, erlang, whereis, [NAME]),
Open = fun() -> observer ! {open_link, Pid} end,
Pro = wx_object:get_pid(Panel),
Watch(Pro, Open, fun(M) -> case M of {procinfo_open, _} -> true; _ -> false end end, 1),
wx_object:call(Panel, get_config),
{links, Links} = process_info(Pro, links),
[Window | _] = lists:reverse(lists:sort([P || P <- Links, is_pid(P), node(P) == node(),
  proc_lib:translate_initial_call(P) == {observer_procinfo, init, 1}])),
Window ! {get_debug_info, self()},
Notebook = receive {procinfo_debug, N} -> N end,
observer ! {get_debug_info, self()},
wx:set_env(receive {observer_debug, E, _, _} -> E end),
wxNotebook:setSelection(Notebook, PAGE),
[wxNotebook:getPageText(Notebook, I) || I <- lists:seq(0, wxNotebook:getPageCount(Notebook) - 1)]
"""


@functools.cache
def what_is_missing() -> str | None:
    """What the observer needs and this machine does not have; None if it can be shown."""
    missing = [name for name in ("observer", "wx") if name not in erl_applications()]
    if missing:
        return f"erl finds no application {', '.join(missing)} (Debian: erlang-observer)"
    return None if shutil.which("Xvfb") else "there is no Xvfb on this machine"


@contextmanager
def virtual_display(width: int = 850, height: int = 600) -> Iterator[str]:
    """Run ``Xvfb`` on a free display; its name, for ``DISPLAY``."""
    read, write = os.pipe()
    with subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        os.close(write)
        try:
            with os.fdopen(read) as told:
                number = told.readline().strip()
            if not number:
                raise RuntimeError(f"Xvfb ended with {server.wait()} and started no display")
            yield f":{number}"
        finally:
            server.terminate()


@contextmanager
def beam_with_display(args: Sequence[str], display: str, config: str) -> Iterator[Beam]:
    """A BEAM that draws on ``display``. Its observer keeps its settings below ``config``."""
    before = {name: os.environ.get(name) for name in ("DISPLAY", "XDG_CONFIG_HOME")}
    os.environ.update(DISPLAY=display, XDG_CONFIG_HOME=config)
    try:
        beam = Beam(args)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    with beam:
        yield beam


class Observer:
    """The observer of ``beam``, pointed at ``node``."""

    def __init__(self, beam: Beam, node: str) -> None:
        self._beam = beam
        self.node = node

    async def _run(self, source: str, **values: object) -> str:
        source = source.replace("STATE", _STATE).replace("WATCH", _RECEIVED)
        for name, value in {"NODE": f"'{self.node}'", **values}.items():
            source = source.replace(name, str(value))
        return await self._beam.eval(f"(fun() -> {source} end)()")

    async def open(self) -> None:
        """Start it, and select the node in its menu."""
        await self._run(_OPEN)

    async def show(self, title: str, count: int | None = None) -> str:
        """Show a tab, and wait until it has got what it shows: so many messages. The node that the observer
        shows then: its own, after an error."""
        pattern, usual = TABS[title]
        count = usual if count is None else count
        shown = await self._run(_SHOW, TITLE=title, PATTERN=pattern, COUNT=count)
        return shown.strip("'")

    async def show_process(self, name: str, page: int = 0) -> str:
        """Open the window of a registered process at a page; the titles of its pages."""
        return await self._run(_PROCESS, NAME=name, PAGE=page)

    async def is_running(self) -> bool:
        """Whether it has not crashed."""
        return await self._beam.eval("is_pid(whereis(observer))") == "true"
