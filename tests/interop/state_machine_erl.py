"""A state machine in Erlang and the same in Python: each event says what the callback shall return."""

from __future__ import annotations

from typing import Any, cast

from quicdist import (
    HIBERNATE,
    IGNORE,
    POSTPONE,
    Atom,
    Event,
    EventTimeout,
    GenericTimeout,
    GenStatem,
    KeepState,
    NextEvent,
    NextState,
    ProcessExit,
    RepeatState,
    Reply,
    StateTimeout,
    Stop,
)
from quicdist.otp.gen_statem import InsertedType

#: An event has the content ``{Tag, Steps}``. The callback does the first step, and the next one each time
#: when it gets the same event again; the log has what it was called with.
MACHINE_ERL = """
-module(machine).
-behaviour(gen_statem).
-compile([export_all, nowarn_export_all]).
callback_mode() -> [handle_event_function, state_enter].
start(Script) -> gen_statem:start(machine, Script, []).
start(Name, Script) -> gen_statem:start({local, Name}, machine, Script, []).
start_link(Script) -> gen_statem:start_link(machine, Script, []).
init({ok, State, Actions, Enter}) ->
  {ok, State, #{log => [], seen => #{}, enter => Enter}, actions(none, Actions)};
init({ignore}) -> ignore;
init({stop, Reason}) -> {stop, Reason};
init({exit, Reason}) -> exit(Reason).
handle_event(enter, Old, State, Data) ->
  step(maps:get(State, maps:get(enter, Data), {keep, []}), none, noted({enter, Old, State}, Data));
handle_event({call, From}, {Tag, Steps}, State, Data) -> handled(call, From, Tag, Steps, State, Data);
handle_event(Type, {Tag, Steps}, State, Data) -> handled(Type, none, Tag, Steps, State, Data);
handle_event(info, {'EXIT', _, Reason}, State, Data) -> {keep_state, noted({'EXIT', Reason, State}, Data)};
handle_event(info, {timeout, _, Content}, State, Data) -> {keep_state, noted({late, Content, State}, Data)}.
handled(Type, From, Tag, Steps, State, #{seen := Seen} = Data) ->
  Time = maps:get(Tag, Seen, 0),
  Step = lists:nth(min(Time + 1, length(Steps)), Steps),
  step(Step, From, noted({Type, Tag, State}, Data#{seen := Seen#{Tag => Time + 1}})).
noted(Entry, #{log := Log} = Data) -> Data#{log := [Entry | Log]}.
step({next, State, Actions}, From, Data) -> {next_state, State, Data, actions(From, Actions)};
step({keep, Actions}, From, Data) -> {keep_state, Data, actions(From, Actions)};
step({repeat, Actions}, From, Data) -> {repeat_state, Data, actions(From, Actions)};
step({stop, Reason}, _, Data) -> {stop, Reason, Data};
step({stop, Reason, Reply}, From, Data) -> {stop_and_reply, Reason, [{reply, From, Reply}], Data};
step({exit, Reason}, _, _) -> exit(Reason);
step({trap}, _, Data) -> process_flag(trap_exit, true), {keep_state, Data};
step({tell, Pid}, _, #{log := Log} = Data) -> Pid ! {log, lists:reverse(Log)}, {keep_state, Data};
step({answer, Value}, From, Data) -> gen_statem:reply(From, Value), {keep_state, Data};
step(Other, _, _) -> Other.
actions(From, Actions) -> [case A of {reply, V} -> {reply, From, V};
  {inserted_call, C} -> {next_event, {call, From}, C}; _ -> A end || A <- Actions].
undertaker(Pid) -> P = spawn(fun() -> receive M -> Pid ! M end end), register(undertaker, P), P.
code_change(_, _, Data, {to, State}) -> {ok, State, Data};
code_change(Vsn, _, _, _) -> exit({no, Vsn}).
terminate(R, State, _) -> case whereis(undertaker) of undefined -> ok; P -> P ! {terminated, R, State} end.
run(Node, {Init, Events, Quiet}) ->
  {ok, M} = rpc:call(Node, machine, start, [Init]),
  Mon = monitor(process, M),
  ok = sys:suspend(M),
  Calls = lists:flatmap(fun
    ({cast, C}) -> gen_statem:cast(M, C), [];
    ({info, C}) -> M ! C, [];
    ({call, C}) -> [gen_statem:send_request(M, C)] end, Events),
  Quietly = {{timeout, last}, Quiet, {last, [{tell, self()}]}},
  gen_statem:cast(M, {quiet, [{keep, [Quietly]}]}),
  ok = sys:resume(M),
  End = receive {log, L} -> {L, sys:get_state(M)}; {'DOWN', Mon, _, _, R} -> {down, R}
    after 9000 -> silent end,
  demonitor(Mon, [flush]),
  exit(M, kill),
  Replies = [case gen_statem:receive_response(C, 0) of {error, {R2, _}} -> {error, R2}; X -> X end
    || C <- Calls],
  {End, Replies}.
run_all(Node, Scripts) ->
  Me = self(),
  Pids = [spawn(fun() -> Me ! {self(), run(Node, S)} end) || S <- Scripts],
  [receive {P, R} -> R after 20000 -> silent end || P <- Pids].
"""

