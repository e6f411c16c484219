"""Makes the pictures of ``quicdist top`` and ``quicdist shell`` in ``docs/how-to/command.md``.

They show a run of both against a BEAM, in a terminal.

``make command-pictures`` runs it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from scripts.terminal import Terminal, terminal
from tests.support.beam import Beam, tcp_args
from tests.support.epmd import private_epmd

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "how-to"
NAME, COOKIE = "a@127.0.0.1", "secret"
COMMAND = str(Path(sys.executable).with_name("quicdist"))

#: Makes two busy processes and one that does not keep up.
BUSY = """
register(ticker, spawn(fun F() -> lists:sort([rand:uniform() || _ <- lists:seq(1, 3000)]), F() end)),
register(mailer, spawn(fun() -> receive never -> ok end end)),
register(producer, spawn(fun F() -> mailer ! {mail, rand:uniform()}, timer:sleep(2), F() end))
"""


def take(window: Terminal, name: str, title: str) -> None:
    """Write the screen as a picture."""
    file = DOCS / f"command-{name}.svg"
    file.write_text(window.svg(title))
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes")


def shell_picture(state: str) -> None:
    with terminal(
        [COMMAND, "shell", f"tcp://{NAME}", "--cookie", COOKIE],
        columns=88,
        rows=28,
        env={"XDG_STATE_HOME": state},
    ) as window:
        lines = [
            "lists:reverse([1,2,3]).",
            "Squares = [N * N || N <- lists:seq(1, 10)].",
            "lists:sum(Squares).",
            'maps:from_list([{key, "value"}, {pid, self()}]).',
            "lists:nope().",
        ]
        for number, line in enumerate(lines, 1):
            window.wait_for(f"({NAME}){number}>")
            window.type(f"{line}\r")
        window.wait_for(f"({NAME}){len(lines) + 1}>")
        window.type("string:to\t")
        window.wait_for("to_float(")
        take(window, "shell", f"quicdist shell tcp://{NAME}")


def top_picture() -> None:
    with terminal(
        [COMMAND, "top", f"tcp://{NAME}", "--cookie", COOKIE, "--interval", "1"], columns=110, rows=18
    ) as window:
        window.wait_for("schedulers")
        first = window.lines[0]
        # The third look has the reductions of a whole second.
        window.wait_until(lambda lines: lines[0] not in ("", first))
        take(window, "top", f"quicdist top tcp://{NAME}")


def main() -> None:
    with (
        private_epmd(),
        Beam(tcp_args(NAME, COOKIE)) as beam,
        tempfile.TemporaryDirectory() as state,
    ):
        beam.eval_now(BUSY)
        shell_picture(state)
        top_picture()


if __name__ == "__main__":
    main()
