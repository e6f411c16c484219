"""Running the command ``quicdist``: in this process, or as the program that is installed."""

from __future__ import annotations

import logging
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
    loggers = [logging.getLogger(name) for name in ("quic", "quicdist.node.connections")]
    levels = [logger.level for logger in loggers]
    try:
        result = CliRunner().invoke(main, arguments, prog_name="quicdist", catch_exceptions=False)
    finally:
        # The command makes these silent for its process, which is that of all other tests here.
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    return Result(result.exit_code, result.stdout, result.stderr)


def run_program(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run the program itself."""
    done = subprocess.run(
        [str(PROGRAM), *arguments], capture_output=True, text=True, timeout=60, check=False, env=env
    )
    return Result(done.returncode, done.stdout, done.stderr)