SUPERVISOR_ERL = """
-module(machine_sup).
-behaviour(supervisor).
-compile([export_all, nowarn_export_all]).
init(Node) ->
  {ok, {#{}, [#{id => m, start => {rpc, call, [Node, machine, start_link, [{ok, a, [], #{}}]]}}]}}.
"""


class Machine(GenStatem):
    """MACHINE_ERL in Python."""

    state_enter = True

    def __init__(self, script: Any) -> None:
        self.script = script
        self.log: list[Any] = []
        self.seen: dict[Any, int] = {}
        self.on_enter: Any = {}

    def get_data(self) -> Any:
        return {Atom("log"): self.log, Atom("seen"): self.seen, Atom("enter"): self.on_enter}

    def replace_data(self, data: Any) -> None:
        self.log = data[Atom("log")]

    def init(self) -> Any:
        match self.script:
            case (Atom(name="ok"), state, actions, on_enter):
                self.on_enter = on_enter
                return NextState(state, *map(action, actions))
            case (Atom(name="stop"), reason):
                return Stop(reason)
            case (Atom(name="exit"), reason):
                raise ProcessExit(reason)
            case _:
                return IGNORE

    def handle_event(self, event: Event) -> Any:
        match event:
            case Event("enter", old):
                self.log.insert(0, (Atom("enter"), old, self.state))
                return self.step(self.on_enter.get(self.state, (Atom("keep"), [])), None)
            case Event(kind, (tag, list(steps))):
                time = self.seen.get(tag, 0)
                self.seen[tag] = time + 1
                shown = Atom("call") if kind == "call" else event.type_term()
                self.log.insert(0, (shown, tag, self.state))
                return self.step(steps[min(time, len(steps) - 1)], event.sender)
            case Event("info", (Atom(name="EXIT") as exit, _, reason)):
                self.log.insert(0, (exit, reason, self.state))
            case Event("info", (Atom(name="timeout"), _, content)):
                self.log.insert(0, (Atom("late"), content, self.state))
        return None

    def step(self, step: Any, sender: Any) -> Any:
        match step:
            case (Atom(name="next"), state, actions):
                return NextState(state, *map(action, actions))
            case (Atom(name="keep"), actions):
                return KeepState(*(action(one, sender) for one in actions))
            case (Atom(name="repeat"), actions):
                return RepeatState(*map(action, actions))
            case (Atom(name="stop"), reason):
                return Stop(reason)
            case (Atom(name="stop"), reason, value):
                return Stop(reason, value)
            case (Atom(name="exit"), reason):
                raise ProcessExit(reason)
            case (Atom(name="trap"),):
                self.process.trap_exit = True
                return None
            case (Atom(name="tell"), pid):
                self.process.send(pid, (Atom("log"), self.log[::-1]))
                return None
            case (Atom(name="answer"), value):
                self.reply(sender, value)
                return None
        return step

    def code_change(self, old_version: Any, extra: Any) -> Any:
        match extra:
            case (Atom(name="to"), state):
                return NextState(state)
        raise ProcessExit((Atom("no"), old_version))

    def terminate(self, reason: Any) -> None:
        if self.process.node.whereis("undertaker"):
            self.process.send("undertaker", (Atom("terminated"), reason, self.state))


def action(term: Any, sender: Any = None) -> Any:
    """An action of OTP's as one of ours."""
    match term:
        case Atom(name="postpone"):
            return POSTPONE
        case Atom(name="hibernate"):
            return HIBERNATE
        case (Atom(name="reply"), value):
            return Reply(value)
        case (Atom(name="inserted_call"), content):
            return NextEvent(content, "call", sender)
        case (Atom(name="next_event"), Atom(name=kind), content):
            return NextEvent(content, cast("InsertedType", kind))
        case (kind, Atom(name="cancel")):
            return timeout(kind, None, None)
        case (kind, Atom(name="update"), content):
            make = timeout(kind, 0, content)
            more = (make.name, content) if isinstance(make, GenericTimeout) else (content,)
            return type(make).update(*more)
        case (kind, Atom(name="infinity"), content):
            return timeout(kind, None, content)
        case (kind, milliseconds, content):
            return timeout(kind, milliseconds / 1000, content)
    return term


def timeout(kind: Any, seconds: Any, content: Any) -> Any:
    match kind:
        case Atom(name="timeout"):
            return EventTimeout(seconds, content)
        case Atom(name="state_timeout"):
            return StateTimeout(seconds, content)
        case (_, name):
            return GenericTimeout(name, seconds, content)
