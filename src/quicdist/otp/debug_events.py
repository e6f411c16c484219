"""The events of a server that has debug options, and how ``gen_server`` prints them.

OTP: ``gen_server``'s ``print_event/3``.
"""

from __future__ import annotations

import re
from typing import Any, Final

from quicdist.otp.gen_messages import GEN_CALL, GEN_CAST, classify
from quicdist.term import Atom, TermError, format_term

#: ``{in, Message}``, ``{out, Reply, From, State}``, ``{noreply, State}``, ``{continue, Argument}``.
Event = tuple[Any, ...]

_IN, _OUT, _NOREPLY = Atom("in"), Atom("out"), Atom("noreply")
_CONTROL: Final = re.compile(r"~t?[pw]|~n")


def event_format(name: Any, event: Event) -> tuple[Any, ...]:
    """The format and the arguments of ``io:format`` with which ``gen_server`` prints an event."""
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


def event_text(name: Any, event: Event) -> str:
    """An event as ``gen_server`` prints it."""
    form, *arguments = event_format(name, event)
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
