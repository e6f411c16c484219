"""Checks the types of a node's options, so that a wrong one is refused in words where it is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from quicdist.carrier import Address
from quicdist.term import Limits
from quicdist.term.shorten import shorten

#: Options whose value may hold a secret, and is not shown.
_SECRET: Final = ("key", "quic", "tls")
_ADDRESSES: Final = 'a dict of node names and addresses, {"a@host": ("10.0.0.1", 4433)}'


def check_option_types(options: Mapping[str, Any]) -> None:
    """Raise :class:`TypeError`, or :class:`ValueError` for a number out of range, for the first option that
    is not what it has to be. None, an option that was not given, is always accepted; names, cookie,
    ``config`` and ``cluster`` are checked where they are read."""
    for name, value in options.items():
        if value is not None:
            CHECKS[name](name, value)


def _wrong(name: str, expected: str, value: Any) -> TypeError:
    if name in _SECRET:
        return TypeError(f"{name} is {expected}, not {type(value).__name__}")
    text = repr(shorten(value))
    return TypeError(
        f"{name} is {expected}, not {type(value).__name__} {text if len(text) <= 100 else text[:100] + '...'}"
    )


def _of(expected: str, *kinds: type) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, kinds) or (type(value) is bool and bool not in kinds):
            raise _wrong(name, expected, value)

    return check


def _positive(name: str, value: Any) -> None:
    _of("a number of seconds", int, float)(name, value)
    if not value > 0:
        raise ValueError(f"{name} is {value}: expected more than 0")


def _nodes(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(name, _ADDRESSES, value)
    for node, address in value.items():
        if isinstance(address, Address):
            continue
        match address:
            case (str(), int() as port) if type(port) is not bool:
                pass
            case _:
                expected = 'a host and a port, ("10.0.0.1", 4433)'
                raise _wrong(f"the address of {node!r} in {name}", expected, address)


def _port(name: str, value: Any) -> None:
    _of("a port number", int)(name, value)
    if not 0 <= value < 1 << 16:
        raise ValueError(f"{name} is {value}: expected 0 to 65535")


def _names_of_carriers(name: str, value: Any) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise _wrong(name, "the name of a carrier, or a list of names", value)


def _endpoints(name: str, value: Any) -> None:
    if not isinstance(value, Iterable) or not all(hasattr(each, "carrier") for each in value):
        raise _wrong(name, "a list of endpoints", value)


def _has(expected: str, attribute: str) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if not hasattr(value, attribute):
            raise _wrong(name, expected, value)

    return check


def _callable(name: str, value: Any) -> None:
    if not callable(value):
        raise _wrong(name, "a function", value)


_flag = _of("True or False", bool)
_pem = _of("the path of a PEM file, or its contents as bytes", str, bytes, os.PathLike)

CHECKS: Final[dict[str, Callable[[str, Any], None]]] = {
    "carrier": _names_of_carriers,
    "nodes": _nodes,
    "host": _of("a host name or an IP address", str),
    "port": _port,
    "listen": _flag,
    "epmd": _flag,
    "discovery": _has("a discovery", "lookup_all"),
    "endpoints": _endpoints,
    "cluster_backoff": _has("a Backoff", "delay"),
    "cert": _pem,
    "key": _pem,
    "cacert": _pem,
    "verify": _flag,
    "quic": _of('a dict of settings, {"idle_timeout": 60}', Mapping),
    "tls": _has("TlsSettings", "server"),
    "hidden": _flag,
    "connect_all": _flag,
    "prevent_overlapping_partitions": _flag,
    "limits": _of("Limits", Limits),
    "default": _callable,
    "net_ticktime": _positive,
    "setup_time": _positive,
    "max_frame": _of("a number of bytes", int),
    "max_dials": _of("a number of dials", int),
    "busy_wait": _flag,
    "tracer": _has("a tracer, with client_span and server_span", "client_span"),
}
