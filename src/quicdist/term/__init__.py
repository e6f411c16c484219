"""Erlang terms: values, the external term format, and Erlang's own syntax. No I/O."""

from __future__ import annotations

from typing import Any, TypeAlias

from quicdist.term.atoms import Atom
from quicdist.term.base import operations
from quicdist.term.chardata import chardata_to_str, charlist
from quicdist.term.errors import DecodeError, EncodeError, ParseError, TermError
from quicdist.term.etf.codec import EXACT, Codec, binary_to_term, term_to_binary
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.identity import exactly_equal
from quicdist.term.limits import Limits
from quicdist.term.maps import Map
from quicdist.term.order import compare, sort_key
from quicdist.term.python_values import to_python
from quicdist.term.text.format import format_term
from quicdist.term.text.parser import parse_term, parse_terms
from quicdist.term.values import BitString, ImproperList, Local, Record

operations.format_term = format_term
operations.compare = compare
operations.decode = EXACT.decode

#: Any Erlang term as Python holds it; the table is in ``docs/terms.md``.
Term: TypeAlias = Any

__all__ = [
    "Atom",
    "BitString",
    "Codec",
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
    "binary_to_term",
    "chardata_to_str",
    "charlist",
    "compare",
    "exactly_equal",
    "format_term",
    "parse_term",
    "parse_terms",
    "sort_key",
    "term_to_binary",
    "to_python",
]
