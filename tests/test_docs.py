"""The documentation holds: links lead somewhere, programs compile and name what exists."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>```+) *(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=indent)(?P=ticks) *$", re.M | re.S
)
LINK = re.compile(r"!?\[[^\]]*\]\(<?(?P<target>[^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#*$", re.M)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, what it says it is, and its text."""

    page: Path
    line: int
    language: str
    body: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        indent = match["indent"]
        body = "".join(part.removeprefix(indent) for part in match["body"].splitlines(keepends=True))
        found.append(Block(page, line, (match["info"].split() or [""])[0], body))
    return found


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def session_failures(block: Block) -> str:
    """What doctest has to say about a ``>>>`` session; nothing if it prints what it shows."""
    test = doctest.DocTestParser().get_doctest(block.body, {}, str(block), str(block.page), block.line)
    output: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False).run(test, out=output.append)
    return "".join(output)


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings answer to, as code hosts make them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
    for match in LINK.finditer(prose):
        target, _, fragment = match["target"].partition("#")
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (fragment and file.suffix == ".md" and fragment not in anchors(file)):
            broken.append(match["target"])
    return broken


def missing_names(source: str) -> list[str]:
    """What a program imports from quicdist that is not there."""
    missing = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [(node.module, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        for module, name in names:
            if module.split(".")[0] != "quicdist":
                continue
            try:
                found = importlib.import_module(module)
                if name and not hasattr(found, name):
                    importlib.import_module(f"{module}.{name}")
            except ImportError:
                missing.append(f"{module}.{name}".rstrip("."))
    return missing


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_programs_compile_and_name_what_exists(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python" and ">>>" not in block.body:
            compile(block.body, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            assert missing_names(block.body) == [], str(block)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_sessions_print_what_they_show(page: Path) -> None:
    for block in blocks(page):
        if block.language in ("python", "pycon") and ">>>" in block.body:
            assert session_failures(block) == ""


def test_what_is_broken_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading: *here*\n[ok](#a-heading-here) [no](#there) [no](gone.md) [web](https://h.example/x)\n"
        "`[code](is.no.link)`\n```python\nfrom quicdist.term import NoSuchThing\n```\n"
        "```pycon\n>>> 1 + 1\n3\n```\n"
    )
    assert broken_links(page) == ["#there", "gone.md"]
    program, session = blocks(page)
    assert (program.language, program.line) == ("python", 4)
    assert missing_names(program.body) == ["quicdist.term.NoSuchThing"]
    assert "Expected:\n    3\nGot:\n    2\n" in session_failures(session)
