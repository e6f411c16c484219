"""Hooks of mkdocs: the pages of the API, and the files of the repository that pages link to.

A page links to a file outside ``docs/`` as it does on a code host, such as ``../../examples/demo.py``. The
site has these files as pages of the folder ``repository``, so that it is complete without a network.

Markdown differs between code hosts (CommonMark) and mkdocs (Python-Markdown). A page that has not the same
parts in both is reported, which fails a strict build.
"""

from __future__ import annotations

import ast
import logging
import posixpath
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "quicdist"
log = logging.getLogger("mkdocs.hooks.quicdist")

#: A link, outside code, with its target and fragment.
LINK = re.compile(r"(?P<before>!?\[[^\]]*\]\(<?)(?P<target>[^)\s>#]+)(?P<rest>(?:#[^)\s>]*)?>?[^)]*\))")
#: What is not searched for links: blocks and spans of code.
CODE = re.compile(
    r"^(?P<indent> *)(?P<ticks>```+)[^\n]*\n.*?^(?P=indent)(?P=ticks) *$|(?P<tick>`+)[^`].*?(?P=tick)",
    re.M | re.S,
)
LANGUAGES = {
    ".py": "python",
    ".sh": "sh",
    ".yml": "yaml",
    ".toml": "toml",
    ".ex": "elixir",
    ".exs": "elixir",
    ".erl": "erlang",
    ".ipynb": "json",
}

#: The packages of the API pages, in the order of their pages, with a title.
PACKAGES = {
    "otp": "Node, servers and services",
    "node": "Processes and connections",
    "term": "Terms",
    "cluster": "Clusters",
    "config": "Configuration",
    "discovery": "Discovery",
    "carrier": "Carriers",
    "protocol": "Distribution protocol",
    "gateway": "Gateway",
    "sync": "Without asyncio",
    "testing": "Testing your program",
    "prometheus": "Prometheus",
    "opentelemetry": "OpenTelemetry",
}


