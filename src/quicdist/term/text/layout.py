"""Terms as trees of text, each node with its length on one line, for line breaking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.errors import TermError
from quicdist.term.text.compounds import take_apart
from quicdist.term.text.graphemes import grapheme_count
from quicdist.term.text.writer import Writer

_ATOMS = (Atom, bool, type(None))


class Node:
    """A term, or a pair of a map, or a field of a record."""

    __slots__ = ("atomic", "closing", "kind", "length", "length_of_opening", "opening", "parts", "text")

    def __init__(self, kind: str, opening: str = "", closing: str = "") -> None:
        #: leaf, binary (in numbers), list, tuple, tagged tuple, map, pair, record or field.
        self.kind = kind
        self.opening = opening
        self.closing = closing
        #: The text printed before each part, and the part.
        self.parts: list[tuple[str, Node]] = []
        #: How many characters it has on one line.
        self.length = 0
        self.length_of_opening = 0
        #: The text of a term without parts.
        self.text = ""
        #: Whether OTP puts it after another on a line: it has no parts, and is not a binary in numbers.
        self.atomic = False


def measured(term: Any, writer: Writer, max_depth: int) -> Node:
    """``term`` as nodes. Raises TermError for other values, and beyond ``max_depth``."""
    node = Node("")
    parts: Iterator[tuple[str, Any]] = iter((("", term),))
    stack: list[tuple[Node, Iterator[tuple[str, Any]]]] = []
    while True:
        for separator, part in parts:
            text = writer.leaf(part)
            if text is not None:
                node.parts.append((separator, _leaf(text)))
                if type(part) in _ATOMS and node.kind == "tuple" and len(node.parts) == 1:
                    node.kind = "tagged tuple"
                continue
            if len(stack) == max_depth:
                raise TermError(f"a term nested deeper than {max_depth}")
            kind, opening, closing, inner = take_apart(part, writer)
            within = Node(kind, opening, closing)
            node.parts.append((separator, within))
            stack.append((node, parts))
            node, parts = within, inner
            break
        else:
            if not stack:
                return node.parts[0][1]
            _complete(node)
            node, parts = stack.pop()


def _leaf(text: str) -> Node:
    in_numbers = text.startswith("<<") and text != "<<>>" and text[2] != '"'
    node = Node("binary" if in_numbers else "leaf")
    node.text = text
    node.length = grapheme_count(text)
    node.atomic = node.kind == "leaf"
    return node


def _complete(node: Node) -> None:
    """All parts are there: put keys to their values and names to theirs, and measure."""
    if node.kind == "tagged tuple" and len(node.parts) == 1:
        node.kind = "tuple"
    elif node.kind == "map":
        keys, values = node.parts[::2], node.parts[1::2]
        node.parts = [
            (separator, _joined("pair", [("", key), value]))
            for (separator, key), value in zip(keys, values, strict=True)
        ]
    elif node.kind == "record":
        node.parts = [
            (
                separator[:1] if index else "",
                _joined("field", [("", value)], separator[1:] if index else separator),
            )
            for index, (separator, value) in enumerate(node.parts)
        ]
    _measure(node)


def _joined(kind: str, parts: list[tuple[str, Node]], opening: str = "") -> Node:
    node = Node(kind, opening)
    node.parts = parts
    node.atomic = all(part.atomic for _, part in parts)
    _measure(node)
    return node


def _measure(node: Node) -> None:
    node.length_of_opening = grapheme_count(node.opening)
    inside = sum(len(separator) + part.length for separator, part in node.parts)
    node.length = node.length_of_opening + inside + len(node.closing)


def one_line(node: Node) -> str:
    """The node's text on one line."""
    done: list[str] = []
    pending: list[str | Node] = [node]
    while pending:
        piece = pending.pop()
        if isinstance(piece, str):
            done.append(piece)
        elif piece.text:
            done.append(piece.text)
        else:
            done.append(piece.opening)
            pending.append(piece.closing)
            for separator, part in reversed(piece.parts):
                pending += part, separator
    return "".join(done)
