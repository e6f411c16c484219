"""Contents that the repository must not have: paths of one machine, private keys."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from quicdist import make_development_certificates

ROOT = Path(__file__).resolve().parent.parent

FOLDERS = ("src", "tests", "examples", "certs", "docs", "scripts", "benchmarks", ".ci", ".github")
SUFFIXES = {
    *(".md", ".py", ".pyi", ".sh", ".toml", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".cfg", ".ini"),
    *(".erl", ".escript", ".ex", ".exs", ".config", ".args"),
}

#: Directories whose contents differ between machines.
MACHINE_PATH = re.compile(
    r"(?<![\w.~:/>*-])/(?:home|root|Users|opt|srv|mnt|media|work|workspace)/[\w.][^\s'\"`)]*"
)


def text_files() -> list[Path]:
    # In a linked work tree .git is a file.
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
            found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert found == []


@pytest.mark.parametrize("text", ["see /home/me/x.py", '"/opt/otp/erl"', "cd /work/src", "(/root/.a)"])
def test_a_path_of_one_machine_is_found(text: str) -> None:
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize(
    "text", ["a/home/b", "https://h.example/opt/x", "~/work/x", "/usr/bin/erl", "/tmp/x"]
)
def test_other_paths_are_allowed(text: str) -> None:
    assert not MACHINE_PATH.search(text)


# -- private keys ------------------------------------------------------------------------------

#: A private key as PEM, not only its first line.
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s:,-]{64}")


def git(*arguments: str) -> list[str]:
    """The output lines of git; skips the test without a repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("git: not a checkout")
    try:
        done = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", "-c", "core.quotePath=off", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        pytest.skip("git: not installed")
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_git_tracks_no_private_key() -> None:
    tracked = [ROOT / name for name in git("ls-files")]
    assert ROOT / "certs" / "README.md" in tracked
    assert [path for path in tracked if path.is_file() and PRIVATE_KEY.search(path.read_bytes())] == []


def test_git_ignores_files_in_certs() -> None:
    made = [
        f"certs/{name}" for name in ("cert.pem", "key.pem", "ca.pem", "server.key", "id_ed25519", "x/key.der")
    ]
    assert git("check-ignore", *made) == made
    assert git("check-ignore", "certs/README.md") == []


def test_a_private_key_is_found(tmp_path: Path) -> None:
    key = make_development_certificates(tmp_path).key.read_bytes()
    assert PRIVATE_KEY.search(b'KEY = """' + key)
    assert not PRIVATE_KEY.search(b"b'-----BEGIN PRIVATE KEY-----' and what follows")


#: What runs tests and checks, and names files for it.
RUNS = [".ci/run", "Makefile", "pyproject.toml", ".pre-commit-config.yaml"]
RUNS += sorted(str(path.relative_to(ROOT)) for path in (ROOT / ".github").rglob("*.yml"))


@pytest.mark.parametrize("file", RUNS, ids=lambda file: Path(file).name)
def test_files_and_folders_that_a_check_runs_are_there(file: str) -> None:
    named = re.findall(r"\b(?:tests|src|scripts|benchmarks|examples)/[\w./-]*\w", (ROOT / file).read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []
