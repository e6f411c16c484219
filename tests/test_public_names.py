"""What is public: the names in the ``__all__`` of these packages, and nothing else."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from tests.support.imports import MODULES
from tests.test_docs import PAGES, ROOT, blocks, page_name

PARTS = """
    carrier cli cluster config discovery gateway node opentelemetry otp prometheus protocol sync term
"""
PACKAGES = ["quicdist", *(f"quicdist.{part}" for part in PARTS.split())]
NAMES = {package: {*importlib.import_module(package).__all__, "*"} for package in PACKAGES}
NAMES["quicdist"].add("__version__")


def not_public(source: str) -> list[str]:
    """What a program imports from quicdist that is not public."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "quicdist":
            module = node.module or ""
            found += [
                f"{module}.{alias.name}"
                for alias in node.names
                if alias.name not in NAMES.get(module, ()) and f"{module}.{alias.name}" not in NAMES
            ]
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            found += [name for name in names if name.split(".")[0] == "quicdist" and name not in NAMES]
    return found


def source_of(session: str) -> str:
    """The code of a ``>>>`` session."""
    lines = (line[4:] for line in session.splitlines() if line.startswith((">>> ", "... ")))
    return "\n".join(lines)


def imported(package: str) -> dict[str, str]:
    """The module from which a package imports each of its public names."""
    tree = ast.parse(Path(inspect.getfile(importlib.import_module(package))).read_text())
    return {
        alias.name: node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def documentation(module: str, name: str) -> str:
    """The docstring of a class or function, or the ``#:`` comment above a constant or a type."""
    path = Path(inspect.getfile(importlib.import_module(module)))
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            above = lines[node.lineno - 2]
            return above if above.startswith("#:") else ""
    return documentation(imported(module)[name], name)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_pages_import_public_names_only(page: Path) -> None:
    for block in blocks(page):
        if block.language in ("python", "pycon"):
            source = source_of(block.body) if ">>>" in block.body else block.body
            assert not_public(source) == [], str(block)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.py")), ids=page_name)
def test_examples_import_public_names_only(path: Path) -> None:
    assert not_public(path.read_text()) == []


PUBLIC = [(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__]


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_each_public_name_can_be_imported_and_is_documented(package: str, name: str) -> None:
    assert hasattr(importlib.import_module(package), name)
    module = imported(package).get(name, package)
    assert documentation(module, name), f"{module}.{name} has no docstring and no #: comment"


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted_and_has_no_name_twice(package: str) -> None:
    names = importlib.import_module(package).__all__
    assert len(names) == len(set(names))
    assert not any(name.startswith("_") for name in names)


def test_the_packages_are_those_of_quicdist() -> None:
    packages = {
        module for module, (is_package, _) in MODULES.items() if is_package and module.count(".") <= 1
    }
    assert packages == set(PACKAGES)


def test_a_name_that_is_not_public_is_found() -> None:
    assert not_public(
        "from quicdist.term.atom import Atom\nimport quicdist.lazy\nfrom quicdist import x"
    ) == [
        "quicdist.term.atom.Atom",
        "quicdist.lazy",
        "quicdist.x",
    ]
    assert not_public("import quicdist\nfrom quicdist.term import Atom\nfrom quicdist import term") == []
