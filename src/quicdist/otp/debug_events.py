"""The events of a server that has debug options, and how its behaviour prints them.

OTP: ``print_event/3`` of ``gen_server``, ``gen_statem`` and ``gen_event``.
"""

from __future__ import annotations

import re
from typing import Any, Final

from quicdist.otp.gen_messages import GEN_CALL, GEN_CAST, classify
from quicdist.term import Atom, TermError, format_term

#: Of ``gen_server``: ``{in, Message}``, ``{out, Reply, From, State}``, ``{noreply, State}``,
#: ``{continue, Argument}``.
Event = tuple[Any, ...]

_GEN_SERVER, _GEN_STATEM, _GEN_EVENT = Atom("gen_server"), Atom("gen_statem"), Atom("gen_event")
_NOTIFY, _CALL = Atom("notify"), Atom("call")
_ENTER, _TERMINATE = Atom("enter"), Atom("terminate")
_CONSUME, _POSTPONE, _START_TIMER = Atom("consume"), Atom("postpone"), Atom("start_timer")
_IN, _OUT, _NOREPLY = Atom("in"), Atom("out"), Atom("noreply")
_CONTROL: Final = re.compile(r"~t?[pw]|~n")


def event_format(name: Any, event: Event, behaviour: Atom = _GEN_SERVER) -> tuple[Any, ...]:
    """The format and the arguments of ``io:format`` with which a behaviour prints an event."""
    if behaviour == _GEN_STATEM:
        return _of_gen_statem(name, event)
    if behaviour == _GEN_EVENT:
        return _of_gen_event(name, event)
    return _of_gen_server(name, event)


def _of_gen_server(name: Any, event: Event) -> tuple[Any, ...]:
    match event:
        case (kind, message) if kind == _IN:
            label, sender, request = classify(message)
            if label is GEN_CALL:
                return ("*DBG* ~tp got call ~tp from ~tw~n", name, request, sender[0])
            if label is GEN_CAST:
                return ("*DBG* ~tp got cast ~tp~n", name, request)
            return ("*DBG* ~tp got ~tp~n", name, message)
        case (kind, reply, (to, _), state) if kind == _OUT:
            return ("*DBG* ~tp sent ~tp to ~tw, new state ~tp~n", name, reply, to, state)
        case (kind, state) if kind == _NOREPLY:
            return ("*DBG* ~tp new state ~tp~n", name, state)
    return ("*DBG* ~tp dbg  ~tp~n", name, event)


def _of_gen_event(name: Any, event: Event) -> tuple[Any, ...]:
    match event:
        case (kind, (tag, notified)) if kind == _IN and tag == _NOTIFY:
            return ("*DBG* ~tp got event ~tp~n", name, notified)
        case (kind, (_, _, (tag, handler, query))) if kind == _IN and tag == _CALL:
            return ("*DBG* ~tp(~tp) got call ~tp~n", name, handler, query)
        case (kind, message) if kind == _IN:
            return ("*DBG* ~tp got ~tp~n", name, message)
    return ("*DBG* ~tp dbg  ~tp~n", name, event)


def _of_gen_statem(name: Any, event: Event) -> tuple[Any, ...]:
    match event:
        case (kind, (_, _) as what, state) if kind == _IN:
            form, *arguments = _statem_event(what)
            return (f"*DBG* ~tp receive {form} in state ~tp~n", name, *arguments, state)
        case (kind, reply, (to, _)) if kind == _OUT:
            return ("*DBG* ~tp send ~tp to ~tw~n", name, reply, to)
        case (Atom() as kind, what, state) if kind in (_ENTER, _START_TIMER, _TERMINATE):
            return ("*DBG* ~tp ~tw ~tp in state ~tp~n", name, kind, what, state)
        case (Atom() as kind, (_, _) as what, state, following) if kind in (_CONSUME, _POSTPONE):
            form, *arguments = _statem_event(what)
            states = [state] if state == following else [state, following]
            form = f"*DBG* ~tp ~tw {form} in state {' => '.join('~tp' for _ in states)}~n"
            return (form, name, kind, *arguments, *states)
    return ("*DBG* ~tp dbg  ~tp~n", name, event)


def _statem_event(event: Any) -> tuple[Any, ...]:
    match event:
        case ((tag, (pid, _)), request) if tag == _CALL:
            return ("call ~tp from ~tw", request, pid)
    return ("~tw ~tp", *event)


def event_text(name: Any, event: Event, behaviour: Atom = _GEN_SERVER) -> str:
    """An event as its behaviour prints it."""
    form, *arguments = event_format(name, event, behaviour)
    text: str = ""
    end = 0
    for control in _CONTROL.finditer(form):
        text += form[end : control.start()]
        end = control.end()
        if control[0] == "~n":
            text += "\n"
            continue
        column = len(text) - text.rfind("\n")
        style = "~tw" if control[0] == "~tw" else f"~80.{column}tp"
        try:
            text += format_term(arguments.pop(0), style)
        except TermError:
            text += "?"
    return text + str(form[end:])
