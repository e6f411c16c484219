"""An event handler in Erlang and the same in Python: each event says what the callback shall return."""

from __future__ import annotations

from typing import Any

from quicdist import Atom, EventHandler, ProcessExit, RemoveHandler, SwapHandler

TALLY_ERL = """
-module(tally).
-behaviour(gen_event).
-compile([export_all, nowarn_export_all]).
start() -> gen_event:start().
start_link() -> gen_event:start_link().
start(Name) -> gen_event:start({local, Name}).
init({exit, R}) -> exit(R);
init({refuse, X}) -> X;
init({Args, Old}) -> {ok, [{swapped, Args, Old}]};
init(X) -> {ok, [X]}.
handle_event(Event, S) -> step(Event, S).
handle_info(Event, S) -> step({info, Event}, S).
handle_call(get, S) -> {ok, S, S};
handle_call({remove, R}, _) -> {remove_handler, R};
handle_call({swap, R, A1, H2, A2}, S) -> {swap_handler, R, A1, S, H2, A2};
handle_call({exit, R}, _) -> exit(R);
handle_call(sleep, S) -> {ok, slept, S, hibernate}.
step({info, {'EXIT', _, R}}, S) -> {ok, [{'EXIT', R} | S]};
step({info, X}, S) -> {ok, [{info, X} | S]};
step({only, X, Step}, S) -> case lists:member(X, S) of true -> step(Step, S); false -> {ok, S} end;
step(remove, _) -> remove_handler;
step({swap, A1, H2, A2}, S) -> {swap_handler, A1, S, H2, A2};
step({exit, R}, _) -> exit(R);
step({return, X}, _) -> X;
step({tell, Pid}, S) -> Pid ! {told, S}, {ok, S};
step(sleep, S) -> {ok, S, hibernate};
step(X, S) -> {ok, [X | S]}.
code_change(Vsn, S, Extra) -> {ok, [{Vsn, Extra} | S]}.
terminate({exit, R}, _) -> exit(R);
terminate({tell, Pid}, S) -> Pid ! {terminated, S}, told;
terminate(Args, S) ->
  case whereis(undertaker) of undefined -> ok; P -> P ! {terminated, Args, S} end, {ended, Args}.
undertaker(Pid) ->
  P = spawn(fun() -> (fun F() -> receive M -> Pid ! M, F() end end)() end), register(undertaker, P), P.
"""


class Tally(EventHandler):
    """TALLY_ERL in Python."""

    def __init__(self, args: Any) -> None:
        self.answer = None
        match args:
            case (Atom(name="exit"), reason):
                raise ProcessExit(reason)
            case (Atom(name="refuse"), answer):
                self.answer = answer
            case (new, old):
                self.state: list[Any] = [(Atom("swapped"), new, old)]
            case _:
                self.state = [args]

    def init(self) -> Any:
        return self.answer

    def get_state(self) -> Any:
        return self.state

    def replace_state(self, state: Any) -> None:
        self.state = state

    def handle_event(self, event: Any) -> Any:
        match event:
            case (Atom(name="only"), term, step):
                return self.handle_event(step) if term in self.state else None
            case Atom(name="remove"):
                return RemoveHandler()
            case (Atom(name="swap"), args, handler, new_args):
                return SwapHandler(args, handler, new_args)
            case (Atom(name="exit"), reason):
                raise ProcessExit(reason)
            case (Atom(name="return"), term):
                return term
            case (Atom(name="tell"), pid):
                self.manager.send(pid, (Atom("told"), self.state))
            case Atom(name="sleep"):
                return Atom("hibernate")
            case _:
                self.state = [event, *self.state]
        return None

    def handle_info(self, message: Any) -> None:
        match message:
            case (Atom(name="EXIT") as tag, _, reason):
                self.state = [(tag, reason), *self.state]
            case _:
                self.state = [(Atom("info"), message), *self.state]

    async def handle_call(self, request: Any) -> Any:
        match request:
            case (Atom(name="remove"), reply):
                return RemoveHandler(reply)
            case (Atom(name="swap"), reply, args, handler, new_args):
                return SwapHandler(args, handler, new_args, reply)
            case (Atom(name="exit"), reason):
                raise ProcessExit(reason)
            case Atom(name="sleep"):
                return Atom("slept")
        return self.state

    def code_change(self, old_version: Any, extra: Any) -> None:
        self.state = [(old_version, extra), *self.state]

    def terminate(self, args: Any) -> Any:
        match args:
            case (Atom(name="exit"), reason):
                raise ProcessExit(reason)
            case (Atom(name="tell"), pid):
                self.manager.send(pid, (Atom("terminated"), self.state))
                return Atom("told")
        if self.manager.node.whereis("undertaker"):
            self.manager.send("undertaker", (Atom("terminated"), args, self.state))
        return (Atom("ended"), args)
