"""Readers of option values: from Erlang terms, or the strings of flags, to Python values.

Each reader raises :class:`BadValue`, which names the expected value, or :class:`NotSupported`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quicdist.carrier import Address
from quicdist.carrier.errors import CertificateError
from quicdist.carrier.security.psk import ExternalPsk
from quicdist.config.files import unset_variable
from quicdist.term import Atom, Export, ParseError, parse_term

Reader = Callable[[Any], Any]


class BadValue(ValueError):
    """The value is invalid; the message names the expected one."""


class NotText(BadValue):
    """The value is not a string."""


class NotSupported(Exception):
    """The value is valid but has no effect here; the message says why."""


def text_of(value: Any) -> str:
    """An Erlang string, binary or flag's argument as str."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise NotText("a string expected") from None
    if isinstance(value, list) and all(type(one) is int and 0 <= one <= 0x10FFFF for one in value):
        return "".join(map(chr, value))
    raise NotText("a string expected")


def text(value: Any) -> str:
    found = text_of(value)
    variable = unset_variable(found)
    if variable is not None:
        raise BadValue(f"the environment variable {variable} is not set: a string expected")
    return found


def path(value: Any) -> Path:
    """A file's name. A relative one is taken from the working directory, as ``erl`` does."""
    found = text(value)
    if not found:
        raise BadValue("the name of a file expected")
    return Path(found)


def atom(value: Any) -> str:
    if isinstance(value, Atom):
        return str(value)
    raise BadValue("an atom expected")


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    with contextlib.suppress(NotText):
        name = text_of(value)
        if name in ("true", "false"):
            return name == "true"
    raise BadValue("true or false expected")


def integer(least: int, greatest: int) -> Reader:
    def read(value: Any) -> int:
        number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
        if type(number) is int and least <= number <= greatest:
            return number
        raise BadValue(f"an integer from {least} to {greatest} expected")

    return read


#: A port to listen on; 0 lets the system choose.
port = integer(0, 65535)


def seconds_of(milliseconds: Any) -> float:
    return float(integer(1, 1 << 40)(milliseconds)) / 1000


def one_of(**meanings: Any) -> Reader:
    """One of several atoms, or the same as a string."""

    def read(value: Any) -> Any:
        name = str(value) if isinstance(value, Atom | bool) else text(value)
        if name in meanings:
            return meanings[name]
        raise BadValue(f"{' or '.join(meanings)} expected")

    return read


def ticktime(value: Any) -> float:
    """``net_ticktime``: seconds, at least 1 (``net_kernel:make_init_opts/1``)."""
    return float(max(1, integer(-(1 << 40), 1 << 40)(value)))


def setup_time(value: Any) -> float:
    """``net_setuptime``: seconds, 120 at most (``net_kernel:connecttime/0``)."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1.0
    if number <= 0:
        raise BadValue("a number of seconds above 0 expected")
    return min(number, 120.0)


def keep_alive(value: Any) -> float | str:
    if value == Atom("disabled"):
        raise NotSupported("a QUIC connection is always kept alive by PINGs, in quic_dist too")
    return "auto" if value == Atom("auto") else seconds_of(value)


# -- authentication --------------------------------------------------------------------------------


def function(arity: int) -> Reader:
    """``{Module, Function}``, ``fun Module:Function/Arity`` or ``"Module:Function"``, as
    ``module:function``: the key of ``functions``. (quic_dist ignores a fun of another arity, and then
    accepts every node.)"""

    def read(value: Any) -> str:
        match value:
            case (Atom() as module, Atom() as name):
                return f"{module}:{name}"
            case Export(module, name, given) if given == arity:
                return f"{module}:{name}"
        with contextlib.suppress(NotText):
            named = text_of(value)
            if ":" in named[1:-1]:
                return named
        raise BadValue(f"{{Module, Function}} or fun Module:Function/{arity} expected")

    return read


def psks(value: Any) -> dict[bytes, bytes]:
    """``#{Identity => Secret}``, binaries."""
    if not isinstance(value, dict):
        raise BadValue("a map of binaries, #{Identity => Secret}, expected")
    for identity, secret in value.items():
        _psk(identity, secret)
    return dict(value)


def external_psk(value: Any) -> ExternalPsk:
    """``{Identity, Secret}`` or ``{Identity, Secret, Modes}``."""
    match value:
        case (identity, secret):
            return _psk(identity, secret)
        case (identity, secret, [_, *_] as modes):
            if Atom("psk_dhe_ke") not in modes:
                raise NotSupported("only psk_dhe_ke is supported, and its modes do not include it")
            return _psk(identity, secret)
    raise BadValue("{Identity, Secret} or {Identity, Secret, Modes} expected")


def _psk(identity: Any, secret: Any) -> ExternalPsk:
    try:
        return ExternalPsk(identity, secret)
    except CertificateError as error:
        raise BadValue(str(error)) from error


def auth_timeout(value: Any) -> float:
    """Milliseconds or ``infinity``."""
    if value == Atom("infinity") or value == "infinity":
        return math.inf
    return seconds_of(value)


# -- addresses -------------------------------------------------------------------------------------


def host(value: Any) -> str:
    """An IP address as a tuple, or a host name or IP address as a string."""
    if isinstance(value, tuple):
        sizes = {4: 0xFF, 8: 0xFFFF}
        limit = sizes.get(len(value))
        if limit is None or not all(type(part) is int and 0 <= part <= limit for part in value):
            raise BadValue("an IP address expected")
        if limit == 0xFF:
            return ".".join(map(str, value))
        return str(ipaddress.IPv6Address(b"".join(part.to_bytes(2, "big") for part in value)))
    found = text(value)
    if not found:
        raise BadValue("a host expected")
    return found


def nodes(value: Any) -> dict[str, Address]:
    """``[{'name@host', {Host, Port}}]``; of two entries for one node the first is used."""
    expected = "[{'name@host', {Host, Port}}, ...] expected"
    if isinstance(value, str):
        try:
            value = parse_term(value)
        except ParseError as error:
            raise BadValue(f"{expected}: {error}") from error
    if not isinstance(value, list):
        raise BadValue(expected)
    table: dict[str, Address] = {}
    for entry in value:
        match entry:
            case (Atom() as node, (where, number)) if "@" in str(node)[1:-1]:
                table.setdefault(str(node), Address(host(where), integer(1, 65535)(number)))
            case _:
                raise BadValue(expected)
    return table


def only(meant: object, reason: str) -> Reader:
    """For an option that has one supported value."""

    def read(value: Any) -> None:
        if value != meant:
            raise NotSupported(reason)

    return read


def never(reason: str) -> Reader:
    """For an option that is not supported."""

    def read(value: Any) -> None:
        raise NotSupported(reason)

    return read
