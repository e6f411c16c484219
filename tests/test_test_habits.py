"""Tests can fail: the source of all tests has no assertion that always holds and no test without one."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
TREES = {path: ast.parse(path.read_text(), str(path)) for path in sorted(TESTS.rglob("*.py"))}

#: Calls that fail a test by themselves; a time-out fails one too.
FAILING_CALLS = {"raises", "warns", "deprecated_call", "fail", "timeout", "wait_for"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def called_name(node: ast.AST) -> str:
    """``raises`` for ``pytest.raises`` and for ``raises``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def always_holds(test: ast.expr) -> bool:
    """Whether an assertion holds for every value of its names."""
    match test:
        case ast.Tuple(elts=[_, *_]) | ast.JoinedStr() | ast.Lambda():
            return True
        case ast.Constant(value=value):
            return bool(value)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(always_holds, values))
        case ast.BoolOp(op=ast.And(), values=values):
            return all(map(always_holds, values))
        case ast.Compare(
            left=ast.Call(func=ast.Name(id="len")),
            ops=[ast.GtE()],
            comparators=[ast.Constant(value=0)],
        ):
            return True
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, ast.Name(id="object")]):
            return True
    return False


def bad_habits(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and the description of each construct that hides a failure."""
    for node in ast.walk(tree):
        match node:
            case ast.Assert(test=test) if always_holds(test):
                yield node.lineno, f"always holds: {ast.unparse(test)}"
            case ast.Call(func=func, args=[ast.Name(id="Exception" | "BaseException"), *_]) if called_name(
                func
            ) == "raises" and not any(word.arg == "match" for word in node.keywords):
                yield node.lineno, f"any exception will do: {ast.unparse(node)}"
            case ast.Call(func=ast.Attribute(attr="skip" | "xfail"), args=[], keywords=[]):
                yield node.lineno, "skipped without a reason"
            case ast.Attribute(value=ast.Attribute(attr="mark"), attr="skip" | "xfail"):
                if not any(isinstance(call, ast.Call) and call.func is node for call in ast.walk(tree)):
                    yield node.lineno, "skipped without a reason"
            case ast.Call(func=ast.Attribute(attr="skipif")) if not any(
                word.arg == "reason" for word in node.keywords
            ):
                yield node.lineno, "skipped without a reason"
            case ast.For() | ast.AsyncFor() | ast.While():
                for handler in ast.walk(node):
                    if (
                        isinstance(handler, ast.ExceptHandler)
                        and handler.type is not None
                        and "AssertionError" in ast.unparse(handler.type)
                        and not any(isinstance(part, ast.Raise) for part in ast.walk(handler))
                    ):
                        yield handler.lineno, "repeats until an assertion holds"


def functions(trees: Iterable[ast.Module]) -> Iterator[Function]:
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield node


def checks_directly(function: Function) -> bool:
    """Whether a function asserts, raises, or makes a call that fails a test."""
    return any(
        isinstance(node, ast.Assert | ast.Raise)
        or (isinstance(node, ast.Call) and called_name(node.func) in FAILING_CALLS)
        for node in ast.walk(function)
    )


def checking_functions(trees: Iterable[ast.Module]) -> set[str]:
    """The names of functions that check something, directly or through a call or a fixture.

    Functions of the same name count as one, so that no test is blamed for a helper of another module.
    """
    found: set[str] = set()
    uses: dict[str, set[str]] = {}
    for function in functions(trees):
        if checks_directly(function):
            found.add(function.name)
        used = uses.setdefault(function.name, set())
        used |= {argument.arg for argument in function.args.args}
        used |= {called_name(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
    while added := {name for name, used in uses.items() if name not in found and used & found}:
        found |= added
    return found


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_assertion_always_holds_and_no_failure_is_hidden(path: Path) -> None:
    assert [f"{path}:{line}: {what}" for line, what in bad_habits(TREES[path])] == []


def test_every_test_checks_something() -> None:
    checking = checking_functions(TREES.values())
    assert [
        f"{path}:{function.lineno}: {function.name} checks nothing"
        for path, tree in TREES.items()
        if path.name.startswith("test_")
        for function in functions([tree])
        if function.name.startswith("test_") and function.name not in checking
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "assert (value, 'text')",
        "assert 'text'",
        "assert value == 1 or 'text'",
        "assert len(values) >= 0",
        "assert isinstance(value, object)",
        "with pytest.raises(Exception): pass",
        "with raises(BaseException): pass",
        "pytest.skip()",
        "@pytest.mark.skip\ndef test(): pass",
        "@pytest.mark.skipif(x)\ndef test(): pass",
        "for _ in range(9):\n  try: check()\n  except AssertionError: continue",
    ],
)
def test_a_bad_habit_is_found(source: str) -> None:
    assert len(list(bad_habits(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "assert value == 1 or other",
        "assert values, 'text'",
        "with pytest.raises(Exception, match='text'): pass",
        "pytest.skip('needs root')",
        "@pytest.mark.skip(reason='later')\ndef test(): pass",
        "for _ in range(9):\n  try: check()\n  except AssertionError as error: raise Finding from error",
    ],
)
def test_a_good_habit_is_allowed(source: str) -> None:
    assert list(bad_habits(ast.parse(source))) == []


def test_a_test_that_checks_nothing_is_found() -> None:
    tree = ast.parse("def helper(): assert x\ndef test_one(): helper()\ndef test_two(): print(helper)\n")
    assert checking_functions([tree]) == {"helper", "test_one"}
