"""What OTP's behaviours tell of a server: the function it waits in, and the attributes of its module.

OTP: ``gen_server(3)``, ``gen_statem(3)``, ``gen_event(3)``; Erlang Reference Manual, *Modules*:
``module_info/1``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quicdist.otp.introspection.refusals import Export, badarg
from quicdist.term import Atom

#: By behaviour: the function in which an idle server of a BEAM waits.
_LOOPS = {
    Atom("gen_server"): (Atom("gen_server"), Atom("loop"), 7),
    Atom("gen_statem"): (Atom("gen_statem"), Atom("loop_receive"), 3),
    Atom("gen_event"): (Atom("gen_event"), Atom("fetch_msg"), 6),
}
_BEHAVIOUR = Atom("behaviour")
_ATTRIBUTES, _EXPORTS = Atom("attributes"), Atom("exports")


def loop_of(behaviour: Atom) -> tuple[Any, ...]:
    """``{Module, Function, Arity}`` in which a server waits for its next message."""
    return _LOOPS.get(behaviour, (behaviour, Atom("loop"), 0))


def module_infos() -> Iterator[Export]:
    """``module_info/1`` of each behaviour. The observer asks the module of a server for its behaviour, and
    whether it exports ``format_status``."""
    for behaviour in _LOOPS:
        yield behaviour.name, "module_info", _ModuleInfo(behaviour)


class _ModuleInfo:
    def __init__(self, behaviour: Atom) -> None:
        self._behaviour = behaviour

    def __call__(self, what: Any) -> list[Any]:
        if what == _ATTRIBUTES:
            return [(_BEHAVIOUR, [self._behaviour])]
        if what == _EXPORTS:
            return []
        raise badarg()
