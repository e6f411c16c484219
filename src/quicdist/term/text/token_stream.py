"""The tokens of a text with one token of lookahead, and the errors for unexpected ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from quicdist.term.digits import digits_from_integer
from quicdist.term.text.keywords import KEYWORDS
from quicdist.term.text.lexer import Token, refuse, scan


class TokenStream:
    """``token`` is the next one. Errors are ParseErrors with line and column."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: Iterator[Token] = scan(text)
        self.token = next(self.tokens)

    def take(self) -> Token:
        """Consume the next token and return it."""
        token = self.token
        if token.kind != "eof":
            self.token = next(self.tokens)
        return token

    def accept(self, kind: str) -> bool:
        """Consume the next token if it is of ``kind``; whether it was."""
        if self.token.kind != kind:
            return False
        self.take()
        return True

    def expect(self, kind: str, wanted: str) -> Token:
        if self.token.kind != kind:
            self.unexpected(self.token, wanted)
        return self.take()

    def unexpected(self, token: Token, wanted: str) -> NoReturn:
        self.refuse(token, f"expected {wanted}, got {_shown(token)}")

    def refuse(self, token: Token, message: str) -> NoReturn:
        refuse(self.text, token.offset, message)


def _shown(token: Token) -> str:
    """A token, for a message to a person."""
    match token.kind:
        case "eof":
            return "the end of the text"
        case "dot":
            return "a full stop"
        case "variable":
            return f"the variable {_shortened(token.value)} (an atom that begins so must be quoted)"
        case "sigil_string":
            return f"a sigil, {_shortened(token.value)}"
        case "atom" | "integer" | "float" | "char" | "string" | "binary":
            return f"the {token.kind} {_shortened(_text(token.value))}"
        case kind if kind in KEYWORDS:
            return f"the reserved word {kind} (as an atom it must be quoted)"
    return f"a {token.kind}" if token.kind.isidentifier() else f"'{token.kind}'"


def _text(value: Any) -> str:
    return digits_from_integer(value) if type(value) is int else f"{value}"


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
