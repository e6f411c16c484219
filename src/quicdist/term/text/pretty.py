"""Terms over several lines, broken where ``io_lib_pretty`` breaks them (OTP stdlib).

Where a line breaks depends on the room left, on the elements next to it, and on one number that is chosen
first: how far the elements after the tag of a tagged tuple are indented. It is the first of three (the length
of the tag, 4, 1) with which no indentation exceeds half the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from quicdist.term.text.layout import Node, measured, one_line
from quicdist.term.text.writer import Writer


def pretty(term: Any, writer: Writer, *, line_length: int, column: int, max_depth: int) -> str:
    """``term`` in lines of ``line_length`` characters where possible, the first from ``column`` on.

    Raises TermError if something in it is not a term, or nested deeper than ``max_depth``.
    """
    node = measured(term, writer, max_depth)
    if node.kind == "leaf" or node.length < line_length - column:
        return one_line(node)
    for indent in (-1, 4):
        layout = _Layout(line_length, node.length, indent)
        if layout.has_room(node, column):
            return layout.text(node, column)
    return _Layout(line_length, node.length, 1).text(node, column)


class _NoRoom(Exception):
    """With this indentation a part would begin beyond half the line."""


class _At(NamedTuple):
    """A part still to be laid out."""

    node: Node
    #: The column where it begins, and the prefix of its later lines.
    column: int
    indent: str
    #: How many closing brackets must fit after it.
    closing: int
    #: How many characters precede it on its line, indentation not counted.
    written: int


_Piece: TypeAlias = str | _At


class _Layout:
    """Lays out terms with one choice of indentation for tagged tuples (below 1: by the tag).

    OTP has one pass that looks whether there is room and one that prints, nearly the same. Here it
    is one pass; ``trial`` marks the places where OTP's two count differently.
    """

    def __init__(self, line_length: int, most_written: int, indent: int) -> None:
        self.line_length = line_length
        self.most_written = most_written
        self.indent = indent
        self.trial = False

    def has_room(self, node: Node, column: int) -> bool:
        self.trial = True
        try:
            self.text(node, column)
        except _NoRoom:
            return False
        finally:
            self.trial = False
        return True

    def text(self, node: Node, column: int) -> str:
        done: list[str] = []
        pending: list[_Piece] = [_At(node, column, " " * (column - 1), 0, 0)]
        while pending:
            piece = pending.pop()
            if isinstance(piece, str):
                done.append(piece)
            elif self._fits(piece):
                done.append(self._one_line(piece.node))
            else:
                pending.extend(reversed(list(self._broken(piece))))
        return "".join(done)

    def _one_line(self, node: Node) -> str:
        return "" if self.trial else one_line(node)

    def _fits(self, at: _At) -> bool:
        length = at.node.length + at.closing
        return length < self.line_length - at.column and length + at.written <= self.most_written

    def _broken(self, at: _At) -> Iterator[_Piece]:
        node, column, indent, closing, written = at
        kind = node.kind
        if kind == "leaf":
            yield node.text
            return
        if kind == "binary":
            yield self._binary(node.text, column + 2, f"{indent}  ", closing, written)
            return
        yield node.opening
        if kind == "tagged tuple":
            yield from self._tagged_tuple(at)
        elif kind == "record":
            yield from self._fields(at)
        elif kind == "map":
            written += 2 if self.trial else 1
            yield from self._parts(node, column + 2, f"{indent}  ", closing, written)
        else:
            yield from self._parts(node, column + 1, f"{indent} ", closing, written + 1)
        yield node.closing

    def _parts(self, node: Node, column: int, indent: str, closing: int, written: int) -> Iterator[_Piece]:
        """All parts, the first where we are and later lines below it."""
        first = node.parts[0][1]
        pieces, width = self._part(_At(first, column, indent, _closing(node, 0, closing), written))
        yield from pieces
        written = width if node.kind == "map" and not self.trial else written + width
        yield from self._more_parts(node, 1, column, column + width, indent, closing, written)

    def _more_parts(
        self, node: Node, index: int, left: int, column: int, indent: str, closing: int, written: int
    ) -> Iterator[_Piece]:
        """The parts from ``index`` on, on one line or in lines that begin at ``left``."""
        for at in range(index, len(node.parts)):
            separator, part = node.parts[at]
            here = closing + 1 if separator == "|" else _closing(node, at, closing)
            length = part.length + 1 + (here or 1)
            if part.atomic and length < self.line_length - column and written + length <= self.most_written:
                yield separator
                yield self._one_line(part)
                column += part.length + 1
                written += part.length + 1
                continue
            yield f"{separator}\n{indent}"
            if separator == "|":
                yield _At(part, column if self.trial else left, indent, here, 0)
                return
            pieces, written = self._part(_At(part, left, indent, here, 0))
            yield from pieces
            column = (column if self.trial and node.kind == "record" else left) + written

    def _part(self, at: _At) -> tuple[list[_Piece], int]:
        """One part, and the column after it: the end of the line if nothing may follow it."""
        if self._fits(at):
            return [self._one_line(at.node)], at.node.length if at.node.atomic else self.line_length
        if at.node.kind == "pair":
            return self._pair(at), self.line_length
        if at.node.kind == "field":
            return self._field(at), self.line_length
        return [at], self.line_length

    def _tagged_tuple(self, at: _At) -> Iterator[_Piece]:
        node, column, indent, closing, written = at
        tag = node.parts[0][1]
        yield tag.text
        behind = tag.length + 2
        if 0 < self.indent < behind:
            left = column + self.indent
            if self.trial and self.most_written + left > self.line_length and left > self.line_length // 2:
                raise _NoRoom
            indent += " " * self.indent
            yield from self._more_parts(
                node, 1, left, column + behind, indent, closing, written + 1 + tag.length
            )
            return
        left = column + behind
        if self.trial and self.most_written + left >= self.line_length and left >= self.line_length // 2:
            raise _NoRoom
        yield ","
        rest = Node("tuple")
        rest.parts = node.parts[1:]
        yield from self._parts(rest, left, indent + " " * behind, closing, written + tag.length + 2)

    def _pair(self, at: _At) -> list[_Piece]:
        """A key and, in a line of its own, its value."""
        (_, key), (_, value) = at.node.parts
        by = self.indent if self.indent > 0 else 4
        indent = at.indent + " " * by
        return [at._replace(node=key), f" =>\n{indent}", _At(value, at.column + by, indent, at.closing, 0)]

    def _fields(self, at: _At) -> Iterator[_Piece]:
        node, column, indent, closing, written = at
        if not node.parts:
            return
        name_length = node.length_of_opening - 1
        below, column, indent, written = self._beside(
            name_length + 1, column, indent, written + name_length + 1
        )
        if below:
            yield f"\n{indent}"
        yield from self._parts(node, column, indent, closing, written)

    def _field(self, at: _At) -> list[_Piece]:
        node = at.node
        value = node.parts[0][1]
        length = node.length_of_opening
        below, column, indent, written = self._beside(length, at.column, at.indent, at.written + length)
        name = f"{node.opening.removesuffix(' ')}\n{indent}" if below else node.opening
        return [name, _At(value, column, indent, at.closing, written)]

    def _beside(self, length: int, column: int, indent: str, written: int) -> tuple[bool, int, str, int]:
        """The column after a name of that length, or that of the next line."""
        below = 0 < self.indent < length
        by = self.indent if below else length
        column += by
        if self.trial and self.most_written + column > self.line_length and column > self.line_length // 2:
            raise _NoRoom
        return below, column, indent + " " * by, 0 if below else written

    def _binary(self, text: str, column: int, indent: str, closing: int, written: int) -> str:
        """The bytes of a binary, as many in each line as there is room for, at least 8 characters."""
        room = max(8, min(self.line_length - column, self.most_written - 4 - written) - closing)
        *numbers, last = text[2:-2].split(",")
        done = ["<<"]
        left = room
        for number in (*(f"{number}," for number in numbers), last):
            left -= len(number)
            if left < 0:
                done.append(f"\n{indent}")
                left = room - len(number)
            done.append(number)
        return "".join((*done, ">>"))


def _closing(node: Node, index: int, closing: int) -> int:
    """How many brackets close after the part at ``index``: none if another element follows."""
    behind = index + 1
    return 0 if behind < len(node.parts) and node.parts[behind][0] != "|" else closing + 1
