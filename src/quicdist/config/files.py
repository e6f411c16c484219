"""Reads configuration files: size limit, encoding, ``${VAR}`` replaced.

``erl`` itself replaces no variables. The start scripts of a release do, before ``erl`` reads the files
(relx: ``sys.config.src`` and ``vm.args.src``; ``${VAR:-default}`` since relx 4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from quicdist.config.errors import ConfigError

#: Bytes of one file.
MAX_FILE = 16 * 1024 * 1024

#: In the first two lines, as in ``epp:read_encoding/1``.
_CODING = re.compile(rb"coding[:=] *([-a-zA-Z0-9]+)")
_ENCODINGS = {"latin-1": "latin-1", "utf-8": "utf-8"}

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::[-=](?P<default>[^}]*))?\}")


def read_text(path: Path) -> str:
    """The text of a file. Raises :class:`ConfigError`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise ConfigError(str(path), f"larger than {MAX_FILE} bytes")
    found = _CODING.search(b"\n".join(data.split(b"\n", 2)[:2]))
    encoding = _ENCODINGS.get(found[1].decode().lower(), "utf-8") if found else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}", f"invalid {encoding}") from error


def replace_variables(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with each ``${VAR}`` replaced that is in ``environ`` or has a default; others are kept."""

    def value(match: re.Match[str]) -> str:
        found = environ.get(match["name"])
        if not found and match["default"] is not None:
            return match["default"]
        return match[0] if found is None else found

    return _VARIABLE.sub(value, text)


def unset_variable(text: str) -> str | None:
    """The name of the first ``${VAR}`` that was not replaced, None where there is none."""
    match = _VARIABLE.search(text)
    return match["name"] if match else None
