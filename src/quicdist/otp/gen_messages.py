"""The messages of ``gen``: requests with their labels, and replies.

OTP: ``gen``, ``gen_server(3)``, ``sys(3)``: ``{'$gen_call', From, Request}``, ``{'$gen_cast', Request}``,
``{system, From, Request}``.
"""

from __future__ import annotations

from typing import Any

from quicdist.node.exit_reason import EXIT
from quicdist.node.process import Process
from quicdist.term import Atom, ImproperList, Pid, Reference
from quicdist.term.names import named_term

GEN_CALL = Atom("$gen_call")
GEN_CAST = Atom("$gen_cast")
#: The label of the messages that the module ``sys`` sends.
SYSTEM = Atom("system")
ALIAS = Atom("alias")

#: The client of a call, ``{Pid, Tag}``: the reply carries the tag back unchanged.
From = tuple[Pid, Any]


def reply(process: Process, sender: From, value: Any) -> None:
    """Reply to a call (``gen:reply/2``, ``gen_server:reply/2``); ``process`` is the server."""
    if not process.alive:
        return
    pid, tag = sender
    # The reply must keep its order with other signals to the alias's process: the exit of a server that
    # replies and ends must not overtake the reply on another stream.
    process.runtime.send(process.pid, _reply_address(pid, tag), (tag, value), owner=pid)


def _reply_address(pid: Pid, tag: Any) -> Pid | Reference:
    # [alias|Alias], or [[alias|Alias]|_] from gen_statem and gen_event.
    if isinstance(tag, list | ImproperList) and tag:
        head = tag[0] if isinstance(tag, list) else tag.elements[0]
        if isinstance(head, ImproperList):
            tag, head = head, head.elements[0]
        if isinstance(tag, ImproperList) and head == ALIAS and isinstance(tag.tail, Reference):
            return tag.tail
    return pid


def is_from(term: Any) -> bool:
    """Whether a term from outside has the shape of a :data:`From`."""
    return isinstance(term, tuple) and len(term) == 2 and isinstance(term[0], Pid)


def classify(message: Any) -> tuple[Atom | None, Any, Any]:
    """The label of a message, its sender and its request: :data:`GEN_CALL`, :data:`GEN_CAST`,
    :data:`SYSTEM` or ``'EXIT'``; None as the label of any other message."""
    if isinstance(message, tuple):
        if len(message) == 3:
            label, sender, request = message
            for kind in (GEN_CALL, SYSTEM):
                if label == kind and is_from(sender):
                    return kind, sender, request
            if label == EXIT and isinstance(sender, Pid):
                return EXIT, sender, request
        elif len(message) == 2 and message[0] == GEN_CAST:
            return GEN_CAST, None, message[1]
    return None, None, None


def handler_term(handler: Any) -> Any:
    """The name of a handler as a term: ``Module`` or ``{Module, Id}``; a ``str`` stands for the atom."""
    if isinstance(handler, tuple) and len(handler) == 2:
        return (named_term(handler[0]), named_term(handler[1]))
    return named_term(handler)
