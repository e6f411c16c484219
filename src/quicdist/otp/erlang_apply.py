"""``erlang:apply/2,3`` and ``proc_lib:init_p/3,5``: calls that name another function to call.

``erpc:call(Node, fun py:f/0)`` and ``spawn(Node, fun py:f/0)`` call ``erlang:apply/2``,
``proc_lib:spawn(Node, py, f, [])`` calls ``proc_lib:init_p/5``. Such a call is replaced by the call of
the function that it names, so only exported functions can be called this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quicdist.node.exit_reason import ERROR, UNDEF
from quicdist.otp.outcome import Outcome
from quicdist.term import Atom, Export, Fun

_BADFUN = Atom("badfun")
_BADARITY = Atom("badarity")
_BADARG = Atom("badarg")
_FUNCTION_CLAUSE = Atom("function_clause")
_ERROR_INFO = [(Atom("error_info"), {Atom("module"): Atom("erl_erts_errors")})]

#: A stack frame: module, function, arity or arguments, location.
_Frame = tuple[Any, ...]

_ERLANG, _APPLY = Atom("erlang"), Atom("apply")
_PROC_LIB, _INIT_P = Atom("proc_lib"), Atom("init_p")
_APPLY_2: _Frame = (_ERLANG, _APPLY, 2, [])
_APPLY_3: _Frame = (_ERLANG, _APPLY, 3, [])
_INIT_P_3: _Frame = (_PROC_LIB, _INIT_P, 3, [])
_INIT_P_5: _Frame = (_PROC_LIB, Atom("init_p_do_apply"), 3, [])

#: These functions, by module, function and arity.
INDIRECT = (
    ("erlang", "apply", 2),
    ("erlang", "apply", 3),
    ("proc_lib", "init_p", 3),
    ("proc_lib", "init_p", 5),
)

#: Module, function and arguments.
Mfa = tuple[Any, Any, Any]


class NotApplicable(Exception):
    """The call names no function. ``outcome`` is a BEAM's answer; ``frames`` are stack frames to add."""

    def __init__(self, reason: Any, *stack: Any, frames: Sequence[_Frame] = ()) -> None:
        self.outcome: Outcome = (ERROR, reason, list(stack))
        self.frames = list(frames)


def is_indirect(module: Any, function: Any, arguments: Any) -> bool:
    """Whether a call names another function to call."""
    if module is not _ERLANG and module is not _PROC_LIB:
        return False
    return (
        isinstance(function, Atom)
        and isinstance(arguments, list)
        and (module.name, function.name, len(arguments)) in INDIRECT
    )


def named_by(module: Atom, arguments: list[Any]) -> tuple[Mfa, tuple[Any, ...]]:
    """The call that one of these names, and the stack frame that it adds.

    Raises :class:`NotApplicable`.
    """
    if module is _ERLANG:
        if len(arguments) == 3:
            return _apply_3(arguments), _APPLY_3
        function, arguments_of_it = arguments
        if not isinstance(arguments_of_it, list):
            raise NotApplicable(_BADARG, (_ERLANG, _APPLY, arguments, _ERROR_INFO), _APPLY_2)
        return _fun(function, arguments_of_it, _APPLY_2), _APPLY_2
    match arguments[2:]:
        case [Export() | Fun() as fun]:
            return _fun(fun, [], _INIT_P_3), _INIT_P_3
        case [Atom() as name, Atom() as function, list() as arguments_of_it]:
            return (name, function, arguments_of_it), _INIT_P_5
    raise NotApplicable(_FUNCTION_CLAUSE, (_PROC_LIB, _INIT_P, arguments, []))


def _apply_3(arguments: list[Any]) -> Mfa:
    module, function, arguments_of_it = arguments
    if isinstance(module, Atom) and isinstance(function, Atom) and isinstance(arguments_of_it, list):
        return module, function, arguments_of_it
    raise NotApplicable(_BADARG, (_ERLANG, _APPLY, arguments, _ERROR_INFO))


def _fun(function: Any, arguments: list[Any], frame: _Frame) -> Mfa:
    if not isinstance(function, Export | Fun):
        raise NotApplicable((_BADFUN, function), _APPLY_2)
    if function.arity != len(arguments):
        raise NotApplicable((_BADARITY, (function, arguments)), _APPLY_2)
    if isinstance(function, Fun):
        # Its code is on the node that made it. A BEAM without that module answers the same.
        raise NotApplicable(UNDEF, (function, arguments, []), frames=[frame])
    return function.module, function.function, arguments
