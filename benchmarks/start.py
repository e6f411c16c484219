"""How long ``import quicdist.term`` and ``quicdist ping`` take, from the start of the process to its end.

They are measured as an installed package is used: with compiled modules, which the first start writes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Goal, Result, Sense, figures, times

if TYPE_CHECKING:
    from benchmarks.sides import Machine

ROUNDS = 15
_BARE = [sys.executable, "-c", "pass"]

_PEER = "the start of the interpreter"
IMPORT = Goal("import", "start and `import quicdist.term`", _PEER, Sense.LESS, 0.1, 0.06, unit="s")
PING = Goal("ping", "`quicdist ping` of a node over QUIC", _PEER, Sense.LESS, 0.4, 0.3, unit="s")


def run_import(machine: Machine) -> Result:
    return _run(IMPORT, [sys.executable, "-c", "import quicdist.term"], machine.directory)


def run_ping(machine: Machine) -> Result:
    from benchmarks.ends import COOKIE, PythonEnd

    name = machine.name("pinged")
    node = PythonEnd("quicdist", machine.node_options(name, "quic"))
    try:
        command = [sys.executable, "-m", "quicdist", "ping", name, "--carrier", "quic", "--cookie", COOKIE]
        command += ["--address", f"{name}=127.0.0.1:{node.ready['port']}", "--cacert", machine.tls["cacert"]]
        return _run(PING, command, machine.directory)
    finally:
        node.close()


def _run(goal: Goal, command: Sequence[str], directory: Path) -> Result:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(directory / "compiled")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for warm_up in (_BARE, command):
        _seconds(warm_up, environment)
    pairs = [(_seconds(command, environment), _seconds(_BARE, environment)) for _ in range(ROUNDS)]
    bare = statistics.median(other for _, other in pairs)
    result = figures(goal, [one for one, _ in pairs], f"{bare:.3f} s")
    result.notes.append(f"{times(statistics.median(one / other for one, other in pairs))} times {goal.peer}")
    return result


def _seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, timeout=60)
    return time.perf_counter() - start
