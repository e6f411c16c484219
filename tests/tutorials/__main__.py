"""Walks the tutorials in a copy of the repository, against the ``erl`` and ``iex`` of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.epmd import private_epmd
from tests.test_docs import ROOT
from tests.tutorials.terminal import Difference
from tests.tutorials.walk import walk

TUTORIALS = ROOT / "docs" / "tutorial"
PAGES = {"python": "erl", "erlang": "erl", "elixir": "iex"}


def copy_of_the_repository(directory: Path) -> None:
    """The files that git knows, as they are now, and no others."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)


def environment() -> dict[str, str]:
    """That of this process, without what the virtual environment of a developer has set."""
    bin_directory = str(Path(sys.prefix) / "bin")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    path = [part for part in kept["PATH"].split(os.pathsep) if part != bin_directory]
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "VIRTUAL_ENV_DISABLE_PROMPT": "1"}
    return {**kept, **quiet, "PATH": os.pathsep.join(path)}


def main(names: list[str]) -> int:
    chosen = names or list(PAGES)
    for name in list(chosen):
        if not shutil.which(PAGES[name]):
            print(f"-- the tutorial {name} is left out: there is no {PAGES[name]} here")
            chosen.remove(name)
    with tempfile.TemporaryDirectory() as temporary:
        copy_of_the_repository(Path(temporary, "quicdist"))
        for name in ["README", *chosen]:
            started = time.monotonic()
            try:
                with private_epmd():
                    walk(
                        [TUTORIALS / f"{name}.md"],
                        Path(temporary),
                        environment(),
                        lambda text: print(f"  {text}"),
                    )
            except Difference as difference:
                print(f"!! {difference}")
                return 1
            print(f"-- {name}.md: as shown, {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
