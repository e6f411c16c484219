"""Detects a callback whose ``match`` statement has no case for its argument.

In Erlang a callback without a clause for a message ends its server with ``function_clause``. In Python
a ``match`` statement without a matching case does nothing. So a callback that ends in ``match request:``
is compiled a second time, with one more case at the end that returns :data:`NO_CLAUSE`; the server calls
that version. The class is not changed: ``super().handle_call(...)`` in a subclass returns None.

The second version exists only if the source, compiled unchanged, gives the code that runs. Otherwise
(no source, a changed source, a decorator that wraps the function, code rewritten at import), and for a
callback that does not end in such a statement, a missing case is not detected.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, Final
from weakref import WeakKeyDictionary


class _NoClause:
    def __repr__(self) -> str:
        return "NO_CLAUSE"


#: Returned by a callback that has no case for its argument.
NO_CLAUSE: Final = _NoClause()
#: Its placeholder in the source.
_MARK = "quicdist: no case"

#: The flags of ``from __future__ import``, which an earlier cell can set too (IPython).
_FUTURES = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})

#: By name of the callback: its function, and the version that returns :data:`NO_CLAUSE`.
Clauses = Mapping[str, tuple[FunctionType, FunctionType]]

_known: WeakKeyDictionary[type, Clauses] = WeakKeyDictionary()


def with_clauses(server: type, callbacks: Iterable[str]) -> Clauses:
    """Those of the callbacks of a server class that detect a missing case."""
    known = _known.get(server)
    if known is None:
        made: dict[str, tuple[FunctionType, FunctionType]] = {}
        trees: dict[str, ast.Module] = {}
        for name in callbacks:
            function = getattr(server, name, None)
            if isinstance(function, FunctionType) and (version := _version(function, trees)) is not None:
                made[name] = (function, version)
        known = _known[server] = made
    return known


def _version(function: FunctionType, trees: dict[str, ast.Module]) -> FunctionType | None:
    """The version of a callback that detects a missing case, None where there is none. ``trees`` are the
    files parsed so far, by name."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    end = max((line for *_, line in code.co_lines() if line is not None), default=0)
    if not any("match" in line for line in lines[code.co_firstlineno - 1 : end]):
        return None  # most callbacks need no parsing
    try:
        if code.co_filename not in trees:
            trees[code.co_filename] = ast.parse("".join(lines))
        made = _recompiled(code, trees[code.co_filename])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if made is None or made.co_freevars != code.co_freevars:
        return None
    made = made.replace(
        co_consts=tuple(NO_CLAUSE if constant == _MARK else constant for constant in made.co_consts)
    )
    version = FunctionType(
        made, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    version.__kwdefaults__ = function.__kwdefaults__
    return version


def _recompiled(code: CodeType, tree: ast.Module) -> CodeType | None:
    """``code`` with one more case in its last statement."""
    # Other functions and classes do not change its code; an import can.
    others = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    module = ast.Module(
        [one for one in tree.body if not isinstance(one, others) or _spans(one, code.co_firstlineno)], []
    )
    definitions = [node for node in ast.walk(module) if _defines(node, code)]
    statement = _last_match(definitions[0]) if len(definitions) == 1 else None
    if statement is None or code not in _codes(_compiled(module, code), code):
        return None
    statement.cases.append(ast.match_case(ast.MatchAs(), None, [ast.Return(ast.Constant(_MARK))]))
    ast.fix_missing_locations(statement)
    return next(_codes(_compiled(module, code), code), None)


def _compiled(module: ast.Module, code: CodeType) -> CodeType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were shown at import
        made = compile(module, code.co_filename, "exec", code.co_flags & _FUTURES, dont_inherit=True)
    assert isinstance(made, CodeType)
    return made


def _codes(module: CodeType, like: CodeType) -> Iterator[CodeType]:
    """The functions in a compiled module with the name and line of ``like``."""
    for constant in module.co_consts:
        if isinstance(constant, CodeType):
            if (constant.co_qualname, constant.co_firstlineno) == (like.co_qualname, like.co_firstlineno):
                yield constant
            yield from _codes(constant, like)


def _spans(statement: ast.stmt, line: int) -> bool:
    first = min((one.lineno for one in getattr(statement, "decorator_list", ())), default=statement.lineno)
    return first <= line <= (statement.end_lineno or first)


def _defines(node: ast.AST, code: CodeType) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != code.co_name:
        return False
    first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
    return first == code.co_firstlineno


def _last_match(definition: Any) -> ast.Match | None:
    """The last statement if it is ``match request:``, with the first argument after ``self``, and has no
    case for everything."""
    names = [argument.arg for argument in (*definition.args.posonlyargs, *definition.args.args)]
    statement = definition.body[-1]
    while isinstance(statement, ast.With | ast.AsyncWith):
        statement = statement.body[-1]
    if not isinstance(statement, ast.Match) or not isinstance(statement.subject, ast.Name):
        return None
    if statement.subject.id not in names[1:2] or _has_irrefutable(statement.cases):
        return None
    return statement


def _has_irrefutable(cases: Iterable[ast.match_case]) -> bool:
    return any(
        case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
        for case in cases
    )
