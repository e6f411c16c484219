"""Reads ``.hosts.erlang`` (``net_adm:host_file/0``)."""

from __future__ import annotations

import os
from pathlib import Path

from quicdist.discovery import DiscoveryError
from quicdist.term import Atom, ParseError, parse_terms

NAME = ".hosts.erlang"
#: The limit for the file in bytes.
MAX_SIZE = 1 << 20


def read_hosts_file(path: Path | None = None) -> list[str]:
    """The hosts in the file. Raises :class:`DiscoveryError` if there is none, or it does not hold atoms."""
    paths = [path] if path is not None else _places()
    for place in paths:
        try:
            with place.open("rb") as file:
                data = file.read(MAX_SIZE + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DiscoveryError(f"{place}: {error.strerror or error}") from error
        if len(data) > MAX_SIZE:
            raise DiscoveryError(f"{place} is longer than {MAX_SIZE} bytes")
        return _hosts(place, data)
    raise DiscoveryError(f"there is no {NAME}: looked at {', '.join(map(str, paths))}")


def _places() -> list[Path]:
    """The working directory, the home directory, OTP's root directory."""
    root = os.environ.get("ROOTDIR")
    folders = [Path(), Path(os.path.expanduser("~")), *([Path(root)] if root else [])]
    return [folder / NAME for folder in folders]


def _hosts(place: Path, data: bytes) -> list[str]:
    try:
        terms = parse_terms(data.decode())
    except (UnicodeDecodeError, ParseError) as error:
        raise DiscoveryError(f"{place}: atoms with a full stop after each expected: {error}") from error
    for term in terms:
        if not isinstance(term, Atom):
            raise DiscoveryError(f"{place}: expected host names as atoms, such as 'host1'., got {term!r}")
    return [term.name for term in terms]
