"""No two modules import each other, directly or through others; type-only imports count too."""

from __future__ import annotations

import ast

import pytest

from tests.support.imports import import_circles, import_graph


def test_no_modules_import_each_other() -> None:
    assert import_circles(import_graph()) == []


def circles_of(**sources: str) -> list[list[str]]:
    """The circles among modules ``p.a``, ``p.b``, ... with these sources; ``p`` is the package itself."""
    modules = {
        "p" if name == "p" else f"p.{name.replace('__', '.')}": (name == "p", ast.parse(source))
        for name, source in {"p": "", **sources}.items()
    }
    return import_circles(import_graph(modules))


@pytest.mark.parametrize(
    ("sources", "circles"),
    [
        ({"a": "from p.b import x", "b": "from p.a import y"}, [["p.a", "p.b"]]),
        ({"a": "import p.b", "b": "import p.a"}, [["p.a", "p.b"]]),
        ({"a": "from p import b", "b": "from p import a"}, [["p.a", "p.b"]]),
        ({"a": "from .b import x", "b": "from . import a"}, [["p.a", "p.b"]]),
        ({"a": "def f():\n    from p.b import x", "b": "import p.a"}, [["p.a", "p.b"]]),
        ({"a": "if TYPE_CHECKING:\n    from p.b import x", "b": "import p.a"}, [["p.a", "p.b"]]),
        (
            {"a": "import p.b", "b": "import p.c", "c": "import p.a", "d": "import p.a"},
            [["p.a", "p.b", "p.c"]],
        ),
        (
            {"a": "import p.b", "b": "import p.a, p.c", "c": "import p.d", "d": "import p.c"},
            [["p.a", "p.b"], ["p.c", "p.d"]],
        ),
        ({"p": "from p.a import x", "a": "from p import y"}, [["p", "p.a"]]),
        ({"a": "from p.a import x"}, [["p.a"]]),
    ],
)
def test_a_circle_is_found(sources: dict[str, str], circles: list[list[str]]) -> None:
    assert circles_of(**sources) == circles


@pytest.mark.parametrize(
    "sources",
    [
        {"a": "from p.b import x", "b": "from p.c import y", "c": ""},
        {"a": "import p.c", "b": "import p.c, p.a", "c": "import asyncio"},
        {"p": "from p.a import x", "a": "from p import b", "b": ""},
    ],
)
def test_modules_without_a_circle_have_none(sources: dict[str, str]) -> None:
    assert circles_of(**sources) == []
