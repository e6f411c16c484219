"""``vm.args``: the arguments of ``erl`` in a file, and the flags that ``init`` makes of them.

Source: OTP's ``erlexec`` (``-args_file``: quoting, comments, ``-extra``, ``-env``) and ``init``
(``parse_boot_args/1``); ERTS Reference Manual, *erl*.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quicdist.config.errors import ConfigError
from quicdist.config.files import left_over, read_text, replace_variables

#: Files one inside the other, and arguments in all of them.
MAX_FILES = 20
MAX_ARGUMENTS = 100_000

#: What ends an argument, a comment, and the pieces that one is made of. Quotes may stand anywhere in
#: it; between them nothing is special; outside, a backslash takes the next character as it is.
_GAP = re.compile(r"(?:[\n\f\r\t\v ]|\#[^\n]*)+")
_PIECE = re.compile(
    r"\"(?P<double>[^\"]*)(?:\"|\Z)|'(?P<single>[^']*)(?:'|\Z)|\\(?P<escaped>.?)"
    r"|(?P<plain>[^\n\f\r\t\v #\"'\\]+)",
    re.DOTALL,
)

#: Arguments of ``erl`` itself that take the next one, whatever it looks like.
_TAKE_NEXT = {"-env": 2, "-name": 1, "-sname": 1, "-start_epmd": 1, "-epmd": 1}


@dataclass(slots=True)
class Flags:
    """``init:get_arguments/0``: each flag with the arguments of each time it is given."""

    flags: dict[str, list[list[str]]] = field(default_factory=dict)
    #: ``-env NAME VALUE``
    environ: dict[str, str] = field(default_factory=dict)
    #: ``+K`` and the like: the emulator's own.
    emulator: list[str] = field(default_factory=list)
    #: What belongs to no flag, and all after ``-extra``.
    plain: list[str] = field(default_factory=list)

    def all(self, flag: str) -> list[list[str]]:
        return self.flags.get(flag, [])

    def single(self, flag: str) -> str | None:
        """The argument of a flag that is given once, with one: ``{ok, [[Value]]}``."""
        match self.all(flag):
            case [[value]]:
                return value
        return None

    def first(self, flag: str) -> str | None:
        """The first argument of the first time: ``{ok, [[Value | _] | _]}``."""
        match self.all(flag):
            case [[value, *_], *_]:
                return value
        return None


def split_arguments(text: str) -> list[str]:
    """The arguments that ``text`` holds, as ``erl -args_file`` splits them."""
    arguments: list[str] = []
    position = 0
    while True:
        gap = _GAP.match(text, position)
        position = gap.end() if gap else position
        if position == len(text):
            return arguments
        parts = []
        while (piece := _PIECE.match(text, position)) is not None and piece.end() > position:
            parts.append(next((group for group in piece.groups() if group is not None), ""))
            position = piece.end()
        arguments.append("".join(parts))


def read_vm_args(path: Path, environ: Mapping[str, str]) -> Flags:
    """The flags of the file, and of the files that it names by ``-args_file``.

    Raises :class:`ConfigError`.
    """
    arguments: list[str] = []
    extra: list[str] = []
    _Reader(environ, arguments, extra).read(path)
    return _flags(arguments, extra, str(path))


class _Reader:
    def __init__(self, environ: Mapping[str, str], arguments: list[str], extra: list[str]) -> None:
        self._environ = environ
        self._arguments = arguments
        self._extra = extra
        self._files = 0

    def read(self, path: Path) -> None:
        self._files += 1
        if self._files > MAX_FILES:
            raise ConfigError(str(path), f"more than {MAX_FILES} files by -args_file, or one names itself")
        given = split_arguments(replace_variables(read_text(path), self._environ))
        words = iter(given)
        for word in words:
            if word == "-args_file":
                name = next(words, None)
                if name is None:
                    raise ConfigError(str(path), "-args_file without the name of a file")
                self.read(Path(name))
            elif word == "-extra":
                self._extra.extend(words)
                return
            else:
                self._arguments.append(word)
            if len(self._arguments) + len(self._extra) > MAX_ARGUMENTS:
                raise ConfigError(str(path), f"more than {MAX_ARGUMENTS} arguments")
        if given:
            self._arguments.append("--")  # nothing after a file belongs to a flag in it


def _flags(arguments: list[str], extra: list[str], source: str) -> Flags:
    found = Flags()
    into = found.plain
    words = iter(arguments)
    for word in words:
        if word in _TAKE_NEXT:
            taken = _take(words, word, source)
            if word == "-env":
                found.environ[taken[0]] = taken[1]
            elif word != "-epmd":
                into = taken
                found.flags.setdefault(word[1:], []).append(into)
        elif word == "--":
            into = found.plain
        elif word.startswith("+"):
            found.emulator.append(word)
            into = found.emulator
        elif word.startswith("-"):
            into = []
            found.flags.setdefault(word[1:], []).append(into)
        else:
            into.append(word)
    found.plain.extend(extra)
    return found


def _take(words: Iterator[str], flag: str, source: str) -> list[str]:
    taken = []
    for _ in range(_TAKE_NEXT[flag]):
        word = next(words, None)
        if word in (None, "--"):
            raise ConfigError(source, f"{flag} without its argument")
        variable = left_over(word)
        if variable is not None:
            raise ConfigError(source, f"{flag}: the environment variable {variable} is not set")
        taken.append(word)
    return taken
