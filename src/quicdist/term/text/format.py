"""Terms to text as ``io_lib:format`` prints them: ``format_term``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from quicdist.term.atom import Atom
from quicdist.term.errors import TermError
from quicdist.term.limits import Limits
from quicdist.term.text.compounds import take_apart
from quicdist.term.text.pretty import pretty
from quicdist.term.text.writer import Writer

_DEFAULT_DEPTH = Limits().max_depth
_STYLE = re.compile(
    r"~(?P<length>[0-9]{1,9})?(?:\.(?P<column>[0-9]{1,9}))?(?P<modifiers>[tlk]*)(?P<control>[pw])"
)


def format_term(
    term: Any,
    style: str = "~0tp",
    *,
    none: Atom | str = "undefined",
    printable_range: Literal["latin1", "unicode"] = "latin1",
    node_names: bool = False,
    max_depth: int = _DEFAULT_DEPTH,
) -> str:
    """``term`` as a BEAM prints it with ``io_lib:format(style, [term])``.

    ``style`` is one control sequence of ``io:format/2``: ``~w`` for one line, lists as numbers;
    ``~p`` for lines of 80 characters, lists and binaries as strings where all is printable; with a
    ``t`` characters beyond Latin-1 as they are; ``~120p`` for longer lines, ``~0p`` for one line of
    any length, ``~80.5p`` if printing begins in column 5; with an ``l`` no strings after all; with
    a ``k`` the keys of maps in Erlang's order (else in the order in which they are held).

    ``none`` is the atom that None stands for. ``printable_range`` is what counts as printable under
    ``t``: a BEAM's is latin1 unless it was started with ``+pc unicode``. Pids, ports and references
    are printed as on their own node, ``<0.88.0>``, unless ``node_names`` is set: ``<a@h.88.0>``.

    Raises TermError if something in ``term`` is no Erlang term, or deeper than ``max_depth``;
    ValueError if ``style`` is none of these.
    """
    line_length, column, strings, unicode, ordered = _style(style)
    writer = Writer(strings, unicode, printable_range, str(none), node_names, ordered)
    text = writer.leaf(term) if not line_length else None
    if text is not None:
        return text
    if line_length:
        return pretty(term, writer, line_length=line_length, column=column, max_depth=max_depth)
    return _one_line(term, writer, max_depth)


class _Style(NamedTuple):
    line_length: int
    column: int
    strings: bool
    unicode: bool
    ordered: bool


@lru_cache(maxsize=64)
def _style(style: str) -> _Style:
    match = _STYLE.fullmatch(style)
    if match is None or (match["control"] == "w" and (match["length"] or match["column"])):
        raise ValueError(f"expected a control sequence such as ~p, ~tw or ~0tp, got {style!r}")
    modifiers = match["modifiers"]
    pretty_print = match["control"] == "p"
    return _Style(
        line_length=int(match["length"] or 80) if pretty_print else 0,
        column=max(int(match["column"] or 1), 1),
        strings=pretty_print and "l" not in modifiers,
        unicode="t" in modifiers,
        ordered="k" in modifiers,
    )


def _one_line(term: Any, writer: Writer, max_depth: int) -> str:
    done: list[str] = []
    closing = ""
    parts: Iterator[tuple[str, Any]] = iter((("", term),))
    stack: list[tuple[str, Iterator[tuple[str, Any]]]] = []
    while True:
        for separator, part in parts:
            done.append(separator)
            text = writer.leaf(part)
            if text is not None:
                done.append(text)
                continue
            if len(stack) == max_depth:
                raise TermError(f"a term nested deeper than {max_depth}")
            stack.append((closing, parts))
            _, opening, closing, parts = take_apart(part, writer)
            done.append(opening)
            break
        else:
            done.append(closing)
            if not stack:
                return "".join(done)
            closing, parts = stack.pop()
