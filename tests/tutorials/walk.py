"""Walks a page: saves its files, types its commands, compares its output.

A block with a title is a file, or the terminal of that name if it is a session (``console title="Elixir"``).
A file is saved in the working directory of the terminal that was used last.

A session is a list of lines. One that begins with a prompt (``$``, ``(a@127.0.0.1)1>``,
``iex(a@127.0.0.1)1>``) is typed when the terminal shows that prompt. ``^C`` is Ctrl-C. Every other line must
be the next line of the terminal. There, ``...`` is any text, and any number of lines where it stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from tests.tutorials.terminal import Difference, Terminal

FENCE = re.compile(r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<body>.*?)^```$", re.M | re.S)
PROMPT = re.compile(r"\$ |\([^\s()]+@[^\s()]+\)\d+> |iex\(\S+@\S+\)\d+> |\.\.\.\(\S+@\S+\)\d+> ")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    title: str
    body: str

    @property
    def is_session(self) -> bool:
        return self.language == "console"

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(page, line, match["language"], match["title"] or "", match["body"])


def walk(
    pages: list[Path],
    directory: Path,
    environment: Mapping[str, str],
    say: Callable[[str], None],
    timeout: float = 60.0,
) -> None:
    """Walk the pages, one after the other, in ``directory``; raise :class:`Difference` at the first one."""
    with ExitStack() as open_terminals:
        terminals: dict[str, Terminal] = {}
        current: Terminal | None = None
        for page in pages:
            for block in blocks(page):
                if not block.is_session:
                    if block.title:
                        say(f"{block}: save {block.title}")
                        (current.directory if current else directory).joinpath(block.title).write_text(
                            block.body
                        )
                    continue
                if block.title not in terminals:
                    terminal = Terminal(directory, environment, timeout)
                    terminals[block.title] = open_terminals.enter_context(closing(terminal))
                current = terminals[block.title]
                try:
                    session(block, current, say)
                except Difference as difference:
                    raise Difference(f"{block} ({block.title}): {difference}") from None


def session(block: Block, terminal: Terminal, say: Callable[[str], None]) -> None:
    for line in block.body.splitlines():
        if line == "...":
            terminal.skip_lines()
        elif prompt := PROMPT.match(line):
            terminal.expect_prompt(prompt[0])
            say(f"{block}: {line}")
            terminal.type(line[prompt.end() :] + "\n")
        elif line == "^C":
            terminal.interrupt()
        elif line.strip():
            terminal.expect_line(line)
