"""The documentation is valid: links have targets, programs compile, names and quoted texts exist."""

from __future__ import annotations

import ast
import doctest
import functools
import importlib
import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.imports import MODULES

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: Loggers that are no modules.
LOGGERS = ("quicdist.crash", "quicdist.logger", "quicdist.node.loop")

FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>```+) *(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=indent)(?P=ticks) *$", re.M | re.S
)
LINK = re.compile(r"!?\[[^\]]*\]\(<?(?P<target>[^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#*$", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block: its position, language and text."""

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
    """The report of doctest on a ``>>>`` session; empty if the session prints what it shows."""
    test = doctest.DocTestParser().get_doctest(block.body, {}, str(block), str(block.page), block.line)
    output: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False).run(test, out=output.append)
    return "".join(output)


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as code hosts make them."""
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
    """The names that a program imports from quicdist and that do not exist."""
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


@functools.cache
def source_texts() -> str:
    """All strings of the source, one per line, with ``{}`` for the values of format strings."""
    texts = []
    for _, tree in MODULES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[sdr]|%\.\d+f", "{}", node.value))
    return "\n".join(" ".join(text.split()) for text in texts)


def unknown_phrases(block: Block) -> list[str]:
    """Three words in a row, and names of facts, of a quoted log record that no string of the source has.

    A record of a BEAM begins with ``=``. Words with digits, capitals or dots inside are taken for values.
    """
    message, *rest = re.split(r"\n(?=  |Traceback)", block.body, maxsplit=1)
    if message.startswith("="):
        return []
    phrases = []
    for part in re.split(r"[^ ]*[^a-z ,.:;][^ ]*|[a-z]+\.[a-z][^ ]*|(?<=[,.:;]) ", " ".join(message.split())):
        words = part.strip(" ,.:;").split()
        phrases += [" ".join(words[start : start + 3]) for start in range(len(words) - 2)]
    facts = re.findall(r"^  ([a-z ]+): ", "\n".join(rest), re.M)
    return [phrase for phrase in phrases + facts if phrase not in source_texts()]


def unknown_names(page: Path) -> list[str]:
    """Names such as ```quicdist.node.Node``` that a page names and that do not exist."""
    prose = FENCE.sub("", page.read_text())
    unknown = []
    for name in set(re.findall(r"`(quicdist(?:\.\w+)+)`", prose)):
        if any(logger.startswith(name) or name.startswith(logger) for logger in LOGGERS):
            continue
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            unknown.append(name)
    return sorted(unknown)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_quoted_log_records_are_texts_of_the_source(page: Path) -> None:
    for block in blocks(page):
        if block.language == "text":
            assert unknown_phrases(block) == [], str(block)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=page_name)
def test_full_names_exist(page: Path) -> None:
    assert unknown_names(page) == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_have_targets(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_programs_compile_and_import_existing_names(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python" and ">>>" not in block.body:
            compile(block.body, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            assert missing_names(block.body) == [], str(block)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_sessions_print_what_they_show(page: Path) -> None:
    for block in blocks(page):
        if block.language in ("python", "pycon") and ">>>" in block.body:
            assert session_failures(block) == ""


def test_faults_of_a_page_are_found(tmp_path: Path) -> None:
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


def test_a_quoted_text_that_the_source_lacks_is_found(tmp_path: Path) -> None:
    record = "the event loop of a@h has gone away\n  initial call: a:b/1\n  no such fact: 1\n"
    assert unknown_phrases(Block(tmp_path, 1, "text", record)) == ["has gone away", "no such fact"]
    page = tmp_path / "page.md"
    page.write_text(
        "`quicdist.node.NoSuchThing`, `quicdist.Node`, `quicdist.crash`, `quicdist.nothing.there`\n"
    )
    assert unknown_names(page) == ["quicdist.node.NoSuchThing", "quicdist.nothing.there"]