def in_site(path: Path) -> str:
    """The path in the site of a file of the repository."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    name = path.relative_to(ROOT).as_posix()
    return f"repository/{name}" if name.endswith(".md") else f"repository/{name}.md"


def of_repository(uri: str) -> Path:
    """The file of the repository that a page of the site shows."""
    if not uri.startswith("repository/"):
        return DOCS / uri
    path = ROOT / uri.removeprefix("repository/")
    return path if path.exists() else path.with_suffix("")


def rewritten(text: str, origin: Path, found: set[Path]) -> str:
    """``text`` of the file ``origin`` with links as the site has them; adds linked files to ``found``."""
    own = in_site(origin)

    def link(match: re.Match[str]) -> str:
        target = match["target"]
        if re.match(r"[a-z][a-z+.-]*:", target):
            return match[0]
        path = Path(posixpath.normpath(origin.parent / target))
        if path.is_dir():
            path = path / "README.md"
        if not path.is_file():
            return match[0]  # mkdocs reports it
        found.add(path)
        return match["before"] + posixpath.relpath(in_site(path), posixpath.dirname(own)) + match["rest"]

    code = [range(*span.span()) for span in CODE.finditer(text)]
    return LINK.sub(
        lambda match: match[0] if any(match.start() in span for span in code) else link(match), text
    )


def with_files(text: str, origin: Path) -> str:
    """The README of an example with links to its files, which a code host lists beside it."""
    if origin.name != "README.md" or not origin.is_relative_to(ROOT / "examples"):
        return text
    files = (path.name for path in sorted(origin.parent.iterdir()) if path.is_file())
    links = (f"- [{name}]({name})" for name in files if name not in {"README.md", "__init__.py"})
    return "\n".join([text.rstrip(), "", "Files:", "", *links, ""])


def public_names(package: str) -> list[str]:
    """``__all__`` of a package, read from its source."""
    for node in ast.parse((SOURCE / package / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    raise LookupError(f"quicdist.{package} has no __all__")


def api_page(package: str) -> str:
    name = f"quicdist.{package}"
    lines = [f"# {PACKAGES[package]}: `{name}`", "", f"::: {name}", "    options:", "      members: false"]
    lines += ["      show_root_heading: false", ""]
    for member in public_names(package):
        lines += [f"::: {name}.{member}", ""]
    return "\n".join(lines)


def api_index() -> str:
    """Every name of ``quicdist`` itself, with the package that documents it."""
    lines = [
        "# API",
        "",
        "Names that can be imported from `quicdist` itself. The packages have more, for programs that",
    ]
    lines += ["use a part of quicdist alone.", "", "| package | contents |", "| --- | --- |"]
    lines += [f"| [`quicdist.{part}`]({part}.md) | {title} |" for part, title in PACKAGES.items()]
    lines += ["", "| name | documented in |", "| --- | --- |"]
    homes = {name: part for part in reversed(PACKAGES) for name in public_names(part)}
    for name in public_names("."):
        home = homes.get(name)
        lines.append(
            f"| [`{name}`][quicdist.{home}.{name}] | `quicdist.{home}` |" if home else f"| `{name}` | |"
        )
    return "\n".join(lines)


def with_wide_indents(text: str) -> str:
    """``text`` with the contents of list items indented by four spaces a level, for Python-Markdown.

    In CommonMark they are indented by the width of the bullet: two spaces, or three after a number.
    """
    lines: list[str] = []
    width = 0  # of the bullet of the current list, 0 outside a list
    fence: str | None = None
    for line in text.splitlines():
        stripped = line.lstrip(" ")
        indent = len(line) - len(stripped)
        bullet = re.match(r"[-*] |\d+\. ", line)
        if fence is None and bullet:
            width = len(bullet[0])
        elif fence is None and not indent and stripped and lines and not lines[-1]:
            width = 0
        if width and indent >= width:
            levels = 1 if fence is not None else indent // width
            line = " " * (4 * levels + indent - width * levels) + stripped
        if re.match(r"```+", stripped) and (fence is None or stripped.rstrip() == fence):
            fence = re.match(r"`+", stripped)[0] if fence is None else None  # type: ignore[index]
        lines.append(line)
    return "\n".join(lines)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    def add(uri: str, text: str) -> None:
        files.append(File.generated(config, uri, content=text))

    add("reference/api/README.md", api_index())
    for package in PACKAGES:
        add(f"reference/api/{package}.md", api_page(package))
    found: set[Path] = set()
    for file in files.documentation_pages():
        if file.generated_by is None:
            rewritten(file.content_string, of_repository(file.src_uri), found)
    done: set[Path] = set()
    while missing := {path for path in found - done if not path.is_relative_to(DOCS)}:
        for path in missing:
            text = path.read_text()
            if path.suffix == ".md":
                text = with_files(text, path)
                rewritten(text, path, found)
            else:
                language = LANGUAGES.get(path.suffix, "text")
                text = f"# {path.relative_to(ROOT)}\n\n````{language}\n{text}\n````\n"
            add(in_site(path), text)
        done |= missing
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri.startswith("reference/api/"):
        return markdown
    return with_wide_indents(rewritten(markdown, of_repository(page.file.src_uri), set()))


#: A script, style sheet, picture or frame from another host.
FOREIGN = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=["']?(?:https?:)?//[^"'> ]+"""
)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> None:
    """The site works without a network."""
    for match in FOREIGN.finditer(output):
        log.warning("%s loads something from another host: %s", page.file.src_uri, match[0])


# -- the same in both kinds of Markdown ------------------------------------------------------------

PARTS = {"h1", "h2", "h3", "h4", "li", "ol", "pre", "table", "td", "th", "ul"}


class Parts(HTMLParser):
    """Counts the parts of a page, such as list items; and the code spans with their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in PARTS:
            self.counted[tag] += 1


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    uri = page.file.src_uri
    if uri.startswith("reference/api/"):
        return
    on_a_code_host = Parts(MarkdownIt("commonmark").enable("table").render(page.file.content_string)).counted
    here = Parts(html).counted
    if on_a_code_host != here:
        tags = sorted(tag for tag in PARTS if on_a_code_host[tag] != here[tag])
        differences = ", ".join(f"<{tag}> {here[tag]} times instead of {on_a_code_host[tag]}" for tag in tags)
        log.warning("%s is not the same page in CommonMark: %s", uri, differences)
