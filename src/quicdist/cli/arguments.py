"""Erlang terms on the command line."""

from __future__ import annotations

from typing import Any

import click


def term(text: str, hint: str) -> Any:
    """The term in Erlang's syntax. Raises :class:`click.BadParameter` that names ``hint``."""
    import quicdist

    try:
        return quicdist.parse_term(text)
    except quicdist.ParseError as error:
        raise click.BadParameter(str(error), param_hint=hint) from error


def atom_text(text: str, hint: str) -> str:
    """The text of an atom, which may be written with Erlang's quotes. Raises :class:`click.BadParameter`."""
    import quicdist

    if len(text) > 1 and text[0] == text[-1] == "'":
        found = term(text, hint)
        text = found.name if isinstance(found, quicdist.Atom) else text[1:-1]  # true, false, undefined
    try:
        return quicdist.Atom(text).name
    except quicdist.TermError as error:
        raise click.BadParameter(str(error), param_hint=hint) from error


def argument_list(text: str, hint: str = "ARGS") -> list[Any]:
    """A list of arguments. Raises :class:`click.BadParameter`."""
    terms = term(text, hint)
    if not isinstance(terms, list):
        raise click.BadParameter(f"{text} is no list of arguments: write [{text}]", param_hint=hint)
    return terms
