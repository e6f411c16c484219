"""Erlang source text to terms: ``parse_term`` and ``parse_terms``.

Terms are accepted as by ``erl_parse:parse_term/1`` and ``file:consult/1``, expressions are not. Nothing here
recurses, so depth is bounded by a number and not by Python's stack.
"""

from __future__ import annotations

from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.errors import TermError
from quicdist.term.funs import Export
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.text.compound_parser import FRAMES, Frame
from quicdist.term.text.lexer import Token
from quicdist.term.text.token_stream import TokenStream

#: Source text is written by people and nests less deep than terms on the wire may.
_DEFAULT_DEPTH = 10_000


def parse_term(
    text: str,
    *,
    node: Atom | str | None = None,
    creation: int = 0,
    none: Atom | str = "undefined",
    max_depth: int = _DEFAULT_DEPTH,
) -> Any:
    """The one term that ``text`` holds, as a person types it; the full stop after it is optional.

    ``node`` and ``creation`` name the node of pids, ports and references that a BEAM prints with a 0 in front
    (``<0.88.0>``); without ``node`` they are refused. ``none`` is the atom that is returned as None.
    ``max_depth`` is how deep terms may be nested.

    Raises ParseError, which has ``line`` and ``column``, if it is not one term.
    """
    parser = Parser(text, node, creation, none, max_depth)
    term = parser.term()
    if parser.token.kind == "dot":
        parser.take()
    parser.expect("eof", "the end of the text after one term")
    return term


def parse_terms(
    text: str,
    *,
    node: Atom | str | None = None,
    creation: int = 0,
    none: Atom | str = "undefined",
    max_depth: int = _DEFAULT_DEPTH,
) -> list[Any]:
    """All terms of ``text``, each ended by a full stop, as in a ``sys.config`` (``file:consult/1``).

    Options and errors are those of :func:`parse_term`.
    """
    parser = Parser(text, node, creation, none, max_depth)
    terms = []
    while parser.token.kind != "eof":
        terms.append(parser.term())
        parser.expect("dot", "a full stop after the term")
    return terms


class Parser(TokenStream):
    """Reads terms off the tokens of a text."""

    def __init__(
        self, text: str, node: Atom | str | None, creation: int, none: Atom | str, max_depth: int
    ) -> None:
        super().__init__(text)
        self.node = None if node is None else str(node)
        self.creation = creation
        self.max_depth = max_depth
        self.constants: dict[str, bool | None] = {"true": True, "false": False, str(none): None}

    def term(self) -> Any:
        """The term that comes next, however deep."""
        frames: list[Frame] = []
        while True:
            token = self.take()
            kind = FRAMES.get(token.kind)
            if kind is None:
                value, literal = self._leaf(token)
            else:
                frame = kind(token)
                if frame.begin(self):
                    if len(frames) == self.max_depth:
                        self.refuse(token, f"terms nested deeper than {self.max_depth}")
                    frames.append(frame)
                    continue
                value, literal = frame.value(self)
            while frames:
                if frames[-1].feed(self, value, literal):
                    break
                value, literal = frames.pop().value(self)
            else:
                return value

    def _leaf(self, token: Token) -> tuple[Any, str]:
        """The term that ``token`` begins, if it is one without parts."""
        literal = ""
        value: Any
        match token.kind:
            case "atom":
                name = token.value
                value = self.constants[name] if name in self.constants else Atom(name)
            case "integer" | "float" | "char":
                value, literal = token.value, "number"
            case "string":
                strings = [token.value]
                while self.token.kind == "string":
                    strings.append(self.take().value)
                value, literal = list(map(ord, "".join(strings))), "string"
            case "sigil_string":
                value, literal = list(map(ord, token.value)), "string"
            case "binary":
                value = token.value
            case "pid" | "port" | "reference":
                value = self._identifier(token)
            case "fun":
                value = self._export()
            case _:
                self.unexpected(token, "a term")
        return value, literal

    def _identifier(self, token: Token) -> Pid | Port | Reference:
        node, *numbers = token.value
        if node == 0 and self.node is not None:
            node = self.node
        elif node == 0:
            self.refuse(token, f"the {token.kind} belongs to the node that printed it, and none was given")
        elif isinstance(node, int):
            self.refuse(token, f"only the BEAM that printed the {token.kind} knows which node {node} is")
        creation = self.creation if node == self.node else 0
        try:
            if token.kind == "pid":
                return Pid(node, numbers[0], numbers[1], creation)
            if token.kind == "port":
                return Port(node, numbers[0], creation)
            return Reference(node, reversed(numbers), creation)
        except TermError as error:
            self.refuse(token, f"no {token.kind}: {error}")

    def _export(self) -> Export:
        module = self.expect("atom", "a module after fun").value
        self.expect(":", "a colon after the module")
        function = self.expect("atom", "a function").value
        self.expect("/", "/ and the arity")
        arity = self.expect("integer", "an arity")
        if arity.value > 255:
            self.refuse(arity, "an arity is at most 255")
        return Export(module, function, arity.value)
