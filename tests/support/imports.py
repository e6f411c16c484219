"""The imports of the modules of quicdist, read from the source (``ast``).

Imports in functions and under TYPE_CHECKING count too.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent.parent / "src" / "quicdist"


def module_name(path: Path) -> str:
    parts = ["quicdist", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


#: Module to whether it is a package, and its syntax tree.
MODULES = {
    module_name(path): (path.name == "__init__.py", ast.parse(path.read_text(), str(path)))
    for path in sorted(SOURCE.rglob("*.py"))
}


def imports(module: str, is_package: bool, tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """All (module imported from, name imported or "", line), relative ones resolved."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, "", node.lineno
        elif isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                yield source, alias.name, node.lineno


def import_graph(modules: Mapping[str, tuple[bool, ast.Module]] = MODULES) -> dict[str, set[str]]:
    """The modules that each module imports.

    ``from package import name`` imports the module of that name if there is one, and the package itself
    otherwise. That a package is imported before each of its modules is not counted.
    """
    graph: dict[str, set[str]] = {}
    for module, (is_package, tree) in modules.items():
        graph[module] = set()
        for source, name, _ in imports(module, is_package, tree):
            full = f"{source}.{name}"
            imported = full if full in modules else source
            if imported in modules:
                graph[module].add(imported)
    return graph


def import_circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The modules that import each other, directly or by way of others: the strongly connected components
    of more than one module, and modules that import themselves. Each is sorted, and so is the list."""
    order = list(_in_depth(graph, graph))
    importers: dict[str, list[str]] = {module: [] for module in graph}
    for module, imported in graph.items():
        for other in imported:
            importers[other].append(module)
    circles = []
    seen: set[str] = set()
    for module in reversed(order):
        if module not in seen:
            found = list(_in_depth(importers, [module], seen))
            if len(found) > 1 or module in graph[module]:
                circles.append(sorted(found))
    return sorted(circles)


def _in_depth(
    graph: Mapping[str, Iterable[str]], starts: Iterable[str], seen: set[str] | None = None
) -> Iterator[str]:
    """The reachable modules, each after the modules that it reaches (Kosaraju)."""
    seen = set() if seen is None else seen
    for start in starts:
        if start in seen:
            continue
        seen.add(start)
        stack = [(start, iter(graph[start]))]
        while stack:
            module, others = stack[-1]
            for other in others:
                if other not in seen:
                    seen.add(other)
                    stack.append((other, iter(graph[other])))
                    break
            else:
                stack.pop()
                yield module
