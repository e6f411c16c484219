"""Running the command ``quicdist``: in this process, or as the program that is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from quicdist.cli import main

#: The program that installing the package puts beside the interpreter.
PROGRAM = Path(sys.executable).with_name("quicdist")


class Result(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


def run(*arguments: str) -> Result:
    """Run it in this process. An exception that it lets through is raised."""
    result = CliRunner().invoke(main, arguments, prog_name="quicdist", catch_exceptions=False)
    return Result(result.exit_code, result.stdout, result.stderr)


def run_program(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run the program itself."""
    done = subprocess.run(
        [str(PROGRAM), *arguments], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    return Result(done.returncode, done.stdout, done.stderr)
