"""Patterns for selective receive, compiled to functions that test one message.

Most messages that do not match are rejected by a type, a length and one identity, and nothing is
allocated for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from quicdist.term import Atom, EncodeError, ImproperList, Pid, Port, Reference
from quicdist.term.base import Value
from quicdist.term.coercion import coerced
from quicdist.term.identity import exact_form, exactly_equal


class _Any:
    """Matches every term."""

    def __repr__(self) -> str:
        return "ANY"


#: In a pattern: any term.
ANY: Final = _Any()

Pattern = Any

#: Whether a term matches, as a truth value.
Test = Callable[[Any], Any]
Kind = type[tuple[Any, ...]] | type[list[Any]]


class AnyOf:
    """A pattern that matches what one of several matches, as the clauses of a ``receive`` do:
    ``AnyOf((reference, ANY), (Atom("DOWN"), reference, ANY, ANY, ANY))``."""

    def __init__(self, *patterns: Pattern) -> None:
        self.patterns = patterns


def matcher(pattern: Pattern) -> Test:
    """A function that says whether a term matches ``pattern``.

    A pattern is :data:`ANY`, a class (its instances match; ``bool`` is no ``int``), a function
    from a term to a truth value, a tuple or list of patterns of the same length, or a term that
    must be the same one as Erlang's ``=:=`` has it (``1`` is neither ``1.0`` nor ``true``); or
    several patterns, :class:`AnyOf` them. In a tuple or list functions are called last, as guards
    are. Raises :class:`~quicdist.term.EncodeError` for a value that is none of these.
    """
    return compiled(pattern, [])


def compiled(pattern: Pattern, references: list[Reference]) -> Test:
    """:func:`matcher`, which adds to ``references`` those that every message that matches holds."""
    kind = type(pattern)
    if kind is Atom:
        return _atom(pattern)
    if kind is Reference:
        references.append(pattern)
        return _identifier(kind, pattern)
    if pattern is ANY:
        return _anything
    if kind is tuple and pattern and type(pattern[0]) is Atom:
        return _tagged(pattern, references)
    if isinstance(pattern, tuple):
        return _sequence(tuple, pattern, references)
    if isinstance(pattern, list):
        return _sequence(list, pattern, references)
    if isinstance(pattern, type):
        return _instance(pattern)
    if kind is AnyOf:
        return _any_of(pattern, references)
    if kind is ImproperList:
        # [alias|Reference] is the tag of a call.
        references += [part for part in (*pattern.elements, pattern.tail) if type(part) is Reference]
        return _literal(pattern)
    if callable(pattern):
        return pattern  # type: ignore[no-any-return]
    return _literal(pattern)


def _anything(_: Any) -> bool:
    return True


def _instance(kind: type) -> Test:
    if kind is int:
        return lambda term: isinstance(term, int) and not isinstance(term, bool)
    return lambda term: isinstance(term, kind)


def _any_of(pattern: AnyOf, references: list[Reference]) -> Test:
    held: list[list[Reference]] = [[] for _ in pattern.patterns]
    tests = [compiled(one, its) for one, its in zip(pattern.patterns, held, strict=True)]
    references += [one for one in held[0] if all(one in its for its in held)] if held else []

    def matches(term: Any) -> bool:
        for test in tests:  # noqa: SIM110 - any() makes a generator each time
            if test(term):
                return True
        return False

    return matches


# -- tuples and lists --------------------------------------------------------------------------


#: The tests of tuples whose parts are atoms, classes and ANY: a program receives by few of them, many times.
_tests: dict[Any, Test] = {}
MAX_TESTS: Final = 512
#: Types of the parts: a part that is equal to one of these matches the same terms.
_FIXED: Final = frozenset((Atom, _Any, type))


def _tagged(pattern: Any, references: list[Reference]) -> Test:
    """A tuple that begins with an atom."""
    try:
        test = _tests.get(pattern)
    except TypeError:  # it has a part that has no hash
        return _sequence(tuple, pattern, references)
    if test is None:
        test = _sequence(tuple, pattern, references)
        if _FIXED.issuperset(map(type, pattern)):
            if len(_tests) >= MAX_TESTS:
                _tests.clear()
            _tests[pattern] = test
    return test


def _sequence(kind: Kind, pattern: Any, references: list[Reference]) -> Test:
    size = len(pattern)
    atom: Atom | None = None
    where = 0
    tests: list[tuple[int, Test]] = []
    guards: list[tuple[int, Test]] = []
    for at, part in enumerate(pattern):
        if part is ANY:
            continue
        if atom is None and type(part) is Atom and part not in _BOOLEANS:
            atom, where = part, at
        elif _is_function(part):
            guards.append((at, part))
        else:
            tests.append((at, compiled(part, references)))
    tests += guards
    if atom is None:
        if len(tests) == 1:
            return _with_one(kind, size, *tests[0])
        return _with_all(kind, size, tests)
    if not tests:
        return lambda term: isinstance(term, kind) and len(term) == size and term[where] is atom

    def matches(term: Any) -> bool:
        if isinstance(term, kind) and len(term) == size and term[where] is atom:
            for at, test in tests:  # noqa: SIM110 - all() makes a generator each time
                if not test(term[at]):
                    return False
            return True
        return False

    return matches


def _is_function(part: Pattern) -> bool:
    return callable(part) and not isinstance(part, type)


def _with_one(kind: Kind, size: int, where: int, test: Test) -> Test:
    return lambda term: isinstance(term, kind) and len(term) == size and test(term[where])


def _with_all(kind: Kind, size: int, tests: list[tuple[int, Test]]) -> Test:
    def matches(term: Any) -> bool:
        if isinstance(term, kind) and len(term) == size:
            for at, test in tests:  # noqa: SIM110 - all() makes a generator each time
                if not test(term[at]):
                    return False
            return True
        return False

    return matches


# -- terms -------------------------------------------------------------------------------------

_TRUE, _FALSE = Atom("true"), Atom("false")
#: They are the same terms as ``True`` and ``False``.
_BOOLEANS: Final = (_TRUE, _FALSE)
#: Terms of two of these types are never the same term, except ``bytes`` and ``str``. A value of a subclass
#: has to be compared.
_APART: Final = frozenset(
    (Atom, Pid, Port, Reference, int, float, bool, bytes, str, tuple, list, dict, type(None))
)
_APART_FROM_INT: Final = _APART - {int}
_APART_FROM_BYTES: Final = _APART - {bytes, str}


def _atom(atom: Atom) -> Test:
    if atom in _BOOLEANS:
        return _boolean(atom is _TRUE)
    return lambda term: term is atom


def _boolean(value: bool) -> Test:
    atom = _TRUE if value else _FALSE
    return lambda term: term is value or term is atom


def _identifier(kind: type, value: Any) -> Test:
    return lambda term: type(term) is kind and term == value


def _literal(value: Any) -> Test:
    kind = type(value)
    if value is None:
        return lambda term: term is None
    if kind is bool:
        return _boolean(value)
    if kind is Pid or kind is Port:
        return _identifier(kind, value)
    if kind is int:
        return _by_type(int, value, _APART_FROM_INT)
    if kind is bytes:
        return _by_type(bytes, value, _APART_FROM_BYTES)
    exact_form(value)  # raises EncodeError if it is not a term
    if kind is str:
        return _literal(value.encode())
    if kind is not float and kind is not dict and not isinstance(value, Value):
        return _literal(coerced(value))
    apart = _APART - {kind if kind is float else dict}
    return lambda term: type(term) not in apart and _same(term, value)


def _by_type(kind: type, value: Any, apart: frozenset[type]) -> Test:
    def matches(term: Any) -> bool:
        its = type(term)
        if its is kind:
            return bool(term == value)
        return its not in apart and _same(term, value)

    return matches


def _same(term: Any, value: Any) -> bool:
    try:
        return exactly_equal(term, value)
    except EncodeError:
        return False  # a message within this node may hold values that are not terms
