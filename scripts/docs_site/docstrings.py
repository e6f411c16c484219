"""Docstrings as Markdown: an extension of griffe, which reads the source for the API pages.

The docstrings have Sphinx's roles and literal blocks, and constants have ``#:`` comments. A role becomes a
link to the object, if that is on an API page.
"""

from __future__ import annotations

import re

from griffe import Alias, Attribute, Docstring, Extension, GriffeLoader, Module, NameResolutionError, Object

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`(?P<short>~?)(?P<name>[\w.]+)`")
#: The colons before a literal block. Its indented lines are a code block in Markdown as well.
LITERAL_BLOCK = re.compile(r"::$", re.M)


def full_name(scope: Object, name: str) -> str:
    """The full name of what ``name`` means in a docstring of ``scope``."""
    if name.startswith("quicdist"):
        return name
    first, _, rest = name.partition(".")
    try:
        found = scope.resolve(first)
    except NameResolutionError:
        found = f"{scope.path}.{first}"
    return f"{found}.{rest}" if rest else found


def as_markdown(text: str, scope: Object) -> str:
    def link(match: re.Match[str]) -> str:
        name = match["name"]
        shown = name.rsplit(".", 1)[-1] if match["short"] else name
        return f'<autoref optional identifier="{full_name(scope, name)}"><code>{shown}</code></autoref>'

    return ROLE.sub(link, LITERAL_BLOCK.sub(":", text))


def comment_above(attribute: Attribute) -> str:
    """The text of the ``#:`` comment above an attribute."""
    found: list[str] = []
    for line in reversed(attribute.module.lines[: (attribute.lineno or 1) - 1]):
        if not line.lstrip().startswith("#:"):
            break
        found.insert(0, line.strip().removeprefix("#:").strip())
    return "\n".join(found)


class Docstrings(Extension):
    """Rewrites every docstring of the package once, when all of it has been read."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: object) -> None:
        self._rewrite(pkg)

    def _rewrite(self, scope: Object) -> None:
        if isinstance(scope, Attribute) and not scope.docstring and (comment := comment_above(scope)):
            scope.docstring = Docstring(comment, parent=scope)
        if scope.docstring:
            scope.docstring.value = as_markdown(scope.docstring.value, scope)
        for member in scope.members.values():
            if not isinstance(member, Alias):
                self._rewrite(member)
