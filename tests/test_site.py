"""The documentation builds as a site without warnings, and loads nothing from other hosts."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import ROOT

INDEX = (ROOT / "docs" / "README.md").read_text()


def build(directory: Path, config: Path = ROOT / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    missing = [
        name for name in ("mkdocs", "material", "mkdocstrings_handlers") if not importlib.util.find_spec(name)
    ]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed; `make docs` installs them")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    done = build(tmp_path / "site")
    assert re.findall(r"WARNING.*|ERROR.*", done.stderr) == []
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").exists()


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT / "docs"))
)
def test_the_index_has_a_link_to_each_page(page: Path) -> None:
    name = page.relative_to(ROOT / "docs").as_posix()
    assert name == "README.md" or f"]({name})" in INDEX
