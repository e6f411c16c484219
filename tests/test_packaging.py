"""The metadata of the package, as shown by a package index."""

from __future__ import annotations

import re

import pytest

from scripts.index_readme import for_index
from scripts.requirements import ROOT
from tests.test_docs import FENCE, LINK


@pytest.mark.parametrize("links", ["", "https://h.example/quicdist/blob/main/"])
def test_the_readme_of_a_package_index_has_no_relative_link(links: str) -> None:
    readme = (ROOT / "README.md").read_text()
    prose = FENCE.sub("", for_index(readme, links))
    targets = [match["target"] for match in LINK.finditer(prose)]
    assert len(targets) > (10 if links else 0)
    assert [target for target in targets if not re.match(r"https://", target)] == []
    if links:
        files = [target.removeprefix(links).partition("#")[0] for target in targets if links in target]
        assert [name for name in files if not (ROOT / name).is_file()] == []


def test_programs_of_the_readme_are_unchanged_on_a_package_index() -> None:
    readme = (ROOT / "README.md").read_text()
    programs = [match[0] for match in FENCE.finditer(readme)]
    assert [match[0] for match in FENCE.finditer(for_index(readme, "https://h.example/"))] == programs


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a](docs/a.md)", "[a](https://h.example/docs/a.md)"),
        ("[a\nb](docs/a.md#c)", "[a\nb](https://h.example/docs/a.md#c)"),
        ("[a](https://other.example/x)", "[a](https://other.example/x)"),
        ("[a](#b)", "[a](#b)"),
        ("![a](docs/a.svg)", "![a](https://h.example/docs/a.svg)"),
        ("rpc:call(N, py, add, [1])", "rpc:call(N, py, add, [1])"),
    ],
)
def test_only_relative_links_get_the_address(text: str, shown: str) -> None:
    assert for_index(text, "https://h.example/") == shown


def test_relative_links_without_an_address_are_plain_text() -> None:
    assert (
        for_index("see [`a`](docs/a.md),![p](p.svg) [b](https://h.example/)", "")
        == "see `a`, [b](https://h.example/)"
    )
