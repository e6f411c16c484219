"""The records that an Erlang header file (``.hrl``) defines, as Python classes.

Read are ``-record``, and of the preprocessor ``-define`` without parameters, ``-undef``, ``-ifdef``,
``-ifndef``, ``-else`` and ``-endif``. Included files are not read. Types, functions and other attributes are
passed over. Source: Erlang Reference Manual, *Records* and *Preprocessor*.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from quicdist.term.errors import ParseError
from quicdist.term.records import Records, TupleRecord
from quicdist.term.text.format import format_term
from quicdist.term.text.parser import parse_term

_TOKEN = re.compile(
    r'''(?P<skip>\s+|%[^\n]*)
    |(?P<string>"""+.*?"""+|~?[bBsS]?"(?:[^"\\]|\\.)*")
    |(?P<quoted>'(?:[^'\\]|\\.)*')
    |(?P<char>\$(?:\\(?:\^.|x\{[0-9a-fA-F]+\}|x[0-9a-fA-F]{2}|[0-7]{1,3}|.)|.))
    |(?P<atom>[a-zß-öø-ÿ][\w@]*)
    |(?P<variable>[A-Z_À-ÖØ-Þ][\w@]*)
    |(?P<number>\d[\d_]*(?:\#[0-9a-zA-Z_]+)?(?:\.\d[\d_]*(?:[eE][+-]?\d+)?)?)
    |(?P<dot>\.(?=\s|%|\Z))
    |(?P<mark>::|=:=|=/=|=<|==|>=|=>|:=|->|<<|>>|\|\||\.\.\.?|\+\+|--|/=|.)''',
    re.VERBOSE | re.DOTALL,
)

_OPENING = frozenset({"(", "[", "{", "<<", "begin", "case", "if", "receive", "try", "maybe"})
_CLOSING = frozenset({")", "]", "}", ">>", "end"})
#: How deep macros may be nested: more is taken for a macro that contains itself.
_MAX_EXPANSIONS = 100


class _Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class _NotATerm(Exception):
    """A default that is an expression, or has a macro that is not known."""


def read_records(
    path: str | os.PathLike[str], *, macros: Mapping[str, Any] | None = None, encoding: str = "utf-8"
) -> Records:
    """The records that the header file at ``path`` defines, as by :func:`parse_records`.

    Raises OSError if it cannot be read, and ParseError, with the file in its notes.
    """
    with open(path, encoding=encoding) as file:
        text = file.read()
    try:
        return parse_records(text, macros=macros)
    except ParseError as error:
        error.add_note(f"in {os.fspath(path)}")
        raise


def parse_records(text: str, *, macros: Mapping[str, Any] | None = None) -> Records:
    """The records that Erlang source text defines: a class for each, by name.

    ``macros`` are macros that are defined elsewhere (in included files, by ``-D``) and their values,
    terms. A default that is an expression (``erlang:now()``, ``60 * 1000``) or has a macro that is not
    known cannot be computed here: that field has to be given when a record is made.

    Raises ParseError, with line and column, for a record that cannot be read, one that is defined
    twice, and for ``-if`` and ``-elif``, whose conditions are expressions.
    """
    return Records(_Header(text, macros or {}).records())


class _Header:
    """One header file while it is read."""

    def __init__(self, text: str, macros: Mapping[str, Any]) -> None:
        self._text = text
        #: The replacement of each macro; None for one with parameters.
        self._macros: dict[str, str | None] = {name: format_term(value) for name, value in macros.items()}
        #: For each -ifdef around the place: whether its lines count, and those around it.
        self._conditions: list[tuple[bool, bool]] = []
        self._records: dict[str, type[TupleRecord]] = {}

    def records(self) -> dict[str, type[TupleRecord]]:
        for form in self._forms():
            if len(form) >= 2 and form[0].text == "-" and form[1].kind == "atom":
                self._attribute(form)
        if self._conditions:
            self._refuse(len(self._text), "-ifdef without -endif")
        return self._records

    def _forms(self) -> Iterator[list[_Token]]:
        form: list[_Token] = []
        for match in _TOKEN.finditer(self._text):
            kind = match.lastgroup or ""
            if kind == "dot":
                yield form
                form = []
            elif kind != "skip":
                form.append(_Token(kind, match[0], match.start()))
        if form and self._counts():
            self._refuse(form[0].start, "no full stop after this")

    def _counts(self) -> bool:
        return not self._conditions or all(self._conditions[-1])

    def _attribute(self, form: list[_Token]) -> None:
        word = form[1].text
        match word:
            case "ifdef" | "ifndef":
                known = self._name_of_macro(form) in self._macros
                self._conditions.append((known is (word == "ifdef"), self._counts()))
            case "if":
                if self._counts():
                    self._refuse(form[0].start, "the condition of -if is an expression: not supported")
                self._conditions.append((False, False))
            case "elif" | "else" | "endif":
                if not self._conditions:
                    self._refuse(form[0].start, f"-{word} without -ifdef")
                own, outer = self._conditions.pop()
                if word == "elif" and outer:
                    self._refuse(form[0].start, "the condition of -elif is an expression: not supported")
                if word != "endif":
                    self._conditions.append((not own, outer))
            case "define" if self._counts():
                name = self._name_of_macro(form)
                has_value = len(form) > 5 and form[4].text == ","
                self._macros[name] = self._text[form[5].start : form[-1].start].strip() if has_value else None
            case "undef" if self._counts():
                self._macros.pop(self._name_of_macro(form), None)
            case "record" if self._counts() and form[2:] and form[2].text == "(":
                self._record(form)

    def _name_of_macro(self, form: list[_Token]) -> str:
        if len(form) < 5 or form[2].text != "(" or form[3].kind not in ("atom", "variable", "quoted"):
            self._refuse(form[0].start, f"the name of a macro expected in -{form[1].text}")
        return _bare(form[3])

    def _record(self, form: list[_Token]) -> None:
        head, name, comma, opening = (form[at : at + 1] for at in (1, 3, 4, 5))
        if not name or name[0].kind not in ("atom", "quoted"):
            self._refuse(head[0].start, "the name of a record expected, an atom")
        closing = [token.text for token in form[-2:]]
        if not opening or comma[0].text != "," or opening[0].text != "{" or closing != ["}", ")"]:
            self._refuse(name[0].start, f"the fields of record {name[0].text} expected in braces")
        record = _bare(name[0])
        if record in self._records:
            self._refuse(name[0].start, f"record {record} is defined twice")
        fields: list[str] = []
        defaults: dict[str, Any] = {}
        required: dict[str, str] = {}
        for tokens in self._split(form[6:-2]):
            field = self._field(tokens, record)
            fields.append(field)
            source = self._default_of(tokens)
            if source is None:
                continue
            try:
                defaults[field] = parse_term(self._expanded(source))
            except (_NotATerm, ParseError):
                required[field] = source
        try:
            self._records[record] = TupleRecord.define(record, fields, defaults, required)
        except ValueError as error:
            self._refuse(name[0].start, str(error))

    def _split(self, tokens: list[_Token]) -> Iterator[list[_Token]]:
        """The definitions of the fields, between the commas that are in no brackets."""
        field: list[_Token] = []
        depth = 0
        in_type = False
        for at, token in enumerate(tokens):
            if token.text == "," and not depth:
                yield field
                field, in_type = [], False
                continue
            in_type = in_type or (token.text == "::" and not depth)
            following = tokens[at + 1].text if at + 1 < len(tokens) else ""
            if token.kind in ("mark", "atom"):
                a_fun = token.text == "fun" and following == "(" and not in_type
                depth += (token.text in _OPENING or a_fun) - (token.text in _CLOSING)
            field.append(token)
        if field:
            yield field

    def _field(self, tokens: list[_Token], record: str) -> str:
        if not tokens or tokens[0].kind not in ("atom", "quoted"):
            at = tokens[0].start if tokens else len(self._text)
            self._refuse(at, f"the name of a field of record {record} expected, an atom")
        if len(tokens) > 1 and tokens[1].text not in ("=", "::"):
            self._refuse(tokens[1].start, f"= or :: expected after the field {tokens[0].text}")
        return _bare(tokens[0])

    def _default_of(self, tokens: list[_Token]) -> str | None:
        """The source of a field's default, without its type."""
        if len(tokens) < 3 or tokens[1].text != "=":
            return None
        end = next((at for at, token in enumerate(tokens) if token.text == "::"), len(tokens))
        return self._text[tokens[2].start : tokens[end - 1].end]

    def _expanded(self, source: str) -> str:
        """Source text with its macros replaced."""
        for _ in range(_MAX_EXPANSIONS):
            parts: list[str] = []
            is_macro = replaced = False
            for match in _TOKEN.finditer(source):
                if is_macro:
                    stands_for = self._macros.get(match[0].strip("'"))
                    if stands_for is None:
                        raise _NotATerm
                    parts.append(f" {stands_for} ")
                    is_macro, replaced = False, True
                elif match[0] == "?":
                    is_macro = True
                else:
                    parts.append(match[0])
            if is_macro:
                raise _NotATerm
            source = "".join(parts)
            if not replaced:
                return source
        raise _NotATerm

    def _refuse(self, offset: int, message: str) -> NoReturn:
        line = self._text.count("\n", 0, offset) + 1
        raise ParseError(message, line=line, column=offset - self._text.rfind("\n", 0, offset))


def _bare(token: _Token) -> str:
    """The name that a token writes, without quotes."""
    return parse_term(token.text).name if token.kind == "quoted" else token.text
