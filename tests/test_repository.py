"""What must not be in any file of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FOLDERS = ("src", "tests", "examples", "certs", "docs", "scripts", "benchmarks", ".ci")
SUFFIXES = {
    *(".md", ".py", ".pyi", ".sh", ".toml", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".cfg", ".ini"),
    *(".erl", ".escript", ".ex", ".exs", ".config", ".args"),
}

#: Directories where every machine has its own things: a path into one of them holds on one machine only.
SOMEONES_PATH = re.compile(
    r"(?<![\w.~:/>*-])/(?:home|root|Users|opt|srv|mnt|media|work|workspace)/[\w.][^\s'\"`)]*"
)


def text_files() -> list[Path]:
    # .git is a file in a work tree of its own, and git's.
    files = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return sorted(
        path
        for path in files
        if "__pycache__" not in path.parts and (not path.suffix or path.suffix in SUFFIXES)
    )


def test_no_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in text_files():
        text = path.read_text(errors="replace")
        if path != Path(__file__).resolve():
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in SOMEONES_PATH.finditer(text)]
    assert found == []


@pytest.mark.parametrize("text", ["see /home/me/x.py", '"/opt/otp/erl"', "cd /work/src", "(/root/.a)"])
def test_a_path_of_one_machine_is_seen(text: str) -> None:
    assert SOMEONES_PATH.search(text)


@pytest.mark.parametrize(
    "text", ["a/home/b", "https://h.example/opt/x", "~/work/x", "/usr/bin/erl", "/tmp/x"]
)
def test_other_paths_are_allowed(text: str) -> None:
    assert not SOMEONES_PATH.search(text)
