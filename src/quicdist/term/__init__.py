"""Erlang terms: values, the external term format, and Erlang's own syntax. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from quicdist.term.atom import Atom
from quicdist.term.base import operations
from quicdist.term.errors import DecodeError, EncodeError, ParseError, TermError
from quicdist.term.etf.codec import EXACT, Codec, binary_to_term, term_to_binary
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.identity import exactly_equal
from quicdist.term.limits import Limits
from quicdist.term.maps import Map
from quicdist.term.values import BitString, ImproperList, Local, Record

if TYPE_CHECKING:
    from quicdist.term.atom_namespace import atoms
    from quicdist.term.chardata import chardata_to_str, charlist
    from quicdist.term.hrl import parse_records, read_records
    from quicdist.term.map_keys import atom_keys, elixir_struct, str_keys
    from quicdist.term.order import compare, sort_key
    from quicdist.term.proplists import keyword_list, proplist_get, proplist_to_dict
    from quicdist.term.python_values import to_python
    from quicdist.term.records import Records, TupleRecord
    from quicdist.term.text.format import format_term
    from quicdist.term.text.parser import parse_term, parse_terms
else:
    from quicdist.lazy import lazy_names

    # A codec needs none of them.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "quicdist.term.atom_namespace": "atoms",
            "quicdist.term.chardata": "chardata_to_str charlist",
            "quicdist.term.hrl": "parse_records read_records",
            "quicdist.term.map_keys": "atom_keys elixir_struct str_keys",
            "quicdist.term.order": "compare sort_key",
            "quicdist.term.proplists": "keyword_list proplist_get proplist_to_dict",
            "quicdist.term.python_values": "to_python",
            "quicdist.term.records": "Records TupleRecord",
            "quicdist.term.text.format": "format_term",
            "quicdist.term.text.parser": "parse_term parse_terms",
        },
    )


def _format_term(term: Any) -> str:
    """Import :func:`format_term` with its first use."""
    from quicdist.term.text.format import format_term

    operations.format_term = format_term
    return format_term(term)


def _compare(one: Any, other: Any) -> int:
    """Import :func:`compare` with its first use."""
    from quicdist.term.order import compare

    operations.compare = compare
    return compare(one, other)


operations.format_term = _format_term
operations.compare = _compare
operations.decode = EXACT.decode

#: Any Erlang term as Python holds it; the table is in ``docs/reference/terms.md``.
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
    "Records",
    "Reference",
    "Term",
    "TermError",
    "TupleRecord",
    "atom_keys",
    "atoms",
    "binary_to_term",
    "chardata_to_str",
    "charlist",
    "compare",
    "elixir_struct",
    "exactly_equal",
    "format_term",
    "keyword_list",
    "parse_records",
    "parse_term",
    "parse_terms",
    "proplist_get",
    "proplist_to_dict",
    "read_records",
    "sort_key",
    "str_keys",
    "term_to_binary",
    "to_python",
]
