"""No two modules import each other, be it inside a function, for types alone, or by way of others."""

from __future__ import annotations

import ast

import pytest

from tests.support.imports import MODULES, import_circles, import_graph

PACKAGES = sorted({".".join(module.split(".")[:2]) for module in MODULES})

#: Packages that are not clean yet, and how many of their modules are in circles. The number goes down with
#: each circle that is opened, and the package leaves the list with the last one.
IN_CIRCLES: dict[str, int] = {
    "quicdist.otp": 2,
}

CIRCLES = import_circles(import_graph())


def in_package(module: str, package: str) -> bool:
    """``quicdist`` is its own module alone: its packages are looked at one by one."""
    return module == package or (package != "quicdist" and module.startswith(f"{package}."))


@pytest.mark.parametrize("package", [package for package in PACKAGES if package not in IN_CIRCLES])
def test_no_module_is_in_a_circle(package: str) -> None:
    assert [circle for circle in CIRCLES if any(in_package(module, package) for module in circle)] == []


@pytest.mark.parametrize("package", IN_CIRCLES)
def test_the_modules_in_circles_are_as_many_as_listed(package: str) -> None:
    found = [module for circle in CIRCLES for module in circle if in_package(module, package)]
    assert len(found) == IN_CIRCLES[package], (
        f"IN_CIRCLES[{package!r}] is to say {len(found)}: a circle was opened or added\n" + "\n".join(found)
    )


def test_listed_packages_are_there_and_not_clean() -> None:
    assert set(IN_CIRCLES) <= set(PACKAGES)
    assert all(number > 0 for number in IN_CIRCLES.values())


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
def test_what_is_no_circle_is_none(sources: dict[str, str]) -> None:
    assert circles_of(**sources) == []
