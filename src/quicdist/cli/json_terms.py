"""Erlang terms as JSON, for reading: it cannot be turned back into the term.

As :func:`quicdist.to_python` has them: atoms and binaries are strings, tuples are arrays, pids and whatever
else JSON has no form for are strings in Erlang's syntax.
"""

from __future__ import annotations

import json
from typing import Any

from quicdist import format_term, to_python


def dumps(term: Any, *, indent: int | None = None) -> str:
    """The JSON text of a term. Raises :class:`~quicdist.TermError` as ``to_python`` does."""
    return json.dumps(_plain(to_python(term)), ensure_ascii=False, indent=indent)


def _plain(value: Any) -> Any:
    """``value`` without bytes, and with keys that JSON knows."""
    if isinstance(value, bytes):
        return format_term(value, "~w")
    if isinstance(value, dict):
        # Keys that are strings come last: one that another key is printed as keeps its quotes.
        named = {format_term(key): _plain(each) for key, each in value.items() if not isinstance(key, str)}
        for key, each in value.items():
            if isinstance(key, str):
                named[format_term(key) if key in named else key] = _plain(each)
        return named
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    return value
