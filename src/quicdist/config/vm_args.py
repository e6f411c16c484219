"""Reads ``vm.args``: arguments of ``erl`` in a file, split into the flags of ``init``.

Source: OTP's ``erlexec`` (``-args_file``: quoting, comments, ``-extra``, ``-env``) and ``init``
(``parse_boot_args/1``); ERTS Reference Manual, *erl*.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quicdist.config.errors import ConfigError
from quicdist.config.files import read_text, replace_variables, unset_variable

#: Nested files, and arguments in all of them.
MAX_FILES = 20
MAX_ARGUMENTS = 100_000

#: White space and comments between arguments, and the pieces of an argument. Quotes may begin anywhere in
#: it, and nothing is special inside them; outside, a backslash escapes the next character.
_GAP = re.compile(r"(?:[\n\f\r\t\v ]|\#[^\n]*)+")
_PIECE = re.compile(
    r"\"(?P<double>[^\"]*)(?:\"|\Z)|'(?P<single>[^']*)(?:'|\Z)|\\(?P<escaped>.?)"
    r"|(?P<plain>[^\n\f\r\t\v #\"'\\]+)",
    re.DOTALL,
)

#: Flags of ``erl`` itself, and how many of the next arguments each one takes, even if they begin with "-".
_TAKE_NEXT = {"-env": 2, "-name": 1, "-sname": 1, "-start_epmd": 1, "-epmd": 1}


@dataclass(slots=True)
class Flags:
    """The flags as ``init:get_arguments/0`` returns them: the arguments of each occurrence, by flag."""

    flags: dict[str, list[list[str]]] = field(default_factory=dict)
    #: ``-env NAME VALUE``
    environ: dict[str, str] = field(default_factory=dict)
    #: Flags of the emulator, such as ``+K``.
    emulator: list[str] = field(default_factory=list)
    #: Arguments of no flag, and all after ``-extra``.
    plain: list[str] = field(default_factory=list)

    def all(self, flag: str) -> list[list[str]]:
        return self.flags.get(flag, [])

    def single(self, flag: str) -> str | None:
        """The argument of a flag that is set once, with one argument: ``{ok, [[Value]]}``."""
        match self.all(flag):
            case [[value]]:
                return value
        return None

    def first(self, flag: str) -> str | None:
        """The first argument of the first occurrence: ``{ok, [[Value | _] | _]}``."""
        match self.all(flag):
            case [[value, *_], *_]:
                return value
        return None


def split_arguments(text: str) -> list[str]:
    """The arguments in ``text``, split as ``erl -args_file`` does."""
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
    """The flags in a file, and in the files that it includes by ``-args_file``.

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
            raise ConfigError(str(path), f"more than {MAX_FILES} files by -args_file; one may include itself")
        given = split_arguments(replace_variables(read_text(path), self._environ))
        words = iter(given)
        for word in words:
            if word == "-args_file":
                name = next(words, None)
                if name is None:
                    raise ConfigError(str(path), "-args_file without a file name")
                self.read(Path(name))
            elif word == "-extra":
                self._extra.extend(words)
                return
            else:
                self._arguments.append(word)
            if len(self._arguments) + len(self._extra) > MAX_ARGUMENTS:
                raise ConfigError(str(path), f"more than {MAX_ARGUMENTS} arguments")
        if given:
            self._arguments.append("--")  # ends the last flag of the file


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
        variable = unset_variable(word)
        if variable is not None:
            raise ConfigError(source, f"{flag}: the environment variable {variable} is not set")
        taken.append(word)
    return taken
