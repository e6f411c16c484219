"""Evaluates the lines of ``quicdist shell`` on another node."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from quicdist import Atom, ParseError, RemoteError, parse_term
from quicdist.cli.failure import CommandFailed

if TYPE_CHECKING:
    from quicdist import Node

#: ``module`` and ``function`` as Erlang writes atoms.
_ATOM: Final = r"(?:[a-z][\w@]*|'(?:[^'\\]|\\.)*')"
_CALL: Final = re.compile(rf"(?P<module>{_ATOM})\s*:\s*(?P<function>{_ATOM})\s*\((?P<arguments>.*)\)", re.S)
_SEND: Final = re.compile(rf"(?P<name>{_ATOM})\s*!\s*(?P<message>.*)", re.S)

_UNDEF, _OK, _ERROR, _VALUE = Atom("undef"), Atom("ok"), Atom("error"), Atom("value")


class Evaluator:
    """Calls ``Module:Function(Terms)`` on ``node``, or evaluates any expression there if it is a BEAM.

    Expressions are read and evaluated by the BEAM's own ``erl_scan``, ``erl_parse`` and ``erl_eval``. The
    variables that they bind are kept here, and sent with each further expression.
    """

    def __init__(self, local: Node, node: str, timeout: float) -> None:
        self._local = local
        self.node = node
        self._timeout = timeout
        self._bindings: Any = None

    async def evaluate(self, text: str) -> Any:
        """The value of one line, with or without the final dot. Raises :class:`~quicdist.QuicDistError`,
        :class:`~quicdist.cli.failure.CommandFailed`."""
        text = text.strip().removesuffix(".").rstrip()
        call = _CALL.fullmatch(text)
        if call is not None:
            arguments = _term(f"[{call['arguments']}]")
            if isinstance(arguments, list):
                return await self.call(_name(call["module"]), _name(call["function"]), arguments)
        send = _SEND.fullmatch(text)
        if send is not None and (message := _term(send["message"])) is not _NO_TERM:
            self._local.send((_name(send["name"]), Atom(self.node)), message)
            return message
        if (term := _term(text)) is not _NO_TERM:
            return term
        return await self._expression(text)

    async def call(self, module: Any, function: Any, arguments: list[Any]) -> Any:
        """Call a function on the node."""
        return await self._local.call(self.node, module, function, arguments, timeout=self._timeout)

    def forget(self) -> None:
        """Unbind all variables."""
        self._bindings = None

    async def _expression(self, text: str) -> Any:
        try:
            scanned = await self.call("erl_scan", "string", [list(map(ord, f"{text}."))])
        except RemoteError as error:
            if error.reason != _UNDEF:
                raise
            raise CommandFailed(
                f"{self.node} is no BEAM and evaluates no expressions: write module:function(Terms)"
                f"{_why_no_term(text)}"
            ) from error
        match scanned:
            case (Atom() as tag, list(tokens), _) if tag == _OK:
                parsed = await self.call("erl_parse", "parse_exprs", [tokens])
            case _:
                raise await self._refused(scanned)
        match parsed:
            case (Atom() as tag, list(expressions)) if tag == _OK:
                pass
            case _:
                raise await self._refused(parsed)
        if self._bindings is None:
            self._bindings = await self.call("erl_eval", "new_bindings", [])
        match await self.call("erl_eval", "exprs", [expressions, self._bindings]):
            case (Atom() as tag, value, bindings) if tag == _VALUE:
                self._bindings = bindings
                return value
            case other:
                raise CommandFailed(f"erl_eval:exprs/2 on {self.node} returned {other!r}")

    async def _refused(self, answer: Any) -> CommandFailed:
        """The error of ``erl_scan`` or ``erl_parse``, in their own words."""
        match answer:
            case (Atom() as tag, (_, Atom() as module, descriptor), *_) if tag == _ERROR:
                from quicdist.term import chardata_to_str

                said = await self.call(module, "format_error", [descriptor])
                return CommandFailed(chardata_to_str(said))
        return CommandFailed(f"{self.node} cannot read this expression")


_NO_TERM: Final = object()


def _term(text: str) -> Any:
    try:
        return parse_term(text)
    except ParseError:
        return _NO_TERM


def _why_no_term(text: str) -> str:
    try:
        parse_term(text)
    except ParseError as error:
        return f" ({error})"
    return ""


def _name(text: str) -> Any:
    return parse_term(text) if text.startswith("'") else Atom(text)
