"""A terminal of a reader: a shell at a pseudo-terminal, whose output is compared with the one on a page."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path

PROMPT = "$ "
SHELL_PROMPT = re.compile(r"^(?:iex)?\(\S+@\S+\)\d+> ")
#: What a shell of Erlang or Elixir that was ended by ``q()`` still shows.
ENDED_SHELL = re.compile(r"^(iex)?\(\S+@\S+\)\d+> (?=\$ )", re.M)
#: What differs from run to run, with what stands for it.
VARYING = [
    (re.compile(r"<\d+\.\d+\.\d+>"), "<pid>"),
    (re.compile(r"#PID<\d+\.\d+\.\d+>"), "#PID<pid>"),
    (re.compile(r"#Ref<[\d.]+>|#Reference<[\d.]+>"), "<reference>"),
]
#: Sequences by which programs colour and move.
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r")


class Difference(Exception):
    """A terminal shows something else than the page."""


def comparable(text: str) -> str:
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return text.strip()


def matches(expected: str, line: str) -> bool:
    """Whether a line of a terminal is the one of a page, where ``...`` is any text."""
    parts = (re.escape(part) for part in comparable(expected).split("..."))
    return re.fullmatch(".*".join(parts), comparable(line)) is not None


class Terminal:
    """A shell in ``directory``; what is typed is not echoed."""

    def __init__(self, directory: Path, environment: Mapping[str, str], timeout: float) -> None:
        self._timeout = timeout
        self._output = ""
        self._skips = False
        self._master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            cwd=directory,
            env={**environment, "PS1": PROMPT, "PS2": "> ", "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # Opening it makes it the controlling terminal: Ctrl-C reaches what runs in the foreground.
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )
        os.close(slave)

    @property
    def directory(self) -> Path:
        """The working directory of the shell."""
        return Path(os.readlink(f"/proc/{self._shell.pid}/cwd"))

    def _read(self, deadline: float) -> bool:
        """Wait for more output; False at its end or at the deadline."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the shell has ended
            return False
        self._output += ESCAPES.sub("", data.decode(errors="replace"))
        return bool(data)

    def skip_lines(self) -> None:
        """Any number of lines may come before the next expectation."""
        self._skips = True

    def expect_prompt(self, prompt: str) -> None:
        """Wait until the terminal asks for input with ``prompt``; nothing else may come before."""
        skip, self._skips = self._skips, False
        deadline = time.monotonic() + self._timeout
        while True:
            shown = ENDED_SHELL.sub("", self._output) if prompt == PROMPT else self._output
            if shown.strip() == prompt.strip() or (skip and shown.endswith(prompt)):
                self._output = ""
                return
            if not self._read(deadline):
                raise Difference(f"expected the prompt {prompt!r}, but the terminal shows:\n{self._output}")

    def expect_line(self, expected: str) -> None:
        """Wait for the next line, which must be ``expected``."""
        skip, self._skips = self._skips, False
        deadline = time.monotonic() + self._timeout
        while True:
            while "\n" not in self._output.lstrip():
                if not self._read(deadline):
                    raise Difference(
                        f"expected the line {expected!r}, but the terminal shows:\n{self._output}"
                    )
            line, self._output = self._output.lstrip().split("\n", 1)
            # What another process prints comes behind the prompt that is shown already.
            line = SHELL_PROMPT.sub("", line)
            if matches(expected, line):
                return
            if not skip:
                raise Difference(
                    f"expected the line {expected!r}, but the terminal shows:\n{line}\n{self._output}"
                )

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.type("\x03")

    def close(self) -> None:
        """Close the window: what runs in it is hung up."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGHUP)
        os.close(self._master)
        try:
            self._shell.wait(5)
        except subprocess.TimeoutExpired:
            self._shell.kill()
            self._shell.wait()
