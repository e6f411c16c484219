"""The cookie of this user, found where OTP's ``auth`` module looks for it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import string
from pathlib import Path

from quicdist.node.errors import CookieError

#: Characters a cookie may have: OTP holds it as an atom.
MAX_COOKIE = 255
#: Bytes that are read of a cookie file, so that a wrong file costs nothing. OTP has no such limit.
_MAX_FILE = 1 << 16
#: The first line, blanks included; after it only blanks and line ends (``auth:check_cookie/2``, the same in
#: OTP 25 to 29).
_COOKIE = re.compile(rb"([ -~]*)(?:[\r\n][\r\n ]*)?")
_NAME = ".erlang.cookie"
_LENGTH = 20


def read_cookie(home: Path | None = None) -> str:
    """The cookie in ``~/.erlang.cookie``, else in ``$XDG_CONFIG_HOME/erlang/.erlang.cookie``.

    As OTP does (Erlang Reference Manual, *Distributed Erlang*, section *Security*): where neither
    file exists a random cookie is written to the first, readable by its owner only. Raises
    :class:`CookieError` when a file cannot be read, is open to others or holds no cookie.
    """
    first = (home or Path.home()) / _NAME
    config = Path(os.environ.get("XDG_CONFIG_HOME") or (home or Path.home()) / ".config")
    for path in (first, config / "erlang" / _NAME):
        with contextlib.suppress(FileNotFoundError):
            return _read(path)
    _create(first)
    return _read(first)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CookieError(f"cookie file {path} is not a regular file")
            if status.st_mode & 0o077:
                raise CookieError(
                    f"cookie file {path} must be accessible by owner only, its mode is "
                    f"{stat.S_IMODE(status.st_mode):04o}: chmod 400 it"
                )
            content = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CookieError(f"cookie file {path} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_FILE:
        raise CookieError(f"cookie file {path} has more than {_MAX_FILE} bytes")
    cookie = _COOKIE.fullmatch(content)
    if cookie is None:
        raise CookieError(
            f"cookie file {path} must hold one line of printable ASCII characters and nothing after it"
        )
    if not 0 < len(cookie[1]) <= MAX_COOKIE:
        raise CookieError(
            f"the cookie in file {path} must have 1 to {MAX_COOKIE} characters, it has {len(cookie[1])}"
        )
    return cookie[1].decode("ascii")


def _create(path: Path) -> None:
    cookie = "".join(secrets.choice(string.ascii_uppercase) for _ in range(_LENGTH))
    try:
        # Exclusive, and readable by the owner only from the start: a node that starts at the same time must
        # not read half a cookie or another one.
        with contextlib.suppress(FileExistsError):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(handle, "w") as file:
                file.write(cookie)
    except OSError as error:
        raise CookieError(f"cookie file {path} cannot be written: {error.strerror}") from error
