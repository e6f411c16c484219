"""Erlang terms: values, the external term format, and Erlang's own syntax. No I/O."""

from __future__ import annotations

from typing import Any, TypeAlias

from quicdist.term.atoms import Atom
from quicdist.term.errors import DecodeError, EncodeError, ParseError, TermError
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.limits import Limits
from quicdist.term.maps import Map
from quicdist.term.values import BitString, ImproperList, Local, Record

#: Any Erlang term as Python holds it; the table is in ``docs/terms.md``.
Term: TypeAlias = Any

__all__ = [
    "Atom",
    "BitString",
    "DecodeError",
    "EncodeError",
    "Export",
    "Fun",
    "ImproperList",
    "Limits",
    "Local",
    "Map",
    "ParseError",
    "Pid",
    "Port",
    "Record",
    "Reference",
    "Term",
    "TermError",
]
