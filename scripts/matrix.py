"""Run the tests on every Python there is, with the lowest and with the newest version of every dependency.

``make matrix``; ``make matrix MATRIX="3.12 3.13-lowest"`` chooses by version, bound, or both. The versions of
Python are those that ``pyproject.toml`` names, the interpreters those on PATH and pyenv's. The virtual
environments are in ``.matrix``. The tests are those that need no BEAM, and the few marked ``smoke``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from scripts.requirements import ROOT, project, requirements

FOLDER = ROOT / ".matrix"
BOUNDS = ("lowest", "newest")
TESTS = "(not beam and not quic_dist) or smoke"


@dataclass(frozen=True)
class Cell:
    """One Python with one set of versions."""

    python: str
    bound: str

    @property
    def name(self) -> str:
        return f"{self.python}-{self.bound}"

    def chosen(self, words: Iterable[str]) -> bool:
        words = list(words)
        return not words or any(word in (self.python, self.bound, self.name) for word in words)


def say(text: str) -> None:
    print(text, flush=True)


# -- which Pythons there are --------------------------------------------------------------------


def pythons() -> list[str]:
    """The versions that ``pyproject.toml`` promises."""
    found = (
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in project()["classifiers"]
    )
    return [match[1] for match in found if match]


def candidates(python: str) -> Iterator[str]:
    if found := shutil.which(f"python{python}"):
        yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    patches = (folder for folder in pyenv.glob(f"{python}.*") if re.fullmatch(r"[\d.]+", folder.name))
    for folder in sorted(patches, key=lambda folder: Version(folder.name), reverse=True):
        yield str(folder / "bin" / "python")


def interpreter(python: str) -> tuple[str, str]:
    """The command of the first one that can make virtual environments, and its full version; the
    command is empty where there is none, and the reason stands in place of the version."""
    reason = f"there is no python{python} on PATH, and none of pyenv's"
    ask = "import platform; print(platform.python_version()); import ensurepip, venv"
    for command in candidates(python):
        done = subprocess.run([command, "-c", ask], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.startswith(python):
            return command, done.stdout.strip()
        if done.stdout.startswith(python):
            reason = f"{command} has no venv (Debian, Ubuntu: python{python}-venv)"
    return "", reason


# -- what is installed --------------------------------------------------------------------------


def lowest(requirement: Requirement) -> str:
    """The lowest version that a requirement allows."""
    (version,) = (each.version for each in requirement.specifier if each.operator in (">=", "=="))
    return version


def constraints(cell: Cell) -> list[str]:
    if cell.bound == "newest":
        return []
    return [f"{each.name}=={lowest(each)}" for each in requirements("test", python=cell.python)]


def environment(cell: Cell, command: str) -> Path:
    """The Python of the cell's virtual environment, made or brought up to date. Raises
    :class:`subprocess.CalledProcessError`."""
    folder = FOLDER / cell.name
    python = folder / "bin" / "python"
    stamp = folder / "made-from"
    pinned = constraints(cell)
    made_from = "\n".join([str(folder), command, (ROOT / "pyproject.toml").read_text(), *pinned])
    if not stamp.exists() or stamp.read_text() != made_from:
        subprocess.run([command, "-m", "venv", "--clear", str(folder)], check=True)
    (folder / "constraints.txt").write_text("".join(f"{line}\n" for line in pinned))
    options = ["-qq", "--disable-pip-version-check", "--constraint", str(folder / "constraints.txt")]
    if cell.bound == "newest":
        options += ["--upgrade", "--upgrade-strategy", "eager"]
    install = [str(python), "-m", "pip", "install", *options, "--editable", f"{ROOT}[test]"]
    subprocess.run(install, check=True)
    stamp.write_text(made_from)
    return python


def versions(cell: Cell, python: Path) -> str:
    names = [each.name for each in requirements("test", python=cell.python)]
    ask = "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    return subprocess.run(
        [str(python), "-c", ask, *names], check=True, capture_output=True, text=True
    ).stdout.strip()


# -- running ------------------------------------------------------------------------------------


def run(cell: Cell, command: str, full: str, pytest_args: list[str]) -> bool:
    say(f"\n== Python {full}, {cell.bound} versions")
    try:
        python = environment(cell, command)
        say(f"-- {versions(cell, python)}")
    except subprocess.CalledProcessError as error:
        say(f"-- {' '.join(error.cmd)} failed (see above)")
        return False
    tests = [str(python), "-m", "pytest", "-q", "--tb=short", "-m", TESTS, *pytest_args]
    return subprocess.run(tests, cwd=ROOT).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "cells", nargs="*", help="3.12, lowest, 3.12-lowest, ...; all of them if there is none"
    )
    parser.add_argument(
        "--but-own",
        action="store_true",
        help="leave out this Python with the newest versions: `make test` is that",
    )
    parser.add_argument("--pytest-args", default="", help="more arguments of pytest")
    arguments = parser.parse_args()
    own = Cell(".".join(map(str, sys.version_info[:2])), "newest") if arguments.but_own else None
    results: list[str] = []
    failed = False
    for python in pythons():
        cells = [cell for cell in (Cell(python, bound) for bound in BOUNDS) if cell.chosen(arguments.cells)]
        cells = [cell for cell in cells if cell != own]
        command, full = interpreter(python) if cells else ("", "")
        if cells and not command:
            results.append(f"-- Python {python}: left out, {full}")
            say(f"\n{results[-1]}")
            continue
        for cell in cells:
            began = time.monotonic()
            passed = run(cell, command, full, arguments.pytest_args.split())
            failed |= not passed
            word = "passed" if passed else "FAILED"
            results.append(f"-- Python {full}, {cell.bound}: {word} ({time.monotonic() - began:.0f} s)")
    say("\n== the matrix")
    say("\n".join(results or ["-- nothing was chosen"]))
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
