"""Values that Erlang lacks: the hook ``default``, and what is an integer by ``__index__``."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

import pytest

from quicdist import Atom, EncodeError, Record, term_to_binary
from quicdist.term import Codec, Limits, binary_to_term, exactly_equal, format_term

DAY = datetime.date(2026, 11, 28)
ID = uuid.UUID(int=7)


def default(value: Any) -> Any:
    match value:
        case datetime.date():
            return (Atom("date"), value.year, value.month, value.day)
        case uuid.UUID():
            return value.bytes
        case set():
            return sorted(value)
        case decimal.Decimal():
            return str(value)
    raise TypeError(f"a {type(value).__name__} is no term of ours")


DATE = (Atom("date"), 2026, 11, 28)


@pytest.mark.parametrize(
    ("given", "came"),
    [
        (DAY, DATE),
        ([1, (ID,)], [1, (ID.bytes,)]),
        ({"when": DAY}, {b"when": DATE}),
        ({DAY: 1, ID: 2}, {DATE: 1, ID.bytes: 2}),
        ({1, 2}, [1, 2]),
        ([{DAY}], [[DATE]]),
        (decimal.Decimal("1.50"), b"1.50"),
    ],
)
def test_a_value_without_an_erlang_term_is_encoded_by_default(given: Any, came: Any) -> None:
    assert binary_to_term(term_to_binary(given, default=default)) == came
    codec = Codec(default=default)
    assert codec.decode(codec.encode(given))[0] == came


def test_values_that_erlang_has_never_reach_default() -> None:
    def never(value: Any) -> Any:
        raise AssertionError(value)

    term = [1, 2.5, "a", b"b", None, True, Atom("c"), (), {"k": [1]}, bytearray(b"d"), 2**80]
    assert Codec(default=never).encode(term) == Codec().encode(term)


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (lambda value: [][1], "default raised IndexError"),
        (default, "default raised TypeError: a object is no term of ours"),
        (lambda value: value, "default returned no other value"),
        (lambda value: NotImplemented, "default returned no other value"),
        (lambda value: float("nan"), "not finite"),
    ],
)
def test_what_default_does_not_take_is_an_encode_error_with_its_path(hook: Any, text: str) -> None:
    for _ in range(2):
        with pytest.raises(EncodeError, match=rf"{text}.*\(at term\[1\]\['k'\]\)"):
            term_to_binary([1, {"k": object()}], default=hook)


def test_what_default_raised_is_the_cause() -> None:
    with pytest.raises(EncodeError) as error:
        term_to_binary(object(), default=lambda value: 1 // 0)
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_a_default_that_never_ends_is_an_encode_error() -> None:
    with pytest.raises(EncodeError, match="nested deeper"):
        Codec(limits=Limits(max_depth=100), default=lambda value: object()).encode(object())


def test_keys_that_default_makes_the_same_are_refused() -> None:
    assert binary_to_term(term_to_binary({DAY: 1, "x": 2}, default=default)) == {DATE: 1, b"x": 2}
    with pytest.raises(EncodeError, match="two keys are the same key in Erlang"):
        term_to_binary({ID: 1, ID.bytes: 2}, default=default)
    with pytest.raises(EncodeError, match=r"default raised TypeError.*\(at term\{key 0\}\)"):
        term_to_binary({Exception("no"): 1, ID: 2}, default=default)


def test_the_codec_for_older_peers_has_it_too() -> None:
    older = Codec(default=default).without_records()
    assert older.decode(older.encode(DAY))[0] == DATE
    with pytest.raises(EncodeError, match="native record"):
        older.encode(Record("m", "r", {"x": DAY}))


class Number:
    """As a numpy scalar: no int, and an index."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __index__(self) -> int:
        return self._number


class NoNumber:
    """As numpy.bool_ and arrays."""

    def __index__(self) -> int:
        raise TypeError("only integer scalar arrays can be converted to a scalar index")


@pytest.mark.parametrize("number", [0, 7, -1, 2**40, -(2**80)])
def test_what_has_an_index_is_an_integer(number: int) -> None:
    assert term_to_binary((Number(number),)) == term_to_binary((number,))
    assert term_to_binary({Number(number): 1}) == term_to_binary({number: 1})
    assert exactly_equal(Number(number), number)
    assert format_term(Number(number)) == str(number)


def test_an_index_that_says_no_is_left_to_default() -> None:
    with pytest.raises(EncodeError, match="NoNumber"):
        term_to_binary(NoNumber())
    assert term_to_binary(NoNumber(), default=lambda value: False) == term_to_binary(False)


def test_keys_that_are_the_same_integer_are_refused() -> None:
    with pytest.raises(EncodeError, match="two keys"):
        term_to_binary({Number(1): 1, 1: 2})
