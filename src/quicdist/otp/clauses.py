"""Whether a callback had a case for what it was called with.

In Erlang a callback without a clause for a message ends its server with ``function_clause``. In
Python a ``match`` statement without a case for it does nothing, and the callback returns None. So
where a callback that ends in ``match request:`` has returned None, its patterns are tried again.

What cannot be told counts as a case: a callback whose source is not to be had, that does not end in
such a statement, that assigns to its argument, or whose guards look at its local variables.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

#: Says whether a case of a callback matches: called with its object and its argument.
_Check = Callable[[Any, Any], bool]

_checks: WeakKeyDictionary[FunctionType, _Check | None] = WeakKeyDictionary()


def has_clause(server: object, callback: str, argument: Any) -> bool:
    """Whether the method ``callback`` of ``server``, which returned None, has a case for ``argument``,
    its first one."""
    function = getattr(type(server), callback)
    if not isinstance(function, FunctionType):
        return True
    try:
        check = _checks[function]
    except KeyError:
        check = _checks[function] = _check_of(function)
    if check is None:
        return True
    try:
        return check(server, argument)
    except Exception:  # a guard that needs more than the argument
        return True


def _check_of(function: FunctionType) -> _Check | None:
    """The check for a function, None where each argument counts as one it has a case for."""
    try:
        if hasattr(function, "__wrapped__"):
            return None
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef) or definition.decorator_list:
        return None
    statement = definition.body[-1]
    names = [argument.arg for argument in (*definition.args.posonlyargs, *definition.args.args)]
    if not isinstance(statement, ast.Match) or len(names) < 2:
        return None
    subject = statement.subject
    if not isinstance(subject, ast.Name) or subject.id != names[1] or _assigned(definition, names[1]):
        return None
    if any(_irrefutable(case) for case in statement.cases):
        return None
    return _compiled(function, statement, names[:2])


def _assigned(definition: ast.AST, name: str) -> bool:
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)
        for node in ast.walk(definition)
    )


def _irrefutable(case: ast.match_case) -> bool:
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def _compiled(function: FunctionType, statement: ast.Match, names: list[str]) -> _Check:
    """``match`` with the same cases, each of which returns True; in the scope of the function."""
    found = [ast.Return(ast.Constant(True))]
    cases = [ast.match_case(case.pattern, case.guard, list(found)) for case in statement.cases]
    inner = ast.parse(f"def check({', '.join(names)}):\n    return False").body[0]
    assert isinstance(inner, ast.FunctionDef)
    inner.body.insert(0, ast.Match(statement.subject, cases))
    free = {
        name: cell.cell_contents
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        if name != "__class__" and _filled(cell)
    }
    outer = ast.parse(f"def scope({', '.join(free)}):\n    return check")
    scope = outer.body[0]
    assert isinstance(scope, ast.FunctionDef)
    scope.body.insert(0, inner)
    made: dict[str, Any] = {}
    exec(
        compile(ast.fix_missing_locations(outer), function.__code__.co_filename, "exec"),
        function.__globals__,
        made,
    )
    check: _Check = made["scope"](**free)
    return check


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - whether it raises is the question
    except ValueError:
        return False
    return True
